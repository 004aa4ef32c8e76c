"""Sessions on a host whose clock is set: what proves something by a stamp must not be fooled (promises P2, P3, P4).

  sessions.py DISK
"""
import os, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["VM_PAYLOAD"])
from messages import deliver, message, retrieved, spool, to_text
from server import MAIL, USER, Client, Server, maildrop_directories, until

HOUR = 3600
failed = 0
when = ""


def check(name, good, detail=""):
    global failed
    failed += not good
    print("%s clock %s: %s%s" % ("ok" if good else "not ok", when, name, "" if good else " (%s)" % detail), flush=True)


def jump(seconds):
    time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)


def sees(server, have, name):
    client = server.session()
    bodies = [client.lines("RETR %d" % (n + 1)) for n in range(client.count())]
    client.ok("QUIT")
    client.close()
    check(name, bodies == [retrieved(n) for n in have], "%d messages, expected %s" % (len(bodies), to_text(have)))


def stop(pids):
    for pid in pids:
        os.kill(pid, 9)


def run(server, seconds):
    # Large enough that an index is worth it: the second session is opened by it.
    have = list(range(1, 301))
    with open(path, "wb") as file:
        file.write(spool(have))
    os.chown(path, USER, MAIL)
    os.chmod(path, 0o660)
    lock = path + ".lock"
    time.sleep(0.1)
    sees(server, have, "before")
    sees(server, have, "by the index")
    jump(seconds)
    sees(server, have, "after it")
    jump(-seconds)

    # An edit in place, of the same length, whose stamps are those of another time.
    sees(server, have, "and set right again")
    jump(seconds)
    lines = spool(have)
    other = lines.replace(b"X-Hash: ", b"X-Sash: ", 1)
    status = os.stat(path)
    with open(path, "r+b") as file:
        file.write(other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    client = server.session()
    check("an edit in place is seen though its mtime is the old one", client.lines("RETR 1") == retrieved(1).replace(b"X-Hash: ", b"X-Sash: "))
    client.ok("QUIT")
    client.close()
    with open(path, "r+b") as file:
        file.write(lines)
    deliver(path, message(1000), "agent")
    have.append(1000)
    sees(server, have, "so is mail that arrived")
    jump(-seconds)
    deliver(path, message(1001), "agent")
    have.append(1001)
    sees(server, have, "and mail after the clock was set right")

    client = server.session()
    client.ok("DELE 1")
    jump(seconds)
    second = server.login()
    check("a session keeps its locks", isinstance(second, str) and "[IN-USE]" in second and os.path.exists(lock), second)
    check("and goes on", client.ask("NOOP").startswith("+OK") and client.ask("QUIT").startswith("+OK"))
    client.close()
    del have[0]
    sees(server, have, "what it deleted is gone, and nothing else")

    client = server.session()
    client.ok("DELE 1")
    tracer = server.kill_worker("pwrite64", 1)
    answer = client.ask("QUIT")
    client.close()
    tracer.wait()
    jump(-seconds)
    until("the lock is free", lambda: not os.path.exists(lock))
    client = server.session()
    left = client.count()
    client.ok("QUIT")
    client.close()
    check("a worker dies in its update: all of it is done, or none", left in (len(have) - 1, len(have)) and (left < len(have) or not answer.startswith("+OK")), answer)
    have = have[len(have) - left:]
    sees(server, have, "and nothing is lost")

    client = server.session()
    server.kill()
    client.close()
    check("a killed server leaves its dotlock", os.path.exists(lock))
    jump(seconds)
    server.start()
    until("the lock is free", lambda: not os.path.exists(lock))
    sees(server, have, "which goes at the next start")
    jump(-seconds)


base = sys.argv[1]
maildrop_directories(base)
path = base + "/mail/alice"
# Further back than the host has been up, and a little; forward likewise.
FAR = 400 * 24 * HOUR
for locks, jumps in (('["dotlock", "fcntl", "flock"]', (HOUR, -FAR)), ('["dotlock"]', (FAR, -60))):
    server = Server("/usr/libexec/popward", "/srv/popward", base, more="locks = %s\n" % locks).start()
    for seconds in jumps:
        when = "%+d s, %s" % (seconds, locks)
        run(server, seconds)
    server.stop()
sys.exit(1 if failed else 0)
