//! Arithmetic with moments that cannot overflow, and uniform shares of a stretch of time.

use std::time::Duration;

use time::OffsetDateTime;

/// `after` later than `moment`, or the last moment there is.
pub(super) fn later(moment: OffsetDateTime, after: Duration) -> OffsetDateTime {
    let after = time::Duration::try_from(after).unwrap_or(time::Duration::MAX);
    moment.saturating_add(after)
}

/// `before` earlier than `moment`, or the first moment there is.
pub(super) fn earlier(moment: OffsetDateTime, before: Duration) -> OffsetDateTime {
    let before = time::Duration::try_from(before).unwrap_or(time::Duration::MAX);
    moment.saturating_sub(before)
}

/// How long it is from `start` to `end`; nothing when `end` comes first.
pub(super) fn between(start: OffsetDateTime, end: OffsetDateTime) -> Duration {
    Duration::try_from(end - start).unwrap_or(Duration::ZERO)
}

/// The part of `stretch` that `draw` picks: each from nothing to just below the whole is as likely.
pub(super) fn part(stretch: Duration, draw: u64) -> Duration {
    // Longer stretches than 584 years do not occur, and lose nothing but their rest here.
    let stretch = u64::try_from(stretch.as_nanos()).unwrap_or(u64::MAX);
    let picked = (u128::from(stretch) * u128::from(draw)) >> 64;
    Duration::from_nanos(u64::try_from(picked).unwrap_or(u64::MAX))
}

/// Another draw, as good as independent of the one it is made of.
pub(super) fn another(draw: u64) -> u64 {
    // The output function of SplitMix64.
    let mut mixed = draw.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_end_at_the_first_and_the_last_moment_instead_of_overflowing() {
        let epoch = OffsetDateTime::UNIX_EPOCH;
        assert!(later(epoch, Duration::MAX) > epoch);
        assert!(earlier(epoch, Duration::MAX) < epoch);
        assert_eq!(
            between(later(epoch, Duration::from_secs(1)), epoch),
            Duration::ZERO
        );
    }

    #[test]
    fn parts_cover_the_stretch_and_never_reach_its_end() {
        let hour = Duration::from_secs(3600);
        assert_eq!(part(hour, 0), Duration::ZERO);
        assert_eq!(part(hour, 1 << 63), hour / 2);
        assert!(part(hour, u64::MAX) < hour);
        assert_eq!(part(Duration::ZERO, u64::MAX), Duration::ZERO);
        assert!(part(Duration::MAX, u64::MAX) < Duration::MAX);
    }
}
