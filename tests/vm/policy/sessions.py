"""popward as a service under a mandatory policy: all of it works, nothing of it is denied, and what a break-in would try is.

The module of the policy (apparmor.py says what it must have) is the one that the guest's $VM_LSM names."""
import base64, fcntl, os, pwd, re, shutil, signal, socket, ssl, subprocess, sys, threading, time
import break_in, messages, service
from server import PATIENCE, Client, Refused, command_line, inject_at, kill_at, until
from service import CONFIG, shown, systemctl

policy = __import__(os.environ["VM_LSM"])
LIBEXEC, MAIL, PLAIN, TLS = "/usr/libexec/popward/", "/var/mail/", "127.0.0.1:110", "127.0.0.1:995"
PARTS = ["popward", "popward-monitor", "popward-sessions", "popward-log", "popward-front", "popward-auth", "popward-keys", "popward-worker"]
# Alice's spool is behind a link: /var/spool/mail is /var/mail. Bob's mail is in his home directory. Carol comes from another
# server.
TABLES = """
[[account]]
users = ["alice"]
spool.path = "/var/spool/mail/{user}"
spool.lock_timeout = "1s"

[[account]]
users = ["bob"]
spool.path = "{home}/mbox"

[[account]]
users = ["carol"]
adopt.from = ["x-uidl"]
"""
tls = ssl.create_default_context(cafile="/etc/ssl/certs/ssl-cert-snakeoil.pem")
# The guest has no domain, so the certificate's name is not the host's.
tls.check_hostname = False


def check(name, good, detail=""):
    service.check(os.environ["VM_LSM"], name, good, detail)


def step(function):
    """Runs a part of the test, and returns whether it is good. Its docstring is what it shows. The policy must deny nothing
    meanwhile but what is harmless."""
    wrong = []
    try:
        function()
    except (Exception, SystemExit) as error:
        wrong.append(repr(error))
    denials = list(filter(policy.denial, audit_lines()))
    seen.extend(denials)
    wrong += [line for line in denials if not policy.harmless(line)]
    check(function.__doc__, not wrong, "\n".join(wrong[:20]))
    if wrong:
        for line in run("journalctl", "-o", "cat", "--no-pager", "-n", "30", "-t", "popward").splitlines():
            print("note %s" % line, flush=True)
    return not wrong


def expect(good, what):
    if not good:
        raise Refused(what)


# What happens on the host.

def write(path, text, owner, group="mail", mode=0o660):
    with open(path, "wb") as file:
        file.write(text)
    shutil.chown(path, owner, group)
    os.chmod(path, mode)
    policy.placed(path)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def edit(old, new):
    with open(CONFIG) as file:
        text = file.read()
    expect(old in text, "%s is not in the configuration" % old)
    with open(CONFIG, "w") as file:
        file.write(text.replace(old, new, 1))


def run(*words, **more):
    """The output of a command that must succeed."""
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    expect(done.returncode == 0, "%s: %s" % (" ".join(words), done.stdout))
    return done.stdout


def processes(older=()):
    """The processes of popward but the older ones: id and executable."""
    found = {}
    for pid in set(filter(str.isdigit, os.listdir("/proc"))).difference(older):
        try:
            path = os.readlink("/proc/%s/exe" % pid)
            if path.startswith(LIBEXEC) and command_line(int(pid)):
                found[int(pid)] = path[len(LIBEXEC):]
        except OSError:
            pass
    return found


def pids(executable):
    return [pid for pid, name in processes().items() if name == executable]


def names_of_processes():
    """The names of all processes of the machine."""
    names = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/comm" % pid) as name:
                names.add(name.read().strip())
        except OSError:
            pass
    return names


class Watch(threading.Thread):
    """Sees new processes, also those that live for a moment, and how each is confined."""

    def __init__(self):
        super().__init__(daemon=True)
        self.over, self.seen, self.older = False, set(), os.listdir("/proc")

    def run(self):
        while not self.over:
            for pid, name in processes(self.older).items():
                try:
                    before = policy.confinement(pid)
                    # Between clone and exec a child is its parent still.
                    if os.readlink("/proc/%d/exe" % pid) == LIBEXEC + name and policy.confinement(pid) == before:
                        self.seen.add((name, before))
                except OSError:
                    pass
            time.sleep(0.05)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


def expect_seen(watch, executable):
    """A process of this executable was there, and all processes were confined."""
    wrong = [(name, how) for name, how in watch.seen if how not in policy.expected(name)]
    expect(executable in dict(watch.seen), "%s was not seen" % executable)
    expect(not wrong, wrong)


AUDIT = "/var/log/audit/audit.log"
heard = os.path.getsize(AUDIT)
# The denials on good paths.
seen = []


def audit_lines():
    """The lines of the audit log since the last call, or since the start."""
    global heard
    mark = b"popward-mark-%d-%d." % (os.getpid(), heard)
    run("auditctl", "-m", mark.decode())
    with open(AUDIT, "rb") as log:
        log.seek(heard)
        text = bytearray()

        def has_mark():
            text.extend(log.read())
            return mark in text
        until("the audit log has its mark", has_mark)
    new = text[:text.index(mark)]
    heard += len(new)
    return new.decode(errors="replace").splitlines()


def login(user, client=None, password="secret"):
    """A session. One that has just ended may still be in the way, and a part that was killed may not be back."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = ""
        try:
            own = client or Client(PLAIN)
            own.ask("USER " + user)
            answer = own.ask("PASS " + password)
            if answer.startswith("+OK"):
                return own
            own.close()
        except (OSError, Refused) as error:
            answer = answer or repr(error)
        expect(client is None and time.monotonic() < end, answer)
        time.sleep(0.2)


def uidls(client):
    return [line.split()[1] for line in client.lines("UIDL").decode().splitlines()]


# The steps.

def started():
    """the package is installed, and starts popward"""
    policy.install("/root/")
    expect(systemctl("is-active", "popward") == 0, "it does not run")
    with open(CONFIG, "a") as file:
        file.write(TABLES)
    expect(systemctl("restart", "popward") == 0, "it does not start again")


def by_pam():
    """a user of the system logs in by PAM over TLS, and gets mail. Auth is not root"""
    write(MAIL + "alice", messages.spool([1, 2, 3]), "alice")
    client = login("alice", Client(TLS, tls))
    expect(os.stat("/proc/%d" % pids("popward-auth")[-1]).st_uid != 0, "auth is root")
    expect(client.lines("RETR 2") == messages.retrieved(2), "another message")
    client.ok("QUIT")


def confined():
    """each process is confined by the policy, as its executable"""
    client = login("alice")
    there = processes()
    expect(set(PARTS) <= set(there.values()), "processes: %s" % sorted(there.values()))
    wrong = ["%s: %s" % (name, policy.confinement(pid)) for pid, name in there.items()
             if policy.confinement(pid) not in policy.expected(name)]
    expect(not wrong, wrong)
    client.ok("QUIT")


def confined_by_itself():
    """each process has also confined itself, as it does without the policy"""
    client = login("alice")
    for pid, name in processes().items():
        with open("/proc/%d/status" % pid) as file:
            status = {line.split(":")[0]: line.split(":")[1].strip() for line in file}
        if name in ("popward-front", "popward-keys"):
            expect(os.readlink("/proc/%d/root" % pid).endswith("/.empty"), "%s: its root" % name)
        if name in ("popward-front", "popward-keys", "popward-log", "popward-worker"):
            facts = [status[field] for field in ("Seccomp", "NoNewPrivs", "CapEff")]
            expect(facts == ["2", "1", "0" * 16], "%s: %s" % (name, facts))
    client.ok("QUIT")


def update():
    """over STLS, QUIT removes what was deleted"""
    write(MAIL + "alice", messages.spool([1, 2, 3]), "alice")
    client = Client(PLAIN)
    client.start_tls(tls)
    login("alice", client).ok("DELE 1")
    client.ok("QUIT")
    expect(read(MAIL + "alice") == messages.spool([2, 3]), "another spool")


def procmail_waits():
    """procmail delivers once a session has ended"""
    write(MAIL + "alice", messages.spool([2, 3]), "alice")
    client = login("alice")
    agent = subprocess.Popen(("procmail", "-d", "alice"), stdin=subprocess.PIPE)
    agent.stdin.write(messages.message(4))
    agent.stdin.close()
    client.ok("DELE 1")
    expect(client.lines("RETR 2") == messages.retrieved(3), "another message")
    time.sleep(1)
    expect(agent.poll() is None and read(MAIL + "alice") == messages.spool([2, 3]), "procmail has not waited")
    client.ok("QUIT")
    expect(agent.wait(PATIENCE) == 0, "procmail has failed")
    client = login("alice")
    expect(client.count() == 2 and client.lines("RETR 2") == messages.retrieved(4), "the message is not there")
    client.ok("QUIT")


def postfix_waits():
    """so does postfix"""
    write(MAIL + "alice", messages.spool([2, 3]), "alice")
    expect(systemctl("start", "postfix@-") == 0, "postfix does not start")
    client = login("alice")
    run("sendmail", "-i", "alice", input=messages.message(4).decode())
    until("local(8) has the message", lambda: any(name == "local" for name in names_of_processes()))
    client.ok("DELE 1")
    expect(client.lines("RETR 2") == messages.retrieved(3), "another message")
    time.sleep(1)
    expect(read(MAIL + "alice") == messages.spool([2, 3]), "postfix has not waited")
    client.ok("QUIT")
    until("postfix has delivered", lambda: not os.listdir("/var/spool/postfix/active") and read(MAIL + "alice") != messages.spool([3]))
    expect(systemctl("stop", "postfix@-") == 0, "postfix does not stop")
    client = login("alice")
    expect(client.count() == 2 and client.lines("RETR 1") == messages.retrieved(3), "another message")
    expect(messages.message(4).split(b"\n\n", 1)[1].rstrip() in client.lines("RETR 2"), "the message is not there")
    client.ok("QUIT")


def locks_of_others():
    """dotlocks and an fcntl lock of other programs are respected, and a dead program's dotlock is removed"""
    lock = MAIL + "alice.lock"

    def is_in_use():
        client = Client(PLAIN)
        client.ask("USER alice")
        expect("[IN-USE]" in client.ask("PASS secret"), "it is not in use")
        client.close()
    write(lock, b"%d" % os.getpid(), "root", mode=0o644)
    is_in_use()
    os.remove(lock)
    # The worker may ask whether a process of its user lives.
    program = subprocess.Popen(("sleep", "600"), user="alice")
    write(lock, b"%d:%s" % (program.pid, socket.gethostname().encode()), "alice", mode=0o600)
    is_in_use()
    program.kill()
    program.wait()
    os.remove(lock)
    with open(MAIL + "alice", "rb+") as spool:
        fcntl.lockf(spool, fcntl.LOCK_EX)
        is_in_use()
    dead = subprocess.Popen(("true",))
    dead.wait()
    write(lock, b"%d:%s" % (dead.pid, socket.gethostname().encode()), "alice", mode=0o600)
    login("alice").ok("QUIT")


def killed_worker():
    """a session whose worker is killed leaves no lock"""
    client = login("alice")
    os.kill(pids("popward-worker")[-1], signal.SIGKILL)
    expect(not client.ask("STAT").startswith("+OK"), "the session goes on")
    login("alice").ok("QUIT")
    expect(os.listdir(MAIL) == ["alice"], os.listdir(MAIL))


def killed_update():
    """an update whose worker is killed is finished by another one"""
    write(MAIL + "alice", messages.spool(range(1, 30)), "alice")
    client = login("alice")
    tracer = kill_at(pids("popward-worker")[-1], "pwrite64", 4)
    client.ok("DELE 1")
    client.ok("QUIT")
    tracer.wait(PATIENCE)
    expect(read(MAIL + "alice") == messages.spool(range(2, 30)), "another spool")
    expect("finished an update" in run("journalctl", "-o", "cat", "--no-pager", "-t", "popward"), "nobody has finished it")


def crash():
    """an update in which all of popward is killed is finished at the next login"""
    before = messages.spool(range(1, 30))
    write(MAIL + "alice", before, "alice")
    client = login("alice")
    # The worker has moved the messages, and stays where it would cut the spool.
    tracer = inject_at(pids("popward-worker")[-1], "cut", "delay_enter=600s", 1)
    client.ok("DELE 1")
    client.send("QUIT")
    until("the update has begun", lambda: read(MAIL + "alice") != before)
    old = set(processes())
    run("systemctl", "kill", "--kill-who=all", "--signal=KILL", "popward")
    tracer.kill()
    tracer.wait(PATIENCE)
    until("all of popward is gone", lambda: not old & set(processes()))
    expect(read(MAIL + "alice") != messages.spool(range(2, 30)), "the update was over")
    client = login("alice")
    expect(client.count() == 28, "messages: %d" % client.count())
    client.ok("QUIT")
    expect(read(MAIL + "alice") == messages.spool(range(2, 30)), "another spool")


def killed_parts():
    """a process that is killed is started again"""
    for name in ["popward-front", "popward-auth", "popward-keys", "popward-log", "popward-monitor"]:
        old = pids(name)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        until("%s is started again" % name, lambda: set(pids(name)) - set(old))
        login("alice").ok("QUIT")


def stopped_parts():
    """a worker and a log that are stopped do not keep popward from ending"""
    client = login("alice")
    stopped = [pids(name)[-1] for name in ("popward-worker", "popward-log")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    expect(systemctl("restart", "popward") == 0, "it does not start again")
    expect(not set(stopped) & set(processes()), "a process is still there")
    client.close()
    login("alice").ok("QUIT")


def reload():
    """a reload works, with a confined popward-config and a file in popward.toml.d"""
    os.makedirs(CONFIG + ".d", exist_ok=True)
    write(CONFIG + ".d/site.toml", b"# Nothing.\n", "root", "root", 0o644)
    with Watch() as watch:
        expect(systemctl("reload", "popward") == 0, shown("StatusText"))
    expect_seen(watch, "popward-config")
    login("alice").ok("QUIT")


def restart():
    """a restart works"""
    expect(systemctl("restart", "popward") == 0, "it fails")
    login("alice").ok("QUIT")


def sockets():
    """systemd makes the listening sockets, and a client starts popward"""
    good = read(CONFIG)
    listen, certificate = good.index(b"\n[[listen]]"), good.index(b"\n[[certificate]]")
    write(CONFIG, good[:listen] + good[certificate:], "root", "root", 0o644)
    units = "popward-pop3.socket", "popward-pop3s.socket"
    try:
        expect(systemctl("stop", "popward") == 0 and systemctl("start", *units) == 0, "the sockets do not start")
        login("alice", Client(TLS, tls)).ok("QUIT")
        login("alice").ok("QUIT")
    finally:
        write(CONFIG, good, "root", "root", 0o644)
        systemctl("stop", "popward", *units)
        systemctl("reset-failed", "popward")
        systemctl("start", "popward")
    login("alice").ok("QUIT")


def own_key():
    """a key and a chain that lie in /etc/popward are used"""
    for name, source, mode in ("chain.pem", "certs/ssl-cert-snakeoil.pem", 0o644), ("key.pem", "private/ssl-cert-snakeoil.key", 0o600):
        text = read("/etc/ssl/" + source)
        os.remove("/etc/popward/" + name)
        write("/etc/popward/" + name, text, "root", "root", mode)
    expect(systemctl("reload", "popward") == 0, shown("StatusText"))
    login("alice", Client(TLS, tls)).ok("QUIT")


def write_users(ids):
    """Writes the password file. With `ids`, each line has the user's."""
    line, text = run("popward", "secret", input="secret\n").strip(), ""
    for user in map(pwd.getpwnam, ("alice", "bob", "carol")):
        text += "%s:%s:%s\n" % (user.pw_name, line, "%d:%d::%s::" % (user.pw_uid, user.pw_gid, user.pw_dir) if ids else ":")
    write("/etc/popward/users", text.encode(), "root", "_popward-auth", 0o640)


def password_file():
    """with a password file, a spool in a home directory is served"""
    write_users(False)
    edit('\nsource = "pam"\n', '\nsource = "passwd-file"\npasswd_file = "/etc/popward/users"\n')
    expect(systemctl("reload", "popward") == 0, shown("StatusText"))
    write("/home/bob/mbox", messages.spool([5, 6, 7]), "bob", "bob", 0o600)
    client = login("bob")
    expect(client.lines("RETR 3") == messages.retrieved(7), "another message")
    client.ok("DELE 2")
    client.ok("QUIT")
    expect(read("/home/bob/mbox") == messages.spool([5, 7]), "another spool")
    client = login("bob")
    os.kill(pids("popward-worker")[-1], signal.SIGKILL)
    client.ask("STAT")
    login("bob").ok("QUIT")
    expect(not os.path.exists("/home/bob/mbox.lock"), "a lock stands")


def metrics():
    """a confined popward-metrics counts logins, and popwardctl shows and ends sessions"""
    expect(systemctl("start", "popward-metrics.socket") == 0, "its socket does not start")

    def counts():
        client = socket.create_connection(("127.0.0.1", 9790), PATIENCE)
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            return answer.read().decode()
    expect(counts().startswith("HTTP/1.1 200 "), "no answer")

    def counted():
        login("alice").ok("QUIT")
        return re.search(r'(?m)^popward_logins_total.method="PLAIN|^popward_logins_total.method="USER', counts())
    until("a login is counted", counted)
    for pid in pids("popward-metrics"):
        expect(policy.confinement(pid) in policy.expected("popward-metrics"), policy.confinement(pid))
    expect(len(pids("popward-metrics")) == 1, "processes")
    client = login("alice")

    def ctl(*words):
        return subprocess.run(["popwardctl", *words], capture_output=True, text=True, timeout=PATIENCE)
    until("the session has its address", lambda: re.search(r"(?m)^\S+ +alice +127\.0\.0\.1 ", ctl("sessions").stdout))
    expect(" logins that opened a maildrop" in ctl("status").stdout, "no status")
    ended = ctl("kick", "--user", "alice")
    expect(ended.returncode == 0 and ended.stdout.endswith(" of alice\n"), ended)
    client.close()
    login("alice").ok("QUIT")
    expect(systemctl("stop", "popward-metrics.socket", "popward-metrics.service") == 0, "it does not stop")


# Checks passwords as qmail's checkpassword does.
CHECKPASSWORD = """#!/bin/sh
[ "$(tr '\\0' '/' <&3 | cut -d / -f 1-2)" = alice/program ] || exit 1
USER=alice HOME=/home/alice userdb_uid=%d userdb_gid=%d exec "$1" "$2"
"""


def by_program():
    """a program of the operator checks a password"""
    path, alice = "/usr/local/bin/checkpassword", pwd.getpwnam("alice")
    write(path, (CHECKPASSWORD % (alice.pw_uid, alice.pw_gid)).encode(), "root", "root", 0o755)
    policy.permit_program(path, "tr", "cut")
    old, new = '\nsource = "passwd-file"\n', '\nsource = "checkpassword"\ncheckpassword = "%s"\n' % path
    edit(old, new)
    try:
        with Watch() as watch:
            expect(systemctl("reload", "popward") == 0, shown("StatusText"))
            login("alice", password="program").ok("QUIT")
            client = Client(PLAIN)
            client.ask("USER alice")
            expect("[AUTH]" in client.ask("PASS secret"), "another password is not refused")
            client.close()
        expect_seen(watch, "popward-auth-program")
    finally:
        policy.forbid_programs()
        edit(new, old)
        expect(systemctl("reload", "popward") == 0, shown("StatusText"))


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def openssl(words):
    return subprocess.run(["openssl"] + words.split(), stdout=subprocess.PIPE, check=True).stdout


def token(claims):
    """A signed token of the issuer that prove() makes."""
    text = encoded(b'{"alg":"EdDSA","typ":"JWT"}') + "." + encoded(claims.encode())
    with open("/root/text", "w") as file:
        file.write(text)
    return text + "." + encoded(openssl("pkeyutl -sign -rawin -inkey /root/issuer.key -in /root/text"))


def by_proof():
    """a token and a client's certificate are checked by a confined popward-auth-proof"""
    openssl("genpkey -algorithm ed25519 -out /root/issuer.key")
    public = encoded(openssl("pkey -in /root/issuer.key -pubout -outform DER")[-32:])
    write("/etc/popward/jwks.json", b'{"keys":[{"kty":"OKP","crv":"Ed25519","x":"%s"}]}' % public.encode(), "root", "root", 0o644)
    curve = "-nodes -newkey ec -pkeyopt ec_paramgen_curve:P-256"
    openssl("req -x509 -days 9 -subj /CN=authority %s -keyout /root/ca.key -out /root/ca.pem" % curve)
    openssl("req -new -subj /CN=alice %s -keyout /root/client.key -out /root/client.csr" % curve)
    with open("/root/extensions", "w") as file:
        file.write("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n")
    openssl("x509 -req -in /root/client.csr -CA /root/ca.pem -CAkey /root/ca.key -CAcreateserial -days 9 -extfile /root/extensions "
            "-out /root/client.pem")
    write("/etc/popward/clients.pem", read("/root/ca.pem"), "root", "root", 0o644)
    edit('\n#client_ca = "/etc/popward/clients.pem"\n', '\nclient_ca = "/etc/popward/clients.pem"\n')
    edit('\n#mechanisms = ["user", "plain", "login"]\n', '\nmechanisms = ["user", "external", "oauthbearer"]\ncertificate_user = "cn"\n')
    with open(CONFIG, "a") as file:
        file.write('\n[auth.oauth2]\nkeys = "/etc/popward/jwks.json"\nissuer = "issuer"\naudience = "popward"\nuser_claim = "sub"\n')
    with_certificate = ssl.create_default_context(cafile="/etc/ssl/certs/ssl-cert-snakeoil.pem")
    with_certificate.check_hostname = False
    with_certificate.load_cert_chain("/root/client.pem", "/root/client.key")
    with Watch() as watch:
        expect(systemctl("reload", "popward") == 0, shown("StatusText"))
        client = Client(TLS, tls)
        bearer = token('{"iss":"issuer","aud":"popward","sub":"alice","exp":99999999999}')
        said = base64.b64encode(b"n,a=alice,\1auth=Bearer %s\1\1" % bearer.encode()).decode()
        client.ok("AUTH OAUTHBEARER " + said)
        client.ok("QUIT")
        client = Client(TLS, with_certificate)
        client.ok("AUTH EXTERNAL " + base64.b64encode(b"alice").decode())
        client.ok("QUIT")
    expect_seen(watch, "popward-auth-proof")


def adopted():
    """the UIDLs of another server are adopted, by a confined popward-adopt"""
    text = messages.spool([8, 9]).replace(b"X-Hash:", b"X-UIDL: old-%d\nX-Hash:" % 1, 1)
    write(MAIL + "carol", text, "carol")
    with Watch() as watch:
        client = login("carol")
    expect(uidls(client)[0] == "old-1", uidls(client))
    client.ok("QUIT")
    expect_seen(watch, "popward-adopt")


def logged():
    """journald gets the log, and so does syslog's socket"""
    def lines(transport):
        return run("journalctl", "-o", "cat", "--no-pager", "-t", "popward", "_TRANSPORT=" + transport)
    expect("user=alice" in lines("journal"), "nothing in journald")
    edit('\nto = "journald"\n', '\nto = "syslog"\n')
    expect(systemctl("reload", "popward") == 0, shown("StatusText"))
    login("alice").ok("QUIT")
    until("syslog's socket has a line", lambda: "user=alice" in lines("syslog"))
    edit('\nto = "syslog"\n', '\nto = "journald"\n')
    expect(systemctl("reload", "popward") == 0, shown("StatusText"))


def tools():
    """the commands for users and operators work"""
    lines = run("runuser", "-u", "alice", "--", "/usr/sbin/popward", "spool", MAIL + "alice")
    expect(len(lines.splitlines()) > 1, lines)
    run("popward", "--check")
    run("popward", "--version")


def removed():
    """the package of the policy can be removed and installed again while popward runs"""
    for change, confined in (policy.remove, False), (policy.install_again, True):
        change()
        client = login("alice")
        wrong = ["%s: %s" % (name, policy.confinement(pid)) for pid, name in processes().items()
                 if (policy.confinement(pid) in policy.expected(name)) != confined]
        expect(not wrong, wrong)
        client.ok("QUIT")


def without_system_users():
    """with ids in the password file, auth needs no users of the system"""
    write_users(True)
    policy.end_system_users()
    expect(systemctl("reload", "popward") == 0, shown("StatusText"))
    for user in "alice", "bob":
        login(user).ok("QUIT")


def rest():
    """it stops"""
    expect(systemctl("stop", "popward") == 0 and not processes(), "%s" % processes())


def break_ins():
    """Tries each action under the confinement of each executable."""
    # The kernel's own rules do not protect these.
    write(MAIL + "open", b"", "bob", mode=0o666)
    write("/home/alice/open", b"", "alice", mode=0o666)
    os.makedirs("/var/lib/popward/open", exist_ok=True)
    os.chmod("/var/lib/popward/open", 0o777)
    write("/var/lib/popward/open/pins", b"", "bob", mode=0o666)
    policy.placed("/var/lib/popward/open")
    client = login("alice")
    user, bystander = pwd.getpwnam("alice").pw_uid, subprocess.Popen(("sleep", "600"))
    results = {}
    # The accesses between these marks are not popward's: see rules/unused.py.
    run("auditctl", "-m", "popward-break-ins-begin")
    for executable in break_in.EXECUTABLES:
        sibling = pids("popward-keys" if executable == "popward-front" else "popward-front")[0]
        todo = break_in.actions(user, sibling, bystander.pid, policy.ESCAPE)
        results[executable] = break_in.attempt(policy.entry(executable), todo)
    run("auditctl", "-m", "popward-break-ins-end")
    bystander.kill()
    client.ok("QUIT")
    lines = audit_lines()
    denied = set(filter(None, map(policy.denial, lines)))
    harmed = {policy.denial(line) for line in lines if not policy.harmless(line)}
    for executable, result in results.items():
        wrong = break_in.judge(executable, result, denied, harmed, policy.PERMITTED)
        check("%s: what a break-in would try is denied, and the log says so" % executable, not wrong, "; ".join(wrong))
        tried = {pid for name, (pid, _) in result.items() if (executable, name) in policy.PERMITTED}
        for line in lines if wrong else []:
            if policy.denial(line) in tried:
                print("note %s" % line, flush=True)


STEPS = [started, by_pam, confined, confined_by_itself, update, procmail_waits, postfix_waits, locks_of_others,
         killed_worker, killed_update, crash, killed_parts, stopped_parts, reload, restart, sockets, own_key, password_file,
         by_program, by_proof, adopted, logged, tools, metrics, without_system_users, break_ins]
# A policy with a package of its own.
if hasattr(policy, "remove"):
    STEPS.append(removed)
STEPS.append(rest)

enforces = policy.enforces()
check("the machine enforces the policy", enforces)
# Names of steps on the command line: only these. For whoever writes a policy, in a guest that stays.
chosen = sys.argv[1:]
for part in STEPS if enforces or os.environ.get("VM_PERMISSIVE") else []:
    if part.__name__ not in chosen and chosen:
        continue
    if part is break_ins:
        # Without the policy, they would succeed.
        if enforces:
            break_ins()
    elif not step(part) and part is started:
        # Each of the others would wait for a server in vain.
        break
if not chosen:
    check("the log hides no denial", policy.shows_all(seen))
sys.exit(service.failed > 0)
