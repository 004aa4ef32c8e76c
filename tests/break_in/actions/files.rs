//! Files: opening, changing, removing them.

use super::super::scene::Scene;
use super::*;

/// Opening files.
pub(super) fn opened(scene: &Scene) -> Vec<Action> {
    let at = |name: &str| scene.at(name);
    let paths = [
        ("/etc/shadow", "/etc/shadow".into()),
        ("/etc/passwd", "/etc/passwd".into()),
        ("the configuration", at("popward.toml")),
        ("a private key", at("key.pem")),
        ("the password file", at("users")),
        ("another user's spool", at("mail/carol")),
        ("another user's state", at("state/carol/file")),
        ("the user's spool", at("mail/alice")),
        ("the user's state", at("state/alice/file")),
        ("a file that everybody may write", at("public/file")),
        ("an executable", at("libexec/probe")),
        ("its own memory", "/proc/self/mem".into()),
        (
            "a setting of the kernel",
            "/proc/sys/kernel/hostname".into(),
        ),
    ];
    let mut all = Vec::new();
    for (name, at) in &paths {
        all.push(opens(&format!("reads {name}"), at, READ));
    }
    for (name, at) in &paths {
        all.push(opens(&format!("writes {name}"), at, WRITE));
    }
    all.push(opens("lists the root directory", "/", READ));
    all.push(opens("lists the spool directory", at("mail"), READ));
    let directories = [
        ("/etc", "/etc/popward-probe".into()),
        ("the spool directory", at("mail/probe")),
        ("the directory of states", at("state/probe")),
        ("another user's state", at("state/carol/probe")),
        ("the user's state", at("state/alice/probe")),
        ("a directory where everybody may", at("public/probe")),
    ];
    for (name, at) in directories {
        all.push(opens(&format!("makes a file in {name}"), at, MAKE));
    }
    // Without the directory's group, a dotlock would be refused by the rights of the directory alone.
    let directory = open(at("mail"), libc::O_PATH | libc::O_CLOEXEC);
    let arguments = [Returned(0), text("carol"), flags(READ), NULL];
    let name = "reads another user's spool through its directory";
    all.push(Action::new(name, libc::SYS_openat, &arguments).after(&[directory]));
    let arguments = [HERE, text("/etc/shadow"), bytes(&[0; 144]), NULL];
    let name = "asks for the owner of /etc/shadow";
    all.push(Action::new(name, libc::SYS_newfstatat, &arguments));
    // A handle of no file system.
    let handle = [[8, 0, 0, 0, 1, 0, 0, 0], [0; 8]].concat();
    let arguments = [HERE, bytes(&handle), flags(READ)];
    let name = "opens a file by its inode";
    let late = &[Errno::EINVAL, Errno::ESTALE, Errno::EOPNOTSUPP];
    all.push(Action::new(name, libc::SYS_open_by_handle_at, &arguments).late(late));
    all
}

/// Changing files that are another user's, or everybody's.
pub(super) fn changed(scene: &Scene) -> Vec<Action> {
    let at = |name: &str| path(scene.at(name));
    let (other, public) = (|| at("mail/carol"), || at("public/file"));
    let new = || at("public/probe");
    vec![
        Action::new("removes another user's spool", libc::SYS_unlink, &[other()]),
        Action::new(
            "renames another user's spool",
            libc::SYS_rename,
            &[other(), at("mail/probe")],
        ),
        Action::new(
            "links another user's spool",
            libc::SYS_link,
            &[other(), new()],
        ),
        Action::new(
            "changes the mode of another user's spool",
            libc::SYS_chmod,
            &[other(), Number(0o666)],
        ),
        Action::new(
            "changes the owner of another user's spool",
            libc::SYS_chown,
            &[other(), NULL, NULL],
        ),
        Action::new(
            "cuts another user's spool",
            libc::SYS_truncate,
            &[other(), NULL],
        )
        .landlock(3),
        Action::new(
            "sets the times of another user's spool",
            libc::SYS_utimensat,
            &[HERE, other(), NULL, NULL],
        ),
        Action::new(
            "removes a file that everybody may remove",
            libc::SYS_unlink,
            &[public()],
        ),
        Action::new(
            "renames a file that everybody may rename",
            libc::SYS_rename,
            &[public(), new()],
        ),
        Action::new(
            "cuts a file that everybody may cut",
            libc::SYS_truncate,
            &[public(), NULL],
        )
        .landlock(3),
        Action::new(
            "makes a symbolic link",
            libc::SYS_symlink,
            &[text("/etc/shadow"), new()],
        ),
        Action::new(
            "makes a directory",
            libc::SYS_mkdir,
            &[new(), Number(0o700)],
        ),
        Action::new(
            "makes a FIFO",
            libc::SYS_mknod,
            &[new(), Number(0o010_600), NULL],
        ),
        Action::new(
            "makes a device",
            libc::SYS_mknod,
            &[new(), Number(0o060_600), Number(0xfd00)],
        ),
    ]
}

/// Changing files of the user whom a worker serves.
pub(super) fn own(scene: &Scene) -> Vec<Action> {
    let at = |name: &str| path(scene.at(name));
    let (spool, file) = (|| at("mail/alice"), || at("state/alice/file"));
    vec![
        Action::new("removes the user's spool", libc::SYS_unlink, &[spool()]),
        Action::new(
            "renames the user's spool",
            libc::SYS_rename,
            &[spool(), at("public/probe")],
        ),
        Action::new(
            "links the user's spool",
            libc::SYS_link,
            &[spool(), at("public/probe")],
        ),
        Action::new(
            "changes the mode of the user's spool",
            libc::SYS_chmod,
            &[spool(), Number(0o666)],
        ),
        Action::new(
            "gives the user's spool away",
            libc::SYS_chown,
            &[spool(), NULL, NULL],
        ),
        Action::new(
            "cuts the user's spool by its path",
            libc::SYS_truncate,
            &[spool(), Number(1)],
        )
        .landlock(3),
        Action::new(
            "sets the times of the user's spool",
            libc::SYS_utimensat,
            &[HERE, spool(), NULL, NULL],
        ),
        Action::new(
            "removes a file of the user's state",
            libc::SYS_unlink,
            &[file()],
        ),
        Action::new(
            "renames a file of the user's state out of it",
            libc::SYS_rename,
            &[file(), at("public/probe")],
        ),
        Action::new(
            "makes a symbolic link in the user's state",
            libc::SYS_symlink,
            &[text("/etc/shadow"), at("state/alice/probe")],
        ),
        Action::new(
            "makes a directory in the user's state",
            libc::SYS_mkdir,
            &[at("state/alice/probe"), Number(0o700)],
        ),
    ]
}
