//! libpam: one conversation from start to end, in a process of its own (`conversation_child`).

#![allow(unsafe_code)]

use nix::libc;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::net::IpAddr;
use zeroize::Zeroizing;

/// `pam_handle_t`, which is the library's own.
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

/// Why there is no user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PamError {
    /// PAM says that these credentials, or this account, may not log in.
    Refused(String),
    /// PAM could not find out.
    Failed(String),
}

/// What the conversation answers with.
struct Answers {
    user: CString,
    secret: Zeroizing<Vec<u8>>,
}

/// Answers the modules' questions: a hidden one with the password, an open one with the name, the rest with nothing.
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
    // SAFETY: libpam calls this with `count` pointers to messages, a place for the responses, and the `data` of
    // `check`, which lives until after `pam_end`. The responses are malloc'd because libpam frees them.
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

/// Instead of libpam's wait after a failure: auth delays its answer itself, and the same for everybody.
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
        // SAFETY: the handle is live; the text is the library's and static.
        let text = unsafe { CStr::from_ptr(pam_strerror(self.handle, status)) };
        let text = format!("{what}: {}", text.to_string_lossy());
        Err(match status {
            OPEN_ERR | SYMBOL_ERR | SERVICE_ERR | SYSTEM_ERR | BUF_ERR | AUTHINFO_UNAVAIL
            | CONV_ERR | ABORT => PamError::Failed(text),
            _ => PamError::Refused(text),
        })
    }

    fn set(&mut self, item: c_int, value: *const c_void) -> Result<(), PamError> {
        // SAFETY: the handle is live, and `value` is what libpam expects of this item; texts are copied by it.
        let status = unsafe { pam_set_item(self.handle, item, value) };
        self.step("pam_set_item", status)
    }
}

impl Drop for Pam {
    fn drop(&mut self) {
        // SAFETY: the handle came from pam_start and is ended here only.
        unsafe { pam_end(self.handle, self.status) };
    }
}

/// Authenticates `user`, unless there is no secret because it has shown by other means who it is, and checks the account
/// (an expired password is refused: POP3 cannot ask for a new one).
/// Returns the user's name as the modules leave it.
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
        // No reallocation may leave an unwiped copy behind.
        secret: Zeroizing::new(Vec::with_capacity(secret.map_or(0, <[u8]>::len) + 1)),
    };
    answers.secret.extend_from_slice(secret.unwrap_or_default());
    answers.secret.push(0);
    let conversation = Conversation {
        call: converse,
        data: (&raw mut answers).cast(),
    };
    let mut handle = std::ptr::null_mut();
    // SAFETY: the texts end in NUL; `conversation` and `answers` outlive `pam`, which is declared after them.
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
    // SAFETY: the handle is live, and the item is a text that lives as long as it does.
    let status = unsafe { pam_get_item(pam.handle, ITEM_USER, &raw mut name) };
    pam.step("user", status)?;
    if name.is_null() {
        return Err(PamError::Failed("PAM names no user".to_owned()));
    }
    // SAFETY: not null, ends in NUL, and is copied before the handle ends.
    Ok(unsafe { CStr::from_ptr(name.cast()) }
        .to_string_lossy()
        .into_owned())
}
