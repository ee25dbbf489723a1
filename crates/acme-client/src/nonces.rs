//! Nonces that came along with answers, for the next requests (RFC 8555 section 6.5).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How many are kept: one for each request that may be under way.
const CAPACITY: usize = 64;
/// How long one is kept. Directories forget them sooner or later, and a forgotten one costs a request.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// The longest that is taken, in octets.
const MAX_LENGTH: usize = 512;

/// The nonces of one directory, the newest used first.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<Vec<(Instant, String)>>);

impl Nonces {
    /// Keeps a nonce for later, if it is one (RFC 8555 section 6.5.1).
    pub(crate) fn put(&self, nonce: &str) {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if nonce.is_empty() || nonce.len() > MAX_LENGTH || !nonce.bytes().all(is_allowed) {
            return;
        }
        let mut kept = self.kept();
        if kept.len() == CAPACITY {
            kept.remove(0);
        }
        kept.push((Instant::now(), nonce.to_owned()));
    }

    /// Takes the newest nonce.
    pub(crate) fn take(&self) -> Option<String> {
        let mut kept = self.kept();
        let (since, nonce) = kept.pop()?;
        if since.elapsed() < LIFETIME {
            return Some(nonce);
        }
        // All others are older.
        kept.clear();
        None
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_nonces_are_kept_and_used_once() {
        let nonces = Nonces::default();
        for number in 0..1_000 {
            nonces.put(&format!("nonce-{number}"));
        }
        let taken: Vec<String> = std::iter::from_fn(|| nonces.take()).collect();
        assert_eq!(taken.len(), CAPACITY);
        assert_eq!(taken.first().unwrap(), "nonce-999");
    }

    #[test]
    fn what_is_no_nonce_is_not_kept() {
        let nonces = Nonces::default();
        for text in ["", "a b", "a=", "ä", "\"", &"a".repeat(MAX_LENGTH + 1)] {
            nonces.put(text);
        }
        assert_eq!(nonces.take(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn old_nonces_are_forgotten() {
        let nonces = Nonces::default();
        nonces.put("old");
        tokio::time::advance(LIFETIME).await;
        assert_eq!(nonces.take(), None);
    }
}
