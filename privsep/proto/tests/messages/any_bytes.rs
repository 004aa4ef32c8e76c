//! Any bytes: what is not an encoding is refused, or is the encoding of what it decodes to. Values
//! out of bounds do not decode.

use super::*;
use proptest::prelude::*;

#[test]
fn values_out_of_bounds_do_not_decode() {
    for name in [
        "",
        ".hidden",
        "-option",
        "a/b",
        "a b",
        "a\nb",
        "a\0",
        &"x".repeat(129),
    ] {
        assert!(UserName::try_from(name.to_owned()).is_err(), "{name:?}");
        let encoded = postcard::to_allocvec(name).unwrap();
        assert!(
            postcard::from_bytes::<UserName>(&encoded).is_err(),
            "{name:?}"
        );
    }
    for bad in [
        "",
        "relative",
        "/a/../b",
        "/a\0",
        &format!("/{}", "x".repeat(1024)),
    ] {
        let encoded = postcard::to_allocvec(bad).unwrap();
        assert!(
            postcard::from_bytes::<AbsolutePath>(&encoded).is_err(),
            "{bad:?}"
        );
    }
    let encoded = postcard::to_allocvec(&vec![1u8; 513]).unwrap();
    assert!(postcard::from_bytes::<Secret>(&encoded).is_err());
    assert!(
        postcard::from_bytes::<MessageNumber>(&[0]).is_err(),
        "there is no message 0"
    );
}

#[test]
fn p9_a_secret_is_not_shown() {
    assert_eq!(
        format!(
            "{:?}",
            Secret::<512>::try_from(b"hunter2".to_vec()).unwrap()
        ),
        "Secret(..)"
    );
    assert_eq!(format!("{:?}", ticket_key()), "TicketKey(..)");
}

/// Decoding either fails, or gives a value that encodes to something that decodes to the same.
fn total<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = decode::<M>(bytes) {
        there_and_back_once(&message);
    }
}

fn there_and_back_once<M: Message + PartialEq + Debug>(message: &M) {
    let mut packet = vec![0; MESSAGE_LIMIT];
    let length = encode(message, &mut packet).unwrap();
    assert_eq!(&decode::<M>(&packet[1..length]).unwrap(), message);
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused_in_every_direction(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        total::<FrontToAuth>(&bytes);
        total::<AuthToFront>(&bytes);
        total::<AuthToConversation>(&bytes);
        total::<ConversationToAuth>(&bytes);
        total::<popward_proto::auth_handover::AuthToSuccessor>(&bytes);
        total::<FrontToKeys>(&bytes);
        total::<KeysToFront>(&bytes);
        total::<FrontToMonitor>(&bytes);
        total::<MonitorToFront>(&bytes);
        total::<FrontToWorker>(&bytes);
        total::<WorkerToFront>(&bytes);
        total::<AuthToMonitor>(&bytes);
        total::<MonitorToAuth>(&bytes);
        total::<KeysToMonitor>(&bytes);
        total::<MonitorToKeys>(&bytes);
        total::<AuthToSessions>(&bytes);
        total::<SessionsToAuth>(&bytes);
        total::<SessionsToFront>(&bytes);
        total::<MonitorToSessions>(&bytes);
        total::<SessionsToMonitor>(&bytes);
        total::<WorkerToSessions>(&bytes);
        total::<SessionsToWorker>(&bytes);
        total::<Record>(&bytes);
    }

    #[test]
    fn any_request_and_answer_comes_back(number in 1u32.., lines: u32, octets: u64, kind in 0u8..4) {
        let number = MessageNumber(NonZeroU32::new(number).unwrap());
        there_and_back(&match kind {
            0 => FrontToWorker::OfOne(number, OfOne::Whole),
            1 => FrontToWorker::OfOne(number, OfOne::Top(lines)),
            2 => FrontToWorker::OfOne(number, OfOne::Size),
            _ => FrontToWorker::OfOne(number, OfOne::UniqueId),
        });
        there_and_back(&WorkerToFront::Size(number, octets));
        there_and_back(&WorkerToFront::Unique(number, Text::truncated(&"i".repeat(70))));
        there_and_back(&WorkerToFront::Opened(Totals { messages: lines, octets }));
    }
}
