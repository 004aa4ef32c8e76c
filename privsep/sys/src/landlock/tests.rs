//! A restriction cannot be undone. So each test runs in a process of its own: this test binary,
//! started again.

use super::*;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

const CHILD: &str = "POPWARD_LANDLOCK_CHILD";

/// Something that a process may try: its name, the version of Landlock that can forbid it, and the
/// attempt, which gets the directory to try it in.
type Attempt = (&'static str, c_long, fn(&Path) -> io::Result<()>);

/// What can be tried beneath a directory. See [`desk`] for what is there.
const FILES: &[Attempt] = &[
    ("list", 1, |at| fs::read_dir(at).map(drop)),
    ("read", 1, |at| fs::read(at.join("file")).map(drop)),
    ("write", 1, |at| fs::write(at.join("file"), "x")),
    ("truncate", 3, |at| truncate(&at.join("file"))),
    ("make", 1, |at| File::create_new(at.join("made")).map(drop)),
    ("rename", 1, |at| {
        File::create(at.join("one"))?;
        fs::rename(at.join("one"), at.join("two"))
    }),
    ("remove", 1, |at| fs::remove_file(at.join("file"))),
];

/// What is forbidden beneath every directory.
const NEVER: &[Attempt] = &[
    ("execute", 1, |at| {
        Command::new(at.join("program")).status().map(drop)
    }),
    ("make a directory", 1, |at| fs::create_dir(at.join("new"))),
    ("remove a directory", 1, |at| {
        fs::remove_dir(at.join("empty"))
    }),
    ("make a symbolic link", 1, |at| {
        std::os::unix::fs::symlink("file", at.join("link"))
    }),
    ("make a pipe", 1, |at| {
        let mode = nix::sys::stat::Mode::S_IRUSR;
        Ok(nix::unistd::mkfifo(&at.join("pipe"), mode)?)
    }),
    ("make a socket", 1, |at| {
        UnixListener::bind(at.join("socket")).map(drop)
    }),
    // Across directories. Without Landlock's version 2 this is forbidden too.
    ("link elsewhere", 1, |at| {
        fs::hard_link(at.join("kept"), at.join("other/kept"))
    }),
];

/// What has nothing to do with files.
const OTHERS: &[Attempt] = &[
    ("bind a port", 4, |_| {
        std::net::TcpListener::bind("127.0.0.1:0").map(drop)
    }),
    ("connect to a port", 4, |_| {
        let port = std::env::var("POPWARD_LANDLOCK_PORT").map_err(io::Error::other)?;
        std::net::TcpStream::connect(format!("127.0.0.1:{port}")).map(drop)
    }),
    ("signal another process", 6, |_| {
        Ok(nix::sys::signal::kill(nix::unistd::getppid(), None)?)
    }),
    ("connect to an abstract socket", 6, |_| {
        let name = std::env::var(CHILD).map_err(io::Error::other)?;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
        UnixStream::connect_addr(&address).map(drop)
    }),
];

/// As truncate(2), which opens nothing.
fn truncate(path: &Path) -> io::Result<()> {
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: the path ends with NUL.
    Errno::result(unsafe { libc::truncate(path.as_ptr(), 0) })?;
    Ok(())
}

/// A directory to try things in.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for name in ["file", "kept"] {
        fs::write(desk.path().join(name), "text").unwrap();
    }
    fs::create_dir(desk.path().join("empty")).unwrap();
    fs::create_dir(desk.path().join("other")).unwrap();
    fs::copy("/bin/true", desk.path().join("program")).unwrap();
    desk
}

/// Tries everything that Landlock of this kernel can forbid, beneath `inside` and `outside`.
/// Returns a line for each attempt that was forbidden.
fn forbidden(inside: &Path, outside: &Path) -> Vec<String> {
    let abi = version();
    let mut found = Vec::new();
    let tables = [
        (FILES, inside, "inside"),
        (NEVER, inside, "inside"),
        (FILES, outside, "outside"),
        (NEVER, outside, "outside"),
        (OTHERS, outside, "anywhere"),
    ];
    for (table, at, place) in tables {
        for (name, _, attempt) in table.iter().filter(|(_, since, _)| *since <= abi) {
            match attempt(at) {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.raw_os_error().map(Errno::from_raw),
                        Some(Errno::EACCES | Errno::EPERM | Errno::EXDEV)
                    ) =>
                {
                    found.push(format!("{name}, {place}"));
                }
                Err(error) => panic!("{name}, {place}: {error}"),
            }
        }
    }
    found
}

/// Everything in the tables that must be forbidden.
fn expected(places: &[(&[Attempt], &str)]) -> Vec<String> {
    let abi = version();
    let attempts = places
        .iter()
        .flat_map(|(table, place)| table.iter().map(move |attempt| (attempt, place)));
    attempts
        .filter(|((_, since, _), _)| *since <= abi)
        .map(|((name, ..), place)| format!("{name}, {place}"))
        .collect()
}

fn version() -> c_long {
    let nothing = std::ptr::null::<Forbidden>();
    // SAFETY: when the kernel is asked for its version, it reads no ruleset.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, 1) }
}

/// Starts the test `name` again in a process of its own. There it restricts itself with `confine`,
/// which gets a directory, and tries everything. Returns what was forbidden.
fn in_child(name: &str, confine: fn(&Path)) -> Vec<String> {
    if let Some(directories) = std::env::var_os("POPWARD_LANDLOCK_DIRECTORIES") {
        let directories = directories.into_string().unwrap();
        let (inside, outside) = directories.split_once(':').unwrap();
        nix::sys::prctl::set_no_new_privs().unwrap();
        confine(Path::new(inside));
        let found = forbidden(Path::new(inside), Path::new(outside)).join(
            "
",
        );
        writeln!(io::stdout(), "<{found}>").unwrap();
        // SAFETY: ends the process without the rest of the test.
        unsafe { libc::_exit(0) };
    }
    let (inside, outside) = (desk(), desk());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let id = format!("popward-landlock-{}-{name}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&id).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let directories = [&inside, &outside].map(|desk| desk.path().to_str().unwrap());
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("landlock::tests::{name}")])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, &id)
        .env("POPWARD_LANDLOCK_DIRECTORIES", directories.join(":"))
        .env(
            "POPWARD_LANDLOCK_PORT",
            port.local_addr().unwrap().port().to_string(),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = said
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(found.is_some(), "{said}{errors}");
    let lines = found.map_or("", |(found, _)| found).lines();
    lines.map(str::to_owned).collect()
}

/// Otherwise the tests below would prove nothing.
#[test]
fn without_landlock_all_of_it_is_permitted() {
    let found = in_child("without_landlock_all_of_it_is_permitted", |_| ());
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn p10_everything_is_forbidden_but_regular_files_beneath_a_permitted_directory() {
    let name = "p10_everything_is_forbidden_but_regular_files_beneath_a_permitted_directory";
    let found = in_child(name, |inside| {
        let inside = File::open(inside).unwrap();
        let within = REGULAR_FILES | READ_DIRECTORY;
        restrict(&[(inside.as_fd(), within)]).unwrap();
    });
    let never = [
        (NEVER, "inside"),
        (FILES, "outside"),
        (NEVER, "outside"),
        (OTHERS, "anywhere"),
    ];
    assert_eq!(found, expected(&never));
}

#[cfg(feature = "server")]
#[test]
fn p10_the_reader_of_the_configuration_can_change_no_file() {
    let name = "p10_the_reader_of_the_configuration_can_change_no_file";
    let found = in_child(name, |_| reading::restrict_to_reading().unwrap());
    let writes = &FILES[2..];
    let never = [
        (writes, "inside"),
        (NEVER, "inside"),
        (writes, "outside"),
        (NEVER, "outside"),
        (OTHERS, "anywhere"),
    ];
    assert_eq!(found, expected(&never));
}

#[cfg(feature = "server")]
#[test]
fn p10_pams_modules_can_run_programs_and_use_sockets_and_change_files_only_in_a_list() {
    let name = "p10_pams_modules_can_run_programs_and_use_sockets_and_change_files_only_in_a_list";
    let found = in_child(name, |inside| {
        let inside = inside.to_str().unwrap();
        reading::restrict_writing(&["/dev/null"], &[inside, "/nonexistent"]).unwrap();
        File::options().write(true).open("/dev/null").unwrap();
    });
    let (writes, never) = (&FILES[2..], &NEVER[1..]);
    let expected_in_all = [(never, "inside"), (writes, "outside"), (never, "outside")];
    assert_eq!(found, expected(&expected_in_all));
}

/// What this restricts instead: see the section `auth-program` of `tests/break_in/table.txt`.
#[cfg(feature = "server")]
#[test]
fn an_operators_program_can_do_with_files_and_sockets_what_its_user_can() {
    let name = "an_operators_program_can_do_with_files_and_sockets_what_its_user_can";
    let found = in_child(name, |_| reading::restrict_tracing().unwrap());
    let moves = |what: &String| version() < 2 && what.starts_with("link elsewhere");
    assert!(found.iter().all(moves), "{found:?}");
}

/// The numbers of linux/landlock.h, and the kernels' versions of Landlock.
#[test]
fn an_older_kernel_is_asked_for_what_it_can_forbid() {
    assert_eq!(Forbidden::everything(-1), None);
    assert_eq!(Forbidden::everything(0), None);
    let by = |abi| {
        let forbidden = Forbidden::everything(abi).unwrap();
        (forbidden.files, forbidden.ports, forbidden.scopes)
    };
    // Files: up to MAKE_SYM (bit 12), REFER, TRUNCATE, IOCTL_DEV.
    assert_eq!(by(1), (0x1fff, 0, 0));
    assert_eq!(by(2), (0x3fff, 0, 0));
    assert_eq!(by(3), (0x7fff, 0, 0));
    assert_eq!(by(4), (0x7fff, 3, 0));
    assert_eq!(by(5), (0xffff, 3, 0));
    assert_eq!(by(6), (0xffff, 3, 3));
    assert_eq!(by(99), by(6));
    assert_eq!((REGULAR_FILES | READ_DIRECTORY) & !by(3).0, 0);
}
