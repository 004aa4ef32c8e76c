use super::*;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn sockets_collide_at_one_port_if_their_addresses_overlap() {
    for (one, other, expected) in [
        ("127.0.0.1:110", "127.0.0.1:110", true),
        ("127.0.0.1:110", "127.0.0.1:995", false),
        ("127.0.0.1:110", "127.0.0.2:110", false),
        ("0.0.0.0:110", "127.0.0.2:110", true),
        ("[::]:110", "127.0.0.2:110", true),
        ("[::]:110", "[::1]:110", true),
        ("[::1]:110", "0.0.0.0:110", false),
    ] {
        assert_eq!(
            collide(address(one), address(other)),
            expected,
            "{one} {other}"
        );
        assert_eq!(
            collide(address(other), address(one)),
            expected,
            "{one} {other}"
        );
    }
}

#[test]
fn the_locks_are_those_that_the_file_system_bears() {
    let all = LockSettings {
        dotlock: true,
        fcntl: true,
        flock: true,
        timeout_ms: 0,
    };
    assert_eq!(locks(all, "ext4"), "dotlock, fcntl, flock");
    assert_eq!(locks(all, "nfs4"), "dotlock, fcntl");
    let flock = LockSettings {
        fcntl: false,
        ..all
    };
    assert_eq!(locks(flock, "nfs"), "dotlock, flock");
}
