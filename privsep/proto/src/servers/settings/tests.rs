//! Which settings hold for whom.

use super::*;
use crate::bounded::UserName;
use crate::pattern::Part;

fn account(name: &str, gid: u32, groups: &[u32]) -> Account {
    Account {
        name: UserName::try_from(name.to_owned()).unwrap(),
        uid: 1000,
        gid,
        groups: List::try_from(groups.to_vec()).unwrap(),
        home: None,
        spool: None,
    }
}

/// The pattern of these parts.
fn pattern(parts: &[Part; 2]) -> Pattern {
    Pattern::try_from(List::try_from(parts.to_vec()).unwrap()).unwrap()
}

fn literal(text: &str) -> Part {
    Part::Literal(Text::truncated(text))
}

fn everybody() -> Settings {
    Settings {
        spool: Spool {
            pattern: pattern(&[literal("/var/mail/"), Part::User]),
            group: Some(8),
            locks: LockSettings {
                dotlock: false,
                fcntl: true,
                flock: true,
                timeout_ms: 10_000,
            },
            adopt: List::default(),
            hide: List::default(),
        },
        sessions_per_user: 8,
        login_delay_s: 30,
    }
}

/// A table that names these, and says nothing.
fn table(users: &[&str], groups: &[u32]) -> Table {
    let user = |name: &&str| UserName::try_from((*name).to_owned()).unwrap();
    Table {
        named: AccountSelector {
            users: List::try_from(users.iter().map(user).collect::<Vec<_>>()).unwrap(),
            groups: List::try_from(groups.to_vec()).unwrap(),
        },
        place: None,
        lock_timeout_ms: None,
        adopt: None,
        hide: None,
        sessions_per_user: None,
        login_delay_s: None,
    }
}

fn all(tables: Vec<Table>) -> AllSettings {
    let everybody = everybody();
    AllSettings { everybody, tables }
}

/// All that can be told apart of it.
fn shown(settings: &Settings) -> String {
    format!("{settings:?}")
}

#[test]
fn who_is_named_by_no_table_has_what_everybody_has() {
    let mut theirs = table(&["alice"], &[7]);
    theirs.sessions_per_user = Some(1);
    let all = all(vec![theirs]);
    for (account, most) in [
        (account("bob", 1000, &[8, 9]), 8),
        (account("alice", 1000, &[]), 1),
        (account("carol", 7, &[]), 1),
        (account("carol", 1000, &[9, 7]), 1),
    ] {
        assert_eq!(all.of(&account).sessions_per_user, most, "{account:?}");
    }
    let bob = account("bob", 1000, &[]);
    assert_eq!(shown(&all.of(&bob)), shown(&everybody()));
}

#[test]
fn each_key_of_a_table_takes_the_place_of_everybodys() {
    let theirs = Table {
        place: Some((pattern(&[Part::Home, literal("/mbox")]), None)),
        lock_timeout_ms: Some(1000),
        adopt: List::try_from(vec![Scheme::Popa3d]).ok(),
        hide: List::try_from(vec![Text::truncated("Status")]).ok(),
        sessions_per_user: Some(2),
        login_delay_s: Some(0),
        ..table(&["alice"], &[])
    };
    let own = all(vec![theirs]).of(&account("alice", 1000, &[]));
    let mut expected = everybody();
    expected.spool.pattern = pattern(&[Part::Home, literal("/mbox")]);
    expected.spool.group = None;
    expected.spool.locks.timeout_ms = 1000;
    expected.spool.adopt = List::try_from(vec![Scheme::Popa3d]).unwrap();
    expected.spool.hide = List::try_from(vec![Text::truncated("Status")]).unwrap();
    expected.sessions_per_user = 2;
    expected.login_delay_s = 0;
    assert_eq!(shown(&own), shown(&expected));
}

#[test]
fn of_several_tables_the_first_that_has_a_key_counts() {
    let first = Table {
        lock_timeout_ms: Some(1000),
        ..table(&["alice"], &[])
    };
    let second = Table {
        lock_timeout_ms: Some(2000),
        sessions_per_user: Some(2),
        ..table(&[], &[7])
    };
    let third = Table {
        sessions_per_user: Some(3),
        login_delay_s: Some(5),
        ..table(&["alice", "bob"], &[7])
    };
    let all = all(vec![first, second, third]);
    let of = |name, gid| {
        let own = all.of(&account(name, gid, &[]));
        let timeout_ms = own.spool.locks.timeout_ms;
        (timeout_ms, own.sessions_per_user, own.login_delay_s)
    };
    assert_eq!(of("alice", 7), (1000, 2, 5));
    assert_eq!(of("alice", 1000), (1000, 3, 5));
    assert_eq!(of("bob", 1000), (10_000, 3, 5));
    assert_eq!(of("carol", 7), (2000, 2, 5));
    assert_eq!(of("carol", 1000), (10_000, 8, 30));
}

#[test]
fn fronts_are_told_the_longest_delay() {
    let delayed = |seconds, name| Table {
        login_delay_s: Some(seconds),
        ..table(&[name], &[])
    };
    let some = all(vec![
        delayed(60, "alice"),
        table(&["bob"], &[]),
        delayed(0, "carol"),
    ]);
    assert_eq!(some.longest_login_delay(), (60, true));
    let equal = all(vec![delayed(30, "alice")]);
    assert_eq!(equal.longest_login_delay(), (30, false));
    let shorter = all(vec![delayed(0, "alice")]);
    assert_eq!(shorter.longest_login_delay(), (30, true));
}
