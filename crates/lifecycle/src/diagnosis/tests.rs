//! The usual misconfigurations, and what is said of them.

use acme::client::ChallengeKind;

use super::{Actor, Finding, Verdict};
use crate::challenges::ChallengeError;
use crate::testing::{ACCOUNT_URL, Fixture, Site};
use crate::{
    AcmeSettings, DomainRequest, NewServiceRequest, PortRequest, Principal, Probe, Protocol,
};

const EDGE: &str = "198.51.100.7";

/// A house whose edge is found under `example.com`.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.world.address("example.com", &[EDGE], Site::Edge);
    fixture
}

/// What is in the way of an order for a name, if anything is.
async fn obstacle(fixture: &Fixture, name: &str) -> Option<String> {
    let claimed = fixture.claimed(&[name]).await;
    match claimed.preflight().await {
        Ok(()) => None,
        Err(
            error @ (ChallengeError::Misconfigured { .. } | ChallengeError::NotProvable { .. }),
        ) => Some(error.to_string()),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn assert_says(obstacle: Option<String>, words: &[&str]) {
    let obstacle = obstacle.expect("nothing is in the way");
    for words in words {
        assert!(obstacle.contains(words), "{words}: {obstacle}");
    }
}

async fn check(fixture: &Fixture, name: &str) -> Vec<Finding> {
    let diagnosis = &fixture.house.diagnosis;
    diagnosis.check(&fixture.administrator, name).await.unwrap()
}

fn find<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let found = findings.iter().find(|finding| finding.check == check);
    found.unwrap_or_else(|| panic!("no {check} in {findings:?}"))
}

#[tokio::test]
async fn nothing_is_in_the_way_of_a_name_that_leads_to_the_edge() {
    let fixture = fixture().await;
    assert_eq!(obstacle(&fixture, "example.com").await, None);
    let mut findings = check(&fixture, "example.com").await;
    // There is no such issuer: the orders of these tests come from nowhere.
    assert_eq!(findings.remove(0).verdict, Verdict::Problem);
    assert_eq!(findings.len(), 5);
    for finding in &findings {
        assert_eq!(finding.verdict, Verdict::Ok, "{finding:?}");
        assert_eq!(finding.remedy, "", "{finding:?}");
    }
    assert_eq!(find(&findings, "dns").found, format!("it has {EDGE}"));
}

#[tokio::test]
async fn a_name_that_leads_nowhere_is_the_owner_s_to_correct() {
    let fixture = fixture().await;
    assert_eq!(obstacle(&fixture, "example.com").await, None);
    let told = obstacle(&fixture, "www.example.com").await;
    assert_says(
        told,
        &["does not exist", "add an A, AAAA or CNAME record", EDGE],
    );
    let findings = check(&fixture, "www.example.com").await;
    let finding = find(&findings, "dns");
    assert_eq!(
        (finding.verdict, finding.acts),
        (Verdict::Problem, Actor::Owner)
    );
}

#[tokio::test]
async fn a_zone_that_does_not_answer_is_told_with_its_signatures() {
    let fixture = fixture().await;
    fixture.world.break_name("broken.test");
    let told = obstacle(&fixture, "broken.test").await;
    assert_says(told, &["DNSSEC"]);
    let findings = check(&fixture, "broken.test").await;
    assert_eq!(find(&findings, "dns").verdict, Verdict::Problem);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_costs_no_order() {
    let fixture = fixture().await;
    assert_eq!(obstacle(&fixture, "example.com").await, None);
    let world = &fixture.world;
    world.address("other.test", &["203.0.113.1"], Site::Other);
    let told = obstacle(&fixture, "other.test").await;
    assert_says(
        told,
        &[
            "203.0.113.1",
            "another server answers",
            EDGE,
            "done by the owner",
        ],
    );
}

#[tokio::test]
async fn who_cannot_reach_itself_is_not_kept_from_ordering() {
    let fixture = fixture().await;
    let world = &fixture.world;
    world.address("closed.test", &["203.0.113.1"], Site::Nobody);
    world.address("private.test", &["10.0.0.1"], Site::Forbidden);
    for name in ["closed.test", "private.test"] {
        assert_eq!(obstacle(&fixture, name).await, None, "{name}");
        let findings = check(&fixture, name).await;
        let finding = find(&findings, "http");
        assert_eq!(finding.verdict, Verdict::Warning);
        assert_eq!(finding.acts, Actor::Platform);
        assert!(!finding.remedy.is_empty());
    }
    let findings = check(&fixture, "closed.test").await;
    let remedy = &find(&findings, "http").remedy;
    assert!(
        remedy.contains("let port 80 of 203.0.113.1 through"),
        "{remedy}"
    );
}

#[tokio::test]
async fn only_an_administrator_s_names_are_looked_for_on_this_machine() {
    let acme = AcmeSettings {
        probe: Probe::Any,
        ..AcmeSettings::default()
    };
    let fixture = Fixture::with(acme).await;
    let tenant = fixture.tenant("tenant").await;
    fixture
        .world
        .address("inside.test", &["127.0.0.1"], Site::Other);
    let told = obstacle(&fixture, "inside.test").await;
    assert_says(told, &["another server answers"]);
    let diagnosis = &fixture.house.diagnosis;
    let findings = diagnosis.check(&tenant, "inside.test").await.unwrap();
    let finding = find(&findings, "http");
    assert_eq!(finding.verdict, Verdict::Warning, "{finding:?}");
    assert!(finding.found.contains("loopback"), "{finding:?}");
    // What the directory sees is not known.
    let account = tenant.account_id();
    let claimed = fixture.claimed_for(account, &["inside.test"], 0).await;
    claimed.preflight().await.unwrap();
}

#[tokio::test]
async fn without_a_probe_nobody_looks() {
    let acme = AcmeSettings {
        probe: Probe::Off,
        ..AcmeSettings::default()
    };
    let fixture = Fixture::with(acme).await;
    let world = &fixture.world;
    world.address("other.test", &["203.0.113.1"], Site::Other);
    assert_eq!(obstacle(&fixture, "other.test").await, None);
}

#[tokio::test]
async fn each_of_several_addresses_is_looked_at() {
    let fixture = fixture().await;
    let world = &fixture.world;
    world.address("dual.test", &[EDGE, "2001:db8::1"], Site::Edge);
    world.site(EDGE, Site::Edge);
    let findings = check(&fixture, "dual.test").await;
    let http = findings.iter().filter(|finding| finding.check == "http");
    let verdicts: Vec<Verdict> = http.map(|finding| finding.verdict).collect();
    assert_eq!(verdicts, [Verdict::Ok, Verdict::Ok, Verdict::Warning]);
}

#[tokio::test]
async fn caa_records_in_the_way_are_told_with_what_to_add() {
    let fixture = fixture().await;
    let world = &fixture.world;
    for name in [
        "a.b.example.com",
        "wild.test",
        "account.test",
        "method.test",
    ] {
        world.address(name, &[EDGE], Site::Edge);
    }
    world.caa("example.com", "issue", "other.test");
    let told = obstacle(&fixture, "a.b.example.com").await;
    assert_says(
        told,
        &[
            "only other.test may issue",
            "\"example.com CAA 0 issue ca.test\"",
        ],
    );
    world.caa(
        "account.test",
        "issue",
        "ca.test; accounturi=https://ca.test/account/2",
    );
    let told = obstacle(&fixture, "account.test").await;
    assert_says(told, &["account/2", ACCOUNT_URL]);
    world.caa("method.test", "issue", "ca.test; validationmethods=dns-01");
    let told = obstacle(&fixture, "method.test").await;
    assert_says(told, &["validationmethods", "dns-01"]);
    world.caa("wild.test", "issuewild", ";");
    assert_eq!(obstacle(&fixture, "wild.test").await, None);
    fixture.provider(&fixture.administrator, "wild.test").await;
    let told = obstacle(&fixture, "*.wild.test").await;
    assert_says(
        told,
        &[
            "no authority may issue",
            "\"wild.test CAA 0 issuewild ca.test\"",
        ],
    );
}

#[tokio::test]
async fn caa_records_that_cannot_be_asked_for_forbid() {
    let fixture = fixture().await;
    let world = &fixture.world;
    world.address("a.broken.test", &[EDGE], Site::Edge);
    world.break_name("broken.test");
    let told = obstacle(&fixture, "a.broken.test").await;
    assert_says(
        told,
        &["authorities issue nothing while they get no answer"],
    );
}

#[tokio::test]
async fn a_directory_that_does_not_say_its_name_is_not_held_up() {
    let mut fixture = fixture().await;
    fixture.info.caa_identities.clear();
    fixture.world.caa("example.com", "issue", "other.test");
    assert_eq!(obstacle(&fixture, "example.com").await, None);
}

#[tokio::test]
async fn a_wildcard_needs_a_provider_or_a_record_that_stays() {
    let fixture = fixture().await;
    let told = obstacle(&fixture, "*.example.com").await;
    assert_says(
        told,
        &[
            "no provider has a zone",
            "chancery dns add example.com --provider",
            "CNAME",
        ],
    );
    let findings = check(&fixture, "*.example.com").await;
    assert!(findings.iter().all(|finding| finding.check != "dns"));
    let text = format!("ca.test; accounturi={ACCOUNT_URL}; policy=wildcard");
    let told = obstacle(&fixture, "*.example.com").await;
    assert_says(told, &["TXT record _validation-persist.example.com", &text]);
    fixture.world.text("_validation-persist.example.com", &text);
    assert_eq!(obstacle(&fixture, "*.example.com").await, None);
    fixture
        .provider(&fixture.administrator, "example.org")
        .await;
    assert_eq!(obstacle(&fixture, "*.example.org").await, None);
}

#[tokio::test]
async fn an_address_is_looked_at_without_dns() {
    let fixture = fixture().await;
    fixture.world.site("192.0.2.1", Site::Other);
    let told = obstacle(&fixture, "192.0.2.1").await;
    assert_says(told, &["another server answers"]);
    assert!(fixture.world.questions().is_empty());
}

#[tokio::test]
async fn with_a_provider_it_does_not_matter_where_a_name_leads() {
    let fixture = fixture().await;
    fixture
        .provider(&fixture.administrator, "internal.test")
        .await;
    assert_eq!(obstacle(&fixture, "db.internal.test").await, None);
    let account = fixture.administrator.account_id();
    // In its turn the port is tried, and does matter.
    let failed = 2;
    let claimed = fixture
        .claimed_for(account, &["db.internal.test"], failed)
        .await;
    let refused = claimed.preflight().await;
    assert!(matches!(refused, Err(ChallengeError::Misconfigured { .. })));
}

impl Fixture {
    /// Has a new tenant serve a domain.
    async fn serving(&self, tenant: &str, domain: &str) -> Principal {
        let tenant = self.tenant(tenant).await;
        let request = NewServiceRequest {
            ports: vec![PortRequest {
                port: 443,
                destination_port: None,
                handlers: None,
                protocol: Protocol::Tcp,
            }],
            domains: vec![DomainRequest {
                name: format!("{domain}."),
                certificate: None,
            }],
            is_persistent: true,
            ..NewServiceRequest::default()
        };
        let services = &self.house.services;
        services.create(&tenant, request).await.unwrap();
        tenant
    }

    /// Why nothing can be ordered for a name of somebody's.
    async fn refusal(&self, principal: &Principal, name: &str) -> Option<String> {
        let claimed = self.claimed_for(principal.account_id(), &[name], 0).await;
        let refused = claimed.preflight().await;
        refused.err().map(|error| error.to_string())
    }
}

#[tokio::test]
async fn what_another_account_serves_is_not_ordered_for() {
    let fixture = fixture().await;
    let tenant = fixture.serving("tenant", "example.com").await;
    let told = obstacle(&fixture, "example.com").await;
    assert_says(told, &["a service of another account has this domain"]);
    assert_eq!(fixture.refusal(&tenant, "example.com").await, None);
}

#[tokio::test]
async fn what_a_wildcard_of_another_account_covers_is_not_ordered_for() {
    let fixture = fixture().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let owner = fixture.serving("owner", "*.example.com").await;
    let tenant = fixture.serving("tenant", "own.example.com").await;
    let told = fixture.refusal(&tenant, "www.example.com").await;
    assert_says(told, &["another account has the domain '*.example.com'"]);
    for (principal, name) in [
        // It serves this very name.
        (&tenant, "own.example.com"),
        (&owner, "www.example.com"),
        // Not covered.
        (&tenant, "example.com"),
        (&tenant, "a.b.example.com"),
    ] {
        assert_eq!(fixture.refusal(principal, name).await, None, "{name}");
    }
    // A wildcard over a public suffix owns nothing.
    fixture.serving("greedy", "*.co.uk").await;
    fixture.provider(&fixture.administrator, "shop.co.uk").await;
    assert_eq!(fixture.refusal(&tenant, "shop.co.uk").await, None);
}

#[tokio::test]
async fn a_wildcard_over_names_of_another_account_is_for_the_house_alone() {
    let fixture = fixture().await;
    fixture
        .provider(&fixture.administrator, "example.com")
        .await;
    let owner = fixture.serving("owner", "shop.example.com").await;
    let tenant = fixture.tenant("tenant").await;
    let told = fixture.refusal(&tenant, "*.example.com").await;
    assert_says(told, &["another account has the domain 'shop.example.com'"]);
    for principal in [&owner, &fixture.administrator] {
        assert_eq!(fixture.refusal(principal, "*.example.com").await, None);
    }
    assert_eq!(fixture.refusal(&tenant, "*.shop.example.com").await, None);
}

#[tokio::test]
async fn names_that_cannot_be_in_a_certificate_are_refused() {
    let fixture = fixture().await;
    let diagnosis = &fixture.house.diagnosis;
    for name in ["", "a b", "*.*.example.com", "user@example.com", "-.test"] {
        let refused = diagnosis.check(&fixture.administrator, name).await;
        assert!(refused.unwrap_err().is_form_fault(), "{name}");
    }
}

#[tokio::test]
async fn without_any_port_a_provider_is_needed_for_every_name() {
    let acme = AcmeSettings {
        challenges: vec![ChallengeKind::Dns01],
        ..AcmeSettings::default()
    };
    let fixture = Fixture::with(acme).await;
    fixture.world.address("example.com", &[EDGE], Site::Edge);
    let told = obstacle(&fixture, "example.com").await;
    assert_says(told, &["no provider has a zone"]);
    let told = obstacle(&fixture, "192.0.2.1").await;
    assert_says(told, &["allow http-01 or tls-alpn-01"]);
}
