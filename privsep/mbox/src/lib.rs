//! mbox without I/O: where messages begin and end, what RETR will send, UIDLs, and the plan of an update.
//!
//! Bytes come in through [`source::Source`]; values go out. Nothing here opens a file, asks the time or
//! keeps a message: memory grows with the count of messages only, and no input makes it panic. It runs inside the
//! worker, as the user who owns the spool; what it reads was written by strangers.
//!
//! - [`scan`] walks the spool once and makes the [`message::Maildrop`];
//! - [`from_line`] says which line starts a message, [`header`] what a header line means to us;
//! - [`tally`] is the one look that a scan takes at most bytes;
//! - [`convert`] turns a message's bytes into what POP3 sends;
//! - [`uidl`] names messages, [`pins`] for good; [`plan`] says which bytes an update moves;
//! - [`index`] keeps what a scan found; [`journal`] is an update that can be finished by somebody else.

pub mod convert;
pub mod from_line;
pub mod header;
pub mod index;
pub mod journal;
pub mod message;
mod octets;
pub mod pins;
pub mod plan;
pub mod scan;
pub mod source;
pub mod tally;
pub mod uidl;
pub mod window;
