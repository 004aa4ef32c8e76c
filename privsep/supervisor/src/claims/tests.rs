//! The limits on a user's sessions hold over all monitors.

use super::*;
use popward_proto::account::FrontId;
use popward_proto::bounded::AbsolutePath;

fn monitors() -> [ChildId; 2] {
    let (own, _other) = popward_sys::channel::socket_pair().unwrap();
    let mut events = popward_parent::events::Events::new(own).unwrap();
    [events.next_id(), events.next_id()]
}

fn session(count: u32) -> SessionId {
    SessionId::new(FrontId(1), count)
}

fn claim(count: u32, user: &str, directory: &str, sessions_max: u32) -> Claim {
    Claim {
        session: session(count),
        user: UserName::try_from(user.to_owned()).unwrap(),
        directory: AbsolutePath::try_from(directory.to_owned()).unwrap(),
        spool: UserName::try_from(user.to_owned()).unwrap(),
        sessions_max,
        adopts: false,
    }
}

#[test]
fn the_sessions_of_a_user_are_counted_over_all_monitors() {
    let (mut claims, [old, new]) = (Claims::default(), monitors());
    assert_eq!(claims.add(old, claim(1, "alice", "/mail", 2)), None);
    assert_eq!(claims.add(new, claim(2, "alice", "/mail", 2)), None);
    let third = claims.add(new, claim(3, "alice", "/mail", 2));
    assert_eq!(third, Some(Refusal::TooMany));
    assert_eq!(claims.add(new, claim(4, "bob", "/mail", 2)), None);
    claims.release(session(2));
    assert_eq!(claims.add(new, claim(3, "alice", "/mail", 2)), None);
    claims.release_all(old);
    assert_eq!(claims.add(new, claim(5, "alice", "/mail", 2)), None);
}

#[test]
fn a_user_has_one_spool_at_a_time() {
    let (mut claims, [old, new]) = (Claims::default(), monitors());
    assert_eq!(claims.add(old, claim(1, "alice", "/mail", 9)), None);
    let moved = claims.add(new, claim(2, "alice", "/new", 9));
    assert_eq!(moved, Some(Refusal::Elsewhere));
    claims.release(session(1));
    assert_eq!(claims.add(new, claim(2, "alice", "/new", 9)), None);
}

#[test]
fn one_adoption_at_a_time_and_no_session_beside_it() {
    let (mut claims, [old, new]) = (Claims::default(), monitors());
    let adopts = Claim {
        adopts: true,
        ..claim(1, "alice", "/mail", 9)
    };
    assert_eq!(claims.add(old, adopts), None);
    let second = claims.add(new, claim(2, "alice", "/mail", 9));
    assert_eq!(second, Some(Refusal::Adopting));
    claims.adopted(session(1));
    assert_eq!(claims.add(new, claim(2, "alice", "/mail", 9)), None);
}
