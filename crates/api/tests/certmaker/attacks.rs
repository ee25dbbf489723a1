//! Validation as a tool in wrong hands: whatever who orders tries to have asked, or to hold up, ends
//! in the same words as an honest failure, and nothing is asked that must not be.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use egress::{Fetch, FetchError, Request};
use lifecycle::{Network, Patience};
use serde_json::json;

use crate::challenges::{Waiting, assert_says, server};
use crate::requests::request;
use crate::support::names::{Names, network_with};
use crate::support::responder::{Reply, Responder, ok, status, to};
use crate::support::{Options, Server};
use crate::{CSR, LOCATED, SIMPLE, assert_error, post, send};

const FAILED: &str = "failed HTTP-01 validation for domain a.test";

/// A network in which nobody answers, and which remembers what it was asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn network(&self) -> Network {
        network_with(Arc::new(self.clone()))
    }

    /// The URLs since the last time.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Fetch for Seen {
    async fn fetch(&self, request: Request) -> Result<egress::Response, FetchError> {
        self.0.lock().unwrap().push(request.url.clone());
        Err(FetchError::Unreachable {
            host: request.url,
            reason: "a secret of the network".to_owned(),
        })
    }
}

/// Has little patience, so that what holds it up is soon over.
fn impatient(options: &mut Options) {
    options.house.validation.patience = Patience {
        attempts: 2,
        attempt: Duration::from_millis(400),
        pause: Duration::from_millis(10),
        total: Duration::from_secs(2),
    };
}

/// A server that does not look at this machine.
fn careful(names: &Names) -> Server {
    server(|options| {
        options.network = names.network();
        options.house.validation.allow_local_targets = false;
        impatient(options);
    })
}

#[test]
fn addresses_that_nobody_may_reach_are_not_asked() {
    let names = Names::default();
    let server = careful(&names);
    let responder = Responder::start();
    for address in [
        "127.0.0.1",
        "127.1.2.3",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "::ffff:169.254.169.254",
    ] {
        names.lead("a.test", &[&[address]]);
        let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
        responder.has(&waiting.token);
        let refused = waiting.solve_at(&server, responder.port());
        assert_says(&refused, 400, FAILED);
        // Exempt from proof, or asked for as an address of its own.
        if ["127.0.0.1", "::1"].contains(&address) {
            continue;
        }
        let waiting = Waiting::order(&server, &json!({"ips": [address]}));
        responder.has(&waiting.token);
        let refused = waiting.solve_at(&server, responder.port());
        let address: std::net::IpAddr = address.parse().unwrap();
        let failed = format!("failed HTTP-01 validation for IP {address}");
        assert_says(&refused, 400, &failed);
    }
    assert!(responder.asked().is_empty(), "{:?}", responder.asked());
}

#[test]
fn a_name_that_leads_elsewhere_after_it_was_looked_at_is_looked_at_again() {
    let names = Names::default();
    let server = careful(&names);
    let responder = Responder::start();
    // A documentation address that nobody has, then this machine, and so on.
    let (good, bad): (&[&str], &[&str]) = (&["192.0.2.1"], &["127.0.0.1"]);
    for answers in [
        [good, bad, bad, bad],
        [bad, good, bad, good],
        [&["192.0.2.1", "127.0.0.1"], bad, good, bad],
    ] {
        names.lead("a.test", &answers);
        let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
        responder.has(&waiting.token);
        assert_says(&waiting.solve_at(&server, responder.port()), 400, FAILED);
        assert_says(&waiting.solve_at(&server, responder.port()), 400, FAILED);
    }
    assert!(responder.asked().is_empty(), "{:?}", responder.asked());
}

#[test]
fn redirects_lead_to_where_it_may_be_looked_and_nowhere_else() {
    let names = Names::default();
    names.lead("metadata.test", &[&["169.254.169.254"]]);
    names.lead("mapped.test", &[&["::ffff:169.254.169.254"]]);
    // What ends well may take its time.
    let patient = server(|options| options.network = names.network());
    let server = server(|options| {
        options.network = names.network();
        impatient(options);
    });
    let (first, second) = (Responder::start(), Responder::start());
    let port = second.port();
    for target in [
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://metadata.test/".to_owned(),
        format!("http://mapped.test:{port}/"),
        "http://[::ffff:169.254.169.254]/".to_owned(),
        "http://[fe80::1]/".to_owned(),
        "http://0.0.0.0:8080/".to_owned(),
        "http://127.0.0.1:22/".to_owned(),
        "http://127.0.0.1:1/".to_owned(),
        format!("http://a.test@127.0.0.1:{port}/"),
        format!("http://user:secret@b.test:{port}/"),
        "ftp://b.test/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:6379/_FLUSHALL".to_owned(),
        format!("http:///b.test:{port}/"),
        "http://".to_owned(),
        "//".to_owned(),
        "?".repeat(9_000),
    ] {
        let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
        second.has(&waiting.token);
        let redirect = target.clone();
        first.answer(move |_| to(&redirect));
        let refused = waiting.solve_at(&server, first.port());
        assert_says(&refused, 400, FAILED);
    }
    assert!(second.asked().is_empty(), "{:?}", second.asked());

    // Five steps, and no sixth.
    for (steps, is_proven) in [(5, true), (6, false)] {
        let waiting = Waiting::order(&patient, &json!({"domains": ["a.test"]}));
        let answer = ok(&waiting.token);
        first.answer(move |path| {
            let done = path.matches('x').count();
            match done == steps {
                true => Reply::Raw(answer.clone()),
                false => to(&format!("/{}", "x".repeat(done + 1))),
            }
        });
        let status = waiting.solve_at(&patient, first.port()).status;
        assert_eq!(status == 201, is_proven, "{steps}: {status}");
    }
}

#[test]
fn servers_that_send_too_much_or_too_slowly_are_left() {
    let server = server(impatient);
    let responder = Responder::start();
    let waiting = Waiting::order(&server, &json!({"domains": ["a.test"]}));
    let (token, at_once, slowly) = (&waiting.token, Duration::ZERO, Duration::from_millis(100));
    let head = "HTTP/1.1 200 OK\r\n";
    let huge = format!("{head}Content-Length: 10000000000\r\n\r\n{token}");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    for (what, reply) in [
        (
            "ten gigabytes",
            Reply::Endless(huge.clone(), "x".repeat(65_536), at_once),
        ),
        (
            "a body that does not come",
            Reply::Endless(huge, String::new(), slowly),
        ),
        (
            "no end",
            Reply::Endless(format!("{head}\r\n{token}"), "\n".to_owned(), at_once),
        ),
        (
            "chunks without end",
            Reply::Endless(chunked.clone(), "1\r\nx\r\n".to_owned(), at_once),
        ),
        (
            "a chunk from time to time",
            Reply::Endless(
                format!("{chunked}40\r\n{token}\r\n"),
                "1\r\n\n\r\n".to_owned(),
                slowly,
            ),
        ),
        (
            "a byte from time to time",
            Reply::Endless(head.to_owned(), "X".to_owned(), slowly),
        ),
        (
            "a head without end",
            Reply::Endless(head.to_owned(), "A: b\r\n".to_owned(), at_once),
        ),
        ("silence", Reply::Silence),
        ("nothing", Reply::Raw(String::new())),
        ("no HTTP", Reply::Raw(format!("220 mail\r\n{token}\r\n"))),
        (
            "half of it",
            Reply::Raw(format!("{head}Content-Length: 64\r\n\r\n{}", &token[..32])),
        ),
        ("more than it", Reply::Raw(ok(&format!("{token} and more")))),
        ("lines", Reply::Raw(ok(&format!("{token}\n\n")))),
        (
            "a long file",
            Reply::Raw(ok(&format!("{token}{}", " ".repeat(2_000)))),
        ),
        (
            "another status",
            Reply::Raw(ok(token).replace("200 OK", "203 OK")),
        ),
        ("an empty status", Reply::Raw(status("204 No Content"))),
        (
            "a part",
            Reply::Raw(ok(token).replace("200 OK", "206 Partial Content")),
        ),
    ] {
        responder.answer(move |_| reply.clone());
        let refused = waiting.solve_at(&server, responder.port());
        assert_eq!(refused.status, 400, "{what}");
        assert_says(&refused, 400, FAILED);
    }
    // It was the answers.
    responder.has(token);
    assert_eq!(waiting.solve_at(&server, responder.port()).status, 201);
}

#[test]
fn nothing_but_hosts_comes_into_urls() {
    let seen = Seen::default();
    let server = server(|options| {
        options.network = seen.network();
        impatient(options);
    });
    for name in [
        "a.test:22",
        "user@a.test",
        "a.test/x",
        "a.test?x",
        "a.test#x",
        "a.test\\x",
        "http://a.test",
        "a test",
        "a.test\r\nX: y",
        "[::1]:22",
        "127.0.0.1:22",
        "[a.test]",
        "127.1",
        "0x7f.1",
        "0x7f000001",
        "2130706433",
        "a..test",
        "%61.test",
        "ä.test",
        "",
    ] {
        for order in [json!({"domains": [name]}), json!({"ips": [name]})] {
            for path in [SIMPLE, LOCATED] {
                assert_error(&post(&server, path, &order), 400);
            }
        }
        // In a subject it is text, or nothing that a subject has.
        let order = json!({"domains": ["localhost"], "subject": {"common_name": name}});
        let status = post(&server, SIMPLE, &order).status;
        let expected = if name.contains('\n') { 400 } else { 201 };
        assert_eq!(status, expected, "{name}");
    }
    let waiting = Waiting::order(
        &server,
        &json!({"ips": ["fd00::1"], "domains": ["_a.b-c.test"]}),
    );
    let refused = waiting.solve_at(&server, 8080);
    assert_error(&refused, 400);
    assert!(!refused.text().contains("secret"), "{}", refused.text());
    let mut urls = seen.take();
    urls.sort();
    urls.dedup();
    let file = "/.well-known/certmaker-challenge/token";
    let expected = ["[fd00::1]", "_a.b-c.test"];
    assert_eq!(
        urls,
        expected.map(|host| format!("http://{host}:8080{file}"))
    );
}

#[test]
fn what_somebody_would_take_for_a_host_is_no_text() {
    let server = server(|_| {});
    for name in [
        "w*.bank.test",
        "*.*.bank.test",
        "my-.bank.test",
        "xn--999999999.bank.test",
    ] {
        let order = json!({"subject": {"common_name": name}});
        for path in [SIMPLE, LOCATED] {
            assert_error(&post(&server, path, &order), 400);
        }
        let subject = format!("/CN={name}");
        let files = request(&["-newkey", "ed25519"], &["-subj", &subject]);
        let refused = send(&server, "POST", CSR, files.read("request.der"));
        assert_error(&refused, 400);
        assert!(refused.text().contains(name), "{}", refused.text());
    }
}

#[test]
fn records_are_compared_whole() {
    let names = Names::default();
    let server = server(|options| {
        options.network = names.network();
        impatient(options);
    });
    let waiting = Waiting::order(&server, &json!({"domains": ["*.a.test"]}));
    let token = waiting.token.as_str();
    let record = "_certmaker_challenge.a.test";
    for text in [
        String::new(),
        format!("{token} "),
        format!("\"{token}\""),
        format!("{token}{token}"),
        token[..63].to_owned(),
        token.to_uppercase() + "G",
    ] {
        names.put(record, &[&text, "other"]);
        assert_says(
            &send(&server, "GET", &waiting.path("dns-01"), ""),
            400,
            "failed DNS-01 validation for domain a.test",
        );
    }
    let mut asked = names.asked();
    asked.sort();
    asked.dedup();
    assert_eq!(asked, ["__certmaker_challenge.a.test", record]);
    names.put(record, &["other", token, "another"]);
    assert_eq!(
        send(&server, "GET", &waiting.path("dns-01"), "").status,
        201
    );
}

#[test]
fn many_names_that_hold_it_up_end_together() {
    let server = server(impatient);
    let responder = Responder::start();
    responder.answer(|_| Reply::Silence);
    let names: Vec<String> = (0..60).map(|number| format!("{number}.test")).collect();
    let waiting = Waiting::order(&server, &json!({"domains": names}));
    let refused = waiting.solve_at(&server, responder.port());
    assert_says(&refused, 400, "failed HTTP-01 validation for domain 0.test");
}
