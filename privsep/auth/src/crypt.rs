//! crypt(3) of the system's libxcrypt: SHA512-CRYPT, BLF-CRYPT, yescrypt and whatever else the host's accounts use.
//! The one place beside `popward-sys` with unsafe code.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The size of libxcrypt's `struct crypt_data`, in bytes: since its version 4.0, and never to change with its ABI.
const CRYPT_DATA: usize = 32768;

#[link(name = "crypt")]
unsafe extern "C" {
    fn crypt_r(phrase: *const c_char, setting: *const c_char, data: *mut c_void) -> *const c_char;
}

/// Whether `secret` has the hash `hash`. `None` for a hash that the library cannot make, which it says at once.
pub(crate) fn verify(secret: &[u8], hash: &str) -> Option<bool> {
    let mut phrase = Zeroizing::new(secret.to_vec());
    phrase.push(0);
    let Ok(phrase) = CStr::from_bytes_with_nul(&phrase) else {
        return Some(false);
    };
    let setting = CString::new(hash).ok()?;
    // Of u128s, so that it is aligned as anything in C. The library's alone; zeroed before, wiped after.
    let mut data = Zeroizing::new(vec![0u128; CRYPT_DATA / size_of::<u128>()]);
    // SAFETY: both strings end in NUL and live through the call; `data` is as large as the library's structure,
    // zeroed, aligned, and used by nobody else.
    let result = unsafe {
        crypt_r(
            phrase.as_ptr(),
            setting.as_ptr(),
            data.as_mut_ptr().cast::<c_void>(),
        )
    };
    if result.is_null() {
        return None;
    }
    // SAFETY: the result is a string that ends in NUL inside of `data`, which still lives.
    let made = unsafe { CStr::from_ptr(result) }.to_bytes();
    // By `*0` or `*1` the library says that it failed.
    (!made.starts_with(b"*")).then(|| equal(made, hash.as_bytes()))
}

/// Whether `hash` looks like one that a password can have: one with a prefix, or of DES (13 characters, or an underscore and
/// 19 in its extended form). Accounts are locked by a mark before it or in its place.
pub(crate) fn has_form(hash: &str) -> bool {
    let is_des = |hash: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
        hash.bytes().all(known)
    };
    match hash.as_bytes() {
        [b'$', ..] => true,
        [b'_', rest @ ..] => rest.len() == 19 && is_des(&hash[1..]),
        des => des.len() == 13 && is_des(hash),
    }
}

/// Compares in a time that does not depend on where two texts differ.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
