//! What authorities publish, as those who rely on it read it.

use bytes::Bytes;
use lifecycle::House;
use pki::{CertId, Certificate, HashAlgorithm, IssuerHashes, OcspRequest, VerifiedAnswer};
use time::{Duration, OffsetDateTime};

/// For how long caches give an answer again.
const CACHED: Duration = Duration::minutes(5);

/// The CRL number (RFC 5280 section 5.2.3).
pub(crate) fn number_of(list: &[u8]) -> u64 {
    let object = [0x06, 0x03, 0x55, 0x1d, 0x14, 0x04];
    let place = list.windows(object.len()).position(|found| found == object);
    // The length of the octet string, then an INTEGER.
    let value = &list[place.unwrap() + object.len() + 2..];
    let digits = &value[1..=usize::from(value[0])];
    digits
        .iter()
        .fold(0, |number, digit| number << 8 | u64::from(*digit))
}

/// A request for the status of `subject`, which `issuer` signed.
pub(crate) fn question(
    issuer: &Certificate,
    subject: &Certificate,
    nonce: Option<Vec<u8>>,
) -> OcspRequest {
    let hashes = IssuerHashes::of(issuer);
    OcspRequest {
        cert_ids: vec![CertId::new(HashAlgorithm::Sha1, &hashes, subject.serial())],
        nonce,
    }
}

/// The answer of a node to [`question`], as it is.
pub(crate) async fn answer(house: &House, issuer: &Certificate, subject: &Certificate) -> Bytes {
    let request = question(issuer, subject, None).to_der();
    house.authorities.answer_ocsp(&request).await.der
}

/// What a node says of a certificate, if that holds `now` and for as long as caches repeat it.
pub(crate) async fn is_good(
    house: &House,
    now: OffsetDateTime,
    issuer: &Certificate,
    request: &OcspRequest,
) -> bool {
    let answer = house.authorities.answer_ocsp(&request.to_der()).await;
    let cached = if answer.repeatable.is_some() {
        CACHED
    } else {
        Duration::ZERO
    };
    let reads = [now, now + cached].map(|moment| {
        let read = VerifiedAnswer::read(&answer.der, &request.cert_ids[0], issuer, moment);
        read.unwrap()
    });
    assert!(reads[0].next_update.unwrap() <= issuer.not_after().max(now + Duration::DAY));
    assert_eq!(reads[0], reads[1]);
    reads[0].is_good
}
