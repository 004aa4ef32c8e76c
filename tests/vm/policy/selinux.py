"""What is SELinux's in the test of a policy. The module comes with the package popward-selinux. apparmor.py has the same
names."""
import glob, os, re, shutil, subprocess
import break_in

# The type of each executable's domain. popward-config starts itself again, to look up names.
DOMAINS = {"popward": ["popward_t"], "popward-config": ["popward_config_t", "popward_names_t"]}
STORE = "/var/lib/selinux/default/active/"

# What the policy denies on good paths: (domain, class, permission, type of the object), and why that is right. "*" stands
# for each domain of popward. The test compiles the policy without dontaudit rules, so that the log has these too.
HARMLESS = {
    ("*", "process", "noatsecure", "*"): "the C library of a child ignores the variables of its parent's environment",
    ("popward_t", "process", "rlimitinh", "popward_reload_t"): "popward-reload needs no limit of who starts it",
    ("popward_t", "process", "siginh", "popward_reload_t"): "popward-reload starts without blocked signals",
    ("popward_auth_t", "dir", "search", "sysfs_t"): "the standard library of Rust looks for a limit of processors",
    ("popward_auth_t", "dir", "search", "cgroup_t"): "the same",
    ("popward_front_t", "dir", "search", "sysfs_t"): "the same",
    ("popward_front_t", "dir", "search", "cgroup_t"): "the same",
    ("popward_auth_t", "filesystem", "getattr", "proc_t"): "libcap-ng looks for the number of capabilities",
    ("popward_auth_t", "dir", "search", "sysctl_kernel_t"): "the same",
    ("popward_auth_pam_t", "filesystem", "getattr", "proc_t"): "the same",
    ("popward_auth_pam_t", "dir", "search", "sysctl_kernel_t"): "the same",
    ("popward_auth_pam_t", "filesystem", "getattr", "security_t"): "libselinux, which pam_unix loads, asks whether SELinux is on",
    ("popward_auth_pam_t", "dir", "search", "selinux_config_t"): "the same",
    ("popward_auth_pam_t", "file", "read", "proc_t"): "the same",
    ("popward_auth_pam_t", "netlink_route_socket", "create", "popward_auth_pam_t"): "libaudit looks for the addresses of the host",
}

# What a probe may do in a domain: (executable, action) of break_in.py, and why.
PERMITTED = {
    ("popward", "makes an IPv4 socket"): "it binds the listening sockets",
    ("popward", "makes an IPv6 socket"): "it binds the listening sockets",
    ("popward", "becomes a user"): "it starts popward-log as nobody",
    ("popward-sessions", "runs popward-worker"): "it starts workers, each in the worker's domain",
    ("popward-monitor", "becomes a user"): "it starts processes as their users",
    ("popward-sessions", "becomes a user"): "it starts workers as their users",
    ("popward-config", "reads a private key"): "it checks keys",
    ("popward-config", "becomes a user"): "it starts its process for names as nobody",
    ("popward-auth", "reads the password file"): "it checks passwords",
    ("popward-config", "reads /etc/passwd"): "it reads files of /etc: PAM's services",
    ("popward-auth-pam", "reads /etc/passwd"): "PAM and NSS do",
    ("popward-auth-pam", "reads /etc/shadow"): "PAM's pam_unix does",
}
# SELinux knows no owners. The user id and Landlock separate users.
for executable in "popward-worker", "popward-adopt":
    for action in "reads", "writes":
        for what in "another user's spool", "another user's state", "a home directory":
            PERMITTED[executable, "%s %s" % (action, what)] = "each worker opens spools and state of its type"

# By what a confined process would become free. It may open the file.
FREE = "unconfined_u:unconfined_r:unconfined_t:s0"
ESCAPE = (break_in.WRITE_TO, break_in.CONFINEMENT, FREE, len(FREE))


def install_package(directory, package):
    subprocess.run(["dpkg", "-i"] + glob.glob(directory + package + "_*.deb"), check=True, stdout=subprocess.DEVNULL)


def install(directory):
    """Installs popward's packages, of this directory, with the policy in force."""
    # No dontaudit rule, and the domains for probes. The policy is compiled once, by the package. With --rules there is a
    # second module, which has all accesses logged.
    open(STORE + "disable_dontaudit", "w").close()
    for name in "selinux_probe", "selinux_rules":
        if os.path.exists(name + ".cil"):
            place = STORE + "modules/400/%s/" % name
            os.makedirs(place)
            shutil.copy(name + ".cil", place + "cil")
            with open(place + "lang_ext", "w") as language:
                language.write("cil")
    for package in "popward-selinux", "popward":
        install_package(directory, package)
    # The test has spools in home directories.
    subprocess.run(("setsebool", "popward_home_spools", "on"), check=True)


def remove():
    """Removes the package of the policy. No file keeps a label of it."""
    subprocess.run(("dpkg", "-r", "popward-selinux"), check=True, stdout=subprocess.DEVNULL)
    for top in "/etc/popward", "/usr/libexec/popward", "/var/lib/popward", "/run/popward", "/run/popward-metrics":
        for path in filter(os.path.lexists, [top] + glob.glob(top + "/**", recursive=True)):
            label = os.getxattr(path, "security.selinux")
            if b"popward" in label or b"unlabeled" in label:
                raise SystemExit("%s: %s" % (path, label))


def install_again():
    """Installs that package on a host with popward."""
    install_package("/root/", "popward-selinux")


def permit_program(path, *others):
    """Lets popward-auth-program run this program, which runs the others, of /usr/bin."""
    subprocess.run(("setsebool", "popward_run_programs", "on"), check=True)


def forbid_programs():
    """Ends what permit_program() has begun."""
    subprocess.run(("setsebool", "popward_run_programs", "off"), check=True)


def end_system_users():
    """Auth may look up no users of the system from now on."""
    subprocess.run(("setsebool", "popward_use_system_users", "off"), check=True)


def shows_all(denials):
    """Whether the log has what dontaudit rules would hide."""
    return any(" noatsecure " in line for line in denials)


def enforces():
    """Whether the machine enforces the policy."""
    with open("/sys/fs/selinux/enforce") as mode:
        return mode.read().strip() == "1"


def confinement(pid):
    """How a process is confined, and a text that says so."""
    with open("/proc/%d/attr/current" % pid) as file:
        return file.read().strip("\0\n")


def domains(executable):
    return DOMAINS.get(executable, [executable.replace("-", "_") + "_t"])


def expected(executable):
    """Which confinements the policy has for an executable of popward."""
    return ["system_u:system_r:%s:s0" % domain for domain in domains(executable)]


def placed(*paths):
    """Gives files that the test has made the labels that they would have on a host."""
    subprocess.run(("restorecon", "-RF") + paths, check=True)


def entry(executable):
    """A process is confined as this executable once it has written this to /proc/thread-self/attr/current."""
    return expected(executable)[0]


def denial(line):
    """The id of the process, if a line of audit.log says that popward's policy has denied something. Otherwise None."""
    found = re.search(r"avc: +denied .*\bpid=(\d+) .*:popward_", line)
    # A change of domain that is not possible.
    return -1 if "type=SELINUX_ERR" in line and ":popward_" in line else found and int(found.group(1))


def harmless(line):
    """Whether a denial may happen on good paths."""
    found = re.search(r"denied +\{ (.*) \} .*scontext=\w+:\w+:(\w+):.*tcontext=\w+:\w+:(\w+):.*tclass=(\w+)", line)
    if not found:
        return False
    permissions, domain, target, kind = found.groups()
    return all({(domain, kind, one, target), ("*", kind, one, "*")} & set(HARMLESS) for one in permissions.split())
