"""Two popward hosts that share spools and state over NFS: what each may expect of the other (promise P2, between hosts).

  sessions.py HOSTS          a line for each: name, process id in its namespaces, address
"""
import os, subprocess, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["VM_PAYLOAD"])
from messages import deliver, retrieved, spool, to_text
from server import MAIL, USER, Client, Refused, Server, maildrop_directories, until

failed = 0


def check(name, good, detail=""):
    global failed
    failed += not good
    print("%s NFS%s: %s%s" % ("ok" if good else "not ok", version, name, "" if good else " (%s)" % detail), flush=True)


def at(host, *command):
    """What a command writes on this host."""
    done = subprocess.run(["nsenter", "-t", host[1], "-n", "-m", "-u", "-p", *command], capture_output=True, text=True)
    return done.stdout


def links_made(host):
    """How many LINK calls the host has sent on this mount."""
    stats = at(host, "cat", "/proc/self/mountstats")
    mine = stats[stats.index("mounted on " + disk + " "):].split("\ndevice ")[0]
    return sum(int(line.split()[1]) for line in mine.splitlines() if line.strip().startswith("LINK:"))


def in_use(server):
    answer = server.login()
    return isinstance(answer, str) and "[IN-USE]" in answer, answer


def close(client):
    client.ok("QUIT")
    client.close()


def all_of(server):
    client = server.session()
    bodies = [client.lines("RETR %d" % (n + 1)) for n in range(client.count())]
    uidls = client.lines("UIDL")
    close(client)
    return bodies, uidls


def run(hosts, one, two):
    have = list(range(1, 21))
    with open(path, "wb") as file:
        file.write(spool(have))
        os.chown(path, USER, MAIL)
        os.chmod(path, 0o660)

    def sees(server, name):
        bodies, _ = all_of(server)
        check(name, bodies == [retrieved(n) for n in have], "%d messages, expected %s" % (len(bodies), to_text(have)))

    before = links_made(hosts[0])
    client = one.session()
    made = links_made(hosts[0]) - before
    text = at(hosts[1], "cat", disk + "/mail/alice.lock")
    check("the dotlock is made by link and says who has it", made == 1 and text.endswith(":one") and text.split(":")[0].isdigit(),
          "%d LINK calls, %r" % (made, text))
    check("a session on the other host is answered [IN-USE]", *in_use(two))
    check("a program that locks by fcntl on the other host is kept out too", "held" in at(hosts[1], "python3", "-S", "-c", FCNTL % path_there))
    for number in (2, 5, 19):
        client.ok("DELE %d" % (have.index(number) + 1))
    close(client)
    have = [n for n in have if n not in (2, 5, 19)]
    sees(two, "deletions on one host are what the other sees")
    first, second = all_of(one)[1], all_of(two)[1]
    check("UIDLs are the same from both", first == second and len(set(first.split())) == 2 * len(have))

    holder = subprocess.Popen(["nsenter", "-t", hosts[1][1], "-n", "-m", "-u", "-p", "python3", "-S", "-c", HOLD % path_there],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    check("a program's fcntl lock on the other host keeps a session out", *in_use(one))
    holder.communicate()
    sees(one, "and its end lets it in")

    for turn in range(6):
        server = (one, two)[turn % 2]
        deliver(path, spool([100 + turn]), "agent")
        have.append(100 + turn)
        client = server.session()
        client.ok("DELE %d" % (turn + 1))
        close(client)
        del have[turn]
    sees(one, "both hosts delete in turns, with mail between: this one has it all")
    sees(two, "and that one")
    with open(path, "rb") as file:
        check("and so has the file server, byte for byte", file.read() == spool(have))

    # Both at once, again and again: each deletes the first message, and nobody's is in another's way.
    script = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, %r); from server import *; s = Server.__new__(Server); s.address = %r\n" \
             "for n in range(4):\n c = s.session(); c.ok('DELE 1'); c.ok('QUIT'); c.close()\n"
    both = [subprocess.Popen([sys.executable, "-S", "-c", script % (os.environ["VM_PAYLOAD"], server.address)]) for server in (one, two)]
    codes = [process.wait() for process in both]
    with open(path, "rb") as file:
        found = file.read()
    check("both at once: 8 sessions delete 8 messages", codes == [0, 0] and found == spool(have[8:]), codes)
    while have and found != spool(have):
        have = have[1:]

    client = one.session()
    client.ok("DELE 1")
    one.kill()
    client.close()
    check("a killed server's dotlock is left: another host cannot know", os.path.exists(path + ".lock"))
    check("and is respected there", *in_use(two))
    one.start()
    sees(one, "its own host, started again, takes it, and nothing was deleted")
    sees(two, "and then the other may")

    client = two.session()
    tracer = two.kill_worker("fsync", 1)
    tracer.terminate()  # Attached once: from here on, a worker that is killed outright.
    tracer.wait()
    for pid in two.processes("popward-worker"):
        os.kill(pid, 9)
    client.close()
    until("the monitor cleans up", lambda: not os.path.exists(path + ".lock"))
    sees(one, "a killed worker's dotlock is gone: the other host may at once")

    # One dies in its update, at each fsync. The other has looked for a journal a moment before, and found none.
    for time in range(1, 7):
        all_of(two)
        client = one.session()
        client.ok("DELE 1")
        tracer = one.kill_worker("fsync", time)
        answer = client.ask("QUIT")
        client.close()
        tracer.wait()
        until("the lock is free", lambda: not os.path.exists(path + ".lock"))
        bodies, _ = all_of(two)
        whole = [[retrieved(n) for n in left] for left in (have[1:], have)]
        done = bodies in (whole[:1] if answer.startswith("+OK") else whole)
        check("a worker dies at fsync %d of an update: the other host has all of it, or none" % time, done,
              "%d messages, %d of them of %s; left in the state directory: %s"
              % (len(bodies), sum(body in whole[1] for body in bodies), to_text(have), os.listdir(base + "/state/alice")))
        if not done:
            break
        if bodies == whole[0]:
            have = have[1:]
    else:
        sees(one, "and so has its own")


FCNTL = """
import fcntl
file = open(%r, "r+b")
try: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError: print("held")
"""
HOLD = """
import fcntl, sys
file = open(%r, "r+b")
fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
print("locked", flush=True)
sys.stdin.read()
"""

with open(sys.argv[1]) as lines:
    hosts = [line.split() for line in lines]
for version in ("v3", "v4"):
    # Here the file server's own view; the hosts see it at `disk`.
    base, disk = "/srv/nfs/" + version, "/mnt/" + version
    path, path_there = base + "/mail/alice", disk + "/mail/alice"
    maildrop_directories(base)
    servers = [
        Server("/usr/libexec/popward", "/var/lib/popward-%s-%s" % (version, host[0]), disk, host[2] + ":11110", host[0],
               through=["nsenter", "-t", host[1], "-n", "-m", "-u", "-p"]).start()
        for host in hosts
    ]
    before = failed
    try:
        run(hosts, *servers)
    except (Refused, OSError) as error:
        check("no surprise", False, error)
    for server in servers:
        server.stop()
        if failed > before:
            print("\n".join(line for line in server.log if " error " in line or " warning " in line and "not opened" not in line))
sys.exit(failed > 0)
