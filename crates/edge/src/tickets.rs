//! Session tickets under secrets that all nodes share, so that a session goes on with any of them,
//! and after a restart.
//!
//! A ticket is the generation of its secret, a nonce, and the session sealed with
//! AES-256-GCM-SIV. Who has the secret of a generation can read the sessions of its time, so secrets
//! rotate, and the oldest are erased from the store.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use lifecycle::TicketSecret;
use rustls::server::ProducesTickets;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// How long clients may use a ticket, in seconds. Its secret is kept for as long at least.
const LIFETIME: u32 = 12 * 60 * 60;
/// How old a secret is before tickets are made with it: by then all nodes have read it.
const SPREAD: Duration = Duration::from_secs(3 * 60);
/// Longest ticket that is looked at, in octets; sessions take a few hundred.
const MAX_TICKET: usize = 4096;
const GENERATION_LEN: usize = size_of::<u64>();
const TAG_LEN: usize = 16;
const LABEL: &[u8] = b"chancery session tickets";

/// Makes and reads tickets.
pub(crate) struct Tickets {
    keys: RwLock<Arc<Keys>>,
}

#[derive(Default)]
struct Keys {
    /// The key that tickets are made with, as an index into `all`.
    current: usize,
    all: Vec<Key>,
}

struct Key {
    generation: u64,
    sealing: LessSafeKey,
}

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tickets")
    }
}

impl Tickets {
    /// Makes no tickets before it has secrets.
    pub(crate) fn new() -> Self {
        Self {
            keys: RwLock::default(),
        }
    }

    /// Takes the secrets that are in force.
    pub(crate) fn replace(&self, secrets: &[TicketSecret], now: OffsetDateTime) {
        let mut secrets: Vec<&TicketSecret> = secrets.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.generation));
        let spread = secrets
            .iter()
            .position(|secret| secret.created_at + SPREAD <= now);
        let keys = Keys {
            current: spread.unwrap_or_default(),
            all: secrets.iter().filter_map(|secret| key(secret)).collect(),
        };
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    fn keys(&self) -> Arc<Keys> {
        // No code that can panic runs while the lock is held.
        self.keys
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        !self.keys().all.is_empty()
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys();
        let key = keys.all.get(keys.current)?;
        let generation = key.generation.to_be_bytes();
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(GENERATION_LEN + NONCE_LEN + plain.len() + TAG_LEN);
        ticket.extend_from_slice(&generation);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let (_, sealed) = ticket.split_at_mut_checked(GENERATION_LEN + NONCE_LEN)?;
        let tag = key
            .sealing
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(generation),
                sealed,
            )
            .ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if cipher.len() > MAX_TICKET {
            return None;
        }
        let (generation, rest) = cipher.split_first_chunk::<GENERATION_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys();
        let number = u64::from_be_bytes(*generation);
        let key = keys.all.iter().find(|key| key.generation == number)?;
        let mut sealed = sealed.to_vec();
        let length = key
            .sealing
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(*generation),
                &mut sealed,
            )
            .ok()?
            .len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn key(secret: &TicketSecret) -> Option<Key> {
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret.secret.as_slice());
    let mut bytes = Zeroizing::new([0; 32]);
    let expanded = extracted.expand(&[LABEL], SealingKey).ok()?;
    expanded.fill(bytes.as_mut_slice()).ok()?;
    let sealing = UnboundKey::new(&AES_256_GCM_SIV, bytes.as_slice()).ok()?;
    Some(Key {
        generation: secret.generation,
        sealing: LessSafeKey::new(sealing),
    })
}

/// The length of the key that is derived.
struct SealingKey;

impl KeyType for SealingKey {
    fn len(&self) -> usize {
        32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &[u8] = b"a session";

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn secret(generation: u64, age: Duration) -> TicketSecret {
        TicketSecret {
            generation,
            secret: Zeroizing::new([u8::try_from(generation).unwrap(); 64]),
            created_at: now() - age,
        }
    }

    fn tickets(secrets: &[TicketSecret]) -> Tickets {
        let tickets = Tickets::new();
        tickets.replace(secrets, now());
        tickets
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_ticket_is_read_by_any_node_that_has_its_secret() {
        let (one, other) = (
            tickets(&[secret(1, HOUR)]),
            tickets(&[secret(2, HOUR), secret(1, HOUR)]),
        );
        let ticket = one.encrypt(SESSION).unwrap();
        assert_ne!(ticket, one.encrypt(SESSION).unwrap());
        assert_eq!(other.decrypt(&ticket).unwrap(), SESSION);
        let ticket = other.encrypt(SESSION).unwrap();
        assert_eq!(one.decrypt(&ticket), None);
    }

    #[test]
    fn a_secret_that_other_nodes_may_not_have_yet_makes_no_tickets() {
        let old = tickets(&[secret(1, HOUR)]);
        let fresh = tickets(&[secret(2, Duration::from_secs(1)), secret(1, HOUR)]);
        assert!(old.decrypt(&fresh.encrypt(SESSION).unwrap()).is_some());
        let only = tickets(&[secret(2, Duration::from_secs(1))]);
        assert!(only.enabled());
        assert!(fresh.decrypt(&only.encrypt(SESSION).unwrap()).is_some());
    }

    #[test]
    fn without_secrets_there_are_no_tickets() {
        let none = Tickets::new();
        assert!(!none.enabled());
        assert_eq!(none.encrypt(SESSION), None);
        let ticket = tickets(&[secret(1, HOUR)]).encrypt(SESSION).unwrap();
        assert_eq!(none.decrypt(&ticket), None);
    }

    #[test]
    fn a_ticket_that_was_changed_anywhere_or_is_cut_off_is_not_read() {
        let tickets = tickets(&[secret(1, HOUR)]);
        let ticket = tickets.encrypt(SESSION).unwrap();
        for position in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[position] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{position}");
            assert_eq!(tickets.decrypt(&ticket[..position]), None, "{position}");
        }
        assert_eq!(tickets.decrypt(&vec![0; MAX_TICKET + 1]), None);
    }
}
