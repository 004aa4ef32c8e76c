//! What the kernel says about the host, read from its tables in `/proc`.

use nix::sys::statvfs::statvfs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// The version of Landlock, 0 if there is none.
#[must_use]
pub fn landlock() -> i64 {
    crate::landlock::version().max(0)
}

/// The addresses at which this host listens.
#[must_use]
pub fn listening() -> Vec<SocketAddr> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(read);
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(listener).collect()
}

/// Parses a line of `/proc/net/tcp` or `tcp6`, if its socket listens. Each 32 bits of an address
/// are in the byte order of the host.
fn listener(line: &str) -> Option<SocketAddr> {
    const LISTEN: &str = "0A";
    let mut words = line.split_ascii_whitespace().skip(1);
    let (ip, port) = words.next()?.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok();
    let ip = if ip.len() == 8 {
        IpAddr::from(word(0)?.to_ne_bytes())
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    (words.nth(1)? == LISTEN).then_some(SocketAddr::new(ip, port))
}

/// The kind of the file system that has `path`, such as `ext4`.
#[must_use]
pub fn file_system(path: &Path) -> String {
    // With a slash at its end, the C library would ask for the caller's rights.
    let path: PathBuf = path.components().collect();
    let path = path.canonicalize().unwrap_or(path);
    let mounts = read("/proc/self/mountinfo");
    let above = mounts.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mount = Path::new(mount.split(' ').nth(4)?);
        let kind = kind.split(' ').next()?;
        path.starts_with(mount)
            .then(|| (mount.components().count(), kind))
    });
    let nearest = above.max_by_key(|(length, _)| *length);
    nearest
        .map_or("an unknown file system", |(_, kind)| kind)
        .to_owned()
}

/// The free room of the file system that has `path`, for users other than root.
#[must_use]
pub fn room(path: &Path) -> String {
    match statvfs(path) {
        Ok(room) => {
            let mib = (room.blocks_available() * room.fragment_size()) >> 20;
            format!("{mib} MiB in {} files", room.files_available())
        }
        Err(errno) => format!("an unknown amount: {errno}"),
    }
}

/// The command lines of all processes with this name. Each word ends with a zero byte.
#[must_use]
pub fn command_lines(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_id = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    let processes = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_id));
    let paths = processes.map(|entry| entry.path());
    let named = paths.filter(|path| read(path.join("comm")).trim_end() == name);
    named.map(|path| read(path.join("cmdline"))).collect()
}

/// The text of a file of the kernel's. Empty if it cannot be read.
#[must_use]
pub fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests;
