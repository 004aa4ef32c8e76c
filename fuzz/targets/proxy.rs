//! Fuzzes the parsers of the PROXY header and of XCLIENT. It checks:
//!
//! - No header is longer than its bound.
//! - A complete header stays the same, whatever follows it.
//! - A refused header stays refused.
//! - A part of a header is never taken for a whole one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_front::proxy::{header, xclient};

fuzz_target!(|data: &[u8]| {
    let _ = xclient::parse(data);
    let whole = header::parse(data);
    let mut decided = false;
    // The first 300 bytes are cut everywhere, because the parser decides there. The rest, such as a
    // certificate, is cut at some places only.
    let cuts = (0..data.len().min(300)).chain((300..data.len()).step_by(97));
    for cut in cuts {
        match header::parse(&data[..cut]) {
            Ok(None) => {
                assert!(!decided, "forgot");
                assert!(cut < header::MAX, "waits for ever");
            }
            other => {
                decided = true;
                assert_eq!(other, whole, "{cut}");
            }
        }
    }
    if let Ok(Some(found)) = whole {
        assert!(found.length <= data.len().min(header::MAX));
        assert_eq!(header::parse(&data[..found.length]), whole);
        assert_eq!(header::parse(&data[..found.length - 1]), Ok(None));
        let more = [data, b"more"].concat();
        assert_eq!(header::parse(&more), whole);
    }
});
