//! What a proxy may say before its client is heard, and XCLIENT: no header is longer than its bound, what is complete stays
//! what it is whatever follows it, what is refused stays refused, and less than a whole header is never more than that.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_front::proxy::{header, xclient};

fuzz_target!(|data: &[u8]| {
    let _ = xclient::parse(data);
    let whole = header::parse(data);
    let mut decided = false;
    // Near its ends and its decisions a cut tells more than in the middle of a certificate.
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
