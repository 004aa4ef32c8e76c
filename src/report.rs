//! What the front says in the log: a line at a login, a line at an end, and little about strangers.

use crate::client::Client;
use crate::end_reason::EndReason;
use crate::limits::{Party, TooMany};
use crate::pop3::Pop3;
use crate::proxy::Peer;
use popward_proto::account::SessionId;
use popward_proto::bounded::UserName;
use popward_proto::log::Level;
use popward_proto::session::Totals;
use popward_sys::log::Log;
use std::net::SocketAddr;

/// A connection, as the log shows it.
pub(crate) struct Subject<'a> {
    /// Its name to the other processes.
    pub(crate) id: SessionId,
    /// Who it is.
    pub(crate) peer: &'a Peer,
    /// As what it is counted.
    pub(crate) party: Party,
    /// Its stream.
    pub(crate) client: &'a Client,
    /// Its protocol.
    pub(crate) pop3: &'a Pop3,
    /// Whether its login and its end are logged in Qpopper's words too.
    pub(crate) logs_as_qpopper: bool,
}

/// A user logged in: the maildrop is open.
pub(crate) fn login(log: &Log, subject: &Subject<'_>, opened: Totals) {
    let tls = subject.client.tls();
    let proxy = subject.peer.proxy.as_deref();
    // Whether the client came to the proxy over TLS, the proxy said.
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

/// A connection ended: a notice for a session, progress for anything else.
pub(crate) fn end(log: &Log, subject: &Subject<'_>, why: EndReason, seconds: u64) {
    let (ip, port, sent) = (subject.peer.ip(), subject.peer.port(), subject.client.sent);
    let Some(opened) = subject.pop3.opened() else {
        // A proxy's own connection is a check: there is one every second or two.
        let check = subject.party == Party::Proxy && why != EndReason::TooMany;
        return log.write(
            if check { Level::Debug } else { Level::Info },
            Some(subject.id),
            "end",
            &[
                ("peer", &ip),
                ("port", &port),
                ("sent_octets", &sent),
                ("seconds", &seconds),
                ("why", &why),
            ],
        );
    };
    let retrieved = subject.pop3.retrieved();
    let update = subject.pop3.update();
    let deleted = update.map(|update| update.deleted).unwrap_or_default();
    let left = update.map_or(opened, |update| update.left);
    log.notice(
        Some(subject.id),
        "end",
        &[
            ("user", &name(subject)),
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
        ],
    );
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

/// The name for a line that programs take apart at spaces and quotes. Names of hosts are not looked up: where Qpopper has one,
/// the address stands twice.
fn quotable(subject: &Subject<'_>) -> String {
    name(subject).replace('"', "?")
}

/// A login failed. The user is as the client gave it; the secret is nowhere near.
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

/// Somebody was not admitted. The caller sees to it that this is rare.
pub(crate) fn refused(log: &Log, peer: SocketAddr, why: &dyn std::fmt::Display) {
    log.warning(None, REFUSED, &[("peer", &peer.ip()), ("why", why)]);
}

/// The line about those who are turned away.
pub(crate) const REFUSED: &str = "connection refused";

/// The line about those who have to go.
pub(crate) const YIELDED: &str = "a connection was ended to make room";

/// Somebody was turned away because of a limit, the last of `times` since the line before.
pub(crate) fn turned_away(log: &Log, peer: SocketAddr, why: TooMany, times: u32) {
    log.warning(
        None,
        REFUSED,
        &[("peer", &peer.ip()), ("why", &why), ("times", &times)],
    );
}

/// Somebody who had not logged in had to yield to a newcomer, the last of `times` since the line before.
pub(crate) fn yielded(log: &Log, why: TooMany, times: u32) {
    log.warning(None, YIELDED, &[("why", &why), ("times", &times)]);
}

/// A handshake failed. The caller sees to it that this is rare.
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
