//! Reads a whole file that several processes share as one open file description.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;

/// Reads the whole file. `None` if it has more than `most` bytes. It does not move the file's
/// offset, because other processes share that.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_whole(file: &File, most: usize) -> Result<Option<Vec<u8>>, Error> {
    // The buffer never grows: growing would leave copies of a secret in memory.
    let mut bytes = vec![0; most + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok((length <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_read_returns_the_whole_file_up_to_a_bound() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"12345").unwrap();
        for _ in 0..2 {
            assert_eq!(read_whole(&file, 5).unwrap(), Some(b"12345".to_vec()));
        }
        assert_eq!(read_whole(&file, 4).unwrap(), None);
        let endless = File::open("/dev/zero").unwrap();
        assert_eq!(read_whole(&endless, 70_000).unwrap(), None);
        assert!(read_whole(&File::open("/").unwrap(), 10).is_err());
    }
}
