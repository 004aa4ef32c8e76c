//! `[bulletins]`: messages for everybody.

use super::{Checked, is_roots, problem};
use crate::config::file;
use popward_proto::bounded::AbsolutePath;
use popward_proto::monitor_worker::Bulletins;

pub(super) fn bulletins(file: file::Bulletins, root: bool) -> Checked<Option<Bulletins>> {
    let Some(directory) = file.directory else {
        return Ok(None);
    };
    let offset = directory.span().start;
    let Ok(directory) = AbsolutePath::try_from(directory.into_inner()) else {
        return problem(offset, "bulletins.directory: expected an absolute path");
    };
    let path = directory.as_path();
    if !path.is_dir() {
        return problem(offset, "bulletins.directory: expected a directory");
    }
    // Whoever can write there writes to everybody.
    if root && !path.ancestors().all(is_roots) {
        let expected = "bulletins.directory: expected it to be root's and writable by nobody else, like all directories above it";
        return problem(offset, expected);
    }
    Ok(Some(Bulletins {
        directory,
        keep: file.keep.unwrap_or(1),
        days: file.days,
    }))
}
