//! Who may have which provider, and what trying one says.

use std::sync::Arc;

use dns::{Credentials, ProviderError};
use egress::EgressPolicy;
use pki::DnsName;

use super::DnsProvider;
use crate::diagnosis::Verdict;
use crate::testing::{Fixture, provider};
use crate::{Error, NewDnsAccount, NewDnsProvider, Principal};

async fn zones(fixture: &Fixture, principal: &Principal) -> Vec<(String, bool)> {
    let listed = fixture.house.dns_providers.list(principal).await.unwrap();
    let zone = |provider: DnsProvider| (provider.zone, provider.is_shared);
    listed.into_iter().map(zone).collect()
}

fn of_kind(kind: &str, fields: &[(&str, &str)]) -> NewDnsProvider {
    let fields = fields.iter();
    NewDnsProvider {
        kind: kind.to_owned(),
        credentials: fields
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<Credentials>(),
        ..provider("example.com")
    }
}

#[tokio::test]
async fn what_an_administrator_adds_is_for_all_and_a_tenant_s_for_the_tenant() {
    let fixture = Fixture::new().await;
    let providers = &fixture.house.dns_providers;
    let [first, second] = [
        fixture.tenant("first").await,
        fixture.tenant("second").await,
    ];
    let shared = providers.add(&fixture.administrator, provider("Example.COM."));
    let shared = shared.await.unwrap();
    assert_eq!(
        (shared.zone.as_str(), shared.is_shared),
        ("example.com", true)
    );
    assert_eq!(shared.fields, ["name", "secret", "server"]);
    providers.add(&first, provider("first.test")).await.unwrap();
    let given = NewDnsProvider {
        account: Some("second".to_owned()),
        ..provider("second.test")
    };
    providers.add(&fixture.administrator, given).await.unwrap();
    let common = ("example.com".to_owned(), true);
    let own = |zone: &str| (zone.to_owned(), false);
    assert_eq!(
        zones(&fixture, &first).await,
        [common.clone(), own("first.test")]
    );
    assert_eq!(zones(&fixture, &second).await, [common, own("second.test")]);
    // A shared one is not theirs to remove or to try, and each other's they do not even see.
    let refused = providers.remove(&first, "example.com").await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let refused = providers.test(&first, "example.com").await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    let unseen = providers.remove(&first, "second.test").await;
    assert!(matches!(unseen, Err(Error::NotFound { .. })));
    let refused = NewDnsProvider {
        account: Some("second".to_owned()),
        ..provider("third.test")
    };
    let refused = providers.add(&first, refused).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    providers.remove(&first, "first.test").await.unwrap();
    providers
        .remove(&fixture.administrator, "example.com")
        .await
        .unwrap();
    assert!(zones(&fixture, &first).await.is_empty());
}

#[tokio::test]
async fn a_zone_has_one_provider_of_each_owner() {
    let fixture = Fixture::new().await;
    let providers = &fixture.house.dns_providers;
    let tenant = fixture.tenant("tenant").await;
    for principal in [&fixture.administrator, &tenant] {
        providers
            .add(principal, provider("example.com"))
            .await
            .unwrap();
        let taken = providers.add(principal, provider("example.com")).await;
        assert!(matches!(taken, Err(Error::NameTaken { .. })), "{taken:?}");
    }
}

#[tokio::test]
async fn what_cannot_work_is_not_added() {
    let fixture = Fixture::new().await;
    let providers = &fixture.house.dns_providers;
    for zone in ["", "a b", "*.example.com", "example..com", "192.0.2.1"] {
        let refused = providers.add(&fixture.administrator, provider(zone)).await;
        assert!(refused.unwrap_err().is_form_fault(), "{zone}");
    }
    for faulty in [
        of_kind("nobody", &[]),
        of_kind("rfc2136", &[("server", "192.0.2.53")]),
        of_kind("digitalocean", &[("token", "x"), ("unknown", "x")]),
        of_kind("digitalocean", &[("token", " ")]),
    ] {
        let refused = providers.add(&fixture.administrator, faulty).await;
        assert!(refused.unwrap_err().is_form_fault());
    }
    let unknown = NewDnsProvider {
        account: Some("nobody".to_owned()),
        ..provider("example.com")
    };
    let refused = providers.add(&fixture.administrator, unknown).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn tenants_run_no_programs_and_reach_public_addresses_only() {
    let fixture = Fixture::new().await;
    let providers = &fixture.house.dns_providers;
    let tenant = fixture.tenant("tenant").await;
    let program = of_kind("exec", &[("program", "/bin/true")]);
    let refused = providers.add(&tenant, program.clone()).await;
    assert!(matches!(refused, Err(Error::Forbidden { .. })));
    providers
        .add(&fixture.administrator, program)
        .await
        .unwrap();
    providers
        .add(&tenant, provider("tenant.test"))
        .await
        .unwrap();
    for (record, policy, may_run_programs) in [
        ("_acme-challenge.example.com", EgressPolicy::BACKENDS, true),
        ("_acme-challenge.tenant.test", EgressPolicy::PUBLIC, false),
    ] {
        let place = providers.place(tenant.account_id(), None, record).await;
        let provider = place.unwrap().unwrap().provider;
        let access = providers.access(&provider).await.unwrap().unwrap();
        assert_eq!(access.policy, policy, "{record}");
        assert_eq!(access.may_run_programs, may_run_programs, "{record}");
        assert!(!format!("{access:?}").contains("c2VjcmV0"));
    }
}

#[tokio::test]
async fn names_are_covered_by_zones_above_them_and_by_delegation() {
    let fixture = Fixture::new().await;
    let providers = &fixture.house.dns_providers;
    let account = fixture.administrator.account_id();
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let world = &fixture.world;
    world.alias("_acme-challenge.customer.test", "customer.example.com");
    world.break_name("_acme-challenge.broken.test");
    for (name, is_covered) in [
        ("example.com", true),
        ("a.b.example.com", true),
        ("*.example.com", true),
        ("notexample.com", false),
        ("com", false),
        ("customer.test", true),
        ("*.customer.test", true),
        ("www.customer.test", false),
        ("broken.test", false),
    ] {
        let name = DnsName::parse(name).unwrap();
        let covered = providers.covers(account, &name).await.unwrap();
        assert_eq!(covered, is_covered, "{name}");
    }
}

#[tokio::test]
async fn a_provider_that_works_is_found_to() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let providers = fixture.house.dns_providers.clone();
    let administrator = fixture.administrator.clone();
    let trying =
        tokio::spawn(async move { providers.test(&administrator, "example.com").await.unwrap() });
    let record = "_chancery-test.example.com";
    while fixture.world.texts(record).is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.world.spread();
    let findings = trying.await.unwrap();
    let outcomes: Vec<_> = findings
        .iter()
        .map(|finding| (finding.check, finding.verdict))
        .collect();
    assert_eq!(
        outcomes,
        [
            ("publish", Verdict::Ok),
            ("visible", Verdict::Ok),
            ("visible", Verdict::Ok),
            ("withdraw", Verdict::Ok)
        ]
    );
    assert!(fixture.world.texts(record).is_empty());
}

#[tokio::test]
async fn a_provider_that_refuses_is_told_with_what_to_do() {
    let fixture = Fixture::new().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    fixture.world.refuse(Some(ProviderError::Credentials {
        reason: "BADKEY".to_owned(),
    }));
    let providers = &fixture.house.dns_providers;
    let findings = providers.test(&fixture.administrator, "example.com").await;
    let findings = findings.unwrap();
    let [publish] = findings.as_slice() else {
        panic!("{findings:?}");
    };
    assert_eq!(publish.verdict, Verdict::Problem);
    assert!(publish.found.contains("BADKEY"), "{publish:?}");
    assert!(
        publish.remedy.contains("check the credentials"),
        "{publish:?}"
    );
}

/// A DNS account of a caller, and its identifier.
async fn dns_account(fixture: &Fixture, principal: &Principal, name: &str) -> store::DnsProviderId {
    let account = NewDnsAccount {
        name: name.to_owned(),
        kind: "hetzner".to_owned(),
        credentials: [("token".to_owned(), name.to_owned())]
            .into_iter()
            .collect(),
    };
    let accounts = &fixture.house.dns_accounts;
    accounts.add(principal, account).await.unwrap().id
}

/// Makes a DNS account the provider of the zones of these names.
async fn serve(
    fixture: &Fixture,
    principal: &Principal,
    id: store::DnsProviderId,
    names: &[DnsName],
) -> Result<(), Error> {
    let accounts = &fixture.house.dns_accounts;
    for zone in accounts.zones_for(principal, id, names).await? {
        fixture.store.provide_zone(principal.scope(), zone).await?;
    }
    Ok(())
}

fn names(texts: &[&str]) -> Vec<DnsName> {
    let names = texts.iter().map(|text| DnsName::parse(text).unwrap());
    names.collect()
}

#[tokio::test]
async fn a_dns_account_provides_the_zones_of_the_names_that_it_is_named_for() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("tenant").await;
    let id = dns_account(&fixture, &tenant, "main").await;
    for apex in ["com", "shop.com", "deep.shop.com", "elsewhere.net"] {
        fixture.world.zone(apex);
    }
    let alias = "_acme-challenge.aliased.com";
    fixture.world.alias(alias, "proofs.elsewhere.net");
    let served = names(&[
        "*.shop.com",
        "www.shop.com",
        "a.deep.shop.com",
        "aliased.com",
        // Of these, DNS says nothing but that they are somewhere below com, or nothing at all.
        "www.unknown.com",
        "www.nowhere.org",
    ]);
    let accounts = &fixture.house.dns_accounts;
    serve(&fixture, &tenant, id, &served).await.unwrap();
    let zones = zones(&fixture, &tenant).await;
    let zones: Vec<&str> = zones.iter().map(|(zone, _)| zone.as_str()).collect();
    assert_eq!(
        zones,
        [
            "deep.shop.com",
            "elsewhere.net",
            "nowhere.org",
            "shop.com",
            "unknown.com"
        ]
    );
    for name in &served {
        let covers = &fixture.house.dns_providers;
        assert!(
            covers.covers(tenant.account_id(), name).await.unwrap(),
            "{name}"
        );
    }
    // They are shown as what they were made of.
    let writers = accounts.list(&tenant).await.unwrap();
    let writers: Vec<&str> = writers.iter().map(|writer| writer.name.as_str()).collect();
    assert_eq!(writers, ["main"]);
    accounts.remove(&tenant, id).await.unwrap();
    assert!(accounts.list(&tenant).await.unwrap().is_empty());
    let gone = serve(&fixture, &tenant, id, &served).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
}

#[tokio::test]
async fn dns_accounts_stand_beside_each_other_in_a_zone() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("tenant").await;
    let (accounts, providers) = (&fixture.house.dns_accounts, &fixture.house.dns_providers);
    let first = dns_account(&fixture, &tenant, "first").await;
    let second = dns_account(&fixture, &tenant, "second").await;
    fixture.world.zone("shop.com");
    let served = names(&["*.shop.com"]);
    let account = tenant.account_id();
    let made_of = |writer| async move {
        let place = providers.place(account, writer, "_acme-challenge.shop.com");
        place
            .await
            .unwrap()
            .map(|place| place.provider.dns_account_id)
    };
    serve(&fixture, &tenant, first, &served).await.unwrap();
    assert_eq!(made_of(Some(second)).await, Some(Some(first)));
    serve(&fixture, &tenant, second, &served).await.unwrap();
    for writer in [first, second] {
        assert_eq!(made_of(Some(writer)).await, Some(Some(writer)));
    }
    accounts.remove(&tenant, second).await.unwrap();
    assert_eq!(made_of(None).await, Some(Some(first)));
    // One that lost its zone gets it when it is needed again.
    providers.remove(&tenant, "shop.com").await.unwrap();
    assert_eq!(made_of(Some(first)).await, None);
    let had = providers.have_zones(account, "house", first, &served);
    had.await.unwrap();
    assert_eq!(made_of(None).await, Some(Some(first)));
}

#[tokio::test]
async fn a_zone_that_somebody_added_is_left_to_its_provider() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant("tenant").await;
    let providers = &fixture.house.dns_providers;
    providers.add(&tenant, provider("shop.com")).await.unwrap();
    let accounts = &fixture.house.dns_accounts;
    let writers = accounts.list(&tenant).await.unwrap();
    let own = writers.first().unwrap().id;
    let id = dns_account(&fixture, &tenant, "main").await;
    fixture.world.zone("shop.com");
    serve(&fixture, &tenant, id, &names(&["shop.com"]))
        .await
        .unwrap();
    let listed = providers.list(&tenant).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].kind, "rfc2136");
    // The provider of a zone serves what it serves.
    serve(&fixture, &tenant, own, &names(&["x.net"]))
        .await
        .unwrap();
    assert_eq!(providers.list(&tenant).await.unwrap().len(), 1);
    // Nobody else may name it.
    let stranger = fixture.tenant("stranger").await;
    for foreign in [id, own] {
        let refused = serve(&fixture, &stranger, foreign, &names(&["x.net"])).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })));
        let refused = accounts.remove(&stranger, foreign).await;
        assert!(matches!(refused, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn a_type_without_a_driver_is_kept_and_its_orders_fail() {
    let fixture = Fixture::new().await;
    let accounts = &fixture.house.dns_accounts;
    let account = |fields: &[(&str, &str)]| NewDnsAccount {
        name: "main".to_owned(),
        kind: "sakuracloud".to_owned(),
        credentials: fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let owner = &fixture.administrator;
    let lacking = accounts.add(owner, account(&[("token", "x")])).await;
    assert!(lacking.unwrap_err().is_form_fault());
    let whole = account(&[("token", "x"), ("secret", "y")]);
    let id = accounts.add(owner, whole).await.unwrap().id;
    serve(&fixture, owner, id, &names(&["shop.com"]))
        .await
        .unwrap();
    let record = "_acme-challenge.shop.com";
    let place = fixture
        .house
        .dns_providers
        .place(owner.account_id(), None, record);
    let place = place.await.unwrap().unwrap();
    assert_eq!(place.provider.zone, "shop.com");
    let resolver: Arc<dyn egress::Resolver> = Arc::new(fixture.world.clone());
    let fetch: Arc<dyn egress::Fetch> = Arc::new(fixture.world.clone());
    let drivers = dns::Providers::new(fetch, resolver);
    let access = fixture.house.dns_providers.access(&place.provider).await;
    let text = super::DnsProviders::record(&place.provider, record, "value");
    let refused = dns::Records::publish(&drivers, &access.unwrap().unwrap(), &text).await;
    assert!(
        matches!(refused, Err(ProviderError::Unsupported { .. })),
        "{refused:?}"
    );
}
