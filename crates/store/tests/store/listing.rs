//! Finding and listing certificates.

use std::sync::Arc;

use store::{
    CertificateFilter, CertificateId, CertificateRef, Order, Page, PageStart, Scope, State,
    StateKind, Store,
};
use time::OffsetDateTime;

use crate::support::{Database, account, event, moment, record, unique};

on_both_databases!(
    pages_cover_everything_once_and_begin_where_the_last_one_ended,
    a_page_may_begin_at_a_moment,
    a_page_may_begin_at_a_certificate_that_is_gone,
    a_page_is_never_longer_than_the_limit,
    filters_are_combined,
    few_and_many_that_end_soon_are_listed_alike,
    references_are_answered_in_their_order,
);

fn page(from: PageStart, limit: usize, order: Order) -> Page {
    Page { from, limit, order }
}

async fn list(
    store: &Store,
    scope: Scope,
    filter: &CertificateFilter,
    page: Page,
) -> Vec<(OffsetDateTime, CertificateId)> {
    let certificates = store.list_certificates(scope, filter, &page).await.unwrap();
    certificates
        .into_iter()
        .map(|certificate| (certificate.created_at, certificate.id))
        .collect()
}

/// Adds certificates of which several share a moment; returns them in the order of lists.
async fn add_some(
    store: &Store,
    scope_account: store::AccountId,
) -> Vec<(OffsetDateTime, CertificateId)> {
    let mut added = Vec::new();
    for index in 0..25 {
        let mut record = record(scope_account, None);
        record.certificate.created_at = moment(i64::from(index) / 4);
        added.push((record.certificate.created_at, record.certificate.id));
        store.add_certificate(record).await.unwrap();
    }
    added.sort();
    added
}

async fn pages_cover_everything_once_and_begin_where_the_last_one_ended(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let expected = add_some(&store, account).await;
    for scope in [Scope::Account(account), Scope::Everything] {
        for order in [Order::Ascending, Order::Descending] {
            let mut found = Vec::new();
            let mut from = PageStart::Beginning;
            loop {
                let part = list(
                    &store,
                    scope,
                    &CertificateFilter::default(),
                    page(from, 4, order),
                )
                .await;
                if let PageStart::At { id, .. } = from {
                    assert_eq!(
                        part[0].1, id,
                        "a page begins with the certificate it was told"
                    );
                    found.extend_from_slice(&part[1..]);
                } else {
                    found.extend_from_slice(&part);
                }
                let (created_at, id) = *part.last().unwrap();
                if part.len() < 4 {
                    break;
                }
                from = PageStart::At { created_at, id };
            }
            if order == Order::Descending {
                found.reverse();
            }
            assert_eq!(found, expected);
        }
    }
}

async fn a_page_may_begin_at_a_moment(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let expected = add_some(&store, account).await;
    let scope = Scope::Account(account);
    let all = CertificateFilter::default();
    let from = PageStart::Time(moment(3));
    assert_eq!(
        list(&store, scope, &all, page(from, 100, Order::Ascending)).await,
        expected[12..]
    );
    let mut older = list(&store, scope, &all, page(from, 100, Order::Descending)).await;
    older.reverse();
    assert_eq!(older, expected[..16]);
}

async fn a_page_may_begin_at_a_certificate_that_is_gone(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let expected = add_some(&store, account).await;
    let scope = Scope::Account(account);
    let (created_at, id) = expected[10];
    let removed = event(Some(account), "certificate.removed");
    assert!(store.delete_certificate(scope, id, removed).await.unwrap());
    let from = PageStart::At { created_at, id };
    let all = CertificateFilter::default();
    assert_eq!(
        list(&store, scope, &all, page(from, 100, Order::Ascending)).await,
        expected[11..]
    );
}

async fn a_page_is_never_longer_than_the_limit(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let expected = add_some(&store, account).await;
    let scope = Scope::Account(account);
    let all = CertificateFilter::default();
    for (limit, length) in [(0, 0), (1, 1), (24, 24), (usize::MAX, expected.len())] {
        let part = list(
            &store,
            scope,
            &all,
            page(PageStart::Beginning, limit, Order::Ascending),
        );
        assert_eq!(part.await.len(), length);
    }
}

async fn filters_are_combined(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let common_name = format!("{}.example.org", unique());
    let mut ids = Vec::new();
    for (named, state, not_after) in [
        (true, State::Valid, 100),
        (true, State::Valid, 200),
        (true, State::Revoked, 100),
        (false, State::Valid, 100),
    ] {
        let mut record = record(account, None);
        if named {
            record.certificate.common_name.clone_from(&common_name);
        }
        record.certificate.state = state;
        record.certificate.created_at = moment(i64::try_from(ids.len()).unwrap());
        record.version.as_mut().unwrap().not_after = moment(not_after);
        ids.push(record.certificate.id);
        store.add_certificate(record).await.unwrap();
    }
    let named = Some(common_name);
    let valid = Some(StateKind::Valid);
    let early = Some(moment(200));
    for (common_name, state, not_after_before, expected) in [
        (None, None, None, vec![0, 1, 2, 3]),
        (named.clone(), None, None, vec![0, 1, 2]),
        (None, valid, None, vec![0, 1, 3]),
        (None, None, early, vec![0, 2, 3]),
        (named.clone(), valid, None, vec![0, 1]),
        (named, valid, early, vec![0]),
        (Some("nobody.example".to_owned()), None, None, vec![]),
        (None, Some(StateKind::Pending), None, vec![]),
    ] {
        let filter = CertificateFilter {
            common_name,
            state,
            not_after_before,
        };
        let expected: Vec<_> = expected
            .into_iter()
            .map(|index: usize| ids[index])
            .collect();
        for scope in [Scope::Account(account), Scope::Everything] {
            let page = page(PageStart::Beginning, 10, Order::Ascending);
            let found = list(&store, scope, &filter, page).await;
            let found: Vec<_> = found.into_iter().map(|(_, id)| id).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

async fn few_and_many_that_end_soon_are_listed_alike(database: &Database) {
    let store = database.open().await;
    let (account, neighbour) = (account(&store).await, account(&store).await);
    let mut added = Vec::new();
    let mut tasks = tokio::task::JoinSet::new();
    for index in 0..1_300 {
        // The later half of the list ends first, so that the two orders differ.
        let mut record = record(if index % 50 == 0 { neighbour } else { account }, None);
        record.certificate.created_at = moment(index / 3);
        record.version.as_mut().unwrap().not_after = moment(10_000 - index);
        if record.certificate.account_id == account {
            added.push((
                record.certificate.created_at,
                record.certificate.id,
                10_000 - index,
            ));
        }
        let store = store.clone();
        tasks.spawn(async move { store.add_certificate(record).await.unwrap() });
    }
    tasks.join_all().await;
    added.sort();
    for ending_before in [8_700, 8_750, 9_990, 20_000] {
        let filter = CertificateFilter {
            not_after_before: Some(moment(ending_before)),
            ..CertificateFilter::default()
        };
        let expected: Vec<_> = added
            .iter()
            .filter(|(_, _, not_after)| *not_after < ending_before)
            .map(|(created_at, id, _)| (*created_at, *id))
            .collect();
        let scope = Scope::Account(account);
        let all = page(PageStart::Beginning, 700, Order::Ascending);
        let found = list(&store, scope, &filter, all).await;
        assert_eq!(found, expected[..expected.len().min(700)]);
        let Some((created_at, id)) = expected.get(expected.len() / 2).copied() else {
            continue;
        };
        let from = PageStart::At { created_at, id };
        let found = list(&store, scope, &filter, page(from, 5, Order::Descending)).await;
        let middle = expected.len() / 2;
        let before: Vec<_> = expected[..=middle].iter().rev().take(5).copied().collect();
        assert_eq!(found, before);
    }
}

async fn references_are_answered_in_their_order(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut references = Vec::new();
    let mut expected = Vec::new();
    for index in 0..300 {
        let record = record(account, None);
        expected.push(Some(record.certificate.id));
        references.push(if index % 2 == 0 {
            CertificateRef::Id(record.certificate.id)
        } else {
            CertificateRef::Name(record.certificate.name.clone())
        });
        if index % 10 == 0 {
            expected.push(None);
            references.push(CertificateRef::Id(CertificateId::random()));
            expected.push(None);
            references.push(CertificateRef::Name("nobody".to_owned()));
        }
        store.add_certificate(record).await.unwrap();
    }
    // The same one twice is answered twice, with one and the same answer.
    references.push(references[0].clone());
    expected.push(expected[0]);

    let found = store
        .certificates_by_refs(Scope::Account(account), &references)
        .await
        .unwrap();
    let (first, last) = (found.first().unwrap(), found.last().unwrap());
    assert!(Arc::ptr_eq(first.as_ref().unwrap(), last.as_ref().unwrap()));
    let found: Vec<_> = found
        .into_iter()
        .map(|certificate| certificate.map(|certificate| certificate.id))
        .collect();
    assert_eq!(found, expected);
    let none = store
        .certificates_by_refs(Scope::Account(account), &[])
        .await
        .unwrap();
    assert!(none.is_empty());
}
