//! popbench: load generator and helpers for POP3 benchmarks.  Loopback only.
//! `popbench help` lists the subcommands.  Every result is one JSON object on
//! standard output.
mod client;
mod mbox;
mod scen;

use std::collections::HashMap;

pub struct Args(HashMap<String, String>);

impl Args {
    fn parse(it: impl Iterator<Item = String>) -> Args {
        let mut m = HashMap::new();
        let mut key: Option<String> = None;
        for a in it {
            if let Some(k) = a.strip_prefix("--") {
                if let Some(p) = key.take() {
                    m.insert(p, "1".into());
                }
                key = Some(k.to_string());
            } else if let Some(k) = key.take() {
                m.insert(k, a);
            } else {
                die(&format!("stray argument {a}"));
            }
        }
        if let Some(p) = key {
            m.insert(p, "1".into());
        }
        Args(m)
    }
    pub fn get(&self, k: &str) -> Option<&str> {
        self.0.get(k).map(|s| s.as_str())
    }
    pub fn str(&self, k: &str, d: &str) -> String {
        self.get(k).unwrap_or(d).to_string()
    }
    pub fn req(&self, k: &str) -> String {
        self.get(k)
            .unwrap_or_else(|| die(&format!("--{k} is needed")))
            .to_string()
    }
    /// A number; K, M and G multiply by powers of 1000.
    pub fn num(&self, k: &str, d: u64) -> u64 {
        let Some(s) = self.get(k) else { return d };
        let (n, m) = match s.as_bytes().last() {
            Some(b'K') => (&s[..s.len() - 1], 1_000),
            Some(b'M') => (&s[..s.len() - 1], 1_000_000),
            Some(b'G') => (&s[..s.len() - 1], 1_000_000_000),
            _ => (s, 1),
        };
        n.parse::<u64>()
            .unwrap_or_else(|_| die(&format!("--{k}: not a number: {s}")))
            * m
    }
}

pub fn die(m: &str) -> ! {
    eprintln!("popbench: {m}");
    std::process::exit(2)
}

/// p50, p95, p99, mean, min and max of samples in nanoseconds, as microseconds.
pub fn stats(v: &mut [u64]) -> String {
    if v.is_empty() {
        return "{\"n\":0}".into();
    }
    v.sort_unstable();
    let p = |q: f64| v[(((v.len() - 1) as f64) * q).round() as usize] as f64 / 1e3;
    let mean = v.iter().sum::<u64>() as f64 / v.len() as f64 / 1e3;
    format!(
        "{{\"n\":{},\"p50_us\":{:.1},\"p95_us\":{:.1},\"p99_us\":{:.1},\"mean_us\":{:.1},\"min_us\":{:.1},\"max_us\":{:.1}}}",
        v.len(), p(0.5), p(0.95), p(0.99), mean, p(0.0), p(1.0)
    )
}

const HELP: &str = "popbench SUBCOMMAND --key value ...
 gen     --out F [--bytes 1G | --count 10] --seed 1 --min 10000 --max 50000 --big-every 0 --big-bytes 5M
 verify  --mbox F (--write-manifest M | --manifest M)
 append  --mbox F --count 10 --seed 99 --locks dotlock,fcntl --timeout-ms 2000
 login   --host H:P ... --sessions 2000 --conc 16        connect USER PASS STAT QUIT
 open    --host H:P ... --reps 1 [--list]                login STAT UIDL QUIT
 retr    --host H:P ... [--pipeline K] [--max N]         login STAT RETR 1..n QUIT
 dele    --host H:P ... --which first|even|all|last|none login STAT DELE.. QUIT
 hold    --host H:P ... --n 200 --state login|preauth --probes 20
         prints READY json, waits for a line, probes logins, prints json, ends
server options: --host 127.0.0.1:2110 --tls none|stls|implicit --user 'user%04d'
  --users 1 (how many in rotation) --first 1 --pass benchpw --src-n 1 (127.0.1.1.. as
  client addresses) --timeout 300";

fn main() {
    // Loopback writes to a dead peer must be errors, not signals.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
    let mut it = std::env::args().skip(1);
    let cmd = it.next().unwrap_or_else(|| "help".into());
    if cmd == "help" || cmd == "--help" {
        println!("{HELP}");
        return;
    }
    let a = Args::parse(it);
    match cmd.as_str() {
        "gen" => mbox::gen(&a),
        "verify" => mbox::verify(&a),
        "append" => mbox::append(&a),
        "login" => scen::login(&a),
        "open" => scen::open(&a),
        "retr" => scen::retr(&a),
        "dele" => scen::dele(&a),
        "hold" => scen::hold(&a),
        _ => die(HELP),
    }
}
