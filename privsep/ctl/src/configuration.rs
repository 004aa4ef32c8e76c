//! The configuration in force, as popward-config hands it over. popwardctl reads no TOML.

use crate::executable;
use crate::output::{FAILED, complain};
use popward_parent::process::{how, readable};
use popward_proto::VERSION;
use popward_proto::bounded::Text;
use popward_proto::codec;
use popward_proto::config_monitor::ConfigToMonitor;
use popward_proto::config_sessions::{ConfigToSessions, SessionsBase};
use popward_proto::monitor_auth::AuthSettings;
use popward_proto::settings::AllSettings;
use popward_proto::setup_phase::SetupPhase;
use popward_proto::supervisor_config::{
    ConfigToSupervisor, SupervisorSettings, SupervisorToConfig,
};
use popward_sys::channel::{Channel, ChannelError, PacketBuffer, socket_pair};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The reader of popward.toml.
const EXECUTABLE: &str = "popward-config";

/// How long it may take. The names of users and groups may come from another host.
const PATIENCE: Duration = Duration::from_secs(30);

/// What popwardctl needs of a configuration that passed all checks.
#[derive(Debug)]
pub(crate) struct Configuration {
    /// What the supervisor uses.
    pub(crate) server: SupervisorSettings,
    /// The settings for sessions.
    pub(crate) sessions: SessionsBase,
    /// The settings for auth.
    pub(crate) auth: AuthSettings,
    /// Where spools are, for everybody and for some accounts.
    pub(crate) settings: AllSettings,
}

/// Why there is no configuration.
#[derive(Debug)]
pub(crate) enum NotRead {
    /// It has a mistake.
    Refused(String),
    /// popward-config did not finish.
    Failed(String),
}

/// Exit status: the configuration has a mistake.
const BAD_CONFIGURATION: u8 = 78;

impl NotRead {
    /// Tells the operator. Returns the exit status.
    pub(crate) fn complain(&self) -> ExitCode {
        match self {
            Self::Refused(why) => complain(why, BAD_CONFIGURATION),
            Self::Failed(why) => complain(why, FAILED),
        }
    }
}

/// Has popward-config read and check the file `path`.
///
/// # Errors
///
/// The text is for the operator.
pub(crate) fn read(path: &Path) -> Result<Configuration, NotRead> {
    let failed = |error: &dyn std::fmt::Display| NotRead::Failed(format!("{EXECUTABLE}: {error}"));
    let named = path
        .to_str()
        .and_then(|path| Text::try_from(path.to_owned()).ok());
    let named = named.ok_or_else(|| failed(&"expected a path of at most 4096 bytes, in UTF-8"))?;
    let executable = executable::beside(EXECUTABLE).map_err(|error| failed(&error))?;
    let identity = executable::as_root();
    let (own, theirs) = socket_pair().map_err(|errno| failed(&errno))?;
    let (words, identity) = ([EXECUTABLE], identity.as_ref());
    let started = executable::start(&executable, &words, identity, &[theirs.as_fd()]);
    let child = started.map_err(|errno| failed(&errno))?;
    drop(theirs);
    let mut channel: FromConfig = Channel::new(own, SetupPhase::Starting);
    let asked = SupervisorToConfig::Read {
        version: VERSION,
        path: named,
        excerpts: true,
    };
    let heard = channel.send(&asked).and_then(|()| hear(&mut channel));
    // If it has sent all, it is about to end. If it has not, nobody waits for it any more.
    let status = child.end(!matches!(heard, Err(ChannelError::Closed)));
    match heard {
        Ok(result) => result.map_err(NotRead::Refused),
        Err(ChannelError::Closed) => {
            let status = status.map_err(|errno| failed(&errno))?;
            Err(failed(&format_args!("ended with {}", how(status))))
        }
        Err(ChannelError::WouldBlock) => Err(failed(&format_args!(
            "took longer than {} s",
            PATIENCE.as_secs()
        ))),
        Err(error) => Err(failed(&error)),
    }
}

type FromConfig = Channel<SupervisorToConfig, ConfigToSupervisor>;

/// Takes all messages. `Ok(Err)`: the configuration is refused.
fn hear(channel: &mut FromConfig) -> Result<Result<Configuration, String>, ChannelError> {
    let until = Instant::now() + PATIENCE;
    let mut buffer = PacketBuffer::for_messages();
    let (mut server, mut auth) = (None, None);
    let (mut sessions, mut tables) = (None, Vec::new());
    loop {
        if !readable(&[channel.as_fd()], until) {
            return Err(ChannelError::WouldBlock);
        }
        // The descriptors of certificates and keys are closed at once.
        let (message, _) = channel.receive(&mut buffer)?;
        let part = match message {
            ConfigToSupervisor::Settings(told) => {
                server = Some(*told);
                continue;
            }
            ConfigToSupervisor::Part { encoded, .. } => encoded,
            ConfigToSupervisor::SessionsPart(encoded) => {
                let decoded = codec::decode(encoded.0.as_slice());
                match decoded? {
                    ConfigToSessions::Base(told) => sessions = Some(*told),
                    ConfigToSessions::Table(table) => tables.push(*table),
                    ConfigToSessions::Member(_) | ConfigToSessions::End => {}
                }
                continue;
            }
            ConfigToSupervisor::Refused(why) => return Ok(Err(why.as_str().to_owned())),
            ConfigToSupervisor::Warning(_) => continue,
            ConfigToSupervisor::End => break,
        };
        match codec::decode(part.0.as_slice())? {
            ConfigToMonitor::Auth(told) => auth = Some(*told),
            ConfigToMonitor::Base(_)
            | ConfigToMonitor::LoginDelay(..)
            | ConfigToMonitor::ClientAuthorities(_)
            | ConfigToMonitor::Certificate { .. }
            | ConfigToMonitor::End => {}
        }
    }
    let (Some(server), Some(auth)) = (server, auth) else {
        return Err(ChannelError::Closed);
    };
    let sessions: SessionsBase = sessions.ok_or(ChannelError::Closed)?;
    Ok(Ok(Configuration {
        settings: AllSettings {
            everybody: sessions.everybody.clone(),
            tables,
        },
        server,
        sessions,
        auth,
    }))
}
