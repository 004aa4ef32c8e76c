//! Reads a dump of Qpopper's APOP database by `gdbm_dump` or `db_dump`.
//!
//! A key is the user's name and NUL. A value is the password with the bits of each byte inverted,
//! NUL, and a secret for Qpopper's SCRAM-MD5, which is ignored here.

use crate::stored::plain;
use base64ct::{Base64, Encoding};
use popward_proto::bounded::UserName;
use zeroize::Zeroizing;

/// Returns a password file's line for each user with an APOP password, and the names of the other
/// users. `Err` says what was expected.
pub(super) fn lines(dump: &[u8]) -> Result<(Zeroizing<String>, Vec<String>), String> {
    let text = std::str::from_utf8(dump).map_err(|_| NEITHER)?;
    let records = if text.starts_with("VERSION=") {
        of_db_dump(text)
    } else if text.contains("\n#:len=") || text.starts_with("#:len=") {
        of_gdbm_dump(text)
    } else {
        None
    };
    let (mut lines, mut left_out) = (Zeroizing::new(String::new()), Vec::new());
    for pair in records.ok_or(NEITHER)?.chunks(2) {
        let [key, value] = pair else {
            return Err("a key without a value".to_owned());
        };
        match line(key, value) {
            Some(line) => lines.push_str(&line),
            None => left_out.push(
                String::from_utf8_lossy(key)
                    .trim_end_matches('\0')
                    .to_owned(),
            ),
        }
    }
    Ok((lines, left_out))
}

const NEITHER: &str = "expected what gdbm_dump or db_dump writes";

fn line(key: &[u8], value: &[u8]) -> Option<Zeroizing<String>> {
    let before_nul = |bytes: &[u8]| bytes.split(|byte| *byte == 0).next().map(<[u8]>::to_vec);
    let user = String::from_utf8(before_nul(key)?).ok()?;
    let user = UserName::try_from(user)
        .ok()
        .filter(|user| !user.as_str().contains(':'))?;
    let password: Vec<u8> = before_nul(value)?.iter().map(|byte| !byte).collect();
    let password = Zeroizing::new(password);
    if password.is_empty() {
        return None;
    }
    let stored = plain(&password).ok()?;
    Some(Zeroizing::new(format!("{user}:{}::\n", *stored)))
}

/// The records of `gdbm_dump`: a line `#:len=N`, then base64 on any number of lines.
fn of_gdbm_dump(text: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let mut records: Vec<(usize, Zeroizing<String>)> = Vec::new();
    for line in text.lines() {
        if let Some(length) = line.strip_prefix("#:len=") {
            records.push((length.trim().parse().ok()?, Zeroizing::new(String::new())));
        } else if let (false, Some((_, record))) = (line.starts_with('#'), records.last_mut()) {
            record.push_str(line.trim());
        }
    }
    let decode = |(length, text): &(usize, Zeroizing<String>)| {
        let bytes = Base64::decode_vec(text).ok()?;
        (bytes.len() == *length).then(|| Zeroizing::new(bytes))
    };
    records.iter().map(decode).collect()
}

/// The records of `db_dump`: one on each line after `HEADER=END`. They are hexadecimal. With
/// `format=print` only the bytes that are not printable are.
fn of_db_dump(text: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let (header, data) = text.split_once("\nHEADER=END\n")?;
    let (data, _) = data.split_once("DATA=END")?;
    let printed = header.lines().any(|line| line == "format=print");
    let decode = |line: &str| {
        let line = line.strip_prefix(' ')?;
        let bytes = if printed {
            unescape(line)?
        } else {
            crate::stored::hex(line)?
        };
        Some(Zeroizing::new(bytes))
    };
    data.lines().map(decode).collect()
}

/// Replaces `\\` by a backslash, and `\xx` by the byte with these two hexadecimal digits.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        if let Some(after) = after.strip_prefix('\\') {
            out.push(b'\\');
            rest = after;
        } else {
            let (digits, after) = after.split_at_checked(2)?;
            out.extend_from_slice(&crate::stored::hex(digits)?);
            rest = after;
        }
    }
    out.extend_from_slice(rest.as_bytes());
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records in Qpopper's form.
    fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
        let record = |user: &str, password: &str| {
            let turned: Vec<u8> = password.bytes().map(|byte| !byte).collect();
            (
                [user.as_bytes(), b"\0"].concat(),
                [&turned[..], b"\0c2NyYW0=\0"].concat(),
            )
        };
        vec![
            record("alice", "tanstaaf"),
            record("bob", ""),
            record("carol", "a:b\\c"),
            record("../x", "y"),
        ]
    }

    fn expected() -> String {
        let odd = Base64::encode_string(b"a:b\\c");
        format!("alice:{{PLAIN}}tanstaaf::\ncarol:{{PLAIN.B64}}{odd}::\n")
    }

    #[test]
    fn both_kinds_of_dump_become_lines_of_a_password_file() {
        let gdbm: String = records()
            .iter()
            .flat_map(|(key, value)| [key, value])
            .map(|bytes| format!("#:len={}\n{}\n", bytes.len(), Base64::encode_string(bytes)))
            .collect::<Vec<_>>()
            .concat();
        let gdbm = format!(
            "# GDBM dump file created by GDBM version 1.23\n#:version=1.1\n# End of header\n{gdbm}#:count=4\n# End of data\n"
        );
        let hex = |bytes: &[u8]| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .concat()
        };
        let printed = |bytes: &[u8]| {
            let one = |byte: &u8| match byte {
                b'\\' => "\\\\".to_owned(),
                32..127 => char::from(*byte).to_string(),
                _ => format!("\\{byte:02x}"),
            };
            bytes.iter().map(one).collect::<String>()
        };
        let dump = |format: &str, write: &dyn Fn(&[u8]) -> String| {
            let data: String = records()
                .iter()
                .flat_map(|(key, value)| [key, value])
                .map(|bytes| format!(" {}\n", write(bytes)))
                .collect::<Vec<_>>()
                .concat();
            format!("VERSION=3\nformat={format}\ntype=hash\nHEADER=END\n{data}DATA=END\n")
        };
        for text in [gdbm, dump("bytevalue", &hex), dump("print", &printed)] {
            let (lines, left_out) = lines(text.as_bytes()).unwrap();
            assert_eq!(*lines, expected(), "{text}");
            assert_eq!(left_out, ["bob", "../x"]);
        }
    }

    #[test]
    fn a_text_that_is_no_dump_is_refused_as_a_whole() {
        for text in [
            "",
            "alice:secret\n",
            "#:len=3\nAAAA\n#:len=4\nAAAA\n",
            "#:len=3\nAAAA\n",
            "VERSION=3\nHEADER=END\n 61\n",
        ] {
            assert!(lines(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
