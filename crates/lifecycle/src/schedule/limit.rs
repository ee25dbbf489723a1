//! One limit of a directory, and the arithmetic of its bucket.
//!
//! A limit is a bucket of places that fills up again evenly, the way Let's Encrypt counts: the generic
//! cell rate algorithm, whose whole memory of a bucket is one moment, its level: when the bucket will
//! be full again. Microseconds in whole numbers, rounded so that never more is taken than the
//! directory gives, however long it goes on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;

use super::limits::LimitsError;

/// How long a directory can close a bucket at most; whoever asks for more is asked again then. Also
/// what a clock that was wrong can do at most.
const LONGEST_REFUSAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// How much later than here an order is counted there, at least and at most: it travels, clocks
/// differ, and certificates are counted when they are issued.
const SHORTEST_MARGIN: Duration = Duration::from_secs(30);
const LONGEST_MARGIN: Duration = Duration::from_secs(3600);
/// Longest period of a limit.
const LONGEST_PERIOD: Duration = Duration::from_secs(366 * 24 * 3600);

const SECOND: u64 = 1;
const MINUTE: u64 = 60 * SECOND;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
const UNITS: [(char, u64); 4] = [('d', DAY), ('h', HOUR), ('m', MINUTE), ('s', SECOND)];

/// So many in a period; written `300/3h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    burst: u32,
    period: Duration,
}

impl Limit {
    /// `burst` in `period`; nothing for none at all, and for a period that is not from a millisecond
    /// to a year.
    #[must_use]
    pub fn new(burst: u32, period: Duration) -> Option<Self> {
        let is_possible =
            burst > 0 && period >= Duration::from_millis(1) && period <= LONGEST_PERIOD;
        is_possible.then_some(Self { burst, period })
    }

    /// A limit of so many in so many seconds that is known to be possible.
    pub(super) const fn known(burst: u32, seconds: u64) -> Self {
        Self {
            burst,
            period: Duration::from_secs(seconds),
        }
    }

    /// How many there are when none is taken.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// How long it takes until all are there again after all were taken.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }

    /// How long it takes until one is there again.
    pub(super) fn interval(&self) -> Duration {
        let micros = u64::try_from(self.interval_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(micros)
    }

    /// The first moment, `now` or later, at which one can be taken so that `reserve` are left.
    /// `level` is what [`Limit::spent`] left behind; without one the bucket is full.
    pub(super) fn free_at(
        &self,
        level: Option<OffsetDateTime>,
        reserve: u32,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let Some(level) = self.sound(level, now) else {
            return now;
        };
        // At least one can be taken of a bucket that is full.
        let wanted = i128::from(reserve.min(self.burst - 1)) + 1;
        moment(level - self.capacity() + wanted * self.interval_micros()).max(now)
    }

    /// The level after one is taken at `now`, whether it was there or not.
    pub(super) fn spent(
        &self,
        level: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let full = micros(now) + self.margin();
        let level = self.sound(level, now).unwrap_or(full).max(full);
        // Who takes what is not there does not take from those who come later without end.
        let most = (full + self.capacity()).max(level);
        moment((level + self.interval_micros()).min(most))
    }

    /// The level after one that was taken is given back.
    pub(super) fn given_back(&self, level: OffsetDateTime) -> OffsetDateTime {
        moment(micros(level) - self.interval_micros())
    }

    /// The level after the directory said that there is none before `until`.
    pub(super) fn exhausted(
        &self,
        level: Option<OffsetDateTime>,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let until = micros(until).min(micros(now) + to_micros(LONGEST_REFUSAL));
        let exhausted = until + self.capacity() - self.interval_micros();
        let level = self.sound(level, now).unwrap_or(exhausted);
        moment(level.max(exhausted))
    }

    /// How many are there at `now`.
    pub(super) fn left(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> u32 {
        let Some(level) = self.sound(level, now) else {
            return self.burst;
        };
        let taken = (level - self.margin() - micros(now)).max(0);
        let left = (self.capacity() - taken).max(0) / self.interval_micros();
        u32::try_from(left).unwrap_or(self.burst)
    }

    /// The level as far as it can be right: a clock that was ahead for a while must not close a bucket
    /// until it would be right. Nothing where the bucket is certainly full, here and there.
    fn sound(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<i128> {
        let (level, now) = (micros(level?), micros(now));
        let most = now + self.capacity() + to_micros(LONGEST_REFUSAL);
        (level > now).then_some(level.min(most))
    }

    fn interval_micros(&self) -> i128 {
        let (period, burst) = (to_micros(self.period), i128::from(self.burst));
        // Rounded up.
        (period + burst - 1) / burst
    }

    /// The time that all of a bucket stands for.
    fn capacity(&self) -> i128 {
        self.interval_micros() * i128::from(self.burst)
    }

    /// How much later than here the directory may count what is taken; levels include it. The last
    /// place of a bucket is given away this much later for it, and the rate is the same.
    fn margin(&self) -> i128 {
        let shortest = to_micros(SHORTEST_MARGIN).min(self.capacity() / 60);
        let margin = (self.interval_micros() / 2).max(shortest);
        margin.min(to_micros(LONGEST_MARGIN))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.period.as_secs();
        if self.period.subsec_nanos() != 0 {
            return write!(formatter, "{}/{}ms", self.burst, self.period.as_millis());
        }
        let unit = UNITS
            .iter()
            .find(|(_, length)| seconds.is_multiple_of(*length));
        let (unit, length) = unit.copied().unwrap_or(('s', SECOND));
        write!(formatter, "{}/{}{unit}", self.burst, seconds / length)
    }
}

impl FromStr for Limit {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let parsed = text.split_once('/').and_then(|(burst, period)| {
            let burst = burst.trim().parse().ok()?;
            Self::new(burst, parse_period(period.trim())?)
        });
        parsed.ok_or_else(|| LimitsError::Limit(text.to_owned()))
    }
}

/// How many are left of `limit` at `now`, where its bucket is at `level`.
#[must_use]
pub fn left(limit: Limit, level: Option<OffsetDateTime>, now: OffsetDateTime) -> u32 {
    limit.left(level, now)
}

fn parse_period(text: &str) -> Option<Duration> {
    if let Some(count) = text.strip_suffix("ms") {
        return Some(Duration::from_millis(count.parse().ok()?));
    }
    let (_, length) = UNITS.iter().find(|(unit, _)| text.ends_with(*unit))?;
    let count = text.get(..text.len() - 1)?;
    // `3h`, and `h` for one of them.
    let count = if count.is_empty() {
        1
    } else {
        count.parse::<u64>().ok()?
    };
    Some(Duration::from_secs(count.checked_mul(*length)?))
}

/// Whole microseconds, what the store keeps.
fn micros(moment: OffsetDateTime) -> i128 {
    moment.unix_timestamp_nanos().div_euclid(1000)
}

fn to_micros(duration: Duration) -> i128 {
    i128::try_from(duration.as_micros()).unwrap_or(i128::MAX / 4)
}

/// The moment, or the last or first one there is.
fn moment(micros: i128) -> OffsetDateTime {
    let nanos = micros.saturating_mul(1000);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(if micros < 0 {
        OffsetDateTime::UNIX_EPOCH
    } else {
        time::PrimitiveDateTime::MAX.assume_utc()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// A directory that counts exactly: its level is in fractions of a microsecond.
    struct Directory {
        limit: Limit,
        level: i128,
    }

    impl Directory {
        fn new(limit: Limit) -> Self {
            Self {
                limit,
                level: i128::MIN / 2,
            }
        }

        fn takes(&mut self, at: OffsetDateTime) -> bool {
            let burst = i128::from(self.limit.burst);
            let (now, interval) = (micros(at) * burst, to_micros(self.limit.period));
            let level = self.level.max(now) + interval;
            let is_within = level <= now + interval * burst;
            if is_within {
                self.level = level;
            }
            is_within
        }
    }

    fn orders() -> Limit {
        "300/3h".parse().unwrap()
    }

    fn limits() -> impl Strategy<Value = Limit> {
        let period = prop_oneof![1_u64..10_000, 1_u64..(366 * DAY * 1000)];
        (1_u32..2000, period)
            .prop_map(|(burst, millis)| Limit::new(burst, Duration::from_millis(millis)).unwrap())
    }

    fn moments() -> impl Strategy<Value = OffsetDateTime> {
        let first = time::PrimitiveDateTime::MIN.assume_utc();
        let last = time::PrimitiveDateTime::MAX.assume_utc();
        prop_oneof![
            Just(first),
            Just(last),
            (first.unix_timestamp()..=last.unix_timestamp())
                .prop_map(|second| OffsetDateTime::from_unix_timestamp(second).unwrap()),
        ]
    }

    proptest! {
        #[test]
        fn a_directory_never_sees_more_than_it_allows(
            limit in limits(),
            steps in proptest::collection::vec((0_u8..4, 0.0_f64..1.0, 0.0_f64..1.0), 1..400),
        ) {
            let margin = Duration::from_micros(u64::try_from(limit.margin()).unwrap());
            let (mut now, mut level, mut sent) = (START, None, Vec::new());
            for (kind, gap, delay) in steps {
                now += match kind {
                    0 => Duration::ZERO,
                    1 => limit.interval().mul_f64(gap * 2.0),
                    2 => limit.period.mul_f64(gap),
                    _ => (limit.free_at(level, 0, now) - now).unsigned_abs(),
                };
                if limit.free_at(level, 0, now) <= now {
                    level = Some(limit.spent(level, now));
                    sent.push(now + margin.mul_f64(delay));
                }
            }
            sent.sort_unstable();
            let mut directory = Directory::new(limit);
            for arrival in sent {
                prop_assert!(directory.takes(arrival), "one too many at {arrival}");
            }
        }

        #[test]
        fn what_is_left_can_be_taken_and_no_more(limit in limits(), taken in 0_u32..100) {
            let taken = taken.min(limit.burst);
            let mut level = None;
            for _ in 0..taken {
                level = Some(limit.spent(level, START));
            }
            prop_assert_eq!(limit.left(level, START), limit.burst - taken);
            let margin = Duration::from_micros(u64::try_from(limit.margin()).unwrap());
            let is_free = limit.free_at(level, 0, START) <= START + margin;
            prop_assert_eq!(is_free, taken < limit.burst);
        }

        #[test]
        fn no_moment_is_too_early_or_too_late_to_reckon_with(
            limit in limits(),
            level in proptest::option::of(moments()),
            now in moments(),
            until in moments(),
            reserve in any::<u32>(),
        ) {
            let free = limit.free_at(level, reserve, now);
            prop_assert!(free >= now);
            prop_assert!(limit.left(level, now) <= limit.burst);
            for level in [limit.spent(level, now), limit.exhausted(level, until, now)] {
                let longest = limit.period * 2 + LONGEST_REFUSAL + LONGEST_MARGIN * 2;
                let free = limit.free_at(Some(level), reserve, now);
                prop_assert!(free - now <= longest);
            }
        }

        #[test]
        fn a_limit_is_read_as_it_is_written(limit in limits()) {
            prop_assert_eq!(limit.to_string().parse(), Ok(limit));
        }
    }

    #[test]
    fn the_whole_burst_is_there_at_once_but_for_the_last_which_comes_a_little_later() {
        let mut level = None;
        for taken in 0..299 {
            assert_eq!(orders().free_at(level, 0, START), START, "after {taken}");
            level = Some(orders().spent(level, START));
        }
        let last = orders().free_at(level, 0, START);
        assert_eq!(last - START, Duration::from_secs(30));
        level = Some(orders().spent(level, last));
        let next = orders().free_at(level, 0, last);
        assert_eq!(next - START, Duration::from_secs(30 + 36));
    }

    #[test]
    fn the_rate_does_not_drift_where_the_period_cannot_be_divided_evenly() {
        let limit: Limit = "7/1h".parse().unwrap();
        let (mut now, mut level) = (START, None);
        let count = 70_000;
        for _ in 0..count {
            now = limit.free_at(level, 0, now);
            level = Some(limit.spent(level, now));
        }
        let exact = Duration::from_secs(3600) * (count / 7) - limit.period;
        let margin = Duration::from_micros(u64::try_from(limit.margin()).unwrap());
        let late = now - START - exact - margin;
        assert!(!late.is_negative(), "{late} early");
        assert!(late <= Duration::from_micros(1) * count, "{late} late");
    }

    #[test]
    fn a_reserve_is_left_alone_even_after_the_bucket_was_closed() {
        let reserve = 30;
        let mut level = None;
        while orders().free_at(level, reserve, START) == START {
            level = Some(orders().spent(level, START));
        }
        assert!(orders().left(level, START) >= reserve);
        assert_eq!(orders().free_at(level, 0, START), START);
        let until = START + Duration::from_secs(HOUR);
        let closed = Some(orders().exhausted(level, until, START));
        assert_eq!(orders().free_at(closed, 0, START), until);
        let after = orders().free_at(closed, reserve, START);
        assert_eq!(after - until, orders().interval() * reserve);
    }

    #[test]
    fn the_smallest_limit_still_gives_one_at_a_time() {
        let limit: Limit = "1/10s".parse().unwrap();
        assert_eq!(limit.free_at(None, 5, START), START);
        let level = Some(limit.spent(None, START));
        let next = limit.free_at(level, 5, START);
        assert_eq!(next - START, Duration::from_secs(15));
        assert_eq!(limit.free_at(level, 5, next), next);
        assert_eq!(limit.left(level, START), 0);
    }

    #[test]
    fn a_clock_that_was_a_century_ahead_closes_nothing_for_longer_than_a_refusal() {
        let ahead = START + Duration::from_secs(100 * 365 * DAY);
        let level = Some(orders().spent(None, ahead));
        let free = orders().free_at(level, 0, START);
        assert!(free - START <= LONGEST_REFUSAL + orders().period);
        let back = Some(orders().spent(level, START));
        assert!(orders().free_at(back, 0, START) - START <= LONGEST_REFUSAL + orders().period);
    }
}
