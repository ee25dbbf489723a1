//! Certificates of ours, verified and shown by `openssl`.

use pki::{
    CertificateRequest, DistinguishedName, KeyAlgorithm, KeyKind, LeafProfile, NameConstraints,
    PrivateKey, Signer, Subtree, read_chain,
};
use testbed::{Workdir, openssl, try_openssl};

use crate::support::{
    AUTHORITY_KEYS, LEAF_KEYS, authority_key, ca_profile, issue, leaf_profile, root, serial, write,
};

fn show(path: &str) -> String {
    openssl(
        &[
            "x509",
            "-in",
            path,
            "-noout",
            "-text",
            "-nameopt",
            "RFC2253,utf8,-esc_msb",
        ],
        b"",
    )
    .text()
}

#[test]
fn every_kind_of_leaf_verifies_under_every_kind_of_root() {
    let workdir = Workdir::new();
    for authority_key in AUTHORITY_KEYS.iter() {
        let issuer = root(authority_key);
        let root_path = write(&workdir, "root.pem", issuer.certificate());
        for (number, key) in (2..).zip(LEAF_KEYS.iter()) {
            if key.public_key() == authority_key.public_key() {
                continue;
            }
            let leaf = issue(
                leaf_profile(&["example.com", "192.0.2.1"], key.public_key()),
                number,
                &issuer,
            );
            let leaf_path = write(&workdir, "leaf.pem", &leaf);
            openssl(
                &[
                    "verify",
                    "-x509_strict",
                    "-check_ss_sig",
                    "-purpose",
                    "sslserver",
                    "-verify_hostname",
                    "example.com",
                    "-CAfile",
                    &root_path,
                    &leaf_path,
                ],
                b"",
            );
            let text = show(&leaf_path);
            let usage = match key.algorithm() {
                KeyKind::Rsa { .. } => {
                    "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment\n"
                }
                _ => "X509v3 Key Usage: critical\n                Digital Signature\n",
            };
            assert!(text.contains(usage), "{text}");
            assert!(leaf.verify_signature_by(authority_key.public_key()));
        }
    }
}

#[test]
fn a_leaf_shows_what_its_profile_says() {
    let workdir = Workdir::new();
    let issuer = root(&authority_key(KeyAlgorithm::P256));
    let key = &LEAF_KEYS[3];
    let leaf = issue(
        leaf_profile(
            &["example.com", "*.example.com", "2001:db8::1"],
            key.public_key(),
        ),
        7,
        &issuer,
    );
    let text = show(&write(&workdir, "leaf.pem", &leaf));
    for part in [
        "Version: 3 (0x2)",
        "07:07:07:07:07:07:07:07:07:07:07:07:07:07:07:07",
        "Issuer: CN=Root,O=Müller\\, Söhne & \\\"Co\\\",C=DE",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Extended Key Usage: \n                TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name: \n                DNS:example.com, DNS:*.example.com, IP Address:2001:DB8:0:0:0:0:0:1",
        "OCSP - URI:http://pki.example/ocsp",
        "CA Issuers - URI:http://pki.example/ca.cer",
        "URI:http://pki.example/crl",
        "X509v3 Subject Key Identifier:",
        "X509v3 Authority Key Identifier:",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(
        text.contains(&format!("Subject: {}", leaf.subject())),
        "{text}"
    );
    assert_eq!(
        leaf.issuer().to_string(),
        "CN=Root,O=Müller\\, Söhne & \\\"Co\\\",C=DE"
    );
}

#[test]
fn names_are_critical_when_there_is_no_subject() {
    let workdir = Workdir::new();
    let issuer = root(&authority_key(KeyAlgorithm::P256));
    let profile = LeafProfile {
        subject: DistinguishedName::empty(),
        ..leaf_profile(&["example.com"], LEAF_KEYS[3].public_key())
    };
    let leaf = issue(profile, 8, &issuer);
    let (root_path, leaf_path) = (
        write(&workdir, "root.pem", issuer.certificate()),
        write(&workdir, "leaf.pem", &leaf),
    );
    assert!(show(&leaf_path).contains("X509v3 Subject Alternative Name: critical"));
    openssl(
        &["verify", "-x509_strict", "-CAfile", &root_path, &leaf_path],
        b"",
    );
}

#[test]
fn a_request_becomes_a_certificate_of_another_kind_of_authority() {
    let workdir = Workdir::new();
    let issuer = root(&authority_key(KeyAlgorithm::P256));
    let key = workdir.write("key.pem", LEAF_KEYS[0].to_pkcs8_pem().as_bytes());
    let pem = openssl(
        &[
            "req",
            "-new",
            "-key",
            &key,
            "-subj",
            "/O=Example/CN=example.com",
            "-addext",
            "subjectAltName=DNS:example.com",
            "-addext",
            "keyUsage=keyCertSign",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ],
        b"",
    )
    .stdout;
    let request = CertificateRequest::from_pem_or_der(&pem).unwrap();
    let leaf = issue(
        LeafProfile {
            subject: request.subject().clone(),
            identifiers: request.identifiers().to_vec(),
            ..leaf_profile(&[], request.public_key())
        },
        9,
        &issuer,
    );
    let (root_path, leaf_path) = (
        write(&workdir, "root.pem", issuer.certificate()),
        write(&workdir, "leaf.pem", &leaf),
    );
    openssl(
        &[
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-CAfile",
            &root_path,
            &leaf_path,
        ],
        b"",
    );
    let text = show(&leaf_path);
    assert!(
        text.contains("CA:FALSE") && !text.contains("Certificate Sign"),
        "{text}"
    );
    assert_eq!(leaf.subject().to_der(), request.subject().to_der());
}

#[test]
fn tiers_with_path_lengths_and_name_constraints_verify() {
    let workdir = Workdir::new();
    let top = root(&authority_key(KeyAlgorithm::P384));
    let key = authority_key(KeyAlgorithm::Ed25519);
    let mut profile = ca_profile("Issuing", key.public_key());
    profile.path_length = Some(0);
    profile.name_constraints = Some(NameConstraints {
        permitted: vec![
            Subtree::Dns(pki::DnsName::parse("example.com").unwrap()),
            Subtree::Network {
                address: "10.0.0.0".parse().unwrap(),
                prefix: 8,
            },
        ],
        excluded: vec![Subtree::Dns(
            pki::DnsName::parse("secret.example.com").unwrap(),
        )],
    });
    profile.urls = crate::support::urls();
    let issuing = Signer::new(issue(profile, 3, &top), key).unwrap();
    let leaf_key = &LEAF_KEYS[3];
    let leaf = issue(
        leaf_profile(&["www.example.com", "10.1.2.3"], leaf_key.public_key()),
        4,
        &issuing,
    );
    let root_path = write(&workdir, "root.pem", top.certificate());
    let issuing_path = write(&workdir, "issuing.pem", issuing.certificate());
    let leaf_path = write(&workdir, "leaf.pem", &leaf);
    openssl(
        &[
            "verify",
            "-x509_strict",
            "-CAfile",
            &root_path,
            "-untrusted",
            &issuing_path,
            &leaf_path,
        ],
        b"",
    );
    let text = show(&issuing_path);
    for part in [
        "X509v3 Basic Constraints: critical\n                CA:TRUE, pathlen:0",
        "X509v3 Key Usage: critical\n                Digital Signature, Certificate Sign, CRL Sign",
        "X509v3 Name Constraints: critical",
        "DNS:example.com",
        "IP:10.0.0.0/255.0.0.0",
        "DNS:secret.example.com",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    // What our lint refuses, openssl refuses as well.
    let outside = leaf_profile(&["www.example.org"], leaf_key.public_key());
    let prepared = pki::prepare(outside, &serial(5), &issuing).unwrap();
    assert_eq!(prepared.lint().unwrap_err().rule, "name_constraints");

    let bundle = [issuing.certificate(), top.certificate(), &leaf]
        .map(pki::Certificate::to_pem)
        .concat();
    let chain = read_chain(bundle.as_bytes(), leaf_key.public_key()).unwrap();
    let chain_path = workdir.write("chain.pem", chain.to_pem());
    openssl(
        &[
            "verify",
            "-CAfile",
            &root_path,
            "-untrusted",
            &chain_path,
            &chain_path,
        ],
        b"",
    );
}

#[test]
fn a_self_signed_leaf_is_its_own_trust_anchor() {
    let workdir = Workdir::new();
    for key in LEAF_KEYS.iter() {
        let leaf = pki::prepare_self_signed(
            leaf_profile(&["localhost"], key.public_key()),
            &serial(6),
            key,
        )
        .unwrap()
        .lint()
        .unwrap()
        .sign()
        .unwrap();
        let path = write(&workdir, "leaf.pem", &leaf);
        openssl(
            &[
                "verify",
                "-purpose",
                "sslserver",
                "-verify_hostname",
                "localhost",
                "-CAfile",
                &path,
                &path,
            ],
            b"",
        );
        assert!(leaf.is_self_issued() && leaf.verify_signature_by(key.public_key()));
    }
}

#[test]
fn certificates_by_openssl_are_read() {
    let workdir = Workdir::new();
    let key_path = workdir.path("key.pem");
    let path = workdir.path("certificate.pem");
    openssl(
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-utf8",
            "-keyout",
            &key_path,
            "-out",
            &path,
            "-days",
            "30",
            "-set_serial",
            "-129",
            "-subj",
            "/C=US/O=Let's Encrypt/CN=example.com",
            "-addext",
            "subjectAltName=DNS:example.com,DNS:*.Example.org,IP:192.0.2.1,email:a@b.example,URI:x:y,DNS:not valid",
        ],
        b"",
    );
    let key = PrivateKey::from_pem(&workdir.read("key.pem")).unwrap();
    let certificate = pki::Certificate::from_pem(&workdir.read("certificate.pem")).unwrap();
    assert_eq!(certificate.serial().to_string(), "-129");
    assert_eq!(
        certificate.subject().to_string(),
        "CN=example.com,O=Let's Encrypt,C=US"
    );
    let names: Vec<String> = certificate
        .identifiers()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        ["example.com", "*.example.org", "192.0.2.1", "a@b.example"]
    );
    assert_eq!(
        (certificate.not_after() - certificate.not_before()).whole_days(),
        30
    );
    assert!(certificate.is_ca() && certificate.is_self_issued());
    assert!(certificate.verify_signature_by(key.public_key()));
    let der = openssl(&["x509", "-in", &path, "-outform", "DER"], b"").stdout;
    assert_eq!(certificate.der(), der);
    let digest = openssl(
        &["x509", "-in", &path, "-noout", "-fingerprint", "-sha256"],
        b"",
    )
    .text();
    let fingerprint: Vec<String> = certificate
        .fingerprint()
        .iter()
        .map(|octet| format!("{octet:02X}"))
        .collect();
    assert!(digest.contains(&fingerprint.join(":")), "{digest}");
    let chain = read_chain(&workdir.read("certificate.pem"), key.public_key()).unwrap();
    assert_eq!((chain.leaf, chain.intermediates.len()), (certificate, 0));
}

#[test]
fn certificates_with_keys_we_do_not_support_can_still_be_shown() {
    let workdir = Workdir::new();
    let key = workdir.path("key.pem");
    openssl(&["genpkey", "-algorithm", "ED448", "-out", &key], b"");
    let pem = openssl(&["req", "-x509", "-key", &key, "-subj", "/CN=x"], b"").stdout;
    let certificate = pki::Certificate::from_pem(&pem).unwrap();
    assert!(matches!(
        certificate.public_key(),
        Err(pki::KeyError::Unsupported(_))
    ));
    assert_eq!(certificate.common_name().as_deref(), Some("x"));
    let other = &LEAF_KEYS[3];
    assert!(!certificate.verify_signature_by(other.public_key()));
}

#[test]
fn a_version_1_certificate_is_read_and_is_no_authority() {
    let workdir = Workdir::new();
    let key = workdir.write("key.pem", LEAF_KEYS[3].to_pkcs8_pem().as_bytes());
    let request = openssl(&["req", "-new", "-key", &key, "-subj", "/CN=x"], b"").stdout;
    let pem = openssl(&["x509", "-req", "-signkey", &key, "-days", "1"], &request).stdout;
    assert!(
        try_openssl(&["x509", "-noout", "-text"], &pem)
            .text()
            .contains("Version: 1 (0x0)")
    );
    let certificate = pki::Certificate::from_pem(&pem).unwrap();
    assert!(!certificate.is_ca());
    assert_eq!(certificate.subject_key_identifier(), None);
}
