//! What popward-config tells the monitor, and what it asks about names.

use super::*;
use popward_proto::config_names::{ConfigToNames, NAME_MAX, NamesToConfig};
use popward_proto::monitor_config::{ConfigToMonitor, Member, ReadingPhase, SupervisorToConfig};

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
    for message in [
        ConfigToMonitor::Warning(text()),
        ConfigToMonitor::Refused(text()),
        ConfigToMonitor::Member(member),
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
fn the_base_of_a_configuration_comes_first_and_its_end_last() {
    let certificate = || ConfigToMonitor::Certificate {
        chain: path("/c"),
        key: path("/k"),
    };
    for message in [certificate(), ConfigToMonitor::End] {
        let files = message.permit().descriptors;
        for (phase, may) in [
            (ReadingPhase::Base, false),
            (ReadingPhase::Rest, true),
            (ReadingPhase::Whole, false),
        ] {
            let admitted = Gate::new(phase).admit(&message, files, false);
            assert_eq!(admitted.is_ok(), may, "{message:?} {phase:?}");
        }
    }
    let mut gate = Gate::new(ReadingPhase::Rest);
    let one = gate.admit(&certificate(), 1, false);
    assert_eq!(one, Err(Refused::Descriptors("Certificate")));
    assert!(gate.admit(&ConfigToMonitor::End, 0, false).is_ok());
    assert!(gate.admit(&ConfigToMonitor::End, 0, false).is_err());
}
