//! crypt(3) of the system's libxcrypt: SHA512-CRYPT, BLF-CRYPT, yescrypt and whatever else the host's accounts use.
//! The one place beside `popward-sys` with unsafe code.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char};
use zeroize::{Zeroize, Zeroizing};

/// libxcrypt's `struct crypt_data`: 32 KiB that are only the library's. Zeroed before use, wiped after.
#[repr(C, align(16))]
struct CryptData([u8; 32768]);

#[link(name = "crypt")]
unsafe extern "C" {
    fn crypt_r(
        phrase: *const c_char,
        setting: *const c_char,
        data: *mut CryptData,
    ) -> *const c_char;
}

/// Whether `secret` has the hash `hash`. False for a hash of no known form.
pub(crate) fn verify(secret: &[u8], hash: &str) -> bool {
    let mut phrase = Zeroizing::new(secret.to_vec());
    phrase.push(0);
    let Ok(phrase) = CStr::from_bytes_with_nul(&phrase) else {
        return false;
    };
    let Ok(setting) = CString::new(hash) else {
        return false;
    };
    let mut data = Box::new(CryptData([0; 32768]));
    // SAFETY: both strings end in NUL and live through the call; `data` is as large as the library's structure
    // (32,768 bytes since libxcrypt 4.0, and never to change with its ABI), zeroed, and used by nobody else.
    let result = unsafe { crypt_r(phrase.as_ptr(), setting.as_ptr(), &raw mut *data) };
    // SAFETY: the result is null or a string that ends in NUL inside of `data`, which still lives.
    let same = !result.is_null()
        && equal(
            unsafe { CStr::from_ptr(result) }.to_bytes(),
            hash.as_bytes(),
        );
    data.0.zeroize();
    same
}

/// Compares in a time that does not depend on where two texts differ.
pub(crate) fn equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (l, r)| sum | (l ^ r)) == 0
}
