"""One measurement: puts the mailboxes back, then runs the load generator against a server."""

import json, os, pwd, random, shutil, socket, subprocess
from server import B, S


def put(scen, srv, rec, **kw):
    rec = {"scenario": scen, "server": srv.name if srv else "-", **kw, **rec, "load1": os.getloadavg()[0]}
    os.makedirs(f"{S}/results", exist_ok=True)
    open(f"{S}/results/{scen}.jsonl", "a").write(json.dumps(rec) + "\n")
    return rec


def pb(srv, sub, tls="none", limit=150, **kw):
    """Runs popbench, with the server's CPU seconds and I/O over that time."""
    cmd = [B, sub, "--host", srv.implicit if tls == "implicit" else srv.plain, "--tls", tls]
    for k, v in kw.items():
        cmd += ["--" + k.replace("_", "-"), str(v)]
    key = (sub, kw.get("user"), kw.get("conc"))
    if key in srv.slow:  # one run past the limit is enough
        return {"error": "skipped: an earlier one ran past its limit", "cpu_s": None, "io": {}}
    c0, i0 = srv.cpu(), srv.io()
    try:
        r = subprocess.run(cmd, capture_output=True, text=True, timeout=limit)
        out = json.loads(r.stdout) if r.returncode == 0 else {"error": (r.stderr + r.stdout)[-200:]}
    except subprocess.TimeoutExpired:
        out = {"error": f"ran past {limit} s"}
        srv.slow.add(key)
    srv.settle()
    c1, i1 = srv.cpu(), srv.io()
    out["cpu_s"], out["cpu_user_s"], out["cpu_sys_s"] = (round(b - a, 4) for a, b in zip(c0, c1))
    out["io"] = {k: i1[k] - i0[k] for k in ("rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes")}
    return out


def uid(user):
    return pwd.getpwnam(user).pw_uid


def spool(user, kind, sync=False):
    """Puts the pristine mailbox back."""
    dst = f"/var/mail/{user}"
    for x in os.listdir("/var/mail"):
        if x == user or x.startswith(user + ".") or x.startswith("." + user):
            os.unlink(f"/var/mail/{x}")
    shutil.copyfile(f"{S}/pristine/{kind}.mbox", dst)
    os.chown(dst, uid(user), 8)
    os.chmod(dst, 0o660)
    if sync:
        fd = os.open(dst, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def warm(path):
    with open(path, "rb", buffering=0) as f:
        b = bytearray(1 << 20)
        while f.readinto(b):
            pass


def each(srvs, reps):
    for r in range(reps):
        o = list(srvs)
        random.Random(r).shuffle(o)
        for s in o:
            yield r, s


def tlss(s):
    return ["none"] + (["implicit"] if s.has("implicit") else [])


def avail():
    for l in open("/proc/meminfo"):
        if l.startswith("MemAvailable"):
            return int(l.split()[1])


class Pop:
    def __init__(self, s, user):
        h, p = s.plain.split(":")
        self.c = socket.create_connection((h, int(p)), 60)
        self.f = self.c.makefile("rb")
        self.f.readline()
        self("USER " + user)
        self("PASS benchpw")

    def __call__(self, l, multi=False):
        self.c.sendall(l.encode() + b"\r\n")
        r = self.f.readline().decode("latin1").strip()
        if not r.startswith("+OK"):
            raise OSError(f"{l}: {r}")
        if not multi:
            return r
        out = []
        while (x := self.f.readline()) not in (b".\r\n", b""):
            out.append(x.decode("latin1").strip())
        return out

    def close(self):
        self.f.close()
        self.c.close()


def session_pids(s, user):
    """Processes of the tree that run as the user or that hold the spool open."""
    u = uid(user)
    out = []
    for p in s.pids():
        try:
            uids = [l for l in open(f"/proc/{p}/status") if l.startswith("Uid:")][0].split()[1:]
            fds = []
            for f in os.listdir(f"/proc/{p}/fd"):
                try:
                    fds.append(os.readlink(f"/proc/{p}/fd/{f}"))
                except OSError:
                    pass
            if str(u) in uids or any(user in x for x in fds):
                out.append(p)
        except OSError:
            pass
    return out
