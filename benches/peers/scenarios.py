"""The scenarios S1 to S7. README.md says what each measures."""

import json, os, signal, subprocess, time
from measure import Pop, avail, each, pb, put, session_pids, spool, tlss, warm
from server import B, S


def S1(srvs, reps, n=500):
    for i in range(1, 201):
        spool(f"user{i:04d}", "small")
    for s in srvs:  # prime indexes
        pb(s, "login", users=200, sessions=200, conc=4, src_n=200, timeout=10)
    for conc in (1, 16, 64):
        for r, s in each(srvs, reps):
            time.sleep(1.1)  # popa3d waits if a spool changed in this second; other servers change it
            o = pb(s, "login", users=200, sessions=n, conc=conc, src_n=200, timeout=10)
            o["cpu_us_per_session"] = (o["cpu_s"] or 0) * 1e6 / max(1, o.get("ok", 0))
            put("S1", s, o, conc=conc, tls="none", rep=r)
            print("S1", s.name, conc, o.get("per_s"), o.get("fail"), o.get("error"), flush=True)
    for r, s in each([s for s in srvs if s.has("implicit")], reps):
        o = pb(s, "login", "implicit", users=200, sessions=n, conc=16, src_n=200, timeout=10)
        o["cpu_us_per_session"] = (o["cpu_s"] or 0) * 1e6 / max(1, o.get("ok", 0))
        put("S1", s, o, conc=16, tls="implicit", rep=r)
        print("S1 tls", s.name, o.get("per_s"), o.get("fail"), o.get("error"), flush=True)


def S2(srvs, reps, kinds=("mid", "big")):
    for kind in kinds:
        for s in srvs:
            u = getattr(s, kind)
            spool(u, kind, True)
            s.chill(u)
            warm(f"/var/mail/{u}")
            o = pb(s, "open", user=u)
            put("S2", s, o, kind=kind, case="first", rep=0)
            print("S2", kind, "first", s.name, o.get("total", {}).get("p50_us"), o.get("error"), flush=True)
            pb(s, "open", user=u)  # the server has now written all that it keeps
        for case in ("warm", "cold", "append"):
            for r, s in each(srvs, reps):
                u = getattr(s, kind)
                p = f"/var/mail/{u}"
                if case == "cold":
                    s.chill(u)
                if case == "append":
                    subprocess.run(
                        [B, "append", "--mbox", p, "--count", "10", "--seed", str(500 + r)],
                        stdout=subprocess.DEVNULL,
                    )
                warm(p)
                if s.has("cold") and os.path.isdir(f"{S}/index/{s.name}/{u}"):
                    pass
                o = pb(s, "open", user=u)
                put("S2", s, o, kind=kind, case=case, rep=r)
                print("S2", kind, case, s.name, o.get("total", {}).get("p50_us"), o.get("error"), flush=True)


def S3(srvs, reps, kind="big"):
    for s in srvs:
        u = getattr(s, kind)
        if not os.path.exists(f"/var/mail/{u}") or os.path.getsize(f"/var/mail/{u}") < os.path.getsize(
            f"{S}/pristine/{kind}.mbox"
        ):
            spool(u, kind, True)
            pb(s, "open", user=u)
    for tls in ("none", "implicit"):
        for r, s in each([s for s in srvs if tls in tlss(s)], reps):
            u = getattr(s, kind)
            warm(f"/var/mail/{u}")
            o = pb(s, "retr", tls, user=u)
            if "body_bytes" in o:
                o["cpu_s_per_gb"] = o["cpu_s"] / (o["body_bytes"] / 1e9)
            put("S3", s, o, kind=kind, tls=tls, rep=r)
            print(
                "S3", kind, tls, s.name, o.get("mb_per_s"), o.get("cpu_s_per_gb"), o.get("error"), flush=True
            )
    # A client that delays its ACKs, as most do. 300 messages are enough to show the effect.
    for s in srvs:
        o = pb(s, "retr", user=getattr(s, kind), delack=1, max=300)
        put("S3", s, o, kind=kind, tls="delack", rep=0)
        print(
            "S3 delack",
            s.name,
            o.get("mb_per_s"),
            o.get("retr", {}).get("p50_us"),
            o.get("error"),
            flush=True,
        )


def S4(srvs, reps, cases=(("mid", "even"), ("mid", "all"), ("big", "first"), ("big", "last"))):
    for kind, which in cases:
        for r, s in each(srvs, reps):
            u = getattr(s, kind)
            spool(u, kind, True)
            s.chill(u)
            pb(s, "open", user=u)  # a client that polled once before
            if s.has("cold"):
                pb(s, "open", user=u)
            fd = os.open(f"/var/mail/{u}", os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            size0 = os.path.getsize(f"/var/mail/{u}")
            o = pb(s, "dele", user=u, which=which)
            o["spool_before"], o["spool_after"] = size0, (
                os.path.getsize(f"/var/mail/{u}") if os.path.exists(f"/var/mail/{u}") else None
            )
            v = subprocess.run(
                [B, "verify", "--mbox", f"/var/mail/{u}", "--manifest", f"{S}/pristine/{kind}.man"],
                capture_output=True,
                text=True,
            )
            o["verify"] = json.loads(v.stdout) if v.returncode == 0 else v.stderr
            put("S4", s, o, kind=kind, which=which, rep=r)
            print(
                "S4",
                kind,
                which,
                s.name,
                o.get("quit_us"),
                o["io"].get("write_bytes"),
                o["io"].get("wchar"),
                o.get("error"),
                o["verify"],
                flush=True,
            )


def S5(srvs, reps=1, logged=(200, 1000), pre=(1000, 5000)):
    for i in range(1, 1051):
        if not os.path.exists(f"/var/mail/user{i:04d}"):
            spool(f"user{i:04d}", "small")
    for state, counts in (("login", logged), ("preauth", pre)):
        for n in counts:
            for s in srvs:
                if state == "login" and n > s.d.get("idle_max", 99999):
                    m = s.idle_max
                else:
                    m = n
                s.settle()
                n0, p0, e0 = s.mem()
                a0 = avail()
                cmd = [
                    B,
                    "hold",
                    "--host",
                    s.plain,
                    "--n",
                    str(m),
                    "--state",
                    state,
                    "--users",
                    "1000",
                    "--src-n",
                    "200",
                    "--probes",
                    "20",
                    "--probe-first",
                    "1001",
                    "--hold-timeout",
                    "2",
                ]
                h = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                o = json.loads(h.stdout.readline())
                time.sleep(1)
                n1, p1, e1 = s.mem()
                a1 = avail()
                c1 = s.cpu()[0]
                time.sleep(2)
                c2 = s.cpu()[0]
                out, _ = h.communicate("\n")
                o.update(json.loads(out or "{}"))
                k = max(1, o["ready"])
                o.update(
                    procs=n1 - n0,
                    base_procs=n0,
                    base_pss_kb=p0,
                    pss_kb_each=(p1 - p0) / k,
                    pte_kb_each=(e1 - e0) / k,
                    avail_kb_each=(a0 - a1) / k,
                    idle_cpu_ms_per_s=(c2 - c1) * 500,
                )
                put("S5", s, o, state=state, n=n, asked=m)
                print(
                    "S5",
                    state,
                    n,
                    s.name,
                    json.dumps(
                        {
                            x: o.get(x)
                            for x in (
                                "ready",
                                "fail",
                                "error",
                                "procs",
                                "pss_kb_each",
                                "pte_kb_each",
                                "avail_kb_each",
                                "alive",
                                "probe_fail",
                                "probe_error",
                            )
                        }
                    ),
                    o.get("probe", {}).get("p50_us"),
                    flush=True,
                )
                s.settle(20)
                time.sleep(0.5)


def S7(srvs, reps=3, kind="big"):
    """kill -9 in the middle of the rewrite, at several moments after QUIT."""
    for s in srvs:
        for delay in (0.03, 0.1, 0.25, 0.5):
            u = s.big
            p = f"/var/mail/{u}"
            spool(u, kind, True)
            s.chill(u)
            warm(p)
            o = {"delay": delay}
            try:
                a = Pop(s, u)
                a("STAT")
                a("DELE 1")
                pids = session_pids(s, u)
                a.c.sendall(b"QUIT\r\n")
                time.sleep(delay)
                a.c.settimeout(0.001)
                try:
                    o["reply_before_kill"] = a.c.recv(200).decode()
                except OSError:
                    o["reply_before_kill"] = None
                for x in pids:
                    try:
                        os.kill(x, signal.SIGKILL)
                    except OSError:
                        pass
                o["killed"] = len(pids)
                time.sleep(0.3)
                a.close()
            except OSError as e:
                o["error"] = str(e)
            left = [x for x in os.listdir("/var/mail") if u in x and x != u]
            o["left_files"] = left
            o["size"] = os.path.getsize(p) if os.path.exists(p) else None
            v = subprocess.run(
                [B, "verify", "--mbox", p, "--manifest", f"{S}/pristine/{kind}.man"],
                capture_output=True,
                text=True,
            )
            o["verify"] = json.loads(v.stdout) if v.returncode == 0 else v.stderr
            # Whether the next session works, and what is then in the spool.
            try:
                t = time.time()
                b = Pop(s, u)
                o["reopen_stat"] = b("STAT")
                b("QUIT")
                b.close()
                s.settle()
                o["reopen_s"] = round(time.time() - t, 2)
                v = subprocess.run(
                    [B, "verify", "--mbox", p, "--manifest", f"{S}/pristine/{kind}.man"],
                    capture_output=True,
                    text=True,
                )
                o["verify_after"] = json.loads(v.stdout) if v.returncode == 0 else v.stderr
            except OSError as e:
                o["reopen"] = str(e)
            put("S7", s, o)
            print("S7", s.name, json.dumps(o), flush=True)
            for x in left:
                try:
                    os.unlink(f"/var/mail/{x}")
                except OSError:
                    pass
