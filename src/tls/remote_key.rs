//! Private keys that the keys process holds. A front asks that process for each signature, and for
//! the keys of tickets, over the channel to keys.
//!
//! Only handshake threads ask. One asks at a time. The socket waits at most ten seconds for its
//! answer, as the monitor has set. The event loop never waits.

use popward_proto::bounded::Bytes;
use popward_proto::keys::{FrontToKeys, KeyId, KeysPhase, KeysToFront, TicketKeys};
use popward_proto::monitor_keys::KeyFacts;
use popward_sys::channel::{Channel, ChannelError, PacketBuffer};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The channel to keys, shared by the handshake threads.
#[derive(Debug, Default)]
pub struct Keys {
    asking: Mutex<Option<Asking>>,
    /// A new socket that replaces the one in use. It has its own lock, so that the event loop never
    /// waits for a signature.
    next: Mutex<Option<OwnedFd>>,
    generation: AtomicU32,
}

#[derive(Debug)]
struct Asking {
    channel: Channel<FrontToKeys, KeysToFront>,
    buffer: PacketBuffer,
    /// Whether an answer is still to come for which no thread waits any more. It must be read
    /// before the next one.
    late: bool,
}

impl Keys {
    /// Uses `socket` for all questions from the next one on.
    pub fn replace(&self, socket: OwnedFd) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// The number of sockets that have come. Each belongs to another keys process, which has other
    /// ticket keys.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks for the keys of tickets. `None`: tickets are off, or the keys process did not answer.
    pub(crate) fn tickets(&self) -> Option<TicketKeys> {
        match self.ask(&FrontToKeys::Tickets) {
            Ok(KeysToFront::Tickets(keys)) => Some(keys),
            _ => None,
        }
    }

    fn sign(&self, request: &FrontToKeys) -> Result<Vec<u8>, Error> {
        match self.ask(request)? {
            KeysToFront::Signature(signature) => Ok(signature.into()),
            KeysToFront::Refused | KeysToFront::Tickets(_) => {
                Err(failed("the key process refused"))
            }
        }
    }

    fn ask(&self, request: &FrontToKeys) -> Result<KeysToFront, Error> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let next = self
            .next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(socket) = next {
            *asking = Some(Asking::new(socket));
        }
        let current = asking
            .as_mut()
            .ok_or_else(|| failed("the key process is not there"))?;
        match current.ask(request) {
            Ok(answer) => Ok(answer),
            Err(ChannelError::WouldBlock) => Err(failed("the key process did not answer in time")),
            Err(_) => {
                *asking = None;
                Err(failed("the key process has gone"))
            }
        }
    }
}

impl Asking {
    fn new(socket: OwnedFd) -> Self {
        Self {
            channel: Channel::new(socket, KeysPhase::Idle),
            buffer: PacketBuffer::for_messages(),
            late: false,
        }
    }

    fn ask(&mut self, request: &FrontToKeys) -> Result<KeysToFront, ChannelError> {
        if self.late {
            self.answer()?;
        }
        self.channel.enter(KeysPhase::Waiting);
        self.channel.send(request)?;
        self.late = true;
        self.answer()
    }

    fn answer(&mut self) -> Result<KeysToFront, ChannelError> {
        let (answer, _) = self.channel.receive(&mut self.buffer)?;
        self.late = false;
        self.channel.enter(KeysPhase::Idle);
        Ok(answer)
    }
}

fn failed(what: &str) -> Error {
    Error::General(what.to_owned())
}

/// A key of which this process knows only the public half.
#[derive(Debug)]
pub struct RemoteKey {
    keys: Arc<Keys>,
    id: KeyId,
    schemes: Vec<SignatureScheme>,
    public_key: Vec<u8>,
}

impl RemoteKey {
    /// The key with these facts. `None`: it supports no scheme that TLS knows.
    pub fn new(keys: Arc<Keys>, facts: &KeyFacts) -> Option<Self> {
        let known = |scheme: &SignatureScheme| algorithm(*scheme).is_some();
        let schemes: Vec<_> = facts
            .schemes
            .as_slice()
            .iter()
            .map(|code| SignatureScheme::from(*code))
            .filter(known)
            .collect();
        (!schemes.is_empty()).then(|| Self {
            keys,
            id: facts.key,
            schemes,
            public_key: facts.public_key.as_slice().to_vec(),
        })
    }

    /// Whether the key can sign by one of these schemes.
    pub(crate) fn serves(&self, offered: &[SignatureScheme]) -> bool {
        self.schemes.iter().any(|scheme| offered.contains(scheme))
    }
}

fn algorithm(scheme: SignatureScheme) -> Option<SignatureAlgorithm> {
    use SignatureScheme as S;
    match scheme {
        S::RSA_PKCS1_SHA256
        | S::RSA_PKCS1_SHA384
        | S::RSA_PKCS1_SHA512
        | S::RSA_PSS_SHA256
        | S::RSA_PSS_SHA384
        | S::RSA_PSS_SHA512 => Some(SignatureAlgorithm::RSA),
        S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512 => {
            Some(SignatureAlgorithm::ECDSA)
        }
        S::ED25519 => Some(SignatureAlgorithm::ED25519),
        _ => None,
    }
}

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let scheme = *self.schemes.iter().find(|s| offered.contains(s))?;
        Some(Box::new(RemoteSigner {
            keys: Arc::clone(&self.keys),
            id: self.id,
            scheme,
        }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(SubjectPublicKeyInfoDer::from(self.public_key.as_slice()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        // `new` makes sure that there is a scheme, and that each has an algorithm.
        self.schemes
            .iter()
            .find_map(|scheme| algorithm(*scheme))
            .unwrap_or(SignatureAlgorithm::ECDSA)
    }
}

#[derive(Debug)]
struct RemoteSigner {
    keys: Arc<Keys>,
    id: KeyId,
    scheme: SignatureScheme,
}

impl Signer for RemoteSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let message = Bytes::try_from(message.to_vec()).map_err(|_| failed("message too long"))?;
        self.keys.sign(&FrontToKeys::Sign {
            key: self.id,
            scheme: self.scheme.into(),
            message,
        })
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

#[cfg(test)]
mod tests;
