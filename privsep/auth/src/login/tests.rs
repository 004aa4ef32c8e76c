//! Which step of a login may follow which, and when.

use super::*;
use popward_proto::account::FrontId;
use popward_proto::bounded::List;
use proptest::prelude::*;

fn session(count: u32) -> SessionId {
    SessionId::new(FrontId(1), count)
}

fn client() -> Client {
    Client {
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
        tls: true,
    }
}

fn account() -> Account {
    Account {
        name: UserName::try_from("alice".to_owned()).unwrap(),
        uid: 1000,
        gid: 1000,
        groups: List::try_from(Vec::new()).unwrap(),
        home: None,
        spool: None,
    }
}

fn credentials() -> Credentials {
    Credentials::Apop {
        user: account().name,
        timestamp: popward_proto::bounded::Text::truncated("<1@x>"),
        digest: [0; 16],
    }
}

const DELAY: Duration = Duration::from_secs(2);

#[test]
fn p9_a_failure_is_told_after_whole_delays_only() {
    let came = Instant::now();
    let ms = Duration::from_millis;
    for (took, told) in [
        (0, 2000),
        (1, 2000),
        (2000, 2000),
        (2001, 4000),
        (9999, 10_000),
    ] {
        assert_eq!(due(came, came + ms(took), DELAY), came + ms(told), "{took}");
    }
    assert_eq!(due(came, came + ms(5), Duration::ZERO), came + ms(5));
}

#[test]
fn a_verdict_on_a_cancelled_login_does_not_reach_the_next_login() {
    let (mut logins, now) = (Logins::default(), Instant::now());
    let first = logins.begin(session(1), client(), None, now).unwrap();
    logins.cancel(session(1));
    logins.cancel(session(1));
    let second = logins.begin(session(1), client(), None, now).unwrap();
    assert!(logins.get(first).is_none());
    logins.end(first);
    assert!(logins.get(second).is_some());
}

#[test]
fn a_session_has_one_login_and_auth_a_bounded_number() {
    let (mut logins, now) = (Logins::default(), Instant::now());
    let first = logins.begin(session(1), client(), None, now).unwrap();
    assert_eq!(
        logins.begin(session(1), client(), None, now),
        Err(NotBegun::OutOfOrder)
    );
    for count in 2..=u32::try_from(LOGINS_MAX).unwrap() {
        logins.begin(session(count), client(), None, now).unwrap();
    }
    assert_eq!(
        logins.begin(session(0), client(), None, now),
        Err(NotBegun::Full)
    );
    // A login whose client leaves keeps its place until the verdict, because the verdict counts.
    logins.cancel(session(1));
    assert!(logins.get(first).unwrap().abandoned);
    assert_eq!(
        logins.begin(session(0), client(), None, now),
        Err(NotBegun::Full)
    );
    logins.end(first);
    logins.begin(session(0), client(), None, now).unwrap();
}

#[test]
fn a_login_that_waits_for_its_client_may_be_replaced() {
    let (mut logins, now) = (Logins::default(), Instant::now());
    let first = logins.begin(session(1), client(), None, now).unwrap();
    logins.get(first).unwrap().await_proceed(account(), now);
    let second = logins.begin(session(1), client(), None, now).unwrap();
    assert!(logins.get(first).is_none() && logins.get(second).is_some());
    assert_eq!(
        logins.proceed(session(1)),
        Err(OutOfOrder),
        "the first one's grant is gone"
    );
}

#[test]
fn a_step_out_of_order_is_an_error() {
    let (mut logins, now) = (Logins::default(), Instant::now());
    let login_id = logins.begin(session(1), client(), None, now).unwrap();
    assert_eq!(
        logins.prove(session(1), now).err(),
        Some(OutOfOrder),
        "nothing was asked"
    );
    logins.get(login_id).unwrap().await_proceed(account(), now);
    assert_eq!(logins.proceed(session(1)), Ok(Some(account())));
    assert_eq!(logins.proceed(session(1)), Ok(None), "it is over");
    assert!(
        logins
            .prove(session(1), now)
            .is_ok_and(|login| login.is_none())
    );
    logins.begin(session(1), client(), None, now).unwrap();
    assert_eq!(logins.proceed(session(1)), Err(OutOfOrder));
}

#[test]
fn a_login_without_its_next_step_is_dropped_after_a_while() {
    let (mut logins, now) = (Logins::default(), Instant::now());
    let login_id = logins.begin(session(1), client(), None, now).unwrap();
    assert_eq!(logins.next(), None, "the check has a limit of its own");
    logins.get(login_id).unwrap().await_proceed(account(), now);
    assert_eq!(logins.next(), Some(now + STEP_MAX));
    assert!(logins.due(now + STEP_MAX.mul_f64(0.99)).is_empty());
    assert!(matches!(logins.due(now + STEP_MAX)[..], [Due::Dropped(_)]));
    assert_eq!(
        logins.proceed(session(1)),
        Ok(None),
        "a step that comes too late is no error"
    );
}

proptest! {
    /// Random steps on one session's login. A grant comes only after the server's signature, a
    /// refusal only after a failure, and nothing is due before its time.
    #[test]
    fn a_login_ends_once_and_only_in_a_permitted_way(steps in prop::collection::vec((0u8..8, 0u64..3000), 0..40)) {
        let (mut logins, mut now) = (Logins::default(), Instant::now());
        let (mut login_id, mut granted, mut failed) = (None, false, None);
        for (step, passed) in steps {
            now += Duration::from_millis(passed);
            let login = login_id.and_then(|login_id| logins.get(login_id));
            match (step, login) {
                (0, _) => if let Ok(begun) = logins.begin(session(1), client(), None, now) {
                    (login_id, granted, failed) = (Some(begun), false, None);
                },
                (1, Some(login)) if login.until().is_none() => {
                    login.fail(DELAY, now);
                    failed = login.until();
                }
                (2, Some(login)) if login.until().is_none() => {
                    login.await_proceed(account(), now);
                    granted = true;
                }
                (3, Some(login)) if login.until().is_none() => login.wait_for_penalty(now + DELAY, credentials()),
                (4, _) => if let Ok(Some(_)) = logins.proceed(session(1)) {
                    prop_assert!(granted);
                    granted = false;
                },
                (5, _) => logins.cancel(session(1)),
                (6, _) => prop_assert!(!matches!(logins.prove(session(1), now), Ok(Some(_)))),
                (7, _) => for due in logins.due(now) {
                    match due {
                        Due::Check(checked, _) => prop_assert_eq!(Some(checked), login_id),
                        Due::Refuse(_) => prop_assert!(failed.is_some_and(|due| due <= now)),
                        Due::Dropped(_) => prop_assert!(granted),
                    }
                },
                _ => {}
            }
        }
    }
}
