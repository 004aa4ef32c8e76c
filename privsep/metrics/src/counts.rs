//! What is counted, and from which records. `docs/metrics.md` lists it.
//!
//! A record counts only if it comes from the process whose business it is. The parents say who wrote
//! a record, so a worker that was taken over can forge only what workers say.

use crate::record::Record;
use crate::sessions::Sessions;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// Counters that differ in the value of one label.
type By = Family<[(&'static str, String); 1], Counter>;
/// Gauges that differ in the values of two labels.
type GaugeByTwo = Family<[(&'static str, String); 2], Gauge>;
/// Counters that differ in the values of two labels.
type ByTwo = Family<[(&'static str, String); 2], Counter>;

/// Most values of a label, and most octets of a value. Beyond it the value is [`OTHER`].
const VALUES_MAX: usize = 40;
const VALUE_MAX: usize = 64;
const OTHER: &str = "other";

/// The upper bounds of the histograms, in seconds and in octets.
const WAITS_S: [f64; 9] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
const SESSIONS_S: [f64; 7] = [1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];
const SPOOLS: [f64; 6] = [1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The levels of the log, by the priority of syslog (RFC 5424, table 2).
const LEVELS: [&str; 8] = [
    OTHER, OTHER, OTHER, "error", "warning", "notice", "info", "debug",
];

/// Errors of `maildrop not opened`, by a part of their text, and their causes.
const CAUSES: [(&str, &str); 6] = [
    (" is held by ", "locked"),
    ("replaces the spool again and again", "locked"),
    ("an unfinished update", "unfinished update"),
    ("no mbox", "no mbox"),
    ("the client has gone", "client gone"),
    ("pins:", "pins"),
];

/// Values with a count of 0 from the start on. Without it, Prometheus sees no growth at the first
/// event.
const PROCESSES: [&str; 13] = [
    OTHER,
    "monitor",
    "sessions",
    "log",
    "config",
    "front",
    "auth",
    "auth-pam",
    "auth-program",
    "auth-proof",
    "keys",
    "worker",
    "adopt",
];
const OUTCOMES: [&str; 4] = ["done", "nothing deleted", "broken off", "finished later"];

/// All counts since the start of popward-metrics.
#[derive(Debug)]
pub(crate) struct Counts {
    registry: Registry,
    values: HashSet<(&'static str, String)>,
    open: Sessions,
    started: Gauge,
    sessions: Gauge,
    logins: ByTwo,
    login_failures: By,
    unchecked: Counter,
    penalties: By,
    session_ends: By,
    stranger_ends: By,
    session_seconds: Histogram,
    sent: Counter,
    retrieved: Counter,
    deleted: Counter,
    opened: By,
    lock_wait: Histogram,
    read: Histogram,
    spool: Histogram,
    not_opened: By,
    updates: By,
    locks_lost: Counter,
    refused: By,
    handshakes: By,
    handshakes_failed: Counter,
    expiry: GaugeByTwo,
    died: By,
    reloads: By,
    records: By,
    lost: Counter,
    unreadable: Counter,
}

impl Counts {
    /// Nothing is counted yet.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("popward");
        let all = &mut registry;
        let counts = Self {
            values: HashSet::new(),
            open: Sessions::default(),
            started: made(all, "start_time_seconds", "When it became ready"),
            sessions: made(all, "sessions", "Sessions with a maildrop that are open"),
            logins: made(all, "logins", "Logins that opened a maildrop"),
            login_failures: made(all, "login_failures", "Logins with wrong credentials"),
            unchecked: made(all, "login_checks_failed", "Logins not checked"),
            penalties: made(all, "login_penalties", "Who had to wait"),
            session_ends: made(all, "session_ends", "Sessions that ended"),
            stranger_ends: made(all, "stranger_ends", "Ends before a login"),
            session_seconds: spread(all, "session_seconds", "Lengths of sessions", &SESSIONS_S),
            sent: made(all, "sent_octets", "Octets sent in sessions"),
            retrieved: made(all, "retrieved_messages", "Messages that clients retrieved"),
            deleted: made(all, "deleted_messages", "Messages that QUIT deleted"),
            opened: made(all, "maildrops_opened", "Maildrops opened, and how"),
            lock_wait: spread(all, "lock_wait_seconds", "Waits for locks", &WAITS_S),
            read: spread(
                all,
                "maildrop_read_seconds",
                "Reading when opened",
                &WAITS_S,
            ),
            spool: spread(all, "spool_bytes", "Sizes when opened", &SPOOLS),
            not_opened: made(all, "maildrops_not_opened", "Maildrops not opened, and why"),
            updates: made(all, "updates", "Updates of spools that had deletions"),
            locks_lost: made(all, "locks_lost", "Dotlocks or spools that others replaced"),
            refused: made(all, "connections_refused", "Refused by a limit"),
            handshakes: made(all, "tls_handshakes", "Of connections that ended"),
            handshakes_failed: made(all, "tls_handshakes_failed", "Lines about them"),
            expiry: made(
                all,
                "certificate_expiry_time_seconds",
                "When certificates expire",
            ),
            died: made(all, "processes_died", "Processes that died"),
            reloads: made(all, "reloads", "Reloads of the configuration"),
            records: made(all, "log_records", "Records that came, by level"),
            lost: made(all, "log_records_lost", "Records that the server lost"),
            unreadable: made(all, "log_records_unreadable", "Packets that are no record"),
            registry,
        };
        counts.begin();
        counts
    }

    /// Makes the counts that are 0 at the start. Others come with their first event.
    fn begin(&self) {
        let other = || OTHER.to_owned();
        drop(
            self.logins
                .get_or_create(&[("method", other()), ("tls", other())]),
        );
        for (family, label, values) in [
            (&self.login_failures, "method", &[OTHER][..]),
            (&self.penalties, "of", &["source", "account"]),
            (&self.session_ends, "why", &[OTHER]),
            (&self.stranger_ends, "why", &[OTHER]),
            (&self.opened, "how", &["unchanged", "grown", "scanned"]),
            (&self.not_opened, "cause", &CAUSES.map(|(_, cause)| cause)),
            (&self.not_opened, "cause", &[OTHER]),
            (&self.updates, "outcome", &OUTCOMES),
            (&self.refused, "why", &[OTHER]),
            (&self.handshakes, "kind", &["full", "resumed"]),
            (&self.died, "process", &PROCESSES),
            (&self.reloads, "outcome", &["done", "failed"]),
            (&self.records, "level", &LEVELS),
        ] {
            for value in values {
                drop(family.get_or_create(&[(label, (*value).to_owned())]));
            }
        }
    }

    /// Counts one packet from popward-log.
    pub(crate) fn packet(&mut self, packet: &[u8]) {
        match Record::read(packet) {
            Some(record) => self.record(&record),
            None => drop(self.unreadable.inc()),
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        let level = record.priority().and_then(|priority| LEVELS.get(priority));
        self.count(|all| &all.records, "level", level.copied().unwrap_or(OTHER));
        let (process, why, error) = (
            record.field("process"),
            record.field("why"),
            record.field("error"),
        );
        match (process, record.field("text")) {
            ("supervisor", "ready") => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                let seconds = now.map_or(0, |now| now.as_secs());
                self.started.set(i64::try_from(seconds).unwrap_or(i64::MAX));
                self.forget_sessions();
            }
            ("supervisor", "configuration reloaded") => {
                self.count(|all| &all.reloads, "outcome", "done");
            }
            ("supervisor", "configuration not reloaded") => {
                self.count(|all| &all.reloads, "outcome", "failed");
            }
            ("front", "login") => self.login(record),
            ("front" | "sessions", "end") => self.end(record),
            ("front", "login failed") => {
                self.count(|all| &all.login_failures, "method", record.field("method"));
            }
            ("front", "connection refused") => {
                let why = self.value("why", why);
                let times = record.number("times").unwrap_or(1);
                self.refused.get_or_create(&[("why", why)]).inc_by(times);
            }
            ("front", "TLS handshake failed") => drop(self.handshakes_failed.inc()),
            ("front", "certificate") => self.certificate(record),
            ("auth", "cannot check") => drop(self.unchecked.inc()),
            ("auth", "a source waits before its logins are looked at") => {
                self.count(|all| &all.penalties, "of", "source");
            }
            ("auth", "too many failures: nothing is checked for this user for a while") => {
                self.count(|all| &all.penalties, "of", "account");
            }
            ("worker", text) => self.worker(record, text, error),
            ("supervisor" | "monitor" | "sessions", "process died") => {
                // The first field of this name is who says it: only a parent knows.
                let of = record.last("process");
                if matches!(of, "monitor" | "sessions") {
                    self.forget_sessions();
                }
                self.count(|all| &all.died, "process", of);
            }
            (_, "log records were lost") => {
                self.lost.inc_by(record.number("records").unwrap_or(1));
            }
            _ => {}
        }
    }

    fn login(&mut self, record: &Record<'_>) {
        let version = record.field("tls").split('/').next().unwrap_or_default();
        let method = self.value("method", record.field("method"));
        let labels = [("method", method), ("tls", self.value("tls", version))];
        self.logins.get_or_create(&labels).inc();
        if self.open.begin(record) {
            self.sessions.inc();
        }
    }

    /// A certificate that is in use. Their numbers begin at 1.
    fn certificate(&mut self, record: &Record<'_>) {
        if record.number("number") == Some(1) {
            // A reload may have left out some that were there before.
            self.expiry.clear();
        }
        let name = self.value("name", record.field("name"));
        let number = self.value("number", record.field("number"));
        if let Some(expires) = record.number("expires") {
            let labels = [("number", number), ("name", name)];
            let expires = i64::try_from(expires).unwrap_or(i64::MAX);
            self.expiry.get_or_create(&labels).set(expires);
        }
    }

    fn end(&mut self, record: &Record<'_>) {
        let handshake = record.field("handshake");
        if !handshake.is_empty() {
            self.count(|all| &all.handshakes, "kind", handshake);
        }
        if self.open.end(record.field("session")) {
            self.sessions.dec();
        } else if record.field("user").is_empty() {
            return self.count(|all| &all.stranger_ends, "why", record.field("why"));
        }
        self.count(|all| &all.session_ends, "why", record.field("why"));
        for (counter, name) in [
            (&self.sent, "sent_octets"),
            (&self.retrieved, "retrieved"),
            (&self.deleted, "deleted"),
        ] {
            counter.inc_by(record.number(name).unwrap_or(0));
        }
        observe(&self.session_seconds, record.number("seconds"), 1.0);
    }

    fn worker(&mut self, record: &Record<'_>, text: &str, error: &str) {
        match text {
            "opened" => {
                self.count(|all| &all.opened, "how", record.field("how"));
                observe(&self.lock_wait, record.number("lock_ms"), 1e3);
                observe(&self.read, record.number("read_ms"), 1e3);
                observe(&self.spool, record.number("bytes"), 1.0);
            }
            "maildrop not opened" => {
                let known = CAUSES.iter().find(|(part, _)| error.contains(part));
                let cause = known.map_or(OTHER, |(_, cause)| cause);
                self.count(|all| &all.not_opened, "cause", cause);
            }
            "updated" => self.count(|all| &all.updates, "outcome", "done"),
            "update failed" => self.count(|all| &all.updates, "outcome", "nothing deleted"),
            "update broken off" => self.count(|all| &all.updates, "outcome", "broken off"),
            "finished an update that was broken off" => {
                self.count(|all| &all.updates, "outcome", "finished later");
            }
            _ => {}
        }
        if error.contains("the dotlock was lost, or the spool replaced") {
            self.locks_lost.inc();
        }
    }

    fn forget_sessions(&mut self) {
        self.open.clear();
        self.sessions.set(0);
    }

    fn count(&mut self, of: impl Fn(&Self) -> &By, label: &'static str, value: &str) {
        let value = self.value(label, value);
        of(self).get_or_create(&[(label, value)]).inc();
    }

    /// A label's value. A process that was taken over can invent values, so there is a bound.
    fn value(&mut self, label: &'static str, value: &str) -> String {
        let of_label = self.values.iter().filter(|(of, _)| *of == label).count();
        let known = self.values.contains(&(label, value.to_owned()));
        if !known && (of_label >= VALUES_MAX || value.len() > VALUE_MAX) {
            return OTHER.to_owned();
        }
        self.values.insert((label, value.to_owned()));
        value.to_owned()
    }

    /// All counts in the text form of `OpenMetrics`. `None`: they could not be written.
    pub(crate) fn page(&self) -> Option<String> {
        let mut page = String::new();
        encode(&mut page, &self.registry).ok()?;
        Some(page)
    }

    /// The open sessions as JSON.
    pub(crate) fn sessions(&self) -> Option<String> {
        self.open.page()
    }
}

/// A metric that is registered under this name.
fn made<M: Metric + Default + Clone>(all: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    all.register(name, help, metric.clone());
    metric
}

/// A histogram with these upper bounds.
fn spread(all: &mut Registry, name: &str, help: &str, bounds: &[f64]) -> Histogram {
    let metric = Histogram::new(bounds.iter().copied());
    all.register(name, help, metric.clone());
    metric
}

/// Observes `number`, of which `unit` are one.
fn observe(histogram: &Histogram, number: Option<u64>, unit: f64) {
    // Times and sizes are far below 2^53. A f64 holds every whole number up to that.
    #[allow(clippy::cast_precision_loss, reason = "see above")]
    if let Some(number) = number {
        histogram.observe(number as f64 / unit);
    }
}

#[cfg(test)]
mod tests;
