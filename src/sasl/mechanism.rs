//! The mechanisms, with the names that clients use for them.

use popward_proto::monitor_front::Mechanism;

/// A mechanism with the name that clients use. SCRAM's names say whether the channel is bound (RFC
/// 5802, section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedMechanism {
    /// The mechanism.
    pub(crate) mechanism: Mechanism,
    /// Whether its name ends with `-PLUS`.
    pub(crate) plus: bool,
}

/// All names, the strongest first. Some clients take the first name that they know.
const NAMES: [(&str, Mechanism, bool); 10] = [
    ("SCRAM-SHA-256-PLUS", Mechanism::ScramSha256, true),
    ("SCRAM-SHA-256", Mechanism::ScramSha256, false),
    ("SCRAM-SHA-1-PLUS", Mechanism::ScramSha1, true),
    ("SCRAM-SHA-1", Mechanism::ScramSha1, false),
    ("EXTERNAL", Mechanism::External, false),
    ("OAUTHBEARER", Mechanism::Oauthbearer, false),
    ("XOAUTH2", Mechanism::Xoauth2, false),
    ("PLAIN", Mechanism::Plain, false),
    ("LOGIN", Mechanism::Login, false),
    ("CRAM-MD5", Mechanism::CramMd5, false),
];

impl NamedMechanism {
    /// Finds the mechanism with this name, in upper or lower case.
    pub(crate) fn find(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(known, ..)| known.as_bytes().eq_ignore_ascii_case(name))
            .map(|(_, mechanism, plus)| Self {
                mechanism: *mechanism,
                plus: *plus,
            })
    }

    /// The mechanism's name, for CAPA and the log.
    pub(crate) fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(_, mechanism, plus)| (*mechanism, *plus) == (self.mechanism, self.plus))
            .map_or("?", |(name, ..)| name)
    }

    /// All names with their mechanisms, the strongest first.
    pub(crate) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        NAMES.iter().map(|(name, mechanism, plus)| {
            let (mechanism, plus) = (*mechanism, *plus);
            (*name, Self { mechanism, plus })
        })
    }
}
