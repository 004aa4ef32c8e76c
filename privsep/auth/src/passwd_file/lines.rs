//! The lines of the password file, read through one buffer of a fixed size. The buffer is wiped in
//! the end, because it holds the users' hashes.

use std::fs::File;
use std::io::{BufRead, ErrorKind, Read, Result, Seek};
use zeroize::Zeroizing;

/// Longest line, in bytes, with its line end.
pub(super) const LINE_MAX: usize = 64 * 1024;

/// A file of lines, and the place in it.
#[derive(Debug)]
pub(super) struct Lines {
    file: File,
    buffer: Zeroizing<Vec<u8>>,
    /// The part of the buffer that has not been returned: from `start` to `end`.
    start: usize,
    end: usize,
    /// The number of the line that was returned last.
    number: u64,
    /// Whether only the first part of that line was read, because the line is too long.
    cut: bool,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'b> {
    /// Its number. The first line is 1.
    pub(super) number: u64,
    /// Its text, without white space at its end.
    pub(super) text: &'b [u8],
    /// Whether it is longer than [`LINE_MAX`]. Then `text` is its first part.
    pub(super) too_long: bool,
}

impl Lines {
    /// The lines of `file`, from its current place on.
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            buffer: Zeroizing::new(vec![0; LINE_MAX]),
            start: 0,
            end: 0,
            number: 0,
            cut: false,
        }
    }

    /// Goes back to the file's first line.
    pub(super) fn rewind(&mut self) -> Result<()> {
        self.file.rewind()?;
        (self.start, self.end) = (0, 0);
        (self.number, self.cut) = (0, false);
        Ok(())
    }

    /// The next line. `None` at the file's end.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>> {
        loop {
            let length = self.read_line()?;
            if length == 0 {
                return Ok(None);
            }
            let line = self.start..self.start + length;
            self.start = line.end;
            let goes_on = length == LINE_MAX && self.buffer[line.end - 1] != b'\n';
            let is_rest = std::mem::replace(&mut self.cut, goes_on);
            if !is_rest {
                self.number += 1;
                return Ok(Some(Line {
                    number: self.number,
                    text: self.buffer[line].trim_ascii_end(),
                    too_long: goes_on,
                }));
            }
        }
    }

    /// Reads up to a line end, the file's end, or [`LINE_MAX`]. Returns the length of what is then
    /// in the buffer from `start` on. 0: the file has ended.
    fn read_line(&mut self) -> Result<usize> {
        let mut length = 0;
        loop {
            let mut unread = &self.buffer[self.start + length..self.end];
            length += unread.skip_until(b'\n')?;
            let read = &self.buffer[self.start..][..length];
            if read.ends_with(b"\n") || length == LINE_MAX || !self.fill()? {
                return Ok(length);
            }
        }
    }

    /// Reads more of the file into the buffer. Returns false at the file's end.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.file.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(count > 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{SeekFrom, Write};

    fn lines(content: &[u8]) -> Lines {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        Lines::new(file)
    }

    /// The number of each line, its text, and whether it is too long.
    fn all(lines: &mut Lines) -> Vec<(u64, String, bool)> {
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            let text = String::from_utf8(line.text.to_vec()).unwrap();
            all.push((line.number, text, line.too_long));
        }
        all
    }

    #[test]
    fn a_line_ends_at_a_line_end_or_at_the_file_s_end() {
        for content in ["one\n\nthree\r\nfour\n", "one\n\nthree \nfour"] {
            let mut lines = lines(content.as_bytes());
            let texts = ["one", "", "three", "four"];
            let expected: Vec<_> = (1..)
                .zip(texts)
                .map(|(number, text)| (number, text.to_owned(), false))
                .collect();
            assert_eq!(all(&mut lines), expected);
            assert_eq!(lines.next().unwrap(), None);
            lines.rewind().unwrap();
            assert_eq!(all(&mut lines), expected, "from the start again");
        }
        assert_eq!(all(&mut lines(b"")), []);
    }

    #[test]
    fn p8_a_line_that_is_too_long_does_not_grow_the_buffer_or_hide_the_next_line() {
        for length in [
            1,
            LINE_MAX - 1,
            LINE_MAX,
            LINE_MAX + 1,
            3 * LINE_MAX,
            4 * LINE_MAX - 1,
        ] {
            let text = "x".repeat(length);
            let mut lines = lines(format!("a\n{text}\nb\n").as_bytes());
            let found = all(&mut lines);
            assert_eq!(found.len(), 3, "{length}");
            assert_eq!(found[2], (3, "b".to_owned(), false), "{length}");
            let kept = length.min(LINE_MAX);
            assert_eq!(found[1], (2, "x".repeat(kept), length >= LINE_MAX));
            assert_eq!(lines.buffer.len(), LINE_MAX);
        }
    }
}
