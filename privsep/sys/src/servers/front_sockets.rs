//! Sockets as a front gets them: ready for use. The filter of a front permits no call that changes
//! one, because a front shares the listening sockets with the fronts after it.

use crate::channel::socket_pair;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::sys::time::TimeVal;
use std::os::fd::OwnedFd;

/// Makes a bound TCP socket listen, whatever another process has done to it: a socket that was shut
/// down listens again.
///
/// Connections inherit the options. Small replies go out without delay. The kernel ends connections
/// of dead peers, because such a session would hold its locks.
///
/// # Errors
///
/// A system call failed. The socket may not be a TCP socket.
pub fn make_listening(socket: &OwnedFd) -> nix::Result<()> {
    set_nonblocking(socket)?;
    setsockopt(socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(socket, sockopt::KeepAlive, &true)?;
    setsockopt(socket, sockopt::TcpKeepIdle, &120)?;
    setsockopt(socket, sockopt::TcpKeepInterval, &30)?;
    setsockopt(socket, sockopt::TcpKeepCount, &4)?;
    // The standard library makes a queue for 128 connections. A busy server needs a longer one.
    listen(socket, Backlog::MAXCONN)
}

/// Two connected sockets. The first one waits for each packet, for `seconds` at most. The second
/// one does not wait.
///
/// # Errors
///
/// A system call failed.
pub fn asking_pair(seconds: i64) -> nix::Result<(OwnedFd, OwnedFd)> {
    let (asks, answers) = socket_pair()?;
    let limit = TimeVal::new(seconds, 0);
    setsockopt(&asks, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(&asks, sockopt::SendTimeout, &limit)?;
    set_nonblocking(&answers)?;
    Ok((asks, answers))
}

fn set_nonblocking(socket: &OwnedFd) -> nix::Result<()> {
    // A socket has no other flag that this call sets.
    fcntl(socket, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}

#[cfg(test)]
mod tests;
