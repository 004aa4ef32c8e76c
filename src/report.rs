//! The front's log lines: one at a login, one at an end, and few about strangers.

use crate::client::Client;
use crate::end_reason::EndReason;
use crate::limits::{Party, TooMany};
use crate::pop3::Pop3;
use crate::proxy::Peer;
use crate::tls::certificates::Expiry;
use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use popward_proto::log::Level;
use popward_proto::session::Totals;
use popward_sys::log::Log;
use std::net::SocketAddr;

/// The facts about a connection that its log lines show.
pub(crate) struct Subject<'a> {
    /// The name by which the other processes know it.
    pub(crate) id: SessionId,
    /// The client's address, and the proxy's.
    pub(crate) peer: &'a Peer,
    /// The party for which it is counted.
    pub(crate) party: Party,
    /// Its stream.
    pub(crate) client: &'a Client,
    /// Its protocol state.
    pub(crate) pop3: &'a Pop3,
    /// Whether its login and its end are also logged in Qpopper's format.
    pub(crate) logs_as_qpopper: bool,
}

/// Logs a login: the maildrop is open.
pub(crate) fn login(log: &Log, subject: &Subject<'_>, opened: Totals) {
    let tls = subject.client.tls();
    let proxy = subject.peer.proxy.as_deref();
    // The proxy said whether the client came to it over TLS.
    let said = if subject.peer.came_over_tls() {
        "proxy"
    } else {
        "none"
    };
    let (tls, method) = (tls.as_deref().unwrap_or(said), subject.pop3.method());
    let (user, peer, port) = (name(subject), subject.peer.ip(), subject.peer.port());
    let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![
        ("user", &user),
        ("peer", &peer),
        ("port", &port),
        ("method", &method),
        ("tls", &tls),
        ("messages", &opened.messages),
        ("octets", &opened.octets),
    ];
    if let Some(proxy) = proxy {
        fields.push(("proxy", &proxy.address));
        if let Some(session) = &proxy.session {
            fields.push(("proxy_session", session));
        }
    }
    log.notice(Some(subject.id), "login", &fields);
    if subject.logs_as_qpopper {
        let (version, user, ip) = (
            env!("CARGO_PKG_VERSION"),
            quotable(subject),
            subject.peer.ip(),
        );
        log.qpopper(&format!(
            "(v{version}) POP login by user \"{user}\" at ({ip}) {ip}"
        ));
    }
}

/// Logs when a certificate that is in use expires. Their numbers begin at 1.
pub(crate) fn expiry(log: &Log, number: u8, of: &Expiry) {
    let fields: &[(&str, &dyn std::fmt::Display)] = &[
        ("number", &number),
        ("name", &of.name),
        ("expires", &of.at_s),
    ];
    log.notice(None, "certificate", fields);
}

/// Logs the end of a connection. The end of a session is a notice, any other end has level info or
/// debug.
pub(crate) fn end(log: &Log, subject: &Subject<'_>, why: EndReason, seconds: u64) {
    let (ip, port, sent) = (subject.peer.ip(), subject.peer.port(), subject.client.sent);
    let kind = subject.client.handshake_kind();
    let handshake = kind.as_ref();
    let handshake = handshake.map(|kind| ("handshake", kind as &dyn std::fmt::Display));
    let Some(opened) = subject.pop3.opened() else {
        // A proxy's own connection is a health check. There is one every second or two, so it has
        // level debug.
        let check = subject.party == Party::Proxy && why != EndReason::TooMany;
        let level = if check { Level::Debug } else { Level::Info };
        let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![
            ("peer", &ip),
            ("port", &port),
            ("sent_octets", &sent),
            ("seconds", &seconds),
            ("why", &why),
        ];
        fields.extend(handshake);
        return log.write(level, Some(subject.id), "end", &fields);
    };
    let retrieved = subject.pop3.retrieved();
    let update = subject.pop3.update();
    let deleted = update.map(|update| update.deleted).unwrap_or_default();
    let left = update.map_or(opened, |update| update.left);
    let user = name(subject);
    let mut fields: Vec<(&str, &dyn std::fmt::Display)> = vec![
        ("user", &user),
        ("peer", &ip),
        ("retrieved", &retrieved.messages),
        ("retrieved_octets", &retrieved.octets),
        ("sent_octets", &sent),
        ("deleted", &deleted.messages),
        ("deleted_octets", &deleted.octets),
        ("left", &left.messages),
        ("left_octets", &left.octets),
        ("seconds", &seconds),
        ("why", &why),
    ];
    fields.extend(handshake);
    log.notice(Some(subject.id), "end", &fields);
    if subject.logs_as_qpopper {
        log.qpopper(&format!(
            "Stats: {} {} {} {} {} {ip} {ip}",
            quotable(subject),
            deleted.messages,
            deleted.octets,
            left.messages,
            left.octets,
        ));
    }
}

/// The user name for a Qpopper line. Programs split such lines at spaces and quotes, so quotes are
/// replaced. Where Qpopper shows a host name, these lines show the address again, because popward
/// does not look up names.
fn quotable(subject: &Subject<'_>) -> String {
    name(subject).replace('"', "?")
}

/// Logs a failed login with the user name as the client gave it. The password is never here.
pub(crate) fn failed(log: &Log, subject: &Subject<'_>) {
    log.warning(
        Some(subject.id),
        "login failed",
        &[
            ("user", &name(subject)),
            ("peer", &subject.peer.ip()),
            ("port", &subject.peer.port()),
            ("method", &subject.pop3.method()),
        ],
    );
}

/// Logs a line before the login that is too long. The caller limits how often.
pub(crate) fn too_long(log: &Log, subject: &Subject<'_>) {
    log.info(
        Some(subject.id),
        "line too long",
        &[
            ("user", &name(subject)),
            ("peer", &subject.peer.ip()),
            ("port", &subject.peer.port()),
        ],
    );
}

/// Logs a refused connection. The caller limits how often.
pub(crate) fn refused(log: &Log, peer: SocketAddr, why: &dyn std::fmt::Display) {
    log.warning(None, REFUSED, &[("peer", &peer.ip()), ("why", why)]);
}

/// The text of the line about a refused connection.
pub(crate) const REFUSED: &str = "connection refused";

/// The text of the line about a stranger that was ended to make room.
pub(crate) const YIELDED: &str = "a connection was ended to make room";

/// Logs a connection that a limit refused. It is the last of `times` since the line before.
pub(crate) fn turned_away(log: &Log, peer: SocketAddr, why: TooMany, times: u32) {
    log.warning(
        None,
        REFUSED,
        &[("peer", &peer.ip()), ("why", &why), ("times", &times)],
    );
}

/// Logs that a stranger was ended to make room for a new connection. It is the last of `times`
/// since the line before.
pub(crate) fn yielded(log: &Log, why: TooMany, times: u32) {
    log.warning(None, YIELDED, &[("why", &why), ("times", &times)]);
}

/// Logs a failed TLS handshake. The caller limits how often.
pub(crate) fn handshake(log: &Log, subject: &Subject<'_>, error: &rustls::Error) {
    log.info(
        Some(subject.id),
        "TLS handshake failed",
        &[("peer", &subject.peer.ip()), ("error", error)],
    );
}

fn name<'a>(subject: &Subject<'a>) -> &'a str {
    subject.pop3.user().map_or("", UserName::as_str)
}
