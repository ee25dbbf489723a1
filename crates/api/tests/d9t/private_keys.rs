//! Private keys: made, brought, listed, shown and deleted.

use testbed::try_openssl;

use super::*;

const PUBLIC: [&str; 2] = ["pkey", "-pubout"];

#[test]
fn a_generated_key_is_rsa_of_2048_bits_and_its_owners() {
    // 4
    let server = Server::start();
    let (path, made) = make(&server, KEYS, &json!({"name": " k1 "}));
    assert_members(&made, &["id", "name", "key", "_links"]);
    assert_eq!(text(&made, "name"), "k1");
    let id = made["id"].as_u64().expect("an integer");
    assert_eq!(path, format!("{KEYS}/{id}"));
    let key = text(&made, "key");
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n") && key.ends_with("-----\n"));
    let shown = openssl(&["pkey", "-noout", "-text"], key.as_bytes()).text();
    assert!(shown.contains("2048 bit"), "{shown}");
    // 9
    assert_eq!(rels(&made), ["self", "certificates"]);
    let certificates = format!("{}{path}/certificates", server.url);
    assert_eq!(href(&made, "certificates"), certificates);
    assert_eq!(get(&server, &path), made);
    let response = send(&server, "GET", &path, "");
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let head = send(&server, "HEAD", &path, "");
    assert_eq!((head.status, head.body.as_slice()), (200, &b""[..]));
}

#[test]
fn that_a_key_was_taken_is_recorded_when_somebody_got_it() {
    let server = server();
    let taken = || {
        let events = server.store.events_after(Scope::Everything, None, 1_000);
        let events = server.run(events).unwrap();
        let taken = events
            .iter()
            .filter(|event| event.kind == "private_key.taken");
        taken.count()
    };
    let key = make_key(&server, "k");
    assert_eq!(taken(), 0, "whoever makes one has it anyway");
    let head = send(&server, "HEAD", &key, "");
    assert_eq!((head.status, taken()), (200, 0));
    let shown = send(&server, "GET", &key, "");
    assert_eq!(taken(), 1);
    let length = |response: &Response| response.header("content-length").map(str::to_owned);
    assert_eq!(length(&head), length(&shown));
}

#[test]
fn the_operator_says_what_keys_are_generated() {
    for (algorithm, words) in [
        (KeyAlgorithm::P256, "prime256v1"),
        (KeyAlgorithm::Ed25519, "ED25519"),
    ] {
        let server = Server::with(|options| options.api.d9t.key_algorithm = algorithm);
        let (_, made) = make(&server, KEYS, &json!({"name": "k"}));
        let key = text(&made, "key").as_bytes();
        let shown = openssl(&["pkey", "-noout", "-text"], key).text();
        assert!(shown.contains(words), "{shown}");
    }
}

#[test]
fn names_are_demanded_and_unique() {
    // 5
    let server = server();
    let other = server.account("other");
    make_key(&server, "k");
    let long = "ü".repeat(255);
    make_key(&server, &long);
    make_key(&server, "a/b, c");
    for body in [
        json!({"name": "k"}),
        json!({"name": " k "}),
        json!({}),
        json!({"name": null}),
        json!({"name": " "}),
        json!({"name": 5}),
        json!({"name": ["x"]}),
        json!({"name": "a\nb"}),
        json!({"name": "a\u{0}b"}),
        json!({"name": format!("{long}x")}),
    ] {
        assert_error(&post(&server, KEYS, &body), 400);
    }
    assert_error(&send(&server, "POST", KEYS, ""), 400);
    let body = json!({"name": "k"}).to_string();
    let response = send_as(&server, ("other", &other), "POST", KEYS, body);
    assert_eq!(response.status, 201, "another account's names are its own");
    assert_eq!(get(&server, KEYS).as_array().unwrap().len(), 3);
}

#[test]
fn keys_in_every_encoding_come_back_in_one() {
    // 6
    let server = server();
    let curve = |name: &str| {
        let option = format!("ec_paramgen_curve:{name}");
        let arguments = ["genpkey", "-algorithm", "EC", "-pkeyopt", &option];
        openssl(&arguments, b"").text()
    };
    let sec1 = openssl(&["ec"], curve("P-256").as_bytes()).text();
    assert!(sec1.contains("BEGIN EC PRIVATE KEY"));
    let rsa = openssl(&["genpkey", "-algorithm", "RSA"], b"").text();
    let pkcs1 = openssl(&["rsa", "-traditional"], rsa.as_bytes()).text();
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY"));
    let ed25519 = openssl(&["genpkey", "-algorithm", "ED25519"], b"").text();
    let given = [sec1, pkcs1, curve("P-384"), curve("P-521"), ed25519];
    for (number, key) in given.iter().enumerate() {
        let name = format!("k{number}");
        let (path, _) = make(&server, KEYS, &json!({"name": name, "key": key}));
        let shown = get(&server, &path);
        let stored = text(&shown, "key");
        assert!(
            stored.starts_with("-----BEGIN PRIVATE KEY-----\n"),
            "{stored}"
        );
        assert_eq!(public_key(&PUBLIC, stored), public_key(&PUBLIC, key));
        // What it signs is good, whatever kind it is.
        let (certificate, made) = make_certificate(&server, &path, "c");
        let request = get(&server, &format!("{certificate}/csr"));
        let verified = try_openssl(
            &["req", "-noout", "-verify"],
            text(&request, "csr").as_bytes(),
        );
        assert!(verified.status.success(), "{}", verified.text());
        let described = described(text(&made, "ssl_certificate"));
        let is_rsa = key.contains("RSA");
        assert_eq!(
            described.contains("Key Encipherment"),
            is_rsa,
            "{described}"
        );
        let algorithm = [
            "ecdsa-with-SHA256",
            "sha256WithRSAEncryption",
            "ecdsa-with-SHA384",
            "ecdsa-with-SHA512",
            "ED25519",
        ][number];
        assert!(described.contains(algorithm), "{described}");
    }
}

#[test]
fn keys_that_are_none_or_weak_or_closed_are_refused() {
    // 7
    let server = server();
    let p256 = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ];
    let encrypted = [&p256[..], &["-aes256", "-pass", "pass:secret"]].concat();
    let encrypted = openssl(&encrypted, b"").text();
    let weak = [
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:1024",
    ];
    let weak = openssl(&weak, b"").text();
    let unknown = [
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:secp256k1",
    ];
    let unknown = openssl(&unknown, b"").text();
    let good = openssl(&p256, b"").text();
    let public = public_key(&PUBLIC, &good);
    let (two, broken) = (format!("{good}{good}"), good.replace("MIG", "MIH"));
    for key in [
        &encrypted, &weak, &unknown, &public, &two, &broken, "garbage",
    ] {
        let refused = post(&server, KEYS, &json!({"name": "k", "key": key}));
        let message = assert_error(&refused, 400);
        assert!(!message.contains("-----BEGIN"), "{message}");
    }
    assert_error(&post(&server, KEYS, &json!({"name": "k", "key": 7})), 400);
    assert_eq!(get(&server, KEYS), json!([]));
    make(&server, KEYS, &json!({"name": "k", "key": good}));
}

#[test]
fn a_list_names_keys_and_shows_none() {
    // 8
    let server = server();
    assert_eq!(get(&server, KEYS), json!([]));
    let paths = ["b", "a"].map(|name| make_key(&server, name));
    let listed = get(&server, KEYS);
    let listed = listed.as_array().unwrap();
    for ((item, path), name) in listed.iter().zip(&paths).zip(["b", "a"]) {
        assert_members(item, &["id", "name", "_links"]);
        let id = item["id"].as_u64().expect("an integer");
        assert_eq!(*path, format!("{KEYS}/{id}"));
        assert_eq!(text(item, "name"), name);
        assert_eq!(rels(item), ["self"]);
        assert_eq!(path_of(&server, href(item, "self")), *path);
    }
    assert_eq!(listed.len(), 2);
}

#[test]
fn a_key_goes_with_its_certificates_and_its_number_never_comes_back() {
    // 24
    let server = server();
    let (key, kept) = (make_key(&server, "k"), make_key(&server, "kept"));
    let (certificate, _) = make_certificate(&server, &key, "c");
    make_certificate(&server, &key, "d");
    make_certificate(&server, &kept, "c");
    let deleted = send(&server, "DELETE", &key, "");
    assert_eq!((deleted.status, deleted.body.as_slice()), (204, &b""[..]));
    assert_eq!(deleted.header("content-type"), None);
    let left = get(&server, CERTIFICATES);
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert!(href(&left[0], "self").contains(&kept));
    for path in [&key, &format!("{key}/certificates"), &certificate] {
        assert_error(&send(&server, "GET", path, ""), 404);
    }
    assert_error(&send(&server, "DELETE", &key, ""), 404);
    let again = make_key(&server, "k");
    assert!(number_of(&again) > number_of(&kept), "{again}");
}

fn number_of(path: &str) -> u64 {
    path.rsplit('/').next().unwrap().parse().unwrap()
}

#[test]
fn another_accounts_keys_are_like_none() {
    // 22
    let server = server();
    let other = server.account("other");
    let key = make_key(&server, "k");
    let (certificate, _) = make_certificate(&server, &key, "c");
    let unknown = format!("{KEYS}/999");
    for (method, path) in [
        ("GET", key.clone()),
        ("DELETE", key.clone()),
        ("GET", format!("{key}/certificates")),
        ("POST", format!("{key}/certificates")),
        ("GET", certificate.clone()),
        ("PUT", certificate.clone()),
        ("DELETE", certificate.clone()),
        ("GET", format!("{certificate}/csr")),
    ] {
        let body = json!({"name": "n", "common_name": "n"}).to_string();
        let ask = |path: &str| send_as(&server, ("other", &other), method, path, &body);
        assert_error(&ask(&path), 404);
        let elsewhere = path.replacen(&key, &unknown, 1);
        let (known, unknown) = (ask(&path).text(), ask(&elsewhere).text());
        let masked = |text: &str| text.replace(char::is_numeric, "");
        assert_eq!(masked(&known), masked(&unknown), "{method} {path}");
    }
    for path in [KEYS, CERTIFICATES] {
        let listed = send_as(&server, ("other", &other), "GET", path, "");
        assert_eq!(listed.json(), json!([]));
    }
    for bad in ["abc", "0", "-1", "1.5", "01", "99999999999999999999"] {
        assert_error(&send(&server, "GET", &format!("{KEYS}/{bad}"), ""), 404);
    }
    get(&server, &certificate);
}
