//! acme-dns.

use dns::{Account, ProviderError, Records as _, TextRecord};
use serde_json::json;

use crate::support::{Server, account, providers, record};

const TARGET: &str = "d420.auth.example.org";

fn registered(server: &Server) -> Account {
    account(
        "acme-dns",
        &[
            ("url", &format!("http://{}/", server.address)),
            ("username", "c36f50e8-4632"),
            ("password", "htB9mR9DYgcu"),
            ("subdomain", "d420"),
            ("fulldomain", "D420.auth.example.org."),
        ],
    )
}

fn target() -> TextRecord {
    TextRecord {
        zone: TARGET.to_owned(),
        name: TARGET.to_owned(),
        ..record()
    }
}

#[tokio::test]
async fn the_registered_name_gets_the_value() {
    let server = Server::start(200, r#"{"txt":"digest"}"#).await;
    let account = registered(&server);
    providers().publish(&account, &target()).await.unwrap();
    // There is nothing to be taken away.
    providers().withdraw(&account, &target()).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].target, "POST /update");
    assert_eq!(seen[0].field("x-api-user"), Some("c36f50e8-4632"));
    assert_eq!(seen[0].field("x-api-key"), Some("htB9mR9DYgcu"));
    assert_eq!(
        seen[0].body,
        json!({ "subdomain": "d420", "txt": "digest" })
    );
}

#[tokio::test]
async fn another_name_has_to_lead_there_first() {
    let server = Server::start(200, "{}").await;
    let refused = providers().publish(&registered(&server), &record()).await;
    let Err(ProviderError::Refused { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("CNAME"), "{reason}");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_registration_that_is_not_known_is_one_of_bad_credentials() {
    let server = Server::start(401, r#"{"error":"forbidden htB9mR9DYgcu"}"#).await;
    let refused = providers().publish(&registered(&server), &target()).await;
    let reason = r#"HTTP status 401: {"error":"forbidden [hidden]"}"#.to_owned();
    assert_eq!(refused.unwrap_err(), ProviderError::Credentials { reason });
}
