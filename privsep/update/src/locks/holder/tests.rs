use super::{Holder, holder_in, process, shown};

#[test]
fn the_kernels_list_names_the_process_of_a_lock_and_none_that_waits() {
    let own = std::process::id();
    let line = |held: &str| format!("1: {held}FLOCK  ADVISORY  WRITE {own} fd:01:917 0 EOF");
    let found = holder_in(&line(""), "fd:01:917");
    let found = found.unwrap().to_string();
    assert!(found.ends_with(&format!(" (process {own})")), "{found}");
    assert_eq!(holder_in(&line(""), "fd:01:91"), None);
    assert_eq!(holder_in(&line("-> "), "fd:01:917"), None);
    let of_a_description = "2: OFDLCK ADVISORY  WRITE -1 fd:01:917 0 EOF";
    assert_eq!(holder_in(of_a_description, "fd:01:917"), None);
}

#[test]
fn a_process_that_has_ended_is_said_to_have_ended() {
    let pid = i32::MAX;
    assert_eq!(process(pid), Some(Holder::Gone(pid)));
    let said = format!("process {pid}, which has ended");
    assert_eq!(Holder::Gone(pid).to_string(), said);
}

#[test]
fn a_name_cannot_forge_a_line_of_the_log() {
    assert_eq!(shown("a\nb c"), "a?b?c");
    assert_eq!(shown(&"x".repeat(1000)).len(), 64);
}
