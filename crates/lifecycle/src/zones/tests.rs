//! Who may have which provider, and what trying one says.

use dns::{Credentials, ProviderError};
use egress::EgressPolicy;

use super::DnsProvider;
use crate::diagnosis::Verdict;
use crate::testing::{Fixture, provider};
use crate::{Error, NewDnsProvider, Principal};

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
        let place = providers.place(tenant.account_id(), record).await;
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
        let name = pki::DnsName::parse(name).unwrap();
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
