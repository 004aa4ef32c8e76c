"""What tests of popward as a service of systemd have in common: how a result is told, and systemctl."""
import subprocess, time

CONFIG = "/etc/popward/popward.toml"
failed = 0


def check(subject, name, good, detail=""):
    """Prints the result of one check."""
    global failed
    failed += not good
    print("%s %s: %s%s" % ("ok" if good else "not ok", subject, name, "" if good else " (%s)" % (detail,)), flush=True)


def systemctl(*words):
    return subprocess.run(("systemctl",) + words).returncode


def shown(what):
    """A property of the unit."""
    return subprocess.run(("systemctl", "show", "-P", what, "popward"), stdout=subprocess.PIPE, text=True).stdout.strip()


def wait_for(true, seconds=60):
    """Waits until this is true, at most so long. Returns whether it is."""
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.2)
    return true()
