//! Random lives of a spool, compared with a simple model (promises P3 to P6).
//!
//! A life is a sequence of deliveries, sessions with and without deletions, sessions that die
//! during an update or end while the spool is read, mail readers that edit and delete, and indexes
//! that are lost or damaged. After
//! each step the spool must be byte for byte what the model says, and each message must have the
//! UIDL that it had first.
//!
//! `POPWARD_MODEL_STEPS` sets how many steps there are. A life that fails prints its seed.
//! `POPWARD_MODEL_SEED` runs the life of a seed again.

use crate::index::{Found, How, Seen, keep, open};
use crate::tests::{Desk, Names};
use popward_mbox::message::Maildrop;
use popward_mbox::plan::{Plan, left};
use popward_mbox::uidl::name;
use popward_update::commit::Commit;
use popward_update::state::INDEX;
use popward_update::testing::{commit, recover, stage_pins, stop_an_update};
use std::collections::BTreeMap;

/// The steps of all lives together, if `POPWARD_MODEL_STEPS` is not set. `.ci/run` sets 100,000.
const STEPS: u32 = 10_000;
/// The steps of one life.
const LIFE: u32 = 500;

/// A small random number generator (splitmix64). A seed gives the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap()
    }
}

/// The spool as a list of messages, and the UIDLs that they must have.
struct Model {
    desk: Desk,
    random: Random,
    /// Each message with its number. The number is also in its body.
    messages: Vec<(u32, Vec<u8>)>,
    next: u32,
    /// The UIDL that each message had first, by its number.
    names: BTreeMap<u32, Box<str>>,
    ways: BTreeMap<&'static str, u32>,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut model = Self {
            desk: Desk::in_memory(b""),
            random: Random(seed),
            messages: Vec::new(),
            next: 0,
            names: BTreeMap::new(),
            ways: BTreeMap::new(),
        };
        // Enough messages for an index to be written.
        for _ in 0..170 {
            model.deliver();
        }
        model
    }

    fn bytes(&self) -> Vec<u8> {
        let bytes = self.messages.iter().flat_map(|(_, bytes)| bytes.clone());
        bytes.collect()
    }

    /// A message as a delivery agent appends it. About every fifth one differs from others only in
    /// its body.
    fn message(&mut self) -> Vec<u8> {
        self.next += 1;
        let number = self.next;
        let subject = if self.random.below(5) == 0 {
            format!("equal {}", self.random.below(3))
        } else {
            number.to_string()
        };
        let length = [0, 10, 100, 1000, 5000][self.random.below(5)];
        // Some delivery agents put no empty line after a message.
        let end = ["\n\n", "\n\n", "\n", "\n\n\n"][self.random.below(4)];
        let text = "x".repeat(self.random.below(length + 1));
        format!(
            "From a@b Mon Nov 23 10:00:00 2026\nSubject: {subject}\n\nnumber {number}\n{text}{end}"
        )
        .into_bytes()
    }

    fn deliver(&mut self) {
        let message = self.message();
        self.desk.append(&message);
        self.messages.push((self.next, message));
    }

    fn lock_is_free(&self) {
        let _ = std::fs::remove_file(self.desk.spool().with_extension("lock"));
    }

    /// A session that deletes some messages. If `dies`, it dies during the update.
    fn session(&mut self, dies: bool) {
        let state = self.desk.state();
        let mut spool = self.desk.lock_with(true);
        let finished = recover(&mut spool, &state).unwrap();
        assert!(!finished, "a journal was left");
        let mut naming = self.desk.naming();
        let found = open(&mut spool, Some(&state), &mut naming, &|| false);
        let Found { maildrop, how, .. } = found.unwrap();
        let way = match how {
            How::Unchanged => "unchanged",
            How::Grown => "grown",
            How::Scanned => "scanned",
        };
        *self.ways.entry(way).or_default() += 1;
        self.check(&maildrop);
        if how != How::Unchanged {
            keep(
                &state,
                Seen::soon(&mut spool).unwrap(),
                &naming.rules,
                &maildrop,
            )
            .unwrap();
        }
        let mut deleted = vec![false; maildrop.messages.len()];
        for _ in 0..[0, 0, 1, 1, 2, 10, 40][self.random.below(7)] {
            let place = self.random.below(deleted.len());
            if let Some(deleted) = deleted.get_mut(place) {
                *deleted = true;
            }
        }
        let Some(plan) = Plan::new(&maildrop, &deleted) else {
            return self.lock_is_free();
        };
        let pins = naming.pins_left(&maildrop, &deleted);
        if dies {
            let steps = self.random.below(12);
            let share = [0, 100, 200, 255][self.random.below(4)];
            // As a commit does before its first step.
            stage_pins(&state, pins.as_ref());
            stop_an_update(&mut spool, &state, &plan, steps, share);
            *self.ways.entry("died").or_default() += 1;
            drop(spool);
            self.lock_is_free();
            self.keep_only(&deleted);
            while self.random.below(3) == 0 {
                self.deliver();
            }
            // The next session finishes the update.
            assert!(recover(&mut self.desk.lock(), &state).unwrap());
            return;
        }
        let whole = Commit {
            seen: self.desk.seen(maildrop.length),
            spool: &mut spool,
            state: Some(&state),
            plan: &plan,
            pins: pins.as_ref(),
        };
        commit(whole).unwrap().unwrap();
        naming.load(Some(&state)).unwrap();
        let seen = Seen::soon(&mut spool).unwrap();
        keep(&state, seen, &naming.rules, &left(&maildrop, &deleted)).unwrap();
        drop(spool);
        self.lock_is_free();
        self.keep_only(&deleted);
    }

    /// A session whose front goes away while the worker reads the spool.
    fn broken_off(&mut self) {
        let reads = std::cell::Cell::new(1 + self.random.below(12));
        let is_over = || reads.replace(reads.get().saturating_sub(1)) == 0;
        let mut spool = self.desk.lock_with(true);
        let state = Some(self.desk.state());
        let found = open(
            &mut spool,
            state.as_ref(),
            &mut self.desk.naming(),
            &is_over,
        );
        if found.is_err() {
            *self.ways.entry("broken off").or_default() += 1;
        }
        drop(spool);
        self.lock_is_free();
    }

    fn keep_only(&mut self, deleted: &[bool]) {
        let mut deleted = deleted.iter();
        self.messages.retain(|_| !deleted.next().unwrap());
    }

    /// A mail reader rewrites the spool: it gives a message a Status, or deletes one.
    fn edit(&mut self) {
        let place = self.random.below(self.messages.len());
        let Some((number, message)) = self.messages.get_mut(place) else {
            return;
        };
        if self.random.next() % 2 == 0 {
            let line = message.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            message.splice(line..line, *b"Status: RO\n");
        } else if !message.windows(6).any(|text| text == b"equal ") {
            // If two messages are equal, no program can tell which one was deleted.
            self.names.remove(number);
            self.messages.remove(place);
        }
        self.desk.put(&self.bytes());
    }

    fn damage(&mut self) {
        let path = self.desk.state().path(INDEX);
        if self.random.next() % 2 == 0 {
            let _ = std::fs::remove_file(path);
        } else if let Ok(mut index) = std::fs::read(&path) {
            let place = self.random.below(index.len());
            index[place] ^= 1;
            std::fs::write(path, index).unwrap();
        }
    }

    /// Compares what was opened with the model.
    fn check(&mut self, maildrop: &Maildrop) {
        assert_eq!(maildrop.messages.len(), self.messages.len());
        let mut seen = std::collections::BTreeSet::new();
        let mut offset = 0;
        for (index, (number, bytes)) in self.messages.iter().enumerate() {
            let message = &maildrop.messages[index];
            assert_eq!(message.from_line, offset);
            offset += bytes.len() as u64;
            assert_eq!(maildrop.segment_end(index), offset);
            let content = &bytes[usize::try_from(message.header - message.from_line).unwrap()..];
            let content = &content[..usize::try_from(message.end - message.header).unwrap()];
            let feeds = content.iter().map(|byte| u64::from(*byte == b'\n'));
            assert_eq!(message.octets, content.len() as u64 + feeds.sum::<u64>());
            let name = name(message);
            assert!(seen.insert(name.clone()), "{name} twice");
            let first = self.names.entry(*number).or_insert_with(|| name.clone());
            assert_eq!(*first, name, "of message {number}");
        }
    }

    fn step(&mut self) {
        match self.random.below(20) {
            0..=4 => self.deliver(),
            5 | 6 => self.edit(),
            7 => self.damage(),
            8 | 9 => self.session(true),
            10 => self.broken_off(),
            _ => self.session(false),
        }
        while self.messages.len() < 160 {
            self.deliver();
        }
        assert!(
            self.desk.bytes() == self.bytes(),
            "the spool is not as it should be"
        );
    }
}

fn live(seed: u64, steps: u32) -> BTreeMap<&'static str, u32> {
    let mut model = Model::new(seed);
    for _ in 0..steps {
        model.step();
    }
    model.ways
}

/// A file of seeds that failed once, one a line. They run first.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model-seeds");

fn kept_seeds() -> Vec<u64> {
    let text = std::fs::read_to_string(KEPT).unwrap();
    let seeds = text.lines().filter(|line| !line.starts_with('#'));
    seeds.map(|line| line.parse().unwrap()).collect()
}

/// Adds a seed to the file. If the sources cannot be written, only the test's output has the seed.
fn note(seed: u64) {
    if kept_seeds().contains(&seed) {
        return;
    }
    let file = std::fs::File::options().append(true).open(KEPT);
    let _ = file
        .and_then(|mut file| std::io::Write::write_all(&mut file, format!("{seed}\n").as_bytes()));
}

#[test]
fn p3_p4_p5_a_spool_lives_as_a_simple_model_says() {
    let variable = |name| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    if let Some(seed) = variable("POPWARD_MODEL_SEED") {
        live(seed, LIFE);
        return;
    }
    let steps =
        variable("POPWARD_MODEL_STEPS").map_or(STEPS, |steps| u32::try_from(steps).unwrap());
    let start = variable("POPWARD_MODEL_START").unwrap_or_else(|| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap();
        u64::from(now.subsec_nanos())
    });
    let new = (0..steps.div_ceil(LIFE)).map(|life| start + u64::from(life));
    let seeds: Vec<u64> = kept_seeds().into_iter().chain(new).collect();
    let halves: Vec<_> = seeds
        .chunks(seeds.len().div_ceil(2))
        .map(<[u64]>::to_vec)
        .collect();
    let threads = halves.into_iter().map(|seeds| {
        std::thread::spawn(move || {
            let mut ways = BTreeMap::new();
            for seed in seeds {
                let lived = std::panic::catch_unwind(|| live(seed, LIFE));
                let lived = lived.unwrap_or_else(|_| {
                    note(seed);
                    panic!("POPWARD_MODEL_SEED={seed}")
                });
                for (way, count) in lived {
                    *ways.entry(way).or_insert(0) += count;
                }
            }
            ways
        })
    });
    let mut all: BTreeMap<&str, u32> = BTreeMap::new();
    for thread in threads.collect::<Vec<_>>() {
        for (way, count) in thread.join().unwrap() {
            *all.entry(way).or_default() += count;
        }
    }
    let text = format!("a spool's lives from seed {start}, {steps} steps: {all:?}\n");
    std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes()).unwrap();
    for way in ["unchanged", "grown", "scanned", "died", "broken off"] {
        assert!(all[way] > steps / 100, "{way}: {all:?}");
    }
}
