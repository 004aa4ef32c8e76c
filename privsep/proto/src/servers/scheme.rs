//! The names of other servers' UIDLs, as the configuration and command lines have them.

use crate::sessions_worker::Scheme;
use std::fmt;
use std::str::FromStr;

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 7] = [
        Self::XUidl,
        Self::Popa3d,
        Self::SolidPop3d,
        Self::Tpop3d,
        Self::DovecotMd5,
        Self::Dovecot,
        Self::Uw,
    ];

    /// The scheme's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::XUidl => "x-uidl",
            Self::Popa3d => "popa3d",
            Self::SolidPop3d => "solid-pop3d",
            Self::Tpop3d => "tpop3d",
            Self::DovecotMd5 => "dovecot-md5",
            Self::Dovecot => "dovecot",
            Self::Uw => "uw",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// No scheme has this name.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownScheme;

impl fmt::Display for UnknownScheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Scheme::ALL.map(Scheme::as_str).join(", ");
        write!(out, "expected one of {names}")
    }
}

impl std::error::Error for UnknownScheme {}

impl FromStr for Scheme {
    type Err = UnknownScheme;

    fn from_str(name: &str) -> Result<Self, UnknownScheme> {
        let mut all = Self::ALL.into_iter();
        all.find(|scheme| scheme.as_str() == name)
            .ok_or(UnknownScheme)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_has_the_same_name_when_written_and_read() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.to_string().parse(), Ok(scheme));
        }
        assert_eq!("X-UIDL".parse::<Scheme>(), Err(UnknownScheme));
    }
}
