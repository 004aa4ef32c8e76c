//! `[proxy]`: the networks of proxies that may tell fronts a client's address, and the statements
//! of proxies that fronts believe.

use super::{Checked, problem, time};
use crate::file;
use crate::values::Time;
use popward_proto::network::Network;
use popward_proto::proxies::{Networks, Proxies, ProxyHeaders};
use std::net::IpAddr;

pub(super) fn proxies(file: &file::Proxy) -> Checked<Proxies> {
    Ok(Proxies {
        networks: networks("networks", &file.networks)?,
        xclient: networks("xclient", &file.xclient)?,
        tls: networks("tls", &file.tls)?,
        plaintext: networks("plaintext", &file.plaintext)?,
        header_ms: time(
            "proxy.header",
            file.header.as_ref(),
            Time::s(5),
            Time::s(1)..=Time::days(1),
        )?,
        connections: file.connections.unwrap_or(512).max(1),
    })
}

fn networks(key: &str, list: &file::Networks) -> Checked<Networks> {
    let list = list.as_deref().unwrap_or_default();
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

/// Checks which connections of a listener begin with a PROXY header. The default is those from
/// `proxy.networks`.
pub(super) fn headers(value: Option<&file::Placed>) -> Checked<ProxyHeaders> {
    match value.map_or("networks", |value| value.get_ref().as_str()) {
        "off" => Ok(ProxyHeaders::Off),
        "networks" => Ok(ProxyHeaders::FromProxies),
        "only" => Ok(ProxyHeaders::Only),
        _ => problem(
            value.map_or(0, |value| value.span().start),
            r#"listen.proxy: expected "networks", "only" or "off""#,
        ),
    }
}
