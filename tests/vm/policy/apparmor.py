"""What is AppArmor's in the test of a policy. The profiles come with popward's package. Another policy's module has the
same names."""
import glob, re, subprocess

# What a probe may do under a profile: (executable, action) of break_in.py, and why.
PERMITTED = {}


def install(directory):
    """Installs popward's package, of this directory, with the policy in force."""
    subprocess.run(["dpkg", "-i"] + glob.glob(directory + "popward_*.deb"), check=True, stdout=subprocess.DEVNULL)


def enforces():
    """Whether the machine enforces the policy."""
    with open("/sys/module/apparmor/parameters/mode") as mode, open("/sys/module/apparmor/parameters/enabled") as enabled:
        return mode.read().strip() == "enforce" and enabled.read().strip() == "Y"


def confinement(pid):
    """How a process is confined, and a text that says so."""
    with open("/proc/%d/attr/current" % pid) as file:
        return file.read().strip()


def expected(executable):
    """The confinement that the policy has for an executable of popward."""
    return "%s (enforce)" % executable


def placed(*paths):
    """Gives files that the test has made the labels that they would have on a host. AppArmor knows paths only."""


def entry(executable):
    """A process is confined as this executable once it has written this to /proc/thread-self/attr/current."""
    return "changeprofile " + executable


def denial(line):
    """The id of the process, if a line of audit.log says that popward's policy has denied something. Otherwise None."""
    found = re.search(r'apparmor="DENIED" .*profile="popward[^"]*" .*\bpid=(\d+)', line)
    return found and int(found.group(1))
