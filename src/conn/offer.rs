//! What a connection may use now, by its stream, its peer and the configuration.

use crate::client::Client;
use crate::pop3::{Offer, Security};
use crate::proxy::Peer;
use popward_proto::monitor_front::FrontSettings;

/// What a client may use on this stream. `stls`: the front has a certificate for STLS.
pub(super) fn offer(client: &Client, peer: &Peer, stls: bool, settings: &FrontSettings) -> Offer {
    let tls = client.is_secure() || peer.came_over_tls();
    Offer {
        security: match (tls, stls) {
            (true, _) => Security::Tls,
            (false, true) => Security::Stls,
            (false, false) => Security::Never,
        },
        passwords: tls || peer.may_send_plainly(settings),
        mechanisms: settings.mechanisms.as_slice().iter().copied().collect(),
        certificate: client.certificate().is_some(),
        binding: client.exporter(),
    }
}
