//! Fuzzes the scan of a spool with any bytes. It checks:
//!
//! - The scan reads a spool as the slow reader of `privsep/mbox/tests/reader` does, with any
//!   buffer.
//! - If a spool is cut at the end of a message, the messages before the cut stay the same.
//! - A message's size is the size of what would be sent.
//! - An update's plan stays within the spool and moves bytes only towards the start.
//! - The UIDLs of other servers are the same with any buffer.

#![no_main]

#[path = "../../privsep/mbox/tests/reader/mod.rs"]
mod reader;

use libfuzzer_sys::fuzz_target;
use popward_mbox::assignment::assign;
use popward_mbox::convert::Converter;
use popward_mbox::from_line::is_from_line;
use popward_mbox::index::{Identity, decode, encode};
use popward_mbox::message::Maildrop;
use popward_mbox::pins::Pins;
use popward_mbox::plan::Plan;
use popward_mbox::scan::{BUFFER_MIN, begins_there};
use popward_mbox::testing::{InMemory, scan};
use popward_mbox::uidl::name;
use popward_mbox::window::Window;
use popward_proto::sessions_worker::Scheme;
use popward_schemes::names;

/// Converts a scanned maildrop to the form of the slow reader.
fn simple(maildrop: &Maildrop) -> (Vec<reader::Simple>, usize) {
    let messages = maildrop.messages.iter().map(|message| reader::Simple {
        from_line: message.from_line as usize,
        header: message.header as usize,
        end: message.end as usize,
        octets: message.octets as usize,
    });
    (messages.collect(), maildrop.tail as usize)
}

fuzz_target!(|data: &[u8]| {
    // A From_ line is added, because few inputs begin with one.
    let mut spool = b"From a@b Mon Nov 23 10:00:00 2026\n".to_vec();
    spool.extend_from_slice(data);
    let length = spool.len() as u64;
    // The input without the added line may be refused.
    let bare = scan(
        &mut InMemory(data),
        data.len() as u64,
        &mut vec![0; BUFFER_MIN],
    );
    assert_eq!(
        bare.as_ref().ok().map(simple),
        reader::read(data, is_from_line)
    );
    let mut maildrop =
        scan(&mut InMemory(&spool), length, &mut vec![0; 1 << 20]).expect("it begins with one");
    let small = scan(&mut InMemory(&spool), length, &mut vec![0; BUFFER_MIN]);
    assert_eq!(small.as_ref(), Ok(&maildrop));
    assert_eq!(Some(simple(&maildrop)), reader::read(&spool, is_from_line));
    // Only the last four messages are tried, because each costs another scan.
    for known in (1..=maildrop.messages.len()).rev().take(4) {
        let end = maildrop.segment_end(known - 1);
        let before = scan(
            &mut InMemory(&spool[..end as usize]),
            end,
            &mut vec![0; BUFFER_MIN],
        );
        assert_eq!(
            before.expect("it begins with one").messages[..],
            maildrop.messages[..known]
        );
    }
    let mut end = 0;
    for message in &maildrop.messages {
        assert!(end <= message.from_line && message.from_line < message.header);
        assert!(
            message.header <= message.body && message.body <= message.end && message.end <= length
        );
        end = message.end;
        let bytes = &spool[message.header as usize..message.end as usize];
        let (mut wire, mut converter) = (Vec::new(), Converter::whole());
        assert!(converter.convert(bytes, &mut wire, usize::MAX).is_empty());
        converter.finish(&mut wire);
        let stuffed = usize::from(wire.starts_with(b"."))
            + wire.windows(2).filter(|pair| pair == b"\n.").count();
        assert_eq!(message.octets, (wire.len() - stuffed) as u64);
        assert!(wire.is_empty() || wire.ends_with(b"\r\n"));
    }
    for scheme in Scheme::ALL {
        let named = |room: usize| {
            let mut buffer = vec![0; room];
            names(&mut InMemory(&spool), &maildrop, &[scheme], &mut buffer, 0)
        };
        let large = named(1 << 20);
        assert_eq!(named(BUFFER_MIN), large);
        for name in large.iter().flatten().flatten() {
            assert!((1..=70).contains(&name.len()));
            assert!(name.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
        }
    }
    let none = vec![false; maildrop.messages.len()];
    assign(&mut maildrop, &none, &mut Pins::default());
    let mut seen = std::collections::HashSet::new();
    for (index, message) in maildrop.messages.iter().enumerate() {
        if maildrop.is_hidden(index) {
            continue;
        }
        let uidl = name(message);
        assert!(
            (1..=70).contains(&uidl.len())
                && uidl.bytes().all(|byte| (0x21..=0x7e).contains(&byte))
        );
        assert!(seen.insert(uidl));
        let mut buffer = [0; BUFFER_MIN];
        assert_eq!(
            begins_there(
                &mut Window::new(&mut InMemory(&spool), length, &mut buffer),
                message
            ),
            Ok(true)
        );
    }
    let identity = Identity {
        inode: 1,
        length,
        mtime: 2,
        ctime: 3,
    };
    if maildrop.tail == 0 {
        assert_eq!(
            decode(&encode(&identity, &[7; 16], &maildrop)),
            Some((identity, [7; 16], maildrop.clone()))
        );
    }
    let deleted: Vec<bool> = (0..maildrop.messages.len())
        .map(|index| index % 2 == data.len() % 2)
        .collect();
    if let Some(plan) = Plan::new(&maildrop, &deleted) {
        let mut to = plan.first_change;
        for range in &plan.kept {
            assert!(to <= range.start && range.start < range.end && range.end <= length);
            to += range.end - range.start;
        }
        assert_eq!(to, plan.final_length);
    }
});
