//! Measures how fast a spool is scanned, and how fast `pread` alone reads the same file in pieces
//! of the same size. Both read from the page cache.
//!
//!     cargo bench -p popward-mbox

#![allow(clippy::unwrap_used, clippy::pedantic, reason = "a bench may fail")]

use divan::counter::BytesCount;

use popward_mbox::source::Source;
use popward_mbox::testing::scan;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

fn main() {
    divan::main();
}

/// How many bytes are read at once, as in the worker.
const PIECE: usize = 1 << 20;

struct FromFile<'a>(&'a File);

impl Source for FromFile<'_> {
    type Error = std::io::Error;
    fn read_at(&mut self, offset: u64, into: &mut [u8]) -> std::io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], offset + done as u64)? {
                0 => break,
                count => done += count,
            }
        }
        Ok(done)
    }
}

/// A spool of 100 MB: messages of 2 to 60 KB with headers of about 25 lines. Every tenth message
/// has 1 MB of base64.
fn spool() -> &'static (File, u64) {
    static SPOOL: OnceLock<(File, u64)> = OnceLock::new();
    SPOOL.get_or_init(|| {
        let mut file = tempfile::tempfile().unwrap();
        let mut length = 0;
        let mut number = 0u64;
        while length < 100_000_000 {
            number += 1;
            let mut message = format!("From sender{number}@example.org Mon Nov 23 10:00:00 2026\n");
            for line in 0..24 {
                message += &format!("X-Header-{line}: some text of usual length, number {number}\n");
            }
            message += &format!("Message-ID: <{number}@example.org>\n\n");
            let (lines, text) = if number % 10 == 0 {
                (13_000, "VGhpcyBpcyBiYXNlNjQgYXMgaXQgY29tZXMgd2l0aCBhbiBhdHRhY2htZW50IGFuZCBub3RoaW5nIGVs\n")
            } else {
                (30 + number * 7919 % 800, "This is a line of text as people write them, From here to there.\n")
            };
            for _ in 0..lines {
                message += text;
            }
            message.push('\n');
            length += message.len() as u64;
            file.write_all(message.as_bytes()).unwrap();
        }
        (file, length)
    })
}

#[divan::bench]
fn scan_of_a_spool(bencher: divan::Bencher<'_, '_>) {
    let (file, length) = spool();
    let mut buffer = vec![0; PIECE];
    bencher
        .counter(BytesCount::new(*length))
        .bench_local(|| scan(&mut FromFile(file), *length, &mut buffer).unwrap());
}

#[divan::bench]
fn pread_of_the_same_file(bencher: divan::Bencher<'_, '_>) {
    let (file, length) = spool();
    let mut buffer = vec![0; PIECE];
    bencher.counter(BytesCount::new(*length)).bench_local(|| {
        let mut offset = 0;
        while offset < *length {
            let count = FromFile(file).read_at(offset, &mut buffer).unwrap();
            offset += count as u64;
        }
        offset
    });
}
