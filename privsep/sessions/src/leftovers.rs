//! Finds what a crash of the whole server or of the host has left: unfinished updates, and dotlocks
//! that block the delivery of mail.
//!
//! Sessions looks once, at its start, with the rights of each user. It opens no user's file. For
//! each account with leftovers it starts a worker, which cleans up as the user.

use crate::as_user::AsUser;
use crate::config::Config;
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat};
use popward_parent::log::LogWriter;
use popward_proto::account::Account;
use popward_proto::bounded::UserName;
use popward_proto::log::Level;
use popward_proto::sessions_worker::{ADOPTING, JOURNAL, dotlock_name};
use popward_proto::settings::place;
use std::path::Path;

/// Returns the accounts that need a worker to clean up.
pub(crate) fn find(config: &Config, state: &Path, log: &mut LogWriter) -> Vec<Account> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let users = Dir::open(state, flags, Mode::empty()).and_then(|mut directory| {
        let names = directory.iter().map(|entry| {
            let name = entry?.file_name().to_string_lossy().into_owned();
            Ok(name)
        });
        names.collect::<nix::Result<Vec<_>>>()
    });
    match users {
        Ok(names) => {
            let names = names.iter();
            names
                .filter_map(|name| of(config, state, log, name))
                .collect()
        }
        Err(errno) => {
            let text = "unfinished updates not looked for";
            log.write(Level::Error, text, &[("error", &errno)]);
            Vec::new()
        }
    }
}

fn look(path: &Path) -> Option<FileStat> {
    fstatat(nix::fcntl::AT_FDCWD, path, AtFlags::AT_SYMLINK_NOFOLLOW).ok()
}

/// Returns the account with the directory `directory_name`, if a crash left an unfinished update or
/// a dotlock of this account. The directory is a state directory, or the one that popward-adopt
/// works in if the user has no state directory.
fn of(config: &Config, state: &Path, log: &mut LogWriter, directory_name: &str) -> Option<Account> {
    let user = directory_name.strip_prefix(ADOPTING);
    if user.is_some_and(|user| look(&state.join(user)).is_some()) {
        return None;
    }
    let name = UserName::try_from(user.unwrap_or(directory_name).to_owned()).ok()?;
    let directory = state.join(directory_name);
    let status = look(&directory)?;
    if status.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFDIR.bits() {
        return None;
    }
    let groups = config.groups_of(&name, status.st_uid);
    let account = Account {
        name,
        uid: status.st_uid,
        gid: status.st_gid,
        groups,
        home: None,
        spool: None,
    };
    let own = config.settings.of(&account);
    // A server that is not root has the user's rights already.
    let _as_user = if config.base.as_users {
        let gid = own.spool.group.unwrap_or(account.gid);
        Some(AsUser::enter(account.uid, gid).ok()?)
    } else {
        None
    };
    let journal = look(&directory.join(JOURNAL)).is_some();
    let Ok((spool_directory, spool)) = place::place(&own.spool, &account) else {
        // The path of this spool needs the user's home directory. Only auth knows that directory,
        // and only at a login.
        if journal {
            let text = "an unfinished update waits for its user's next login";
            log.write(Level::Warning, text, &[("user", &account.name)]);
        }
        return None;
    };
    let lock = spool_directory.as_path().join(dotlock_name(&spool));
    let locked = look(&lock).is_some_and(|lock| lock.st_uid == account.uid);
    (journal || locked).then_some(account)
}
