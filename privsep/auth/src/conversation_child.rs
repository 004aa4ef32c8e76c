//! The child's side of a conversation. Auth starts its own executable again, with one argument (the
//! mode), one channel and one question. The child answers it and ends.
//!
//! PAM's modules and an operator's programs are other people's code. A token or a certificate is
//! any bytes that a client sends. If one of them breaks, leaks or blocks something, that ends with
//! the child.
//!
//! The modes `pam` and `program` have no system call filter, because nobody knows which calls those
//! modules and programs make. The mode `proof` parses what clients send. It has a filter and can
//! open no file.

mod certificate;
mod pam;
pub(crate) mod program;
mod syscalls;
mod token;

use crate::account::of_system;
use crate::verdict::Verdict;
use pam::PamError;
use popward_proto::auth_conversation::{AuthToConversation, ConversationPhase, ConversationToAuth};
use popward_proto::bounded::Text;
use popward_proto::secret::Secret;
use popward_sys::channel::{self, Channel, ChannelError, Packet, PacketBuffer};
use popward_sys::confine::NotConfined;
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Most open descriptors. PAM's modules need some: those for LDAP and SSSD keep connections.
const FILES: u64 = 256;

/// Longest file of keys or authorities, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

/// The purpose of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Run PAM's modules.
    Pam,
    /// Run an operator's program.
    Program,
    /// Check a token or a certificate.
    Proof,
}

type Auth = Channel<ConversationToAuth, AuthToConversation>;

/// Runs the child: it confines itself, reads the question, answers it and ends.
pub(crate) fn main(mode: Mode) -> ExitCode {
    let Ok([auth]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    let channel = Channel::new(auth, ConversationPhase::Conversation);
    let confined = match mode {
        Mode::Pam | Mode::Program => confine().map_err(|error| error.to_string()),
        Mode::Proof => confine_more().map_err(|error| error.to_string()),
    };
    let answered = match confined {
        Ok(()) => answer(channel, mode),
        Err(error) => {
            let why = Text::truncated(&format!("not confined: {error}"));
            channel.send(&ConversationToAuth::Failed(why))
        }
    };
    match answered {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), NotConfined> {
    // Processes that a module starts are in this process group. Auth kills the group at the end.
    let _ = nix::unistd::setsid();
    // Auth's children start with SIGTERM and others blocked. Modules and programs may rely on them
    // to end their own processes.
    nix::sys::signal::SigSet::all()
        .thread_unblock()
        .map_err(|errno| NotConfined::System {
            what: "signal mask",
            errno,
        })?;
    server::end_with_parent()?;
    server::drop_privileges(FILES, Root::Host)
}

/// The further confinement of `proof`: no file, and only the system calls of the table.
fn confine_more() -> Result<(), Box<dyn std::error::Error>> {
    confine()?;
    landlock::restrict(&[])?;
    // The library's first use looks for a device file. After the filter it could not.
    randomness()?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::PROOF])?;
    Ok(())
}

#[cfg(feature = "aws-lc-rs")]
fn randomness() -> Result<(), &'static str> {
    aws_lc_rs::rand::fill(&mut [0; 32]).map_err(|_| "no randomness")
}

#[cfg(not(feature = "aws-lc-rs"))]
fn randomness() -> Result<(), &'static str> {
    use ring::rand::SecureRandom;
    let random = ring::rand::SystemRandom::new();
    random.fill(&mut [0; 32]).map_err(|_| "no randomness")
}

fn answer(mut channel: Auth, mode: Mode) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    let Packet::Message(question, file) = channel.receive(&mut buffer)? else {
        return Err(ChannelError::Closed);
    };
    let verdict = match mode {
        Mode::Pam => ask_modules(&question),
        Mode::Program => ask_program(&question),
        Mode::Proof => look_at(&question, file),
    };
    channel.send(&match verdict.ok_or(ChannelError::Closed)? {
        Verdict::Granted(account) => ConversationToAuth::Granted(account),
        Verdict::Identified(user) => ConversationToAuth::Identified(user),
        Verdict::Refused(why) => ConversationToAuth::Refused(Text::truncated(&why)),
        Verdict::Failed(why) => ConversationToAuth::Failed(Text::truncated(&why)),
        Verdict::Challenge(..) | Verdict::Proved(..) | Verdict::Unusable(_) => {
            return Err(ChannelError::Closed);
        }
    })
}

/// `None` for a question of another mode.
fn ask_modules(question: &AuthToConversation) -> Option<Verdict> {
    let AuthToConversation::Pam {
        service,
        user,
        secret,
        peer,
    } = question
    else {
        return None;
    };
    let secret = secret.as_ref().map(Secret::expose);
    Some(
        match pam::check(service.as_str(), user.as_str(), secret, *peer) {
            Ok(name) => of_system(&name).into(),
            Err(PamError::Refused(why)) => Verdict::Refused(why),
            Err(PamError::Failed(why)) => Verdict::Failed(why),
        },
    )
}

/// `None` for a question of another mode.
fn ask_program(question: &AuthToConversation) -> Option<Verdict> {
    match question {
        AuthToConversation::Checkpassword {
            program,
            user,
            secret,
            peer,
        } => Some(program::checkpassword(
            program,
            user,
            secret.expose(),
            *peer,
        )),
        AuthToConversation::TokenProgram {
            program,
            token,
            peer,
        } => Some(program::token(program, token.expose(), *peer)),
        _ => None,
    }
}

/// `None` for a question of another mode.
fn look_at(question: &AuthToConversation, mut file: Vec<OwnedFd>) -> Option<Verdict> {
    let mut bytes = Vec::new();
    let read = File::from(file.pop()?)
        .take(FILE_MAX)
        .read_to_end(&mut bytes);
    if let Err(error) = read {
        return Some(Verdict::Failed(format!("keys or authorities: {error}")));
    }
    match question {
        AuthToConversation::Token { rules, token } => {
            Some(token::check(&bytes, token.expose(), rules))
        }
        AuthToConversation::Certificate {
            name,
            chain,
            signed,
            scheme,
            signature,
        } => {
            let shown = certificate::SignedHandshake {
                chain: chain.as_slice(),
                signed: signed.as_slice(),
                scheme: *scheme,
                signature: signature.as_slice(),
            };
            Some(certificate::check(&bytes, &shown, *name))
        }
        _ => None,
    }
}
