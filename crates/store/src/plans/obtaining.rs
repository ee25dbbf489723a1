//! The queries of those who obtain certificates from ACME directories and tell others of it.

use super::{NOW, assert_uses, database, plan};
use crate::ids::{AccountId, CertificateId, DeliveryId, DirectoryId, WebhookId};
use crate::scope::Scope;
use crate::{
    budgets, challenges, deliveries, directories, dns_providers, domains, expiring, expiry_places,
    inbound_orders, orders, preauthorizations, revocations, webhooks,
};

#[tokio::test]
async fn what_ends_and_what_is_due_is_found_in_its_order() {
    let (backend, _directory) = database().await;
    for after in [None, Some(CertificateId::random())] {
        let statement = expiring::ending_between(NOW, NOW, after, 10);
        assert_uses(
            &backend,
            "SEARCH c USING INDEX certificates_ending",
            statement,
        )
        .await;
    }
    let statement = expiring::first_end(NOW);
    assert_uses(&backend, "certificates_ending", statement).await;
    let statement = expiring::first_due();
    assert_uses(
        &backend,
        "COVERING INDEX certificates_next_action",
        statement,
    )
    .await;
}

#[tokio::test]
async fn directories_and_their_budgets_are_found_by_index() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    let statement = directories::own_named(account, "a");
    assert_uses(&backend, "INDEX directories_name", statement).await;
    let statement = directories::shared_named("a");
    assert_uses(&backend, "directories_shared_name", statement).await;
    let buckets = ["a".to_owned(), "b".to_owned()];
    let statement = budgets::level_of(DirectoryId::random(), &buckets);
    assert_uses(&backend, "autoindex_budgets", statement).await;
    let sweeping = plan(&backend, budgets::sweeping(NOW)).await;
    for search in [
        "SEARCH budgets USING INDEX sqlite_autoindex_budgets",
        "SEARCH budgets USING INDEX budgets_level",
    ] {
        assert!(sweeping.contains(search), "{sweeping}");
    }
    assert!(!sweeping.contains("SCAN budgets"), "{sweeping}");
    // An account's own and the shared ones are found apart, and are few.
    let statement = directories::listed(Scope::Account(account));
    let listed = plan(&backend, statement).await;
    for index in ["directories_name", "directories_shared_name"] {
        let search = format!("SEARCH directories USING INDEX {index} (");
        assert!(listed.contains(&search), "{listed}");
    }
}

#[tokio::test]
async fn orders_and_challenges_are_found_by_index() {
    let (backend, _directory) = database().await;
    let ids = [CertificateId::random(), CertificateId::random()];
    let statement = orders::holding(ids[0], NOW);
    assert_uses(&backend, "autoindex_certificates", statement).await;
    let statement = orders::of_certificate(ids[0]);
    assert_uses(&backend, "autoindex_orders", statement).await;
    assert_uses(&backend, "autoindex_orders", orders::ending(&ids)).await;
    let counting = plan(&backend, orders::counting()).await;
    assert!(counting.contains("COVERING INDEX"), "{counting}");
    let under = plan(
        &backend,
        domains::foreign_under(AccountId::random(), "example"),
    )
    .await;
    assert!(under.contains("INDEX domains_parent"), "{under}");
    assert!(!under.contains("SCAN domains"), "{under}");
    let statement = challenges::of_certificate(ids[0]);
    assert_uses(&backend, "challenges_certificate", statement).await;
    for statement in challenges::settling(&ids, NOW) {
        assert_uses(&backend, "challenges_certificate", statement).await;
    }
    let statement = challenges::for_http("a.example", "token");
    assert_uses(&backend, "challenges_name", statement).await;
    let statement = challenges::for_tls("a.example");
    assert_uses(&backend, "challenges_name", statement).await;
    let statement = challenges::needing("a.example", "_acme-challenge.a.example", "text");
    assert_uses(&backend, "challenges_name", statement).await;
    for statement in [challenges::due(NOW), challenges::forgetting(NOW)] {
        assert_uses(&backend, "challenges_next_action", statement).await;
    }
    let claim = plan(&backend, challenges::claiming(NOW, NOW, 10)).await;
    assert!(claim.contains("INDEX challenges_next_action"), "{claim}");
    assert!(!claim.contains("SCAN challenges"), "{claim}");
}

#[tokio::test]
async fn revocations_are_found_when_they_are_due() {
    let (backend, _directory) = database().await;
    let statement = revocations::due(NOW);
    assert_uses(&backend, "revocations_next_action", statement).await;
    for except in [vec![], vec![DirectoryId::random()]] {
        let claim = plan(&backend, revocations::claiming(NOW, NOW, 10, &except)).await;
        assert!(claim.contains("INDEX revocations_next_action"), "{claim}");
        assert!(!claim.contains("SCAN revocations"), "{claim}");
    }
}

#[tokio::test]
async fn dns_providers_are_found_by_their_zone() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    let statement = dns_providers::for_zones(account, &["a.example", "example"]);
    let found = plan(&backend, statement).await;
    for index in ["dns_providers_made", "dns_providers_shared_zone"] {
        let search = format!("SEARCH dns_providers USING INDEX {index} (");
        assert!(found.contains(&search), "{found}");
    }
    assert!(!found.contains("SCAN dns_providers"), "{found}");
    let listed = dns_providers::listed(Scope::Account(account), None, 10);
    let listed = plan(&backend, listed).await;
    for index in ["dns_providers_made", "dns_providers_shared_zone"] {
        let search = format!("SEARCH dns_providers USING INDEX {index} (");
        assert!(listed.contains(&search), "{listed}");
    }
}

#[tokio::test]
async fn webhooks_and_deliveries_are_found_by_index() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    let after = Some(WebhookId::random());
    let statement = webhooks::listed(Scope::Account(account), after, 10);
    assert_uses(&backend, "webhooks_account", statement).await;
    let statement = webhooks::listed(Scope::Everything, after, 10);
    assert_uses(&backend, "autoindex_webhooks", statement).await;
    let statement = webhooks::of_accounts(&[account, AccountId::random()]);
    assert_uses(&backend, "webhooks_account", statement).await;
    let statement = deliveries::due(NOW);
    assert_uses(&backend, "deliveries_next_action", statement).await;
    for except in [vec![], vec![account]] {
        let claim = deliveries::claiming(NOW, NOW, (10, 4), &except);
        let claim = plan(&backend, claim).await;
        assert!(claim.contains("INDEX deliveries_next_action"), "{claim}");
        assert!(!claim.contains("SCAN deliveries"), "{claim}");
        assert!(!claim.contains("SCAN w"), "{claim}");
    }
    let statement = deliveries::waiting(&[WebhookId::random(), WebhookId::random()]);
    assert_uses(&backend, "COVERING INDEX deliveries_event", statement).await;
    let superseded = expiry_places::with_successors(&[CertificateId::random()]);
    let superseded = plan(&backend, superseded).await;
    let search = "INDEX certificates_common_name (common_name=? AND account_id=? AND created_at>?)";
    assert!(superseded.contains(search), "{superseded}");
    let ids = [DeliveryId::at(NOW), DeliveryId::at(NOW)];
    let read = plan(&backend, deliveries::by_ids(&ids)).await;
    assert!(!read.contains("SCAN"), "{read}");
}

#[tokio::test]
async fn inbound_orders_are_found_by_what_they_are_and_by_their_age() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    let statement = inbound_orders::by_id(Scope::Account(account), "a");
    assert_uses(&backend, "autoindex_inbound_orders", statement).await;
    let statement = inbound_orders::proofs_of("a");
    assert_uses(&backend, "autoindex_inbound_proofs", statement).await;
    let statement = inbound_orders::counting(account, NOW);
    assert_uses(&backend, "INDEX inbound_orders_account", statement).await;
    for (index, statement) in [
        (
            "INDEX inbound_orders_waiting",
            inbound_orders::emptying(NOW),
        ),
        ("INDEX inbound_orders_created", inbound_orders::purging(NOW)),
    ] {
        let plan = plan(&backend, statement).await;
        assert!(plan.contains(index), "{plan}");
        assert!(!plan.contains("SCAN inbound_orders"), "{plan}");
    }
    let statement = preauthorizations::of_account(account);
    assert_uses(&backend, "autoindex_preauthorizations", statement).await;
}
