//! mbox without I/O: where messages begin and end, what RETR sends, UIDLs, and the plan of an
//! update.
//!
//! Bytes come in through [`source::Source`], and values go out. Nothing here opens a file, asks the
//! time or stores a message. Memory grows only with the count of messages, and no input makes this
//! panic. It runs inside the worker, as the user who owns the spool. It reads bytes that strangers
//! wrote.
//!
//! - [`scan`] walks the spool once and makes the [`message::Maildrop`];
//! - [`from_line`] says which line begins a message, [`header`] says what a header line means;
//! - [`shown`] removes the header lines that clients are not shown;
//! - [`convert`] turns a message's bytes into what POP3 sends;
//! - [`uidl`] says what a UIDL is, [`assignment`] gives messages UIDLs, [`pins`] keeps UIDLs for
//!   good;
//! - [`plan`] says which bytes an update moves, [`journal`] lets another process finish the update;
//! - [`index`] keeps what a scan found.

pub mod assignment;
pub mod convert;
mod error;
pub mod from_line;
pub mod header;
pub mod index;
pub mod journal;
pub mod message;
mod message_reader;
mod octets;
pub mod pins;
pub mod plan;
pub mod scan;
pub mod shown;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod uidl;
pub mod window;
