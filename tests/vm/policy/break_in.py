"""What whoever has broken into a process would try. Only the policy stands in the way here: the probes run as root with all
capabilities, or as the owner of mail, without a system call filter and without Landlock."""
import errno, os, subprocess

LIBEXEC, STATE, USERS, HOME = "/usr/libexec/popward", "/var/lib/popward", "/etc/popward/users", "/home/alice"
EXECUTABLES = ["popward", "popward-monitor", "popward-sessions", "popward-log", "popward-config", "popward-front", "popward-auth", "popward-auth-pam",
               "popward-auth-program", "popward-auth-proof", "popward-keys", "popward-worker", "popward-adopt", "popward-metrics"]
READ, WRITE, MAKE = os.O_RDONLY, os.O_WRONLY, os.O_WRONLY | os.O_CREAT
# Numbers of system calls and of what they take, on x86_64.
WRITE_TO, OPEN, SOCKET, EXECVE, KILL, PTRACE, SETRESUID = 1, 2, 41, 59, 62, 101, 117
MKNOD, CHROOT, MOUNT, SETTIME, UNSHARE = 133, 161, 165, 227, 272
UNIX, INET, INET6, NETLINK, PACKET = 1, 2, 10, 16, 17
STREAM, DATAGRAM, RAW = 1, 2, 3
SEIZE, NEW_MOUNTS, CONTINUE = 0x4206, 0x20000, 18
# Both need CAP_SYS_PTRACE. If a profile lacks a capability, AppArmor logs it once, and not again on the same processor
# (audit_caps() in the kernel). So one record can stand for both.
ONE_RECORD = ("traces a process of popward", "opens a process's memory")
# The descriptor of the probe's own attr/current.
CONFINEMENT = None


def actions(user, sibling, other, escape):
    """Each action: its name, as whom, the system call, its arguments. `user` owns mail, `sibling` is a process of popward,
    `other` is another process, `escape` is the system call by which a process would change its confinement."""
    return [
        ("reads /etc/passwd", 0, OPEN, "/etc/passwd", READ),
        ("reads /etc/shadow", 0, OPEN, "/etc/shadow", READ),
        ("writes /etc/shadow", 0, OPEN, "/etc/shadow", WRITE),
        ("writes /etc/passwd", 0, OPEN, "/etc/passwd", WRITE),
        ("makes a file in /etc", 0, OPEN, "/etc/popward-probe", MAKE, 0o600),
        ("makes a file in /tmp", 0, OPEN, "/tmp/popward-probe", MAKE, 0o600),
        ("reads another user's spool", user, OPEN, "/var/mail/open", READ),
        ("writes another user's spool", user, OPEN, "/var/mail/open", WRITE),
        ("reads another user's state", user, OPEN, STATE + "/open/pins", READ),
        ("writes another user's state", user, OPEN, STATE + "/open/pins", WRITE),
        ("writes the configuration", 0, OPEN, "/etc/popward/popward.toml", WRITE),
        ("reads a private key", 0, OPEN, "/etc/popward/key.pem", READ),
        ("writes a private key", 0, OPEN, "/etc/popward/key.pem", WRITE),
        ("reads the password file", 0, OPEN, USERS, READ),
        ("writes the password file", 0, OPEN, USERS, WRITE),
        # popward-adopt does not run. The kernel alone protects executables that run.
        ("writes an executable", 0, OPEN, LIBEXEC + "/popward-adopt", WRITE),
        ("reads a home directory", user, OPEN, HOME + "/open", READ),
        ("writes a home directory", user, OPEN, HOME + "/open", WRITE),
        ("runs a shell", 0, EXECVE, "/bin/sh", 0, 0),
        ("runs popward-worker", 0, EXECVE, LIBEXEC + "/popward-worker", 0, 0),
        ("makes an IPv4 socket", 0, SOCKET, INET, STREAM, 0),
        ("makes an IPv6 socket", 0, SOCKET, INET6, STREAM, 0),
        ("makes a UDP socket", 0, SOCKET, INET, DATAGRAM, 0),
        ("makes a raw socket", 0, SOCKET, INET, RAW, 1),
        ("makes a packet socket", 0, SOCKET, PACKET, RAW, 0),
        ("makes a netlink socket", 0, SOCKET, NETLINK, RAW, 0),
        ("traces a process of popward", 0, PTRACE, SEIZE, sibling, 0, 0),
        ("traces another process", 0, PTRACE, SEIZE, other, 0, 0),
        ("opens a process's memory", 0, OPEN, "/proc/%d/mem" % sibling, READ),
        ("signals a process of popward", 0, KILL, sibling, CONTINUE),
        ("signals another process", 0, KILL, other, CONTINUE),
        ("becomes a user", 0, SETRESUID, user, user, user),
        ("changes its root directory", 0, CHROOT, "/mnt"),
        ("mounts", 0, MOUNT, "none", "/mnt", "tmpfs", 0, 0),
        ("makes a mount name space", 0, UNSHARE, NEW_MOUNTS),
        ("makes a device", 0, MKNOD, "/mnt/popward-probe", 0o060600, 0),
        ("reads a disk", 0, OPEN, "/dev/vda", READ),
        ("sets the clock", 0, SETTIME, 0, "\0" * 16),
        ("changes a setting of the kernel", 0, OPEN, "/proc/sys/kernel/core_pattern", WRITE),
        ("changes its own confinement", 0) + escape,
    ]


def attempt(entry, todo):
    """Makes these system calls under the confinement of `entry`. Returns for each action the id of its process, and the error
    number."""
    def argument(value):
        if value is CONFINEMENT:
            return "c"
        return "s" + value if isinstance(value, str) else "i%d" % value
    lines = ["\t".join([str(user), str(call)] + [argument(value) for value in values]) for _, user, call, *values in todo]
    probe = subprocess.run(("perl", "probe.pl", entry), input="\n".join(lines) + "\n", stdout=subprocess.PIPE, text=True)
    results = [[int(number) for number in line.split()] for line in probe.stdout.splitlines()]
    if len(results) != len(todo):
        raise SystemExit("probe.pl has answered %d of %d lines" % (len(results), len(todo)))
    return {name: result for (name, *_), result in zip(todo, results)}


def judge(executable, results, denied, harmed, permitted):
    """What is wrong with the results. `denied` has the processes of which the log says that they were denied something,
    `harmed` those of them that were denied more than on good paths, `permitted` what the policy permits and why."""
    wrong = []
    for name, (pid, error) in results.items():
        how = errno.errorcode.get(error, str(error))
        if (executable, name) in permitted:
            if pid in harmed:
                wrong.append("%s: is denied, and the list says that it is permitted" % name)
        elif error not in (errno.EACCES, errno.EPERM):
            wrong.append("%s: %s" % (name, how if error else "possible"))
        elif not denied.intersection(results[other][0] for other in (ONE_RECORD if name in ONE_RECORD else (name,))):
            wrong.append("%s: %s, but not by the policy" % (name, how))
    return wrong
