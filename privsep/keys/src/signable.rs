//! Which messages may be signed: a TLS 1.3 server's `CertificateVerify` (RFC 8446, section 4.4.3),
//! and a TLS 1.2 `ServerKeyExchange` with a named curve (RFC 8422, section 5.4).
//!
//! A front that is taken over can get signatures of such messages only.

const CONTEXT: &[u8] = b"TLS 1.3, server CertificateVerify\0";

/// Whether `message` has one of the two forms, and `scheme` (a TLS code point) may sign that form.
pub fn is_signable(scheme: u16, message: &[u8]) -> bool {
    is_certificate_verify(message) && !is_pkcs1(scheme) || is_key_exchange(message)
}

/// Whether the scheme is RSASSA-PKCS1-v1_5. TLS 1.3 does not sign handshakes with it.
fn is_pkcs1(scheme: u16) -> bool {
    matches!(scheme, 0x0401 | 0x0501 | 0x0601)
}

/// 64 spaces, the context, and a hash of SHA-256 or SHA-384.
fn is_certificate_verify(message: &[u8]) -> bool {
    let hash = message
        .strip_prefix(&[0x20; 64])
        .and_then(|rest| rest.strip_prefix(CONTEXT));
    hash.is_some_and(|hash| matches!(hash.len(), 32 | 48))
}

/// Both randoms, `named_curve`, the curve, and a point of at most 133 bytes. Nothing may follow.
fn is_key_exchange(message: &[u8]) -> bool {
    let Some((_randoms, parameters)) = message.split_at_checked(64) else {
        return false;
    };
    match parameters {
        [3, _, _, length, point @ ..] => {
            usize::from(*length) == point.len() && (1..=133).contains(length)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
