"""popward as a service of systemd's, by the unit and the sockets that are shipped: sessions outlive what ends the service."""
import os, shutil, socket, subprocess, sys, time

SPOOL, CONFIG, UNIT = "/var/mail/alice", "/etc/popward/popward.toml", "/etc/systemd/system/popward.service"
MESSAGES = ["From sender Mon Nov 23 10:00:0%d 2026\nSubject: message %d\n\nbody\n\n" % (n, n) for n in (1, 2)]
failed = 0


def check(name, good, detail=""):
    global failed
    failed += not good
    print("%s systemd: %s%s" % ("ok" if good else "not ok", name, "" if good else " (%s)" % (detail,)), flush=True)


def systemctl(*words):
    return subprocess.run(("systemctl",) + words).returncode


class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", 110), 60)
        self.lines = self.socket.makefile("rb")

    def line(self):
        return self.lines.readline().decode().rstrip("\r\n")

    def ask(self, command):
        self.socket.sendall(command.encode() + b"\r\n")
        return self.line()

    def login(self):
        return [self.line(), self.ask("USER alice"), self.ask("PASS secret")]


def write_spool():
    with open(SPOOL, "w") as file:
        file.write("".join(MESSAGES))
    shutil.chown(SPOOL, "alice", "mail")
    os.chmod(SPOOL, 0o660)


def told_to_end():
    """How often it was. Sessions then have server.shutdown_grace, 30 seconds."""
    journal = ["journalctl", "SYSLOG_IDENTIFIER=popward", "-o", "cat", "--no-pager"]
    return subprocess.run(journal, stdout=subprocess.PIPE, text=True).stdout.count("ending: no new sessions")


def outlives(what, *words):
    """A session with a deletion, of which the service is told to end before QUIT."""
    write_spool()
    client = Client()
    said = client.login() + [client.ask("DELE 1")]
    before, until = told_to_end(), time.monotonic() + 25
    ending = subprocess.Popen(("systemctl",) + words)
    while told_to_end() == before and time.monotonic() < until:
        time.sleep(0.1)
    said += ["+OK told" if told_to_end() > before else "-ERR it was not told"]
    said += [client.ask("STAT"), client.ask("QUIT")]
    check("%s: a session goes on until its QUIT" % what, all(line.startswith("+OK") for line in said), said)
    check("%s: and it ends in order" % what, ending.wait() == 0)
    with open(SPOOL) as file:
        check("%s: what QUIT deleted is gone, and nothing else" % what, file.read() == MESSAGES[1])


check("it starts, and says when it has", systemctl("start", "popward") == 0)
check("it reloads", systemctl("reload", "popward") == 0)
good = open(CONFIG).read()
open(CONFIG, "a").write("nonsense = [\n")
check("a bad configuration fails a reload", systemctl("reload", "popward") != 0)
open(CONFIG, "w").write(good)
check("and changes nothing", systemctl("is-active", "popward") == 0)
outlives("stop", "stop", "popward")

unit = open(UNIT).read()
without = unit.replace("KillMode=mixed\n", "")
open(UNIT, "w").write(without)
systemctl("daemon-reload")
check("it starts without KillMode", without != unit and systemctl("start", "popward") == 0)
outlives("SIGTERM to all processes", "stop", "popward")
open(UNIT, "w").write(unit)

for name in ("popward-pop3.socket", "popward-pop3s.socket"):
    shutil.copy("packaging/" + name, "/etc/systemd/system/")
open(CONFIG, "w").write(good[:good.index("[[listen]]")] + good[good.index("[[certificate]]"):])
systemctl("daemon-reload")
check("sockets start", systemctl("start", "popward-pop3.socket", "popward-pop3s.socket") == 0)
client = Client()
said = client.login() + [client.ask("QUIT")]
check("a client starts the service", all(line.startswith("+OK") for line in said), said)
outlives("restart", "restart", "popward")
systemctl("stop", "popward")
check("the sockets are still there", all(line.startswith("+OK") for line in Client().login()))
sys.exit(failed > 0)
