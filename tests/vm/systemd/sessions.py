"""popward as a service of systemd's, by the package: sessions outlive what ends the service."""
import os, shutil, socket, ssl, struct, subprocess, sys, time
import service
from service import CONFIG, shown, systemctl, wait_for

SPOOL, UNIT = "/var/mail/alice", "/usr/lib/systemd/system/popward.service"
OWN = "/etc/systemd/system/popward.service"
MESSAGES = ["From sender Mon Nov 23 10:00:0%d 2026\nSubject: message %d\n\nbody\n\n" % (n, n) for n in (1, 2)]


def check(name, good, detail=""):
    service.check("systemd", name, good, detail)


class Client:
    def __init__(self, tls=None):
        self.socket = socket.create_connection(("127.0.0.1", 995 if tls else 110), 60)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=socket.gethostname())
        self.lines = self.socket.makefile("rb")

    def line(self):
        return self.lines.readline().decode().rstrip("\r\n")

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line()

    def login(self, name="alice"):
        return [self.line(), self.ask("USER " + name), self.ask("PASS secret")]


def write_spool(name="alice"):
    spool = "/var/mail/" + name
    with open(spool, "w") as file:
        file.write("".join(MESSAGES))
    shutil.chown(spool, name, "mail")
    os.chmod(spool, 0o660)


def told_to_end():
    """How often it was. Sessions then have server.shutdown_grace, 30 seconds."""
    journal = ["journalctl", "SYSLOG_IDENTIFIER=popward", "-o", "cat", "--no-pager"]
    return subprocess.run(journal, stdout=subprocess.PIPE, text=True).stdout.count("ending: no new connections")


def outlives(what, *words):
    """A session with a deletion, of which the service is told to end before QUIT."""
    write_spool()
    client = Client()
    said = client.login() + [client.ask("DELE 1")]
    before, until = told_to_end(), time.monotonic() + 120
    ending = subprocess.Popen(words if words[0] == "dpkg" else ("systemctl",) + words)
    while told_to_end() == before and time.monotonic() < until:
        time.sleep(0.1)
    said += ["+OK told" if told_to_end() > before else "-ERR it was not told"]
    said += [client.ask("STAT"), client.ask("QUIT")]
    check("%s: a session goes on until its QUIT" % what, all(line.startswith("+OK") for line in said), said)
    check("%s: and it ends in order" % what, ending.wait() == 0)
    with open(SPOOL) as file:
        check("%s: what QUIT deleted is gone, and nothing else" % what, file.read() == MESSAGES[1])


def upgrade():
    """50 sessions with a deletion, of other users, outlive an upgrade. New processes serve who comes then."""
    names = ["user%d" % n for n in range(50)]
    for uid, name in enumerate(names, 2000):
        for path, line in (("/etc/passwd", "%s:x:%d:8::/nonexistent:/usr/sbin/nologin\n" % (name, uid)),
                           ("/etc/popward/users", "%s:{PLAIN}secret::\n" % name)):
            with open(path, "a") as file:
                file.write(line)
        write_spool(name)
    check("upgrade: other users come", systemctl("reload", "popward") == 0)
    clients = [Client() for name in names]
    said = [line for name, client in zip(names, clients) for line in client.login(name) + [client.ask("DELE 1")]]
    before, supervisor = told_to_end(), shown("MainPID")
    status, said_by_package = install("/root/later.deb")
    check("upgrade: the package is installed", status == 0 and "the new version serves" in said_by_package, said_by_package)
    check("upgrade: by a reload", told_to_end() == before and shown("MainPID") == supervisor)
    said += Client().login() + [answer for client in clients for answer in (client.ask("STAT"), client.ask("QUIT"))]
    check("upgrade: 50 sessions outlive it", all(line.startswith("+OK") for line in said), said)
    wrong = [name for name in names if open("/var/mail/" + name).read() != MESSAGES[1]]
    check("upgrade: what QUIT deleted is gone, and nothing else", wrong == [], wrong)
    status = lambda: subprocess.run(("popwardctl", "status"), stdout=subprocess.PIPE, text=True).stdout
    check("upgrade: two processes of the old version stay", wait_for(lambda: "replaced:  log 1, supervisor 1\n" in status()), status())


def make_other_package():
    """A later version whose popward-reload takes the running popward for one with other messages."""
    with open("/run/popward/reload") as file:
        version = int(file.read().split()[2])
    path = "/root/later/usr/libexec/popward/popward-reload"
    with open(path, "rb") as file:
        program = file.read()
    other = program.replace(struct.pack("<I", version), struct.pack("<I", version ^ 1))
    check("upgrade: popward-reload knows the version of the messages", other != program)
    with open(path, "wb") as file:
        file.write(other)
    subprocess.run(("sed", "-i", "s/^Version: .*/&+other/", "/root/later/DEBIAN/control"), check=True)
    subprocess.run(("dpkg-deb", "-b", "/root/later", "/root/other.deb"), check=True)


def install(package):
    """The exit status of dpkg, and what the package said."""
    ended = subprocess.run(("dpkg", "-i", package), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ended.stdout, flush=True)
    return ended.returncode, ended.stdout


write_spool()
check("the package has started it", systemctl("is-active", "popward") == 0)
check("and it starts at the next boot", systemctl("is-enabled", "popward") == 0)
# The guest has no domain, so the certificate's name is not the host's.
tls = ssl.create_default_context(cafile="/etc/popward/chain.pem")
tls.check_hostname = False
client = Client(tls)
said = client.login() + [client.ask("RETR 1")]
check("a user of the system gets mail over TLS", all(line.startswith("+OK") for line in said), said)
client.socket.close()
# As systemd-coredump and apport set it. The worker gives the spool's group up, and the kernel then takes this value.
DUMPABLE = "/proc/sys/fs/suid_dumpable"
dumpable = open(DUMPABLE).read()
open(DUMPABLE, "w").write("2")
client = Client()
said = client.login() + [client.ask("QUIT")]
check("fs.suid_dumpable = 2 keeps nobody out", all(line.startswith("+OK") for line in said), said)
open(DUMPABLE, "w").write(dumpable)
security = subprocess.run(("systemd-analyze", "security", "--no-pager", "popward"), stdout=subprocess.PIPE, text=True).stdout
print("note systemd: " + security.strip().split("\n")[-1], flush=True)
commands = subprocess.run(("bash", "-ex", "/root/password-file"), input="secret\n", text=True)
check("docs/operation.md shows how to use a password file", commands.returncode == 0)
check("it starts again, and says when it has", systemctl("restart", "popward") == 0)
check("it reloads", systemctl("reload", "popward") == 0)
check("and says since when", "configuration of %s in use since 2" % CONFIG in shown("StatusText"), shown("StatusText"))
good = open(CONFIG).read()
bad = "%s:%d: " % (CONFIG, good.count("\n") + 1)
open(CONFIG, "a").write("nonsense = [\n")
check("a bad configuration fails a reload", systemctl("reload", "popward") != 0)
check("and says where", "reload failed: " + bad in shown("StatusText"), shown("StatusText"))
check("and changes nothing", systemctl("is-active", "popward") == 0)
open(CONFIG, "w").write(good)
# What the file's text does not show, and auth does: the server itself has to say so.
shutil.move("/etc/popward/users", "/etc/popward/away")
os.mkdir("/etc/popward/users")
check("so does what only a process of the server sees", systemctl("reload", "popward") != 0)
os.rmdir("/etc/popward/users")
shutil.move("/etc/popward/away", "/etc/popward/users")
check("the next one is read", systemctl("reload", "popward") == 0)
systemctl("stop", "popward")
open(CONFIG, "a").write("nonsense = [\n")
check("a bad configuration does not start", systemctl("start", "popward") != 0)
check("and is tried once", wait_for(lambda: shown("ActiveState") == "failed") and shown("NRestarts") == "0", shown("NRestarts"))
check("its exit status says that it is the configuration", shown("ExecMainStatus") == "78", shown("ExecMainStatus"))
open(CONFIG, "w").write(good)
check("once mended it starts without more ado", systemctl("start", "popward") == 0)
systemctl("stop", "popward")
taken = socket.create_server(("127.0.0.1", 110))
systemctl("start", "--no-block", "popward")
check("what stands in the way is waited for", wait_for(lambda: int(shown("NRestarts")) > 0), shown("NRestarts"))
taken.close()
check("and it starts when that has gone", wait_for(lambda: shown("ActiveState") == "active"), shown("ActiveState"))
outlives("stop", "stop", "popward")

unit = open(UNIT).read()
without = unit.replace("KillMode=mixed\n", "")
open(OWN, "w").write(without)
systemctl("daemon-reload")
check("it starts without KillMode", without != unit and systemctl("start", "popward") == 0)
outlives("SIGTERM to all processes", "stop", "popward")
os.remove(OWN)

open(CONFIG, "w").write(good[:good.index("\n[[listen]]")] + good[good.index("\n[[certificate]]"):])
systemctl("daemon-reload")
check("sockets start", systemctl("start", "popward-pop3.socket", "popward-pop3s.socket") == 0)
client = Client()
said = client.login() + [client.ask("QUIT")]
check("a client starts the service", all(line.startswith("+OK") for line in said), said)
outlives("restart", "restart", "popward")
systemctl("stop", "popward")
check("the sockets are still there", all(line.startswith("+OK") for line in Client().login()))
METRICS = ("popward-metrics.socket", "popward-metrics-sessions.socket")
check("metrics start", systemctl("start", *METRICS) == 0)
upgrade()
check("upgrade: all sockets stay", systemctl("is-active", "popward-pop3.socket", "popward-pop3s.socket", *METRICS) == 0)
check("upgrade: popward can be restarted with them", systemctl("restart", "popward") == 0)
make_other_package()
with_sockets = open(CONFIG).read()
open(CONFIG, "a").write("nonsense = [\n")
status, said = install("/root/other.deb")
check("upgrade: a refused configuration ends no server", status == 0 and systemctl("is-active", "popward") == 0, status)
check("upgrade: and it is said what to do", "until the configuration is mended" in said, said)
open(CONFIG, "w").write(with_sockets)
outlives("an upgrade with a restart", "dpkg", "-i", "/root/other.deb")
open(CONFIG, "w").write(good)
systemctl("stop", "popward-pop3.socket", "popward-pop3s.socket", "popward")
systemctl("start", "popward")
check("the later version runs", systemctl("is-active", "popward") == 0)
check("the configuration is the old one", open(CONFIG).read() == good)
outlives("a removal", "dpkg", "-r", "popward")
check("and metrics end with it", all(systemctl("is-active", unit) != 0 for unit in METRICS))
pins = "/var/lib/popward/alice/pins"
open(pins, "w").close()
before = open(SPOOL).read()
check("it is purged", subprocess.run(("dpkg", "--purge", "popward"), stdin=subprocess.DEVNULL).returncode == 0)
check("and mail is as it was, with its UIDLs", open(SPOOL).read() == before and os.path.exists(pins))
check("and no unit is left", systemctl("cat", "popward") != 0)
sys.exit(service.failed > 0)
