//! What popward-metrics knows of the server by its log. It runs only where the operator wants it.

use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// The local socket at which popward-metrics answers root (`packaging/systemd`).
pub(crate) const SOCKET: &str = "/run/popward-metrics/sessions";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer, in octets: 100,000 sessions.
const ANSWER_MAX: u64 = 64 << 20;

/// What the record of a login has said of a session.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Login {
    /// The user's name.
    pub(crate) user: String,
    /// The client's address.
    pub(crate) peer: String,
    /// How the user has logged in.
    pub(crate) method: String,
    /// Version and cipher suite, `none` or `proxy`.
    pub(crate) tls: String,
    /// Messages of the maildrop at the login.
    pub(crate) messages: Option<u64>,
    /// Their octets.
    pub(crate) octets: Option<u64>,
}

/// The open sessions by their ids.
///
/// # Errors
///
/// Why popward-metrics does not tell.
pub(crate) fn sessions() -> Result<HashMap<String, Login>, String> {
    let page = get("/sessions")?;
    serde_json::from_str(&page).map_err(|error| format!("{SOCKET}: {error}"))
}

/// The counts by their names, without `popward_` and `_total`. Values with different labels are
/// added.
///
/// # Errors
///
/// As for [`sessions`].
pub(crate) fn counts() -> Result<BTreeMap<String, f64>, String> {
    Ok(added(&get("/metrics")?))
}

fn added(page: &str) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = name.split('{').next().unwrap_or(name);
        let name = name.strip_prefix("popward_").unwrap_or(name);
        let name = name.strip_suffix("_total").unwrap_or(name);
        if let Ok(value) = value.parse::<f64>() {
            *counts.entry(name.to_owned()).or_insert(0.0) += value;
        }
    }
    counts
}

/// Asks for a page (RFC 9110).
fn get(path: &str) -> Result<String, String> {
    let answer = ask(path).map_err(|error| format!("{SOCKET}: {error}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    if status != "200" {
        return Err(format!("{SOCKET}: {path} is answered {status}"));
    }
    Ok(body.to_owned())
}

fn ask(path: &str) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(SOCKET)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_with_different_labels_are_added() {
        let page = "# HELP popward_logins x\npopward_logins_total{method=\"a b\"} 2\npopward_logins_total{method=\"c\"} 3\npopward_sessions 1\n# EOF\n";
        let counts = added(page);
        assert_eq!(counts.get("logins"), Some(&5.0));
        assert_eq!(counts.get("sessions"), Some(&1.0));
        assert_eq!(counts.len(), 2);
    }
}
