#!/usr/bin/python3
"""Asks a compiled SELinux policy what popward's domains may do. Needs python3-setools, and no virtual machine.

  tests/selinux/rules.py POLICY      POLICY: policy.NN, as tests/vm/selinux-module makes it

It prints "ok NAME" or "not ok NAME: what is wrong" for each check. The booleans are those of popward.te. A rule that a
boolean switches on counts as permitted, unless a check says otherwise."""
import sys
import setools

SERVER = ["popward_t", "popward_monitor_t", "popward_sessions_t", "popward_log_t", "popward_config_t", "popward_names_t", "popward_front_t", "popward_auth_t",
          "popward_auth_pam_t", "popward_auth_program_t", "popward_auth_proof_t", "popward_keys_t", "popward_worker_t", "popward_adopt_t",
          "popward_reload_t", "popward_metrics_t"]
MAIL = {"popward_worker_t", "popward_adopt_t"}
# Each domain's capabilities.
CAPABILITIES = {
    "popward_t": "kill net_bind_service setgid setpcap setuid",
    "popward_monitor_t": "kill setgid setuid",
    "popward_sessions_t": "chown kill setgid setuid",
    "popward_config_t": "setgid setpcap setuid",
    "popward_front_t": "sys_chroot",
    "popward_keys_t": "sys_chroot",
    "popward_auth_proof_t": "sys_chroot",
}
# Which domain may enter which others, and by which executable.
TRANSITIONS = {
    "popward_t": "config log monitor reload",
    "popward_config_t": "names",
    "popward_monitor_t": "sessions front auth keys auth_pam auth_program auth_proof",
    "popward_sessions_t": "worker adopt",
}
# Which domains may open files of which types, for reading or writing. Those of mail domains and of sessions are below.
SECRETS = {
    "shadow_t": {"popward_auth_pam_t"},
    "popward_conf_t": {"popward_config_t"},
    "popward_passwd_t": {"popward_auth_t"},
    "popward_key_t": {"popward_config_t"},
    "tls_privkey_t": {"popward_config_t"},
    "popward_state_t": MAIL,
    "mail_spool_t": MAIL,
    "user_home_t": MAIL,
    "nfs_t": MAIL,
    "popward_runtime_t": {"popward_t", "popward_reload_t"},
}
# What may be written, beyond what every domain of the system may write: the types of each domain. Devices and /proc are apart.
WRITES = {
    "popward_t": {"popward_runtime_t"},
    "popward_sessions_t": {"popward_var_lib_t", "popward_state_t", "popward_empty_t", "mail_spool_t", "nfs_t"},
    "popward_worker_t": {"popward_state_t", "mail_spool_t", "user_home_dir_t", "user_home_t", "nfs_t"},
    "popward_adopt_t": {"popward_state_t", "mail_spool_t", "user_home_dir_t", "user_home_t", "nfs_t"},
}
# What popward does not work without: domain, type, class, permissions.
NEEDED = """
popward_t init_t unix_dgram_socket sendto
popward_t init_runtime_t sock_file write
popward_t null_device_t chr_file open read write
popward_t pop_port_t tcp_socket name_bind
popward_t node_t tcp_socket node_bind
popward_t popward_t tcp_socket read write
popward_t popward_runtime_t file create open rename unlink write
popward_t popward_config_exec_t file execute getattr map open read
popward_t popward_reload_exec_t file execute getattr map open read
popward_reload_t popward_t process signal
popward_reload_t popward_runtime_t file open read
popward_reload_t init_t unix_stream_socket write
popward_config_t popward_t unix_stream_socket read write
popward_config_t popward_conf_t file getattr open read
popward_config_t etc_t file open read
popward_config_t mail_spool_t dir getattr search
popward_config_t popward_state_t dir getattr search
popward_config_t popward_passwd_t file getattr
popward_config_t popward_worker_exec_t file getattr
popward_config_t shadow_t file getattr
popward_config_t cert_t file getattr open read
popward_config_t popward_key_t file getattr open read
popward_names_t popward_config_t unix_stream_socket read write
popward_names_t etc_t file open read
popward_log_t popward_t unix_stream_socket read write
popward_log_t init_t unix_stream_socket write
popward_log_t devlog_t sock_file write
popward_log_t syslogd_t unix_dgram_socket sendto
popward_log_t popward_metrics_runtime_t sock_file write
popward_log_t popward_metrics_t unix_dgram_socket sendto
popward_metrics_t popward_metrics_t unix_dgram_socket read
popward_metrics_t popward_metrics_t tcp_socket accept read setopt write
popward_monitor_t popward_t unix_stream_socket read write
popward_monitor_t popward_t tcp_socket listen read setopt write
popward_monitor_t popward_monitor_t unix_stream_socket create read setopt write
popward_monitor_t popward_config_t fd use
popward_monitor_t cert_t file read
popward_monitor_t popward_key_t file read
popward_monitor_t popward_sessions_t fd use
popward_monitor_t popward_empty_t dir ioctl search
popward_sessions_t popward_monitor_t unix_stream_socket read write
popward_sessions_t popward_t unix_stream_socket read write
popward_sessions_t popward_sessions_t unix_stream_socket create read shutdown write
popward_sessions_t var_lib_t dir search
popward_sessions_t popward_var_lib_t dir add_name open read remove_name search write
popward_sessions_t popward_state_t dir create getattr rename rmdir search setattr
popward_sessions_t popward_empty_t dir create setattr
popward_sessions_t mail_spool_t file getattr unlink
popward_front_t popward_sessions_t unix_stream_socket read write
popward_front_t popward_monitor_t unix_stream_socket read write
popward_front_t popward_t fd use
popward_front_t popward_t tcp_socket accept ioctl read shutdown write
popward_front_t cert_t file read
popward_front_t popward_empty_t dir getattr open read search
popward_keys_t popward_monitor_t unix_stream_socket read write
popward_keys_t popward_config_t fd use
popward_keys_t popward_key_t file read
popward_keys_t popward_empty_t dir getattr open read search
popward_auth_t popward_monitor_t unix_stream_socket getopt read shutdown write
popward_auth_t popward_passwd_t file getattr open read
popward_auth_t etc_t file open read
popward_auth_pam_t popward_monitor_t unix_stream_socket read write
popward_auth_pam_t shadow_t file open read
popward_auth_pam_t chkpwd_exec_t file execute execute_no_trans map open read
popward_auth_pam_t devlog_t sock_file write
popward_auth_proof_t popward_auth_t fd use
popward_auth_proof_t popward_passwd_t file read
popward_worker_t popward_sessions_t unix_stream_socket read write
popward_worker_t mail_spool_t dir add_name remove_name search write
popward_worker_t mail_spool_t file create getattr link lock open read unlink write
popward_worker_t var_lib_t dir search
popward_worker_t popward_var_lib_t dir search
popward_worker_t popward_state_t dir add_name open read remove_name search write
popward_worker_t popward_state_t file create getattr open read rename unlink write
popward_worker_t proc_t file open read
popward_worker_t unconfined_t process signull
popward_worker_t fs_t filesystem getattr
popward_adopt_t mail_spool_t file create getattr link lock open read unlink write
popward_adopt_t popward_state_t file create open rename write
"""
FILES = {"file", "dir", "lnk_file", "chr_file", "blk_file", "sock_file", "fifo_file"}
CHANGES = {"write", "append", "create", "unlink", "rename", "setattr", "add_name", "remove_name", "rmdir", "link", "reparent",
           "relabelfrom", "relabelto", "mounton"}
# The families of sockets.
NETWORK = {"tcp_socket", "udp_socket", "rawip_socket", "packet_socket", "netlink_route_socket", "netlink_socket", "sctp_socket",
           "dccp_socket", "icmp_socket", "vsock_socket", "bluetooth_socket", "alg_socket", "netlink_audit_socket"}
failed = 0


def check(name, wrong):
    global failed
    failed += bool(wrong)
    print("ok SELinux's rules: " + name if not wrong else "not ok SELinux's rules: %s: %s" % (name, "; ".join(sorted(wrong)[:8])))


class Rights:
    """What each domain may do: (type, class) -> {permission: boolean, or None}."""

    def __init__(self, policy):
        self.of = {domain: {} for domain in SERVER}
        self.entered_by, self.enters = {}, {}
        expanded = {}

        def types(symbol):
            if symbol not in expanded:
                expanded[symbol] = [str(one) for one in symbol.expand()]
            return expanded[symbol]
        for rule in policy.terules():
            kind = str(rule.ruletype)
            if kind == "allow":
                sources = [one for one in types(rule.source) if one in self.of]
                if sources:
                    try:
                        switch = str(rule.conditional)
                    except (AttributeError, setools.exception.RuleNotConditional):
                        switch = None
                    for source in sources:
                        # "self" is expanded to the domain itself.
                        for target in types(rule.target):
                            held = self.of[source].setdefault((target, str(rule.tclass)), {})
                            for perm in rule.perms:
                                held[perm] = None if held.get(perm, "") is None else switch
                if str(rule.tclass) == "process" and {"transition", "dyntransition"} & set(rule.perms):
                    for target in types(rule.target):
                        if target in self.of:
                            self.entered_by.setdefault(target, set()).update(types(rule.source))

    def all(self, domain):
        for (target, tclass), perms in self.of[domain].items():
            for perm, switch in perms.items():
                yield target, tclass, perm, switch


def main():
    policy = setools.SELinuxPolicy(sys.argv[1])
    rights = Rights(policy)
    types = {str(one) for one in policy.types()}
    domains = {str(one) for one in policy.lookup_typeattr("domain").expand()}
    executables = {str(one) for one in policy.lookup_typeattr("exec_type").expand()}
    check("all domains are there", {one for one in SERVER if one not in types})
    check("no domain is permissive or unconfined",
          {one for one in SERVER if policy.lookup_type(one).ispermissive} |
          {"%s: %s" % (one, attribute) for one in SERVER for attribute in policy.lookup_type(one).attributes()
           if "unconfined" in str(attribute)})

    wrong = set()
    for line in NEEDED.split("\n")[1:-1]:
        domain, target, tclass, *perms = line.split()
        wrong |= {"%s: %s %s %s" % (domain, perm, target, tclass) for perm in perms
                  if perm not in rights.of[domain].get((target, tclass), {})}
    for domain in SERVER[1:]:
        for target, tclass, perm in [("ld_so_t", "file", "execute"), ("lib_t", "file", "map"), (domain.replace("_t", "_exec_t"), "file", "entrypoint"),
                                     (domain, "process", "setrlimit"), ("null_device_t", "chr_file", "write")]:
            if domain != "popward_names_t" and perm not in rights.of[domain].get((target, tclass), {}):
                wrong.add("%s: %s %s %s" % (domain, perm, target, tclass))
    check("each domain may do what it needs", wrong)

    wrong = set()
    for domain in SERVER:
        permitted = set(CAPABILITIES.get(domain, "").split())
        for target, tclass, perm, _ in rights.all(domain):
            if tclass in ("capability", "cap_userns", "capability2", "cap2_userns") and perm not in permitted:
                wrong.add("%s: %s" % (domain, perm))
    check("each domain has the capabilities of the list, and no other", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, _ in rights.all(domain):
            bad = (tclass == "process" and perm in ("ptrace", "execmem", "execstack", "execheap", "setcurrent", "setexec", "setfscreate",
                                                    "setkeycreate", "setsockcreate", "dyntransition", "share")
                   or tclass == "file" and perm in ("execmod", "relabelto", "relabelfrom")
                   or tclass == "process2" and perm == "nnp_transition"
                   or tclass in ("security", "system", "bpf", "perf_event", "io_uring", "kernel_service", "user_namespace", "binder"))
            # The base policy permits relocations in the code of old libraries.
            if bad and (target, perm) != ("textrel_shlib_t", "execmod"):
                wrong.add("%s: %s %s %s" % (domain, perm, target, tclass))
    check("no domain traces, makes memory executable, or chooses a domain or a label", wrong)

    wrong = set()
    for domain in SERVER:
        permitted = {"popward_%s_t" % one for one in TRANSITIONS.get(domain, "").split()}
        entered = {target for target, tclass, perm, _ in rights.all(domain) if (tclass, perm) == ("process", "transition")}
        wrong |= {"%s to %s" % (domain, one) for one in entered ^ permitted}
        for target, tclass, perm, switch in rights.all(domain):
            if (tclass, perm) == ("file", "execute_no_trans") and switch is None and target not in ("ld_so_t",):
                wrong.add("%s: execute_no_trans %s" % (domain, target))
    check("each domain starts what the list says, and nothing else in its own domain", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, _ in rights.all(domain):
            if target in executables and tclass in FILES and perm in CHANGES:
                wrong.add("%s: %s %s" % (domain, perm, target))
    check("no domain changes an executable", wrong)

    wrong = set()
    for secret, permitted in SECRETS.items():
        for domain in SERVER if secret in types else []:
            may_open = "open" in rights.of[domain].get((secret, "file"), {})
            if may_open != (domain in permitted):
                wrong.add("%s: %s, open: %s" % (domain, secret, may_open))
    check("only the domains of the list open mail, state, secrets and the configuration", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, _ in rights.all(domain):
            if tclass in FILES and perm in CHANGES and target not in WRITES.get(domain, ()) and target not in domains:
                # What systemd may give as standard input.
                if tclass in ("file", "dir", "lnk_file", "blk_file") and (domain, target) not in (("popward_t", "init_tmpfs_t"), ("popward_metrics_t", "init_tmpfs_t")):
                    wrong.add("%s: %s %s %s" % (domain, perm, target, tclass))
    check("each domain changes the types of the list, and no other", wrong)

    wrong = set()
    for domain in ("popward_front_t", "popward_keys_t", "popward_auth_proof_t"):
        for target, tclass, perm, _ in rights.all(domain):
            # The base policy lets every domain load libraries, and read its own /proc, how many processors there are, and
            # whether the kernel is in FIPS mode.
            if (perm == "open" and tclass == "file" and target != domain and target not in executables and
                    target not in ("lib_t", "ld_so_t", "ld_so_cache_t", "textrel_shlib_t", "locale_t", "cpu_online_t", "sysctl_crypto_t")):
                wrong.add("%s: %s" % (domain, target))
    check("front, keys and auth-proof open no file but libraries", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, switch in rights.all(domain):
            if perm in ("create", "connect", "name_connect", "name_bind", "listen", "bind") and tclass in NETWORK:
                binds = domain == "popward_t" and tclass == "tcp_socket" and perm != "connect" and perm != "name_connect"
                directory = tclass == "tcp_socket" and switch is not None and "popward_use_directory" in switch
                audit = (domain, tclass) == ("popward_auth_pam_t", "netlink_audit_socket")
                # A socket that the supervisor has bound, and that a front has shut down.
                again = (domain, target, tclass, perm) == ("popward_monitor_t", "popward_t", "tcp_socket", "listen")
                # systemd makes and binds the socket of this label. The kernel asks whether the label may have the port.
                counts = (domain, tclass, perm) == ("popward_metrics_t", "tcp_socket", "name_bind")
                if not (binds or directory or audit or again or counts):
                    wrong.add("%s: %s %s %s" % (domain, perm, target, tclass))
    check("only the supervisor makes network sockets, and no domain connects", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, _ in rights.all(domain):
            if tclass == "process" and perm in ("signal", "sigkill", "sigstop") and target != domain:
                child = perm == "sigkill" and target[len("popward_"):-2] in TRANSITIONS.get(domain, "").split()
                if not child and (domain, target, perm) != ("popward_reload_t", "popward_t", "signal"):
                    wrong.add("%s: %s %s" % (domain, perm, target))
    check("a domain kills its children, and signals nothing else", wrong)

    wrong = set()
    for domain in SERVER:
        for target, tclass, perm, _ in rights.all(domain):
            if target in domains and target != domain and tclass == "file" and perm in ("open", "read"):
                if domain not in MAIL and (domain, target) != ("popward_reload_t", "popward_t"):
                    wrong.add("%s: %s" % (domain, target))
    check("only worker and adopt look at other processes in /proc", wrong)

    wrong = set()
    for domain in "popward_auth_t", "popward_auth_program_t":
        for target, tclass, perm, switch in rights.all(domain):
            if (tclass, perm) == ("file", "open") and target in ("etc_t", "passwd_file_t") and "popward_use_system_users" not in (switch or ""):
                wrong.add("%s: %s" % (domain, target))
    check("auth looks up users of the system by its boolean alone", wrong)

    wrong = set()
    for parent, children in TRANSITIONS.items():
        for child in children.split():
            held = rights.of[parent].get(("popward_%s_t" % child, "process"), {})
            if child != "reload" and "siginh" not in held:
                wrong.add("%s to %s" % (parent, child))
    check("children start with the signals blocked that their parents have blocked", wrong)

    wrong = set()
    for domain in SERVER[1:]:
        others = rights.entered_by.get(domain, set()) & domains
        mine = {parent for parent, children in TRANSITIONS.items() if domain[len("popward_"):-2] in children.split()}
        strangers = {one for one in others - mine if one not in ("init_t", "initrc_t") and "unconfined" not in one}
        wrong |= {"%s from %s" % (domain, one) for one in strangers if one in SERVER or one.startswith("user")}
        missing = mine - others
        wrong |= {"%s never from %s" % (domain, one) for one in missing}
    check("a domain is entered by its parent", wrong)
    sys.exit(failed > 0)


main()
