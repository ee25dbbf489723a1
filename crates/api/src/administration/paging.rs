//! Lists that are read page by page. Where a page begins is opaque to clients, and good even when
//! what it points at has been deleted meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use lifecycle::{Order, Page, PageStart};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Call;
use super::faults::Fault;

/// Objects on a page when the caller does not say, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 999;

/// The page that a request asks for, and one object more: it tells whether there is a next page, and
/// where that begins.
pub(super) fn asked<Id>(call: &Call<'_>, id: fn(Uuid) -> Id) -> Result<Page<Id>, Fault> {
    let bad = |detail: &str| Fault::new(StatusCode::BAD_REQUEST, detail);
    let limit = match call.parameter("limit")? {
        Some(limit) => limit
            .parse::<usize>()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
            .ok_or_else(|| bad("limit is a number from 1 to 999"))?,
        None => PAGE,
    };
    let from = match call.parameter("from")? {
        Some(text) => decode(&text, id).ok_or_else(|| bad("from is the next of a page"))?,
        None => PageStart::Beginning,
    };
    Ok(Page {
        from,
        limit: limit + 1,
        order: Order::Ascending,
    })
}

/// Takes what is beyond the page off; answers where the next one begins.
pub(super) fn cut<T, Id>(
    found: &mut Vec<T>,
    page: &Page<Id>,
    place: impl Fn(&T) -> (OffsetDateTime, Uuid),
) -> Option<String> {
    let limit = page.limit - 1;
    let next = found.get(limit).map(place);
    found.truncate(limit);
    next.map(self::next)
}

/// How a page that begins at this place is asked for.
pub(super) fn next((created_at, id): (OffsetDateTime, Uuid)) -> String {
    encode(created_at, id)
}

fn encode(created_at: OffsetDateTime, id: Uuid) -> String {
    let microseconds = created_at.unix_timestamp_nanos() / 1000;
    let place = [microseconds.to_be_bytes(), id.into_bytes()];
    URL_SAFE_NO_PAD.encode(place.as_flattened())
}

fn decode<Id>(text: &str, id: fn(Uuid) -> Id) -> Option<PageStart<Id>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (microseconds, uuid) = bytes.split_first_chunk()?;
    let nanoseconds = i128::from_be_bytes(*microseconds).checked_mul(1000)?;
    Some(PageStart::At {
        created_at: OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?,
        id: id(Uuid::from_slice(uuid).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_place_is_found_again() {
        let created_at = datetime!(2026-03-01 12:00:00.000_001 UTC);
        let id = Uuid::from_bytes([7; 16]);
        let decoded = decode(&encode(created_at, id), |id| id);
        assert_eq!(decoded, Some(PageStart::At { created_at, id }));
    }

    proptest! {
        #[test]
        fn any_text_is_a_place_or_none(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&text, |id| id);
            let _ = decode(&URL_SAFE_NO_PAD.encode(&bytes), |id| id);
        }
    }
}
