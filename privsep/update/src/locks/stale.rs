//! Finds and removes stale dotlocks: those that a crash left.

use super::file::{WHOLE_FILE, is_at, is_on_nfs, open_to_read};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, UnlinkatFlags, sysconf, unlinkat};
use popward_proto::sessions_worker::Job;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

/// How many seconds older than a process a dotlock must be, before it counts as an earlier
/// process's.
const MARGIN_S: i64 = 60;

/// Removes a dotlock of this user and host whose process is dead. A crash of the whole server or of
/// the host leaves such locks. Returns whether it removed one.
pub(super) fn remove(job: &Job, directory: &OwnedFd, name: &str) -> bool {
    // Two workers may find the same stale lock. One could remove the lock that the other has just
    // put in its place. So only the worker that has the spool's fcntl lock looks and removes. The
    // first look spares the lock's owner that worker's fcntl lock.
    is_stale(job, directory, name)
        && lock_spool(job, directory).is_ok_and(|_held| {
            is_stale(job, directory, name)
                && unlinkat(directory, name, UnlinkatFlags::NoRemoveDir).is_ok()
        })
}

fn is_stale(job: &Job, directory: &OwnedFd, name: &str) -> bool {
    let Ok(file) = open_to_read(directory, name) else {
        return false;
    };
    let Ok(status) = fstat(&file) else {
        return false;
    };
    if status.st_uid != job.uid {
        return false;
    }
    let mut text = String::new();
    let read = file.take(128).read_to_string(&mut text);
    let owner = text.split_once(':').filter(|_| read.is_ok());
    let owner = owner.filter(|(_, host)| *host == job.host.as_str());
    let owner = owner.and_then(|(pid, _)| pid.parse::<i32>().ok());
    let owner = owner.filter(|pid| *pid > 1);
    let is_dead = match owner.map_or(Some(0), began) {
        None => true,
        // The named process lives, but the lock may be older than the process: then an earlier
        // process had the same id. After the host's clock was set forward, a lock that is held
        // looks as old. Only the fcntl lock tells these two apart. So without fcntl locking, a
        // living process counts as the owner. The margin covers clocks that are not read at the
        // same instant.
        Some(began) if owner.is_some() => {
            job.locks.fcntl && is_older(directory, &status, began - MARGIN_S)
        }
        Some(_) => is_older(directory, &status, 0),
    };
    is_dead && is_at(directory, name, &status)
}

/// How many seconds after the host's start this process began, or 0 if that cannot be seen. `None`:
/// the process is dead, even if its parent has not waited for it yet.
pub(super) fn began(pid: i32) -> Option<i64> {
    if nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return None;
    }
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Some(0);
    };
    // proc(5): after the name, which may contain anything, comes the state. The start time is the
    // twentieth field after the name.
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_ascii_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let start = fields.nth(18).and_then(|start| start.parse().ok());
    Some(start.unwrap_or(0) / ticks.max(1))
}

/// Whether the lock was last touched before the host had been up for `up_for` seconds. Always false
/// on NFS, because another host may have touched it.
///
/// With `up_for` 0, the lock is older than the host's start, so its owner is dead, whatever the
/// text says. After a power cut the text may be missing.
pub(super) fn is_older(directory: &OwnedFd, lock: &FileStat, up_for: i64) -> bool {
    let now = |clock| clock_gettime(clock).map(|now| now.tv_sec());
    let (real, up) = (now(ClockId::CLOCK_REALTIME), now(ClockId::CLOCK_BOOTTIME));
    let older = matches!((real, up), (Ok(real), Ok(up)) if lock.st_ctime < real - up + up_for);
    older && !is_on_nfs(directory)
}

/// Takes the spool's fcntl lock, if there is a spool. It ends when the file is closed.
///
/// A living owner of the dotlock has it. So this fails for an owner that took its dotlock before the
/// host's clock was set, and for one whose process id belongs to another process here, as in a
/// container.
fn lock_spool(job: &Job, directory: &OwnedFd) -> Result<Option<File>, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match openat(directory, job.spool_name.as_str(), flags, Mode::empty()) {
        Err(Errno::ENOENT) => return Ok(None),
        file => File::from(file?),
    };
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&WHOLE_FILE)) {
        // Without fcntl locking, another error does not block removal. Some servers have no such
        // locks.
        Err(errno) if job.locks.fcntl || matches!(errno, Errno::EAGAIN | Errno::EACCES) => {
            Err(errno)
        }
        _ => Ok(Some(file)),
    }
}
