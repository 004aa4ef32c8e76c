//! `[bulletins]`: messages for everybody.

use super::{Checked, is_roots, placed, problem};
use crate::config::file;
use crate::config::settings::Bulletins;
use popward_proto::bounded::AbsolutePath;

pub(super) fn bulletins(file: file::Bulletins, root: bool) -> Checked<Bulletins> {
    let directory = file.directory.map(|value| {
        let (offset, path) = placed(Some(value), String::new);
        directory(offset, path, root)
    });
    Ok(Bulletins {
        directory: directory.transpose()?,
        keep: file.keep.unwrap_or(1),
        days: file.days,
    })
}

/// Whoever can write there writes to everybody.
pub(super) fn directory(offset: usize, path: String, root: bool) -> Checked<AbsolutePath> {
    let Ok(directory) = AbsolutePath::try_from(path) else {
        return problem(offset, "bulletins.directory: expected an absolute path");
    };
    if !directory.as_path().is_dir() {
        return problem(offset, "bulletins.directory: expected a directory");
    }
    if root && !directory.as_path().ancestors().all(is_roots) {
        let expected = "bulletins.directory: expected it to be root's and writable by nobody else, like all directories above it";
        return problem(offset, expected);
    }
    Ok(directory)
}
