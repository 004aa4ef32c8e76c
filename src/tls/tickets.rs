//! Session tickets (RFC 5077; RFC 8446, section 4.6.1), sealed with keys that keys makes and all fronts share: what
//! one front began, another one resumes.
//!
//! Keys are asked for by a handshake thread when the ones at hand are too old, and forgotten when their time is over,
//! whether or not anybody asks.

use super::remote_key::Keys;
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
use popward_proto::keys::{TicketKey, TicketKeys};
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use ring::aead;
use rustls::server::ProducesTickets;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Seals and opens tickets: the key's name, a nonce, then the sealed state with its tag.
#[derive(Debug)]
pub struct Tickets {
    keys: Arc<Keys>,
    /// For how long a ticket is good at the least, in seconds; 0: there are none.
    lifetime_s: AtomicU32,
    /// How often it was set: what was held before is asked for anew.
    settings: AtomicU32,
    /// Locked while keys is asked. The event loop never locks it.
    held: Mutex<Option<Arc<Held>>>,
}

/// The keys until the next rotation.
#[derive(Debug)]
struct Held {
    current: Key,
    previous: Option<Key>,
    until: Instant,
    /// Of which keys process they are (see [`Keys::generation`]), and of which settings.
    generation: (u32, u32),
}

struct Key {
    name: [u8; 16],
    key: aead::LessSafeKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Key(..)")
    }
}

impl Key {
    fn new(key: &TicketKey) -> Option<Self> {
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &key.secret).ok()?;
        Some(Self {
            name: key.name,
            key: aead::LessSafeKey::new(unbound),
        })
    }

    fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        // At random, since fronts that share a key cannot count together. A key seals far fewer tickets than the 2^32
        // for which 96 random bits are enough (NIST SP 800-38D, section 8.3): an hour of 1,000,000 handshakes a second.
        let mut nonce = [0; aead::NONCE_LEN];
        super::provider().secure_random.fill(&mut nonce).ok()?;
        let mut sealed = state.to_vec();
        self.key
            .seal_in_place_append_tag(
                aead::Nonce::assume_unique_for_key(nonce),
                aead::Aad::from(self.name),
                &mut sealed,
            )
            .ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket
            .strip_prefix(&self.name)?
            .split_first_chunk::<{ aead::NONCE_LEN }>()?;
        let mut state = sealed.to_vec();
        let length = self
            .key
            .open_in_place(
                aead::Nonce::assume_unique_for_key(*nonce),
                aead::Aad::from(self.name),
                &mut state,
            )
            .ok()?
            .len();
        state.truncate(length);
        Some(state)
    }
}

impl Held {
    fn new(keys: &TicketKeys, generation: (u32, u32), now: Instant) -> Option<Self> {
        let previous = keys.previous.as_ref();
        Some(Self {
            current: Key::new(&keys.current)?,
            previous: previous.and_then(Key::new),
            until: now + Duration::from_millis(keys.left_ms.into()),
            generation,
        })
    }
}

impl Tickets {
    /// Tickets whose keys come from `keys`, each of them good for `ticket_ms` milliseconds at the least; 0: none.
    pub fn new(keys: Arc<Keys>, ticket_ms: u32) -> Self {
        Self {
            keys,
            lifetime_s: AtomicU32::new(ticket_ms / 1000),
            settings: AtomicU32::new(0),
            held: Mutex::new(None),
        }
    }

    /// Another lifetime, after a reload: what was held is asked for anew.
    pub(crate) fn set_lifetime(&self, ticket_ms: u32) {
        self.lifetime_s.store(ticket_ms / 1000, Ordering::Relaxed);
        self.settings.fetch_add(1, Ordering::Release);
    }

    /// The keys of now, asked for if need be. Who asks lets the others wait: they would have to ask as well.
    fn held(&self) -> Option<Arc<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = (
            self.keys.generation(),
            self.settings.load(Ordering::Acquire),
        );
        let now = Instant::now();
        let is_good = |held: &Arc<Held>| held.until > now && held.generation == generation;
        if !held.as_ref().is_some_and(is_good) {
            *held = None;
            let keys = self.keys.tickets()?;
            *held = Held::new(&keys, generation, now).map(Arc::new);
        }
        held.clone()
    }

    /// Forgets keys whose time was over at `now`, and says when the next ones' will be. While another thread asks for
    /// keys there are none, and that thread says so itself afterwards.
    pub(crate) fn forget(&self, now: Instant) -> Option<Instant> {
        let mut held = match self.held.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        *held = held.take().filter(|held| held.until > now);
        held.as_ref().map(|held| held.until)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.lifetime() > 0
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s.load(Ordering::Relaxed)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.held()?.current.seal(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let held = self.held()?;
        let previous = || held.previous.as_ref()?.open(cipher);
        held.current.open(cipher).or_else(previous)
    }
}

#[cfg(test)]
mod tests;
