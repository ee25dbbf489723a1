//! Keys on demand.

use super::*;

#[tokio::test]
async fn a_handshake_gets_what_its_domain_is_served_with_or_what_covers_its_name() {
    let fixture = fixture().await;
    let administrator = &fixture.principal;
    let targets = &fixture.house().targets;
    let deliverer = fixture.deliverer("admin").await;
    let ecdsa = fixture
        .kept(administrator, "a.test", KeyAlgorithm::P256)
        .await;
    let rsa = fixture
        .kept(administrator, "a.test", KeyAlgorithm::Rsa2048)
        .await;
    let wildcard = fixture
        .kept(administrator, "*.b.test", KeyAlgorithm::P256)
        .await;
    let shop = fixture.tenant("shop", TokenLimits::default()).await;
    fixture.kept(&shop, "shop.test", KeyAlgorithm::P256).await;
    let chosen = |name: &'static str, takes_ecdsa: bool| {
        let deliverer = &deliverer;
        async move {
            let found = targets.for_handshake(deliverer, name, takes_ecdsa).await;
            found.unwrap().map(|material| material.certificate)
        }
    };
    for is_served in [false, true] {
        let first = chosen("a.test", true).await;
        assert!(first == Some(ecdsa) || first == Some(rsa), "{first:?}");
        assert_eq!(chosen("A.test", false).await, Some(rsa));
        assert_eq!(chosen("x.b.test", true).await, Some(wildcard));
        // Better than nothing, and the client decides.
        assert_eq!(chosen("x.b.test", false).await, Some(wildcard));
        for name in [
            "shop.test",
            "b.test",
            "x.y.b.test",
            "",
            "a test",
            "192.0.2.1",
            "\0",
        ] {
            assert_eq!(chosen(name, true).await, None, "{name:?}");
        }
        if !is_served {
            let service = named("web", &["a.test.", "x.b.test."]);
            fixture.create_service(service).await;
        }
    }
    let store = &fixture.nodes[0].store;
    let scope = store::Scope::Account(administrator.account_id());
    let events = store.events_after(scope, None, 1_000).await.unwrap();
    let taken: Vec<_> = events
        .iter()
        .filter(|event| event.kind == "certificate.key_taken")
        .collect();
    // One for each version, however many handshakes there are.
    assert!((2..=3).contains(&taken.len()), "{taken:?}");

    // Whoever takes the same keys with another token is told of, too.
    let thief = fixture.deliverer("admin").await;
    for name in ["a.test", "a.test"] {
        let found = targets.for_handshake(&thief, name, false).await;
        assert_eq!(found.unwrap().unwrap().certificate, rsa);
    }
    let all = fixture.events_of("certificate.key_taken").await;
    assert_eq!(all.len(), taken.len() + 1, "{all:?}");
    let tokens = fixture.house().tokens.list(administrator).await.unwrap();
    let last = &all.last().unwrap().detail;
    assert!(last.contains("handshakes, first that of a.test"), "{last}");
    let named = |token: &&lifecycle::Token| last.contains(&token.id.to_string());
    assert_eq!(tokens.iter().filter(named).count(), 1, "{last}");
    assert!(!taken.iter().any(|event| event.detail == *last));
}
