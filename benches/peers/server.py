"""A server under test. It runs in a cgroup of its own, which counts what it costs."""

import collections, os, signal, socket, subprocess, time

HERE = os.path.dirname(os.path.abspath(__file__))
S = os.environ["POPBENCH_SCRATCH"]
B = os.environ.get("POPBENCH_BIN", f"{S}/target/release/popbench")
CG = "/sys/fs/cgroup/cpuacct"
TICK = os.sysconf("SC_CLK_TCK")


def sh(cmd, **env):
    return subprocess.run(
        ["sh", "-c", cmd],
        env={**os.environ, "S": S, "B": HERE, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Server:
    def __init__(self, d):
        self.__dict__.update(d)
        self.d = d
        self.proc = None
        self.slow = set()
        self.cg = f"{CG}/popbench-{self.name}"
        self.big, self.mid = f"big{self.idx:04d}", f"mid{self.idx:04d}"

    def has(self, k):
        return bool(self.d.get(k))

    def up(self):
        own = os.path.isdir(CG) and os.access(CG, os.W_OK)
        if own:
            os.makedirs(self.cg, exist_ok=True)

        def pre():
            os.setsid()
            if own:
                open(f"{self.cg}/cgroup.procs", "w").write(str(os.getpid()))

        log = open(f"{S}/results/{self.name}.log", "ab")
        self.proc = subprocess.Popen(
            ["sh", "-c", self.start_cmd],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=pre,
            env={**os.environ, "S": S, "B": HERE},
        )
        h, p = self.plain.split(":")
        for _ in range(200):
            try:
                c = socket.create_connection((h, int(p)), 2)
                c.settimeout(5)
                c.recv(100)
                c.close()
                time.sleep(0.1)
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name} does not answer on {self.plain}")

    @property
    def start_cmd(self):
        return self.d["start"]

    def pids(self):
        """Its process tree: the cgroup's members, or children found in /proc."""
        try:
            return [int(x) for x in open(f"{self.cg}/cgroup.procs").read().split()]
        except OSError:
            pass
        kids = collections.defaultdict(list)
        for d in os.listdir("/proc"):
            if d.isdigit():
                try:
                    kids[int(open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()[1])].append(int(d))
                except OSError:
                    pass
        out, todo = [], [self.proc.pid]
        while todo:
            p = todo.pop()
            out.append(p)
            todo += kids[p]
        return out

    def cpu(self):
        """CPU seconds of the whole tree, ended processes included: (all, user, system)."""
        try:
            ns = int(open(f"{self.cg}/cpuacct.usage").read())
            st = dict(l.split() for l in open(f"{self.cg}/cpuacct.stat"))
            return ns / 1e9, int(st["user"]) / TICK, int(st["system"]) / TICK
        except OSError:
            u = s = 0
            for p in self.pids():
                try:
                    f = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
                    u += int(f[11]) + int(f[13])
                    s += int(f[12]) + int(f[14])
                except OSError:
                    pass
            return (u + s) / TICK, u / TICK, s / TICK

    def io(self):
        """/proc/PID/io of the tree; a parent's counts include its reaped children's."""
        t = collections.Counter()
        for p in self.pids():
            try:
                for l in open(f"/proc/{p}/io"):
                    k, v = l.split(":")
                    t[k] += int(v)
            except OSError:
                pass
        return t

    def mem(self):
        """(processes, PSS KiB, page-table KiB) of the tree."""
        n = pss = pte = 0
        for p in self.pids():
            try:
                for l in open(f"/proc/{p}/smaps_rollup"):
                    if l.startswith("Pss:"):
                        pss += int(l.split()[1])
                for l in open(f"/proc/{p}/status"):
                    if l.startswith("VmPTE:"):
                        pte += int(l.split()[1])
                n += 1
            except OSError:
                pass
        return n, pss, pte

    def settle(self, t=5):
        """Waits for the sessions of the last measurement to end."""
        last = -1
        for _ in range(int(t / 0.05)):
            c = self.cpu()[0]
            if c == last:
                return
            last = c
            time.sleep(0.05)

    def down(self):
        if not self.proc:
            return
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for p in self.pids():
                try:
                    os.kill(p, sig)
                except OSError:
                    pass
            for _ in range(40):
                self.proc.poll()
                if not self.pids():
                    break
                time.sleep(0.05)
        self.proc.wait()
        try:
            os.rmdir(self.cg)
        except OSError:
            pass
        self.proc = None

    def chill(self, user):
        if self.has("cold"):
            sh(self.cold, U=user)
