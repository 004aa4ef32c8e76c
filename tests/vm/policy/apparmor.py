"""What is AppArmor's in the test of a policy. The profiles come with popward's package. Another policy's module has the
same names."""
import glob, os, re, subprocess
import break_in

# What a probe may do under a profile: (executable, action) of break_in.py, and why.
PERMITTED = {
    ("popward", "makes an IPv4 socket"): "it binds the listening sockets",
    ("popward", "makes an IPv6 socket"): "it binds the listening sockets",
    ("popward", "reads a private key"): "keys pass through it as open files",
    ("popward", "becomes a user"): "it starts popward-log as nobody",
    ("popward-monitor", "makes an IPv4 socket"): "listening sockets pass through it; AppArmor knows no difference",
    ("popward-monitor", "makes an IPv6 socket"): "listening sockets pass through it; AppArmor knows no difference",
    ("popward-monitor", "reads a private key"): "keys pass through it as open files",
    ("popward-sessions", "runs popward-worker"): "it starts workers, each under the worker's profile",
    ("popward-monitor", "becomes a user"): "it starts processes as their users",
    ("popward-sessions", "becomes a user"): "it starts workers as their users",
    ("popward-monitor", "changes its root directory"): "front and keys get this capability from it",
    ("popward-config", "reads a private key"): "it checks keys",
    ("popward-config", "becomes a user"): "it starts its process for names as nobody",
    ("popward-front", "makes an IPv4 socket"): "it accepts connections; AppArmor knows no difference",
    ("popward-front", "makes an IPv6 socket"): "it accepts connections; AppArmor knows no difference",
    ("popward-front", "changes its root directory"): "it takes an empty one",
    ("popward-auth", "reads the password file"): "it checks passwords",
    ("popward-auth-pam", "reads /etc/passwd"): "PAM and NSS do",
    ("popward-auth-pam", "reads /etc/shadow"): "PAM's pam_unix does",
    ("popward-auth-program", "runs a shell"): "it starts the operator's program by a shell",
    ("popward-auth-proof", "changes its root directory"): "it takes an empty one",
    ("popward-auth-proof", "reads the password file"): "auth gives it open files; AppArmor knows no difference",
    ("popward-metrics", "makes an IPv4 socket"): "it accepts connections; AppArmor knows no difference",
    ("popward-metrics", "makes an IPv6 socket"): "it accepts connections; AppArmor knows no difference",
    ("popward-keys", "reads a private key"): "it has the keys",
    ("popward-keys", "changes its root directory"): "it takes an empty one",
}
# The others that look up users cannot after end_system_users().
for family in ("an IPv4", "an IPv6", "a UDP", "a netlink"):
    PERMITTED["popward-auth-pam", "makes %s socket" % family] = "modules of NSS and PAM ask servers"

# By what a confined process would become free. It must not even open the file.
ESCAPE = (break_in.OPEN, "/proc/thread-self/attr/current", break_in.WRITE)


def install(directory):
    """Installs popward's package, of this directory, with the policy in force."""
    subprocess.run(["dpkg", "-i"] + glob.glob(directory + "popward_*.deb"), check=True, stdout=subprocess.DEVNULL)


PROFILES = "/etc/apparmor.d/"


def load(*profiles):
    subprocess.run(("apparmor_parser", "-r", "-T", "-W") + tuple(PROFILES + one for one in profiles), check=True)


def load_programs(rules):
    with open(PROFILES + "local/popward-auth-program", "w") as file:
        file.write(rules)
    load("popward-auth-program")


def permit_program(path, *others):
    """Lets popward-auth-program run this program, which runs the others, of /usr/bin."""
    load_programs("".join("%s mrix,\n" % one for one in (path, "/usr/bin/dash") + tuple("/usr/bin/" + other for other in others)))


def forbid_programs():
    """Ends what permit_program() has begun."""
    load_programs("")


def end_system_users():
    """Auth may look up no users of the system from now on."""
    os.remove(PROFILES + "abstractions/popward-system-users")
    load("popward-auth", "popward-auth-program")


def shows_all(denials):
    """Whether the log has each denial. A profile hides what it denies by a rule with "deny"."""
    rules = [line for path in glob.glob("/etc/apparmor.d/**/popward*", recursive=True) if os.path.isfile(path) for line in open(path)]
    return bool(rules) and not any(line.strip().startswith("deny ") for line in rules)


def enforces():
    """Whether the machine enforces the policy."""
    with open("/sys/module/apparmor/parameters/mode") as mode, open("/sys/module/apparmor/parameters/enabled") as enabled:
        return mode.read().strip() == "enforce" and enabled.read().strip() == "Y"


def confinement(pid):
    """How a process is confined, and a text that says so."""
    with open("/proc/%d/attr/current" % pid) as file:
        return file.read().strip()


def expected(executable):
    """Which confinements the policy has for an executable of popward. popward-config starts itself again, to look up names."""
    profiles = [executable] + ["popward-config//names"] * (executable == "popward-config")
    return ["%s (enforce)" % profile for profile in profiles]


def placed(*paths):
    """Gives files that the test has made the labels that they would have on a host. AppArmor knows paths only."""


def entry(executable):
    """A process is confined as this executable once it has written this to /proc/thread-self/attr/current."""
    return "changeprofile " + executable


def denial(line):
    """The id of the process, if a line of audit.log says that popward's policy has denied something. Otherwise None."""
    found = re.search(r'apparmor="DENIED" .*profile="popward[^"]*" .*\bpid=(\d+)', line)
    return found and int(found.group(1))


def harmless(line):
    """Whether a denial does no harm. The probe starts programs without descriptors 0 to 2. At a change of profile the C
    library then opens this file in their place. The processes of popward always have them."""
    return 'name="/dev/full"' in line
