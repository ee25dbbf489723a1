//! What strangers try: redirects, codes, forms and pages that are not theirs.

use std::time::Duration;

use lifecycle::AccountChange;

use crate::support::Server;
use crate::{
    LISTENER, Page, VERIFIER, assert_refused, code, cx, encoded, exchange, open, redeem, register,
    status_with, with,
};

/// Row 26.
#[test]
fn nobody_is_sent_to_a_redirect_that_is_not_the_clients() {
    let server = Server::start();
    register(&server, "shop", "https://shop.test/back", true);
    let page = Page::open(&server, &cx());
    for redirect in [
        "https://evil.test/",
        "http://127.0.0.1:34543.evil.test/",
        "http://127.0.0.1:34543@evil.test/",
        "http://127.0.0.1:34543/x",
        "http://127.0.0.1:34543/",
        "http://127.0.0.1:34543?",
        "http://127.0.0.1:34544",
        "http://127.0.0.1",
        "http://localhost:34543",
        "HTTP://127.0.0.1:34543",
        "https://127.0.0.1:34543",
        "//evil.test",
        "/oauth/token",
        "javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "urn:ietf:wg:oauth:2.0:oob:auto",
        // Another client's.
        "https://shop.test/back",
        " http://127.0.0.1:34543",
        "http://127.0.0.1:34543\r\nX: y",
    ] {
        let asked = with(&cx(), "redirect_uri", Some(redirect));
        let answer = open(&server, &asked);
        assert_eq!(answer.status, 400, "{redirect}");
        assert!(answer.header("location").is_none(), "{redirect}");
        assert!(!answer.text().contains("evil.test"), "{}", answer.text());
        // Nor when it is only the form that is changed.
        for decision in ["allow", "deny"] {
            let changed = page.fields.iter().map(|(name, value)| {
                let is_it = name == "redirect_uri";
                (
                    name.clone(),
                    if is_it { redirect } else { value }.to_owned(),
                )
            });
            let changed = Page {
                fields: changed.collect(),
                cookie: page.cookie.clone(),
            };
            let answer = changed.send(&server, &server.token, decision);
            assert_eq!(answer.status, 400, "{redirect}");
            assert!(answer.header("location").is_none(), "{redirect}");
        }
    }
}

#[test]
fn what_is_no_request_is_answered_here() {
    let server = Server::start();
    let long = "x".repeat(200);
    for (name, value) in [
        ("client_id", None),
        ("client_id", Some("nobody")),
        ("client_id", Some("")),
        ("client_id", Some("../cx")),
        ("client_id", Some(long.as_str())),
        ("redirect_uri", None),
        ("redirect_url", Some("https://evil.test/")),
        ("response_type", None),
        ("response_type", Some("token")),
        ("response_type", Some("code token")),
        ("scope", Some("public root")),
        ("scope", Some("<script>")),
        ("code_challenge", Some("short")),
        ("code_challenge_method", Some("S256")),
    ] {
        let answer = open(&server, &with(&cx(), name, value));
        assert_eq!(answer.status, 400, "{name} {value:?}");
        assert!(answer.header("location").is_none(), "{name} {value:?}");
    }
    for query in [
        "",
        "?",
        "?client_id=cx&client_id=cx",
        "?client_id=%FF",
        "?a=%00",
    ] {
        let path = format!("/oauth/authorize{query}");
        assert_eq!(server.send("GET", &path, &[], "").status, 400, "{query}");
    }
    let twice = format!("/oauth/authorize?{}&state=a&state=b", encoded(&cx()));
    assert_eq!(server.send("GET", &twice, &[], "").status, 400);
    for (method, path, allowed) in [
        ("PUT", "/oauth/authorize", "GET, POST"),
        ("GET", "/oauth/token", "POST"),
        ("DELETE", "/oauth/style.css", "GET, HEAD"),
    ] {
        let answer = server.send(method, path, &[], "");
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some(allowed));
    }
    for path in [
        "/oauth",
        "/oauth/",
        "/oauth/applications",
        "/oauth/token/info",
    ] {
        let answer = server.send("GET", path, &[], "");
        assert_refused(&answer, 404, "not_found");
    }
}

#[test]
fn nothing_that_a_link_brings_is_markup_on_the_page() {
    let server = Server::start();
    let mark = "\"><script>alert(1)</script><i a='";
    let asked = with(&cx(), "state", Some(mark));
    let answer = open(&server, &asked);
    assert_eq!(answer.status, 200);
    assert!(!answer.text().contains("<script"), "{}", answer.text());
    assert!(!answer.text().contains("<i a="));
    let fields = crate::hidden_fields(&answer.text());
    assert!(fields.contains(&("state".to_owned(), mark.to_owned())));
    for name in [
        "client_id",
        "scope",
        "redirect_uri",
        "code_challenge",
        "response_type",
    ] {
        let answer = open(&server, &with(&cx(), name, Some(mark)));
        assert_eq!(answer.status, 400, "{name}");
        assert!(!answer.text().contains("<script"), "{}", answer.text());
    }
    let page = Page::open(&server, &cx());
    let answer = page.send(&server, mark, "allow");
    assert_eq!(answer.status, 401);
    assert!(!answer.text().contains("<script"), "{}", answer.text());
}

#[test]
fn a_form_from_elsewhere_gives_nothing() {
    let server = Server::start();
    let page = Page::open(&server, &cx());
    let other = Page::open(&server, &cx());
    let (cookie, origin) = (page.cookie.as_str(), server.url.clone());
    let twice = format!("{cookie}; {}", other.cookie);
    for headers in [
        vec![],
        vec![("Origin", origin.as_str())],
        vec![("Cookie", "chancery-consent=")],
        vec![("Cookie", other.cookie.as_str())],
        vec![("Cookie", twice.as_str())],
        vec![("Cookie", cookie), ("Origin", "https://evil.test")],
        vec![("Cookie", cookie), ("Origin", "null")],
        vec![("Cookie", cookie), ("Sec-Fetch-Site", "cross-site")],
        vec![("Cookie", cookie), ("Sec-Fetch-Site", "same-site")],
    ] {
        let answer = page.send_with(&server, &headers, &server.token, "allow");
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(answer.header("location").is_none());
    }
    let answer = page.send_with(&server, &[("Cookie", cookie)], &server.token, "allow");
    assert_eq!(answer.status, 302);
}

#[test]
fn a_code_is_of_no_use_to_another_client_or_redirect() {
    let server = Server::start();
    register(&server, "other", LISTENER, false);
    let secret = register(&server, "shop", LISTENER, true).unwrap();
    let code = code(&server, &cx(), &server.token);
    let good = exchange(&code);
    let foreign = with(&good, "client_id", Some("other"));
    assert_refused(&redeem(&server, &[], &foreign), 400, "invalid_grant");
    let foreign = with(&good, "client_id", Some("shop"));
    let foreign = with(&foreign, "client_secret", Some(&secret));
    assert_refused(&redeem(&server, &[], &foreign), 400, "invalid_grant");
    for redirect in [
        "http://127.0.0.1:34543/",
        "urn:ietf:wg:oauth:2.0:oob",
        "https://evil.test",
    ] {
        let form = with(&good, "redirect_uri", Some(redirect));
        assert_refused(&redeem(&server, &[], &form), 400, "invalid_grant");
    }
    // None of that has used it up.
    assert_eq!(redeem(&server, &[], &good).status, 200);
}

#[test]
fn what_is_no_exchange_brings_no_token() {
    let server = Server::start();
    let code = code(&server, &cx(), &server.token);
    let good = exchange(&code);
    let long = "x".repeat(10_000);
    for (name, value, error) in [
        ("grant_type", None, "invalid_request"),
        ("grant_type", Some("password"), "unsupported_grant_type"),
        (
            "grant_type",
            Some("client_credentials"),
            "unsupported_grant_type",
        ),
        ("grant_type", Some("refresh_token"), "invalid_grant"),
        ("code", None, "invalid_request"),
        ("code", Some("x"), "invalid_grant"),
        ("code", Some(long.as_str()), "invalid_grant"),
        ("redirect_uri", None, "invalid_request"),
        ("client_id", None, "invalid_request"),
        ("client_id", Some("nobody"), "invalid_client"),
        ("client_id", Some("\u{0}"), "invalid_request"),
    ] {
        let answer = redeem(&server, &[], &with(&good, name, value));
        assert_refused(&answer, 400, error);
    }
    let twice = format!("{}&code={code}", encoded(&good));
    let answer = server.send("POST", "/oauth/token", &[], twice);
    assert_refused(&answer, 400, "invalid_request");
    let other = [("Authorization", "Basic b3RoZXI6eA==")];
    assert_refused(&redeem(&server, &other, &good), 400, "invalid_request");
    let large = server.send("POST", "/oauth/token", &[], "x".repeat(70_000));
    assert_refused(&large, 413, "invalid_request");
    // In the query, it would be in every log on the way.
    let path = format!("/oauth/token?{}", encoded(&good));
    assert_refused(&server.send("POST", &path, &[], ""), 400, "invalid_request");
    assert_eq!(redeem(&server, &[], &good).status, 200);
}

#[test]
fn many_at_a_time_get_one_token_and_lose_it() {
    let server = Server::start();
    let code = code(&server, &cx(), &server.token);
    let form = encoded(&exchange(&code));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| server.send("POST", "/oauth/token", &[], &form)))
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let granted: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 200)
        .collect();
    assert_eq!(granted.len(), 1);
    let token = granted[0].json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    server.advance(Duration::from_secs(2));
    assert_eq!(status_with(&server, &token), 401);
}

#[test]
fn what_ends_between_consent_and_exchange_ends_the_grant() {
    let server = Server::start();
    let token = server.account("tenant");
    let disabled = code(&server, &cx(), &token);
    for (bar, lift) in [
        (AccountChange::Disable, AccountChange::Enable),
        (AccountChange::Lock, AccountChange::Unlock),
        (AccountChange::ForbidLogin, AccountChange::AllowLogin),
    ] {
        server.change_account("tenant", bar);
        let answer = redeem(&server, &[], &exchange(&disabled));
        assert_refused(&answer, 400, "invalid_grant");
        server.change_account("tenant", lift);
    }
    let administrator = server.administrator();
    let tokens = server
        .run(server.house.tokens.list(&administrator))
        .unwrap();
    let own = administrator.account_id();
    let shown = tokens.iter().find(|token| token.account_id != own).unwrap();
    server
        .run(server.house.tokens.delete(&administrator, shown.id))
        .unwrap();
    let answer = redeem(&server, &[], &exchange(&disabled));
    assert_refused(&answer, 400, "invalid_grant");

    register(&server, "cli", LISTENER, false);
    let asked = with(&cx(), "client_id", Some("cli"));
    let asked = with(&asked, "code_challenge", Some(VERIFIER));
    let gone = code(&server, &asked, &server.token);
    let administrator = server.administrator();
    server
        .run(server.house.clients.remove(&administrator, "cli"))
        .unwrap();
    let form = with(&exchange(&gone), "client_id", Some("cli"));
    let form = with(&form, "code_verifier", Some(VERIFIER));
    assert_refused(&redeem(&server, &[], &form), 400, "invalid_client");
    assert_eq!(open(&server, &asked).status, 400);
}

#[test]
fn an_account_has_so_many_codes_at_a_time() {
    let server = Server::start();
    let page = Page::open(&server, &cx());
    for number in 0..100 {
        let answer = page.send(&server, &server.token, "allow");
        assert_eq!(answer.status, 302, "{number}");
    }
    let answer = page.send(&server, &server.token, "allow");
    assert_eq!(answer.status, 429);
    let tenant = server.account("tenant");
    assert_eq!(page.send(&server, &tenant, "allow").status, 302);
}
