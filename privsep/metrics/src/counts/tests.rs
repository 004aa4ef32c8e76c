use super::*;

/// Counts that have got a record with these fields for each line.
fn counted(records: &[&str]) -> String {
    let mut counts = Counts::new();
    for record in records {
        let fields = record.split(' ').map(|field| field.replace('_', " "));
        let lines = fields.map(|field| {
            let (name, value) = field.split_once('=').unwrap();
            let name = match name {
                "PRIORITY" => name.to_owned(),
                _ => format!("POPWARD_{}", name.to_uppercase().replace(' ', "_")),
            };
            format!("{name}={value}\n")
        });
        counts.packet(lines.collect::<String>().as_bytes());
    }
    counts.page().unwrap()
}

#[track_caller]
fn assert_has(page: &str, line: &str) {
    assert!(
        page.lines().any(|found| found == line),
        "no {line} in\n{page}"
    );
}

const LOGIN: &str =
    "PRIORITY=5 text=login process=front session=1.1 user=a method=PLAIN tls=TLSv1_3/X";

#[test]
fn a_session_is_counted_from_its_login_to_its_end() {
    let page = counted(&[LOGIN]);
    assert_has(&page, "popward_sessions 1");
    assert_has(
        &page,
        "popward_logins_total{method=\"PLAIN\",tls=\"TLSv1 3\"} 1",
    );
    assert_has(&page, "popward_log_records_total{level=\"notice\"} 1");
    let end = "text=end process=front session=1.1 user=a why=quit sent_octets=70 retrieved=2 deleted=1 seconds=3";
    let page = counted(&[LOGIN, end]);
    assert_has(&page, "popward_sessions 0");
    assert_has(&page, "popward_session_ends_total{why=\"quit\"} 1");
    assert_has(&page, "popward_sent_octets_total 70");
    assert_has(&page, "popward_retrieved_messages_total 2");
    assert_has(&page, "popward_deleted_messages_total 1");
    assert_has(&page, "popward_session_seconds_bucket{le=\"5.0\"} 1");
    assert!(page.ends_with("# EOF\n"));
    let page = counted(&["text=end process=front session=1.2 why=idle"]);
    assert_has(&page, "popward_stranger_ends_total{why=\"idle\"} 1");
}

#[test]
fn the_end_of_a_monitor_or_a_new_start_ends_all_sessions() {
    let died = "text=process_died process=supervisor process=monitor";
    assert_has(&counted(&[LOGIN, died]), "popward_sessions 0");
    assert_has(
        &counted(&[LOGIN, "text=ready process=supervisor"]),
        "popward_sessions 0",
    );
    let died = "text=process_died process=sessions process=worker";
    let page = counted(&[LOGIN, died]);
    assert_has(&page, "popward_sessions 1");
    assert_has(&page, "popward_processes_died_total{process=\"worker\"} 1");
}

#[test]
fn only_a_parent_can_say_that_a_process_died() {
    for who in [
        "front",
        "auth",
        "keys",
        "worker",
        "adopt",
        "auth-program",
        "qpopper",
    ] {
        let died = format!("text=process_died process={who} process=monitor");
        let page = counted(&[LOGIN, &died]);
        assert_has(&page, "popward_sessions 1");
        assert_has(&page, "popward_processes_died_total{process=\"monitor\"} 0");
    }
}

#[test]
fn a_worker_can_forge_no_login() {
    let page = counted(&["text=login process=worker session=1.1 user=a"]);
    assert_has(&page, "popward_sessions 0");
    assert_has(
        &page,
        "popward_logins_total{method=\"other\",tls=\"other\"} 0",
    );
    assert_eq!(page.matches("popward_logins_total{").count(), 1, "{page}");
}

#[test]
fn maildrops_are_counted_by_how_they_were_opened_and_why_they_were_not() {
    let opened = "text=opened process=worker how=scanned lock_ms=3 read_ms=700 bytes=50000";
    let page = counted(&[opened]);
    assert_has(&page, "popward_maildrops_opened_total{how=\"scanned\"} 1");
    assert_has(&page, "popward_lock_wait_seconds_bucket{le=\"0.005\"} 1");
    assert_has(&page, "popward_maildrop_read_seconds_bucket{le=\"0.5\"} 0");
    assert_has(&page, "popward_spool_bytes_bucket{le=\"100000.0\"} 1");
    for (error, cause) in [
        (
            "/var/mail/a.lock_is_held_by_session_1.1_of_popward",
            "locked",
        ),
        ("its_lines_end_with_CR_alone:_no_mbox", "no mbox"),
        ("No_space_left", "other"),
    ] {
        let page = counted(&[&format!(
            "text=maildrop_not_opened process=worker error={error}"
        )]);
        let line = format!("popward_maildrops_not_opened_total{{cause=\"{cause}\"}} 1");
        assert_has(&page, &line);
    }
}

#[test]
fn a_label_has_a_bounded_number_of_values() {
    let many = (0..100).map(|n| format!("text=login_failed process=front method=M{n}"));
    let long = format!(
        "text=login_failed process=front method={}",
        "x".repeat(VALUE_MAX + 1)
    );
    let records: Vec<_> = many.chain([long]).collect();
    let page = counted(&records.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = page
        .lines()
        .filter(|line| line.starts_with("popward_login_failures_total{"));
    assert!(lines.count() <= VALUES_MAX + 1);
    assert_has(&page, "popward_login_failures_total{method=\"other\"} 61");
}

#[test]
fn handshakes_are_counted_by_whether_a_ticket_resumed_them() {
    let page = counted(&[
        "text=end process=front session=1.2 why=quit handshake=full",
        "text=end process=front session=1.3 user=a why=quit handshake=resumed",
        "text=end process=front session=1.4 why=quit",
    ]);
    assert_has(&page, "popward_tls_handshakes_total{kind=\"full\"} 1");
    assert_has(&page, "popward_tls_handshakes_total{kind=\"resumed\"} 1");
}

#[test]
fn a_certificate_that_a_reload_leaves_out_has_no_expiry_any_more() {
    let first = "text=certificate process=front number=1 name=a.example expires=1900000000";
    let second = "text=certificate process=front number=2 name=b.example expires=1900000001";
    let lines = |records: &[&str]| {
        let page = counted(records);
        let lines = page
            .lines()
            .filter(|line| line.starts_with("popward_certificate"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&[first, second]).len(), 2);
    assert_eq!(
        lines(&[first, second, first]),
        ["popward_certificate_expiry_time_seconds{number=\"1\",name=\"a.example\"} 1900000000"]
    );
    // A worker cannot say it.
    assert!(lines(&[&first.replace("front", "worker")]).is_empty());
}
