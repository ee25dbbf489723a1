//! A certificate request from outside, PEM or DER. What was accepted must read back as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pki::CertificateRequest;

fuzz_target!(|input: &[u8]| {
    let Ok(request) = CertificateRequest::from_pem_or_der(input) else {
        return;
    };
    if input.first() == Some(&0x30) {
        let pem = CertificateRequest::to_pem(input);
        let again = CertificateRequest::from_pem_or_der(pem.as_bytes()).expect("it reads back");
        assert_eq!(again.identifiers(), request.identifiers());
        assert_eq!(again.public_key(), request.public_key());
        assert_eq!(again.subject().to_string(), request.subject().to_string());
    }
});
