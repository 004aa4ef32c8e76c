//! The scenarios.
use crate::client::{Pop, Target};
use crate::{die, stats, Args};
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

fn ns(t: Instant) -> u64 {
    t.elapsed().as_nanos() as u64
}
fn us(n: u64) -> f64 {
    n as f64 / 1e3
}

const OPS: [&str; 6] = ["connect", "user", "pass", "stat", "quit", "total"];

fn one_login(t: &Target, i: u64) -> io::Result<[u64; 6]> {
    let t0 = Instant::now();
    let mut p = Pop::connect(t, i, true)?;
    let c = ns(t0);
    let (u, w) = p.login(&t.user_name(i), &t.pass)?;
    let x = Instant::now();
    p.cmd("STAT")?;
    let s = ns(x);
    let x = Instant::now();
    p.cmd("QUIT")?;
    let q = ns(x);
    Ok([c, u, w, s, q, ns(t0)])
}

pub fn login(a: &Args) {
    let t = Target::from(a);
    let sessions = a.num("sessions", 2000).min(20_000);
    let conc = a.num("conc", 16).clamp(1, 256);
    let next = AtomicU64::new(0);
    let fails = AtomicU64::new(0);
    let all: Mutex<Vec<[u64; 6]>> = Mutex::new(vec![]);
    let err = Mutex::new(String::new());
    let t0 = Instant::now();
    std::thread::scope(|s| {
        for _ in 0..conc {
            s.spawn(|| {
                let mut v = vec![];
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    // Stop early where nothing works.
                    if i >= sessions || fails.load(Ordering::Relaxed) > 50 {
                        break;
                    }
                    match one_login(&t, i) {
                        Ok(x) => v.push(x),
                        Err(e) => {
                            fails.fetch_add(1, Ordering::Relaxed);
                            *err.lock().unwrap() = e.to_string();
                        }
                    }
                }
                all.lock().unwrap().extend(v);
            });
        }
    });
    let wall = t0.elapsed().as_secs_f64();
    let all = all.into_inner().unwrap();
    print!(
        "{{\"scenario\":\"login\",\"conc\":{conc},\"ok\":{},\"fail\":{},\"error\":{:?},\"wall_s\":{wall:.4},\"per_s\":{:.1}",
        all.len(),
        fails.load(Ordering::Relaxed),
        err.into_inner().unwrap(),
        all.len() as f64 / wall
    );
    for (k, name) in OPS.iter().enumerate() {
        let mut v: Vec<u64> = all.iter().map(|x| x[k]).collect();
        print!(",\"{name}\":{}", stats(&mut v));
    }
    println!("}}");
}

pub fn open(a: &Args) {
    let t = Target::from(a);
    let reps = a.num("reps", 1);
    let list = a.get("list").is_some();
    let names = ["connect", "pass", "stat", "list", "uidl", "quit", "total"];
    let mut v: Vec<Vec<u64>> = vec![vec![]; names.len()];
    let (mut msgs, mut size, mut lines) = (0, 0, 0);
    for i in 0..reps {
        let r = (|| -> io::Result<()> {
            let t0 = Instant::now();
            let mut p = Pop::connect(&t, i, false)?;
            v[0].push(ns(t0));
            let (_, w) = p.login(&t.user_name(i), &t.pass)?;
            v[1].push(w);
            let x = Instant::now();
            (msgs, size) = stat(&mut p)?;
            v[2].push(ns(x));
            if list {
                let x = Instant::now();
                p.cmd("LIST")?;
                p.multi(None)?;
                v[3].push(ns(x));
            }
            let x = Instant::now();
            p.cmd("UIDL")?;
            let mut k = vec![];
            p.multi(Some(&mut k))?;
            v[4].push(ns(x));
            lines = memchr::memchr_iter(b'\n', &k).count();
            let x = Instant::now();
            p.cmd("QUIT")?;
            v[5].push(ns(x));
            v[6].push(ns(t0));
            p.wait_eof();
            Ok(())
        })();
        if let Err(e) = r {
            die(&format!("open: {e}"));
        }
    }
    print!("{{\"scenario\":\"open\",\"msgs\":{msgs},\"stat_bytes\":{size},\"uidl_lines\":{lines}");
    for (k, n) in names.iter().enumerate() {
        print!(",\"{n}\":{}", stats(&mut v[k]));
    }
    println!("}}");
}

fn stat(p: &mut Pop) -> io::Result<(u64, u64)> {
    let l = p.cmd("STAT")?;
    let mut f = l.split_ascii_whitespace().skip(1);
    let n = f.next().and_then(|x| x.parse().ok()).unwrap_or(0);
    let b = f.next().and_then(|x| x.parse().ok()).unwrap_or(0);
    Ok((n, b))
}

pub fn retr(a: &Args) {
    let t = Target::from(a);
    let pipe = a.num("pipeline", 1).clamp(1, 256);
    let max = a.num("max", u64::MAX);
    let r = (|| -> io::Result<()> {
        let t0 = Instant::now();
        let mut p = Pop::connect(&t, 0, false)?;
        p.login(&t.user_name(0), &t.pass)?;
        let (n, sb) = stat(&mut p)?;
        let open_ns = ns(t0);
        let n = n.min(max);
        let mut lat = Vec::with_capacity(n as usize);
        let mut body = 0;
        let x = Instant::now();
        let mut i = 1;
        while i <= n {
            let k = pipe.min(n - i + 1);
            let s = Instant::now();
            let mut c = Vec::new();
            for j in 0..k {
                write!(c, "RETR {}\r\n", i + j)?;
            }
            p.send(&c)?;
            for _ in 0..k {
                p.ok()?;
                body += p.multi(None)?;
                lat.push(ns(s));
            }
            i += k;
        }
        let wall = x.elapsed().as_secs_f64();
        let q = Instant::now();
        p.cmd("QUIT")?;
        let qn = ns(q);
        p.wait_eof();
        println!(
            "{{\"scenario\":\"retr\",\"msgs\":{n},\"pipeline\":{pipe},\"stat_bytes\":{sb},\"body_bytes\":{body},\"wire_bytes\":{},\"open_us\":{:.1},\"wall_s\":{wall:.4},\"mb_per_s\":{:.1},\"msgs_per_s\":{:.0},\"quit_us\":{:.1},\"retr\":{}}}",
            p.got, us(open_ns), body as f64 / 1e6 / wall, n as f64 / wall, us(qn), stats(&mut lat)
        );
        Ok(())
    })();
    if let Err(e) = r {
        die(&format!("retr: {e}"));
    }
}

pub fn dele(a: &Args) {
    let t = Target::from(a);
    let which = a.str("which", "first");
    let r = (|| -> io::Result<()> {
        let t0 = Instant::now();
        let mut p = Pop::connect(&t, 0, false)?;
        p.login(&t.user_name(0), &t.pass)?;
        let (n, _) = stat(&mut p)?;
        let open_ns = ns(t0);
        let list: Vec<u64> = match which.as_str() {
            "first" => vec![1],
            "last" => vec![n],
            "even" => (1..=n).filter(|i| i % 2 == 0).collect(),
            "all" => (1..=n).collect(),
            "none" => vec![],
            _ => die("--which first|last|even|all|none"),
        };
        let x = Instant::now();
        for i in &list {
            p.cmd(&format!("DELE {i}"))?;
        }
        let d = ns(x);
        let x = Instant::now();
        let l = p.cmd("QUIT")?;
        let q = ns(x);
        p.wait_eof();
        println!(
            "{{\"scenario\":\"dele\",\"which\":{which:?},\"msgs\":{n},\"deleted\":{},\"open_us\":{:.1},\"dele_us\":{:.1},\"quit_us\":{:.1},\"quit_eof_us\":{:.1},\"quit_reply\":{l:?}}}",
            list.len(), us(open_ns), us(d), us(q), us(ns(x))
        );
        Ok(())
    })();
    if let Err(e) = r {
        die(&format!("dele: {e}"));
    }
}

pub fn hold(a: &Args) {
    let t = Target::from(a);
    let n = a.num("n", 200).min(8000);
    let pre = a.str("state", "login") == "preauth";
    let probes = a.num("probes", 20);
    let mut held = Vec::new();
    let mut lat = vec![];
    let mut fail = 0;
    let mut err = String::new();
    // A held connection that is refused must not stall the whole run.
    let mut th = t.clone();
    th.timeout = Duration::from_secs(a.num("hold-timeout", 20));
    let t0 = Instant::now();
    for i in 0..n {
        let s = Instant::now();
        let r = Pop::connect(&th, i, true).and_then(|mut p| {
            if !pre {
                p.login(&t.user_name(i), &t.pass)?;
            }
            Ok(p)
        });
        match r {
            Ok(p) => {
                lat.push(ns(s));
                held.push(p)
            }
            Err(e) => {
                err = e.to_string();
                fail += 1;
                if fail >= 8 {
                    break;
                }
            }
        }
    }
    println!(
        "{{\"ready\":{},\"fail\":{fail},\"error\":{err:?},\"setup_s\":{:.3},\"setup\":{}}}",
        held.len(),
        t0.elapsed().as_secs_f64(),
        stats(&mut lat)
    );
    io::stdout().flush().unwrap();
    let mut l = String::new();
    io::stdin().lock().read_line(&mut l).ok();
    // New logins while all are held, by users that hold nothing.
    let mut tp = th.clone();
    tp.first = a.num("probe-first", t.first + t.users);
    tp.users = probes.max(1);
    let mut v = vec![];
    let mut pf = 0;
    let mut perr = String::new();
    for i in 0..probes {
        match one_login(&tp, i) {
            Ok(x) => v.push(x[5]),
            Err(e) => {
                perr = e.to_string();
                pf += 1;
                if pf >= 3 {
                    break;
                }
            }
        }
    }
    // Which of the held ones did the server drop meanwhile?
    let mut alive = 0;
    for p in &mut held {
        if !pre && p.cmd("NOOP").is_ok() {
            alive += 1;
        }
    }
    if !pre {
        for p in &mut held {
            let _ = p.send(b"QUIT\r\n");
        }
        for p in &mut held {
            let _ = p.wait_eof();
        }
    }
    println!(
        "{{\"held\":{},\"alive\":{alive},\"probe_fail\":{pf},\"probe_error\":{perr:?},\"probe\":{}}}",
        held.len(), stats(&mut v)
    );
}
