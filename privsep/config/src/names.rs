//! Looks up users and groups of the system by NSS, in a separate process.
//!
//! NSS loads the modules that `/etc/nsswitch.conf` names. The modules of SSSD, LDAP, winbind and
//! systemd make sockets and map code. The filter of popward-config forbids both, so a second
//! process without a filter looks up the names. popward-config starts it before it confines itself.
//!
//! The second process runs as `nobody` and has no capabilities. It gets only names of users and
//! groups and ids of groups, and it answers with ids and names.

use nix::unistd::{Gid, Group, User};
use popward_proto::bounded::UserName;
use popward_proto::config_names::{ConfigToNames, NAME_MAX, Name, NamesPhase, NamesToConfig};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use popward_sys::inherited;
use popward_sys::server::{self, Root};
use popward_sys::spawn::{ChildIdentity, Spawn, spawn};
use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

/// The argument that makes the executable this second process.
pub(crate) const ARGUMENT: &str = "names";

/// The id of the user `nobody` and of its group, the same on every Linux.
const NOBODY: u32 = 65_534;

/// Most open descriptors of the process that looks up names.
const FILES: u64 = 128;

/// After how many seconds the kernel ends this process and the one that looks up names. The
/// supervisor waits 30 s and then kills popward-config. A supervisor that is dead cannot.
pub(crate) const LIFE_S: u32 = 35;

type Questions = Channel<ConfigToNames, NamesToConfig>;
type Answers = Channel<NamesToConfig, ConfigToNames>;

/// The channel to the process that looks up names.
pub(crate) struct Names(RefCell<(Questions, PacketBuffer)>);

/// Starts the process that looks up names. It ends when popward-config ends.
pub(crate) fn start() -> Result<Names, Box<dyn Error>> {
    let (ours, theirs) = socket_pair()?;
    let (null, root) = (File::open("/dev/null")?, File::open("/")?);
    let nobody = ChildIdentity {
        uid: NOBODY,
        gid: NOBODY,
        effective_gid: NOBODY,
        groups: Vec::new(),
        keep_chroot: false,
    };
    let is_root = nix::unistd::geteuid().is_root();
    spawn(&Spawn {
        executable: Path::new("/proc/self/exe"),
        arguments: &["popward-config", ARGUMENT],
        null: null.as_fd(),
        descriptors: &[theirs.as_fd()],
        directory: root.as_fd(),
        identity: is_root.then_some(&nobody),
    })?;
    Ok(Names::new(Channel::new(ours, NamesPhase::Asking)))
}

impl Names {
    fn new(questions: Questions) -> Self {
        Self(RefCell::new((questions, PacketBuffer::for_messages())))
    }

    /// Returns the user id and the group id of the user `name`. `None`: there is no such user.
    ///
    /// # Errors
    ///
    /// Why the look-up failed, in words for the operator.
    pub(crate) fn user(&self, name: &str) -> Result<Option<(u32, u32)>, String> {
        match self.ask(&ConfigToNames::User(asked(name)?))? {
            NamesToConfig::User(ids) => Ok(ids),
            other => Err(unfit(&other)),
        }
    }

    /// Returns the id of the group `name`. `None`: there is no such group.
    ///
    /// # Errors
    ///
    /// Why the look-up failed, in words for the operator.
    pub(crate) fn group(&self, name: &str) -> Result<Option<u32>, String> {
        match self.ask(&ConfigToNames::Group(asked(name)?))? {
            NamesToConfig::Group(gid) => Ok(gid),
            other => Err(unfit(&other)),
        }
    }

    /// Returns the members of the group with the id `gid`. The list can be incomplete, because some
    /// systems do not list all members of a group. It leaves out names that no account can have.
    ///
    /// # Errors
    ///
    /// Why the look-up failed, in words for the operator.
    pub(crate) fn members(&self, gid: u32) -> Result<Vec<UserName>, String> {
        let mut members = Vec::new();
        let mut answer = self.ask(&ConfigToNames::Members(gid))?;
        loop {
            match answer {
                NamesToConfig::Member(Some(name)) => members.push(name),
                NamesToConfig::Member(None) => return Ok(members),
                other => return Err(unfit(&other)),
            }
            answer = self.hear()?;
        }
    }

    fn ask(&self, question: &ConfigToNames) -> Result<NamesToConfig, String> {
        let sent = self.0.borrow().0.send(question);
        sent.map_err(|error| lost(&error))?;
        self.hear()
    }

    fn hear(&self) -> Result<NamesToConfig, String> {
        let (channel, buffer) = &mut *self.0.borrow_mut();
        match channel.receive(buffer) {
            Ok((NamesToConfig::Failed(why), _)) => Err(why.into()),
            Ok((answer, _)) => Ok(answer),
            Err(error) => Err(lost(&error)),
        }
    }
}

fn asked(name: &str) -> Result<Name, String> {
    let long = |_| format!("expected a name of at most {NAME_MAX} bytes");
    Name::try_from(name.to_owned()).map_err(long)
}

fn lost(error: &dyn std::fmt::Display) -> String {
    format!("the process that looks up users and groups: {error}")
}

fn unfit(answer: &NamesToConfig) -> String {
    lost(&format_args!("it answered another question: {answer:?}"))
}

/// Runs the process that looks up names, until popward-config closes the channel.
pub(crate) fn main() -> ExitCode {
    let Ok([socket]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    if confine_it().is_err() {
        return ExitCode::FAILURE;
    }
    match serve(&mut Channel::new(socket, NamesPhase::Asking)) {
        Ok(()) | Err(ChannelError::Closed) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn confine_it() -> Result<(), Box<dyn Error>> {
    server::end_after(LIFE_S);
    server::end_with_parent()?;
    if nix::unistd::geteuid().is_root() {
        return Err("root".into());
    }
    server::drop_privileges(FILES, Root::Host)?;
    Ok(())
}

fn serve(config: &mut Answers) -> Result<(), ChannelError> {
    let mut buffer = PacketBuffer::for_messages();
    loop {
        let (question, _) = config.receive(&mut buffer)?;
        match question {
            ConfigToNames::User(name) => {
                let user = User::from_name(name.as_str());
                let ids = |user: User| (user.uid.as_raw(), user.gid.as_raw());
                answer(config, user.map(|user| NamesToConfig::User(user.map(ids))))?;
            }
            ConfigToNames::Group(name) => {
                let group = Group::from_name(name.as_str());
                let gid = |group: Group| group.gid.as_raw();
                let found = group.map(|group| NamesToConfig::Group(group.map(gid)));
                answer(config, found)?;
            }
            ConfigToNames::Members(gid) => {
                // The configuration may have a number without a group. It has no members.
                let group = Group::from_gid(Gid::from_raw(gid)).ok().flatten();
                let names = group.map(|group| group.mem).unwrap_or_default();
                let names = names.into_iter().map(UserName::try_from);
                for name in names.filter_map(Result::ok).map(Some).chain([None]) {
                    config.send(&NamesToConfig::Member(name))?;
                }
            }
        }
    }
}

fn answer(config: &Answers, looked_up: nix::Result<NamesToConfig>) -> Result<(), ChannelError> {
    let failed = |errno: nix::errno::Errno| NamesToConfig::Failed(Name::truncated(errno.desc()));
    config.send(&looked_up.unwrap_or_else(failed))
}

#[cfg(test)]
impl Names {
    /// Looks up names in a thread of this process, not in a second process.
    pub(crate) fn of_a_thread() -> Self {
        let (ours, theirs) = socket_pair().unwrap();
        std::thread::spawn(move || serve(&mut Channel::new(theirs, NamesPhase::Asking)));
        Self::new(Channel::new(ours, NamesPhase::Asking))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_only_users_and_groups_of_the_system() {
        let names = Names::of_a_thread();
        assert_eq!(names.user("root"), Ok(Some((0, 0))));
        assert_eq!(names.user("nobody-is-called-so"), Ok(None));
        assert_eq!(names.group("root"), Ok(Some(0)));
        assert_eq!(names.group("no-such-group-here"), Ok(None));
        assert_eq!(names.members(3_999_999_999), Ok(Vec::new()));
        assert!(names.user(&"x".repeat(257)).is_err());
    }
}
