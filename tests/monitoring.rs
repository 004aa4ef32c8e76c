//! The dashboard for Grafana and the alert rules: whether their queries can be parsed, and whether
//! they ask for what popward-metrics has.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{built, skipped, until};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::Command;

/// The metrics of a popward-metrics that has seen a certificate, each with its labels. All others
/// are there from the start on.
fn exposed() -> BTreeMap<String, BTreeSet<String>> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let mut metrics = Command::new(built().join("popward-metrics"));
    metrics.arg("--records").arg(at("records"));
    metrics.arg("--listen").arg(at("http"));
    let mut metrics = metrics.spawn().unwrap();
    until("it listens", || UnixStream::connect(at("http")).is_ok());
    let record = "POPWARD_PROCESS=front\nPOPWARD_TEXT=certificate\nPOPWARD_NUMBER=1\n\
        POPWARD_NAME=a.example\nPOPWARD_EXPIRES=1900000000\n";
    let sender = UnixDatagram::unbound().unwrap();
    sender.send_to(record.as_bytes(), at("records")).unwrap();
    let mut page = String::new();
    until("the certificate is known", || {
        let mut client = UnixStream::connect(at("http")).unwrap();
        client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        page.clear();
        client.read_to_string(&mut page).unwrap();
        page.contains("a.example")
    });
    metrics.kill().unwrap();
    metrics.wait().unwrap();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("popward_")) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let of = found.entry(name.to_owned()).or_default();
        of.extend(names_before(labels, '='));
        // Prometheus adds these.
        of.extend(["instance".to_owned(), "job".to_owned()]);
    }
    found
}

/// The words that stand before `mark`.
fn names_before(text: &str, mark: char) -> Vec<String> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let word = |part: &str| part.rsplit(|c| !is_word(c)).next().unwrap().to_owned();
    let mut parts: Vec<_> = text.split(mark).collect();
    parts.pop();
    parts
        .into_iter()
        .map(word)
        .filter(|name| !name.is_empty())
        .collect()
}

/// Fails if a query names a metric that is not there, or a label that this metric does not have.
#[track_caller]
fn assert_exposed(query: &str, exposed: &BTreeMap<String, BTreeSet<String>>) {
    let mut asked = 0;
    let grouped = query.split("by (").nth(1);
    let grouped = grouped.map_or("", |rest| rest.split(')').next().unwrap());
    let grouped = grouped
        .split(',')
        .map(str::trim)
        .filter(|label| !label.is_empty());
    for (at, _) in query.match_indices("popward_") {
        asked += 1;
        let rest = &query[at..];
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = rest.split(|c| !is_word(c)).next().unwrap();
        let labels = exposed
            .get(name)
            .unwrap_or_else(|| panic!("{name}: {query}"));
        let matched = rest[name.len()..]
            .strip_prefix('{')
            .map_or("", |inside| inside.split('}').next().unwrap());
        let mut matched = names_before(matched, '=');
        matched.extend(grouped.clone().map(str::to_owned));
        for label in &matched {
            assert!(labels.contains(label), "{name} has no {label}: {query}");
        }
    }
    assert!(
        asked > 0 || query.contains("up{job=\"popward\"}"),
        "{query}"
    );
}

fn dashboard() -> Value {
    serde_json::from_str(include_str!("../packaging/monitoring/dashboard.json")).unwrap()
}

/// The queries of all panels, with values for Grafana's variables.
fn queries(board: &Value) -> Vec<String> {
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let queries = targets.map(|target| target["expr"].as_str().unwrap());
    let filled = queries.map(|query| query.replace("$instance", ".*"));
    filled
        .map(|query| query.replace("$__rate_interval", "5m"))
        .collect()
}

/// The expressions of the alert rules.
fn alerts() -> Vec<&'static str> {
    let lines = include_str!("../packaging/monitoring/alerts.yml").lines();
    lines
        .filter_map(|line| line.trim_start().strip_prefix("expr: "))
        .collect()
}

#[test]
fn the_dashboard_has_the_fields_that_grafana_needs() {
    let board = dashboard();
    for (field, is_right) in [
        ("uid", board["uid"] == "popward"),
        ("title", board["title"] == "popward"),
        ("schemaVersion", board["schemaVersion"].as_u64() >= Some(36)),
        (
            "time",
            board["time"]["from"].is_string() && board["time"]["to"].is_string(),
        ),
        (
            "panels",
            board["panels"].as_array().is_some_and(|all| all.len() > 10),
        ),
    ] {
        assert!(is_right, "{field}");
    }
    let variables = board["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| &variable["name"]).collect();
    assert_eq!(names, ["datasource", "instance"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(
            !panel["description"].as_str().unwrap().is_empty(),
            "{title}"
        );
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let kind = panel["type"].as_str().unwrap();
        assert!(["stat", "timeseries"].contains(&kind), "{title}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}"
        );
        let place = ["x", "y", "w", "h"].map(|of| panel["gridPos"][of].as_u64().unwrap());
        let [x, y, width, height] = place;
        assert!(x + width <= 24, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} covers another panel");
        }
        let mut targets = BTreeSet::new();
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(targets.insert(target["refId"].as_str().unwrap()), "{title}");
        }
        assert!(!targets.is_empty(), "{title}");
    }
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_popward_metrics_has() {
    let exposed = exposed();
    for query in queries(&dashboard()) {
        assert_exposed(&query, &exposed);
    }
    let alerts = alerts();
    assert!(alerts.len() > 5);
    for query in alerts {
        assert_exposed(query, &exposed);
    }
}

#[test]
fn prometheus_can_parse_the_alerts_and_the_queries_of_the_dashboard() {
    if Command::new("promtool").arg("--version").output().is_err() {
        return skipped("no promtool (Debian's package prometheus)");
    }
    let directory = tempfile::tempdir().unwrap();
    let check = |rules: &str| {
        let file = directory.path().join("rules.yml");
        std::fs::write(&file, rules).unwrap();
        let output = Command::new("promtool")
            .args(["check", "rules"])
            .arg(file)
            .output();
        let output = output.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let rules = |queries: &[String]| {
        let rule = |(number, query): (usize, &String)| {
            format!(
                "  - record: query:{number}\n    expr: {}\n",
                Value::from(query.as_str())
            )
        };
        let rules: String = queries.iter().enumerate().map(rule).collect();
        format!("groups:\n- name: dashboard\n  rules:\n{rules}")
    };
    let (parses, said) = check(&rules(&queries(&dashboard())));
    assert!(parses, "{said}");
    let (parses, said) = check(include_str!("../packaging/monitoring/alerts.yml"));
    assert!(parses, "{said}");
    assert!(!check(&rules(&["sum(rate(".to_owned()])).0);
}
