use super::*;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

fn ended(status: WaitStatus, updates: bool, finished: bool) -> Ended {
    Ended {
        status,
        finished,
        updates,
        ..Ended::nothing()
    }
}

/// The dotlock of a killed process went, although the spool was half moved.
#[test]
fn p3_a_process_that_dies_in_an_update_leaves_a_torn_spool() {
    let killed = WaitStatus::Signaled(Pid::from_raw(1), Signal::SIGKILL, false);
    let exited = |code: u8| WaitStatus::Exited(Pid::from_raw(1), code.into());
    let finish = Task::Finish { dotlock: None };
    for (task, status, updates, finished, torn) in [
        (Task::Serve, killed, true, false, true),
        (Task::Serve, killed, false, false, false),
        // The update of another process was finished, and then it died.
        (Task::Serve, killed, false, true, false),
        (Task::Serve, exited(NOT_FINISHED), true, false, true),
        (Task::Serve, exited(NOT_OPENED), false, false, false),
        (Task::Serve, exited(0), false, true, false),
        // The update that it came to finish may stand half done.
        (finish, killed, false, false, true),
        (finish, killed, false, true, false),
        (finish, exited(0), false, false, false),
        (finish, exited(NOT_FINISHED), true, false, true),
        (Task::Adopt, killed, false, false, false),
    ] {
        let ended = ended(status, updates, finished);
        assert_eq!(ended.is_torn(task), torn, "{task:?}: {ended:?}");
    }
}
