//! The same steps with Pebble, which is strict and nobody's of this house.

use std::sync::Arc;

use acme::ErrorKind;
use acme::client::{
    AuthorizationStatus, ChallengeKind, Client, Endpoint, ExternalAccount, Failure, Login,
    OrderStatus,
};
use acme_client::AcmeClient;
use pki::Certificate;
use testbed::{Pebble, PebbleOptions};
use zeroize::Zeroizing;

use crate::support::{account_key, client, login, names, refusal, registration, request, trusted};

/// Pebble that validates everything.
fn pebble(change: impl FnOnce(PebbleOptions) -> PebbleOptions) -> (Pebble, Endpoint) {
    let pebble = change(Pebble::options().env("PEBBLE_VA_ALWAYS_VALID", "1")).start();
    let root = std::fs::read_to_string(pebble.ca_file()).unwrap();
    let endpoint = trusted(pebble.directory_url(), Some(&root));
    (pebble, endpoint)
}

/// The certificate for one name; whatever takes time is looked at again.
async fn obtain(client: &AcmeClient, login: &Login, name: &str) -> Vec<Vec<Vec<u8>>> {
    let order = client.new_order(login, &names(&[name])).await.unwrap();
    for url in &order.authorizations {
        let authorization = client.authorization(login, url).await.unwrap();
        if authorization.status == AuthorizationStatus::Pending {
            let mut challenges = authorization.challenges.iter();
            let challenge = challenges.find(|one| one.kind == ChallengeKind::Dns01);
            client.answer(login, challenge.unwrap()).await.unwrap();
        }
    }
    reach(client, login, &order.url, OrderStatus::Ready).await;
    let request = request(&[name]);
    client.finalize(login, &order.url, &request).await.unwrap();
    reach(client, login, &order.url, OrderStatus::Valid).await;
    client.certificate(login, &order.url).await.unwrap()
}

async fn reach(client: &AcmeClient, login: &Login, url: &str, status: OrderStatus) {
    for _ in 0..1_000 {
        let order = client.order(login, url).await.unwrap();
        if order.status == status {
            return;
        }
        assert_ne!(order.status, OrderStatus::Invalid, "{order:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{url} does not become {status:?}");
}

#[tokio::test]
async fn pebble_issues_chains_and_revokes() {
    let (pebble, endpoint) = pebble(|options| options.env("PEBBLE_ALTERNATE_ROOTS", "2"));
    let client = client();
    let info = client.directory(&endpoint).await.unwrap();
    assert!(info.terms_of_service.is_some());
    let login = login(&client, endpoint).await;
    let chains = obtain(&client, &login, "a.test").await;
    assert_eq!(chains.len(), 3);
    let leaf = chains.first().unwrap().first().unwrap();
    let serial = Certificate::from_der(leaf).unwrap().serial().to_hex();
    assert!(!pebble.has_revoked(&serial));
    client.revoke(&login, leaf, 4).await.unwrap();
    assert!(pebble.has_revoked(&serial));
    client.revoke(&login, leaf, 4).await.unwrap();
}

#[tokio::test]
async fn pebble_that_rejects_three_in_four_nonces_issues_all_the_same() {
    // Its dice are its own: of nine in ten, one request in a thousand would be refused for good.
    let (pebble, endpoint) = pebble(|options| options.env("PEBBLE_WFE_NONCEREJECT", "75"));
    let client = client();
    let login = login(&client, endpoint).await;
    obtain(&client, &login, "a.test").await;
    assert_eq!((pebble.orders(), pebble.certificates()), (1, 1));
}

#[tokio::test]
async fn pebble_changes_keys_and_gives_accounts_up() {
    let (_pebble, endpoint) = pebble(|options| options);
    let client = client();
    let old = login(&client, endpoint).await;
    let new = Login {
        key: account_key(),
        ..old.clone()
    };
    client.change_key(&old, &new.key).await.unwrap();
    let found = client
        .register(&new.endpoint, &registration(&new.key))
        .await;
    assert_eq!(found.unwrap(), old.account_url);
    assert!(client.new_order(&old, &names(&["a.test"])).await.is_err());
    client.new_order(&new, &names(&["a.test"])).await.unwrap();
    client.deactivate(&new).await.unwrap();
    let outcome = client.new_order(&new, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "unauthorized");
}

#[tokio::test]
async fn pebble_binds_accounts_to_external_ones() {
    let (_pebble, endpoint) = pebble(|options| options.external_account("kid-1", "c2VjcmV0"));
    let client = client();
    let info = client.directory(&endpoint).await.unwrap();
    assert!(info.requires_external_account);
    let mut registration = registration(&account_key());
    let outcome = client.register(&endpoint, &registration).await;
    assert_eq!(refusal(outcome), "externalAccountRequired");
    registration.external_account = Some(ExternalAccount {
        key_id: "kid-1".to_owned(),
        hmac_key: Zeroizing::new(b"secret".to_vec()),
    });
    client.register(&endpoint, &registration).await.unwrap();
}

#[tokio::test]
async fn pebble_refuses_names_that_it_may_not_issue_for() {
    let (_pebble, endpoint) = pebble(|options| options);
    let client = client();
    let login = Arc::new(login(&client, endpoint).await);
    let mut order = names(&["a.test"]);
    let identifier = order.identifiers.first_mut().unwrap();
    identifier.value = "a_b..test".to_owned();
    let outcome = client.new_order(&login, &order).await;
    let Err(Failure::Refused { problem, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    let expected = [ErrorKind::Malformed, ErrorKind::RejectedIdentifier];
    assert!(expected.contains(&problem.kind), "{problem}");
}
