//! Only with the capabilities that root's processes keep.

#![cfg(feature = "server")]

use super::of_root::give_up_except;
use super::*;

/// The capability sets of this thread, as the kernel shows them: bounding, permitted,
/// effective, inheritable, ambient.
fn shown() -> [u64; 5] {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"].map(|name| {
        let mut lines = status.lines();
        let set = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
        u64::from_str_radix(set.unwrap(), 16).unwrap()
    })
}

/// The kernel has these sets for each thread. So the test gives up those of a thread of its
/// own.
#[test]
fn p10_what_is_given_up_is_in_no_set_any_more() {
    let before = shown();
    let keep = Capabilities::KILL.with(Capabilities::SYS_CHROOT);
    let give_up = move || {
        of_root::shrink(keep).unwrap();
        give_up_except(keep).unwrap();
        let [effective, permitted, inheritable] = held().unwrap();
        assert!(permitted.is_within(keep));
        let seen = [permitted.0, effective.0, inheritable.0];
        assert_eq!(seen, shown()[1..4]);
        let some = shown();
        give_up_except(Capabilities::NONE).unwrap();
        (some, shown())
    };
    let (some, none) = std::thread::spawn(give_up).join().unwrap();
    let kept = before[1] & keep.0;
    assert_eq!(some[1..], [kept, kept, 0, 0]);
    assert_eq!(none[1..], [0; 4]);
    // Only a process with CAP_SETPCAP can shrink its bounding set.
    let may_shrink = before[2] & Capabilities::SETPCAP.0 != 0;
    let bounding = if may_shrink { keep.0 } else { u64::MAX };
    assert_eq!(some[0], before[0] & bounding);
    assert_eq!(shown(), before, "another thread");
}
