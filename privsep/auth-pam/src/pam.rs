//! libpam: one conversation from start to end.

#![allow(unsafe_code)]

use nix::libc;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// libpam's `pam_handle_t`. Its contents are private to the library.
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    call: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *const Handle, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_strerror(handle: *mut Handle, status: c_int) -> *const c_char;
}

// Linux-PAM's numbers (security/_pam_types.h).
const SUCCESS: c_int = 0;
const OPEN_ERR: c_int = 1;
const SYMBOL_ERR: c_int = 2;
const SERVICE_ERR: c_int = 3;
const SYSTEM_ERR: c_int = 4;
const BUF_ERR: c_int = 5;
const AUTHINFO_UNAVAIL: c_int = 9;
const CONV_ERR: c_int = 19;
const ABORT: c_int = 26;
const SILENT: c_int = 0x8000;
const DISALLOW_NULL_AUTHTOK: c_int = 1;
const PROMPT_ECHO_OFF: c_int = 1;
const PROMPT_ECHO_ON: c_int = 2;
const ITEM_USER: c_int = 2;
const ITEM_TTY: c_int = 3;
const ITEM_RHOST: c_int = 4;
const ITEM_FAIL_DELAY: c_int = 10;
/// `PAM_MAX_NUM_MSG`.
const MESSAGES_MAX: c_int = 32;

/// Why PAM named no user. The texts are for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PamError {
    /// PAM says that these credentials, or this account, may not log in.
    Refused(String),
    /// PAM itself failed, so nothing is known about the credentials.
    Failed(String),
}

/// The answers to the modules' questions.
struct Answers {
    user: CString,
    secret: Zeroizing<Vec<u8>>,
}

/// Answers the modules' questions: a hidden prompt with the password, a visible prompt with the
/// user's name, everything else with nothing.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let Some(length) = usize::try_from(count)
        .ok()
        .filter(|_| (1..=MESSAGES_MAX).contains(&count))
    else {
        return CONV_ERR;
    };
    // SAFETY: libpam calls this with `count` pointers to messages, a place for the responses, and
    // the `data` from `check`, which lives until after `pam_end`. The responses come from malloc,
    // because libpam frees them.
    unsafe {
        let answers = &*data.cast::<Answers>();
        let made = libc::calloc(length, size_of::<Response>()).cast::<Response>();
        if made.is_null() {
            return BUF_ERR;
        }
        for place in 0..length {
            let text = match (**messages.add(place)).style {
                PROMPT_ECHO_OFF => libc::strdup(answers.secret.as_ptr().cast()),
                PROMPT_ECHO_ON => libc::strdup(answers.user.as_ptr()),
                _ => std::ptr::null_mut(),
            };
            made.add(place).write(Response { text, code: 0 });
        }
        *responses = made;
    }
    SUCCESS
}

/// Takes the place of libpam's delay after a failure. Auth delays every failure itself, in the same
/// way for all users.
extern "C" fn no_delay(_status: c_int, _microseconds: c_uint, _data: *mut c_void) {}

/// A started conversation, ended when dropped.
struct Pam {
    handle: *mut Handle,
    status: c_int,
}

impl Pam {
    fn step(&mut self, what: &str, status: c_int) -> Result<(), PamError> {
        self.status = status;
        if status == SUCCESS {
            return Ok(());
        }
        // SAFETY: the handle is live. The text belongs to the library and is static.
        let text = unsafe { CStr::from_ptr(pam_strerror(self.handle, status)) };
        let text = format!("{what}: {}", text.to_string_lossy());
        Err(match status {
            OPEN_ERR | SYMBOL_ERR | SERVICE_ERR | SYSTEM_ERR | BUF_ERR | AUTHINFO_UNAVAIL
            | CONV_ERR | ABORT => PamError::Failed(text),
            _ => PamError::Refused(text),
        })
    }

    fn set(&mut self, item: c_int, value: *const c_void) -> Result<(), PamError> {
        // SAFETY: the handle is live, and `value` has the type that this item needs. libpam copies
        // texts.
        let status = unsafe { pam_set_item(self.handle, item, value) };
        self.step("pam_set_item", status)
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        // SAFETY: the handle came from pam_start, and only this call ends it.
        unsafe { pam_end(self.handle, self.status) };
    }
}

/// Authenticates `user` with `secret` and checks the account. Without a secret it checks only the
/// account: a token or a certificate has identified the user already.
///
/// An expired password is refused, because POP3 cannot ask for a new one. Returns the user's name,
/// which the modules may have changed.
pub(crate) fn check(
    service: &str,
    user: &str,
    secret: Option<&[u8]>,
    peer: IpAddr,
) -> Result<String, PamError> {
    let text = |text: &str| CString::new(text).map_err(|_| PamError::Failed("a NUL".to_owned()));
    let service = text(service)?;
    let peer = text(&peer.to_string())?;
    let mut answers = Answers {
        user: text(user)?,
        // The capacity is exact: a reallocation would leave a copy of the password that nobody
        // wipes.
        secret: Zeroizing::new(Vec::with_capacity(secret.map_or(0, <[u8]>::len) + 1)),
    };
    answers.secret.extend_from_slice(secret.unwrap_or_default());
    answers.secret.push(0);
    let conversation = Conversation {
        call: converse,
        data: (&raw mut answers).cast(),
    };
    let mut handle = std::ptr::null_mut();
    // SAFETY: the texts end in NUL. `conversation` and `answers` outlive `pam`, because `pam` is
    // declared after them.
    let status = unsafe {
        pam_start(
            service.as_ptr(),
            answers.user.as_ptr(),
            &raw const conversation,
            &raw mut handle,
        )
    };
    if status != SUCCESS || handle.is_null() {
        return Err(PamError::Failed(format!("pam_start: error {status}")));
    }
    let mut pam = Pam { handle, status };
    pam.set(ITEM_RHOST, peer.as_ptr().cast())?;
    pam.set(ITEM_TTY, c"popward".as_ptr().cast())?;
    let no_delay: extern "C" fn(c_int, c_uint, *mut c_void) = no_delay;
    pam.set(ITEM_FAIL_DELAY, no_delay as *const c_void)?;
    if secret.is_some() {
        // SAFETY: the handle is live.
        let status = unsafe { pam_authenticate(pam.handle, SILENT | DISALLOW_NULL_AUTHTOK) };
        pam.step("authentication", status)?;
    }
    // SAFETY: the handle is live.
    let status = unsafe { pam_acct_mgmt(pam.handle, SILENT | DISALLOW_NULL_AUTHTOK) };
    pam.step("account", status)?;
    let mut name: *const c_void = std::ptr::null();
    // SAFETY: the handle is live, and the item is a text that lives as long as the handle.
    let status = unsafe { pam_get_item(pam.handle, ITEM_USER, &raw mut name) };
    pam.step("user", status)?;
    if name.is_null() {
        return Err(PamError::Failed("PAM names no user".to_owned()));
    }
    // SAFETY: the pointer is not null, the text ends in NUL, and it is copied before the handle
    // ends.
    Ok(unsafe { CStr::from_ptr(name.cast()) }
        .to_string_lossy()
        .into_owned())
}
