//! Checks the values of popward.toml and makes the configuration from them. Names of users and
//! groups become ids. Files must exist, and others must not be able to change them.

mod account;
mod auth;
mod front;
mod log;
mod pam;
mod pop3;
mod proxy;
mod rules;
mod server;
mod spool;
mod tls;

use crate::config::Config;
use crate::file;
use crate::host::Host;
use popward_proto::config_monitor::Base;
use popward_proto::config_sessions::SessionsBase;
use popward_proto::settings::{AllSettings, Settings};
use popward_proto::supervisor_config::SupervisorSettings;
use popward_proto::supervisor_monitor::CommonSettings;
use rules::{Checked, seconds, within};

/// Checks the file, and makes the configuration from it.
pub(crate) fn check(file: file::File, host: &Host) -> Checked<Config> {
    let (owners, names) = (&host.owners, &host.names);
    let root = nix::unistd::geteuid().is_root();
    let accounts = root.then(|| server::accounts(&file, names)).transpose()?;
    let listen = server::listening(&file.listen, !file.certificate.is_empty())?;
    let proxies = proxy::proxies(&file.proxy)?;
    let (tls, client_ca) = tls::tls(&file.tls, owners)?;
    let auth_id = accounts.as_ref().map(|accounts| accounts.auth.0);
    let authorities = client_ca.as_ref().map(|(path, _)| path);
    let auth = auth::auth(&file.auth, authorities, host, auth_id)?;
    let open = front::open(&file.limits)?;
    let everybody = Settings {
        spool: spool::spool(&file.spool, &file.adopt, open, host)?,
        sessions_per_user: file.limits.sessions_per_user.get_ref().get(),
        login_delay_s: auth.admission.login_delay_s,
    };
    let state = server::state(&file.server.state, host)?;
    let (tables, members) = account::tables(&file.account, host, open, &state)?;
    let settings = AllSettings { everybody, tables };
    let host_name = server::host_name(&file.server.host)?;
    let grace = &file.server.shutdown_grace;
    let grace = seconds("server.shutdown_grace", grace, 0..=18 * 3600)?;
    let (qpopper, delay) = (*file.log.qpopper.get_ref(), settings.longest_login_delay());
    let pop3 = pop3::pop3(&file.pop3, qpopper, delay)?;
    let front = front::front(&file, host_name.clone(), tls, grace, pop3, proxies)?;
    let (log, log_level) = log::log(&file.log)?;
    let supervisor = SupervisorSettings {
        common: CommonSettings {
            libexec: server::libexec(&file.server.libexec, host)?,
            grace_s: u16::try_from(grace).unwrap_or(u16::MAX),
            log_level,
        },
        state,
        listen,
        log,
        connections: front.limits.connections,
        certificate: !file.certificate.is_empty(),
    };
    let base = Base {
        fronts: within("server.fronts", &file.server.fronts, 1..=64)?,
        accounts,
        front,
    };
    let sessions = SessionsBase {
        host: host_name,
        as_users: root,
        first_uid: auth.admission.first_uid,
        last_uid: auth.admission.last_uid,
        everybody: settings.everybody,
    };
    auth::pam(&file.auth, accounts.and_then(|accounts| accounts.pam))?;
    Ok(Config {
        supervisor: Box::new(supervisor),
        base: Box::new(base),
        auth: Box::new(auth),
        sessions: Box::new(sessions),
        tables: settings.tables,
        members,
        client_ca,
        certificates: tls::certificates(&file.certificate, host)?,
        file: Box::new(file),
    })
}
