//! Fuzzes the decoder of the index with any bytes and a correct hash. Whoever owns a state
//! directory can write such a file. The decoder refuses it, or returns a possible maildrop.

#![no_main]

use libfuzzer_sys::fuzz_target;
use popward_mbox::index::{Identity, decode, encode};
use popward_mbox::plan::{Plan, left};

fuzz_target!(|data: &[u8]| {
    assert_eq!(decode(data), None, "no hash");
    let mut bytes = b"popward2".to_vec();
    bytes.extend_from_slice(data);
    let hash = blake3::hash(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    let Some((identity, rules, maildrop)) = decode(&bytes) else {
        return;
    };
    assert_eq!(encode(&identity, &rules, &maildrop), bytes);
    let mut deleted = vec![false; maildrop.messages.len()];
    for (index, mark) in deleted.iter_mut().enumerate() {
        *mark = data[index % data.len()] % 2 == 0;
    }
    if let Some(plan) = Plan::new(&maildrop, &deleted) {
        let left = left(&maildrop, &deleted);
        assert_eq!(left.length, plan.final_length);
        let identity = Identity {
            length: left.length,
            ..identity
        };
        assert_eq!(
            decode(&encode(&identity, &rules, &left)),
            Some((identity, rules, left))
        );
    }
});
