//! Virtual time: milliseconds since the beginning of the run.

use std::time::Duration;

use time::OffsetDateTime;

pub(crate) type Moment = i64;

pub(crate) const SECOND: Moment = 1000;
pub(crate) const MINUTE: Moment = 60 * SECOND;
pub(crate) const HOUR: Moment = 60 * MINUTE;
pub(crate) const DAY: Moment = 24 * HOUR;

/// 2026-01-01.
const BEGINNING: i64 = 1_767_225_600;

/// The moment as the functions under test want it.
pub(crate) fn date(moment: Moment) -> OffsetDateTime {
    let nanos = i128::from(BEGINNING * SECOND + moment) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).expect("a moment of this age")
}

/// The first millisecond that is not before `date`.
pub(crate) fn moment(date: OffsetDateTime) -> Moment {
    let nanos = date.unix_timestamp_nanos();
    let millis = -(-nanos).div_euclid(1_000_000);
    i64::try_from(millis).expect("a moment of this age") - BEGINNING * SECOND
}

pub(crate) fn duration(length: Moment) -> Duration {
    Duration::from_millis(u64::try_from(length).expect("a length"))
}
