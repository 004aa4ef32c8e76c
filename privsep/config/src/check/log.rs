//! `[log]`: where the log goes, and the least important level that is written.

use super::rules::{Checked, one_of};
use crate::file;
use popward_proto::log::Level;
use popward_proto::supervisor_log::Destination;

/// The values of `log.to`.
const DESTINATIONS: [(&str, Destination); 3] = [
    ("stderr", Destination::Stderr),
    ("journald", Destination::Journald),
    ("syslog", Destination::Syslog),
];

/// The values of `log.level`.
const LEVELS: [(&str, Level); 5] = [
    ("error", Level::Error),
    ("warning", Level::Warning),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

pub(super) fn log(file: &file::Log) -> Checked<(Destination, Level)> {
    let to = one_of("log.to", &file.to, &DESTINATIONS)?;
    Ok((to, one_of("log.level", &file.level, &LEVELS)?))
}
