//! Argon2, which crypt(3) does not have.

use crate::crypt::equal;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use zeroize::Zeroizing;

/// Longest salt, in bytes.
const SALT_MAX: usize = 64;

/// Whether `secret` has the hash `hash`. `None` if this is no hash of Argon2.
///
/// The working memory is wiped. Its first blocks are enough to try passwords without Argon2's cost,
/// and the library's own function leaves them in freed memory.
pub(super) fn verify(secret: &[u8], hash: &str) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm).ok()?;
    let version = match hash.version {
        Some(number) => Version::try_from(number).ok()?,
        None => Version::default(),
    };
    let (salt, stored) = (hash.salt?, hash.hash?);
    let mut room = [0; SALT_MAX];
    let salt = salt.decode_b64(&mut room).ok()?;
    let params = Params::try_from(&hash).ok()?;
    let mut memory = Zeroizing::new(vec![Block::default(); params.block_count()]);
    let mut own = Zeroizing::new(vec![0; stored.len()]);
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(secret, salt, &mut own, memory.as_mut_slice())
        .ok()?;
    Some(equal(&own, stored.as_bytes()))
}
