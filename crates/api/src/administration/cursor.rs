//! Where the next page of a list begins. Opaque to clients, and good even when the certificate that
//! it points at has been deleted meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lifecycle::{Certificate, CertificateId, PageStart};
use time::OffsetDateTime;
use uuid::Uuid;

/// The cursor of a page that begins with `first`.
pub(super) fn encode(first: &Certificate) -> String {
    let microseconds = first.created_at.unix_timestamp_nanos() / 1000;
    let place = [microseconds.to_be_bytes(), first.id.as_uuid().into_bytes()];
    URL_SAFE_NO_PAD.encode(place.as_flattened())
}

/// Where a page with this cursor begins; `None` if the text is no cursor.
pub(super) fn decode(text: &str) -> Option<PageStart> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (microseconds, id) = bytes.split_first_chunk()?;
    let nanoseconds = i128::from_be_bytes(*microseconds).checked_mul(1000)?;
    Some(PageStart::At {
        created_at: OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?,
        id: CertificateId::from_uuid(Uuid::from_slice(id).ok()?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_a_place_or_none(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = decode(&text);
            let _ = decode(&URL_SAFE_NO_PAD.encode(&bytes));
        }
    }
}
