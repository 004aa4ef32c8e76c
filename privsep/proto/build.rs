//! Makes the version of the messages from their definitions, so that a change of a message cannot
//! keep the version. Lines that are comments do not count.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// To be changed with what processes of two versions must agree on besides: which descriptors a
/// process inherits, and the forms of a user's journal, pins and index.
const FORM: u32 = 1;

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=src");
    let mut files = Vec::new();
    collect(Path::new("src"), &mut files)?;
    files.sort();
    // FNV-1a, 32 bits.
    let mut hash: u32 = 0x811c_9dc5 ^ FORM;
    for file in files {
        let failed = |error| io::Error::other(format!("{}: {error}", file.display()));
        let text = fs::read_to_string(&file).map_err(failed)?;
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.starts_with("//")) {
            for byte in line.bytes() {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        }
    }
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let version = format!("0x{:04x}_{:04x}", hash >> 16, hash & 0xffff);
    fs::write(Path::new(&out).join("version"), version)
}

/// Adds the source files in `directory`. An editor can leave others there.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") && !hidden {
            files.push(path);
        }
    }
    Ok(())
}
