//! From what a directory offers to what it finds, and back to nothing.

use std::time::Duration;

use acme::KeyAuthorization;
use acme::client::ChallengeKind::{Dns01, DnsAccount01, DnsPersist01, Http01, TlsAlpn01};
use acme::client::{AuthorizationStatus, ChallengeKind};
use dns::ProviderError;
use pki::{Certificate, Identifier};

use super::{ChallengeError, Visibility, records};
use crate::AcmeSettings;
use crate::testing::{ACCOUNT_URL, Claimed, Fixture, authorization};

const RECORD: &str = "_acme-challenge.example.com";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn all() -> [ChallengeKind; 5] {
    [Http01, TlsAlpn01, Dns01, DnsAccount01, DnsPersist01]
}

/// The text that proves a name by `dns-01`.
fn text(fixture: &Fixture, token: &str) -> String {
    let key = fixture.login.key.jwk().unwrap();
    KeyAuthorization::new(&token.parse().unwrap(), &key).dns_01_value()
}

async fn kinds(claimed: &Claimed<'_>, offered: &[ChallengeKind]) -> Vec<ChallengeKind> {
    let name = claimed.certificate.common_name.clone();
    let chosen = claimed.prepare(&[authorization(&name, offered)]).await;
    chosen
        .unwrap()
        .into_iter()
        .map(|chosen| chosen.challenge.kind)
        .collect()
}

#[tokio::test]
async fn a_challenge_at_the_http_port_is_answered_until_it_is_over() {
    let fixture = Fixture::new().await;
    let claimed = fixture.claimed(&["example.com"]).await;
    let offer = authorization("example.com", &all());
    let answers = &fixture.house.answers;
    let token = "example-com_http-01";
    assert_eq!(answers.http("example.com", token).await.unwrap(), None);
    let chosen = claimed.prepare(std::slice::from_ref(&offer)).await.unwrap();
    assert_eq!(chosen[0].challenge, offer.challenges[0]);
    assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
    let key = fixture.login.key.jwk().unwrap();
    let answer = KeyAuthorization::new(&token.parse().unwrap(), &key);
    for host in ["example.com", "Example.COM", "example.com."] {
        let found = answers.http(host, token).await.unwrap();
        assert_eq!(found.as_deref(), Some(answer.as_str()), "{host}");
    }
    for (host, token) in [
        ("example.org", token),
        ("example.com", "example-com_tls-alpn-01"),
        ("example.com", "../example-com_http-01"),
        ("example.com", ""),
        ("", token),
    ] {
        assert_eq!(
            answers.http(host, token).await.unwrap(),
            None,
            "{host} {token}"
        );
    }
    claimed.finish().await;
    assert_eq!(answers.http("example.com", token).await.unwrap(), None);
    // Nobody was asked about records, since nobody could write any but the one that stays.
    assert_eq!(
        fixture.world.questions(),
        ["text _validation-persist.example.com"]
    );
}

#[tokio::test]
async fn after_a_failure_the_next_kind_is_tried() {
    let fixture = Fixture::new().await;
    let account = fixture.administrator.account_id();
    for (failed, kind) in [(0, Http01), (1, TlsAlpn01), (2, Http01)] {
        let claimed = fixture.claimed_for(account, &["example.com"], failed).await;
        assert_eq!(kinds(&claimed, &all()).await, [kind]);
        claimed.finish().await;
    }
}

#[tokio::test]
async fn a_challenge_at_the_tls_port_is_answered_with_a_certificate() {
    let fixture = Fixture::new().await;
    let answers = &fixture.house.answers;
    for (name, server_name) in [
        ("example.com", "example.com"),
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
    ] {
        let claimed = fixture.claimed(&[name]).await;
        assert_eq!(kinds(&claimed, &[TlsAlpn01]).await, [TlsAlpn01]);
        let identity = answers.tls_alpn(server_name).await.unwrap().unwrap();
        let certificate = Certificate::from_der(&identity.chain[0]).unwrap();
        let identifier = Identifier::parse_host(name).unwrap();
        assert_eq!(certificate.identifiers(), [identifier]);
        assert!(certificate.verify_signature_by(identity.key.public_key()));
        claimed.finish().await;
        assert!(answers.tls_alpn(server_name).await.unwrap().is_none());
    }
    assert!(answers.tls_alpn("nobody.test").await.unwrap().is_none());
}

#[tokio::test]
async fn a_record_is_published_seen_by_all_servers_and_withdrawn() {
    let fixture = Fixture::new().await;
    let administrator = &fixture.administrator;
    fixture.provider(administrator, "example.com").await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &all()).await, [Dns01]);
    let expected = text(&fixture, "example-com_dns-01");
    assert_eq!(fixture.world.texts(RECORD), [expected]);
    // The second server lags behind.
    let waiting = claimed.are_visible().await.unwrap();
    assert!(matches!(waiting, Visibility::Wait(_)), "{waiting:?}");
    fixture.world.spread();
    assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
    claimed.answered().await;
    claimed.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 1);
    assert!(fixture.world.texts(RECORD).is_empty());
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 0);
    let calls = [format!("publish {RECORD}"), format!("withdraw {RECORD}")];
    assert_eq!(fixture.world.calls(), calls);
}

#[tokio::test]
async fn what_was_prepared_stays_when_it_is_prepared_again() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let names = ["example.com", "*.example.com", "www.example.com"];
    let claimed = fixture.claimed(&names).await;
    let mut offers = names.map(|name| authorization(name, &all()));
    offers[2].status = AuthorizationStatus::Valid;
    let first = claimed.prepare(&offers).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(first.iter().all(|chosen| !chosen.is_answered));
    assert_eq!(fixture.world.texts(RECORD).len(), 2);
    let mut again = claimed.prepare(&offers).await.unwrap();
    again.sort_by_key(|chosen| chosen.challenge.url.clone());
    let mut sorted = first.clone();
    sorted.sort_by_key(|chosen| chosen.challenge.url.clone());
    assert_eq!(again, sorted);
    assert_eq!(fixture.world.calls().len(), 2);
    claimed.answered().await;
    let answered = claimed.prepare(&offers).await.unwrap();
    assert!(answered.iter().all(|chosen| chosen.is_answered));
    claimed.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 2);
    assert!(fixture.world.texts(RECORD).is_empty());
}

#[tokio::test]
async fn a_delegated_name_is_written_where_it_leads() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "acme.platform.test")
        .await;
    let world = &fixture.world;
    world.alias(RECORD, "example-com.acme.test");
    world.alias("example-com.acme.test", "Example-Com.ACME.platform.test.");
    let claimed = fixture.claimed(&["*.example.com"]).await;
    assert_eq!(kinds(&claimed, &all()).await, [Dns01]);
    let expected = text(&fixture, "--example-com_dns-01");
    assert_eq!(world.texts("example-com.acme.platform.test"), [expected]);
    assert!(world.texts(RECORD).is_empty());
}

#[tokio::test]
async fn aliases_without_an_end_are_named() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "platform.test")
        .await;
    let world = &fixture.world;
    world.alias(RECORD, "a.test");
    world.alias("a.test", RECORD);
    for number in 0..20 {
        let name = format!("{number}.long.test");
        world.alias(&name, &format!("{}.long.test", number + 1));
    }
    world.alias("_acme-challenge.long.test", "0.long.test");
    for (name, words) in [
        ("*.example.com", "go round in a circle"),
        ("*.long.test", "go on for more than 8 steps"),
    ] {
        let claimed = fixture.claimed(&[name]).await;
        let refused = claimed.prepare(&[authorization(name, &[Dns01])]).await;
        let error = refused.unwrap_err();
        assert!(matches!(error, ChallengeError::NotProvable { .. }));
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(world.calls().is_empty());
}

#[tokio::test]
async fn the_longest_zone_decides_and_one_s_own_provider_before_a_shared_one() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("tenant").await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    fixture
        .provider(&fixture.administrator, "sub.example.com")
        .await;
    fixture.provider(&tenant, "example.com").await;
    for (name, account, is_shared, zone) in [
        (
            "a.sub.example.com",
            tenant.account_id(),
            true,
            "sub.example.com",
        ),
        ("a.example.com", tenant.account_id(), false, "example.com"),
        (
            "a.example.com",
            fixture.administrator.account_id(),
            true,
            "example.com",
        ),
    ] {
        let record = records::dns_01_name(name);
        let place = fixture
            .house
            .dns_providers
            .place(account, None, &record)
            .await;
        let provider = place.unwrap().unwrap().provider;
        assert_eq!(
            (provider.zone.as_str(), provider.account_id.is_none()),
            (zone, is_shared)
        );
    }
    let record = records::dns_01_name("example.org");
    let nobody = fixture
        .house
        .dns_providers
        .place(tenant.account_id(), None, &record);
    assert!(nobody.await.unwrap().is_none());
}

#[tokio::test]
async fn a_provider_that_fails_is_asked_again_and_the_name_is_not_blamed() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    let offers = [authorization("example.com", &[Dns01])];
    let (world, unreachable) = (
        &fixture.world,
        ProviderError::Unreachable {
            reason: "timeout".to_owned(),
        },
    );
    world.refuse(Some(unreachable));
    let error = claimed.prepare(&offers).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    let waiting = claimed.are_visible().await.unwrap();
    assert!(matches!(waiting, Visibility::Wait(_)));
    world.refuse(Some(ProviderError::Credentials {
        reason: "BADSIG".to_owned(),
    }));
    let error = claimed.prepare(&offers).await.unwrap_err();
    assert!(!error.is_passing());
    assert!(error.to_string().contains("BADSIG"), "{error}");
    world.refuse(None);
    assert_eq!(claimed.prepare(&offers).await.unwrap().len(), 1);
    world.spread();
    assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
}

#[tokio::test]
async fn what_was_written_down_is_withdrawn_even_if_nobody_comes_back() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 0);
    fixture.turn(DAY);
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 1);
    assert!(fixture.world.texts(RECORD).is_empty());
}

#[tokio::test]
async fn a_withdrawal_that_fails_is_tried_for_ever() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    claimed.finish().await;
    let (house, world) = (&fixture.house, &fixture.world);
    world.refuse(Some(ProviderError::Refused {
        reason: "not today".to_owned(),
    }));
    for _ in 0..5 {
        assert_eq!(house.withdraw_records_now().await.unwrap(), 1);
        // Not at once again.
        assert_eq!(house.withdraw_records_now().await.unwrap(), 0);
        fixture.turn(DAY);
    }
    assert_eq!(world.texts(RECORD).len(), 1);
    world.refuse(None);
    assert_eq!(house.withdraw_records_now().await.unwrap(), 1);
    assert!(world.texts(RECORD).is_empty());
}

#[tokio::test]
async fn what_others_published_or_still_need_stays() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    fixture.world.text(RECORD, "somebody else's");
    let first = fixture.claimed(&["example.com"]).await;
    let second = fixture.claimed(&["example.com"]).await;
    for claimed in [&first, &second] {
        assert_eq!(kinds(claimed, &[Dns01]).await, [Dns01]);
    }
    assert_eq!(fixture.world.texts(RECORD).len(), 2);
    first.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 1);
    assert_eq!(fixture.world.texts(RECORD).len(), 2);
    second.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 1);
    assert_eq!(fixture.world.texts(RECORD), ["somebody else's"]);
}

#[tokio::test]
async fn a_record_whose_provider_was_removed_is_given_up() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    let providers = &fixture.house.dns_providers;
    let removed = providers
        .remove(&fixture.administrator, "example.com")
        .await;
    removed.unwrap();
    claimed.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 1);
    fixture.turn(DAY);
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 0);
}

#[tokio::test]
async fn a_record_that_does_not_arrive_is_named_with_its_server() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    fixture.turn(Duration::from_secs(15 * 60));
    let error = claimed.are_visible().await.unwrap_err().to_string();
    assert!(
        error.contains(RECORD) && error.contains("ns1.example.com"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_is_down_does_not_hold_everything_up() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    fixture.world.silence(1);
    let waiting = claimed.are_visible().await.unwrap();
    assert!(matches!(waiting, Visibility::Wait(_)));
    fixture.turn(Duration::from_secs(60));
    assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
}

#[tokio::test]
async fn a_delegated_zone_below_the_provider_s_is_told() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    fixture.world.zone("sub.example.com");
    let claimed = fixture.claimed(&["sub.example.com"]).await;
    assert_eq!(kinds(&claimed, &[Dns01]).await, [Dns01]);
    fixture.turn(Duration::from_secs(15 * 60));
    let error = claimed.are_visible().await.unwrap_err().to_string();
    assert!(
        error.contains("the name is in the zone sub.example.com"),
        "{error}"
    );
}

#[tokio::test]
async fn a_record_that_stays_is_used_when_it_is_there() {
    let fixture = Fixture::new().await;
    let text = format!("ca.test; accounturi={ACCOUNT_URL}; policy=wildcard");
    fixture.world.text("_validation-persist.example.com", &text);
    let claimed = fixture.claimed(&["*.example.com"]).await;
    assert_eq!(kinds(&claimed, &all()).await, [DnsPersist01]);
    assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
    claimed.finish().await;
    assert_eq!(fixture.house.withdraw_records_now().await.unwrap(), 0);
    assert!(fixture.world.calls().is_empty());
}

#[tokio::test]
async fn a_record_that_stays_is_published_once_and_kept() {
    let acme = AcmeSettings {
        challenges: vec![DnsPersist01],
        ..AcmeSettings::default()
    };
    let fixture = Fixture::with(acme).await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let place = "_validation-persist.example.com";
    for _ in 0..2 {
        let claimed = fixture.claimed(&["*.example.com"]).await;
        assert_eq!(kinds(&claimed, &all()).await, [DnsPersist01]);
        fixture.world.spread();
        assert_eq!(claimed.are_visible().await.unwrap(), Visibility::Yes);
        claimed.finish().await;
        fixture.house.withdraw_records_now().await.unwrap();
        let text = format!("ca.test; accounturi={ACCOUNT_URL}; policy=wildcard");
        assert_eq!(fixture.world.texts(place), [text]);
    }
    assert_eq!(fixture.world.calls(), [format!("publish {place}")]);
}

#[tokio::test]
async fn the_record_of_an_account_has_a_name_of_its_own() {
    let acme = AcmeSettings {
        challenges: vec![DnsAccount01],
        ..AcmeSettings::default()
    };
    let fixture = Fixture::with(acme).await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let claimed = fixture.claimed(&["example.com"]).await;
    assert_eq!(kinds(&claimed, &all()).await, [DnsAccount01]);
    let name = records::dns_account_01_name("example.com", ACCOUNT_URL);
    let expected = text(&fixture, "example-com_dns-account-01");
    assert_eq!(fixture.world.texts(&name), [expected]);
}

#[tokio::test]
async fn a_wildcard_that_nobody_can_prove_is_refused_with_all_that_would_help() {
    let fixture = Fixture::new().await;
    let claimed = fixture.claimed(&["*.example.com"]).await;
    let offers = [authorization("*.example.com", &all())];
    let error = claimed.prepare(&offers).await.unwrap_err().to_string();
    for words in [
        "*.example.com",
        "chancery dns add",
        RECORD,
        "_validation-persist.example.com",
        &format!("\"ca.test; accounturi={ACCOUNT_URL}; policy=wildcard\""),
    ] {
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[tokio::test]
async fn who_has_lost_the_certificate_publishes_nothing() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let mut claimed = fixture.claimed(&["example.com"]).await;
    claimed.until += Duration::from_secs(1);
    let offers = [authorization("example.com", &[Dns01])];
    let refused = claimed.prepare(&offers).await;
    assert!(matches!(refused, Err(ChallengeError::Unclaimed)));
    assert!(fixture.world.calls().is_empty());
}

#[tokio::test]
async fn the_house_finds_itself_and_nobody_else_does() {
    let fixture = Fixture::new().await;
    let other = Fixture::new().await;
    let answers = &fixture.house.answers;
    let token = answers.probe_token().unwrap();
    let answer = answers.probe_answer(&token).await.unwrap();
    let found = answers.http("any.test", token.as_str()).await.unwrap();
    assert_eq!(found, Some(answer));
    let foreign = other.house.answers.http("any.test", token.as_str()).await;
    assert_ne!(foreign.unwrap(), found);
}
