//! Which names are served at all: a keyed fingerprint of 128 bits for each domain, so that a name
//! which nobody has is refused without a look anywhere else, whatever the number of domains.
//!
//! A fingerprint that is here may have outlived its domain, until somebody asks for it; one that is
//! missing once the index is complete has no domain.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Parts of the index that are locked, and grow, on their own.
const SHARDS: usize = 64;

/// Stands for a domain, a wildcard or not. Nobody outside can find two domains with the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u128);

/// A domain that a name may belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) is_wildcard: bool,
    /// How much was added to the shard before it was found.
    additions: u64,
}

/// The fingerprints of all domains.
#[derive(Debug)]
pub(crate) struct Index {
    keys: [RandomState; 2],
    shards: Box<[RwLock<Shard>]>,
    count: AtomicUsize,
    is_complete: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    fingerprints: HashSet<Fingerprint, BuildHasherDefault<Passing>>,
    additions: u64,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            count: AtomicUsize::new(0),
            is_complete: AtomicBool::new(false),
        }
    }

    /// The domain that a name in lower case may belong to: the one of this name, or else the
    /// wildcard over it.
    pub(crate) fn find(&self, name: &str) -> Option<Found> {
        if let Some(found) = self.look_up(self.fingerprint_of(name, false), false) {
            return Some(found);
        }
        let (_, parent) = name.split_once('.')?;
        self.look_up(self.fingerprint_of(parent, true), true)
    }

    /// The fingerprint of a domain as it is stored, `*.` included.
    pub(crate) fn fingerprint(&self, domain: &str) -> Fingerprint {
        domain.strip_prefix("*.").map_or_else(
            || self.fingerprint_of(domain, false),
            |parent| self.fingerprint_of(parent, true),
        )
    }

    /// Adds a domain.
    pub(crate) fn insert(&self, domain: &str) {
        let fingerprint = self.fingerprint(domain);
        let mut shard = write(self.shard(fingerprint));
        shard.additions += 1;
        if shard.fingerprints.insert(fingerprint) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a domain out.
    pub(crate) fn remove(&self, domain: &str) {
        let fingerprint = self.fingerprint(domain);
        let mut shard = write(self.shard(fingerprint));
        if shard.fingerprints.remove(&fingerprint) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Takes out what was found, but has no domain; unless it was added since, perhaps by one that
    /// came into being meanwhile.
    pub(crate) fn forget(&self, found: Found) {
        let mut shard = write(self.shard(found.fingerprint));
        if shard.additions == found.additions && shard.fingerprints.remove(&found.fingerprint) {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many domains it holds.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether what it does not hold does not exist.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Ordering::Acquire)
    }

    /// Notes that all domains are in it.
    pub(crate) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }

    fn look_up(&self, fingerprint: Fingerprint, is_wildcard: bool) -> Option<Found> {
        let shard = read(self.shard(fingerprint));
        shard.fingerprints.contains(&fingerprint).then(|| Found {
            fingerprint,
            is_wildcard,
            additions: shard.additions,
        })
    }

    fn fingerprint_of(&self, name: &str, is_wildcard: bool) -> Fingerprint {
        let [low, high] = self.keys.each_ref().map(|key| {
            let mut hasher = key.build_hasher();
            hasher.write_u8(u8::from(is_wildcard));
            hasher.write(name.as_bytes());
            u128::from(hasher.finish())
        });
        Fingerprint(high << 64 | low)
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the remainder is less than the number of shards"
    )]
    fn shard(&self, fingerprint: Fingerprint) -> &RwLock<Shard> {
        let high = usize::try_from(fingerprint.0 >> 96).unwrap_or_default();
        &self.shards[high % SHARDS]
    }
}

impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // It is a keyed hash already; half of it is as good for a table as the whole.
        let bytes = self.0.to_ne_bytes();
        if let Some(half) = bytes.first_chunk::<8>() {
            state.write_u64(u64::from_ne_bytes(*half));
        }
    }
}

/// A hasher of what is hashed already.
#[derive(Debug, Default)]
struct Passing(u64);

impl Hasher for Passing {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    // No code that can panic runs while the lock is held.
    shard.read().unwrap_or_else(PoisonError::into_inner)
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    shard.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_by_itself_before_the_wildcard_over_it() {
        let index = Index::new();
        index.insert("*.example.com");
        index.insert("a.example.com");
        assert!(!index.find("a.example.com").unwrap().is_wildcard);
        assert!(index.find("b.example.com").unwrap().is_wildcard);
        for name in [
            "example.com",
            "a.b.example.com",
            "xexample.com",
            "com",
            "",
            ".",
        ] {
            assert!(index.find(name).is_none(), "{name}");
        }
        index.remove("a.example.com");
        assert!(index.find("a.example.com").unwrap().is_wildcard);
        assert_eq!(index.count(), 1);
    }

    #[test]
    fn a_wildcard_is_not_the_name_that_it_is_written_with() {
        let index = Index::new();
        index.insert("*.example.com");
        assert!(index.find("*.other.com").is_none());
        assert_ne!(
            index.fingerprint("*.example.com"),
            index.fingerprint("example.com")
        );
    }

    #[test]
    fn what_was_added_again_is_not_forgotten() {
        let index = Index::new();
        index.insert("a.example.com");
        let stale = index.find("a.example.com").unwrap();
        index.insert("a.example.com");
        index.forget(stale);
        let found = index.find("a.example.com").unwrap();
        index.forget(found);
        assert!(index.find("a.example.com").is_none());
        assert_eq!(index.count(), 0);
    }

    #[test]
    fn a_name_takes_at_most_forty_octets() {
        let index = Index::new();
        for number in 0..200_000 {
            index.insert(&format!("{number}.example.com"));
        }
        assert_eq!(index.count(), 200_000);
        // A table keeps an octet beside each place.
        let places: usize = index
            .shards
            .iter()
            .map(|shard| read(shard).fingerprints.capacity() * 8 / 7)
            .sum();
        let octets = places * (size_of::<Fingerprint>() + 1);
        assert!(octets <= 40 * 200_000, "{octets}");
    }
}
