//! OAuth at the root of the host, over real HTTP. Numbers in comments are rows of the checklist in
//! spec/cloud66.md section 9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod abuse;
mod consent;
mod redemption;
#[path = "../support/mod.rs"]
mod support;

use lifecycle::NewClient;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use support::Server;
use testbed::http::Response;

/// Where `cx` listens.
const LISTENER: &str = "http://127.0.0.1:34543";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// What `cx` asks with.
fn cx() -> Vec<(&'static str, &'static str)> {
    vec![
        ("response_type", "code"),
        ("client_id", "cx"),
        ("redirect_uri", LISTENER),
        ("scope", "public redeploy jobs users admin"),
    ]
}

/// The same parameters with one changed, or taken out.
fn with<'a>(
    parameters: &[(&'a str, &'a str)],
    name: &'a str,
    value: Option<&'a str>,
) -> Vec<(&'a str, &'a str)> {
    let others = parameters.iter().filter(|(known, _)| *known != name);
    let mut changed: Vec<_> = others.copied().collect();
    changed.extend(value.map(|value| (name, value)));
    changed
}

fn encoded(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| {
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        format!("{name}={value}")
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Opens the page that asks.
#[track_caller]
fn open(server: &Server, parameters: &[(&str, &str)]) -> Response {
    let path = format!("/oauth/authorize?{}", encoded(parameters));
    server.send("GET", &path, &[], "")
}

/// A page that a browser shows, with the cookie that came with it.
struct Page {
    fields: Vec<(String, String)>,
    cookie: String,
}

impl Page {
    #[track_caller]
    fn open(server: &Server, parameters: &[(&str, &str)]) -> Self {
        let answer = open(server, parameters);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let cookie = answer.header("set-cookie").unwrap();
        let (cookie, _) = cookie.split_once(';').unwrap();
        Self {
            fields: hidden_fields(&answer.text()),
            cookie: cookie.to_owned(),
        }
    }

    /// Sends the form as a browser would.
    #[track_caller]
    fn send(&self, server: &Server, token: &str, decision: &str) -> Response {
        let origin = server.url.clone();
        let own = [
            ("Cookie", self.cookie.as_str()),
            ("Origin", &origin),
            ("Sec-Fetch-Site", "same-origin"),
        ];
        self.send_with(server, &own, token, decision)
    }

    #[track_caller]
    fn send_with(
        &self,
        server: &Server,
        headers: &[(&str, &str)],
        token: &str,
        decision: &str,
    ) -> Response {
        let fields = self.fields.iter();
        let mut fields: Vec<(&str, &str)> = fields
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        fields.extend([("token", token), ("decision", decision)]);
        server.send("POST", "/oauth/authorize", headers, encoded(&fields))
    }
}

fn hidden_fields(page: &str) -> Vec<(String, String)> {
    let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            let (value, _) = rest.split_once("\">").unwrap();
            let value = value
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            (name.to_owned(), value)
        })
        .collect()
}

/// The parameters that a browser is sent on with.
#[track_caller]
fn sent_on(answer: &Response, redirect: &str) -> Vec<(String, String)> {
    assert_eq!(answer.status, 302, "{}", answer.text());
    let target = answer.header("location").unwrap();
    let (base, query) = target.split_once('?').unwrap();
    assert_eq!(base, redirect);
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    pairs
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

/// The code that a client gets which asks so and is allowed.
#[track_caller]
fn code(server: &Server, parameters: &[(&str, &str)], token: &str) -> String {
    let page = Page::open(server, parameters);
    let answer = page.send(server, token, "allow");
    let redirect = parameters.iter().find(|(name, _)| *name == "redirect_uri");
    let sent = sent_on(&answer, redirect.unwrap().1);
    assert_eq!(sent[0].0, "code", "{sent:?}");
    sent[0].1.clone()
}

/// What `cx` sends to have its token.
fn exchange(code: &str) -> Vec<(&'static str, &str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", LISTENER),
        ("client_id", "cx"),
    ]
}

#[track_caller]
fn redeem(server: &Server, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Response {
    server.send("POST", "/oauth/token", headers, encoded(form))
}

/// Asserts that there is no token, in the form of spec section 3.2.
#[track_caller]
fn assert_refused(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], code, "{body}");
    for text in ["error_description", "details"] {
        assert!(body[text].as_str().is_some_and(|text| !text.is_empty()));
    }
    assert!(body.get("access_token").is_none());
}

/// Registers a client, and returns its secret if it has one.
#[track_caller]
fn register(server: &Server, name: &str, redirect: &str, is_confidential: bool) -> Option<String> {
    let client = NewClient {
        name: name.to_owned(),
        redirects: vec![redirect.to_owned()],
        is_confidential,
    };
    let administrator = server.administrator();
    let registered = server.run(server.house.clients.register(&administrator, client));
    let secret = registered.unwrap().secret;
    secret.map(|secret| secret.to_string())
}

/// What an authenticated route of the Cloud 66 API says to a token.
#[track_caller]
fn status_with(server: &Server, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str())];
    server
        .send("GET", "/api/3/ping/auth.json", &headers, "")
        .status
}
