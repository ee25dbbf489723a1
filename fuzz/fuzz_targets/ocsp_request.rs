//! An OCSP request from anybody. What was accepted keeps the limits that answers count on, and
//! reads back as the same once written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::ocsp::{MAX_CERT_IDS, MAX_NONCE, OcspRequest};

fuzz_target!(|der: &[u8]| {
    if let Ok(request) = OcspRequest::from_der(der) {
        assert!((1..=MAX_CERT_IDS).contains(&request.cert_ids.len()));
        let nonce = request.nonce.as_ref();
        assert!(nonce.is_none_or(|nonce| (1..=MAX_NONCE).contains(&nonce.len())));
        let again = OcspRequest::from_der(&request.to_der()).expect("it reads back");
        assert_eq!(again.cert_ids, request.cert_ids);
        assert_eq!(again.nonce, request.nonce);
    }
});
