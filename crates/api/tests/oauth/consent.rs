//! The page: what it shows, whose word counts, and where it sends the browser.

use std::time::Duration;

use lifecycle::{AccountChange, Dialect, OUT_OF_BAND, TokenLimits};

use crate::support::Server;
use crate::{LISTENER, Page, cx, open, redeem, sent_on, status_with, with};

/// Row 25.
#[test]
fn cx_is_told_where_everything_is() {
    let server = Server::start();
    for path in ["/api/tooling/cx/config", "/api/tooling/cx/config/"] {
        let answer = server.send("GET", path, &[], "");
        assert_eq!(answer.status, 200);
        let url = &server.url;
        let expected = serde_json::json!({
            "response": {
                "api_url": format!("{url}/api/3"),
                "base_url": url,
                "client_id": "cx",
                "client_secret": "cx",
                "faye_endpoint": "",
            }
        });
        assert_eq!(answer.json(), expected);
    }
    let refused = server.send("POST", "/api/tooling/cx/config", &[], "");
    assert_eq!(refused.status, 405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    let nothing = server.send("GET", "/api/tooling/cx", &[], "");
    assert_eq!(nothing.status, 404);
    assert_eq!(nothing.json()["error"], "not_found");
}

#[test]
fn the_page_says_who_asks_for_what_and_runs_nothing() {
    let server = Server::start();
    let answer = open(&server, &cx());
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = answer.text();
    for shown in [
        "Allow cx to use",
        "<code>admin</code>",
        "<code>jobs</code>",
        LISTENER,
    ] {
        assert!(page.contains(shown), "{shown} in {page}");
    }
    assert!(!page.contains("<script"));
    let policy = answer.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        &format!("form-action 'self' {LISTENER}"),
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    let cookie = answer.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/oauth"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    let style = server.send("GET", "/oauth/style.css", &[], "");
    assert_eq!(style.header("content-type"), Some("text/css"));
}

#[test]
fn the_redirect_may_go_by_either_name_and_the_state_comes_back() {
    let server = Server::start();
    let state = "a b&c=d%\u{e4}#";
    for name in ["redirect_uri", "redirect_url"] {
        let asked = with(&cx(), "redirect_uri", None);
        let asked = with(&asked, name, Some(LISTENER));
        let asked = with(&asked, "state", Some(state));
        let page = Page::open(&server, &asked);
        let answer = page.send(&server, &server.token, "allow");
        let sent = sent_on(&answer, LISTENER);
        assert_eq!(sent.len(), 2, "{sent:?}");
        assert_eq!(sent[0].0, "code");
        assert_eq!(sent[1], ("state".to_owned(), state.to_owned()));
    }
}

#[test]
fn who_denies_sends_the_program_away_without_a_token() {
    let server = Server::start();
    let asked = with(&cx(), "state", Some("x"));
    let answer = Page::open(&server, &asked).send(&server, "", "deny");
    let sent = sent_on(&answer, LISTENER);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(sent, [pair("error", "access_denied"), pair("state", "x")]);
    let asked = with(&cx(), "redirect_uri", Some(OUT_OF_BAND));
    let answer = Page::open(&server, &asked).send(&server, "", "deny");
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("Nothing was allowed"));
}

#[test]
fn a_program_that_cannot_listen_has_its_code_shown() {
    let server = Server::start();
    let asked = with(&cx(), "redirect_uri", Some(OUT_OF_BAND));
    let answer = Page::open(&server, &asked).send(&server, &server.token, "allow");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.header("location").is_none());
    let page = answer.text();
    let (_, code) = page.split_once("<code id=\"code\">").unwrap();
    let (code, _) = code.split_once('<').unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", OUT_OF_BAND),
        ("client_id", "cx"),
    ];
    let answer = redeem(&server, &[], &form);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn only_a_token_that_could_do_it_itself_gives_the_right() {
    let server = Server::start();
    let limited = |limits| server.token_with(limits);
    let (plain, cloud66) = (TokenLimits::default(), Some(vec![Dialect::Cloud66]));
    for (limits, status) in [
        (
            TokenLimits {
                dialects: cloud66,
                ..plain.clone()
            },
            302,
        ),
        (
            TokenLimits {
                read_only: true,
                ..plain.clone()
            },
            403,
        ),
        (
            TokenLimits {
                dialects: Some(vec![Dialect::KraftCloud]),
                ..plain.clone()
            },
            403,
        ),
        (
            TokenLimits {
                scopes: Some(vec!["public".to_owned(), "jobs".to_owned()]),
                ..plain.clone()
            },
            403,
        ),
    ] {
        let token = limited(limits.clone());
        let answer = Page::open(&server, &cx()).send(&server, &token, "allow");
        assert_eq!(answer.status, status, "{limits:?}");
        if status != 302 {
            assert!(answer.text().contains("role=\"alert\""));
            assert!(answer.header("location").is_none());
        }
    }
    let token = limited(TokenLimits {
        scopes: Some(vec!["public".to_owned(), "jobs".to_owned()]),
        ..plain
    });
    let asked = with(&cx(), "scope", Some("jobs"));
    let answer = Page::open(&server, &asked).send(&server, &token, "allow");
    assert_eq!(answer.status, 302);
}

#[test]
fn a_wrong_token_leaves_the_person_at_the_page() {
    let server = Server::start();
    let mut wrong = server.token.clone();
    let last = wrong.trim_end_matches('=').len() - 4;
    wrong.replace_range(
        last..=last,
        if &wrong[last..=last] == "M" { "N" } else { "M" },
    );
    for token in ["", "nonsense", wrong.as_str(), "<b>"] {
        let page = Page::open(&server, &cx());
        let answer = page.send(&server, token, "allow");
        assert_eq!(answer.status, 401, "{token}");
        assert!(answer.text().contains("is not a token that works here"));
        assert!(!answer.text().contains("<b>"));
        // With the right one, the page that is shown now works.
        let again = Page {
            fields: crate::hidden_fields(&answer.text()),
            ..page
        };
        let answer = again.send(&server, &format!(" {}\n", server.token), "allow");
        assert_eq!(answer.status, 302);
    }
}

#[test]
fn guesses_are_slowed_down_for_each_account() {
    let server = Server::start();
    let tenant = server.account("tenant");
    let page = Page::open(&server, &cx());
    let guess = |account: &str, number: usize| {
        let text = format!("{account}:{number:040x}");
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
    };
    for number in 0..10 {
        let answer = page.send(&server, &guess("tenant", number), "allow");
        assert_eq!(answer.status, 401, "{number}");
    }
    let answer = page.send(&server, &guess("tenant", 11), "allow");
    assert_eq!(answer.status, 429);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    // Guesses keep nobody out who has a token.
    let answer = page.send(&server, &tenant, "allow");
    assert_eq!(answer.status, 302);
    let answer = page.send(&server, &guess("tenant", 11), "allow");
    assert_eq!(answer.status, 429);
    let other = page.send(&server, &guess("admin", 1), "allow");
    assert_eq!(other.status, 401);
    server.advance(Duration::from_secs(wait));
    let answer = page.send(&server, &guess("tenant", 12), "allow");
    assert_eq!(answer.status, 401);
}

#[test]
fn accounts_that_do_not_log_in_on_the_web_give_nothing() {
    let server = Server::start();
    let token = server.account("tenant");
    for (bar, lift) in [
        (AccountChange::Lock, AccountChange::Unlock),
        (AccountChange::ForbidLogin, AccountChange::AllowLogin),
        (AccountChange::Disable, AccountChange::Enable),
    ] {
        server.change_account("tenant", bar);
        let answer = Page::open(&server, &cx()).send(&server, &token, "allow");
        assert_eq!(answer.status, 403, "{bar:?}");
        server.change_account("tenant", lift);
        let answer = Page::open(&server, &cx()).send(&server, &token, "allow");
        assert_eq!(answer.status, 302, "{lift:?}");
    }
    assert_eq!(status_with(&server, &token), 200);
}
