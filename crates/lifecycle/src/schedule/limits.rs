//! The limits of a directory, as it announces them, and the arithmetic of one of them.
//!
//! A limit is a bucket of places that fills up again evenly, the way Let's Encrypt counts: the generic
//! cell rate algorithm, whose whole memory of a bucket is one moment, its level: when the bucket will
//! be full again. Microseconds in whole numbers, rounded so that never more is taken than the
//! directory gives, however long it goes on.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;

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
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const UNITS: [(char, u64); 4] = [('d', DAY), ('h', HOUR), ('m', MINUTE), ('s', SECOND)];

/// So many in a period; written `300/3h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    burst: u32,
    period: Duration,
}

/// What a directory allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Orders of our account there.
    pub orders: Option<Limit>,
    /// Certificates for the names of one registered domain.
    pub domain: Option<Limit>,
    /// Certificates for exactly the same names.
    pub duplicates: Option<Limit>,
    /// Failed validations of one name.
    pub failures: Option<Limit>,
    /// The share of [`Limits::orders`] that one account of ours can count on at a directory that
    /// several use, in percent. It gets more while as much is left for the others.
    pub share: u8,
    /// Orders that a node has under way at a time.
    pub concurrency: u32,
}

/// Why limits cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// Not of the form `300/3h`.
    #[error("`{0}` is no limit; write how many in which time, such as 300/3h, or none")]
    Limit(String),
    /// No such limit.
    #[error(
        "there is no limit named `{0}`; there are orders, domain, duplicates, failures, share and \
         concurrency"
    )]
    Name(String),
    /// A number that cannot be.
    #[error("`{name}` is a whole number from {least} to {most}")]
    Number {
        /// Of what.
        name: &'static str,
        /// The least it can be.
        least: u32,
        /// The most it can be.
        most: u32,
    },
    /// Not a JSON object.
    #[error("limits are a JSON object")]
    Form,
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

impl Default for Limits {
    fn default() -> Self {
        Self::LETS_ENCRYPT
    }
}

impl Limits {
    /// What Let's Encrypt announces (letsencrypt.org/docs/rate-limits). Its limits are among the
    /// tightest, so these are also assumed of directories of which nothing is known.
    pub const LETS_ENCRYPT: Self = Self {
        orders: limit(300, 3 * HOUR),
        domain: limit(50, 7 * DAY),
        duplicates: limit(5, 7 * DAY),
        failures: limit(5, HOUR),
        share: 50,
        concurrency: 32,
    };

    /// No limit at all.
    pub const NONE: Self = Self {
        orders: None,
        domain: None,
        duplicates: None,
        failures: None,
        share: 100,
        concurrency: 32,
    };

    /// Reads what [`Limits::to_json`] writes. What is not named is as Let's Encrypt has it; `null` and
    /// `"none"` mean that there is no such limit.
    ///
    /// # Errors
    /// What is wrong with the first that is wrong.
    pub fn from_json(text: &str) -> Result<Self, LimitsError> {
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(LimitsError::Form);
        };
        let mut limits = Self::LETS_ENCRYPT;
        for (name, value) in members {
            let value = match value {
                Value::Null => "none".to_owned(),
                Value::String(value) => value,
                other => other.to_string(),
            };
            limits.set(&name, &value)?;
        }
        Ok(limits)
    }

    /// Changes the limit named `name`.
    ///
    /// # Errors
    /// [`LimitsError::Name`], or what is wrong with `value`.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), LimitsError> {
        match name {
            "orders" => self.orders = parse_limit(value)?,
            "domain" => self.domain = parse_limit(value)?,
            "duplicates" => self.duplicates = parse_limit(value)?,
            "failures" => self.failures = parse_limit(value)?,
            "share" => {
                let share = parse_number("share", value, 1, 100)?;
                self.share = u8::try_from(share).unwrap_or(100);
            }
            "concurrency" => self.concurrency = parse_number("concurrency", value, 1, 10_000)?,
            other => return Err(LimitsError::Name(other.to_owned())),
        }
        Ok(())
    }

    /// The limits as a JSON object.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |limit: Option<Limit>| limit.map(|limit| limit.to_string());
        let limits = serde_json::json!({
            "orders": text(self.orders),
            "domain": text(self.domain),
            "duplicates": text(self.duplicates),
            "failures": text(self.failures),
            "share": self.share,
            "concurrency": self.concurrency,
        });
        limits.to_string()
    }

    /// What one account can count on of the orders.
    pub(super) fn of_account(&self) -> Option<Limit> {
        let orders = self.orders?;
        let burst = u64::from(orders.burst) * u64::from(self.share) / 100;
        Limit::new(u32::try_from(burst.max(1)).ok()?, orders.period)
    }
}

/// How many are left of `limit` at `now`, where its bucket is at `level`.
#[must_use]
pub fn left(limit: Limit, level: Option<OffsetDateTime>, now: OffsetDateTime) -> u32 {
    limit.left(level, now)
}

const fn limit(burst: u32, seconds: u64) -> Option<Limit> {
    Some(Limit {
        burst,
        period: Duration::from_secs(seconds),
    })
}

fn parse_limit(value: &str) -> Result<Option<Limit>, LimitsError> {
    if value == "none" {
        return Ok(None);
    }
    value.parse().map(Some)
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

fn parse_number(
    name: &'static str,
    value: &str,
    least: u32,
    most: u32,
) -> Result<u32, LimitsError> {
    let number = value.parse().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or(LimitsError::Number { name, least, most })
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
        Limits::LETS_ENCRYPT.orders.unwrap()
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

    #[test]
    fn limits_are_read_as_they_are_written_and_start_from_those_of_lets_encrypt() {
        for limits in [Limits::LETS_ENCRYPT, Limits::NONE] {
            assert_eq!(Limits::from_json(&limits.to_json()), Ok(limits));
        }
        assert_eq!(Limits::from_json("{}"), Ok(Limits::default()));
        let changed = r#"{"orders": "10000/3h", "domain": null, "failures": "none", "share": 25}"#;
        let changed = Limits::from_json(changed).unwrap();
        assert_eq!(
            changed.orders,
            Limit::new(10_000, Duration::from_secs(3 * HOUR))
        );
        assert_eq!((changed.domain, changed.failures), (None, None));
        assert_eq!(changed.duplicates, Limits::LETS_ENCRYPT.duplicates);
        assert_eq!(changed.of_account().unwrap().burst, 2500);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "",
            "5",
            "/",
            "5/",
            "/h",
            "0/h",
            "-1/h",
            "5/0s",
            "5/3w",
            "5/1.5h",
            "5/h/h",
            "5/é",
            "4294967296/h",
            "5/99999999999999999999d",
            "5/367d",
            "five/h",
            "5/d ay",
        ] {
            assert_eq!(
                text.parse::<Limit>(),
                Err(LimitsError::Limit(text.to_owned()))
            );
        }
        for text in [
            "",
            "[]",
            "7",
            "{",
            r#"{"orders": 7}"#,
            r#"{"order": "7/h"}"#,
            r#"{"share": 0}"#,
        ] {
            assert!(Limits::from_json(text).is_err(), "{text}");
        }
        assert_eq!("5/h".parse::<Limit>().unwrap().to_string(), "5/1h");
    }
}
