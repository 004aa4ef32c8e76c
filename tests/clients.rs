//! Real clients fetch a spool, plain and over TLS: what they stored is what was in the spool, byte for byte but for CRs.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;

use host::{Host, message, root, skipped, user};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

/// What messages may be: long lines, 8-bit, dots, quoted From_ lines, empty lines at the end, no body.
fn bodies() -> Vec<String> {
    vec![
        "plain".to_owned(),
        format!("{}\n{}", "long ".repeat(190), ".".repeat(70)),
        "Grüße aus Köln\n\u{1f4ec}".to_owned(),
        ".\n..\n.dot\n\n.".to_owned(),
        ">From quoted\n>>From twice\nFrom the middle of a line: From me".to_owned(),
        "ends with empty lines\n\n\n".to_owned(),
        (0..4000).map(|n| format!("line {n}\n")).collect(),
        "tab\tand \u{7f} and = and trailing space ".to_owned(),
    ]
}

/// Clients run as somebody whom the system knows: some look their user up.
const NOBODY: u32 = 65534;

struct Case {
    host: Host,
    /// Where the client runs, and writes.
    home: PathBuf,
    /// The messages as they must arrive, in order.
    expected: Vec<String>,
}

impl Case {
    fn new() -> Self {
        let spool: Vec<String> = (1..)
            .zip(bodies())
            .map(|(n, body)| message(n, &body))
            .collect();
        let expected = spool
            .iter()
            .map(|message| {
                let start = message.find('\n').unwrap() + 1;
                message[start..message.len() - 1].to_owned()
            })
            .collect();
        let host = Host::start(&[user("alice", 64401, spool.concat().as_bytes())]);
        let home = host.at("home");
        fs::create_dir(&home).unwrap();
        if root() {
            chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        Self {
            host,
            home,
            expected,
        }
    }

    /// The program as an ordinary user at home there; `None`, said aloud, where it is not installed.
    fn client(&self, program: &str) -> Option<Command> {
        let path = std::env::var_os("PATH")?;
        if !std::env::split_paths(&path).any(|dir| dir.join(program).exists()) {
            skipped(&format!("{program} is not installed"));
            return None;
        }
        let mut command = Command::new(program);
        command.env("HOME", &self.home).current_dir(&self.home);
        if root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Some(command)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        if root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        path
    }

    fn authority(&self) -> String {
        self.host.at("cert.pem").display().to_string()
    }

    /// Compares the files of a directory, in the order of their messages' numbers, with what is expected.
    fn stored(&self, directory: &str, what: &str) {
        let mut found: Vec<String> = fs::read_dir(self.home.join(directory))
            .unwrap()
            .map(|entry| text(&fs::read(entry.unwrap().path()).unwrap()))
            .collect();
        found.sort_by_key(|text| number(text));
        assert_eq!(found.len(), self.expected.len(), "{what}");
        for (found, expected) in found.iter().zip(&self.expected) {
            // getmail's own, which it puts first and cannot be kept from.
            let found = found
                .strip_prefix("Return-Path: <unknown>\n")
                .unwrap_or(found);
            assert_eq!(found, expected, "{what}");
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec())
        .unwrap()
        .replace("\r\n", "\n")
}

/// The number in a message's Subject.
fn number(text: &str) -> u32 {
    let start = text.find("Subject: message ").unwrap() + "Subject: message ".len();
    text[start..].lines().next().unwrap().parse().unwrap()
}

fn succeeded(output: &Output, what: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{what}: {}\n{text}\n{error}",
        output.status
    );
}

#[test]
fn curl() {
    let case = Case::new();
    let plain = format!("pop3://127.0.0.1:{}", case.host.plain);
    let tls = format!("pop3s://localhost:{}", case.host.tls);
    for url in [plain, tls] {
        for (number, expected) in (1..).zip(&case.expected) {
            let Some(mut curl) = case.client("curl") else {
                return;
            };
            let output = curl
                .args(["-sS", "-u", "alice:alice", "--cacert", &case.authority()])
                .arg(format!("{url}/{number}"))
                .output()
                .unwrap();
            succeeded(&output, &url);
            assert_eq!(text(&output.stdout), *expected, "{url}/{number}");
        }
    }
}

#[test]
fn fetchmail() {
    let case = Case::new();
    let Host { plain, tls, .. } = case.host;
    let runs = [
        ("plain", format!("port {plain}"), "sslproto \"\"".to_owned()),
        (
            "tls",
            format!("port {tls}"),
            format!("ssl sslcertck sslcertfile {}", case.authority()),
        ),
    ];
    for (name, port, options) in runs {
        let Some(mut fetchmail) = case.client("fetchmail") else {
            return;
        };
        let rc = format!(
            "set no bouncemail\nset invisible\npoll localhost {port} proto POP3 user alice password alice {options} keep fetchall no rewrite \
             mda \"mkdir -p {name} && cat >{name}/$$\"\n"
        );
        let rc = case.write(&format!("{name}.rc"), &rc);
        let output = fetchmail.arg("-f").arg(rc).output().unwrap();
        succeeded(&output, name);
        case.stored(name, "fetchmail");
    }
}

#[test]
fn mpop() {
    let case = Case::new();
    let Host { plain, tls, .. } = case.host;
    let runs = [
        ("plain", "127.0.0.1", plain, "--tls=off".to_owned()),
        (
            "tls",
            "localhost",
            tls,
            format!(
                "--tls=on --tls-starttls=off --tls-trust-file={}",
                case.authority()
            ),
        ),
    ];
    for (name, server, port, options) in runs {
        let Some(mut mpop) = case.client("mpop") else {
            return;
        };
        fs::create_dir(case.home.join(name)).unwrap();
        for part in ["tmp", "new", "cur"] {
            fs::create_dir(case.home.join(name).join(part)).unwrap();
            let path = case.home.join(name).join(part);
            if root() {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let output = mpop
            .args([
                format!("--host={server}"),
                format!("--port={port}"),
                format!("--delivery=maildir,{name}"),
            ])
            .args([
                "--user=alice",
                "--passwordeval=echo alice",
                "--auth=user",
                "--keep=on",
                "--received-header=off",
            ])
            .arg(format!(
                "--uidls-file={}",
                case.home.join(name).with_extension("uidls").display()
            ))
            .args(options.split(' '))
            .output()
            .unwrap();
        succeeded(&output, name);
        case.stored(&format!("{name}/new"), "mpop");
    }
}

#[test]
fn getmail() {
    let case = Case::new();
    let Host { plain, tls, .. } = case.host;
    let runs = [
        ("plain", "SimplePOP3Retriever", plain, String::new()),
        (
            "tls",
            "SimplePOP3SSLRetriever",
            tls,
            format!("ca_certs = {}\n", case.authority()),
        ),
    ];
    for (name, retriever, port, more) in runs {
        let Some(mut getmail) = case.client("getmail") else {
            return;
        };
        let rc = format!(
            "[retriever]\ntype = {retriever}\nserver = localhost\nport = {port}\nusername = alice\npassword = alice\n{more}\
             [destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"-c\", \"mkdir -p {name} && cat >{name}/$$\")\n\
             [options]\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false\n"
        );
        case.write(&format!("{name}.rc"), &rc);
        let output = getmail
            .arg(format!("--getmaildir={}", case.home.display()))
            .arg(format!("--rcfile={name}.rc"))
            .output()
            .unwrap();
        succeeded(&output, name);
        case.stored(name, "getmail");
    }
}

#[test]
fn poplib_of_python() {
    let case = Case::new();
    let Host { plain, tls, .. } = case.host;
    let opened = [
        format!("poplib.POP3('127.0.0.1',{plain})"),
        format!(
            "poplib.POP3_SSL('localhost',{tls},context=ssl.create_default_context(cafile='{}'))",
            case.authority()
        ),
    ];
    for open in opened {
        let Some(mut python) = case.client("python3") else {
            return;
        };
        let script = format!(
            "import poplib,ssl,sys\npoplib._MAXLINE=1<<20\nm={open}\nm.user('alice');m.pass_('alice')\nn,size=m.stat()\n\
             assert n==len(m.list()[1])==len(set(m.uidl()[1]))\ntotal=0\n\
             for i in range(1,n+1):\n  lines,octets=m.retr(i)[1:]\n  total+=sum(len(l)+2 for l in lines)\n  sys.stdout.buffer.write(b'\\n'.join(lines)+b'\\n\\0')\n\
             assert total==size,(total,size)\nm.quit()\n"
        );
        let output = python.args(["-c", &script]).output().unwrap();
        succeeded(&output, &open);
        let all = case
            .expected
            .iter()
            .map(|message| format!("{message}\0"))
            .collect::<String>();
        assert_eq!(text(&output.stdout), all, "{open}");
    }
}

#[test]
fn net_pop3_of_perl() {
    let case = Case::new();
    let Host { plain, tls, .. } = case.host;
    let options = [
        format!("'127.0.0.1',Port=>{plain}"),
        format!(
            "'localhost',Port=>{tls},SSL=>1,SSL_ca_file=>'{}'",
            case.authority()
        ),
    ];
    for options in options {
        let Some(mut perl) = case.client("perl") else {
            return;
        };
        let script = format!(
            "$p=Net::POP3->new({options}) or die $@; defined($n=$p->login('alice','alice')) or die; \
             for $i (1..$n) {{ print join('',@{{$p->get($i)}}),\"\\0\" }} $p->quit or die"
        );
        let output = perl.args(["-MNet::POP3", "-e", &script]).output().unwrap();
        succeeded(&output, &options);
        let all = case
            .expected
            .iter()
            .map(|message| format!("{message}\0"))
            .collect::<String>();
        assert_eq!(text(&output.stdout), all, "{options}");
    }
}
