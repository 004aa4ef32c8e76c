//! Confines auth further once it has its settings, before it hears a front.
//!
//! Auth needs NSS for two things: the account of a line of the password file without ids, and that of
//! a user whom a token or a certificate has named, if programs check passwords. NSS's modules may
//! make any call and open any file. Otherwise auth opens nothing but the files of its settings, and
//! makes only the calls of [`syscalls::AUTH`].

use crate::hashing::HashingThreads;
use crate::{account, passwd_file, syscalls};
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_auth::{AccountSource, AuthSettings, TokenSource};
use popward_sys::landlock::{READ_FILE, Rule};
use popward_sys::{channel, landlock, libc, seccomp};
use std::error::Error;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Starts the threads, and confines this process as far as the settings permit.
///
/// # Errors
///
/// The process must not go on.
pub(crate) fn confine(
    settings: &AuthSettings,
    threads: &mut HashingThreads,
) -> Result<(), Box<dyn Error>> {
    if needs_nss(settings) {
        threads.begin()?;
        return Ok(());
    }
    let directories = files(settings).map(directory_of);
    let directories: Vec<_> = directories.collect::<Result<_, _>>()?;
    let rules: Vec<Rule<'_>> = directories
        .iter()
        .map(|directory| (directory.as_fd(), READ_FILE))
        .collect();
    account::end_nss();
    // Landlock holds for this thread and for those that it starts from now on. The filter holds for
    // all threads. A thread that is still starting makes calls that the filter does not permit.
    landlock::restrict(&rules)?;
    threads.begin()?;
    seccomp::install(&[seccomp::RUNTIME, channel::CALLS, syscalls::AUTH])?;
    Ok(())
}

fn needs_nss(settings: &AuthSettings) -> bool {
    match &settings.source {
        AccountSource::PasswdFile { path } => passwd_file::names_system_users(path.as_path()),
        AccountSource::Checkpassword { .. } => {
            settings.tokens.is_some() || settings.certificates.is_some()
        }
        AccountSource::Pam { .. } => false,
    }
}

/// The files that auth opens at logins.
fn files(settings: &AuthSettings) -> impl Iterator<Item = &Path> {
    let passwords = match &settings.source {
        AccountSource::PasswdFile { path } => Some(path),
        _ => None,
    };
    let keys = match &settings.tokens {
        Some(TokenSource::Keys { file, .. }) => Some(file),
        _ => None,
    };
    let authorities = settings.certificates.as_ref();
    let authorities = authorities.map(|rules| &rules.authorities);
    let all = passwords.into_iter().chain(keys).chain(authorities);
    all.map(AbsolutePath::as_path)
}

/// Opens the directory of a file. Links count as they are now. Another file may take the place of
/// this one in its directory at any time.
fn directory_of(file: &Path) -> std::io::Result<File> {
    let path = std::fs::canonicalize(file)?;
    let mut options = File::options();
    options
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY);
    options.open(path.parent().unwrap_or(Path::new("/")))
}
