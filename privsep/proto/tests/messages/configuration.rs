//! What popward-config tells the supervisor and the monitors, and what it asks about names.

use super::*;
use popward_proto::config_monitor::{ConfigToMonitor, ReadingPhase};
use popward_proto::config_names::{ConfigToNames, NAME_MAX, NamesToConfig};
use popward_proto::config_sessions::{ConfigToSessions, MEMBER_LIMIT, Member};
use popward_proto::listen::{LISTENERS_MAX, Listen};
use popward_proto::supervisor_config::{
    ConfigToSupervisor, Encoded, PART_MAX, PassedOn, SupervisorSettings, SupervisorToConfig,
    encoded,
};
use popward_proto::supervisor_log::Destination;

fn long(length: usize) -> String {
    "x".repeat(length)
}

fn longest_path() -> AbsolutePath {
    path(&format!("/{}", long(AbsolutePath::MAX - 1)))
}

#[test]
fn the_messages_of_a_configuration_fit_at_their_largest() {
    there_and_back(&SupervisorToConfig::Read {
        excerpts: true,
        version: u32::MAX,
        path: Text::truncated(&long(4096)),
    });
    let text = || Text::truncated(&long(8192));
    let member = Member {
        user: user(&long(UserName::MAX)),
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut packet = [0; MESSAGE_LIMIT];
    let member = ConfigToSessions::Member(member);
    let length = encode(&member, &mut packet).unwrap() - 1;
    assert!(length <= MEMBER_LIMIT, "{length} bytes");
    let listen = Listen {
        address: (Ipv6Addr::from_bits(u128::MAX), u16::MAX).into(),
        tls: true,
        headers: ProxyHeaders::Only,
    };
    let settings = SupervisorSettings {
        common: supervisor::common(),
        state: longest_path(),
        listen: list(vec![listen; LISTENERS_MAX]),
        log: Destination::Syslog,
        connections: u32::MAX,
        certificate: true,
    };
    for message in [
        ConfigToSupervisor::Warning(text()),
        ConfigToSupervisor::Refused(text()),
        ConfigToSupervisor::Settings(Box::new(settings)),
        part(vec![255; PART_MAX], u8::MAX),
        ConfigToSupervisor::SessionsPart(Encoded(list(vec![255; PART_MAX]))),
        ConfigToSupervisor::End,
    ] {
        there_and_back(&message);
    }
    there_and_back(&member);
    for message in [
        ConfigToMonitor::ClientAuthorities(longest_path()),
        ConfigToMonitor::Certificate {
            chain: longest_path(),
            key: longest_path(),
        },
        ConfigToMonitor::End,
    ] {
        there_and_back(&message);
    }
}

fn part(encoded: Vec<u8>, files: u8) -> ConfigToSupervisor {
    let encoded = Encoded(list(encoded));
    ConfigToSupervisor::Part { encoded, files }
}

#[test]
fn a_part_reaches_the_monitor_as_the_message_that_it_is() {
    let message = ConfigToMonitor::ClientAuthorities(longest_path());
    let mut packet = [0; MESSAGE_LIMIT];
    let length = encode(&message, &mut packet).unwrap();
    let mut passed_on = [0; MESSAGE_LIMIT];
    let again = encode(&PassedOn(&encoded(&message).unwrap()), &mut passed_on).unwrap();
    assert_eq!(passed_on[..again], packet[..length]);
}

#[test]
fn a_part_has_at_most_two_descriptors_and_says_how_many() {
    let admit = |files, count, phase| {
        let mut gate: Gate<ConfigToSupervisor> = Gate::new(phase);
        gate.admit(&part(vec![0], files), count, false)
    };
    let wrong = Err(Refused {
        kind: "Part",
        why: DESCRIPTORS,
    });
    for count in 0..=2 {
        assert_eq!(admit(count, count.into(), SetupPhase::Starting), Ok(()));
        assert_eq!(admit(count, 3, SetupPhase::Starting), wrong);
        let late = admit(count, count.into(), SetupPhase::Serving);
        assert_eq!(
            late,
            Err(Refused {
                kind: "Part",
                why: OUT_OF_PHASE,
            }),
            "after the end"
        );
    }
    assert_eq!(admit(1, 2, SetupPhase::Starting), wrong);
    assert_eq!(admit(3, 3, SetupPhase::Starting), wrong);
}

#[test]
fn questions_about_names_fit_at_their_largest() {
    let name = || Text::truncated(&long(NAME_MAX));
    there_and_back(&ConfigToNames::User(name()));
    there_and_back(&ConfigToNames::Group(name()));
    there_and_back(&ConfigToNames::Members(u32::MAX));
    there_and_back(&NamesToConfig::User(Some((u32::MAX, u32::MAX))));
    there_and_back(&NamesToConfig::Group(Some(u32::MAX)));
    there_and_back(&NamesToConfig::Member(Some(user(&long(UserName::MAX)))));
    there_and_back(&NamesToConfig::Failed(name()));
}

#[test]
fn the_base_of_a_configuration_comes_first() {
    let certificate = || ConfigToMonitor::Certificate {
        chain: path("/c"),
        key: path("/k"),
    };
    for message in [certificate(), ConfigToMonitor::End] {
        let files = message.permit().descriptors;
        for (phase, may) in [(ReadingPhase::Base, false), (ReadingPhase::Rest, true)] {
            let admitted = Gate::new(phase).admit(&message, files, false);
            assert_eq!(admitted.is_ok(), may, "{message:?} {phase:?}");
        }
    }
    let mut gate = Gate::new(ReadingPhase::Rest);
    let one = gate.admit(&certificate(), 1, false);
    assert_eq!(
        one,
        Err(Refused {
            kind: "Certificate",
            why: DESCRIPTORS,
        })
    );
    assert!(gate.admit(&ConfigToMonitor::End, 0, false).is_ok());
    assert!(gate.admit(&ConfigToMonitor::End, 0, false).is_err());
}
