//! Orders that wait for a proof, and what becomes of them.

use std::time::Duration;

use lifecycle::{Patience, SwitchValues};
use serde_json::{Value, json};
use testbed::http::Response;
use testbed::{Knot, Zone};

use crate::support::names::{Names, network_of};
use crate::support::responder::Responder;
use crate::support::{Options, Server};
use crate::{CSR, LOCATED, Leaf, SIMPLE, assert_error, path_of, post, send, send_as};

/// A server where all names lead to this machine, which may be looked at, and both kinds of
/// challenges are on.
pub(crate) fn server(change: impl FnOnce(&mut Options)) -> Server {
    Server::with(|options| {
        options.network = Names::default().network();
        let validation = &mut options.house.validation;
        validation.switches = SwitchValues {
            http01: true,
            dns01: true,
            ..SwitchValues::default()
        };
        validation.allow_local_targets = true;
        validation.patience = Patience {
            pause: Duration::from_millis(10),
            ..Patience::default()
        };
        change(options);
    })
}

/// An order that waits.
pub(crate) struct Waiting {
    pub(crate) id: String,
    pub(crate) token: String,
    /// The whole answer.
    pub(crate) body: Value,
}

impl Waiting {
    #[track_caller]
    pub(crate) fn of(server: &Server, response: &Response) -> Self {
        assert_eq!(response.status, 202, "{}", response.text());
        let location = response.header("x-challenge-location").unwrap();
        let path = path_of(server, location).strip_prefix("/api/v1/challenge/");
        let id = path.unwrap().strip_suffix("/solve").unwrap().to_owned();
        let (token, body) = match response.header("content-type").unwrap() {
            "text/plain" => (response.text(), Value::Null),
            kind => {
                assert_eq!(kind, "application/json");
                let body = response.json();
                (body["challenge_token"].as_str().unwrap().to_owned(), body)
            }
        };
        for (text, length) in [(&id, 40), (&token, 64)] {
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        }
        Self { id, token, body }
    }

    #[track_caller]
    pub(crate) fn order(server: &Server, order: &Value) -> Self {
        Self::of(server, &post(server, SIMPLE, order))
    }

    pub(crate) fn path(&self, kind: &str) -> String {
        format!("/api/v1/{kind}/{}/solve", self.id)
    }

    /// Says that the token is at this port.
    #[track_caller]
    pub(crate) fn solve_at(&self, server: &Server, port: u16) -> Response {
        post(
            server,
            &self.path("http-01"),
            &json!({"challenge_port": port}),
        )
    }

    /// The kinds of challenges that are offered, in their order.
    fn kinds(&self) -> Vec<&str> {
        let challenges = self.body["challenges"].as_array().unwrap();
        let kind = |challenge: &'_ Value| challenge["challenge_type"].as_str().unwrap().to_owned();
        let kinds: Vec<String> = challenges.iter().map(kind).collect();
        let known = ["http-01", "dns-01"];
        kinds
            .iter()
            .map(|kind| *known.iter().find(|known| *known == kind).unwrap())
            .collect()
    }
}

#[track_caller]
pub(crate) fn assert_says(response: &Response, status: u16, text: &str) {
    assert_error(response, status);
    assert_eq!(response.json()["error"], text);
}

#[test]
fn an_order_that_waits_says_what_to_prove_to_every_generation() {
    // Row 8.
    let server = server(|_| {});
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    assert_eq!(waiting.kinds(), ["http-01", "dns-01"]);
    let body = &waiting.body;
    for challenge in body["challenges"].as_array().unwrap() {
        assert_eq!(challenge["challenge_id"], *waiting.id);
        assert_eq!(challenge["challenge_token"], *waiting.token);
        let until = challenge["valid_until"].as_str().unwrap();
        let until =
            time::OffsetDateTime::parse(until, &time::format_description::well_known::Rfc3339)
                .unwrap();
        assert!(until.offset().is_utc());
        let left = until - server.house_time();
        assert!((7_000..=7_200).contains(&left.whole_seconds()), "{left}");
    }
    for (key, value) in [
        ("http01_challenge", json!(true)),
        ("dns01_challenge", json!(true)),
        ("challenge_id", json!(waiting.id)),
        ("challenge_token", json!(waiting.token)),
    ] {
        assert_eq!(body[key], value, "{key}");
    }
    let another = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    assert_ne!((waiting.id, waiting.token), (another.id, another.token));
}

#[test]
fn only_what_can_prove_all_names_is_offered() {
    // Rows 9, 10, 12, 13.
    let server = server(|_| {});
    for (order, kinds) in [
        (
            json!({"domains": ["a.test"], "ips": ["10.0.0.5"]}),
            ["http-01"],
        ),
        (json!({"domains": ["*.a.test"]}), ["dns-01"]),
        (json!({"domains": ["a.test", "*.a.test"]}), ["dns-01"]),
        (json!({"ips": ["10.0.0.5"]}), ["http-01"]),
        (json!({"domains": ["127.0.0.2"]}), ["http-01"]),
        (json!({"ips": ["::ffff:127.0.0.1"]}), ["http-01"]),
        (json!({"subject": {"common_name": "10.0.0.5"}}), ["http-01"]),
        (
            json!({"domains": ["localhost"], "subject": {"common_name": "*.A.test."}}),
            ["dns-01"],
        ),
    ] {
        let waiting = Waiting::order(&server, &order);
        assert_eq!(waiting.kinds(), kinds, "{order}");
        let (http, dns) = (kinds == ["http-01"], kinds == ["dns-01"]);
        assert_eq!(waiting.body["http01_challenge"], http);
        assert_eq!(waiting.body["dns01_challenge"], dns);
    }
    let both = json!({"domains": ["*.a.test"], "ips": ["10.0.0.5"]});
    assert_says(
        &post(&server, SIMPLE, &both),
        400,
        "no enabled challenge can validate *.a.test",
    );
}

#[test]
fn what_is_switched_off_is_not_offered() {
    let http_only = server(|options| options.house.validation.switches.dns01 = false);
    let waiting = Waiting::order(&http_only, &json!({"domains": ["a.test"]}));
    assert_eq!(waiting.kinds(), ["http-01"]);
    assert_says(
        &post(&http_only, SIMPLE, &json!({"domains": ["*.a.test"]})),
        400,
        "no enabled challenge can validate *.a.test",
    );
    let dns_only = server(|options| options.house.validation.switches.http01 = false);
    assert_says(
        &post(&dns_only, SIMPLE, &json!({"ips": ["10.0.0.5"]})),
        400,
        "no enabled challenge can validate 10.0.0.5",
    );
    let waiting = Waiting::order(&dns_only, &json!({"domains": ["a.test"]}));
    for kind in ["http-01", "challenge"] {
        let refused = send(&dns_only, "GET", &waiting.path(kind), "");
        assert_says(&refused, 400, "http-01 is not offered for this order");
    }
}

#[test]
fn a_preferred_challenge_comes_first_and_is_the_only_one_told_of_in_short() {
    let server = server(|_| {});
    let order = |preferred: &str, domain: &str| json!({"domains": [domain], "preferred_challenge": preferred});
    for (preferred, kinds, http, dns) in [
        ("dns-01", ["dns-01", "http-01"], false, true),
        ("http-01", ["http-01", "dns-01"], true, false),
    ] {
        let waiting = Waiting::order(&server, &order(preferred, "a.test"));
        assert_eq!(waiting.kinds(), kinds);
        assert_eq!(waiting.body["http01_challenge"], http);
        assert_eq!(waiting.body["dns01_challenge"], dns);
    }
    // What cannot be offered cannot be preferred.
    let waiting = Waiting::order(&server, &order("http-01", "*.a.test"));
    assert_eq!(waiting.kinds(), ["dns-01"]);
    assert_eq!(waiting.body["dns01_challenge"], true);
}

#[test]
fn a_proof_at_a_web_server_completes_the_order_once() {
    // Rows 14 and 15.
    let server = server(|_| {});
    let responder = Responder::start();
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"], "days": 3}));
    responder.has(&"0".repeat(64));
    let refused = waiting.solve_at(&server, responder.port());
    assert_says(&refused, 400, "failed HTTP-01 validation for domain a.test");
    responder.has(&format!("{}\n", waiting.token));
    let solved = waiting.solve_at(&server, responder.port());
    let leaf = Leaf::of(&server, &solved);
    leaf.assert_good();
    assert!(leaf.key_pem.is_some());
    assert_eq!((leaf.names(), leaf.days()), (vec!["a.test".to_owned()], 3));
    let serial = leaf.serial();
    for (header, kind) in [
        ("x-certificate-location", "certificate"),
        ("x-privatekey-location", "privatekey"),
    ] {
        let expected = format!("{}/api/v1/{kind}/{serial}/obtain", server.url);
        assert_eq!(solved.header(header), Some(&*expected));
    }
    // Whoever did not get the answer asks again, and nothing is looked for any more.
    let asked = responder.asked().len();
    for path in [waiting.path("http-01"), waiting.path("dns-01")] {
        let again = send(&server, "POST", &path, "");
        assert_eq!(again.status, 201);
        assert_eq!(again.body, solved.body);
    }
    assert_eq!(responder.asked().len(), asked);
    let host = format!("a.test:{}", responder.port());
    let place = format!("{host}/.well-known/certmaker-challenge/token");
    assert!(responder.asked().iter().all(|asked| *asked == place));
    assert_eq!(crate::crowds::count(&server), 1);
    // The key is kept for an hour.
    server.advance(Duration::from_secs(3_601));
    let late = waiting.solve_at(&server, responder.port());
    assert_says(&late, 410, "challenge expired");
}

#[test]
fn a_challenge_is_its_accounts_and_ends_after_two_hours() {
    // Row 16.
    let server = server(|_| {});
    let responder = Responder::start();
    let (tenant, other) = (server.account("tenant"), server.account("other"));
    let order = json!({"domains": ["a.test"]}).to_string();
    let placed = send_as(&server, &tenant, "POST", SIMPLE, &order);
    let waiting = Waiting::of(&server, &placed);
    responder.has(&waiting.token);
    let body = json!({"challenge_port": responder.port()}).to_string();
    let unknown = [
        "0".repeat(40),
        waiting.id[1..].to_owned(),
        format!("{}0", waiting.id),
        waiting.id.to_uppercase(),
        "%00".to_owned(),
        "x'".to_owned(),
    ];
    for kind in ["http-01", "dns-01", "challenge"] {
        let method = if kind == "challenge" { "GET" } else { "POST" };
        // Not even an administrator's.
        for token in [&other, &server.token] {
            let response = send_as(&server, token, method, &waiting.path(kind), &body);
            assert_error(&response, 404);
        }
        for id in unknown.iter().filter(|id| **id != waiting.id) {
            let path = format!("/api/v1/{kind}/{id}/solve");
            assert_error(&send_as(&server, &tenant, method, &path, &body), 404);
        }
        assert_error(
            &send_as(
                &server,
                &tenant,
                method,
                &format!("/api/v1/{kind}//solve"),
                "",
            ),
            404,
        );
    }
    server.advance(Duration::from_secs(2 * 60 * 60 - 30));
    let solve = || send_as(&server, &tenant, "POST", &waiting.path("http-01"), &body);
    server.advance(Duration::from_secs(31));
    assert_says(&solve(), 410, "challenge expired");
    assert!(responder.asked().is_empty());
    // It is known that there was one for a day.
    server.keep_house();
    assert_error(&solve(), 410);
    server.advance(Duration::from_secs(24 * 60 * 60));
    server.keep_house();
    testbed::eventually(Duration::from_secs(30), "the order is forgotten", || {
        (solve().status == 404).then_some(())
    });
}

#[test]
fn the_last_minute_is_not_too_late() {
    let server = server(|_| {});
    let responder = Responder::start();
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    responder.has(&waiting.token);
    server.advance(Duration::from_secs(2 * 60 * 60 - 60));
    Leaf::of(&server, &waiting.solve_at(&server, responder.port()));
}

#[test]
fn what_was_proven_once_is_not_looked_at_again() {
    let server = server(|_| {});
    let responder = Responder::start();
    let order = json!({"domains": ["a.test", "b.test"], "ips": ["127.0.0.2", "127.0.0.1"]});
    let waiting = Waiting::order(&server, &order);
    responder.has(&waiting.token);
    // Nobody is at 127.0.0.2, where the responder does not listen.
    let refused = waiting.solve_at(&server, responder.port());
    assert_says(&refused, 400, "failed HTTP-01 validation for IP 127.0.0.2");
    let hosts = |responder: &Responder| {
        let mut hosts = responder.asked();
        hosts.sort();
        hosts
    };
    let place = |host: &str| {
        let port = responder.port();
        format!("{host}:{port}/.well-known/certmaker-challenge/token")
    };
    assert_eq!(hosts(&responder), [place("a.test"), place("b.test")]);
    // The account is vouched for what it could not prove.
    let administrator = server.administrator();
    let names = ["127.0.0.2".to_owned()];
    let preauthorizations = &server.house.preauthorizations;
    let vouch = preauthorizations.change(&administrator, "admin", &names, &[]);
    server.run(vouch).unwrap();
    let leaf = Leaf::of(&server, &waiting.solve_at(&server, responder.port()));
    assert_eq!(leaf.names(), ["a.test", "b.test", "127.0.0.2", "127.0.0.1"]);
    assert_eq!(hosts(&responder).len(), 2);
}

#[test]
fn a_record_in_the_zone_completes_the_order() {
    // Rows 10 and 11.
    let knot = Knot::start(&[Zone::new("a.test")]);
    let server = server(|options| options.network = network_of(&knot));
    for (record, method) in [
        ("_certmaker_challenge", "GET"),
        ("__certmaker_challenge", "POST"),
        ("_certmaker_challenge", "POST"),
    ] {
        let order = json!({"domains": ["*.a.test", "a.test"]});
        let waiting = Waiting::order(&server, &order);
        let solve = || send(&server, method, &waiting.path("dns-01"), "");
        let failed = "failed DNS-01 validation for domain a.test";
        assert_says(&solve(), 400, failed);
        knot.add("a.test", &format!("{record}.a.test. 60 TXT another"));
        assert_says(&solve(), 400, failed);
        knot.add(
            "a.test",
            &format!("{record}.a.test. 60 TXT {}", waiting.token),
        );
        let leaf = Leaf::of(&server, &solve());
        leaf.assert_good();
        assert_eq!(leaf.names(), ["*.a.test", "a.test"]);
        knot.remove("a.test", &format!("{record}.a.test. TXT"));
    }
}

#[test]
fn a_name_is_found_through_its_zone() {
    let responder = Responder::start();
    let zone = Zone::new("a.test").record("far CNAME near.a.test.");
    let knot = Knot::start(&[zone]);
    let server = server(|options| options.network = network_of(&knot));
    let waiting = Waiting::order(&server, &json!({"domains": ["far.a.test"]}));
    responder.has(&waiting.token);
    Leaf::of(&server, &waiting.solve_at(&server, responder.port())).assert_good();
    // Names outside the zones do not exist.
    let waiting = Waiting::order(&server, &json!({"domains": ["a.example"]}));
    responder.has(&waiting.token);
    assert_says(
        &waiting.solve_at(&server, responder.port()),
        400,
        "failed HTTP-01 validation for domain a.example",
    );
}

#[test]
fn a_request_with_a_csr_waits_and_is_certified_with_its_own_key() {
    let server = server(|_| {});
    let responder = Responder::start();
    let files = crate::requests::request(
        &["-newkey", "ed25519"],
        &[
            "-subj",
            "/O=Ours/CN=www.a.test",
            "-addext",
            "subjectAltName=DNS:a.test,email:j@a.test",
        ],
    );
    let der = files.read("request.der");
    let placed = send(&server, "POST", &format!("{CSR}?days=30"), &der);
    let waiting = Waiting::of(&server, &placed);
    assert_eq!(waiting.kinds(), ["http-01", "dns-01"]);
    responder.has(&waiting.token);
    let solved = waiting.solve_at(&server, responder.port());
    let leaf = Leaf::of(&server, &solved);
    leaf.assert_good();
    assert_eq!(solved.header("x-privatekey-location"), None);
    assert!(leaf.key_pem.is_none());
    assert_eq!(leaf.days(), 30);
    assert_eq!(leaf.names(), ["a.test", "j@a.test", "www.a.test"]);
    assert_eq!(
        leaf.certificate.subject().to_string(),
        "CN=www.a.test,O=Ours"
    );
    let key = testbed::openssl(&["pkey", "-in", &files.path("key.pem"), "-pubout"], b"");
    assert_eq!(leaf.public_key(), key.text());
    assert_eq!(waiting.solve_at(&server, 0).body, solved.body);

    for accept in ["text/plain", "application/json;q=0.5, Text/Plain; q=1"] {
        let headers = [("X-Auth-Token", server.token.as_str()), ("Accept", accept)];
        let placed = server.send("POST", CSR, &headers, &der);
        assert_eq!(placed.header("content-type"), Some("text/plain"));
        Waiting::of(&server, &placed);
    }
}

#[test]
fn an_answer_has_the_form_that_who_ordered_reads() {
    let server = server(|_| {});
    let responder = Responder::start();
    for (order, path, is_pem) in [
        (json!({"domains": ["a.test"], "emails": []}), SIMPLE, true),
        (
            json!({"domains": ["a.test"], "email_addresses": null}),
            SIMPLE,
            false,
        ),
        (json!({"domains": ["a.test"], "emails": []}), LOCATED, true),
        (json!({"Domains": ["a.test"]}), LOCATED, false),
    ] {
        let waiting = Waiting::of(&server, &post(&server, path, &order));
        responder.has(&waiting.token);
        let solved = waiting.solve_at(&server, responder.port());
        assert_eq!(solved.status, 201, "{}", solved.text());
        let text = solved.json()["certificate_pem"]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(
            text.starts_with("-----BEGIN CERTIFICATE-----"),
            is_pem,
            "{order}"
        );
    }
}

#[test]
fn without_a_body_the_usual_port_is_tried_or_that_of_a_header() {
    // Row 17.
    let seen = crate::attacks::Seen::default();
    let server = server(|options| options.network = seen.network());
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    let path = waiting.path("http-01");
    let token = ("X-Auth-Token", server.token.as_str());
    let (validation, challenge) = ("X-Validation-Port", "X-Challenge-Port");
    for (method, header, body, port) in [
        ("GET", None, "", ""),
        ("POST", None, "", ""),
        ("POST", None, "{}", ""),
        ("POST", None, r#"{"challenge_port":0}"#, ""),
        ("POST", None, r#"{"challenge_port":80}"#, ""),
        ("POST", None, r#"{"challenge_port":8080}"#, ":8080"),
        ("GET", Some((validation, "8081")), "", ":8081"),
        ("POST", Some((challenge, "8082")), "{}", ":8082"),
        (
            "POST",
            Some((validation, "8083")),
            r#"{"challenge_port":443}"#,
            ":443",
        ),
    ] {
        let headers: Vec<(&str, &str)> = [Some(token), header].into_iter().flatten().collect();
        let response = server.send(method, &path, &headers, body);
        assert_error(&response, 400);
        let url = format!("http://a.test{port}/.well-known/certmaker-challenge/token");
        let urls = seen.take();
        assert!(
            !urls.is_empty() && urls.iter().all(|seen| *seen == url),
            "{urls:?}"
        );
    }
    for (header, body) in [
        (None, r#"{"challenge_port":22}"#),
        (None, r#"{"challenge_port":1023}"#),
        (None, r#"{"challenge_port":65536}"#),
        (None, r#"{"challenge_port":-1}"#),
        (None, r#"{"challenge_port":"80"}"#),
        (None, r#"{"challenge_port":80.5}"#),
        (None, "[]"),
        (None, "garbage"),
        (None, "{} x"),
        (Some((validation, "22")), ""),
        (Some((validation, "http")), ""),
        (Some((challenge, "99999999999999999999")), "{}"),
    ] {
        let headers: Vec<(&str, &str)> = [Some(token), header].into_iter().flatten().collect();
        assert_error(&server.send("POST", &path, &headers, body), 400);
        assert!(seen.take().is_empty(), "{body}");
    }
    assert_error(&send(&server, "PUT", &path, ""), 405);
    assert_error(&send(&server, "POST", &waiting.path("challenge"), ""), 405);
}
