"""A throw-away popward and a client that says exactly what a test wants said; in the guest, and on the host for a disk that
a power cut left. Only what Debian's python3-minimal has."""
import os, signal, socket, subprocess, threading, time

PATIENCE = 120  # seconds: only there to end a hang, and the guest is emulated
MAIL, FRONT, AUTH, KEYS, PROGRAM, USER = 64300, 64301, 64302, 64303, 64306, 64401

# A system call goes by several names: whichever the worker uses.
CALLS = {
    "write": "write,writev",
    "pwrite64": "pwrite64,pwritev,copy_file_range",
    "fsync": "fsync,fdatasync,sync_file_range",
    "rename": "rename,renameat,renameat2",
    "unlink": "unlink,unlinkat",
    "ftruncate": "ftruncate,fallocate",
    "cut": "ftruncate",
}


def maildrop_directories(base):
    """The directories of spools and state below `base`, as on a mail host."""
    for name, mode, group in [("mail", 0o2775, MAIL), ("state", 0o711, 0)]:
        path = "%s/%s" % (base, name)
        if not os.path.isdir(path):
            os.mkdir(path)
        os.chown(path, 0, group)
        os.chmod(path, mode)


class Server:
    """popward with one user, alice, whose spool and state are below `disk`; all else of it is in `home`. `through` is a
    command that starts another, as nsenter does."""

    def __init__(self, libexec, home, disk, address="127.0.0.1:11110", host=None, more="", through=()):
        self.address, self.home, self.log, self.process, self.through = address, home, [], None, list(through)
        os.makedirs(home, exist_ok=True)
        os.chmod(home, 0o711)
        with open(home + "/users", "w") as users:
            users.write("alice:{PLAIN}alice:%d:%d::/nonexistent\n" % (USER, USER))
        os.chown(home + "/users", 0, AUTH)
        os.chmod(home + "/users", 0o640)
        with open(home + "/popward.toml", "w") as config:
            config.write(
                '[server]\nlibexec = "%s"\nstate = "%s/state"\nshutdown_grace = "1s"\n%s'
                "[accounts]\nfront = %d\nauth = %d\nkeys = %d\nprogram = %d\n"
                '[[listen]]\naddress = "%s"\n[auth]\npasswd_file = "%s/users"\nplaintext = "always"\n'
                'failure_delay = "0s"\n[spool]\npath = "%s/mail/{user}"\ngroup = %d\nlock_timeout = "1s"\n%s'
                % (libexec, disk, 'host = "%s"\n' % host if host else "", FRONT, AUTH, KEYS, PROGRAM, address, home, disk, MAIL, more))
        self.command = [libexec + "/popward", "--config", home + "/popward.toml"]

    def start(self):
        self.process = subprocess.Popen(self.through + self.command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        ready = threading.Event()

        def read(stream):
            for line in stream:
                self.log.append(line.decode("utf-8", "replace").rstrip())
                if "ready version=" in self.log[-1]:
                    ready.set()
            ready.set()
        threading.Thread(target=read, args=[self.process.stderr], daemon=True).start()
        if not ready.wait(PATIENCE) or self.process.poll() is not None:
            raise SystemExit("popward did not start:\n" + "\n".join(self.log))
        self.supervisor = children(self.process.pid)[0] if self.through else self.process.pid
        return self

    def processes(self, executable=""):
        """The ids of the server's processes that run this executable."""
        return [pid for pid in descendants(self.supervisor) if executable in command_line(pid)]

    def kill(self):
        """A crash of all of it, at once. So all processes are stopped before the first one is killed. Otherwise one of them
        could tidy up after another."""
        pids = self.processes() + [self.supervisor]
        for how in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, how)
                except ProcessLookupError:
                    pass
            if how == signal.SIGSTOP:
                until("popward stands still", lambda: all(state(pid) in ("T", "t", "Z", "") for pid in pids))
        if self.through:
            # nsenter stops when its child stops.
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.wait()
        until("popward is gone", lambda: not any(command_line(pid) for pid in pids))

    def stop(self):
        os.kill(self.supervisor, signal.SIGTERM)
        self.process.wait(PATIENCE)

    def kill_worker(self, call, times):
        """The worker of the session that is open dies as it enters this system call for this time from now on. Wait for
        what is returned."""
        return kill_at(self.processes("popward-worker")[-1], call, times)

    def login(self):
        """A session, or the answer to PASS where there is none."""
        client = Client(self.address)
        client.ask("USER alice")
        answer = client.ask("PASS alice")
        if not answer.startswith("+OK"):
            client.close()
            return answer
        return client

    def session(self):
        """A session that nobody else is to be in the way of. The last one may not be over yet."""
        end = time.monotonic() + PATIENCE / 4
        while True:
            client = self.login()
            if isinstance(client, Client):
                return client
            if "[IN-USE]" not in client and "[SYS/TEMP]" not in client or time.monotonic() > end:
                raise Refused(client)
            time.sleep(0.05)


class Refused(Exception):
    pass


class Client:
    """`tls` is for a server that begins with TLS."""

    def __init__(self, address, tls=None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), PATIENCE)
        if tls:
            self.socket = tls.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")
        greeting = self.line()
        if not greeting.startswith("+OK"):
            raise Refused(greeting)

    def start_tls(self, tls):
        self.ok("STLS")
        self.socket = tls.wrap_socket(self.socket)
        self.file = self.socket.makefile("rb")

    def send(self, command):
        self.socket.sendall(command.encode() + b"\r\n")

    def line(self):
        try:
            return self.file.readline().decode("utf-8", "replace").rstrip("\r\n")
        except ConnectionResetError:
            return ""

    def ask(self, command):
        self.send(command)
        return self.line()

    def ok(self, command):
        answer = self.ask(command)
        if not answer.startswith("+OK"):
            raise Refused("%s: %r" % (command, answer))
        return answer

    def lines(self, command):
        """A multi-line reply: dots unstuffed, lines ended LF."""
        self.ok(command)
        text = b""
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise Refused("%s: ended in the reply" % command)
            if line == b".\r\n":
                return text
            text += line[line.startswith(b"."):-2] + b"\n"

    def count(self):
        return int(self.ok("STAT").split()[1])

    def close(self):
        self.file.close()
        self.socket.close()


def kill_at(pid, call, times):
    """The process dies as it enters this system call for this time from now on. Wait for what is returned."""
    return inject_at(pid, call, "signal=SIGKILL", times)


def inject_at(pid, call, what, times):
    """strace does this to the process as it enters this system call for this time from now on. Wait for what is returned."""
    tracer = subprocess.Popen(
        ["strace", "-p", str(pid), "-o", "/dev/null", "-e", "trace=" + CALLS[call],
         "-e", "inject=%s:%s:when=%s" % (CALLS[call], what, times)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if b"attached" not in tracer.stderr.readline():
        raise SystemExit("strace does not attach")
    return tracer


def children(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as list_:
        return [int(child) for child in list_.read().split()]


def descendants(pid):
    """Its children, and theirs. One that ends meanwhile may be missing."""
    try:
        below = children(pid)
    except (FileNotFoundError, ProcessLookupError):
        return []
    return below + [other for child in below for other in descendants(child)]


def command_line(pid):
    """Empty for one that is gone or a zombie."""
    try:
        with open("/proc/%d/cmdline" % pid) as line:
            return line.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def state(pid):
    """The letter that the kernel shows for a process. Empty for one that is gone."""
    try:
        with open("/proc/%d/stat" % pid) as line:
            return line.read().rpartition(") ")[2][:1]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def until(what, done):
    end = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > end:
            raise SystemExit("never: " + what)
        time.sleep(0.02)
