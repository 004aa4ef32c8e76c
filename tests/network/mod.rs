//! A network of machines: network namespaces on one bridge. They go away with the test.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::pedantic,
    clippy::missing_panics_doc,
    reason = "each test uses a part; a test may fail"
)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Runs `ip` with these arguments. Returns whether it succeeded.
fn ip(arguments: &str) -> bool {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    output.is_ok_and(|output| output.status.success())
}

/// The network: a namespace with the bridge.
pub struct Network {
    name: String,
}

/// A machine on the network.
pub struct Machine {
    name: String,
    /// Its address.
    pub address: String,
}

/// How many networks this process has made.
static COUNT: AtomicU32 = AtomicU32::new(0);

impl Network {
    /// Makes a network. Prints that the test is skipped, and returns `None`, where this host
    /// permits none.
    pub fn new() -> Option<Self> {
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let name = format!("popward-{}-{number}", std::process::id());
        let network = Self { name };
        let name = &network.name;
        let made = ip(&format!("netns add {name}"))
            && ip(&format!("-n {name} link add bridge type bridge"))
            && ip(&format!("-n {name} link set bridge up"))
            // Some hosts have namespaces, but not the devices that join them.
            && network.add(254).is_some();
        if !made {
            super::host::skipped("no network namespaces here");
        }
        made.then_some(network)
    }

    /// Adds the machine 198.18.0.`number`. That network is reserved for benchmarks, so nobody has
    /// it.
    pub fn machine(&self, number: u8) -> Machine {
        self.add(number).unwrap()
    }

    fn add(&self, number: u8) -> Option<Machine> {
        let (hub, name) = (&self.name, format!("{}-{number}", self.name));
        let address = format!("198.18.0.{number}");
        let machine = ip(&format!("netns add {name}")).then_some(Machine { name, address })?;
        let (name, address) = (&machine.name, &machine.address);
        let made = ip(&format!(
            "-n {hub} link add port{number} type veth peer name eth0 netns {name}"
        )) && ip(&format!("-n {hub} link set port{number} master bridge up"))
            && ip(&format!("-n {name} address add {address}/24 dev eth0"))
            && ip(&format!("-n {name} link set eth0 up"))
            && ip(&format!("-n {name} link set lo up"));
        made.then_some(machine)
    }
}

impl Machine {
    /// A command that runs on this machine.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// From now on nothing that this machine sends to `other` arrives.
    pub fn loses(&self, other: &Machine) {
        let route = format!("-n {} route add blackhole {}/32", self.name, other.address);
        assert!(ip(&route), "{route}");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}
