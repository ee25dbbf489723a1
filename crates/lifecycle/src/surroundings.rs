//! Time and randomness come in from outside, so that a year of renewals runs in a test in seconds
//! and the same seed gives the same run. Nothing else in the house reads a clock or draws a number.

use std::sync::Arc;

use pki::KeyDevice;
use time::OffsetDateTime;

use crate::Network;

/// Where the present moment comes from.
pub trait Clock: Send + Sync {
    /// The present moment, UTC.
    fn now(&self) -> OffsetDateTime;
}

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// Where unpredictable bytes come from.
pub trait Randomness: Send + Sync {
    /// Fills `bytes` with random octets.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator, through the crypto provider.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        // The provider documents this call as infallible on supported systems; a process that
        // cannot get random bytes must not go on and mint secrets.
        if aws_lc_rs::rand::fill(bytes).is_err() {
            std::process::abort();
        }
    }
}

/// The world outside of the rules: a clock, a source of randomness, a network and perhaps a device
/// that holds keys, shared by all parts.
#[derive(Clone)]
pub struct Surroundings {
    clock: Arc<dyn Clock>,
    randomness: Arc<dyn Randomness>,
    network: Network,
    device: Option<Arc<dyn KeyDevice>>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Surroundings")
    }
}

impl Default for Surroundings {
    fn default() -> Self {
        Self::new(SystemClock, SystemRandomness)
    }
}

impl Surroundings {
    /// Surroundings of the given clock and randomness, without a network.
    pub fn new(clock: impl Clock + 'static, randomness: impl Randomness + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            randomness: Arc::new(randomness),
            network: Network::offline(),
            device: None,
        }
    }

    /// These surroundings with a network.
    #[must_use]
    pub fn with_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// These surroundings with a device that holds keys.
    #[must_use]
    pub fn with_device(self, device: Arc<dyn KeyDevice>) -> Self {
        Self {
            device: Some(device),
            ..self
        }
    }

    /// The device that holds keys of authorities, if there is one.
    #[must_use]
    pub fn device(&self) -> Option<&Arc<dyn KeyDevice>> {
        self.device.as_ref()
    }

    /// What can be reached beyond the store.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The present moment, UTC.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// `N` random octets.
    #[must_use]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.randomness.fill(&mut bytes);
        bytes
    }

    /// `length` random characters of `[a-z0-9]`, each equally likely.
    #[must_use]
    pub fn random_suffix(&self, length: usize) -> String {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let mut suffix = String::with_capacity(length);
        while suffix.len() < length {
            let [byte] = self.random::<1>();
            // 252 is the largest multiple of 36 that fits: bytes above it would favour some letters.
            if byte < 252
                && let Some(letter) = ALPHABET.get(usize::from(byte) % ALPHABET.len())
            {
                suffix.push(char::from(*letter));
            }
        }
        suffix
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_has_the_asked_length_and_only_lower_case_letters_and_digits() {
        let suffix = Surroundings::default().random_suffix(40);
        assert_eq!(suffix.len(), 40);
        assert!(
            suffix
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        );
    }
}
