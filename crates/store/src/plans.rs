//! Tests only: that every query which meets a million rows goes through an index made for it.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;
use time::OffsetDateTime;

use crate::attachments::{self, Attachment};
use crate::backend::Backend;
use crate::certificates::{
    CertificateFilter, Search, StateKind, by_ids, by_names, count_ending, listed,
};
use crate::feed::Wanted;
use crate::ids::{
    AccountId, AuthorityId, CertificateId, DnsProviderId, EventId, InstanceId, PrivateKeyId,
    ServiceId, TargetId, VersionId,
};
use crate::page::{Order, Page, PageStart};
use crate::scope::Scope;
use crate::sql::{Statement, Value};
use crate::stretches::ServiceFilter;
use crate::targets::Among;
use crate::url::DatabaseUrl;
use crate::{
    certificate_labels, domains, events, feed, installations, instances, inventory, leases,
    migrate, names, placements, private_key_labels, private_keys, served, services, shards,
    stretches, targets, versions,
};

mod obtaining;

const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

async fn database() -> (Backend, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::sqlite(directory.path().join("plans.db"));
    let backend = Backend::open(&url).await.unwrap();
    migrate::run(&backend).await.unwrap();
    (backend, directory)
}

/// How SQLite would run a statement, one step a line.
async fn plan(backend: &Backend, statement: Statement) -> String {
    let rows = backend
        .rows(statement.explained("explain query plan"))
        .await
        .unwrap();
    let steps = rows.into_iter().map(|mut row| {
        for _ in 0..3 {
            row.take::<i64>().unwrap();
        }
        row.take::<String>().unwrap()
    });
    steps.collect::<Vec<_>>().join("\n")
}

/// Asserts that a plan uses that index, looks at no table as a whole, and sorts nothing.
async fn assert_uses(backend: &Backend, index: &str, statement: Statement) {
    let plan = plan(backend, statement).await;
    assert!(plan.contains(index), "expected {index} in:\n{plan}");
    let scans = plan.lines().filter(|line| line.starts_with("SCAN"));
    // Walking an index in its order until the page is full is what a list does, and a page that is
    // the result of an inner statement is walked as a whole.
    let is_bounded = |line: &str| {
        let inner = line.replacen("SCAN", "CO-ROUTINE", 1);
        line.contains("USING INDEX") || plan.lines().any(|other| other == inner)
    };
    assert!(scans.clone().all(is_bounded), "{plan}");
    assert!(!plan.contains("TEMP B-TREE"), "{plan}");
}

fn pages() -> impl Iterator<Item = Page> {
    let id = CertificateId::random();
    let starts = [
        PageStart::Beginning,
        PageStart::At {
            created_at: NOW,
            id,
        },
        PageStart::Time(NOW),
    ];
    starts.into_iter().flat_map(|from| {
        [Order::Ascending, Order::Descending].map(|order| Page {
            from,
            limit: 50,
            order,
        })
    })
}

#[tokio::test]
async fn lists_of_an_account_use_the_index_of_their_filter() {
    let (backend, _directory) = database().await;
    let scope = Scope::Account(AccountId::random());
    let all = CertificateFilter::default();
    let named = CertificateFilter {
        common_name: Some("a.example".to_owned()),
        ..all.clone()
    };
    let failed = CertificateFilter {
        state: Some(StateKind::Error),
        ..all.clone()
    };
    for page in pages() {
        for (filter, index) in [
            (&all, "certificates_account"),
            (&named, "certificates_common_name"),
            (&failed, "certificates_state"),
        ] {
            let statement = listed(scope, filter, &page, Search::InOrder);
            assert_uses(&backend, index, statement).await;
        }
    }
}

#[tokio::test]
async fn lists_of_everything_use_the_index_of_their_order() {
    let (backend, _directory) = database().await;
    let all = CertificateFilter::default();
    let failed = CertificateFilter {
        state: Some(StateKind::Error),
        ..all.clone()
    };
    for page in pages() {
        for (filter, index) in [
            (&all, "certificates_created"),
            (&failed, "certificates_state_of_all"),
        ] {
            let statement = listed(Scope::Everything, filter, &page, Search::InOrder);
            assert_uses(&backend, index, statement).await;
        }
    }
}

#[tokio::test]
async fn what_ends_soon_is_found_by_its_end_or_in_order() {
    let (backend, _directory) = database().await;
    let filter = CertificateFilter {
        not_after_before: Some(NOW),
        ..CertificateFilter::default()
    };
    let account = AccountId::random();
    let scope = Scope::Account(account);
    let count = plan(&backend, count_ending(account, NOW)).await;
    assert!(
        count.contains("COVERING INDEX certificates_not_after"),
        "{count}"
    );
    for page in pages() {
        let few = plan(&backend, listed(scope, &filter, &page, Search::ByEnd)).await;
        assert!(few.contains("certificates_not_after"), "{few}");
        let many = listed(scope, &filter, &page, Search::InOrder);
        assert_uses(&backend, "certificates_account", many).await;
        let many = listed(Scope::Everything, &filter, &page, Search::InOrder);
        assert_uses(&backend, "certificates_created", many).await;
    }
}

#[tokio::test]
async fn single_rows_are_found_by_index() {
    let (backend, _directory) = database().await;
    let account = Scope::Account(AccountId::random());
    let authority = AuthorityId::random();
    for scope in [account, Scope::Everything] {
        let ids = [CertificateId::random(), CertificateId::random()];
        assert_uses(&backend, "autoindex_certificates", by_ids(scope, &ids)).await;
        assert_uses(&backend, "certificates_name", by_names(scope, &["a", "b"])).await;
        let id = VersionId::at(NOW);
        assert_uses(&backend, "autoindex_versions", versions::by_id(scope, id)).await;
        let statement = versions::by_serial_low(scope, 7);
        assert_uses(&backend, "versions_serial_low", statement).await;
        let statement = versions::of_certificate(scope, CertificateId::random());
        assert_uses(&backend, "versions_certificate", statement).await;
    }
    let statement = served::served(CertificateId::random());
    let plan = plan(&backend, statement).await;
    assert_eq!(plan.matches("SEARCH").count(), 3, "{plan}");
    assert_eq!(plan.lines().count(), 3, "{plan}");
    let statement = versions::issued(authority, &[7]);
    assert_uses(&backend, "versions_serial_low", statement).await;
}

#[tokio::test]
async fn feeds_and_sweeps_use_their_indexes() {
    let (backend, _directory) = database().await;
    let statement = versions::revoked((AuthorityId::random(), 3), "CN=a", None, 100, NOW);
    assert_uses(&backend, "COVERING INDEX versions_revoked", statement).await;
    let authority = AuthorityId::random();
    for statement in [
        shards::standing(authority, 3),
        shards::taking(authority, 1_000, 20_000),
        shards::counting(authority, 3),
    ] {
        assert_uses(&backend, "autoindex_crl_shards", statement).await;
    }
    let statement = private_keys::expired(NOW);
    assert_uses(&backend, "private_keys_exportable_until", statement).await;
    let statement = events::after_place(Scope::Everything, None, 100);
    assert_uses(&backend, "INTEGER PRIMARY KEY", statement).await;
    let account = Scope::Account(AccountId::random());
    let statement = events::after_place(account, None, 100);
    assert_uses(&backend, "events_account", statement).await;
    let (start, end) = (EventId::from_number(7), EventId::from_number(9));
    for wanted in [
        Wanted::AllBut(&["a", "b"]),
        Wanted::Only(&["a"]),
        Wanted::ForWebhooks(&["a", "b"]),
    ] {
        let plan = plan(&backend, feed::between(start, end, wanted)).await;
        let search = "SEARCH events USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
        assert!(plan.contains(search), "{plan}");
        assert!(!plan.contains("SCAN"), "{plan}");
    }
}

/// Pages of something other than certificates.
fn other_pages<Id: Copy>(id: Id) -> impl Iterator<Item = Page<Id>> {
    pages().map(move |page| Page {
        from: match page.from {
            PageStart::At { created_at, .. } => PageStart::At { created_at, id },
            PageStart::Beginning => PageStart::Beginning,
            PageStart::Time(moment) => PageStart::Time(moment),
        },
        limit: page.limit,
        order: page.order,
    })
}

#[tokio::test]
async fn services_and_instances_are_found_by_index() {
    let (backend, _directory) = database().await;
    let account = Scope::Account(AccountId::random());
    let ids = [ServiceId::random(), ServiceId::random()];
    for (scope, by_age) in [
        (account, ["services_account", "instances_account"]),
        (Scope::Everything, ["services_created", "instances_created"]),
    ] {
        assert_uses(
            &backend,
            "autoindex_services",
            services::by_ids(scope, &ids),
        )
        .await;
        let statement = services::by_names(scope, &["a", "b"]);
        assert_uses(&backend, "services_name", statement).await;
        for page in other_pages(ServiceId::random()) {
            assert_uses(&backend, by_age[0], services::listed(scope, &page)).await;
        }
        let statement = instances::by_ids(scope, &[InstanceId::random()]);
        assert_uses(&backend, "autoindex_instances", statement).await;
        let statement = instances::by_names(scope, &["a", "b"]);
        assert_uses(&backend, "instances_name", statement).await;
        for page in other_pages(InstanceId::random()) {
            assert_uses(&backend, by_age[1], instances::listed(scope, &page)).await;
        }
    }
    let statement = instances::of_services(&ids);
    assert_uses(&backend, "instances_service", statement).await;
    let statement = stretches::stretch(account, &ServiceFilter::default(), 60, 30);
    assert_uses(&backend, "services_account", statement).await;
    let statement = installations::naming(DnsProviderId::from_uuid(uuid::Uuid::nil()));
    assert_uses(&backend, "installations_dns_provider", statement).await;
    let certificates = [CertificateId::random(), CertificateId::random()];
    let statement = services::with_certificates(&certificates);
    let users = plan(&backend, statement).await;
    for index in ["domains_certificate", "domains_alternate"] {
        let search = format!("SEARCH domains USING COVERING INDEX {index}");
        assert!(users.contains(&search), "{users}");
    }
    assert!(!users.contains("SCAN domains"), "{users}");
}

#[tokio::test]
async fn domains_are_found_by_index() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    for scope in [Scope::Account(account), Scope::Everything] {
        let statement = domains::named(scope, &["a.example", "b.example"]);
        assert_uses(&backend, "autoindex_domains", statement).await;
    }
    let statement = domains::names_after(Some("a"), 10, true);
    assert_uses(
        &backend,
        "COVERING INDEX sqlite_autoindex_domains",
        statement,
    )
    .await;
    let statement = domains::of_services(&[ServiceId::random(), ServiceId::random()]);
    assert_uses(&backend, "domains_service", statement).await;
    let statement = services::sizes_of(&[ServiceId::random(), ServiceId::random()]);
    let sizes = plan(&backend, statement).await;
    for index in ["domains_service", "instances_service"] {
        let search = format!("USING COVERING INDEX {index} (service_id=?)");
        assert!(sizes.contains(&search), "{sizes}");
    }
    let statement = domains::under(account, "example", Some("a.example"), 10);
    assert_uses(&backend, "domains_parent", statement).await;
    let statement = domains::owners(&[account, AccountId::random()]);
    assert_uses(&backend, "COVERING INDEX domains_parent", statement).await;
    let statement = domains::of_certificate(CertificateId::random(), None, 10);
    let plan = plan(&backend, statement).await;
    for index in ["domains_certificate", "domains_alternate"] {
        let search = format!("SEARCH domains USING INDEX {index}");
        assert!(plan.contains(&search), "{plan}");
    }
    assert!(!plan.contains("SCAN domains"), "{plan}");
    let statement = domains::removal(ServiceId::random(), &["a.example".to_owned()]);
    assert_uses(&backend, "autoindex_domains", statement).await;
}

#[tokio::test]
async fn certificates_for_domains_are_found_by_index() {
    let (backend, _directory) = database().await;
    for scope in [Scope::Account(AccountId::random()), Scope::Everything] {
        let statement = names::covering(scope, &["a.example", "*.example"]);
        let plan = plan(&backend, statement).await;
        assert!(
            plan.contains("SEARCH c USING INDEX certificates_common_name"),
            "{plan}"
        );
        assert!(plan.contains("SEARCH n USING COVERING INDEX"), "{plan}");
        for table in ["c", "n", "v", "k"] {
            assert!(!plan.contains(&format!("SCAN {table} ")), "{plan}");
        }
        let statement = names::usable(scope, &[CertificateId::random()]);
        assert_uses(&backend, "autoindex_certificates", statement).await;
    }
}

#[tokio::test]
async fn changes_of_a_few_rows_look_at_few_rows() {
    let (backend, _directory) = database().await;
    let names = ["a".to_owned(), "b".to_owned()];
    let own = [(AccountId::random(), "a".to_owned())];
    let accounts = [AccountId::random()];
    for claimable in [
        leases::Claimable::default(),
        leases::Claimable {
            owners: leases::Owners::WithoutDirectories,
            except_authorities: &names,
            except_shared: &names,
            ..leases::Claimable::default()
        },
        leases::Claimable {
            owners: leases::Owners::WithDirectories,
            except_authorities: &names,
            except_shared: &names,
            except_own: &own,
            except_accounts: &accounts,
        },
    ] {
        let claim = plan(
            &backend,
            leases::claim(NOW, NOW, 10, leases::Which::Claimable(claimable)),
        )
        .await;
        let search = "SEARCH certificates USING INDEX certificates_next_action";
        assert_eq!(claim.matches(search).count(), 2, "{claim}");
        for table in ["certificates", "directories"] {
            assert!(!claim.contains(&format!("SCAN {table}")), "{claim}");
        }
        assert!(!claim.contains("ORDER BY"), "{claim}");
    }
    let row = || -> [Value; 6] {
        let (id, version) = (CertificateId::random(), VersionId::at(NOW));
        [
            id.into(),
            version.into(),
            "a".into(),
            NOW.into(),
            NOW.into(),
            NOW.into(),
        ]
    };
    let statement = leases::finishing(NOW, vec![row(), row()]);
    let finishing = plan(&backend, statement).await;
    let search = "SEARCH certificates USING INDEX sqlite_autoindex_certificates";
    assert!(finishing.contains(search), "{finishing}");
    assert!(!finishing.contains("SCAN certificates"), "{finishing}");
    let statement = private_keys::expired_in_use(NOW);
    assert_uses(&backend, "private_keys_exportable_until", statement).await;
    let statement = attachments::keeping(&[CertificateId::random()]);
    assert_uses(&backend, "autoindex_private_keys", statement).await;
    let attachment = Attachment {
        domain: "a.example".to_owned(),
        from: None,
        certificate_id: Some(CertificateId::random()),
        alternate_id: None,
        is_explicit: false,
    };
    let statement = attachments::switch(&[attachment.clone(), attachment]);
    let plan = plan(&backend, statement).await;
    assert!(plan.contains("SEARCH domains USING INDEX"), "{plan}");
    assert!(!plan.contains("SCAN domains"), "{plan}");
}

#[tokio::test]
async fn labels_are_found_and_missed_by_index() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    let scope = Scope::Account(account);
    let (certificate, key) = (CertificateId::random(), PrivateKeyId::at(NOW));
    let place = Some((NOW, certificate));
    for (statement, index) in [
        (
            private_key_labels::listed(scope, 7, 50),
            "private_key_labels_account",
        ),
        (
            private_key_labels::numbered(scope, 7),
            "autoindex_private_key_labels",
        ),
        (
            private_key_labels::unlabelled(scope, place),
            "certificates_account",
        ),
        (
            private_key_labels::deleting_own(account),
            "private_key_labels_",
        ),
        (
            certificate_labels::listed(scope, None, 7, 50),
            "certificate_labels_account",
        ),
        (
            certificate_labels::unlabelled(scope, None, place),
            "certificates_account",
        ),
        (
            certificate_labels::under(scope, key),
            "versions_private_key",
        ),
        (
            inventory::keys_of(&[certificate, certificate]),
            "versions_certificate",
        ),
        (
            inventory::deleting_unneeded(&[key, key]),
            "versions_private_key",
        ),
        (
            private_key_labels::named(account, "k"),
            "private_key_labels_named",
        ),
    ] {
        assert_uses(&backend, index, statement).await;
    }
    // Of one certificate there are few domains: sorting them costs nothing.
    let alternates = plan(&backend, inventory::alternates(&[certificate; 2])).await;
    assert!(alternates.contains("domains_alternate"), "{alternates}");
    let taken = [
        (key, account, "k".to_owned()),
        (key, account, "l".to_owned()),
    ];
    let taken = plan(&backend, private_key_labels::names_taken(&taken)).await;
    assert!(taken.contains("private_key_labels_named"), "{taken}");
    // Of one key there are few, too.
    for statement in [
        certificate_labels::listed(scope, Some(key), 7, 50),
        certificate_labels::unlabelled(scope, Some(key), None),
    ] {
        let plan = plan(&backend, statement).await;
        assert!(plan.contains("versions_private_key"), "{plan}");
    }
}

#[tokio::test]
async fn what_targets_want_and_have_is_found_by_index() {
    let (backend, _directory) = database().await;
    let account = AccountId::random();
    assert_uses(
        &backend,
        "certificates_account",
        targets::wanted(account, None, Among::All, 100),
    )
    .await;
    let services = [ServiceId::random(), ServiceId::random()];
    let (all, one) = (Among::All, Among::One(CertificateId::random()));
    for (statement, index) in [
        (
            targets::wanted(account, Some(&services), all, 100),
            "INDEX domains_service",
        ),
        (
            targets::counted(account, Some(&services), 100),
            "INDEX domains_service",
        ),
        (
            targets::wanted(account, Some(&services), one, 1),
            "INDEX domains_certificate",
        ),
    ] {
        let wanted = plan(&backend, statement).await;
        assert!(wanted.contains(index), "{wanted}");
        assert!(
            wanted.contains("SEARCH c USING INDEX sqlite_autoindex_certificates"),
            "{wanted}"
        );
        // What was found of the services is gone through, and nothing else.
        let rest = wanted
            .replace("SCAN wanted", "")
            .replace("SCAN deliverable", "");
        assert!(!rest.contains("SCAN"), "{wanted}");
    }
    let placed = Among::PlacedOn(TargetId::random());
    let placed = plan(&backend, targets::wanted(account, None, placed, 100)).await;
    assert!(placed.contains("SEARCH p USING"), "{placed}");
    assert!(placed.contains("autoindex_certificates"), "{placed}");
    let rest = placed.replace("SCAN wanted", "");
    assert!(!rest.contains("SCAN"), "{placed}");
    let ids = [CertificateId::random(), CertificateId::random()];
    let statement = targets::of_these(Scope::Account(account), &ids);
    assert_uses(&backend, "autoindex_certificates", statement).await;
    let statement = targets::listed(account, Some("a"), 100);
    assert_uses(&backend, "targets_name", statement).await;
    let statement = placements::of_certificates(&ids);
    assert_uses(&backend, "placements_certificate", statement).await;
}
