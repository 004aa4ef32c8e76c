"""Sessions and deliveries on a disk whose writes are logged, in the guest.

  sessions.py DISK ADDRESS PLAN      the disk is mounted at /srv/DISK; popward listens on ADDRESS

A line of PLAN is a step. Before a step begins, vm-ack notes what holds from now on, as `have=NUMBERS`, and what begins, as
`delete=NUMBERS` or `deliver=NUMBERS`: whatever the power leaves, `have` is there, but for what `delete` names, all or none
of it. A step ends when its client saw the +OK of QUIT, or the delivery's fsync returned.
"""
import os, subprocess, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["VM_PAYLOAD"])
from messages import deliver, retrieved, spool, to_text
from server import MAIL, USER, Server, maildrop_directories

disk, address, plan = sys.argv[1:]
base = "/srv/" + disk
path = base + "/mail/alice"


def chosen(which, have):
    every = {
        "all": have, "even": have[1::2], "odd": have[::2], "all-but-last": have[:-1],
        "first": have[:1], "middle": have[len(have) // 2:][:1], "last": have[-1:],
    }
    wanted = set().union(*(every[one] for one in which.split(",")))
    return [number for number in have if number in wanted]


def acknowledge(have, begins):
    text = "have=%s %s" % (to_text(have), begins)
    if len(text) > 511:
        raise SystemExit("too long for vm-ack: " + text)
    subprocess.run(["vm-ack", disk, text], check=True)


def check(have):
    """The spool as the running system has it."""
    with open(path, "rb") as file:
        if file.read() != spool(have):
            raise SystemExit("the spool is wrong without any power cut: expected %s" % to_text(have))


def quit_deleting(server, have, delete, kill=None):
    """A session. Returns the answer to QUIT; empty where there is none."""
    client = server.session()
    if client.count() != len(have):
        raise SystemExit("%d messages, expected %s" % (client.count(), to_text(have)))
    for number in delete:
        client.ok("DELE %d" % (have.index(number) + 1))
    tracer = server.kill_worker(*kill) if kill else None
    answer = client.ask("QUIT")
    client.close()
    if tracer:
        tracer.wait()
    return answer


def main():
    maildrop_directories(base)
    with open(path, "wb"):
        os.chown(path, USER, MAIL)
        os.chmod(path, 0o660)
    subprocess.run(["sync", "-f", base], check=True)
    server = Server("/usr/libexec/popward", "/var/lib/popward-" + disk, base, address).start()
    have, new, killed, finished = [], 1, 0, 0
    for line in open(plan):
        step, *rest = line.split("#")[0].split() or [None]
        if step is None:
            continue
        if step == "deliver":
            numbers = list(range(new, new + int(rest[0])))
            new = numbers[-1] + 1
            acknowledge(have, "deliver=" + to_text(numbers))
            # The last session's dotlock may stand for a moment longer than its answer.
            for attempt in range(100):
                try:
                    deliver(path, spool(numbers), "agent")
                    break
                except (FileExistsError, BlockingIOError):
                    subprocess.run(["sleep", "0.05"])
            else:
                raise SystemExit("cannot deliver: the spool stays locked")
            have = have + numbers
        else:
            delete = chosen(rest[0], have)
            after = [number for number in have if number not in delete]
            acknowledge(have, "delete=" + to_text(delete))
            answer = quit_deleting(server, have, delete, rest[1:] if step in ("kill", "crash") else None)
            if step == "delete" and not answer.startswith("+OK"):
                raise SystemExit("%s: QUIT answered %r" % (line.strip(), answer))
            if answer.startswith("+OK"):
                have = after
            else:
                killed += 1
                if step == "crash":
                    server.kill()
                    server.start()
                # Whoever comes next sees either. What they saw stays.
                client = server.session()
                if client.count() == len(after):
                    have, finished = after, finished + 1
                client.ok("QUIT")
                client.close()
        print("%s: %s: have %s" % (disk, line.strip(), to_text(have)), flush=True)
        check(have)
    client = server.session()
    for number, message in enumerate(have, 1):
        if client.lines("RETR %d" % number) != retrieved(message):
            raise SystemExit("message %d is not what was delivered" % message)
    client.ok("QUIT")
    acknowledge(have, "end")
    server.stop()
    print("%s: %d workers killed in an update, %d of their updates finished later" % (disk, killed, finished))


main()
