//! Under systemd: sockets that it passes (`sd_listen_fds(3)`), and what popward tells it
//! (`sd_notify(3)`).

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, PATIENCE, spool, user};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

/// A server that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn sockets_from_systemd_are_served_and_systemd_is_notified() {
    // Only its directory, users and configuration are used.
    let mut desk = Host::start(&[user("alice", 64401, &spool(2))]);
    assert_eq!(desk.stop(), Some(0));
    let config = std::fs::read_to_string(desk.at("popward.toml")).unwrap();
    let start = config.find("[[listen]]").unwrap();
    let end = config.find("[[certificate]]").unwrap();
    let config = config[..start].to_owned() + &config[end..];
    std::fs::write(desk.at("popward.toml"), config).unwrap();
    let told = UnixDatagram::bind(desk.at("notify")).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let script = "import os,socket,sys\n\
        s=[socket.create_server(('127.0.0.1',0)) for _ in range(2)]\n\
        print(*[x.getsockname()[1] for x in s],flush=True)\n\
        for n,x in enumerate(s): os.dup2(x.fileno(),10+n)\n\
        for n in range(2): os.dup2(10+n,3+n); os.set_inheritable(3+n,True)\n\
        os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS='2',LISTEN_FDNAMES='pop3:pop3s')\n\
        os.execv(sys.argv[1],sys.argv[1:])\n";
    let mut server = Command::new("python3")
        .args(["-c", script])
        .arg(desk.at("libexec/popward"))
        .arg("--config")
        .arg(desk.at("popward.toml"))
        .env("NOTIFY_SOCKET", desk.at("notify"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map(Server)
        .unwrap();
    let mut ports = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut ports)
        .unwrap();
    let ports: Vec<u16> = ports
        .split_whitespace()
        .map(|port| port.parse().unwrap())
        .collect();
    let hear = || {
        let mut buffer = [0; 512];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert!(!hear().contains("READY=1"), "it has begun to start");
    assert!(hear().contains("READY=1"));
    desk.plain = ports[0];
    let mut client = desk.login("alice");
    assert!(client.ask("STAT").starts_with("+OK 2 "));
    desk.tls = ports[1];
    let mut tls = host::Client::new(desk.tls);
    tls.send(b"no TLS\r\n");
    assert!(
        !tls.until_end().contains("+OK"),
        "TLS begins with the connection"
    );
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.0.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(hear().contains("STOPPING=1"));
}

/// `Type=notify`: a reload begins and ends, and its status text says how it ended.
#[test]
fn systemd_is_told_the_result_of_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let told = UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(PATIENCE)).unwrap();
    let start = |server: std::path::PathBuf| {
        let mut command = Command::new(server);
        command.env("NOTIFY_SOCKET", &path);
        command
    };
    let host = Host::by(start, &[user("alice", 64401, &spool(1))], "", &[]);
    let hear = || {
        let mut buffer = [0; 1024];
        let length = told.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let file = host.at("popward.toml");
    let in_use = format!(
        "READY=1\nSTATUS=configuration of {} in use since 2",
        file.display()
    );
    assert_eq!(hear(), "STATUS=starting");
    let ready = hear();
    assert!(ready.starts_with(&in_use), "{ready}");
    let good = std::fs::read_to_string(&file).unwrap();
    let line = good.lines().count() + 1;
    let failed = format!("READY=1\nSTATUS=reload failed: {}:{line}: ", file.display());
    let mut last = 0;
    for (text, expected) in [
        (good.clone(), &in_use),
        (format!("{good}nonsense = [\n"), &failed),
        (good.clone(), &in_use),
    ] {
        std::fs::write(&file, text).unwrap();
        host.signal(nix::sys::signal::Signal::SIGHUP);
        let reloading = hear();
        let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
        let since = since.and_then(|rest| rest.strip_suffix("\nSTATUS=reloading"));
        let since: u64 = since.and_then(|since| since.parse().ok()).unwrap_or(0);
        assert!(since > last, "{reloading}");
        last = since;
        let ready = hear();
        assert!(ready.starts_with(expected.as_str()), "{ready}");
        assert_eq!(ready.lines().count(), 2, "{ready}");
        let is_old = ready.contains("; the old configuration stays in use, since 2");
        assert_eq!(is_old, ready.contains("reload failed"), "{ready}");
    }
}

/// A front could not wait for so many sockets. None may stay open and served by nobody.
#[test]
fn too_many_sockets_prevent_the_start() {
    let mut desk = Host::start(&[user("alice", 64401, &spool(2))]);
    assert_eq!(desk.stop(), Some(0));
    // With the two listeners of the configuration, one socket more than can be served.
    for (sockets, count) in [(60, 62), (80, 82)] {
        let script = "import os,socket,sys\n\
            n=int(sys.argv.pop())\n\
            s=[socket.create_server(('127.0.0.1',0)) for _ in range(n)]\n\
            for i,x in enumerate(s): os.dup2(x.fileno(),300+i)\n\
            for i in range(n): os.dup2(300+i,3+i); os.set_inheritable(3+i,True)\n\
            os.environ.update(LISTEN_PID=str(os.getpid()),LISTEN_FDS=str(n))\n\
            os.execv(sys.argv[1],sys.argv[1:])\n";
        // It would serve for ever if it did start.
        let output = Command::new("timeout")
            .args(["30", "python3", "-c", script])
            .arg(desk.at("libexec/popward"))
            .arg("--config")
            .arg(desk.at("popward.toml"))
            .arg(sockets.to_string())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let expected =
            format!("expected at most 61 listening sockets, with those of systemd's, not {count}");
        assert!(
            !output.status.success() && said.contains(&expected),
            "{said}"
        );
    }
}

/// A server that is killed when the test ends. Its children end with it.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Without systemd, with a standard error that nobody reads.
#[test]
fn a_log_that_nobody_reads_blocks_nobody() {
    // Only its directory, users and configuration are used.
    let mut desk = Host::start(&[user("alice", 64401, &spool(2))]);
    assert_eq!(desk.stop(), Some(0));
    let mut server = Command::new(desk.at("libexec/popward"))
        .arg("--config")
        .arg(desk.at("popward.toml"))
        .stderr(Stdio::piped())
        .spawn()
        .map(Killed)
        .unwrap();
    let nobody = server.0.stderr.take().unwrap();
    nix::fcntl::fcntl(&nobody, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    host::until("it serves", || {
        std::net::TcpStream::connect(("127.0.0.1", desk.plain)).is_ok()
    });
    for _ in 0..200 {
        host::assert_ok(&desk.connect().ask("QUIT"));
    }
    host::assert_ok(&desk.login("alice").ask("QUIT"));
}
