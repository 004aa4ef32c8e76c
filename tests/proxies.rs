//! Real proxies before two hosts: haproxy, nginx's mail module, and Dovecot. The proxy, the hosts
//! and the client are machines of their own. The hosts' logs must have the client's address.

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a test may fail")]

mod host;
mod network;

use host::{Host, User, dovecot_has_new_settings, retrieved, skipped, spool, until, user};
use network::{Machine, Network};
use std::path::Path;
use std::process::{Child, Stdio};

/// The program's path, if it is installed.
fn installed(name: &str) -> Option<String> {
    let path = format!("/usr/sbin/{name}");
    if host::root() && Path::new(&path).exists() {
        return Some(path);
    }
    skipped(&format!("no {name}, or not root"));
    None
}

/// Two hosts behind a proxy.
struct Site {
    hosts: [Host; 2],
    machines: [Machine; 2],
    proxy: Machine,
    client: Machine,
    // The last field, so the network goes last.
    _network: Network,
}

impl Site {
    /// A site whose hosts have `keys` in `[proxy]`. `PROXY` stands for the proxy's address.
    fn new(keys: &str) -> Option<Self> {
        let network = Network::new()?;
        let users: [User; 2] = [
            user("alice", 64401, &spool(3)),
            user("bob", 64402, &spool(2)),
        ];
        let machines = [network.machine(11), network.machine(12)];
        let (proxy, client) = (network.machine(3), network.machine(2));
        let more = format!("[proxy]\n{}\n", keys.replace("PROXY", &proxy.address));
        let everywhere = ("address = \"127.0.0.1:", "address = \"0.0.0.0:");
        let start = |machine: &Machine| {
            Host::by(|path| machine.command(path), &users, &more, &[everywhere])
        };
        Some(Self {
            hosts: [start(&machines[0]), start(&machines[1])],
            machines,
            proxy,
            client,
            _network: network,
        })
    }

    /// Starts a program on the proxy's machine.
    fn run(&self, program: &str, arguments: &[&str]) -> Running {
        let mut command = self.proxy.command(program);
        command.args(arguments).stdin(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Logs in as `user` at `port` of the proxy, with TLS as `tls` says, and retrieves message 1.
    fn session(&self, port: u16, tls: &str, user: &str) {
        let script = "import poplib, socket, ssl, sys, time\n\
            address, port, tls, user = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]\n\
            context = ssl._create_unverified_context()\n\
            for attempt in range(600):\n\
            \x20   try:\n\
            \x20       if tls == 'tls': pop = poplib.POP3_SSL(address, port, context=context)\n\
            \x20       else: pop = poplib.POP3(address, port)\n\
            \x20       break\n\
            \x20   except (OSError, poplib.error_proto): time.sleep(0.1)\n\
            if tls == 'stls': pop.stls(context)\n\
            pop.user(user), pop.pass_(user)\n\
            for line in pop.retr(1)[1]: sys.stdout.buffer.write(line + b'\\n')\n\
            pop.quit()\n";
        let mut python = self.client.command("python3");
        let port = port.to_string();
        python.args(["-c", script, &self.proxy.address, &port, tls, user]);
        let output = python.output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text, retrieved(1), "{port} {tls} {user}: {complaint}");
    }

    /// The log line of a host's `times`th login. It must have the client's address.
    fn logged(&self, host: usize, times: usize) -> String {
        let login = self.hosts[host].logged_times("] login session=", times);
        let peer = format!(" peer={} ", self.client.address);
        let proxy = format!(" proxy={}", self.proxy.address);
        assert!(login.contains(&peer) && login.contains(&proxy), "{login}");
        login
    }

    /// Asserts that the log has no error, and no ends but those of sessions.
    fn assert_quiet(&self) {
        for host in &self.hosts {
            let log = host.log();
            let odd = |line: &&str| {
                let end = line.contains("] end ") && !line.contains("why=quit");
                end || line.contains(" warning ") || line.contains(" error ")
            };
            assert_eq!(log.lines().find(odd), None);
        }
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

#[test]
fn haproxy_names_its_clients_by_both_versions() {
    let Some(haproxy) = installed("haproxy") else {
        return;
    };
    let Some(site) = Site::new("networks = [\"PROXY/32\"]\ntls = [\"PROXY/32\"]") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let both: Vec<u8> = ["cert.pem", "key.pem"]
        .iter()
        .flat_map(|name| std::fs::read(site.hosts[0].at(name)).unwrap())
        .collect();
    let pem = directory.path().join("both.pem");
    std::fs::write(&pem, both).unwrap();
    // Checks that only connect, and checks that wait for the greeting.
    let backend = |name: &str, tls: bool, check: &str, options: &str| {
        let mut text = format!("backend {name}\n balance roundrobin\n{check}");
        for (number, (host, machine)) in site.hosts.iter().zip(&site.machines).enumerate() {
            let port = if tls { host.tls } else { host.plain };
            let address = &machine.address;
            text += &format!(
                " server h{number} {address}:{port} {options} check inter 100ms fall 1000\n"
            );
        }
        text
    };
    let greeting = " option tcp-check\n tcp-check expect string +OK\n tcp-check send QUIT\\r\\n\n";
    let config = format!(
        "defaults\n mode tcp\n timeout connect 9s\n timeout check 9s\n timeout client 60s\n timeout server 60s\n\
         frontend stls\n bind :110\n default_backend v1\n\
         frontend pass\n bind :995\n default_backend v2\n\
         frontend ends\n bind :996 ssl crt {}\n default_backend ssl\n{}{}{}",
        pem.display(),
        backend("v1", false, greeting, "send-proxy"),
        backend("v2", true, "", "send-proxy-v2"),
        backend("ssl", false, greeting, "send-proxy-v2-ssl"),
    );
    let file = directory.path().join("haproxy.cfg");
    std::fs::write(&file, config).unwrap();
    let _haproxy = site.run(&haproxy, &["-db", "-q", "-f", file.to_str().unwrap()]);
    for (round, (port, tls)) in [(110, "stls"), (995, "tls"), (996, "tls")]
        .iter()
        .enumerate()
    {
        for (host, user) in ["alice", "bob"].iter().enumerate() {
            site.session(*port, tls, user);
            let login = site.logged(host, round + 1);
            let expected = if *port == 996 {
                "tls=proxy "
            } else {
                "tls=TLSv1_3/"
            };
            assert!(login.contains(expected), "{login}");
        }
    }
    site.assert_quiet();
}

#[test]
fn nginxs_mail_proxy_names_its_clients() {
    let Some(nginx) = installed("nginx") else {
        return;
    };
    let module = "/usr/lib/nginx/modules/ngx_mail_module.so";
    if !Path::new(module).exists() {
        return skipped("no mail module of nginx");
    }
    let keys = "networks = [\"PROXY\"]\nplaintext = [\"PROXY\"]";
    let Some(site) = Site::new(keys) else { return };
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let place = |host: usize| {
        let (address, port) = (&site.machines[host].address, site.hosts[host].plain);
        format!(
            "add_header Auth-Status OK; add_header Auth-Server {address}; add_header Auth-Port {port}; return 200;"
        )
    };
    // nginx asks a server over HTTP who logs in where. Here nginx is that server, too.
    let config = format!(
        "load_module {module};\ndaemon off;\nuser root;\npid {};\nerror_log {} info;\nevents {{}}\n\
         http {{ access_log off;\n server {{ listen 127.0.0.1:8080;\n\
          location = /auth {{ if ($http_auth_user = bob) {{ rewrite ^ /bob last; }} {} }}\n\
          location = /bob {{ {} }} }} }}\n\
         mail {{ auth_http 127.0.0.1:8080/auth; server {{ listen 110; protocol pop3; proxy on; proxy_protocol on; }} }}\n",
        at("pid"),
        at("log"),
        place(0),
        place(1),
    );
    std::fs::write(at("nginx.conf"), config).unwrap();
    let _nginx = site.run(&nginx, &["-c", &at("nginx.conf")]);
    site.session(110, "plain", "alice");
    site.logged(0, 1);
    site.session(110, "plain", "bob");
    site.logged(1, 1);
    site.assert_quiet();
}

#[test]
fn dovecot_as_a_proxy_names_its_clients() {
    dovecot_before_two_hosts("xclient = [\"PROXY\"]\nplaintext = [\"PROXY\"]", false);
}

/// Dovecot sends STLS, and then XCLIENT and the password over TLS. Nothing is granted to it in the
/// clear.
#[test]
fn dovecot_as_a_proxy_over_tls_names_its_clients() {
    dovecot_before_two_hosts("xclient = [\"PROXY\"]", true);
}

/// Makes Dovecot's proxies believe both hosts, each of which has its own certificate for localhost.
/// Dovecot does no TLS without a certificate of its own, so it gets one of these.
fn believes(site: &Site, directory: &Path) -> String {
    let own = |name: &str| {
        site.hosts
            .each_ref()
            .map(|host| std::fs::read(host.at(name)).unwrap())
    };
    let [certificates, keys] = [own("cert.pem"), own("key.pem")];
    std::fs::write(directory.join("authorities.pem"), certificates.concat()).unwrap();
    std::fs::write(directory.join("own.pem"), &certificates[0]).unwrap();
    std::fs::write(directory.join("own.key"), &keys[0]).unwrap();
    let base = directory.display();
    if dovecot_has_new_settings() {
        return format!(
            "ssl = yes\nssl_server_cert_file = {base}/own.pem\nssl_server_key_file = {base}/own.key\nssl_client_ca_file = {base}/authorities.pem\n"
        );
    }
    format!(
        "ssl = yes\nssl_cert = <{base}/own.pem\nssl_key = <{base}/own.key\nssl_ca = <{base}/authorities.pem\nssl_require_crl = no\n"
    )
}

fn dovecot_before_two_hosts(keys: &str, tls: bool) {
    let Some(dovecot) = installed("dovecot") else {
        return;
    };
    if !Path::new("/usr/lib/dovecot/pop3-login").exists() {
        return skipped("no POP3 of Dovecot");
    }
    let Some(site) = Site::new(keys) else { return };
    let directory = tempfile::tempdir().unwrap();
    let base = directory.path().display();
    let secure = if tls {
        believes(&site, directory.path())
    } else {
        "ssl = no\n".to_owned()
    };
    let starttls = if tls { "starttls=y" } else { "" };
    let passdb = |host: usize, user: &str| {
        let (address, port) = (&site.machines[host].address, site.hosts[host].plain);
        if dovecot_has_new_settings() {
            let starttls = starttls.replace("=y", " = yes\n");
            return format!(
                "passdb {user} {{\n driver = static\n username_filter = {user}\n fields {{\n proxy = yes\n host = localhost\n hostip = {address}\n \
                 port = {port}\n {starttls} nopassword = yes\n }}\n}}\n"
            );
        }
        format!(
            "passdb {{\n driver = static\n username_filter = {user}\n args = proxy=y host=localhost hostip={address} port={port} {starttls} nopassword=y\n}}\n"
        )
    };
    let first = if dovecot_has_new_settings() {
        "dovecot_config_version = 2.4.0\ndovecot_storage_version = 2.4.0\nauth_allow_cleartext = yes\n"
    } else {
        "disable_plaintext_auth = no\n"
    };
    let config = format!(
        "{first}protocols = pop3\nbase_dir = {base}/run\nstate_dir = {base}/state\nlog_path = {base}/log\n{secure}\
         {}{}\
         service pop3-login {{\n chroot =\n inet_listener pop3 {{\n port = 110\n }}\n inet_listener pop3s {{\n port = 0\n }}\n}}\n",
        passdb(0, "alice"),
        passdb(1, "bob"),
    );
    let file = directory.path().join("dovecot.conf");
    std::fs::write(&file, config).unwrap();
    let _dovecot = site.run(&dovecot, &["-F", "-c", file.to_str().unwrap()]);
    for (host, user) in ["alice", "bob"].iter().enumerate() {
        site.session(110, "plain", user);
        let login = site.logged(host, 1);
        assert_eq!(login.contains("tls=TLS"), tls, "{login}");
        // Dovecot's name for the session is in Dovecot's log as well.
        let (_, session) = login.split_once(" proxy_session=").unwrap();
        let session = session.split(' ').next().unwrap().trim_matches('"');
        until(&format!("Dovecot's log has {session}"), || {
            let theirs = std::fs::read_to_string(directory.path().join("log"));
            theirs.is_ok_and(|theirs| theirs.contains(session))
        });
    }
    site.assert_quiet();
}
