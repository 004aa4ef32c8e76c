//! `[log]`: where the log goes, and the least important level that is written.

use super::{Checked, placed, problem};
use crate::file;
use popward_proto::log::Level;
use popward_proto::monitor_config::{Destination, LogSettings};

pub(super) fn log(file: file::Log) -> Checked<LogSettings> {
    let (offset, to) = placed(file.to, || "stderr".to_owned());
    let to = match to.as_str() {
        "stderr" => Destination::Stderr,
        "journald" => Destination::Journald,
        "syslog" => Destination::Syslog,
        _ => {
            return problem(
                offset,
                r#"log.to: expected "stderr", "journald" or "syslog""#,
            );
        }
    };
    let (offset, level) = placed(file.level, || "info".to_owned());
    let level = match level.as_str() {
        "error" => Level::Error,
        "warning" => Level::Warning,
        "notice" => Level::Notice,
        "info" => Level::Info,
        "debug" => Level::Debug,
        _ => {
            let expected = r#"log.level: expected "error", "warning", "notice", "info" or "debug""#;
            return problem(offset, expected);
        }
    };
    Ok(LogSettings { to, level })
}
