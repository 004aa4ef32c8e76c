//! What a connection is offered: TLS, passwords, login mechanisms. It changes after STLS and
//! XCLIENT.

use crate::sasl::NamedMechanism;
use popward_proto::monitor_front::{MECHANISMS_MAX, Mechanism};

/// The security features that a connection may use now. The set changes after STLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Whether TLS is active or possible.
    pub security: Security,
    /// Whether the client may send a password in clear. True over TLS, and without TLS where the
    /// configuration permits plain text.
    pub passwords: bool,
    /// The mechanisms that the configuration permits.
    pub mechanisms: Mechanisms,
    /// Whether the client showed a certificate in the TLS handshake and signed with its key.
    pub certificate: bool,
    /// The channel binding `tls-exporter` of this connection (RFC 9266). `None`: there is no TLS
    /// 1.3.
    pub binding: Option<[u8; 32]>,
}

/// Whether TLS is active or possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS is active, up to this process or up to a proxy that is believed.
    Tls,
    /// TLS is not active. The client may start it with STLS.
    Stls,
    /// TLS is not possible: the front has no certificate.
    Never,
}

/// A set of login mechanisms: one bit for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mechanisms(u16);

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        const { assert!(MECHANISMS_MAX <= 16) };
        Self(
            mechanisms
                .into_iter()
                .fold(0, |set, one| set | 1 << one as u16),
        )
    }
}

impl Mechanisms {
    fn has(self, one: Mechanism) -> bool {
        self.0 & 1 << one as u16 != 0
    }
}

impl Offer {
    /// Whether the client may use this mechanism now.
    pub(super) fn permits(&self, named: NamedMechanism) -> bool {
        use Mechanism as M;
        let possible = match named.mechanism {
            // Whoever reads a token on the wire can log in with it, as with a password (RFC 7628,
            // section 5).
            M::User | M::Plain | M::Login | M::Oauthbearer | M::Xoauth2 => self.passwords,
            M::External => self.certificate,
            M::Apop | M::CramMd5 => true,
            M::ScramSha1 | M::ScramSha256 => !named.plus || self.binding.is_some(),
        };
        possible && self.mechanisms.has(named.mechanism)
    }

    pub(super) fn permits_plainly(&self, mechanism: Mechanism) -> bool {
        let plus = false;
        self.permits(NamedMechanism { mechanism, plus })
    }

    /// The names for AUTH that the client may use now.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let permitted = NamedMechanism::all().filter(|(_, named)| self.permits(*named));
        permitted.map(|(name, _)| name)
    }
}
