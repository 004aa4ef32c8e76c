"""Checks a disk that a power cut could have left: the next start of popward, and its next session.

  check.py LIBEXEC DIRECTORY     with $IMG, $ACK and $STATE of crash-images; mount, net and pid namespaces of its own

Prints what is wrong, and fails. What must be there is in sessions.py's words. DIRECTORY/notes gets a line for what loses no
mail but needs a hand.
"""
import hashlib, os, shutil, subprocess, sys, tempfile, time
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../mailhost"))
from messages import from_text, message, retrieved, spool, to_text
from server import USER, Refused, Server, until

image, ack, state = os.environ["IMG"], os.environ["ACK"], os.environ["STATE"]


def wrong(what):
    print("%s: %s (%s)" % (state, what, ack))
    sys.exit(1)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def login(server, lock):
    """The first login after the cut. The delivery agent's lock is not popward's to judge; nobody who made one is left."""
    try:
        if os.stat(lock).st_uid != USER:
            os.unlink(lock)
    except FileNotFoundError:
        pass  # popward looks after its own when it starts.
    return server.login()


def note(what):
    with open(directory + "/notes", "a") as notes:
        notes.write(what + "\n")


def describe(found, have):
    """Which messages are in a spool's bytes, as a reader of the report wants it."""
    whole = [n for n in have if message(n) in found]
    return "%d bytes, %d of %d messages whole, sha256 %.12s" % (len(found), len(whole), len(have), hashlib.sha256(found).hexdigest())


def check(disk):
    words = dict(word.split("=", 1) for word in ack.split() if "=" in word)
    have, delete, arriving = (from_text(words.get(word, "")) for word in ("have", "delete", "deliver"))
    path = disk + "/mail/alice"
    after = [n for n in have if n not in delete]
    one_in = int(hashlib.sha256(state.encode()).hexdigest(), 16)
    # After every second cut, mail arrives before popward is back.
    late = []
    if one_in % 2:
        late = [9001]
        with open(path, "ab") as file:
            file.write(spool(late))
    with open(path, "rb") as file:
        before = file.read()
    server = Server(LIBEXEC, home, disk, host="vmtest").start()
    try:
        client = login(server, path + ".lock")
        if isinstance(client, str):
            # An agent's first bytes in an empty spool need not be an mbox yet.
            if not have and arriving and "[SYS/PERM]" in client and open(path, "rb").read() == before:
                return
            wrong("login: %s; %s; %s" % (client, describe(before, have), why(server)))
        count = client.count()
        retr = [client.lines("RETR %d" % (n + 1)) for n in range(count)]
        uidls = {line.split()[1] for line in client.lines("UIDL").splitlines()}
        client.ok("QUIT")
        client.close()
        if any(name.startswith(".alice.") for name in os.listdir(disk + "/mail")):
            note("a draft of a dotlock is left in the spool directory")
        with open(path, "rb") as file:
            found = file.read()
        if arriving:
            # How much of it arrived is the agent's affair; it is behind what was there.
            if not (found.startswith(spool(have)) and found.endswith(spool(late))) or len(found) > len(spool(have + arriving + late)):
                wrong("a delivery was under way: %s" % describe(found, have))
            if [retrieved(n) for n in have[:-1]] != retr[:len(have[:-1])]:
                wrong("RETR sends other bytes than the spool has")
            return
        for left in (have, after):
            if found == spool(left + late):
                break
        else:
            wrong("neither %s nor %s: %s" % (to_text(have), to_text(after), describe(found, have)))
        if [retrieved(n) for n in left + late] != retr:
            wrong("RETR sends other bytes than the spool has")
        if len(uidls) != len(retr):
            wrong("UIDLs are not unique")
        # And the maildrop goes on.
        if left + late:
            client = server.session()
            client.ok("DELE 1")
            client.ok("QUIT")
            client.close()
            with open(path, "rb") as file:
                if file.read() != spool((left + late)[1:]):
                    wrong("a deletion afterwards went wrong")
    except (Refused, ConnectionError) as error:
        wrong("%s; %s" % (error, why(server)))
    finally:
        server.kill()


def why(server):
    time.sleep(0.5)  # For what is said after the answer.
    return " | ".join(server.log)[-600:]


LIBEXEC, directory = sys.argv[1:]
if not ack:
    sys.exit(0)  # Nothing was promised yet.
# Whoever checks another disk meanwhile has the same port, in a network of its own.
if run("ip", "link", "set", "lo", "up").returncode:
    wrong("no loopback")
home = tempfile.mkdtemp(prefix="state.", dir=directory)
try:
    os.chmod(home, 0o711)
    disk = home + "/disk"
    os.mkdir(disk)
    kind = run("blkid", "-o", "value", "-s", "TYPE", image).stdout.strip()
    mounted = run("mount", "-t", kind or "auto", "-o", "loop,noatime" + (",nouuid" if kind == "xfs" else ""), image, disk)
    if mounted.returncode:
        wrong("does not mount: %s" % mounted.stderr.strip())
    try:
        check(disk)
    except OSError as error:
        wrong("the file system is damaged: %s" % error)
    finally:
        until("unmounted", lambda: run("umount", disk).returncode == 0)
finally:
    shutil.rmtree(home, ignore_errors=True)
