//! crypt(3) of the system's libxcrypt: SHA512-CRYPT, BLF-CRYPT, yescrypt and the other hashes that
//! the host's accounts use.
//!
//! This file and popward-auth-pam are the only unsafe code outside `popward-sys`.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The size of libxcrypt's `struct crypt_data`, in bytes. It is part of the ABI since version 4.0.
const CRYPT_DATA: usize = 32768;

#[link(name = "crypt")]
unsafe extern "C" {
    fn crypt_r(phrase: *const c_char, setting: *const c_char, data: *mut c_void) -> *const c_char;
}

/// Whether `secret` has the hash `hash`. `None` if the library does not know this kind of hash. It
/// says so at once, without computing anything.
pub(crate) fn verify(secret: &[u8], hash: &str) -> Option<bool> {
    let mut phrase = Zeroizing::new(secret.to_vec());
    phrase.push(0);
    let Ok(phrase) = CStr::from_bytes_with_nul(&phrase) else {
        return Some(false);
    };
    let setting = Zeroizing::new(CString::new(hash).ok()?);
    // Made of u128s, so that it has the alignment of any C type. Zeroed before the call, because
    // the library expects that. Wiped after it, because it holds parts of the password.
    let mut data = Zeroizing::new(vec![0u128; CRYPT_DATA / size_of::<u128>()]);
    // SAFETY: both strings end in NUL and live through the call. `data` is as large as the
    // library's structure, zeroed and aligned, and nobody else uses it.
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
    // SAFETY: the result points to a string inside `data`, which still lives. It ends in NUL.
    let made = unsafe { CStr::from_ptr(result) }.to_bytes();
    // `*0` and `*1` mean that the library failed.
    (!made.starts_with(b"*")).then(|| equal(made, hash.as_bytes()))
}

/// Whether `hash` can be the hash of a password: one with a `$` prefix, or a DES hash (13
/// characters, or an underscore and 19 characters in the extended form).
///
/// The hash of a locked account does not have this form, because tools lock an account with a mark
/// such as `!` before the hash or in its place.
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

/// Compares two texts. The time does not depend on where they differ.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}
