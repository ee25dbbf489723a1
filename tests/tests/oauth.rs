//! From a program that asks, by way of a person at a browser, to a token that works.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use testbed::http::{self, Response};
use testbed::{Browser, Chancery, eventually};

const SOON: Duration = Duration::from_secs(60);
/// For how long a connection may be open without a request.
const PATIENCE: Duration = Duration::from_secs(1);
/// Where `cx` listens.
const CX_PORT: u16 = 34_543;
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A program that waits for its code, as `cx` does; every path shows the same page.
struct Program {
    url: String,
    asked: Receiver<String>,
}

impl Program {
    fn listen(port: u16, page: &str) -> Self {
        // Somebody else's connection may have the port for a moment.
        let listener = eventually(SOON, "the port is free", || {
            TcpListener::bind(("127.0.0.1", port)).ok()
        });
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, asked) = channel();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{page}",
            page.len()
        );
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A browser may connect ahead of what it asks.
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() {
                    continue;
                }
                let mut field = String::new();
                while reader.read_line(&mut field).is_ok_and(|read| read > 2) {
                    field.clear();
                }
                let _ = reader.get_mut().write_all(answer.as_bytes());
                let path = line.split(' ').nth(1).unwrap_or_default();
                let _ = sender.send(path.to_owned());
            }
        });
        Self { url, asked }
    }

    /// The query that the browser came back with.
    #[track_caller]
    fn query(&self) -> String {
        loop {
            let path = self.asked.recv_timeout(SOON).expect("a browser comes");
            if let Some(query) = path.strip_prefix("/?") {
                return query.to_owned();
            }
        }
    }
}

fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[track_caller]
fn redeem(server: &Chancery, headers: &[(&str, &str)], form: &str) -> Response {
    http::send(
        &server.http(),
        "POST",
        "/oauth/token",
        headers,
        form.as_bytes(),
    )
}

#[track_caller]
fn assert_works(server: &Chancery, token: &str) {
    let bearer = format!("bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let answer = http::send(
        &server.http(),
        "GET",
        "/api/3/ping/auth.json",
        &headers,
        b"",
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn cx_logs_in_by_the_browser() {
    let server = Chancery::start();
    let program = Program::listen(CX_PORT, "<p>You may close this.");
    let base = server.http();
    let configuration = http::send(&base, "GET", "/api/tooling/cx/config", &[], b"").json();
    let client = configuration["response"]["client_id"].as_str().unwrap();
    let secret = configuration["response"]["client_secret"].as_str().unwrap();

    let visit = Browser::trusting(&[]).visit();
    visit.open(&format!(
        "{base}/oauth/authorize?response_type=code&client_id={client}&redirect_uri={}\
         &scope=public+redeploy+jobs+users+admin",
        program.url
    ));
    visit.wait_for("document.querySelector('#token')");
    let page = visit.text();
    assert!(page.contains("Allow cx to use your account?"), "{page}");
    assert!(page.contains(&program.url), "{page}");
    // The style sheet is allowed by the page's own policy.
    let width = visit.evaluate("getComputedStyle(document.querySelector('main')).maxWidth");
    assert_eq!(width, "544px");
    visit.type_into("#token", &server.token());
    visit.click("button[value=allow]");
    visit.wait_for("document.body.innerText.includes('You may close this.')");

    let query = program.query();
    let code = value(&query, "code").unwrap_or_else(|| panic!("{query}"));
    let basic = STANDARD.encode(format!("{client}:{secret}"));
    let basic = format!("Basic {basic}");
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri={}&client_id={client}",
        program.url
    );
    let headers = [
        ("Authorization", basic.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let granted = redeem(&server, &headers, &form);
    assert_eq!(granted.status, 200, "{}", granted.text());
    let granted = granted.json();
    assert_eq!(granted["token_type"], "bearer");
    assert_works(&server, granted["access_token"].as_str().unwrap());
    let again = redeem(&server, &headers, &form);
    assert_eq!(again.status, 400);
    assert_eq!(again.json()["error"], "invalid_grant");
}

#[test]
fn a_registered_program_is_allowed_after_a_mistake() {
    let server = Chancery::start();
    let program = Program::listen(0, "<p>Thank you.");
    let redirect = format!("{}/", program.url);
    let added = server.cli(&["client", "add", "shop", "--redirect", &redirect]);
    assert_eq!(added.code(), Some(0), "{added:?}");
    let listed = server.cli(&["client", "ls"]);
    assert!(listed.text().contains(&redirect), "{listed:?}");

    let visit = Browser::trusting(&[]).visit();
    let mark = "%22%3E%3Cimg+src%3Dx+onerror%3D%22document.title%3D%27taken%27%22%3E";
    visit.open(&format!(
        "{}/oauth/authorize?response_type=code&client_id=shop&redirect_uri={redirect}\
         &scope=public&state={mark}&code_challenge={CHALLENGE}&code_challenge_method=S256",
        server.http()
    ));
    visit.type_into("#token", "not a token");
    visit.click("button[value=allow]");
    visit.wait_for("document.querySelector('.fault')");
    assert!(visit.text().contains("is not a token that works here"));
    let held = visit.evaluate("document.querySelector('input[name=state]').value");
    assert_eq!(held, "\"><img src=x onerror=\"document.title='taken'\">");
    assert_ne!(visit.evaluate("document.title"), "taken");
    assert_eq!(visit.evaluate("document.images.length"), 0);
    visit.type_into("#token", &server.token());
    visit.click("button[value=allow]");

    let query = program.query();
    assert!(
        value(&query, "state")
            .unwrap()
            .starts_with("%22%3E%3Cimg%20src%3Dx")
    );
    let code = value(&query, "code").unwrap();
    let form = |verifier: &str| {
        format!(
            "grant_type=authorization_code&code={code}&redirect_uri={redirect}&client_id=shop\
             &code_verifier={verifier}"
        )
    };
    let wrong = redeem(&server, &[], &form(CHALLENGE));
    assert_eq!(wrong.status, 400);
    let granted = redeem(&server, &[], &form(VERIFIER)).json();
    assert_eq!(granted["scope"], "public");
    let token = granted["access_token"].as_str().unwrap();
    assert_works(&server, token);
    // It is for looking only.
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    let path = "/api/3/dns_providers.json";
    let refused = http::send(&server.http(), "GET", path, &headers, b"");
    assert_eq!(refused.status, 403);
}

#[test]
fn who_denies_or_cannot_listen_is_told_on_the_page() {
    let server = Chancery::start();
    let visit = Browser::trusting(&[]).visit();
    let ask = format!(
        "{}/oauth/authorize?response_type=code&client_id=cx\
         &redirect_uri=urn:ietf:wg:oauth:2.0:oob",
        server.http()
    );
    visit.open(&ask);
    visit.click("button[value=deny]");
    visit.wait_for("document.body.innerText.includes('Nothing was allowed')");
    visit.open(&ask);
    visit.type_into("#token", &server.token());
    visit.click("button[value=allow]");
    visit.wait_for("document.querySelector('#code')");
    let code = visit.evaluate("document.querySelector('#code').innerText");
    let form = format!(
        "grant_type=authorization_code&code={}&redirect_uri=urn:ietf:wg:oauth:2.0:oob\
         &client_id=cx",
        code.as_str().unwrap()
    );
    let granted = redeem(&server, &[], &form);
    assert_eq!(granted.status, 200, "{}", granted.text());
}

#[test]
fn a_strange_page_neither_frames_the_question_nor_answers_it() {
    let server = Chancery::start();
    let ask = format!(
        "{}/oauth/authorize?response_type=code&client_id=cx\
         &redirect_uri=urn:ietf:wg:oauth:2.0:oob",
        server.http()
    );
    // Framed, and answered with a token of somebody else's: on the same machine, so that the
    // cookie of the question goes with it.
    let page = format!(
        "<iframe src=\"{ask}\"></iframe>\
         <form method=post action=\"{}/oauth/authorize\">\
         <input name=response_type value=code><input name=client_id value=cx>\
         <input name=redirect_uri value=\"urn:ietf:wg:oauth:2.0:oob\">\
         <input name=form value=guessed><input name=token value=\"{}\">\
         <button name=decision value=allow>Win a prize</button></form>",
        server.http(),
        server.token()
    );
    let stranger = Program::listen(0, &page);
    let visit = Browser::trusting(&[]).visit();
    visit.open(&ask);
    visit.wait_for("document.querySelector('#token')");
    visit.open(&stranger.url);
    visit.wait_for("document.querySelector('iframe')");
    let framed = eventually(SOON, "the frame has come to something", || {
        let frames = visit.frames();
        frames
            .into_iter()
            .find(|url| url != "about:blank" && !url.is_empty())
    });
    assert!(framed.starts_with("chrome-error:"), "{framed}");
    visit.click("button");
    visit.wait_for("document.querySelector('.fault')");
    let text = visit.text();
    assert!(text.contains("this form came from another site"), "{text}");
}

#[test]
fn a_token_is_printed_as_cx_keeps_it() {
    let server = Chancery::start();
    for form in ["cx-file", "cx-variable"] {
        let printed = server.cli(&["token", "create", "--dialects", "cloud66", "--as", form]);
        assert_eq!(printed.code(), Some(0), "{printed:?}");
        let text = printed.text();
        let file = match form {
            "cx-file" => text.clone().into_bytes(),
            _ => STANDARD.decode(text.trim()).unwrap(),
        };
        let file: Value = serde_json::from_slice(&file).unwrap();
        assert_eq!(file["Expiry"], "0001-01-01T00:00:00Z");
        assert_works(&server, file["AccessToken"].as_str().unwrap());
    }
    let unknown = server.cli(&["token", "create", "--as", "cx"]);
    assert_eq!(unknown.code(), Some(2), "{unknown:?}");
}
