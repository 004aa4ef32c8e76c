//! `[proxy]`: the networks of proxies that may tell fronts a client's address, and the statements
//! of proxies that fronts believe.

use super::rules::{Checked, DAY, one_of, problem, time};
use crate::file;
use popward_proto::listen::ProxyHeaders;
use popward_proto::network::Network;
use popward_proto::proxies::{Networks, Proxies};
use std::net::IpAddr;

pub(super) fn proxies(file: &file::Proxy) -> Checked<Proxies> {
    Ok(Proxies {
        networks: networks("networks", &file.networks)?,
        xclient: networks("xclient", &file.xclient)?,
        tls: networks("tls", &file.tls)?,
        plaintext: networks("plaintext", &file.plaintext)?,
        header_ms: time("proxy.header", &file.header, 1..=DAY)?,
        connections: file.connections.get_ref().get(),
    })
}

fn networks(key: &str, list: &file::Networks) -> Checked<Networks> {
    let list = list.get_ref();
    let networks: Vec<_> = list
        .iter()
        .map(|text| match network(text.get_ref()) {
            Some(network) => Ok(network),
            None => problem(
                text.span().start,
                format!("proxy.{key}: expected networks such as 192.0.2.0/24 or 2001:db8::/32, with no bits set behind the prefix"),
            ),
        })
        .collect::<Checked<_>>()?;
    Networks::try_from(networks).or_else(|_| {
        let offset = list.first().map_or(0, |text| text.span().start);
        problem(offset, format!("proxy.{key}: expected at most 32 networks"))
    })
}

/// Parses a network. `None`: the text is no network, or the address has bits set behind the prefix.
/// Such an address is a mistake, and guessing the network could make fronts trust the wrong hosts.
fn network(text: &str) -> Option<Network> {
    let network: Network = text.parse().ok()?;
    let address: IpAddr = text.split('/').next()?.parse().ok()?;
    (network.address() == address.to_canonical()).then_some(network)
}

/// Checks which connections of a listener begin with a PROXY header.
pub(super) fn headers(value: &file::Placed) -> Checked<ProxyHeaders> {
    let all = [
        ("networks", ProxyHeaders::FromProxies),
        ("only", ProxyHeaders::Only),
        ("off", ProxyHeaders::Off),
    ];
    one_of("listen.proxy", value, &all)
}
