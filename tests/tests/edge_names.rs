//! Which name gets which certificate and which service, and which gets none.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{
    Authority, Backend, Chancery, TlsClient, eventually, http, served_serial, try_openssl,
};

const SOON: Duration = Duration::from_secs(20);

fn assert_unrecognized(client: &TlsClient, address: SocketAddr, name: &str) {
    let refused = client.connect(address, name).err();
    let refused = refused.unwrap_or_else(|| panic!("{name} is served"));
    assert!(refused.contains("Unrecogni"), "{name}: {refused}");
}

#[test]
fn a_name_that_nobody_has_is_refused_in_the_handshake() {
    let server = Chancery::start();
    let backend = Backend::web("names");
    let api = server.kraftcloud();
    api.serve("names", &["a.example.com.", "*.w.example.com."], &backend);
    server.wait_for_edge(&["a.example.com", "x.w.example.com"]);
    let (client, edge) = (server.edge_client(), server.edge_https());
    let strangers = [
        "b.example.com",
        "example.com",
        "w.example.com",
        "y.x.w.example.com",
        "a.example.com.evil.test",
        "localhost",
    ];
    for name in strangers {
        assert_unrecognized(&client, edge, name);
    }
    let address = edge.to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let stranger = ["-servername", "b.example.com", version];
        for naming in [&stranger[..], &["-noservername", version]] {
            let arguments = [&["s_client", "-connect", &address], naming].concat();
            let refused = try_openssl(&arguments, b"");
            assert!(
                refused.stderr.contains("unrecognized name"),
                "{naming:?}: {refused:?}"
            );
        }
    }
    // The name in the request has to be one that the certificate was shown for.
    let mut stream = client.connect(edge, "a.example.com").unwrap();
    let misdirected = stream.request("GET", "/", &[("Host", "x.w.example.com")], b"");
    assert_eq!(misdirected.unwrap().status, 421);

    let path = "/v1/services?name=names";
    for instance in api.call("GET", "/v1/instances", &Value::Null) {
        let reference = json!([{ "uuid": instance["uuid"] }]);
        api.call("DELETE", "/v1/instances", &reference);
    }
    api.call("DELETE", path, &Value::Null);
    eventually(SOON, "the deleted service's domain is refused", || {
        client.connect(edge, "a.example.com").err()
    });
    assert_unrecognized(&client, edge, "a.example.com");
}

#[test]
fn a_client_that_names_nobody_reaches_the_default_domain() {
    let server = Chancery::options()
        .config("[edge]\ndefault_domain = \"a.example.com\"\n")
        .start();
    let backend = Backend::web("default");
    server
        .kraftcloud()
        .serve("names", &["a.example.com."], &backend);
    server.wait_for_edge(&["a.example.com"]);
    let client = server.edge_client().nameless();
    let stream = client.connect(server.edge_https(), "a.example.com");
    let answer = stream
        .unwrap()
        .request("GET", "/", &[("Host", "a.example.com")], b"");
    assert_eq!(answer.unwrap().text(), backend.greeting());
    let stranger = server.edge_client();
    assert_unrecognized(&stranger, server.edge_https(), "b.example.com");
}

#[test]
fn a_domain_follows_the_best_certificate_for_it_without_a_restart() {
    let server = Chancery::start();
    let backend = Backend::web("follows");
    let elsewhere = Authority::new();
    let api = server.kraftcloud();
    api.serve("follows", &["f.example.com."], &backend);
    server.wait_for_edge(&["f.example.com"]);
    let edge = server.edge_https();
    let served = |arguments: &[&str]| served_serial(edge, "f.example.com", arguments);
    let becomes = |what: &str, serial: &str| {
        eventually(SOON, what, || {
            (served(&[]).as_deref() == Some(serial)).then_some(())
        });
    };
    let managed = api.certificate_of("follows", "f.example.com");
    let managed = managed["serial_number"].as_str().unwrap();
    becomes("the automatic one is served", managed);

    let longer = elsewhere.issue(&["f.example.com"], 90);
    api.upload("longer", "f.example.com", &longer);
    becomes("the one that ends later is served", &longer.serial);
    let wildcard = elsewhere.issue(&["*.example.com"], 600);
    api.upload("wildcard", "*.example.com", &wildcard);
    let rsa = elsewhere.issue_rsa(&["f.example.com"], 60);
    api.upload("rsa", "f.example.com", &rsa);
    let only_rsa = ["-sigalgs", "RSA-PSS+SHA256"];
    eventually(SOON, "who knows only RSA is shown RSA", || {
        (served(&only_rsa).as_ref() == Some(&rsa.serial)).then_some(())
    });
    becomes("all others are still shown the exact one", &longer.serial);

    let issued = server.cli(&["issue", "f.example.com", "--days", "150", "--json"]);
    let issued: Value = serde_json::from_str(&issued.text()).unwrap();
    let name = issued["name"].as_str().unwrap();
    let latest = api.call_one(
        "GET",
        &format!("/v1/certificates?name={name}"),
        &Value::Null,
    );
    becomes(
        "the latest is served",
        latest["serial_number"].as_str().unwrap(),
    );
    let revoked = server.cli(&["revoke", name, "--reason", "superseded"]);
    assert_eq!(revoked.code(), Some(0), "{revoked:?}");
    becomes("the revoked one is left", &longer.serial);
}

#[test]
fn plain_http_is_redirected_except_for_challenges_and_served_where_it_is_published() {
    let server = Chancery::start();
    let backend = Backend::web("plain");
    let api = server.kraftcloud();
    let port = backend.port();
    let service = |name: &str, plain: Value| {
        let body = json!({
            "name": name,
            "services": [plain, { "port": 443, "destination_port": port, "handlers": ["tls", "http"] }],
            "domains": [{ "name": format!("{name}.example.com.") }],
        });
        api.call_one("POST", "/v1/services", &body);
        api.attach(name, &format!("{name}-1"));
    };
    service(
        "redirected",
        json!({ "port": 80, "destination_port": 443, "handlers": ["http", "redirect"] }),
    );
    service(
        "plain",
        json!({ "port": 80, "destination_port": port, "handlers": ["http"] }),
    );
    let get = |host: &str, path: &str| {
        let edge = server.edge_http().to_string();
        http::send(&edge, "GET", path, &[("Host", host)], b"")
    };
    let name = "redirected.example.com";
    for name in [name, "plain.example.com"] {
        eventually(SOON, "the edge knows the domain", || {
            (get(name, "/").status != 404).then_some(())
        });
    }
    let https = format!("https://{name}:{}", server.edge_https().port());
    for path in ["/", "/a%2Fb/?c=d&e", "/.well-known/other/x"] {
        let answer = get(&name.to_uppercase(), path);
        assert_eq!(answer.status, 308, "{path}");
        let location = answer.header("location").unwrap();
        let expected = format!("{https}{path}");
        assert!(location.eq_ignore_ascii_case(&expected), "{location}");
    }
    for path in [
        "/.well-known/acme-challenge/token",
        "/.well-known/certmaker-challenge/token",
    ] {
        let answer = get(name, path);
        assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
    }
    // What only looks like a challenge's path is redirected.
    let sneaky = get(name, "/.well-known/acme-challenge/../../admin");
    assert_eq!(sneaky.status, 308);

    let answer = get("plain.example.com", "/head");
    assert_eq!(answer.status, 200);
    let head = answer.text().to_lowercase();
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
    assert_eq!(get("stranger.example.com", "/").status, 404);
    assert_eq!(get("127.0.0.1", "/").status, 404);
}

#[test]
fn a_port_with_tls_alone_forwards_the_stream_inside() {
    let server = Chancery::options()
        .args(&["--edge-listen", "5432=127.0.0.1:0"])
        .start();
    let (database, web) = (Backend::echo("database"), Backend::web("web"));
    let api = server.kraftcloud();
    let body = json!({
        "name": "database",
        "services": [{ "port": 5432, "destination_port": database.port(), "handlers": ["tls"] }],
        "domains": [{ "name": "db.example.com." }],
    });
    api.call_one("POST", "/v1/services", &body);
    api.attach("database", "database-1");
    api.serve("web", &["web.example.com."], &web);
    server.wait_for_edge(&["web.example.com"]);

    let client = server.edge_client();
    let mut stream = eventually(SOON, "the port is served", || {
        client
            .connect(server.edge_port(5432), "db.example.com")
            .ok()
    });
    let sent: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut received = Vec::new();
    for piece in sent.chunks(65_536) {
        stream.write_all(piece).unwrap();
        let mut answer = vec![0; piece.len()];
        stream.read_exact(&mut answer).unwrap();
        received.extend(answer);
    }
    assert!(received == sent, "the bytes came back changed");
    // The end of what the client says arrives, too, and so does the answer to it.
    stream.finish().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);

    // Each domain is served at the ports of its service alone.
    assert_unrecognized(&client, server.edge_port(5432), "web.example.com");
    assert_unrecognized(&client, server.edge_https(), "db.example.com");
}

#[test]
fn a_name_without_dots_is_served_under_the_metro_domain() {
    let server = Chancery::start();
    let backend = Backend::web("project");
    let service = server
        .kraftcloud()
        .serve("project", &["my-project"], &backend);
    let domain = &service["domains"][0];
    assert!(domain.get("certificate").is_none(), "{domain}");
    let name = domain["fqdn"].as_str().unwrap();
    assert!(name.starts_with("my-project."), "{name}");
    server.wait_for_edge(&[name]);
    let answer = server.edge_curl(&[name]).get(&server.edge_url(name, "/"));
    assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
    let metro = name.strip_prefix("my-project").unwrap();
    assert_unrecognized(
        &server.edge_client(),
        server.edge_https(),
        &format!("another{metro}"),
    );
}
