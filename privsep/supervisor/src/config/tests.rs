//! What a popward-config that was taken over can make the supervisor keep.

use super::*;
use popward_proto::supervisor_config::PART_MAX;
use popward_proto::supervisor_monitor::CommonSettings;
use popward_proto::{bounded::AbsolutePath, log::Level, supervisor_log::Destination};
use popward_sys::channel::nonblocking_pair;

type ToSupervisor = Channel<ConfigToSupervisor, SupervisorToConfig>;

/// popward-config's channel, and what the supervisor has heard on it.
struct Told {
    config: ToSupervisor,
    supervisor: FromConfig,
    draft: Draft,
    buffer: PacketBuffer,
}

impl Told {
    fn new() -> Self {
        let (own, theirs) = nonblocking_pair().unwrap();
        Self {
            config: Channel::new(theirs, SetupPhase::Starting),
            supervisor: Channel::new(own, SetupPhase::Starting),
            draft: Draft::default(),
            buffer: PacketBuffer::for_messages(),
        }
    }

    fn hear(&mut self, message: &ConfigToSupervisor, files: usize) -> Result<Heard, ChannelError> {
        let file = std::fs::File::open("/dev/null").unwrap();
        let files = vec![file.as_fd(); files];
        self.config.send_with(message, &files).unwrap();
        self.draft.hear(&mut self.supervisor, &mut self.buffer)
    }
}

fn part(size: usize, files: u8) -> ConfigToSupervisor {
    let encoded = Encoded(vec![7; size].try_into().unwrap());
    ConfigToSupervisor::Part { encoded, files }
}

fn settings() -> ConfigToSupervisor {
    let path = |path: &str| AbsolutePath::try_from(path.to_owned()).unwrap();
    ConfigToSupervisor::Settings(Box::new(SupervisorSettings {
        common: CommonSettings {
            libexec: path("/l"),
            grace_s: 1,
            log_level: Level::Info,
        },
        state: path("/s"),
        listen: Vec::new().try_into().unwrap(),
        log: Destination::Stderr,
        connections: 1,
        certificate: false,
    }))
}

#[test]
fn a_configuration_is_whole_only_with_the_supervisors_own_part() {
    let mut told = Told::new();
    told.hear(&part(3, 2), 2).unwrap();
    told.hear(&ConfigToSupervisor::End, 0).unwrap_err();
    let mut told = Told::new();
    told.hear(&part(3, 2), 2).unwrap();
    told.hear(&settings(), 0).unwrap();
    let whole = told.hear(&ConfigToSupervisor::End, 0).unwrap();
    let Some(Ok(config)) = whole else {
        panic!("{whole:?}");
    };
    let kept = config.monitors.iter();
    let kept: Vec<_> = kept
        .map(|(part, files)| (part.0.as_slice(), files.len()))
        .collect();
    assert_eq!(kept, [(&[7; 3][..], 2)]);
    told.hear(&part(1, 0), 0).unwrap_err();
}

#[test]
fn the_supervisor_keeps_so_many_messages_and_bytes_for_monitors_and_no_more() {
    for (size, most) in [(1, PARTS_MAX), (PART_MAX, PARTS_BYTES_MAX / PART_MAX)] {
        let (mut told, part) = (Told::new(), part(size, 0));
        for _ in 0..most {
            told.hear(&part, 0).unwrap();
        }
        told.hear(&part, 0).unwrap_err();
    }
}

#[test]
fn a_message_has_the_descriptors_that_it_announces_and_two_at_most() {
    for (said, sent) in [(0, 1), (1, 0), (2, 3), (3, 3), (255, 3)] {
        let heard = Told::new().hear(&part(1, said), sent);
        assert!(heard.is_err(), "{said} said, {sent} sent");
    }
}
