//! The exchange of a code for a token, and what the token can do.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lifecycle::{Dialect, TokenLimits};

use crate::support::Server;
use crate::{
    CHALLENGE, LISTENER, VERIFIER, assert_refused, code, cx, exchange, redeem, register,
    status_with, with,
};

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Row 27.
#[test]
fn cx_gets_a_token_that_works_in_its_api_alone() {
    let server = Server::start();
    let code = code(&server, &cx(), &server.token);
    let authorization = basic("cx", "cx");
    let mut form = exchange(&code);
    form.push(("scope", "public redeploy jobs users admin"));
    let answer = redeem(&server, &[("Authorization", &authorization)], &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["token_type"], "bearer");
    assert_eq!(body["scope"], "public redeploy jobs users admin");
    assert!(body.get("expires_in").is_none());
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(status_with(&server, token), 200);
    let authenticate = |dialect| server.run(server.house.tokens.authenticate(token, dialect));
    assert!(authenticate(Dialect::Cloud66).is_ok());
    for dialect in Dialect::ALL {
        if dialect != Dialect::Cloud66 {
            assert!(authenticate(dialect).is_err(), "{dialect}");
        }
    }
    let tokens = server.run(server.house.tokens.list(&server.administrator()));
    assert!(
        tokens
            .unwrap()
            .iter()
            .any(|token| token.name == "client cx")
    );
}

/// Row 27.
#[test]
fn a_code_that_comes_twice_costs_the_token_that_came_of_it() {
    let server = Server::start();
    let code = code(&server, &cx(), &server.token);
    let first = redeem(&server, &[], &exchange(&code));
    let token = first.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(status_with(&server, &token), 200);
    let second = redeem(&server, &[], &exchange(&code));
    assert_refused(&second, 400, "invalid_grant");
    server.advance(Duration::from_secs(2));
    assert_eq!(status_with(&server, &token), 401);
    assert_eq!(status_with(&server, &server.token), 200);
}

#[test]
fn a_code_is_good_for_ten_minutes() {
    let server = Server::start();
    let [first, second] = [(); 2].map(|()| code(&server, &cx(), &server.token));
    server.advance(Duration::from_secs(590));
    assert_eq!(redeem(&server, &[], &exchange(&first)).status, 200);
    server.advance(Duration::from_secs(15));
    let late = redeem(&server, &[], &exchange(&second));
    assert_refused(&late, 400, "invalid_grant");
}

#[test]
fn a_token_lives_no_longer_than_the_one_that_gave_it() {
    let server = Server::start();
    let token = server.token_with(TokenLimits {
        lifetime: Some(Duration::from_secs(1_000)),
        ..TokenLimits::default()
    });
    let [first, second] = [(); 2].map(|()| code(&server, &cx(), &token));
    server.advance(Duration::from_secs(400));
    let answer = redeem(&server, &[], &exchange(&first)).json();
    let left = answer["expires_in"].as_i64().unwrap();
    assert!((1..=600).contains(&left), "{left}");
    let granted = answer["access_token"].as_str().unwrap();
    assert_eq!(status_with(&server, granted), 200);
    server.advance(Duration::from_secs(601));
    assert_eq!(status_with(&server, granted), 401);
    let late = redeem(&server, &[], &exchange(&second));
    assert_refused(&late, 400, "invalid_grant");
}

#[test]
fn a_client_that_keeps_a_secret_has_to_show_it() {
    let server = Server::start();
    let redirect = "https://shop.test/back?a=b";
    let secret = register(&server, "shop", redirect, true).unwrap();
    let asked = with(&cx(), "client_id", Some("shop"));
    let asked = with(&asked, "redirect_uri", Some(redirect));
    let page = crate::Page::open(&server, &asked);
    let answer = page.send(&server, &server.token, "allow");
    let sent = crate::sent_on(&answer, "https://shop.test/back");
    assert_eq!(sent[0], ("a".to_owned(), "b".to_owned()));
    let code = sent[1].1.as_str();
    let form = with(&exchange(code), "client_id", Some("shop"));
    let form = with(&form, "redirect_uri", Some(redirect));
    for authorization in [basic("shop", "wrong"), basic("shop", "")] {
        let answer = redeem(&server, &[("Authorization", &authorization)], &form);
        assert_refused(&answer, 400, "invalid_client");
    }
    assert_refused(&redeem(&server, &[], &form), 400, "invalid_client");
    let in_form = with(&form, "client_secret", Some(&secret));
    assert_eq!(redeem(&server, &[], &in_form).status, 200);
    // As user and password as well.
    let code = crate::Page::open(&server, &asked).send(&server, &server.token, "allow");
    let code = crate::sent_on(&code, "https://shop.test/back")[1].1.clone();
    let form = with(&form, "code", Some(&code));
    let form = with(&form, "client_id", None);
    let authorization = basic("shop", &secret);
    let answer = redeem(&server, &[("Authorization", &authorization)], &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_challenge_is_met_by_its_verifier_alone() {
    let server = Server::start();
    for (challenge, method) in [
        (CHALLENGE, Some("S256")),
        (VERIFIER, Some("plain")),
        (VERIFIER, None),
    ] {
        let asked = with(&cx(), "code_challenge", Some(challenge));
        let asked = with(&asked, "code_challenge_method", method);
        let code = code(&server, &asked, &server.token);
        for wrong in [
            None,
            Some("x"),
            Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cX"),
        ] {
            let form = with(&exchange(&code), "code_verifier", wrong);
            assert_refused(&redeem(&server, &[], &form), 400, "invalid_grant");
        }
        let form = with(&exchange(&code), "code_verifier", Some(VERIFIER));
        assert_eq!(redeem(&server, &[], &form).status, 200, "{method:?}");
    }
    // Who sends a verifier relies on a challenge that somebody took away.
    let code = code(&server, &cx(), &server.token);
    let form = with(&exchange(&code), "code_verifier", Some(VERIFIER));
    assert_refused(&redeem(&server, &[], &form), 400, "invalid_grant");
}

#[test]
fn a_registered_client_without_a_secret_needs_a_challenge() {
    let server = Server::start();
    register(&server, "cli", "http://127.0.0.1:1/", false);
    let asked = with(&cx(), "client_id", Some("cli"));
    let asked = with(&asked, "redirect_uri", Some("http://127.0.0.1:1/"));
    let answer = crate::open(&server, &asked);
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("code_challenge"));
    let asked = with(&asked, "code_challenge", Some(VERIFIER));
    let code = code(&server, &asked, &server.token);
    let form = with(&exchange(&code), "client_id", Some("cli"));
    let form = with(&form, "redirect_uri", Some("http://127.0.0.1:1/"));
    let form = with(&form, "code_verifier", Some(VERIFIER));
    assert_eq!(redeem(&server, &[], &form).status, 200);
}

#[test]
fn grants_and_their_tokens_are_in_the_audit_log() {
    let server = Server::start();
    let code = code(&server, &cx(), &server.token);
    for _ in 0..2 {
        redeem(&server, &[], &exchange(&code));
    }
    let bearer = format!("Bearer {}", server.token);
    let headers = [("Authorization", bearer.as_str())];
    let events = server.send("GET", "/chancery/v1/audit/events", &headers, "");
    let events = events.text();
    for kind in ["grant.given", "token.created", "grant.replayed"] {
        assert!(events.contains(kind), "{kind} in {events}");
    }
    assert!(!events.contains(&code));
    assert!(!events.contains(LISTENER));
}
