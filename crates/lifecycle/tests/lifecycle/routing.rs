//! What the edge sees of the house: sites, credentials, and secrets for session tickets.

use lifecycle::{CertificateRef, Change, DEFAULT_AUTHORITY, HOUSE_ACCOUNT};
use pki::{CertId, DnsName, HashAlgorithm, IssuerHashes, KeyAlgorithm, PrivateKey, VerifiedAnswer};
use store::Scope;

use crate::support::served::{Following, Smith, certificate_of, credentials, revoke, serve, site};
use crate::support::{DAY, Fixture, HOUR, MINUTE, SECOND};

#[tokio::test]
async fn credentials_hold_the_whole_chain_the_key_and_a_staple_until_tomorrow() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    serve(house, owner, &["a.example.com."]).await;
    let id = certificate_of(house, "a.example.com").await;
    assert!(credentials(house, id).await.is_none(), "it is pending");
    house.obtain_due_now().await.unwrap();
    let served = credentials(house, id).await.unwrap();
    let authority = house.authorities.named(DEFAULT_AUTHORITY).await.unwrap();
    assert_eq!(served.chain.len(), 2);
    assert_eq!(served.chain[1], authority.issuing_certificate().der());
    let leaf = pki::Certificate::from_der(&served.chain[0]).unwrap();
    let key = PrivateKey::from_pkcs8_der(&served.key.pkcs8).unwrap();
    assert_eq!(key.public_key().spki_der(), leaf.spki_der());
    let staple = served.staple.unwrap();
    assert_eq!(staple.produced_at, fixture.now());
    assert_eq!(staple.next_update, fixture.now() + time::Duration::days(1));
    let issuer = authority.issuing_certificate();
    let question = CertId::new(
        HashAlgorithm::Sha1,
        &IssuerHashes::of(issuer),
        leaf.serial(),
    );
    let answer = VerifiedAnswer::read(&staple.response, &question, issuer, fixture.now()).unwrap();
    assert!(answer.is_good);
    assert_eq!(answer.next_update, Some(staple.next_update));

    // A leaf that has ended is better than none.
    fixture.turn(40 * DAY);
    assert!(credentials(house, id).await.is_some());
    revoke(house, owner, id).await;
    assert!(credentials(house, id).await.is_none());

    let smith = Smith::new(&fixture).await;
    let uploaded = smith.upload(house, owner, &["b.example.com"], 7).await;
    let served = credentials(house, uploaded.id).await.unwrap();
    assert_eq!(served.staple, None, "it may be anybody's");
}

#[tokio::test]
async fn a_site_is_the_domain_itself_or_the_wildcard_right_above_it() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let exact = serve(house, owner, &["a.example.com."]).await;
    let wildcard = serve(house, owner, &["*.example.com."]).await;
    let found = async |name: &str| {
        site(house, name)
            .await
            .map(|site| (site.domain, site.service))
    };
    let a = found("a.example.com").await.unwrap();
    assert_eq!(a, ("a.example.com".to_owned(), exact));
    let b = found("b.example.com").await.unwrap();
    assert_eq!(b, ("*.example.com".to_owned(), wildcard));
    for nobody in ["example.com", "x.b.example.com", "com", "a.example.org"] {
        assert_eq!(found(nobody).await, None, "{nobody}");
    }
    let names = house.routing.names(None, 10).await.unwrap();
    assert_eq!(names, ["*.example.com", "a.example.com"]);
    let rest = house
        .routing
        .names(Some("*.example.com"), 10)
        .await
        .unwrap();
    assert_eq!(rest, ["a.example.com"]);
}

#[tokio::test]
async fn a_subdomain_of_the_metro_domain_is_served_with_the_houses_certificate() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    serve(house, owner, &["my-project"]).await;
    house.obtain_due_now().await.unwrap();
    let name = "my-project.metro.internal";
    let id = certificate_of(house, name).await;
    let served = credentials(house, id).await.unwrap();
    let leaf = pki::Certificate::from_der(&served.chain[0]).unwrap();
    assert!(leaf.covers(&DnsName::parse(name).unwrap()));
    let store = &fixture.nodes[0].store;
    let reference = CertificateRef::Id(id);
    let found = store.certificate(Scope::Everything, &reference);
    let found = found.await.unwrap().unwrap();
    let account = store.account_by_name(HOUSE_ACCOUNT).await.unwrap().unwrap();
    assert_eq!(found.account_id, account.id);

    let following = Following::start(house);
    fixture.turn(20 * DAY + HOUR);
    house.obtain_due_now().await.unwrap();
    following.tells(Change::Certificate(id)).await;
    assert_eq!(certificate_of(house, name).await, id);
    assert_ne!(
        credentials(house, id).await.unwrap().version,
        served.version
    );
}

#[tokio::test]
async fn a_domain_that_cannot_be_served_is_healed_at_most_once_a_minute() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let issued = fixture.issue("a.example.com", 7).await;
    serve(house, owner, &["a.example.com."]).await;
    revoke(house, owner, issued.id).await;
    house.routing.heal("a.example.com").await.unwrap();
    let requested = certificate_of(house, "a.example.com").await;
    assert_ne!(requested, issued.id);

    // The same again, but too soon.
    house.obtain_due_now().await.unwrap();
    revoke(house, owner, requested).await;
    fixture.turn(MINUTE - SECOND);
    house.routing.heal("a.example.com").await.unwrap();
    assert_eq!(certificate_of(house, "a.example.com").await, requested);
    fixture.turn(SECOND);
    house.routing.heal("a.example.com").await.unwrap();
    assert_ne!(certificate_of(house, "a.example.com").await, requested);
    house.routing.heal("nobody.test").await.unwrap();
}

#[tokio::test]
async fn ticket_secrets_are_shared_and_replaced_every_six_hours_and_three_are_kept() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (one, other) = (&fixture.house().routing, &fixture.other_node().routing);
    let (first, second) = tokio::join!(one.ticket_keys(), other.ticket_keys());
    let first = first.unwrap();
    assert_eq!(first, second.unwrap(), "of a race there is one outcome");
    assert_eq!(first.len(), 1);
    assert!(!format!("{first:?}").contains("secret:"), "{first:?}");

    fixture.turn(6 * HOUR - SECOND);
    assert_eq!(other.ticket_keys().await.unwrap(), first);
    fixture.turn(SECOND);
    for kept in [2, 3, 3, 3] {
        let (one, other) = tokio::join!(one.ticket_keys(), other.ticket_keys());
        let keys = one.unwrap();
        assert_eq!(keys, other.unwrap());
        assert_eq!(keys.len(), kept);
        assert_eq!(keys[0].created_at, fixture.now());
        let generations: Vec<u64> = keys.iter().map(|key| key.generation).collect();
        let newest = generations[0];
        let row: Vec<u64> = (0..kept as u64).map(|age| newest - age).collect();
        assert_eq!(generations, row);
        assert_ne!(keys[0].secret, keys[1].secret);
        fixture.turn(6 * HOUR);
    }

    // A clock that was wrong for a while.
    let newest = one.ticket_keys().await.unwrap()[0].clone();
    fixture.turn(-30 * DAY);
    let replaced = one.ticket_keys().await.unwrap()[0].clone();
    assert_eq!(replaced.generation, newest.generation + 1);
    assert_eq!(other.ticket_keys().await.unwrap()[0], replaced);
}

#[tokio::test]
async fn a_domain_whose_certificate_has_ended_is_healed_with_a_new_one() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, owner) = (fixture.house(), &fixture.principal);
    let smith = Smith::new(&fixture).await;
    let uploaded = smith.upload(house, owner, &["a.example.com"], 7).await;
    serve(house, owner, &["a.example.com."]).await;
    house.routing.heal("a.example.com").await.unwrap();
    assert_eq!(certificate_of(house, "a.example.com").await, uploaded.id);
    fixture.turn(8 * DAY);
    house.routing.heal("a.example.com").await.unwrap();
    assert_eq!(
        certificate_of(house, "a.example.com").await,
        uploaded.id,
        "better than one that is not there yet"
    );
    house.obtain_due_now().await.unwrap();
    fixture.turn(MINUTE);
    house.routing.heal("a.example.com").await.unwrap();
    let obtained = certificate_of(house, "a.example.com").await;
    assert_ne!(obtained, uploaded.id);
    assert!(credentials(house, obtained).await.is_some());
}
