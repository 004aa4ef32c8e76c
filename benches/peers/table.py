"""Medians of the results as Markdown."""

import json, statistics
from server import S


def med(v):
    v = [x for x in v if x is not None]
    return statistics.median(v) if v else None


def load(scen):
    try:
        return [json.loads(l) for l in open(f"{S}/results/{scen}.jsonl")]
    except OSError:
        return []


def table():
    def grid(title, rows, key, cols, val, fmt="{:.0f}"):
        names = list(dict.fromkeys(r["server"] for r in rows))
        print(
            f"\n### {title}\n\n| server | "
            + " | ".join(c[0] for c in cols)
            + " |\n|---" * 1
            + "|"
            + "---|" * (len(cols))
        )
        for n in names:
            cells = []
            for _, sel in cols:
                x = [val(r) for r in rows if r["server"] == n and sel(r) and not r.get("error")]
                e = [r for r in rows if r["server"] == n and sel(r) and r.get("error")]
                m = med(x)
                cells.append((fmt.format(m) if m is not None else "-") + (f" ({len(e)} failed)" if e else ""))
            print(f"| {n} | " + " | ".join(cells) + " |")

    r = load("S1")
    for x in r:  # some connections refused or late: still a result
        x.pop("error", None)
    c = [(f"c={k}", lambda x, k=k: x["conc"] == k and x["tls"] == "none") for k in (1, 16, 64)] + [
        ("TLS c=16", lambda x: x["tls"] != "none")
    ]
    grid("S1 sessions/s", r, None, c, lambda x: x.get("per_s"))
    grid("S1 sessions failed (10 s limit), of all", r, None, c, lambda x: x["fail"])
    grid("S1 p50 of a whole session, ms", r, None, c, lambda x: x["total"].get("p50_us", 0) / 1e3, "{:.2f}")
    grid("S1 p99 of a whole session, ms", r, None, c, lambda x: x["total"].get("p99_us", 0) / 1e3, "{:.2f}")
    grid("S1 server CPU per session, us", r, None, c, lambda x: x["cpu_us_per_session"])
    r = load("S2")
    c = [
        (f"{k} {w}", lambda x, k=k, w=w: x["kind"] == k and x["case"] == w)
        for k in ("mid", "big")
        for w in ("first", "warm", "cold", "append")
    ]
    grid(
        "S2 login+STAT+UIDL+QUIT, ms (mid 100 MB, big 1 GB)",
        r,
        None,
        c,
        lambda x: x["total"]["p50_us"] / 1e3,
        "{:.1f}",
    )
    grid("S2 server CPU, ms", r, None, c, lambda x: x["cpu_s"] * 1e3, "{:.1f}")
    grid("S2 bytes written, MB (write_bytes)", r, None, c, lambda x: x["io"]["write_bytes"] / 1e6, "{:.1f}")
    r = load("S3")
    c = [(t, lambda x, t=t: x["tls"] == t) for t in ("none", "implicit", "delack")]
    grid("S3 RETR of 1 GB, MB/s", r, None, c, lambda x: x["mb_per_s"])
    grid("S3 server CPU s per GB", r, None, c, lambda x: x.get("cpu_s_per_gb"), "{:.2f}")
    r = load("S4")
    c = [
        (f"{k} {w}", lambda x, k=k, w=w: x["kind"] == k and x["which"] == w)
        for k, w in (("mid", "even"), ("mid", "all"), ("big", "first"), ("big", "last"))
    ]
    grid("S4 QUIT to +OK, ms", r, None, c, lambda x: x["quit_us"] / 1e3, "{:.1f}")
    grid("S4 QUIT to end of connection, ms", r, None, c, lambda x: x["quit_eof_us"] / 1e3, "{:.1f}")
    grid("S4 MB written (write_bytes)", r, None, c, lambda x: x["io"]["write_bytes"] / 1e6, "{:.1f}")
    grid("S4 MB passed to write() (wchar)", r, None, c, lambda x: x["io"]["wchar"] / 1e6, "{:.1f}")
    grid("S4 server CPU, ms", r, None, c, lambda x: x["cpu_s"] * 1e3, "{:.0f}")
    r = load("S5")
    for st in ("login", "preauth"):
        q = [x for x in r if x["state"] == st]
        for x in q:  # a refusal is a result here
            x["refused"] = x.pop("error", "")
        c = [(f"n={k}", lambda x, k=k: x["n"] == k) for k in sorted({x["n"] for x in q})]
        grid(f"S5 {st}: connections held", q, None, c, lambda x: x["ready"])
        grid(f"S5 {st}: PSS each, KiB", q, None, c, lambda x: x["pss_kb_each"], "{:.0f}")
        grid(f"S5 {st}: MemAvailable each, KiB", q, None, c, lambda x: x["avail_kb_each"], "{:.0f}")
        grid(
            f"S5 {st}: probe login p50, ms",
            q,
            None,
            c,
            lambda x: x["probe"]["p50_us"] / 1e3 if x.get("probe", {}).get("n") else None,
            "{:.1f}",
        )
        grid(f"S5 {st}: probe logins failed", q, None, c, lambda x: x.get("probe_fail"))
