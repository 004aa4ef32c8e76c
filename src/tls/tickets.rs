//! Session tickets (RFC 5077; RFC 8446, section 4.6.1). The keys process makes the keys that seal
//! them, and all fronts share these keys. So each front can resume a session that another one
//! began.
//!
//! A handshake thread asks for new keys when the present ones are too old. Old keys are forgotten
//! when their time is over, even if no client comes.

use super::remote_key::Keys;
#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs::aead;
use popward_proto::keys::{TicketKey, TicketKeys};
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use ring::aead;
use rustls::server::ProducesTickets;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Seals and opens tickets. A ticket is the key's name, a nonce, and the sealed state with its tag.
#[derive(Debug)]
pub struct Tickets {
    keys: Arc<Keys>,
    /// The least time for which a ticket is valid, in seconds. 0: tickets are off.
    lifetime_s: u32,
    /// Locked while a thread asks the keys process. The event loop never locks it.
    held: Mutex<Option<Arc<Held>>>,
}

/// The keys until the next rotation.
#[derive(Debug)]
struct Held {
    current: Key,
    previous: Option<Key>,
    until: Instant,
    /// The keys process from which these keys are (see [`Keys::generation`]).
    generation: u32,
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
        // The nonce is random, because fronts that share a key have no common counter. 96 random
        // bits are enough for 2^32 tickets (NIST SP 800-38D, section 8.3). A key seals far fewer:
        // that is an hour of 1,000,000 handshakes a second.
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
    fn new(keys: &TicketKeys, generation: u32, now: Instant) -> Option<Self> {
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
    /// Tickets with the keys of `keys`. A ticket is valid for at least `ticket_ms` milliseconds. 0
    /// turns tickets off.
    pub fn new(keys: Arc<Keys>, ticket_ms: u32) -> Self {
        Self {
            keys,
            lifetime_s: ticket_ms / 1000,
            held: Mutex::new(None),
        }
    }

    /// The present keys. Asks the keys process if it has none or old ones. Other threads wait
    /// meanwhile, because they would have to ask too. `None`: there are no keys.
    fn held(&self) -> Option<Arc<Held>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.keys.generation();
        let now = Instant::now();
        let is_good = |held: &Arc<Held>| held.until > now && held.generation == generation;
        if !held.as_ref().is_some_and(is_good) {
            *held = None;
            let keys = self.keys.tickets()?;
            *held = Held::new(&keys, generation, now).map(Arc::new);
        }
        held.clone()
    }

    /// Forgets the keys if their time was over at `now`. Returns when the time of the present keys
    /// will be over. Returns `None` if there are no keys, or if another thread asks for keys now:
    /// that thread calls this function afterwards.
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
        self.lifetime_s
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
