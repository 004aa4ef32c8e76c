//! What the watched servers go through: logins of every kind, sessions, locks of others, a reload,
//! the crash of each process, an update that is finished after a crash.

use super::host::wire::{self, Security, Wire};
use super::host::{self, Client, Host, assert_ok, spool, until, user};
use super::trace::{Surfaces, Watch};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use nix::fcntl::{FcntlArg, Flock, FlockArg, fcntl};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The first of the users' ids.
const FIRST: u32 = 64471;

const MECHANISMS: &str = "mechanisms = [\"user\", \"plain\", \"scram-sha-256\", \
    \"external\", \"oauthbearer\"]\nplaintext = \"always\"\ntrim_domain = [\"*\"]\n";

/// What a server has done, and where its files are.
pub struct Story {
    pub surfaces: Surfaces,
    /// The texts of its paths that differ from run to run, each with its name.
    pub names: Vec<(String, &'static str)>,
}

/// Starts a watched host, and has it go through `life`.
fn watched(
    users: &[host::User],
    more: &str,
    changes: &[(&str, &str)],
    files: &Path,
    life: impl FnOnce(&mut Host, &Watch),
) -> Story {
    let watch = Watch::new();
    let mut host = Host::by(|path| watch.command(path), users, more, changes);
    let names = vec![
        (host.directory.path().display().to_string(), "HOST"),
        (files.display().to_string(), "FILES"),
    ];
    life(&mut host, &watch);
    assert_eq!(host.stop(), Some(0), "the server ends in order");
    drop(host);
    Story {
        surfaces: watch.finish(),
        names,
    }
}

fn openssl(directory: &Path, arguments: &str) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split_whitespace());
    let output = openssl.current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{arguments}: {output:?}");
    output.stdout
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The keys of an issuer of tokens, and an authority with a certificate for alice.
fn credentials(directory: &Path) {
    openssl(directory, "genpkey -algorithm ed25519 -out issuer.pem");
    let public = openssl(directory, "pkey -in issuer.pem -pubout -outform DER");
    let x = Base64UrlUnpadded::encode_string(&public[public.len() - 32..]);
    let keys = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
    fs::write(directory.join("keys.json"), keys).unwrap();
    let extensions = "basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n\
        subjectAltName=email:alice@example.org\n";
    fs::write(directory.join("extensions"), extensions).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
    openssl(
        directory,
        &format!("req -x509 -nodes -days 2 -subj /CN=ca {key} -keyout ca.key -out ca.pem"),
    );
    openssl(
        directory,
        &format!("req -new -nodes -subj /CN=x {key} -keyout own.key -out own.csr"),
    );
    openssl(
        directory,
        "x509 -req -in own.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
         -extfile extensions -out own.pem",
    );
}

/// A token for alice.
fn token(directory: &Path) -> String {
    let header = Base64UrlUnpadded::encode_string(br#"{"alg":"EdDSA","typ":"JWT"}"#);
    let claims = br#"{"iss":"https://id.example.org","aud":"popward","exp":99999999999,"email":"alice@example.org"}"#;
    let text = format!("{header}.{}", Base64UrlUnpadded::encode_string(claims));
    fs::write(directory.join("text"), &text).unwrap();
    let signature = openssl(directory, "pkeyutl -sign -rawin -inkey issuer.pem -in text");
    format!("{text}.{}", Base64UrlUnpadded::encode_string(&signature))
}

fn bearer(client: &mut Client, user: &str, token: &str) -> String {
    let text = format!("n,a={user},\x01auth=Bearer {token}\x01\x01");
    let text = Base64::encode_string(text.as_bytes());
    client.ask(&format!("AUTH OAUTHBEARER {text}"))
}

/// Every command of a session. It deletes one message.
fn session(client: &mut Client) {
    for command in ["CAPA", "LIST", "UIDL", "RETR 1", "TOP 2 1"] {
        client.multi(command);
    }
    for command in ["STAT", "NOOP", "DELE 1", "RSET", "DELE 2", "QUIT"] {
        assert_ok(&client.ask(command));
    }
}

fn workers_end(host: &Host) {
    for executable in ["popward-worker", "popward-adopt"] {
        until("the workers end", || host.children(executable).is_empty());
    }
}

/// Sends a command over TLS, and returns the first line of the reply.
fn say(wire: &mut Wire, command: &str) -> String {
    wire.send(format!("{command}\r\n").as_bytes());
    wire.line().unwrap()
}

/// Kills the process of this executable, and waits for another one and for a login.
fn kill_and_log_in(host: &Host, executable: &str) {
    let old = host.children(executable);
    kill(Pid::from_raw(old[0]), Signal::SIGKILL).unwrap();
    until(executable, || {
        let now = host.children(executable);
        now.len() == 1 && now != old
    });
    until("a login", || {
        let Ok(stream) = std::net::TcpStream::connect(("127.0.0.1", host.plain)) else {
            return false;
        };
        let mut client = Client::over(stream);
        client.send(b"USER bob\r\nPASS bob\r\nQUIT\r\n");
        client.until_end().matches("+OK").count() == 4
    });
    workers_end(host);
}

/// A host with a password file, tokens, certificates, proxies, adoption.
fn by_files() -> Story {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    fs::set_permissions(files, PermissionsExt::from_mode(0o755)).unwrap();
    credentials(files);
    let at = files.display();
    let auth = format!(
        "[tls]\nclient_ca = \"{at}/ca.pem\"\n[auth]\n{MECHANISMS}oauth2 = {{ keys = \
         \"{at}/keys.json\", issuer = \"https://id.example.org\", audience = \"popward\" }}\n"
    );
    let body = "x".repeat(70) + "\n";
    let large: String = (1..=40)
        .map(|number| host::message(number, &body.repeat(1500)))
        .collect();
    let users = [
        user("alice", FIRST, &spool(9)),
        user("bob", FIRST + 1, &spool(3)),
        user("carol", FIRST + 2, large.as_bytes()),
        user("dave", FIRST + 3, &spool(3)),
    ];
    let more = "[adopt]\nfrom = [\"popa3d\"]\n[proxy]\nnetworks = [\"127.0.0.2\"]\n";
    watched(
        &users,
        more,
        &[("[auth]\n", &auth)],
        files,
        |host, watch| {
            passwords(host);
            over_tls(host, files);
            locks_of_others(host);
            a_reader_that_waits(host);
            an_update_that_is_killed(host, watch);
            // A directory of files beside the configuration, and another limit.
            fs::create_dir(host.at("popward.toml.d")).unwrap();
            let config = fs::read_to_string(host.at("popward.toml")).unwrap();
            let config = config.replace("lock_timeout = \"2s\"", "lock_timeout = \"3s\"");
            fs::write(host.at("popward.toml"), config).unwrap();
            let output = host.reload(&[]);
            assert!(output.status.success(), "{output:?}");
            assert_ok(&host.login("bob").ask("QUIT"));
            workers_end(host);
            let executables = ["front", "auth", "keys", "log", "sessions", "monitor"];
            until("the old processes end", || {
                host.children("popward-monitor").len() == 1
            });
            for executable in executables {
                kill_and_log_in(host, &format!("popward-{executable}"));
            }
        },
    )
}

fn passwords(host: &Host) {
    session(&mut host.login("alice"));
    workers_end(host);
    // A session without deletions, and one that finds its index.
    assert_ok(&host.login("alice").ask("QUIT"));
    workers_end(host);
    assert!(host.answer("alice", "wrong").starts_with("-ERR"));
    let mut client = host.connect_any();
    let first = Base64::encode_string(b"n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL");
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256 {first}"));
    assert!(challenge.starts_with("+ "), "{challenge}");
    assert!(client.ask("*").starts_with("-ERR"));
    let plain = Base64::encode_string(b"\0bob\0bob");
    assert_ok(&client.ask(&format!("AUTH PLAIN {plain}")));
    assert_ok(&client.ask("QUIT"));
    // The header comes in two pieces.
    let mut client = Client::from("127.0.0.2", host.plain);
    client.send(b"PROXY TCP4 192.0.2.7 ");
    client.send(b"192.0.2.250 4660 110\r\n");
    assert_ok(&client.line());
    workers_end(host);
}

fn over_tls(host: &Host, files: &Path) {
    let config = wire::config(host);
    for security in [Security::Implicit, Security::Stls, Security::Implicit] {
        let (mut wire, _) = Wire::connect(host, &config, security);
        assert_ok(&say(&mut wire, "USER bob"));
        assert_ok(&say(&mut wire, "PASS bob"));
        assert_ok(&say(&mut wire, "RETR 1"));
        while wire.line().unwrap() != "." {}
        assert_ok(&say(&mut wire, "QUIT"));
        assert_eq!(wire.line(), None);
        workers_end(host);
    }
    let config = wire::config_with_certificate(host, files);
    let (mut wire, _) = Wire::connect(host, &config, Security::Implicit);
    let name = Base64::encode_string(b"alice");
    assert_ok(&say(&mut wire, &format!("AUTH EXTERNAL {name}")));
    assert_ok(&say(&mut wire, "QUIT"));
    workers_end(host);
    let mut client = host.connect_any();
    assert_ok(&bearer(&mut client, "alice", &token(files)));
    assert_ok(&client.ask("QUIT"));
    workers_end(host);
    // No handshake: the front sends an alert.
    let mut client = Client::new(host.tls);
    client.send(b"USER alice\r\n");
    client.until_end();
}

/// The locks of other programs: of one that has ended, of one on another host, and those without a
/// name.
fn locks_of_others(host: &Host) {
    let lock = host.spool("bob.lock");
    let write = |text: &str| {
        fs::write(&lock, text).unwrap();
        chown(&lock, Some(FIRST + 1), Some(FIRST + 1)).unwrap();
    };
    // No process has this id.
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    write(&format!("4194303:{}", own.trim()));
    assert_ok(&host.login("bob").ask("QUIT"));
    workers_end(host);
    write("4194303");
    assert!(host.answer("bob", "bob").contains("[IN-USE]"));
    workers_end(host);
    write(&format!("{}:{}", std::process::id(), own.trim()));
    assert!(host.answer("bob", "bob").contains("[IN-USE]"));
    workers_end(host);
    fs::remove_file(&lock).unwrap();
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(host.spool("bob"));
    let flock = Flock::lock(file.unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
    assert!(host.answer("bob", "bob").contains("[IN-USE]"));
    let file = flock.unlock().unwrap();
    let all = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_OFD_SETLK(&all)).unwrap();
    assert!(host.answer("bob", "bob").contains("[IN-USE]"));
    workers_end(host);
}

/// A client that asks for more than the sockets hold, and reads it later.
fn a_reader_that_waits(host: &Host) {
    let mut client = host.login("carol");
    for number in 1..=40 {
        client.send(format!("RETR {number}\r\n").as_bytes());
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    for _ in 1..=40 {
        assert_ok(&client.line());
        client.rest();
    }
    assert_ok(&client.ask("QUIT"));
    workers_end(host);
}

/// A worker is killed at a write of its update: the first one, from which another one finishes the
/// update.
fn an_update_that_is_killed(host: &Host, watch: &Watch) {
    for number in 1.. {
        let mut client = host.login("carol");
        assert_ok(&client.ask("DELE 2"));
        watch.ambush(number);
        client.send(b"QUIT\r\n");
        client.until_end();
        workers_end(host);
        if host.log().contains("finished an update") {
            return;
        }
        assert!(number < 20, "no update was finished by another worker");
    }
}

/// Spools in home directories.
fn at_home() -> Story {
    let files = tempfile::tempdir().unwrap();
    let users = [user("alice", FIRST, &spool(3))];
    let changes = [("path = \"", "path = \"{home}/mbox\" # \"")];
    watched(&users, "", &changes, files.path(), |host, _| {
        let home = host.at("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        chown(&home, Some(FIRST), Some(FIRST)).unwrap();
        fs::rename(host.spool("alice"), home.join("mbox")).unwrap();
        let users = fs::read_to_string(host.at("users")).unwrap();
        let users = users.replace("/nonexistent", home.to_str().unwrap());
        fs::write(host.at("users"), users).unwrap();
        session(&mut host.login("alice"));
        workers_end(host);
        // A worker that is killed leaves its dotlock, and a process of the user removes it.
        let _client = host.login("alice");
        let worker = host.children("popward-worker")[0];
        kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
        until("the dotlock is removed", || {
            !home.join("mbox.lock").exists()
        });
        workers_end(host);
    })
}

/// Passwords and tokens are checked by programs.
fn by_programs() -> Story {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    fs::set_permissions(files, PermissionsExt::from_mode(0o755)).unwrap();
    let check = format!(
        "#!/bin/sh\nasked=$(tr '\\0' '\\n' <&3 | head -n 2 | tr '\\n' '/')\n\
         [ \"$asked\" = alice/a/ ] || exit 1\n\
         USER=alice HOME=/nonexistent userdb_uid={FIRST} userdb_gid={FIRST} exec \"$1\" \"$2\"\n"
    );
    program(&files.join("check"), &check);
    let token = "#!/bin/sh\n[ \"$(cat)\" = good ] && echo games\n";
    program(&files.join("token"), token);
    let at = files.display();
    let auth = format!(
        "[auth]\n{MECHANISMS}source = \"checkpassword\"\ncheckpassword = \"{at}/check\"\n\
         oauth2 = {{ program = \"{at}/token\" }}\n"
    );
    let auth = auth.replace("\"scram-sha-256\", \"external\", ", "");
    let users = [user("alice", FIRST, &spool(3)), user("games", 5, &spool(3))];
    watched(&users, "", &[("[auth]\n", &auth)], files, |host, _| {
        assert_ok(&host.answer("alice", "a"));
        assert!(host.answer("alice", "b").starts_with("-ERR"));
        for (token, answer) in [("good", "+OK"), ("bad", "-ERR")] {
            let mut client = host.connect_any();
            let mut said = bearer(&mut client, "games", token);
            if said.starts_with("+ ") {
                said = client.ask("AQ==");
            }
            assert!(said.starts_with(answer), "{token}: {said}");
        }
        until("the conversations end", || {
            host.children("popward-auth-program").is_empty()
        });
        workers_end(host);
    })
}

/// The file of a PAM service. Dropping it removes it.
struct Service(PathBuf);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The accounts are the system's, checked by PAM.
fn by_pam() -> Option<Story> {
    let machine = format!("{}-linux-gnu/security", std::env::consts::ARCH);
    let roots = ["/lib", "/usr/lib", "/usr/lib64"].map(Path::new);
    let places = roots.map(|root| [root.join(&machine), root.join("security")]);
    let has = |place: &PathBuf| place.join("pam_exec.so").exists();
    if !places.as_flattened().iter().any(has) {
        host::skipped("what auth-pam does: it takes libpam-modules");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    fs::set_permissions(files, PermissionsExt::from_mode(0o755)).unwrap();
    program(
        &files.join("check"),
        "#!/bin/sh\nread -r secret\n[ \"$secret\" = right ]\n",
    );
    let service = Service(PathBuf::from("/etc/pam.d/popward-test-surface"));
    let lines = format!(
        "auth required pam_exec.so expose_authtok quiet {}\naccount required pam_permit.so\n",
        files.join("check").display()
    );
    fs::write(&service.0, lines).unwrap();
    let auth = "[auth]\nsource = \"pam\"\npam_service = \"popward-test-surface\"\n\
        plaintext = \"always\"\n";
    let users = [user("games", 5, &spool(3))];
    let story = watched(&users, "", &[("[auth]\n", auth)], files, |host, _| {
        assert_ok(&host.answer("games", "right"));
        assert!(host.answer("games", "wrong").starts_with("-ERR"));
        until("the conversations end", || {
            host.children("popward-auth-pam").is_empty()
        });
        workers_end(host);
    });
    Some(story)
}

/// All of them, one after the other, but for those that this system cannot have.
pub fn all() -> Vec<Story> {
    let mut stories = vec![by_files(), at_home(), by_programs()];
    stories.extend(by_pam());
    stories
}
