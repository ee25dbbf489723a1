//! Private authorities as operators run them, judged by `openssl`: roots offline, CAs from elsewhere
//! and certified elsewhere, keys in a PKCS#11 token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::Value;
use testbed::pkilint::{assert_conforms, lint_certificate, lint_crl};
use testbed::{Chancery, Output, Workdir, openssl, run};

const PASSPHRASE: &str = "correct horse battery";
const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";

fn succeeds(server: &Chancery, args: &[&str]) -> Output {
    let output = server.cli(args);
    assert_eq!(output.code(), Some(0), "{args:?}: {output:?}");
    output
}

/// A certificate of `authority` in a file of its own, with what is sent after it in another.
fn issue(server: &Chancery, workdir: &Workdir, authority: &str, name: &str) -> (String, String) {
    let issued = succeeds(server, &["issue", name, "--issuer", authority]).text();
    let certificates: Vec<&str> = issued
        .split_inclusive("-----END CERTIFICATE-----\n")
        .filter(|block| block.contains("BEGIN CERTIFICATE"))
        .collect();
    let leaf = workdir.write(&format!("{name}.crt"), certificates[0]);
    (
        leaf,
        workdir.write(&format!("{name}.chain"), certificates[1..].concat()),
    )
}

fn shown(server: &Chancery, authority: &str) -> Value {
    let shown = succeeds(server, &["authority", "show", authority, "--json"]);
    serde_json::from_str(&shown.text()).unwrap()
}

fn tier<'a>(authority: &'a Value, role: &str) -> &'a Value {
    let tiers = authority["tiers"].as_array().unwrap();
    let found = tiers.iter().find(|tier| tier["role"] == role);
    found.unwrap_or_else(|| panic!("no {role} in {authority}"))
}

fn pem(tier: &Value) -> &str {
    tier["certificate"].as_str().unwrap()
}

/// The revocation list of the CA with this key identifier, PEM.
fn list(server: &Chancery, tier: &Value) -> String {
    let name = tier["key_identifier"].as_str().unwrap();
    let url = format!("{}/ca/{name}.crl", server.http());
    let list = run("curl", &["-sf", &url], b"").stdout;
    openssl(&["crl", "-inform", "DER"], &list).text()
}

/// Has pkilint look at every certificate in `pem`.
fn lint(what: &str, pem: &str) {
    for block in pem.split_inclusive("-----END CERTIFICATE-----\n") {
        let der = openssl(&["x509", "-outform", "DER"], block.as_bytes()).stdout;
        assert_conforms(what, &lint_certificate(&der));
    }
}

/// Has `openssl` verify a leaf with the lists of all CAs above it, and ask for its status.
fn verify(server: &Chancery, workdir: &Workdir, authority: &Value, leaf: &str, chain: &str) {
    let (root, issuing) = (tier(authority, "root"), tier(authority, "issuing"));
    let lists = [list(server, root), list(server, issuing)];
    for list in &lists {
        let der = openssl(&["crl", "-outform", "DER"], list.as_bytes()).stdout;
        assert_conforms("list", &lint_crl(&der));
    }
    lint("tier", &(pem(root).to_owned() + pem(issuing)));
    lint("leaf", &std::fs::read_to_string(leaf).unwrap());
    let lists = workdir.write("lists.pem", lists.concat());
    let anchor = workdir.write("anchor.pem", pem(root));
    let verified = openssl(
        &[
            "verify",
            "-crl_check_all",
            "-CRLfile",
            &lists,
            "-CAfile",
            &anchor,
            "-untrusted",
            chain,
            leaf,
        ],
        b"",
    );
    assert!(verified.text().contains("OK"), "{verified:?}");
    let issuer = workdir.write("issuer.pem", pem(issuing));
    assert!(status(server, &anchor, &issuer, leaf).contains(": good"));
    assert!(status(server, &anchor, &anchor, &issuer).contains(": good"));
}

fn status(server: &Chancery, anchor: &str, issuer: &str, subject: &str) -> String {
    let url = format!("{}/ocsp", server.http());
    let said = openssl(
        &[
            "ocsp",
            "-url",
            &url,
            "-CAfile",
            anchor,
            "-issuer",
            issuer,
            "-cert",
            subject,
            "-verify_other",
            issuer,
        ],
        b"",
    );
    assert!(said.stderr.contains("Response verify OK"), "{said:?}");
    said.text()
}

#[test]
fn a_root_goes_offline_and_comes_back() {
    let server = Chancery::start();
    let workdir = Workdir::new();
    let secret = workdir.write("passphrase", PASSPHRASE);
    let file = workdir.path("root.key");
    let create = ["authority", "create", "plant", "--permit", "plant.test"];
    succeeds(&server, &create);
    let export = [
        "authority",
        "export-root",
        "plant",
        "--out",
        &file,
        "--remove",
        "--passphrase-file",
        &secret,
    ];
    succeeds(&server, &export);
    // The file is never overwritten, and openssl opens it.
    assert_eq!(server.cli(&export).code(), Some(1));
    let password = format!("file:{secret}");
    openssl(&["pkey", "-in", &file, "-passin", &password, "-noout"], b"");

    let away = shown(&server, "plant");
    assert_eq!(tier(&away, "root")["key"], "elsewhere");
    let (leaf, chain) = issue(&server, &workdir, "plant", "a.plant.test");
    verify(&server, &workdir, &away, &leaf, &chain);
    let refused = server.cli(&["issue", "a.example", "--issuer", "plant"]);
    assert!(refused.stderr.contains("name_constraints"), "{refused:?}");
    let refused = server.cli(&["authority", "successor", "plant"]);
    assert!(refused.stderr.contains("import-root"), "{refused:?}");

    let back = [
        "authority",
        "import-root",
        "plant",
        "--key",
        &file,
        "--passphrase-file",
        &secret,
    ];
    succeeds(&server, &back);
    assert_eq!(tier(&shown(&server, "plant"), "root")["key"], "store");
    let kinds = ["key_exported", "key_removed", "key_returned"];
    for kind in kinds {
        assert_eq!(
            server.events(&format!("authority.{kind}")).len(),
            1,
            "{kind}"
        );
    }
}

#[test]
fn a_ca_of_openssl_is_taken_over_and_another_one_certifies_ours() {
    let server = Chancery::start();
    let workdir = Workdir::new();
    let (key, root) = (workdir.path("ca.key"), workdir.path("ca.pem"));
    let make = [
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "rsa:2048",
        "-days",
        "3000",
        "-subj",
        "/CN=Old CA",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
        "-keyout",
        &key,
        "-out",
        &root,
    ];
    openssl(&make, b"");
    let bundle = workdir.path("ca.p12");
    let password = format!("pass:{PASSPHRASE}");
    let export = [
        "pkcs12", "-export", "-inkey", &key, "-in", &root, "-passout", &password, "-out", &bundle,
    ];
    openssl(&export, b"");
    let secret = workdir.write("passphrase", PASSPHRASE);
    let import = [
        "authority",
        "import",
        "old",
        "--pkcs12",
        &bundle,
        "--passphrase-file",
        &secret,
    ];
    succeeds(&server, &import);
    let (old_leaf, _) = issue(&server, &workdir, "old", "old.test");
    openssl(&["verify", "-CAfile", &root, &old_leaf], b"");

    succeeds(&server, &["authority", "create", "ours"]);
    let request = succeeds(&server, &["authority", "csr", "ours"]).text();
    let request = workdir.write("ours.csr", request);
    let extensions = workdir.write(
        "extensions",
        "basicConstraints=critical,CA:true,pathlen:0\n\
         keyUsage=critical,keyCertSign,cRLSign,digitalSignature\n\
         subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
    );
    let sign = [
        "x509",
        "-req",
        "-in",
        &request,
        "-CA",
        &root,
        "-CAkey",
        &key,
        "-days",
        "1000",
        "-extfile",
        &extensions,
    ];
    let certified = openssl(&sign, b"").text();
    let alone = workdir.write("certified.pem", &certified);
    let refused = server.cli(&["authority", "install", "ours", "--chain", &alone]);
    assert!(refused.stderr.contains("Old CA"), "{refused:?}");
    let whole = certified + &std::fs::read_to_string(&root).unwrap();
    let whole = workdir.write("whole.pem", whole);
    succeeds(
        &server,
        &["authority", "install", "ours", "--chain", &whole],
    );
    let (leaf, chain) = issue(&server, &workdir, "ours", "ours.test");
    openssl(
        &["verify", "-CAfile", &root, "-untrusted", &chain, &leaf],
        b"",
    );
    lint(
        "leaf of an imported CA",
        &std::fs::read_to_string(old_leaf).unwrap(),
    );
    lint(
        "leaf of a CA certified elsewhere",
        &std::fs::read_to_string(leaf).unwrap(),
    );

    let constrained = ["--permit", "inside.test", "--exclude", "secret.inside.test"];
    succeeds(
        &server,
        &[&["authority", "create", "narrow"][..], &constrained].concat(),
    );
    let authority = shown(&server, "narrow");
    let (leaf, chain) = issue(&server, &workdir, "narrow", "a.inside.test");
    verify(&server, &workdir, &authority, &leaf, &chain);
}

#[test]
fn keys_in_a_token_sign_and_a_missing_token_stops_nothing_else() {
    let workdir = Workdir::new();
    let tokens = workdir.path("tokens");
    std::fs::create_dir(&tokens).unwrap();
    let settings = format!("directories.tokendir = {tokens}\nobjectstore.backend = file\n");
    let settings = workdir.write("softhsm2.conf", &settings);
    let initialize = format!(
        "SOFTHSM2_CONF={settings} softhsm2-util --init-token --free --label plant --pin 1234 --so-pin 5678"
    );
    run("sh", &["-c", &initialize], b"");
    let data = workdir.path("data");
    let configuration = format!("[pkcs11]\nmodule = \"{SOFTHSM}\"\ntoken = \"plant\"\n");
    let start = |settings: &str| {
        Chancery::options()
            .data(&data)
            .config(&configuration)
            .env("CHANCERY_PKCS11_PIN", "1234")
            .env("SOFTHSM2_CONF", settings)
            .start()
    };
    let algorithms = ["p256", "p384", "rsa2048", "ed25519"];
    let mut server = start(&settings);
    for algorithm in algorithms {
        let create = [
            "authority",
            "create",
            algorithm,
            "--device",
            "--key-algorithm",
            algorithm,
        ];
        succeeds(&server, &create);
    }
    for _ in 0..2 {
        for algorithm in algorithms {
            let authority = shown(&server, algorithm);
            assert_eq!(tier(&authority, "root")["key"], "device");
            let name = format!("{algorithm}.test");
            let (leaf, chain) = issue(&server, &workdir, algorithm, &name);
            verify(&server, &workdir, &authority, &leaf, &chain);
        }
        server.restart();
    }
    server.terminate();
    drop(server);

    // The tokens are on another machine now.
    let elsewhere = workdir.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let empty = format!("directories.tokendir = {elsewhere}\nobjectstore.backend = file\n");
    let server = start(&workdir.write("empty.conf", &empty));
    let refused = server.cli(&["issue", "a.test", "--issuer", "p256"]);
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("token 'plant'"), "{refused:?}");
    succeeds(&server, &["issue", "a.test", "--issuer", "default"]);
    assert_eq!(tier(&shown(&server, "p256"), "issuing")["key"], "device");
    // What is known is still answered: the responder has a key of its own.
    let authority = shown(&server, "p256");
    let anchor = workdir.write("anchor.pem", pem(tier(&authority, "root")));
    let issuer = workdir.write("issuer.pem", pem(tier(&authority, "issuing")));
    let leaf = workdir.path("p256.test.crt");
    assert!(status(&server, &anchor, &issuer, &leaf).contains(": good"));
}
