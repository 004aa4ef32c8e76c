//! Which messages are signed, and which are not.

use super::*;

fn verify(hash: usize) -> Vec<u8> {
    [&[0x20; 64][..], CONTEXT, &vec![7; hash]].concat()
}

#[test]
fn p1_only_handshakes_are_signed() {
    for hash in [32, 48] {
        assert!(is_signable(0x0403, &verify(hash)));
        assert!(!is_signable(0x0401, &verify(hash)));
    }
    for hash in [0, 31, 33, 64] {
        assert!(!is_signable(0x0403, &verify(hash)));
    }
    let exchange = [&[9; 64][..], &[3, 0, 29, 32], &[1; 32]].concat();
    assert!(is_signable(0x0401, &exchange));
    assert!(!is_signable(0x0401, &exchange[..exchange.len() - 1]));
    assert!(!is_signable(0x0401, &[&exchange[..], &[0]].concat()));
    let client = [
        &[0x20; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &[7; 32],
    ]
    .concat();
    assert!(!is_signable(0x0403, &client));
    assert!(!is_signable(0x0403, b""));
}
