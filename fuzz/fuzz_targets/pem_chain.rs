//! What a user uploads: a key and a chain, both PEM, here in one input. What was accepted must
//! read back as the same once written.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pki::{KeyAlgorithm, PrivateKey, read_chain};

static STRANGER: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::generate(KeyAlgorithm::P256).expect("a key can be made"));

fuzz_target!(|pem: &[u8]| {
    let key = PrivateKey::from_pem(pem);
    if let Ok(key) = &key {
        let again = PrivateKey::from_pem(key.to_pkcs8_pem().as_bytes()).expect("it reads back");
        assert_eq!(again.public_key(), key.public_key());
    }
    let key = key.as_ref().unwrap_or(&STRANGER).public_key();
    if let Ok(chain) = read_chain(pem, key) {
        assert_eq!(chain.leaf.public_key().as_ref(), Ok(key));
        let again = read_chain(chain.to_pem().as_bytes(), key).expect("it reads back");
        assert_eq!(again.to_pem(), chain.to_pem());
        assert!(again.notices.is_empty(), "{:?}", again.notices);
    }
});
