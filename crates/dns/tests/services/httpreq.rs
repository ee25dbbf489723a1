//! Servers that speak lego's `httpreq`.

use dns::{Account, ProviderError, Records as _, TextRecord, check};
use egress::EgressPolicy;
use serde_json::json;

use crate::support::{Server, account, providers, record};

fn at(server: &Server, more: &[(&str, &str)]) -> Account {
    let endpoint = format!("http://{}/dns/", server.address);
    account("httpreq", &[&[("endpoint", &*endpoint)], more].concat())
}

#[tokio::test]
async fn records_are_presented_and_cleaned_up() {
    let server = Server::start(200, "").await;
    let account = at(&server, &[]);
    providers().publish(&account, &record()).await.unwrap();
    providers().withdraw(&account, &record()).await.unwrap();
    let seen = server.seen();
    let targets: Vec<&str> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["POST /dns/present", "POST /dns/cleanup"]);
    for seen in &seen {
        let expected = json!({ "fqdn": "_acme-challenge.example.com.", "value": "digest" });
        assert_eq!(seen.body, expected);
        assert_eq!(seen.field("content-type"), Some("application/json"));
        assert_eq!(seen.field("authorization"), None);
    }
}

#[tokio::test]
async fn whoever_makes_the_value_itself_gets_what_it_is_made_of() {
    let server = Server::start(204, "").await;
    let account = at(&server, &[("mode", "RAW")]);
    providers().publish(&account, &record()).await.unwrap();
    let expected = json!({
        "domain": "example.com",
        "token": "token",
        "keyAuth": "token.thumbprint",
    });
    assert_eq!(server.seen()[0].body, expected);
    let without = TextRecord {
        proof: None,
        ..record()
    };
    let refused = providers().publish(&account, &without).await;
    assert!(
        matches!(refused, Err(ProviderError::Refused { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_password_is_sent_and_shown_to_nobody_else() {
    let server = Server::start(403, "me:swordfish bWU6c3dvcmRmaXNo is no good").await;
    let account = at(&server, &[("username", "me"), ("password", "swordfish")]);
    let refused = providers().publish(&account, &record()).await;
    let basic = server.seen()[0].field("authorization").map(str::to_owned);
    assert_eq!(basic.as_deref(), Some("Basic bWU6c3dvcmRmaXNo"));
    let reason = "HTTP status 403: me:[hidden] [hidden] is no good".to_owned();
    assert_eq!(refused.unwrap_err(), ProviderError::Credentials { reason });
    assert!(!format!("{account:?}").contains("swordfish"));
}

#[tokio::test]
async fn who_failed_shows_in_the_error() {
    let server = Server::start(400, "no such zone").await;
    let refused = providers().publish(&at(&server, &[]), &record()).await;
    let reason = "HTTP status 400: no such zone".to_owned();
    assert_eq!(refused.unwrap_err(), ProviderError::Refused { reason });
    let server = Server::start(503, "").await;
    let lost = providers().publish(&at(&server, &[]), &record()).await;
    let reason = "HTTP status 503".to_owned();
    assert_eq!(lost.unwrap_err(), ProviderError::Unreachable { reason });
}

#[tokio::test]
async fn a_tenant_does_not_reach_this_machine() {
    let server = Server::start(200, "").await;
    let mut account = at(&server, &[]);
    account.policy = EgressPolicy::BACKENDS.for_account(false);
    let lost = providers().publish(&account, &record()).await;
    let Err(ProviderError::Unreachable { reason }) = lost else {
        panic!("{lost:?}");
    };
    assert!(reason.contains("it is a loopback address"), "{reason}");
    assert!(server.seen().is_empty());
}

#[test]
fn an_endpoint_is_a_plain_url() {
    for (endpoint, is_good) in [
        ("https://dns.example.com", true),
        ("http://10.0.0.1:8080/lego/", true),
        ("dns.example.com", false),
        ("ftp://dns.example.com", false),
        ("https://me:secret@dns.example.com", false),
        ("https://dns.example.com/?key=secret", false),
        ("https://", false),
    ] {
        let account = account("httpreq", &[("endpoint", endpoint)]);
        let checked = check("httpreq", &account.credentials);
        assert_eq!(checked.is_ok(), is_good, "{endpoint}");
        assert!(!format!("{checked:?}").contains("secret"), "{checked:?}");
    }
    for more in [
        ("username", "me"),
        ("password", "secret"),
        ("mode", "cooked"),
    ] {
        let endpoint = ("endpoint", "https://dns.example.com");
        let account = account("httpreq", &[endpoint, more]);
        assert!(check("httpreq", &account.credentials).is_err(), "{more:?}");
    }
}
