//! Private keys: read from every form `openssl` writes, and read by `openssl`.

use pki::{KeyAlgorithm, KeyError, KeyKind, PrivateKey};
use testbed::{Workdir, openssl};

use crate::support::{AUTHORITY_KEYS, LEAF_KEYS, root};

/// The SubjectPublicKeyInfo that `openssl` works out from a private key.
fn spki_by_openssl(pem: &[u8]) -> Vec<u8> {
    openssl(&["pkey", "-pubout", "-outform", "DER"], pem).stdout
}

fn assert_read(pem: &[u8], kind: KeyKind) {
    let key = PrivateKey::from_pem(pem).unwrap();
    assert_eq!(key.algorithm(), kind);
    assert_eq!(key.public_key().spki_der(), spki_by_openssl(pem));
    let signature = key.sign(b"message").unwrap();
    assert!(
        key.public_key()
            .verify(kind.signature_algorithm(), b"message", &signature)
    );
}

const CURVES: [(&str, KeyKind); 3] = [
    ("prime256v1", KeyKind::P256),
    ("secp384r1", KeyKind::P384),
    ("secp521r1", KeyKind::P521),
];

#[test]
fn openssl_reads_our_keys() {
    for key in AUTHORITY_KEYS.iter().chain(LEAF_KEYS.iter()) {
        let spki = spki_by_openssl(key.to_pkcs8_pem().as_bytes());
        assert_eq!(key.public_key().spki_der(), spki);
        openssl(&["pkey", "-check", "-noout"], key.to_pkcs8_pem().as_bytes());
    }
}

#[test]
fn rsa_keys_are_read_as_pkcs8_and_as_pkcs1() {
    let pkcs8 = openssl(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        b"",
    )
    .stdout;
    assert_read(&pkcs8, KeyKind::Rsa { bits: 2048 });
    let pkcs1 = openssl(&["rsa", "-traditional"], &pkcs8).stdout;
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    assert_read(&pkcs1, KeyKind::Rsa { bits: 2048 });
}

#[test]
fn odd_rsa_sizes_from_outside_are_accepted_and_named() {
    let pem = openssl(&["genrsa", "2056"], b"").stdout;
    assert_read(&pem, KeyKind::Rsa { bits: 2056 });
    assert_eq!(
        PrivateKey::from_pem(&pem).unwrap().algorithm().to_string(),
        "rsa2056"
    );
}

#[test]
fn weak_rsa_keys_are_refused() {
    let pem = openssl(&["genrsa", "-traditional", "1024"], b"").stdout;
    assert!(
        matches!(PrivateKey::from_pem(&pem), Err(KeyError::TooWeak(text)) if text.contains("1024"))
    );
    let pem = openssl(&["genrsa", "1024"], b"").stdout;
    assert!(matches!(
        PrivateKey::from_pem(&pem),
        Err(KeyError::TooWeak(_))
    ));
}

#[test]
fn elliptic_curve_keys_are_read_in_every_form() {
    for (curve, kind) in CURVES {
        // With an EC PARAMETERS block before the key, as openssl writes it by default.
        let sec1 = openssl(&["ecparam", "-name", curve, "-genkey"], b"").stdout;
        assert!(sec1.starts_with(b"-----BEGIN EC PARAMETERS-----"));
        assert_read(&sec1, kind);
        let bare = openssl(&["ec"], &sec1).stdout;
        assert!(bare.starts_with(b"-----BEGIN EC PRIVATE KEY-----"));
        assert_read(&bare, kind);
        let pkcs8 = openssl(&["pkey"], &sec1).stdout;
        assert!(pkcs8.starts_with(b"-----BEGIN PRIVATE KEY-----"));
        assert_read(&pkcs8, kind);
    }
}

#[test]
fn the_parameters_block_names_the_curve_when_the_key_does_not() {
    let workdir = Workdir::new();
    let sec1 = openssl(&["ecparam", "-name", "prime256v1", "-genkey"], b"").stdout;
    let text = String::from_utf8(sec1.clone()).unwrap();
    let parameters = text
        .split_inclusive("-----END EC PARAMETERS-----\n")
        .next()
        .unwrap();
    // SEQUENCE { 1, OCTET STRING } and nothing else: RFC 5915 with both optional parts left out.
    let der = openssl(&["ec", "-outform", "DER"], &sec1).stdout;
    let secret = &der[7..39];
    let bare = [&[0x30, 37, 2, 1, 1, 4, 32], secret].concat();
    let key_path = workdir.write("bare.der", &bare);
    let encoded = openssl(&["base64", "-in", &key_path], b"").text();
    let block = format!("-----BEGIN EC PRIVATE KEY-----\n{encoded}-----END EC PRIVATE KEY-----\n");
    let key = PrivateKey::from_pem(format!("{parameters}{block}").as_bytes()).unwrap();
    assert_eq!(key.public_key().spki_der(), spki_by_openssl(&sec1));
    assert!(matches!(
        PrivateKey::from_pem(block.as_bytes()),
        Err(KeyError::Unsupported(_))
    ));
    let other = openssl(&["ecparam", "-name", "secp384r1"], b"").text();
    let whole = openssl(&["ec"], &sec1).text();
    assert!(matches!(
        PrivateKey::from_pem(format!("{other}{whole}").as_bytes()),
        Err(KeyError::Malformed(_))
    ));
}

#[test]
fn ed25519_keys_are_read() {
    let pem = openssl(&["genpkey", "-algorithm", "ED25519"], b"").stdout;
    assert_read(&pem, KeyKind::Ed25519);
}

#[test]
fn kinds_of_keys_that_are_not_supported_are_refused_by_name() {
    for arguments in [
        &["genpkey", "-algorithm", "ED448"][..],
        &["genpkey", "-algorithm", "X25519"],
        &[
            "genpkey",
            "-algorithm",
            "RSA-PSS",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        &["ecparam", "-name", "secp256k1", "-genkey"],
        &[
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-param_enc",
            "explicit",
        ],
    ] {
        let pem = openssl(arguments, b"").stdout;
        let outcome = PrivateKey::from_pem(&pem);
        assert!(
            matches!(outcome, Err(KeyError::Unsupported(_))),
            "{arguments:?}: {outcome:?}"
        );
    }
}

#[test]
fn encrypted_keys_are_refused_as_such() {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let pem = key.to_pkcs8_pem();
    for arguments in [
        &["pkey", "-aes256", "-passout", "pass:secret"][..],
        &["ec", "-aes256", "-passout", "pass:secret"],
    ] {
        let encrypted = openssl(arguments, pem.as_bytes()).stdout;
        assert_eq!(
            PrivateKey::from_pem(&encrypted).unwrap_err(),
            KeyError::Encrypted
        );
    }
}

#[test]
fn signatures_are_verified_by_openssl() {
    let workdir = Workdir::new();
    let message = workdir.write("message", "message");
    for key in AUTHORITY_KEYS.iter() {
        let signature = workdir.write("signature", key.sign(b"message").unwrap());
        let public = workdir.write("public", key.public_key().spki_der());
        let mut arguments = vec![
            "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", &public, "-in",
            &message, "-sigfile", &signature,
        ];
        match key.algorithm() {
            KeyKind::Rsa { .. } | KeyKind::P256 => arguments.extend(["-digest", "sha256"]),
            KeyKind::P384 => arguments.extend(["-digest", "sha384"]),
            KeyKind::P521 => arguments.extend(["-digest", "sha512"]),
            KeyKind::Ed25519 => {}
        }
        openssl(&arguments, b"");
    }
}

#[test]
fn encrypted_keys_go_both_ways() {
    let workdir = Workdir::new();
    for key in AUTHORITY_KEYS.iter() {
        let text = key.to_encrypted_pem("correct horse").unwrap();
        let path = workdir.write("key.pem", text.as_bytes());
        let clear = ["pkey", "-in", &path, "-passin", "pass:correct horse"];
        let clear = openssl(&clear, b"").stdout;
        let read = PrivateKey::from_pem(&clear).unwrap();
        assert_eq!(read.public_key(), key.public_key());

        let path = workdir.write("clear.pem", key.to_pkcs8_pem().as_bytes());
        for cipher in ["aes256", "aes192", "aes128"] {
            for function in ["hmacWithSHA1", "hmacWithSHA256", "hmacWithSHA512"] {
                let encrypt = [
                    "pkcs8",
                    "-topk8",
                    "-in",
                    &path,
                    "-v2",
                    cipher,
                    "-v2prf",
                    function,
                    "-passout",
                    "pass:battery",
                ];
                let encrypted = openssl(&encrypt, b"").stdout;
                let read = PrivateKey::from_pem_with_passphrase(&encrypted, "battery").unwrap();
                assert_eq!(read.to_pkcs8_der(), key.to_pkcs8_der());
            }
        }
    }
}

#[test]
fn pkcs12_files_of_openssl_are_read() {
    let workdir = Workdir::new();
    let key = &AUTHORITY_KEYS[3];
    let signer = root(key);
    let key_path = workdir.write("key.pem", key.to_pkcs8_pem().as_bytes());
    let certificate_path = workdir.write("root.pem", signer.certificate().to_pem());
    let export = |more: &[&str]| {
        let mut arguments = vec![
            "pkcs12",
            "-export",
            "-inkey",
            &key_path,
            "-in",
            &certificate_path,
            "-passout",
            "pass:päss wörd",
        ];
        arguments.extend(more);
        openssl(&arguments, b"").stdout
    };
    for more in [
        &[][..],
        &["-macalg", "sha1"],
        &["-macalg", "sha512", "-iter", "1"],
        &["-keypbe", "aes-128-cbc", "-certpbe", "NONE"],
        &["-keypbe", "NONE", "-certpbe", "NONE"],
    ] {
        let file = export(more);
        let bundle = pki::pkcs12::read(&file, "päss wörd");
        let bundle = bundle.unwrap_or_else(|error| panic!("{more:?}: {error}"));
        assert_eq!(bundle.key.public_key(), key.public_key());
        assert_eq!(bundle.certificates, [signer.certificate().clone()]);
        assert_eq!(
            pki::pkcs12::read(&file, "wrong").unwrap_err(),
            KeyError::Passphrase
        );
        let mut damaged = file.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(pki::pkcs12::read(&damaged, "päss wörd").is_err());
    }
    for more in [
        &["-nomac"][..],
        &["-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES"],
    ] {
        let refused = pki::pkcs12::read(&export(more), "päss wörd").unwrap_err();
        assert!(matches!(refused, KeyError::Unsupported(_)), "{refused}");
    }
}
