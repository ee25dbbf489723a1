//! Accounts (RFC 8555 section 7.3).

use std::collections::BTreeMap;
use std::sync::Arc;

use acme::client::{AccountKey, Client, ExternalAccount, Failure, Login};
use pki::{KeyAlgorithm, PrivateKey};
use testbed::Directory;
use testbed::directory::{Options, Resource};
use zeroize::Zeroizing;

use crate::support::{account_key, client, endpoint, house, login, names, refusal, registration};

#[tokio::test]
async fn a_key_opens_an_account_once_and_finds_it_afterwards() {
    let (directory, client) = (Directory::start(Options::default()), client());
    let (endpoint, key) = (endpoint(&directory), account_key());
    let first = client.register(&endpoint, &registration(&key)).await;
    let second = client.register(&endpoint, &registration(&key)).await;
    assert_eq!(first, second);
    assert!(first.unwrap().ends_with("/account/0"));
    let other = registration(&account_key());
    let third = client.register(&endpoint, &other).await.unwrap();
    assert!(third.ends_with("/account/1"), "{third}");
}

#[tokio::test]
async fn what_the_directory_says_of_itself_is_read() {
    let options = Options {
        tls: true,
        requires_external_account: true,
        ..Options::default()
    };
    let directory = Directory::start(options);
    let info = client().directory(&endpoint(&directory)).await.unwrap();
    assert!(info.terms_of_service.unwrap().ends_with("/terms"));
    assert_eq!(info.caa_identities, ["authority.test"]);
    let profiles: Vec<&str> = info.profiles.keys().map(String::as_str).collect();
    assert_eq!(profiles, ["classic", "shortlived", "tlsserver"]);
    assert!(info.requires_external_account && info.has_renewal_info);
}

#[tokio::test]
async fn an_account_without_consent_or_with_a_bad_contact_is_refused() {
    let (directory, client) = (Directory::start(Options::default()), client());
    let endpoint = endpoint(&directory);
    let mut careless = registration(&account_key());
    careless.agrees_to_terms = false;
    let outcome = client.register(&endpoint, &careless).await;
    assert_eq!(refusal(outcome), "userActionRequired");
    let mut nobody = registration(&account_key());
    nobody.contact = Some("operator@example.com".to_owned());
    let outcome = client.register(&endpoint, &nobody).await;
    assert_eq!(refusal(outcome), "invalidContact");
    nobody.contact = None;
    client.register(&endpoint, &nobody).await.unwrap();
}

#[tokio::test]
async fn rfc8555_section_7_3_4_an_account_is_bound_to_an_external_one() {
    let options = Options {
        requires_external_account: true,
        external_accounts: BTreeMap::from([("kid-1".to_owned(), b"shared".to_vec())]),
        ..Options::default()
    };
    let (directory, client) = (Directory::start(options), client());
    let endpoint = endpoint(&directory);
    let bound = |id: &str, key: &[u8]| {
        let mut registration = registration(&account_key());
        registration.external_account = Some(ExternalAccount {
            key_id: id.to_owned(),
            hmac_key: Zeroizing::new(key.to_vec()),
        });
        registration
    };
    let unbound = client
        .register(&endpoint, &registration(&account_key()))
        .await;
    assert_eq!(refusal(unbound), "externalAccountRequired");
    for (id, key) in [("kid-2", b"shared"), ("kid-1", b"forged")] {
        let outcome = client.register(&endpoint, &bound(id, key)).await;
        assert_eq!(refusal(outcome), "unauthorized", "{id}");
    }
    let good = bound("kid-1", b"shared");
    client.register(&endpoint, &good).await.unwrap();
    directory.expire_external_account("kid-1");
    let late = client.register(&endpoint, &bound("kid-1", b"shared")).await;
    assert!(late.unwrap_err().to_string().contains("has expired"));
}

#[tokio::test]
async fn rfc8555_section_7_3_5_a_new_key_takes_the_place_of_the_old() {
    let (directory, client, old) = house(Options::default()).await;
    let new = Login {
        key: account_key(),
        ..old.clone()
    };
    client.change_key(&old, &new.key).await.unwrap();
    client.new_order(&new, &names(&["a.test"])).await.unwrap();
    let outcome = client.new_order(&old, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "malformed");
    // Whoever lost track finds out with the new key.
    let found = client
        .register(&new.endpoint, &registration(&new.key))
        .await;
    assert_eq!(found.unwrap(), old.account_url);
    let other = login(&client, endpoint(&directory)).await;
    let taken = client.change_key(&other, &new.key).await.unwrap_err();
    assert!(
        matches!(taken, Failure::Refused { status: 409, .. }),
        "{taken}"
    );
}

#[tokio::test]
async fn an_account_given_up_can_do_nothing_more() {
    let (_directory, client, login) = house(Options::default()).await;
    client.deactivate(&login).await.unwrap();
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert!(outcome.unwrap_err().to_string().contains("deactivated"));
    assert_eq!(refusal(client.deactivate(&login).await), "unauthorized");
}

#[tokio::test]
async fn accounts_that_the_directory_took_back_or_lost_are_told_apart() {
    let (directory, client, login) = house(Options::default()).await;
    directory.revoke_accounts();
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "unauthorized");
    directory.forget_accounts();
    let outcome = client.new_order(&login, &names(&["a.test"])).await;
    assert_eq!(refusal(outcome), "accountDoesNotExist");
}

#[tokio::test]
async fn a_key_of_another_kind_is_refused_before_anything_is_signed() {
    let (directory, client, login) = house(Options::default()).await;
    let before = directory.requests(Resource::NewOrder);
    for der in [
        PrivateKey::generate(KeyAlgorithm::P384)
            .unwrap()
            .to_pkcs8_der(),
        Zeroizing::new(b"garbage".to_vec()),
    ] {
        let key = Arc::new(AccountKey::from_pkcs8(der));
        let login = Login {
            key: Arc::clone(&key),
            ..login.clone()
        };
        let outcome = client.new_order(&login, &names(&["a.test"])).await;
        assert_eq!(refusal(outcome), "badPublicKey");
        let outcome = client.register(&login.endpoint, &registration(&key)).await;
        assert_eq!(refusal(outcome), "badPublicKey");
    }
    assert_eq!(directory.requests(Resource::NewOrder), before);
}
