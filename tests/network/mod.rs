//! Hosts beside this one: network namespaces, each with a link to this one, that go away with the test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::pedantic,
    clippy::missing_panics_doc,
    reason = "each test uses a part; a test may fail"
)]

use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

/// What `ip` is told, and whether it did it.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// A host with one link to this one.
pub struct Neighbour {
    name: String,
    link: String,
    /// Its address.
    pub address: String,
    /// This host's address on the link.
    pub ours: String,
    dead: bool,
}

/// Neighbours of this process so far: each has a network of its own.
static COUNT: AtomicU8 = AtomicU8::new(0);

impl Neighbour {
    /// Makes one; `None` where this host does not permit it.
    pub fn new() -> Option<Self> {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let pid = std::process::id();
        // 198.18.0.0/15 is for benchmarks: nobody lives there.
        let network = format!(
            "198.{}.{}",
            18 + pid % 2,
            (pid / 2 + u32::from(number) * 7) % 256
        );
        let name = format!("popward-{pid}-{number}");
        let link = format!("pw{pid}n{number}");
        let (ours, address) = (format!("{network}.1"), format!("{network}.2"));
        let neighbour = Self {
            name,
            link,
            address,
            ours,
            dead: false,
        };
        neighbour.make().then_some(neighbour)
    }

    fn make(&self) -> bool {
        let Self { name, link, .. } = self;
        ip(&format!("netns add {name}"))
            && ip(&format!(
                "link add {link} type veth peer name eth0 netns {name}"
            ))
            && ip(&format!("address add {}/24 dev {link}", self.ours))
            && ip(&format!("link set {link} up"))
            && ip(&format!(
                "-n {name} address add {}/24 dev eth0",
                self.address
            ))
            && ip(&format!("-n {name} link set eth0 up"))
            && ip(&format!("-n {name} link set lo up"))
    }

    /// A command that runs there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    /// From now on nothing that this host sends arrives there.
    pub fn vanish(&mut self) {
        self.dead = ip(&format!("route add blackhole {}/32", self.address));
        assert!(self.dead, "ip route");
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        if self.dead {
            ip(&format!("route del blackhole {}/32", self.address));
        }
        ip(&format!("link del {}", self.link));
        ip(&format!("netns del {}", self.name));
    }
}
