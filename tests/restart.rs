//! A restart with sockets of systemd: who is connected is served to the end, and who comes later
//! waits in the queue of the listening socket.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Client, Host, spool, until, user};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{Backlog, listen};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A host whose listening socket belongs to the test, as it would to systemd.
struct Service {
    desk: Host,
    socket: TcpListener,
    server: Option<Child>,
    starts: usize,
}

impl Service {
    fn start(users: &[host::User], more: &str) -> Self {
        // Only its directory, users and configuration are used.
        let grace = [("shutdown_grace = \"5s\"\n", "shutdown_grace = \"60s\"\n")];
        let mut desk = Host::with(users, more, &grace);
        assert_eq!(desk.stop(), Some(0));
        let config = std::fs::read_to_string(desk.at("popward.toml")).unwrap();
        let (before, rest) = config.split_once("[[listen]]").unwrap();
        let (_, after) = rest.split_once("[[certificate]]").unwrap();
        let config = format!("{before}[[certificate]]{after}");
        std::fs::write(desk.at("popward.toml"), config).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&socket, Backlog::new(1000).unwrap()).unwrap();
        desk.plain = socket.local_addr().unwrap().port();
        let mut service = Self {
            desk,
            socket,
            server: None,
            starts: 0,
        };
        service.run();
        service
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.desk.at("log")).unwrap()
    }

    /// Starts the server with the socket, and waits until it serves.
    fn run(&mut self) {
        let path = self.desk.at("log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(path)
            .unwrap();
        let socket = OwnedFd::from(self.socket.try_clone().unwrap());
        // The shell has the socket as its standard input.
        let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\"";
        let server = Command::new("/bin/sh")
            .args(["-c", script, "sh"])
            .arg(self.desk.at("libexec/popward"))
            .arg("--config")
            .arg(self.desk.at("popward.toml"))
            .env("RUNTIME_DIRECTORY", self.desk.at("run"))
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::from(log))
            .spawn();
        self.server = Some(server.unwrap());
        self.starts += 1;
        until("it serves", || {
            self.log().matches("ready version=").count() == self.starts
        });
    }

    fn end(&mut self) {
        let mut server = self.server.take().unwrap();
        let pid = Pid::from_raw(i32::try_from(server.id()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        assert_eq!(server.wait().unwrap().code(), Some(0));
    }

    /// As `systemctl restart` does.
    fn restart(&mut self) {
        self.end();
        self.run();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.end();
        }
    }
}

/// What the clients saw.
#[derive(Default)]
struct Seen {
    logins: usize,
    longest: Duration,
    faults: Vec<String>,
}

/// One client: logs in with a pause before each line, uses the session, and quits.
fn use_once(port: u16, name: &str, pause: Duration, session: Duration) -> Result<Duration, String> {
    let begun = Instant::now();
    let expect = |what: &str, line: String| match line.starts_with("+OK") {
        true => Ok(()),
        false => Err(format!("{name}: {what} was answered {line:?}")),
    };
    let mut client = Client::new(port);
    expect("the connection", client.line())?;
    std::thread::sleep(pause);
    expect("USER", client.ask(&format!("USER {name}")))?;
    std::thread::sleep(pause);
    expect("PASS", client.ask(&format!("PASS {name}")))?;
    let took = begun.elapsed().saturating_sub(2 * pause);
    let until = Instant::now() + session;
    while Instant::now() < until {
        expect("STAT", client.ask("STAT"))?;
        std::thread::sleep(Duration::from_millis(500));
    }
    expect("QUIT", client.ask("QUIT"))?;
    Ok(took)
}

/// `POPWARD_FULL_LOAD=1` runs it with 200 sessions, 50 logins a second, ten reloads and ten
/// restarts.
#[test]
fn no_login_fails_and_no_session_is_cut_by_reloads_and_restarts_under_load() {
    let full = std::env::var_os("POPWARD_FULL_LOAD").is_some();
    let (clients, times) = if full { (200, 10) } else { (40, 2) };
    let names: Vec<_> = (0..clients)
        .map(|n| &*Box::leak(format!("user{n}").into_boxed_str()))
        .collect();
    let users: Vec<_> = (64500..)
        .zip(&names)
        .map(|(uid, name)| user(name, uid, &spool(1)))
        .collect();
    let limits = "[limits]\nconnections_per_address = 2000\nconnections_per_prefix = 2000\n\
        connections_per_minute = 0\n";
    let mut service = Service::start(&users, limits);
    let port = service.desk.plain;
    let (over, seen) = (AtomicBool::new(false), Mutex::new(Seen::default()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for (number, name) in (0..).zip(&names) {
            let (over, seen) = (&over, &seen);
            scope.spawn(move || {
                // The clients do not come all at once, and log in slowly and fast.
                std::thread::sleep(Duration::from_millis(20 * number % 4000));
                let pause = Duration::from_millis(60 * (number % 10));
                while !over.load(Ordering::SeqCst) {
                    let session = Duration::from_millis(3500) - pause;
                    // The client panics if its connection is reset.
                    let used = catch_unwind(|| use_once(port, name, pause, session));
                    let used = used.unwrap_or_else(|_| Err(format!("{name}: reset")));
                    let mut seen = seen.lock().unwrap();
                    match used {
                        Ok(took) => {
                            seen.logins += 1;
                            seen.longest = seen.longest.max(took);
                        }
                        Err(fault) => seen.faults.push(fault),
                    }
                }
            });
        }
        let all = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..times {
                std::thread::sleep(Duration::from_secs(2));
                assert!(service.desk.reload(&[]).status.success());
                std::thread::sleep(Duration::from_secs(2));
                service.restart();
            }
        }));
        over.store(true, Ordering::SeqCst);
        if let Err(panic) = all {
            std::panic::resume_unwind(panic);
        }
    });
    let seen = seen.into_inner().unwrap();
    let figures = format!(
        "{clients} sessions, {} logins, {times} reloads and {times} restarts in {:.1} s: {} faults; \
         the longest login took {:.1} s\n",
        seen.logins,
        begun.elapsed().as_secs_f64(),
        seen.faults.len(),
        seen.longest.as_secs_f64()
    );
    std::io::stderr().write_all(figures.as_bytes()).unwrap();
    assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    let log = service.log();
    for bad in [
        "process died",
        "broke the rules",
        "channel ended",
        " why=shutdown",
    ] {
        assert!(!log.contains(bad), "{bad}");
    }
}
