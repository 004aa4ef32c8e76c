//! popward does not start with files that others can write or own and that decide who may log in
//! (docs/operation.md, "Whose files they are").

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{AUTH, Client, Host, assert_ok, install, root, skipped, spool, until, user};
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Another user of this host.
const STRANGER: u32 = 64451;

/// Executables, a configuration, and all files that it can name.
struct Site(tempfile::TempDir);

/// Each key that names a file, and the file's name.
const NAMED: [(&str, &str); 7] = [
    ("auth.passwd_file", "users"),
    ("auth.allow_file", "allow"),
    ("auth.deny_file", "deny"),
    ("auth.oauth2.keys", "jwks.json"),
    ("tls.client_ca", "ca.pem"),
    ("auth.checkpassword", "check"),
    ("auth.oauth2.program", "token"),
];

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        mode(site.0.path(), 0o755);
        install(&site.at("libexec"));
        fs::create_dir(site.at("etc")).unwrap();
        mode(&site.at("etc"), 0o755);
        for (_, name) in NAMED {
            fs::write(site.at("etc").join(name), "").unwrap();
            mode(&site.at("etc").join(name), 0o644);
        }
        // Its content is checked as well.
        host::certificate(&site.at("etc"), host::P256);
        fs::rename(site.at("etc/cert.pem"), site.at("etc/ca.pem")).unwrap();
        mode(&site.at("etc/ca.pem"), 0o644);
        site.write(PASSWD_FILE);
        site
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes the configuration. In it `@` is the directory of the files.
    fn write(&self, auth: &str) {
        let accounts = host::accounts();
        let text = format!("{accounts}[tls]\nclient_ca = \"@/ca.pem\"\n[auth]\n{auth}");
        let text = text.replace('@', self.at("etc").to_str().unwrap());
        fs::write(self.at("etc/popward.toml"), text).unwrap();
        mode(&self.at("etc/popward.toml"), 0o644);
    }

    /// Runs `popward --check`. The error is what it says.
    fn check(&self, prepare: impl Fn(&mut Command)) -> Result<(), String> {
        let mut command = Command::new(self.at("libexec/popward"));
        command.args(["--check", "--config"]);
        command.arg(self.at("etc/popward.toml"));
        prepare(&mut command);
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        output.status.success().then_some(()).ok_or(error)
    }

    fn checked(&self) -> Result<(), String> {
        self.check(|_| ())
    }

    /// Whether `popward --check` warns that users cannot pass through the state directory.
    fn warned_of_passing(&self) -> bool {
        let mut command = Command::new(self.at("libexec/popward"));
        command.args(["--check", "--config"]);
        let output = command.arg(self.at("etc/popward.toml")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        said.contains("server.state: users cannot pass through")
    }
}

const PASSWD_FILE: &str = "passwd_file = \"@/users\"\nallow_file = \"@/allow\"\ndeny_file = \"@/deny\"\n[auth.oauth2]\nkeys = \"@/jwks.json\"\nissuer = \"i\"\naudience = \"a\"\n";
const PROGRAMS: &str = "source = \"checkpassword\"\ncheckpassword = \"@/check\"\n[auth.oauth2]\nprogram = \"@/token\"\n";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Asserts that the configuration is refused because of `path`, and that the error says `what`
/// names it.
#[track_caller]
fn refused(said: Result<(), String>, what: &str, path: &Path) {
    let error = said.unwrap_err();
    let expected = format!("{what}: expected {} to be ", path.display());
    assert!(error.contains(&expected), "{error}");
    assert!(error.contains("writable by nobody else"), "{error}");
}

#[test]
fn a_file_that_others_can_write_or_own_prevents_the_start() {
    let site = Site::new();
    let file = site.at("etc/popward.toml");
    let own = file.to_str().unwrap().to_owned();
    for (configuration, names) in [(PASSWD_FILE, &NAMED[..5]), (PROGRAMS, &NAMED[5..])] {
        site.write(configuration);
        site.checked().unwrap();
        let files = names
            .iter()
            .map(|(key, name)| (*key, site.at("etc").join(name)));
        for (key, path) in files.chain([(own.as_str(), file.clone())]) {
            for bits in [0o664, 0o646] {
                mode(&path, bits);
                refused(site.checked(), key, &path);
            }
            mode(&path, 0o644);
            if root() {
                chown(&path, Some(STRANGER), None).unwrap();
                refused(site.checked(), key, &path);
                chown(&path, Some(0), None).unwrap();
            }
            site.checked().unwrap();
        }
    }
}

#[test]
fn a_directory_that_others_can_write_on_the_way_to_a_file_prevents_the_start() {
    let site = Site::new();
    let (etc, file) = (site.at("etc"), site.at("etc/popward.toml"));
    mode(&etc, 0o777);
    refused(site.checked(), file.to_str().unwrap(), &etc);
    mode(&etc, 0o755);
    // The file lies in a safe place, but anybody can replace the link to it.
    let loose = site.at("loose");
    fs::create_dir(&loose).unwrap();
    mode(&loose, 0o777);
    std::os::unix::fs::symlink(etc.join("users"), loose.join("users")).unwrap();
    site.write(&PASSWD_FILE.replace("@/users", loose.join("users").to_str().unwrap()));
    refused(site.checked(), "auth.passwd_file", &loose);
    let line = "popward.toml:10: auth.passwd_file";
    let line = if root() {
        line
    } else {
        "popward.toml:4: auth.passwd_file"
    };
    let error = site.checked().unwrap_err();
    assert!(error.contains(line), "{error}");
    mode(&loose, 0o755);
    site.checked().unwrap();
}

/// Whoever can write there could put another directory in a user's place.
#[test]
fn a_state_directory_that_others_can_replace_prevents_the_start() {
    let site = Site::new();
    let (above, state) = (site.at("lib"), site.at("lib/popward"));
    fs::create_dir(&above).unwrap();
    mode(&above, 0o755);
    let file = site.at("etc/popward.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    text += &format!("[server]\nstate = \"{}\"\n", state.display());
    fs::write(&file, text).unwrap();
    // The start makes the directory. So the directory above it counts.
    site.checked().unwrap();
    mode(&above, 0o777);
    refused(site.checked(), "server.state", &above);
    mode(&above, 0o755);
    fs::create_dir(&state).unwrap();
    for bits in [0o775, 0o757] {
        mode(&state, bits);
        refused(site.checked(), "server.state", &state);
    }
    mode(&state, 0o711);
    site.checked().unwrap();
    assert!(!site.warned_of_passing());
    if root() {
        // The workers could not reach their users' directories.
        mode(&state, 0o750);
        assert!(site.warned_of_passing());
        mode(&state, 0o711);
    }
    if root() {
        chown(&state, Some(STRANGER), None).unwrap();
        refused(site.checked(), "server.state", &state);
    }
    fs::remove_dir(&state).unwrap();
    fs::remove_dir(&above).unwrap();
    let error = site.checked().unwrap_err();
    let expected = format!("server.state: expected {} to be there", above.display());
    assert!(error.contains(&expected), "{error}");
}

#[test]
fn a_file_that_auths_user_owns_prevents_the_start() {
    if !root() {
        return skipped("files are given away: it takes root");
    }
    let site = Site::new();
    let path = |name: &str| site.at("etc").join(name);
    for (key, name) in &NAMED[..5] {
        chown(path(name), Some(AUTH), None).unwrap();
        refused(site.checked(), key, &path(name));
        chown(path(name), Some(0), None).unwrap();
    }
    for (key, name) in &NAMED[..3] {
        // As docs/operation.md has it: auth can read the file and not write it.
        chown(path(name), Some(0), Some(AUTH)).unwrap();
        mode(&path(name), 0o640);
        site.checked().unwrap();
        mode(&path(name), 0o660);
        refused(site.checked(), key, &path(name));
        mode(&path(name), 0o600);
        chown(path(name), Some(AUTH), None).unwrap();
        let error = site.checked().unwrap_err();
        assert!(
            error.contains("auth's user owns it and could write it"),
            "{error}"
        );
        mode(&path(name), 0o640);
        chown(path(name), Some(0), None).unwrap();
    }
    // A directory of auth's is no better: auth could put another file there.
    let own = site.at("own");
    fs::create_dir(&own).unwrap();
    mode(&own, 0o755);
    fs::copy(path("users"), own.join("users")).unwrap();
    mode(&own.join("users"), 0o644);
    chown(&own, Some(AUTH), None).unwrap();
    site.write(&PASSWD_FILE.replace("@/users", own.join("users").to_str().unwrap()));
    refused(site.checked(), "auth.passwd_file", &own);
    site.write(PROGRAMS);
    chown(path("check"), Some(AUTH), None).unwrap();
    refused(site.checked(), "auth.checkpassword", &path("check"));
}

#[test]
fn without_root_popward_uses_files_of_its_own_user_and_of_root() {
    if !root() {
        return skipped("users of several ids: it takes root");
    }
    let site = Site::new();
    let check = || {
        site.check(|command| {
            command.uid(STRANGER).gid(STRANGER);
        })
    };
    check().unwrap();
    let file = site.at("etc/popward.toml");
    chown(&file, Some(STRANGER), None).unwrap();
    chown(site.at("etc/users"), Some(STRANGER), None).unwrap();
    check().unwrap();
    refused(site.checked(), file.to_str().unwrap(), &file);
    chown(site.at("etc/users"), Some(STRANGER + 1), None).unwrap();
    refused(check(), "auth.passwd_file", &site.at("etc/users"));
}

#[test]
fn a_reload_with_files_that_others_can_write_changes_nothing() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    let file = host.at("popward.toml");
    let other = fs::read_to_string(&file).unwrap();
    let other = other.replace("[spool]\n", "[pop3]\ngreeting = \"another one\"\n[spool]\n");
    fs::write(&file, &other).unwrap();
    mode(&file, 0o666);
    host.signal(Signal::SIGHUP);
    let said = host.logged("configuration not reloaded");
    assert!(said.contains("writable by nobody else"), "{said}");
    // The greeting is the old one.
    drop(host.connect());
    assert_ok(&host.answer("alice", "alice"));
    mode(&file, 0o644);
    mode(&host.at("users"), 0o620);
    host.signal(Signal::SIGHUP);
    let said = host.logged_times("configuration not reloaded", 2);
    assert!(said.contains("auth.passwd_file: expected"), "{said}");
    drop(host.connect());
    host::for_auth(&host.at("users"));
    host.signal(Signal::SIGHUP);
    host.logged("configuration reloaded");
    until("it is greeted by the new one", || {
        Client::new(host.plain).line() == "+OK another one"
    });
}

#[test]
fn a_password_file_that_others_can_write_lets_nobody_log_in() {
    let host = Host::start(&[user("alice", 64401, &spool(1))]);
    assert_ok(&host.answer("alice", "alice"));
    mode(&host.at("users"), 0o642);
    let answer = host.answer("alice", "alice");
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    let said = host.logged("cannot check");
    assert!(said.contains("others cannot write"), "{said}");
    host::for_auth(&host.at("users"));
    assert_ok(&host.answer("alice", "alice"));
    if !root() {
        return skipped("a password file of auth's user: it takes root");
    }
    // The start would have refused it. Whoever is root has done this since.
    chown(host.at("users"), Some(AUTH), None).unwrap();
    let answer = host.answer("alice", "alice");
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    host::for_auth(&host.at("users"));
    assert_ok(&host.answer("alice", "alice"));
}
