//! Mail readers of shell users, in batch mode. Each is told to delete one message, or to mark it as
//! read, and to leave the others in place.

use super::agents::Post;
use super::{Account, Ended, MAIL, as_user, find, run};
use crate::host::skipped;
use std::time::Duration;

/// Readers that work in batch mode.
pub const READERS: &[&str] = &["mutt", "s-nail", "bsd-mailx", "mail.mailutils", "mailutil"];

/// No reader waits longer for a lock than c-client.
const PATIENCE: Duration = Duration::from_secs(330);

/// The readers that are installed. Prints the names of the others.
pub fn installed() -> Vec<&'static str> {
    let mut found = Vec::new();
    for reader in READERS {
        if find(reader).is_some() && (*reader != "mutt" || find("script").is_some()) {
            found.push(*reader);
        } else {
            skipped(&format!("{reader} is not installed"));
        }
    }
    found
}

/// What a reader is told to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edit {
    Delete,
    Mark,
}

/// Runs `reader` to edit message `id` of the user's spool. Only the spool shows whether it did.
pub fn edit(reader: &str, post: &Post, account: &Account, id: u32, edit: Edit) -> Ended {
    let home = post.home_of(account);
    let spool = post.mail.join(account.name);
    // mailutils has no helper that could make a dotlock for it, and c-client, as Debian builds it,
    // does not find its own. In a directory that only the group may write to, they would take no
    // lock that delivery agents heed.
    let group = if matches!(reader, "mail.mailutils" | "mailutil") {
        MAIL
    } else {
        account.gid
    };
    let program = if reader == "mutt" { "bash" } else { reader };
    let mut command = as_user(&find(program).unwrap(), account, group, &home);
    let delete = edit == Edit::Delete;
    match reader {
        "mutt" => {
            let keys = if delete {
                format!("<delete-pattern>~s n{id}x<enter>")
            } else {
                format!("<search>~s n{id}x<enter><clear-flag>N")
            };
            let line = format!(
                "stty rows 24 cols 80; mutt -n -F /dev/null -e 'set folder=. quit=yes move=no delete=yes wait_key=no' -f '{}' -e 'push \"{keys}<sync-mailbox><exit>\"'",
                spool.display()
            );
            // mutt tries for its lock five times in four seconds. If it gets none when it opens the
            // spool, it opens the spool read-only, forgets the pushed commands and waits for a key:
            // `x` ends it. If it gets none when it writes, it asks whether to remove the dotlock.
            // The owner of the dotlock may wait for mutt's fcntl lock, so Ctrl-G answers no. mutt
            // gets both keys every second. No child of script's sends the keys, because script
            // waits for all of its children. The terminal gets a size, because ncurses 6.5 cannot
            // open one of size 0.
            let keys = r#"exec script -qec "$1" /dev/null < <(while sleep 1; do printf '\ax' || break; done &)"#;
            command.args(["-c", keys, "bash", &line]);
            run(&mut command, "", PATIENCE)
        }
        "s-nail" => {
            let verb = if delete { "delete" } else { "print" };
            command.args(["-n", "-N"]).env("MAIL", &spool);
            let input = format!("set hold keep\n{verb} \"(subject n{id}x)\"\nquit\n");
            run(&mut command, &input, PATIENCE)
        }
        "bsd-mailx" => {
            let verb = if delete { "delete" } else { "print" };
            command.args(["-n", "-N"]).env("MAIL", &spool);
            let input = format!("set hold keep\n{verb} /n{id}x\nquit\n");
            run(&mut command, &input, PATIENCE)
        }
        "mail.mailutils" => {
            let verb = if delete { "delete" } else { "print" };
            command.args(["-N", "-f"]).arg(&spool);
            run(
                &mut command,
                &format!("set hold keep\n{verb} /n{id}x/\nquit\n"),
                PATIENCE,
            )
        }
        "mailutil" => {
            let mailbox = format!("spools/{}", account.name);
            command.args(["prune", &mailbox, &format!("SUBJECT n{id}x")]);
            run(&mut command, "", PATIENCE)
        }
        _ => panic!("{reader}?"),
    }
}

/// Whether a reader can mark a message as read, besides deleting.
pub fn marks(reader: &str) -> bool {
    reader != "mailutil"
}

/// Runs mailutils' movemail: it takes all messages out of the spool and puts them into a file at
/// home.
pub fn move_all(post: &Post, account: &Account) -> Ended {
    let home = post.home_of(account);
    let mut command = as_user(&find("movemail").unwrap(), account, MAIL, &home);
    command.arg(post.mail.join(account.name)).arg("moved");
    run(&mut command, "", PATIENCE)
}
