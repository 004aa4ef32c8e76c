//! popward-auth-proof: finds out whose one token or one certificate is, for one login.
//!
//! It parses bytes that a client sends. If they break a parser, that ends with this process.
//!
//! It runs as `accounts.program`, in an empty root directory, without any capability. It can open
//! no file, and its filter permits only the system calls of [`syscalls::PROOF`]. Auth sends it the
//! open file with the keys or authorities to check against.
//!
//! The monitor starts it. The command line says how long it may take.

#![forbid(unsafe_code)]

mod certificate;
mod proof;
mod syscalls;
mod token;

use popward_conversation::{Conversation, NotReady};
use popward_proto::auth_conversation::{AuthToConversation, ConversationToAuth};
use popward_proto::bounded::Text;
use popward_sys::{channel, landlock, seccomp};
use proof::Proof;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Longest file of keys or authorities, in bytes.
const FILE_MAX: u64 = 1024 * 1024;

fn main() -> ExitCode {
    match Conversation::take() {
        Some(conversation) => conversation.hold_alone(confine, look_at),
        None => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), NotReady> {
    landlock::restrict(&[])?;
    // The library's first use looks for a device file. After the filter it could not.
    randomness()?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::PROOF])?;
    Ok(())
}

#[cfg(feature = "aws-lc-rs")]
fn randomness() -> Result<(), NotReady> {
    aws_lc_rs::rand::fill(&mut [0; 32]).map_err(|_| NotReady::Other("no randomness"))
}

#[cfg(not(feature = "aws-lc-rs"))]
fn randomness() -> Result<(), NotReady> {
    use ring::rand::SecureRandom;
    let random = ring::rand::SystemRandom::new();
    random
        .fill(&mut [0; 32])
        .map_err(|_| NotReady::Other("no randomness"))
}

/// Looks at a token or a certificate. `None`: the question is for another process.
fn look_at(question: &AuthToConversation, mut files: Vec<OwnedFd>) -> Option<ConversationToAuth> {
    let mut bytes = Vec::new();
    let read = File::from(files.pop()?)
        .take(FILE_MAX)
        .read_to_end(&mut bytes);
    if let Err(error) = read {
        let why = format!("keys or authorities: {error}");
        return Some(ConversationToAuth::Failed(Text::truncated(&why)));
    }
    let proof = match question {
        AuthToConversation::Token { rules, token } => token::check(&bytes, token.expose(), rules),
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
            certificate::check(&bytes, &shown, *name)
        }
        _ => return None,
    };
    Some(match proof {
        Proof::Identified(user) => ConversationToAuth::Identified(user),
        Proof::Refused(why) => ConversationToAuth::Refused(Text::truncated(&why)),
        Proof::Failed(why) => ConversationToAuth::Failed(Text::truncated(&why)),
    })
}
