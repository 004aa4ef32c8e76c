//! popward-log: makes lines from log records, and writes them to standard error, to journald or to
//! syslog.
//!
//! It runs as nobody, without capabilities. Under its system call filter and Landlock it opens no
//! file. Its only way out is the destination of the log.
//!
//! Records come from the supervisor and from each monitor, over one channel each. These processes
//! say who wrote a record. The texts in it may come from any process and from any client, so this
//! process escapes them.

#![forbid(unsafe_code)]

mod line;
mod sinks;
mod syscalls;

use line::{Origin, QPOPPER, field_name};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use popward_proto::VERSION;
use popward_proto::log::NoMessage;
use popward_proto::log_line::{Line, escaped};
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_log::SupervisorToLog;
use popward_sys::channel::{self, Channel, ChannelError, PacketBuffer};
use popward_sys::server::{self, Root};
use popward_sys::{inherited, landlock, seccomp};
use sinks::Sink;
use std::error::Error;
use std::os::fd::AsFd;
use std::process::ExitCode;

/// Most open descriptors: one for each process with lines, and a few more.
const FILES: u64 = 64;

/// Most lines that are read from one process before others have their turn.
const TURN: usize = 64;

type Supervisor = Channel<NoMessage, SupervisorToLog>;
type Writer = Channel<NoMessage, Line>;

fn main() -> ExitCode {
    let Ok([control]) = inherited::take::<1>() else {
        return ExitCode::FAILURE;
    };
    let supervisor = Channel::new(control, SetupPhase::Starting);
    match confine().and_then(|()| serve(supervisor)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn confine() -> Result<(), Box<dyn Error>> {
    server::drop_privileges(FILES, Root::Host)?;
    landlock::restrict(&[])?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::TABLE])?;
    Ok(())
}

/// Writes lines until the supervisor has closed its channel, and all lines are written.
fn serve(mut supervisor: Supervisor) -> Result<(), Box<dyn Error>> {
    let mut buffer = PacketBuffer::for_messages();
    let mut sink = open(&mut supervisor, &mut buffer)?;
    let mut writers: Vec<Writer> = Vec::new();
    let mut ends = false;
    loop {
        let own = (!ends).then(|| supervisor.as_fd());
        let all = writers.iter().map(AsFd::as_fd).chain(own);
        let mut ready: Vec<_> = all.map(|end| PollFd::new(end, PollFlags::POLLIN)).collect();
        if ready.is_empty() {
            return Ok(());
        }
        match poll(&mut ready, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = ready.iter().map(|end| end.any() == Some(true)).collect();
        let mut place = 0;
        writers.retain_mut(|writer| {
            place += 1;
            !ready[place - 1] || write_lines(writer, &mut sink, &mut buffer)
        });
        if !ends && ready[place] {
            ends = !hear(&mut supervisor, &mut writers, &mut sink, &mut buffer)?;
        }
    }
}

/// The log, with the standard error that comes with the first message.
fn open(supervisor: &mut Supervisor, buffer: &mut PacketBuffer) -> Result<Sink, Box<dyn Error>> {
    match supervisor.receive(buffer)? {
        (SupervisorToLog::Open { version, pid }, mut files) if version == VERSION => {
            let stderr = files.pop().ok_or("no standard error")?;
            supervisor.enter(SetupPhase::Serving);
            Ok(Sink::open(pid, stderr))
        }
        _ => Err("another version".into()),
    }
}

/// Handles one message from the supervisor. Returns false if the supervisor has closed the channel.
fn hear(
    supervisor: &mut Supervisor,
    writers: &mut Vec<Writer>,
    sink: &mut Sink,
    buffer: &mut PacketBuffer,
) -> Result<bool, Box<dyn Error>> {
    match supervisor.receive(buffer) {
        Ok((SupervisorToLog::To(destination), _)) => sink.change(destination),
        Ok((SupervisorToLog::Writer, files)) => {
            // The supervisor has made them so that they do not block.
            let opened = files
                .into_iter()
                .map(|socket| Channel::new(socket, SetupPhase::Serving));
            writers.extend(opened);
        }
        Ok(_) => {}
        Err(ChannelError::Closed) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    Ok(true)
}

/// Writes the lines that a process has sent. Returns false at the end of its channel.
fn write_lines(writer: &mut Writer, sink: &mut Sink, buffer: &mut PacketBuffer) -> bool {
    for _ in 0..TURN {
        match writer.receive(buffer) {
            Ok((line, _)) => write(sink, &line),
            Err(ChannelError::WouldBlock) => return true,
            Err(_) => return false,
        }
    }
    true
}

fn write(sink: &mut Sink, said: &Line) {
    let record = &said.record;
    let mut fields: Vec<(String, String)> = Vec::new();
    if let Some(session) = record.session {
        fields.push(("session".into(), session.to_string()));
    }
    for (name, value) in record.fields.as_slice() {
        fields.push((field_name(name.as_str()), value.as_str().to_owned()));
    }
    let role = if record.qpopper {
        QPOPPER
    } else {
        said.origin.role.name()
    };
    let pid = said.origin.pid;
    let text = escaped(record.text.as_str());
    sink.write(Origin { role, pid }, record.level, &text, &fields);
}
