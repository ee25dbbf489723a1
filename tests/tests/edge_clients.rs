//! The edge, used by the programs that people use.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use serde_json::json;
use testbed::testssl::{self, Severity};
use testbed::{Authority, Backend, Browser, Chancery, Curl, Workdir, python_client, served_serial};

#[test]
fn the_python_sdk_has_two_domains_served_each_with_its_own_certificate() {
    let server = Chancery::start();
    let backend = Backend::web("sdk");
    let elsewhere = Authority::new();
    let workdir = Workdir::new();
    let pair = elsewhere.issue(&["shop.example.com"], 90);
    let arguments = [
        &workdir.write("chain.pem", &pair.chain),
        &workdir.write("key.pem", &pair.key),
        "shop.example.com",
        "app.example.com",
        &backend.port().to_string(),
    ];
    let metro = format!("{}/v1", server.http());
    let environment = [
        ("UKC_METRO", metro.as_str()),
        ("UKC_TOKEN", &server.token()),
    ];
    let made = python_client("kraftcloud_service", &arguments, &environment);

    assert_eq!(made["certificate"]["serial_number"], pair.serial);
    assert_eq!(made["issued"]["state"], "valid");
    assert_eq!(made["attached"][0]["uuid"], made["service"]["uuid"]);
    assert_eq!(made["instance"]["state"], "running");
    assert_eq!(made["instance"]["service_group"]["name"], "web");
    assert_eq!(made["service"]["instances"][0]["name"], "web-1");

    server.wait_for_edge(&["app.example.com"]);
    let automatic = made["issued"]["serial_number"].as_str().unwrap();
    let roots = [server.root_certificate(), elsewhere.root()];
    let sites = [
        ("shop.example.com", pair.serial.as_str()),
        ("app.example.com", automatic),
    ];
    for (name, serial) in sites {
        let served = served_serial(server.edge_https(), name, &[]);
        assert_eq!(served.as_deref(), Some(serial), "{name}");
        let curl = Curl::trusting(&[&roots[0], &roots[1]]).at(name, server.edge_https());
        for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
            let curl = curl.clone().args(&[flag]);
            let answer = curl.get(&server.edge_url(name, "/"));
            assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
            assert_eq!(answer.version, version, "{name}");
        }
    }
    let curl = server.edge_curl(&["app.example.com"]).args(&["--location"]);
    let answer = curl.get(&server.plain_edge_url("app.example.com", "/?a=b"));
    assert_eq!((answer.status, answer.text()), (200, backend.greeting()));
}

#[test]
fn a_websocket_echoes() {
    let server = Chancery::start();
    let backend = Backend::web("socket");
    server
        .kraftcloud()
        .serve("socket", &["ws.example.com."], &backend);
    server.wait_for_edge(&["ws.example.com"]);
    let edge = server.edge_https();
    let url = server.edge_url("ws.example.com", "/socket");
    let arguments = [
        &url.replacen("https", "wss", 1),
        &*server.root_certificate().display().to_string(),
        &edge.ip().to_string(),
        &edge.port().to_string(),
    ];
    let echoed = python_client("websocket_echo", &arguments, &[]);
    assert_eq!(echoed, json!([0, 5, 2, 70_000, 3_000_000]));
}

#[test]
fn a_browser_shows_a_page_and_its_script_opens_a_websocket() {
    let server = Chancery::start();
    let backend = Backend::web("page");
    server
        .kraftcloud()
        .serve("page", &["page.example.com."], &backend);
    server.wait_for_edge(&["page.example.com"]);
    let (name, edge) = ("page.example.com", server.edge_https());
    let browser = Browser::trusting(&[&server.root_certificate()]);
    let page = browser.open(name, "/page", edge).unwrap();
    assert!(page.contains("hello from page"), "{page}");
    assert!(page.contains("echoed marco"), "{page}");

    let refused = Browser::trusting(&[]).open(name, "/page", edge);
    let refused = refused.unwrap_err();
    assert!(
        refused.stderr.contains("ERR_CERT_AUTHORITY_INVALID"),
        "{refused:?}"
    );
}

#[test]
fn testssl_finds_nothing_worse_than_low() {
    let server = Chancery::start();
    let backend = Backend::web("examined");
    let name = "examined.example.com";
    // What remains of the days of an automatic certificate is less than testssl likes.
    let issued = server.cli(&["issue", name, "--days", "90"]);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
    server
        .kraftcloud()
        .serve("examined", &[&format!("{name}.")], &backend);
    server.wait_for_edge(&[name]);
    let findings = testssl::examine(server.edge_https(), name, &server.root_certificate());
    for id in [
        "TLS1_3",
        "TLS1_2",
        "ALPN_HTTP2",
        "heartbleed",
        "OCSP_stapling",
    ] {
        assert!(findings.iter().any(|finding| finding.id == id), "no {id}");
    }
    let bad: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity < Severity::Low)
        .map(ToString::to_string)
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let stapled = findings
        .iter()
        .find(|finding| finding.id == "OCSP_stapling");
    assert_eq!(stapled.unwrap().severity, Severity::Ok, "{stapled:?}");
}

#[test]
fn the_command_line_has_a_domain_served_and_says_how_to_try_it() {
    let server = Chancery::start();
    let backend = Backend::web("cli");
    let upstream = backend.address().to_string();
    let made = server.cli(&[
        "service",
        "create",
        "app.example.com",
        "--upstream",
        &upstream,
    ]);
    assert_eq!(made.code(), Some(0), "{made:?}");
    let said = format!("{}{}", made.text(), made.stderr);
    assert!(said.contains("https://app.example.com"), "{said}");
    let command = said.find("curl ").and_then(|at| said[at..].lines().next());
    let command = command.unwrap_or_else(|| panic!("no command: {said}"));
    let tried = server.shell(command);
    assert_eq!(tried.code(), Some(0), "{command}: {tried:?}");
    assert_eq!(tried.text(), backend.greeting());

    let listed = server.cli(&["service", "ls"]).text();
    assert!(listed.contains("app.example.com"), "{listed}");
    let again = server.cli(&[
        "service",
        "create",
        "app.example.com",
        "--upstream",
        &upstream,
    ]);
    assert_eq!(again.code(), Some(1));
    assert!(again.stderr.contains("app.example.com"), "{again:?}");
    let wrong = server.cli(&[
        "service",
        "create",
        "b.example.com",
        "--upstream",
        "nowhere",
    ]);
    assert_ne!(wrong.code(), Some(0), "{wrong:?}");

    let all: serde_json::Value =
        serde_json::from_str(&server.cli(&["service", "ls", "--json"]).text()).unwrap();
    let name = all[0]["name"].as_str().unwrap();
    let shown = server.cli(&["service", "show", name]).text();
    assert!(shown.contains("app.example.com"), "{shown}");
    assert_eq!(server.cli(&["service", "rm", name]).code(), Some(0));
    assert_eq!(server.cli(&["service", "show", name]).code(), Some(1));
}
