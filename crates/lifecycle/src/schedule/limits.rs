//! The limits of a directory, as it announces them, and the arithmetic of one of them.
//!
//! A limit is a bucket of places that fills up again evenly, the way Let's Encrypt counts: the generic
//! cell rate algorithm, whose whole memory of a bucket is one moment. Microseconds in whole numbers,
//! rounded so that never more is taken than the directory gives, however long it goes on.

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
    /// `level` is what [`Limit::spent`] left behind.
    pub(super) fn free_at(
        &self,
        level: Option<OffsetDateTime>,
        reserve: u32,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        // At least one can be taken of a bucket that is full.
        let wanted = i128::from(reserve.min(self.burst - 1)) + 1;
        let Some(level) = self.sound(level, now) else {
            return now;
        };
        let free = level + self.margin() - self.capacity() + wanted * self.interval_micros();
        moment(free).max(now)
    }

    /// The level after one is taken at `now`, whether it was there or not.
    pub(super) fn spent(
        &self,
        level: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let level = self.sound(level, now).unwrap_or(i128::MIN);
        // Who takes what is not there does not take from those who come later without end.
        let most = (micros(now) + self.capacity()).max(level);
        moment((level.max(micros(now)) + self.interval_micros()).min(most))
    }

    /// The level after the directory said that there is none before `until`.
    pub(super) fn exhausted(
        &self,
        level: Option<OffsetDateTime>,
        until: OffsetDateTime,
        now: OffsetDateTime,
    ) -> OffsetDateTime {
        let level = self.sound(level, now).unwrap_or(i128::MIN);
        let until = micros(until).min(micros(now) + to_micros(LONGEST_REFUSAL));
        let exhausted = until - self.margin() + self.capacity() - self.interval_micros();
        moment(level.max(exhausted))
    }

    /// How many are there at `now`.
    pub(super) fn left(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> u32 {
        let Some(level) = self.sound(level, now) else {
            return self.burst;
        };
        let room = micros(now) + self.capacity() - level.max(micros(now));
        let left = room.max(0) / self.interval_micros();
        u32::try_from(left).map_or(self.burst, |left| left.min(self.burst))
    }

    /// The level as far as it can be right: a clock that was ahead for a while must not close a bucket
    /// until it would be right. Nothing where the bucket is certainly full, here and there.
    fn sound(&self, level: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<i128> {
        let (level, now) = (micros(level?), micros(now));
        let is_full = level + self.margin() <= now;
        let most = now + self.capacity() + to_micros(LONGEST_REFUSAL);
        (!is_full).then_some(level.min(most))
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

    /// How much later than here the directory may have counted what was taken. The last place of a
    /// bucket is given away this much later; the rate stays.
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
        let unit = UNITS.iter().find(|(_, length)| seconds % length == 0);
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
