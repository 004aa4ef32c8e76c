//! Deterministic mbox generator, checker and locking deliverer.
use crate::{die, Args};
use memchr::{memchr, memmem};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::io::AsRawFd;
use std::time::{Duration, Instant};

pub struct Rng(u64);
impl Rng {
    pub fn new(s: u64) -> Rng {
        Rng(s.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }
}

const WORDS: [&str; 48] = [
    "the", "of", "and", "report", "server", "meeting", "please", "attached", "invoice", "to", "in",
    "we", "that", "project", "delivery", "is", "for", "schedule", "quarter", "on", "with",
    "update", "review", "this", "will", "be", "network", "regards", "number", "request", "by",
    "customer", "as", "from", "change", "it", "price", "system", "have", "not", "or", "are",
    "message", "tomorrow", "draft", "an", "version", "at",
];
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const B64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One message, its From_ line first and a blank line last, of about `target` bytes.
pub fn message(out: &mut Vec<u8>, seed: u64, idx: u64, target: usize) {
    let mut r = Rng::new(seed ^ (idx + 1).wrapping_mul(0xD134_2543_DE82_EF95));
    for _ in 0..4 {
        r.next();
    }
    let start = out.len();
    let d = 1 + r.below(28);
    let wd = DAYS[((d - 1 + 3) % 7) as usize];
    let (h, m, s) = (r.below(24), r.below(60), r.below(60));
    let from = format!("sender{}@mail{}.example.org", r.below(900), r.below(20));
    let (q1, q2, q3) = (r.next(), r.next(), r.next());
    let b = format!("=_{:016x}", r.next());
    write!(
        out,
        "From {from} {wd} Jan {d:2} {h:02}:{m:02}:{s:02} 2026
Return-Path: <{from}>
Delivered-To: user@bench.example
Received: from mx{x}.example.org (mx{x}.example.org [192.0.2.{x}])
\tby spool.bench.example (Postfix) with ESMTPS id {q1:016X}
\tfor <user@bench.example>; {wd}, {d} Jan 2026 {h:02}:{m:02}:{s:02} +0000 (UTC)
Received: from relay.example.net ([198.51.100.{x}]) by mx{x}.example.org with esmtp
\tid {q2:016x}; {wd}, {d} Jan 2026 {h:02}:{m:02}:{s:02} +0000
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=k1;
\th=from:to:subject:date:message-id; bh={q3:016x}{q1:016x}{q2:016x}=;
\tb={q2:016x}{q3:016x}{q1:016x}{q3:016x}{q1:016x}{q2:016x}
\t {q1:016x}{q3:016x}{q2:016x}{q2:016x}==
From: \"Sender {x}\" <{from}>
To: User <user@bench.example>
Subject: ",
        x = 1 + r.below(200)
    )
    .unwrap();
    words(out, &mut r, 40);
    write!(
        out,
        "Date: {wd}, {d} Jan 2026 {h:02}:{m:02}:{s:02} +0000
Message-ID: <{seed:x}.{idx}.{q1:08x}@mail.example.org>
User-Agent: bench/1.0
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=\"{b}\"

This is a multi-part message in MIME format.
--{b}
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

"
    )
    .unwrap();
    // A quarter text, the rest base64; all text below 12 KB.
    let head = out.len() - start;
    let left = target.saturating_sub(head);
    let text = if target < 12_000 { left } else { left / 4 };
    let stop = out.len() + text;
    while out.len() < stop {
        match r.below(60) {
            0 => out.extend_from_slice(b">From the archive "),
            1 => out.extend_from_slice(b"."),
            2 => out.push(b'\n'),
            3 => out.extend_from_slice("Grüße, ".as_bytes()),
            _ => {}
        }
        words(out, &mut r, 72);
    }
    if target >= 12_000 {
        write!(
            out,
            "
--{b}
Content-Type: application/octet-stream; name=\"file{idx}.bin\"
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=\"file{idx}.bin\"

"
        )
        .unwrap();
        let stop = start + target;
        let mut line = [b'\n'; 77];
        while out.len() < stop {
            let mut k = 0;
            while k < 76 {
                let mut v = r.next();
                for _ in 0..10 {
                    if k < 76 {
                        line[k] = B64[(v & 63) as usize];
                        v >>= 6;
                        k += 1;
                    }
                }
            }
            out.extend_from_slice(&line);
        }
    }
    write!(out, "\n--{b}--\n\n").unwrap();
}

fn words(out: &mut Vec<u8>, r: &mut Rng, width: usize) {
    let s = out.len();
    while out.len() - s < width {
        if out.len() > s {
            out.push(b' ');
        }
        out.extend_from_slice(WORDS[r.below(48) as usize].as_bytes());
    }
    out.push(b'\n');
}

pub fn gen(a: &Args) {
    let (bytes, count) = (a.num("bytes", u64::MAX), a.num("count", u64::MAX));
    if bytes == u64::MAX && count == u64::MAX {
        die("--bytes or --count");
    }
    let (seed, min, max) = (a.num("seed", 1), a.num("min", 10_000), a.num("max", 50_000));
    let (every, big) = (a.num("big-every", 0), a.num("big-bytes", 5_000_000));
    let f = File::create(a.req("out")).unwrap_or_else(|e| die(&e.to_string()));
    let mut w = BufWriter::with_capacity(1 << 20, f);
    let mut r = Rng::new(seed);
    let mut v = Vec::new();
    let (mut total, mut i) = (0u64, 0u64);
    while i < count && total < bytes {
        v.clear();
        let sz = if every > 0 && i % every == every - 1 {
            big
        } else {
            min + r.below(max - min + 1)
        };
        message(&mut v, seed, i, sz as usize);
        w.write_all(&v).unwrap();
        total += v.len() as u64;
        i += 1;
    }
    w.flush().unwrap();
    println!("{{\"messages\":{i},\"bytes\":{total}}}");
}

/// (Message-ID, hash of the message without what servers add, size)
fn scan(path: &str) -> (Vec<(String, u64, usize)>, Vec<String>) {
    let mut b = vec![];
    File::open(path)
        .and_then(|mut f| f.read_to_end(&mut b))
        .unwrap_or_else(|e| die(&format!("{path}: {e}")));
    let mut out = vec![];
    let mut bad = vec![];
    if b.is_empty() {
        return (out, bad);
    }
    if !b.starts_with(b"From ") {
        bad.push("file does not begin with a From_ line".into());
    }
    if !b.ends_with(b"\n") {
        bad.push("file does not end with a newline".into());
    }
    if memchr(0, &b).is_some() {
        bad.push("NUL bytes in the file".into());
    }
    let mut cuts: Vec<usize> = vec![0];
    cuts.extend(memmem::find_iter(&b, b"\n\nFrom ").map(|i| i + 2));
    cuts.push(b.len());
    for w in cuts.windows(2) {
        let m = &b[w[0]..w[1]];
        let hend = memmem::find(m, b"\n\n").map(|i| i + 1).unwrap_or(m.len());
        let (mut id, mut h, mut pseudo) = (String::new(), 0xcbf2_9ce4_8422_2325u64, false);
        let mut skip = false;
        for l in m[..hend].split_inclusive(|c| *c == b'\n') {
            let cont = l[0] == b' ' || l[0] == b'\t';
            if !cont {
                let low = l[..l.len().min(24)].to_ascii_lowercase();
                skip = [
                    &b"status:"[..],
                    b"x-status:",
                    b"x-uid:",
                    b"x-uidl:",
                    b"x-imap:",
                    b"x-imapbase:",
                    b"x-keywords:",
                    b"content-length:",
                ]
                .iter()
                .any(|p| low.starts_with(p));
                if low.starts_with(b"message-id:") {
                    id = String::from_utf8_lossy(&l[11..]).trim().to_string();
                }
                if low.starts_with(b"subject: don't delete this") || low.starts_with(b"x-imap:") {
                    pseudo = true;
                }
            }
            if !skip {
                hash(&mut h, l);
            }
        }
        // Blank lines at the end may differ by one between servers.
        let mut e = m.len();
        while e > hend && m[e - 1] == b'\n' {
            e -= 1;
        }
        hash(&mut h, &m[hend.min(e)..e]);
        if !pseudo {
            out.push((id, h, m.len()));
        }
    }
    (out, bad)
}

fn hash(h: &mut u64, b: &[u8]) {
    for c in b.chunks(8) {
        let mut x = [0u8; 8];
        x[..c.len()].copy_from_slice(c);
        *h = (*h ^ u64::from_le_bytes(x))
            .wrapping_mul(0x100_0000_01b3)
            .rotate_left(23);
    }
    *h ^= b.len() as u64;
}

pub fn verify(a: &Args) {
    let (v, bad) = scan(&a.req("mbox"));
    if let Some(m) = a.get("write-manifest") {
        let mut w = BufWriter::new(File::create(m).unwrap());
        for (id, h, n) in &v {
            writeln!(w, "{id} {h:016x} {n}").unwrap();
        }
        println!("{{\"messages\":{}}}", v.len());
        return;
    }
    let text = std::fs::read_to_string(a.req("manifest")).unwrap();
    let mut want: HashMap<String, u64> = HashMap::new();
    for l in text.lines() {
        let f: Vec<&str> = l.split(' ').collect();
        want.insert(f[0].into(), u64::from_str_radix(f[1], 16).unwrap());
    }
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let (mut corrupt, mut extra) = (0, 0);
    let mut which = vec![];
    for (k, (id, h, _)) in v.iter().enumerate() {
        *seen.entry(id).or_default() += 1;
        match want.get(id) {
            Some(w) if w == h => {}
            Some(_) => {
                corrupt += 1;
                which.push(k + 1);
            }
            None => extra += 1,
        }
    }
    let dup = seen.values().filter(|n| **n > 1).count();
    let missing = want
        .keys()
        .filter(|k| !seen.contains_key(k.as_str()))
        .count();
    println!(
        "{{\"found\":{},\"wanted\":{},\"missing\":{missing},\"duplicated\":{dup},\"altered\":{corrupt},\"altered_at\":{:?},\"unknown\":{extra},\"notes\":{bad:?}}}",
        v.len(), want.len(), &which[..which.len().min(8)]
    );
}

/// Appends messages as a delivery agent does: takes the locks named, in order.
pub fn append(a: &Args) {
    let path = a.req("mbox");
    let limit = Duration::from_millis(a.num("timeout-ms", 2000));
    let mut took = vec![];
    let t0 = Instant::now();
    let lockfile = format!("{path}.lock");
    let mut f = OpenOptions::new()
        .read(true)
        .append(true)
        .open(&path)
        .unwrap_or_else(|e| die(&e.to_string()));
    let mut held = None;
    let mut blocked = String::new();
    let list = a.str("locks", "dotlock,fcntl");
    for l in list.split(',').filter(|x| !x.is_empty()) {
        let s = Instant::now();
        let got = loop {
            let r = match l {
                "dotlock" => {
                    let ok = OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(0o644)
                        .open(&lockfile)
                        .is_ok();
                    if ok {
                        held = Some(lockfile.clone());
                    }
                    ok
                }
                "fcntl" => unsafe {
                    let mut fl: libc::flock = std::mem::zeroed();
                    fl.l_type = libc::F_WRLCK as i16;
                    libc::fcntl(f.as_raw_fd(), libc::F_SETLK, &fl) == 0
                },
                "flock" => unsafe {
                    libc::flock(f.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0
                },
                _ => die("--locks dotlock,fcntl,flock"),
            };
            if r {
                break true;
            }
            if s.elapsed() >= limit {
                break false;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        took.push(format!("\"{l}_us\":{}", s.elapsed().as_micros()));
        if !got {
            blocked = l.to_string();
            break;
        }
    }
    let mut n = 0;
    if blocked.is_empty() {
        let mut v = vec![];
        let (count, seed) = (a.num("count", 10), a.num("seed", 99));
        for i in 0..count {
            message(&mut v, seed, i, a.num("size", 20_000) as usize);
        }
        f.write_all(&v).unwrap();
        n = count;
    }
    if let Some(l) = held {
        let _ = std::fs::remove_file(l);
    }
    println!(
        "{{\"appended\":{n},\"blocked_on\":{blocked:?},{},\"total_us\":{}}}",
        took.join(","),
        t0.elapsed().as_micros()
    );
}
