//! Orders, from the first request to the certificate and its end (RFC 8555 sections 7.4 to 7.6).

use std::time::Duration;

use acme::client::{
    AuthorizationStatus, ChallengeKind, ChallengeStatus, Client, Failure, OrderStatus,
};
use acme::{ErrorKind, KeyAuthorization};
use pki::Certificate;
use testbed::directory::{Options, Resource};

use crate::support::{client, house, names, obtain, prove, refusal, request};

fn common_name(der: &[u8]) -> String {
    let certificate = Certificate::from_der(der).unwrap();
    certificate.common_name().unwrap_or_default()
}

#[tokio::test]
async fn an_order_goes_from_pending_to_a_certificate_with_two_chains() {
    let (directory, client, login) = house(Options::default()).await;
    let order = client
        .new_order(&login, &names(&["a.test", "*.b.test"]))
        .await;
    let order = order.unwrap();
    assert_eq!(order.status, OrderStatus::Pending);
    assert_eq!((order.authorizations.len(), order.error.clone()), (2, None));
    assert!(order.expires_at.is_some());
    prove(&client, &login, &order, &ChallengeKind::Dns01).await;
    let ready = client.order(&login, &order.url).await.unwrap();
    assert_eq!(ready.status, OrderStatus::Ready);
    let request = request(&["a.test", "*.b.test"]);
    let valid = client.finalize(&login, &order.url, &request).await.unwrap();
    assert_eq!(valid.status, OrderStatus::Valid);
    assert_eq!(valid.url, order.url);

    let chains = client.certificate(&login, &order.url).await.unwrap();
    let [first, second] = chains.as_slice() else {
        panic!("{} chains", chains.len());
    };
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!(first.first(), second.first());
    let certificates = directory.certificates();
    assert_eq!(certificates.first().unwrap().names, ["*.b.test", "a.test"]);
    let issuers = [first, second].map(|chain| {
        let issuer = Certificate::from_der(chain.last().unwrap()).unwrap();
        issuer.authority_key_identifier().unwrap().to_vec()
    });
    assert_ne!(issuers.first(), issuers.last());
    assert_eq!(common_name(first.last().unwrap()), "Test Issuer");
}

#[tokio::test]
async fn no_step_takes_more_requests_than_it_needs() {
    let (directory, client, login) = house(Options::default()).await;
    obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    let counts = [
        (Resource::Directory, 1),
        (Resource::NewNonce, 1),
        (Resource::NewAccount, 1),
        (Resource::NewOrder, 1),
        (Resource::Order, 0),
        (Resource::Authorization, 1),
        (Resource::Challenge, 1),
        (Resource::Finalize, 1),
        (Resource::Certificate, 1),
        (Resource::Alternate, 1),
    ];
    for (resource, count) in counts {
        assert_eq!(directory.requests(resource), count, "{resource:?}");
    }
}

#[tokio::test]
async fn another_client_goes_on_with_the_order_by_its_url() {
    let (directory, first, login) = house(Options::default()).await;
    let order = first.new_order(&login, &names(&["a.test"])).await.unwrap();
    prove(&client(), &login, &order, &ChallengeKind::Http01).await;
    let request = request(&["a.test"]);
    let done = client().finalize(&login, &order.url, &request).await;
    assert_eq!(done.unwrap().status, OrderStatus::Valid);
    let chains = client().certificate(&login, &order.url).await.unwrap();
    assert_eq!(chains.len(), 2);
    assert_eq!(directory.orders_of("a.test"), 1);
}

#[tokio::test]
async fn challenges_are_offered_as_the_identifier_allows() {
    let (_directory, client, login) = house(Options::default()).await;
    let order = names(&["a.test", "*.a.test", "192.0.2.1", "2001:db8::1"]);
    let order = client.new_order(&login, &order).await.unwrap();
    let mut offers = Vec::new();
    for url in &order.authorizations {
        let authorization = client.authorization(&login, url).await.unwrap();
        assert_eq!(authorization.status, AuthorizationStatus::Pending);
        assert_eq!(&authorization.url, url);
        let kinds = authorization.challenges.iter();
        let kinds: Vec<&str> = kinds.map(|challenge| challenge.kind.as_str()).collect();
        let identifier = &authorization.identifier;
        let offer = (
            format!("{} {}", identifier.kind, identifier.value),
            authorization.is_wildcard,
            kinds.join(" "),
        );
        offers.push(offer);
    }
    let dns = "dns-01 dns-account-01 dns-persist-01";
    let near = "http-01 tls-alpn-01";
    let expected = [
        ("dns a.test", false, format!("{near} {dns}")),
        ("dns a.test", true, dns.to_owned()),
        ("ip 192.0.2.1", false, near.to_owned()),
        ("ip 2001:db8::1", false, near.to_owned()),
    ];
    assert_eq!(
        offers,
        expected.map(|(name, wild, kinds)| (name.to_owned(), wild, kinds))
    );
}

#[tokio::test]
async fn a_record_that_stays_names_the_authority_and_has_no_token() {
    let (_directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    let url = order.authorizations.first().unwrap();
    let authorization = client.authorization(&login, url).await.unwrap();
    for challenge in &authorization.challenges {
        assert_eq!(challenge.status, ChallengeStatus::Pending);
        let stays = challenge.kind == ChallengeKind::DnsPersist01;
        assert_eq!(challenge.token.is_none(), stays);
        let names = if stays { &["authority.test"][..] } else { &[] };
        assert_eq!(challenge.issuer_domain_names, names);
        if let Some(token) = &challenge.token {
            let key = login.key.jwk().unwrap();
            let authorization = KeyAuthorization::new(token, &key);
            assert!(authorization.as_str().starts_with(token.as_str()));
        }
    }
}

#[tokio::test]
async fn an_order_that_is_processing_says_when_to_look_again() {
    let options = Options {
        retry_after: Some(7),
        processing_polls: 1,
        ..Options::default()
    };
    let (_directory, client, login) = house(options).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    let order = client
        .finalize(&login, &order.url, &request(&["a.test"]))
        .await;
    let order = order.unwrap();
    assert_eq!(order.status, OrderStatus::Processing);
    assert_eq!(order.retry_after, Some(Duration::from_secs(7)));
    let order = client.order(&login, &order.url).await.unwrap();
    assert_eq!(
        (order.status, order.retry_after),
        (OrderStatus::Valid, None)
    );
    assert_eq!(
        client.certificate(&login, &order.url).await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn steps_out_of_turn_are_refused() {
    let (_directory, client, login) = house(Options::default()).await;
    let order = client.new_order(&login, &names(&["a.test"])).await.unwrap();
    let early = client
        .finalize(&login, &order.url, &request(&["a.test"]))
        .await;
    assert_eq!(refusal(early), "orderNotReady");
    let early = client.certificate(&login, &order.url).await;
    assert_eq!(refusal(early), "orderNotReady");
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    for request in [request(&["b.test"]), b"garbage".to_vec()] {
        let outcome = client.finalize(&login, &order.url, &request).await;
        assert_eq!(refusal(outcome), "badCSR");
    }
    let nowhere = client.order(&login, &format!("{}7", order.url)).await;
    assert!(matches!(nowhere, Err(Failure::Refused { status: 404, .. })));
}

#[tokio::test]
async fn orders_for_what_is_not_on_offer_are_refused() {
    let (directory, client, login) = house(Options::default()).await;
    let mut order = names(&["a.test"]);
    order.profile = Some("gold".to_owned());
    assert_eq!(
        refusal(client.new_order(&login, &order).await),
        "invalidProfile"
    );
    for (kind, value) in [("email", "a@b.test"), ("ip", "a.test")] {
        let mut order = names(&["a.test"]);
        let identifier = order.identifiers.first_mut().unwrap();
        (identifier.kind, identifier.value) = (kind.to_owned(), value.to_owned());
        let outcome = client.new_order(&login, &order).await;
        assert_eq!(refusal(outcome), "unsupportedIdentifier", "{value}");
    }
    assert_eq!(directory.orders().len(), 0);
}

#[tokio::test]
async fn a_profile_decides_how_long_the_certificate_lives() {
    let (directory, client, login) = house(Options::default()).await;
    let mut order = names(&["a.test"]);
    order.profile = Some("shortlived".to_owned());
    obtain(&client, &login, &order).await.unwrap();
    let certificates = directory.certificates();
    let certificate = certificates.first().unwrap();
    assert_eq!(certificate.profile.as_deref(), Some("shortlived"));
    let lifetime = certificate.not_after - certificate.not_before;
    assert_eq!(lifetime, time::Duration::hours(160));
}

#[tokio::test]
async fn a_challenge_that_was_not_met_says_why() {
    let (directory, client, login) = house(Options::default()).await;
    directory.faults(|faults| {
        faults.caa.insert("b.test".to_owned());
    });
    let order = client
        .new_order(&login, &names(&["a.test", "b.test"]))
        .await
        .unwrap();
    prove(&client, &login, &order, &ChallengeKind::Http01).await;
    let order = client.order(&login, &order.url).await.unwrap();
    assert_eq!(order.status, OrderStatus::Invalid);
    let url = order.authorizations.last().unwrap();
    let authorization = client.authorization(&login, url).await.unwrap();
    assert_eq!(authorization.status, AuthorizationStatus::Invalid);
    let failed = authorization
        .challenges
        .iter()
        .find(|one| one.error.is_some());
    let failed = failed.unwrap();
    assert_eq!(failed.status, ChallengeStatus::Invalid);
    assert_eq!(failed.error.as_ref().unwrap().kind, ErrorKind::Caa);
    let outcome = client.answer(&login, failed).await;
    assert_eq!(refusal(outcome), "malformed");
}

#[tokio::test]
async fn rfc8555_section_7_6_a_certificate_is_revoked_once_and_for_good() {
    let (directory, client, login) = house(Options::default()).await;
    let chains = obtain(&client, &login, &names(&["a.test"])).await.unwrap();
    let leaf = chains.first().unwrap().first().unwrap();
    for reason in [7, 11, 255, 2] {
        let outcome = client.revoke(&login, leaf, reason).await;
        assert_eq!(refusal(outcome), "badRevocationReason", "{reason}");
    }
    client.revoke(&login, leaf, 4).await.unwrap();
    // That it is revoked already is what was wanted.
    client.revoke(&login, leaf, 4).await.unwrap();
    let revoked = directory.certificates().first().unwrap().revoked;
    assert_eq!(revoked, Some(4));
    let outcome = client.revoke(&login, b"garbage", 0).await;
    assert_eq!(refusal(outcome), "malformed");
}
