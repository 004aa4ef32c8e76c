//! The command line: `popward-spool FILE [--uidl SCHEME[,SCHEME...]] [--json]`.

use popward_proto::scheme::UnknownScheme;
use popward_proto::sessions_worker::Scheme;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

const USAGE: &str = "usage: popward spool FILE [--uidl SCHEME[,SCHEME...]] [--json]\n\
    \nShows the messages that popward reads in FILE, one a line: number (- if it is hidden), offset,\
    \noctets, UIDL, key. It takes no locks and changes nothing.\n\
    \n  --uidl   UIDLs by the first of these that has one, or else popward's own (native): native,\
    \n           x-uidl, popa3d, solid-pop3d, tpop3d, dovecot-md5, dovecot, uw\
    \n  --json   {\"messages\":[...]}, or {\"error\":\"...\"}\
    \n  --version\n";

/// What to show, and how.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arguments {
    /// The spool.
    pub(crate) file: PathBuf,
    /// What names the messages, in this order.
    pub(crate) uidl: Vec<Namer>,
    /// Whether to print JSON instead of text.
    pub(crate) json: bool,
}

/// What the caller wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Show a spool.
    Show(Arguments),
    /// Print a text.
    Print(&'static str),
}

/// What names a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Namer {
    /// popward's native UIDL.
    Native,
    /// The scheme of another server.
    Other(Scheme),
}

impl FromStr for Namer {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        match name {
            "native" => Ok(Self::Native),
            name => name.parse().map(Self::Other),
        }
    }
}

impl Arguments {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Wish, String> {
        let (mut file, mut uidl, mut json) = (None, vec![Namer::Native], false);
        let mut options = true;
        while let Some(word) = words.next() {
            match word.to_str() {
                Some("--") if options => options = false,
                Some("--json") if options => json = true,
                Some("--uidl") if options => {
                    let list = words.next().ok_or("--uidl: expected schemes")?;
                    let list = list.to_string_lossy();
                    let namers = list.split(',').map(str::parse);
                    uidl = namers
                        .collect::<Result<_, UnknownScheme>>()
                        .map_err(|error| {
                            format!("--uidl {list}: native, or {error}; with commas between")
                        })?;
                }
                Some("--help" | "-h") if options => return Ok(Wish::Print(USAGE)),
                Some("--version") if options => {
                    let version = concat!("popward-spool ", env!("CARGO_PKG_VERSION"), "\n");
                    return Ok(Wish::Print(version));
                }
                Some(other) if options && other.starts_with('-') => {
                    return Err(format!("{other:?}: no such option\n{USAGE}"));
                }
                _ if file.is_some() => return Err(format!("{word:?}: expected one file")),
                _ => file = Some(word.into()),
            }
        }
        let file = file.ok_or_else(|| format!("expected a file\n{USAGE}"))?;
        Ok(Wish::Show(Self { file, uidl, json }))
    }
}
