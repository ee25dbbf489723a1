//! When to come back, as servers say it (RFC 9110 section 10.2.3).

use std::time::Duration;

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The longest pause that is believed.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// RFC 9110 section 5.6.7. The obsolete forms are not read.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    version = 2,
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// How long a server asks to wait, from the moment it answered. A date is taken against the server's
/// own clock, so that neither ours nor a wrong one of theirs matters.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let pause = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let wait = date(headers, &RETRY_AFTER)? - date(headers, &DATE)?;
        Duration::try_from(wait).unwrap_or(Duration::ZERO)
    };
    Some(pause.min(LONGEST))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<PrimitiveDateTime> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    PrimitiveDateTime::parse(text, HTTP_DATE).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 22 Nov 2026 12:00:00 GMT";

    fn read(text: &str, now: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, text.parse().unwrap());
        if let Some(now) = now {
            headers.insert(DATE, now.parse().unwrap());
        }
        retry_after(&headers)
    }

    #[test]
    fn rfc9110_section_10_2_3_seconds_and_dates() {
        assert_eq!(read("120", None), Some(Duration::from_secs(120)));
        assert_eq!(read(" 0 ", None), Some(Duration::ZERO));
        assert_eq!(
            read("Sun, 22 Nov 2026 13:00:05 GMT", Some(NOW)),
            Some(Duration::from_secs(3_605))
        );
        assert_eq!(
            read("Fri, 31 Dec 1999 23:59:59 GMT", Some(NOW)),
            Some(Duration::ZERO)
        );
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn nonsense_is_no_pause_and_eternity_is_cut() {
        for text in ["", "soon", "-5", "1.5", "1e9", "Sun, 22 Nov 2026"] {
            assert_eq!(read(text, Some(NOW)), None, "{text}");
        }
        assert_eq!(read("Sun, 22 Nov 2026 13:00:05 GMT", None), None);
        for text in ["99999999999", "99999999999999999999999999"] {
            assert_eq!(read(text, None), Some(LONGEST), "{text}");
        }
        assert_eq!(
            read("Fri, 31 Dec 9999 23:59:59 GMT", Some(NOW)),
            Some(LONGEST)
        );
    }
}
