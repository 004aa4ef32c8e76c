//! `[bulletins]`: messages for everybody.

use super::{Checked, placed, problem, safe};
use crate::config::file;
use crate::config::owner::Owners;
use crate::config::settings::Bulletins;
use popward_proto::bounded::AbsolutePath;
use std::os::unix::fs::MetadataExt;

pub(super) fn bulletins(file: file::Bulletins, owners: &Owners) -> Checked<Bulletins> {
    let directory = file.directory.map(|value| {
        let (offset, path) = placed(Some(value), String::new);
        directory(offset, path, owners)
    });
    Ok(Bulletins {
        directory: directory.transpose()?,
        keep: file.keep.unwrap_or(1),
        days: file.days,
    })
}

/// Whoever can write there writes to everybody.
pub(super) fn directory(offset: usize, path: String, owners: &Owners) -> Checked<AbsolutePath> {
    let Ok(directory) = AbsolutePath::try_from(path) else {
        return problem(offset, "bulletins.directory: expected an absolute path");
    };
    if !directory.as_path().is_dir() {
        return problem(offset, "bulletins.directory: expected a directory");
    }
    safe("bulletins.directory", offset, directory.as_path(), owners)?;
    // Above it a directory like /tmp is safe: what stands there is its owner's. In it everybody could put something.
    if directory
        .as_path()
        .metadata()
        .is_ok_and(|at| at.mode() & 0o022 != 0)
    {
        return problem(
            offset,
            "bulletins.directory: expected nobody but its owner to be able to write there",
        );
    }
    Ok(directory)
}
