//! Credentials as people type them: the name of an account and one of its tokens, which takes the
//! place of a password. Whoever fails too often for one account from one address has to wait; a token
//! that comes alone, and is right, is let through even so, because others may share the address.
//!
//! Each node counts for itself: what is guessed at is 160 bits, and the wait is there to keep
//! guessing from costing others anything.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use crate::tokens::account_of;
use crate::{AuthenticationError, Dialect, Principal, Surroundings, Tokens};

/// Failures after which an account is closed to an address.
const MOST: usize = 10;
/// The time within which they count together, wherever it begins.
const PERIOD: Duration = Duration::from_secs(5 * 60);
/// For how long the account stays closed.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// Most accounts with addresses that are remembered; when there are more, those that are not closed
/// are forgotten.
const REMEMBERED: usize = 10_000;

/// Why credentials do not make a principal.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// They are wrong, or not good for this.
    #[error(transparent)]
    Refused(AuthenticationError),
    /// There were too many wrong ones before. These are wrong, too, or were not looked at.
    #[error("too many failures; try again in five minutes")]
    TooManyFailures,
}

/// The way in for people.
#[derive(Debug, Clone)]
pub struct Logins {
    tokens: Tokens,
    surroundings: Surroundings,
    failures: Arc<Mutex<HashMap<Door, Failures>>>,
}

/// Where somebody tries: the account, and the address that they come from.
type Door = (String, IpAddr);

/// What went wrong at a door lately.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Failures {
    /// When the last of them happened, the latest at the end.
    times: VecDeque<OffsetDateTime>,
    /// Until when the door is closed, if it is.
    closed_until: Option<OffsetDateTime>,
}

impl Logins {
    pub(crate) fn new(tokens: Tokens, surroundings: Surroundings) -> Self {
        Self {
            tokens,
            surroundings,
            failures: Arc::default(),
        }
    }

    /// Turns a token that somebody at `address` presented into a principal. If they named an
    /// account, it must be the token's.
    ///
    /// # Errors
    /// [`LoginError`], each variant.
    pub async fn log_in(
        &self,
        account: Option<&str>,
        token: &str,
        address: IpAddr,
        dialect: Dialect,
    ) -> Result<Principal, LoginError> {
        let own = account_of(token);
        let named = account.or(own.as_deref());
        // Names that no account has share one place.
        let named = named.filter(|name| name.len() <= store::ACCOUNT_NAME_LIMIT);
        let door = (named.unwrap_or_default().to_owned(), network_of(address));
        let now = self.surroundings.now();
        let is_closed = {
            let remembered = self.remembered();
            let before = remembered.get(&door);
            before.is_some_and(|failures| failures.closes(now))
        };
        if is_closed && account.is_some() {
            return Err(LoginError::TooManyFailures);
        }
        let authenticated = match account {
            // That the token is another account's is not told apart from a wrong one.
            Some(account) if own.as_deref().is_some_and(|own| own != account) => {
                Err(AuthenticationError::WrongSecret)
            }
            _ => self.tokens.authenticate(token, dialect).await,
        };
        match &authenticated {
            Ok(_) if !is_closed => {
                self.remembered().remove(&door);
            }
            Err(
                AuthenticationError::Malformed
                | AuthenticationError::UnknownAccount
                | AuthenticationError::WrongSecret,
            ) => {
                if is_closed {
                    return Err(LoginError::TooManyFailures);
                }
                self.failed(door, now);
            }
            // Nothing was guessed, or it makes no difference yet.
            Ok(_) | Err(_) => {}
        }
        authenticated.map_err(LoginError::Refused)
    }

    fn failed(&self, door: Door, now: OffsetDateTime) {
        let mut failures = self.remembered();
        if failures.len() >= REMEMBERED {
            failures.retain(|_, failures| failures.closes(now));
            if failures.len() >= REMEMBERED {
                failures.clear();
            }
        }
        let before = failures.remove(&door).unwrap_or_default();
        failures.insert(door, one_more(before, now));
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<Door, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failures {
    fn closes(&self, now: OffsetDateTime) -> bool {
        // What ends later than it could was written while the clock was ahead.
        self.closed_until
            .is_some_and(|end| now < end && end <= now + PAUSE)
    }
}

/// What is remembered of a door after one more failure.
fn one_more(before: Failures, now: OffsetDateTime) -> Failures {
    // After a pause it begins anew.
    let mut times = match before.closed_until {
        Some(_) => VecDeque::new(),
        None => before.times,
    };
    // What comes later was written while the clock was ahead.
    times.retain(|time| *time <= now && now < *time + PERIOD);
    times.push_back(now);
    let closed_until = (times.len() >= MOST).then(|| now + PAUSE);
    Failures {
        times,
        closed_until,
    }
}

/// The address that stands for all of one place's: of IPv6, everybody has a network.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn after(count: u32, apart: Duration) -> (Failures, OffsetDateTime) {
        let mut now = START;
        let mut failures = one_more(Failures::default(), now);
        for _ in 1..count {
            now += apart;
            failures = one_more(failures, now);
        }
        (failures, now)
    }

    #[test]
    fn ten_failures_close_the_door_wherever_the_five_minutes_begin() {
        let mut failures = one_more(Failures::default(), START);
        let mut now = START;
        for second in 295..304 {
            now = START + Duration::from_secs(second);
            failures = one_more(failures, now);
        }
        assert!(!failures.closes(now), "nine in five minutes: {failures:?}");
        now += Duration::from_secs(290);
        failures = one_more(failures, now);
        assert!(failures.closes(now), "{failures:?}");
        assert!(failures.times.len() <= MOST);
    }

    #[test]
    fn the_tenth_failure_closes_the_door_for_five_minutes() {
        let (failures, now) = after(9, Duration::from_secs(1));
        assert!(!failures.closes(now));
        let (failures, now) = after(10, Duration::from_secs(1));
        assert!(failures.closes(now));
        assert!(failures.closes(now + PAUSE - Duration::from_secs(1)));
        assert!(!failures.closes(now + PAUSE));
        let again = one_more(failures, now + PAUSE);
        assert_eq!(again.times.len(), 1, "it begins anew");
    }

    #[test]
    fn failures_far_apart_do_not_add_up() {
        let (failures, now) = after(1_000, Duration::from_secs(34));
        assert!(!failures.closes(now), "{failures:?}");
        let (failures, now) = after(10, Duration::from_secs(33));
        assert!(failures.closes(now), "{failures:?}");
    }

    #[test]
    fn a_clock_that_was_ahead_shuts_nobody_out() {
        let (failures, _) = after(10, Duration::from_secs(1));
        let ahead = Failures {
            closed_until: failures.closed_until.map(|end| end + 10 * PAUSE),
            ..failures
        };
        assert!(!ahead.closes(START));
    }

    #[test]
    fn all_addresses_of_a_network_of_ipv6_are_one() {
        let network = |address: &str| network_of(address.parse().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
