//! Shards of revocation lists, and responders.

use std::collections::BTreeMap;

use pki::{Revocation, RevocationReason};
use store::{
    AuthorityId, CaCertificateId, CaRole, CrlSeries, Error, Exportable, NewAuthority,
    NewCaCertificate, NewCaKey, Scope, Store,
};
use tokio::task::JoinSet;

use crate::support::{Database, ISSUER, account, authority, event, moment, private_key, record};

on_both_databases!(
    shards_are_filled_one_after_the_other,
    no_shard_is_filled_beyond_its_limit_by_many_nodes,
    a_revocation_counts_in_its_shard_alone,
    each_shard_has_numbers_of_its_own,
    what_was_issued_before_there_were_shards_is_in_the_first,
    of_two_nodes_one_adds_a_responder_and_ended_ones_go,
);

const SUPERSEDED: Revocation = Revocation {
    at: time::OffsetDateTime::UNIX_EPOCH,
    reason: RevocationReason::Superseded,
};

async fn add(store: &Store, authority: AuthorityId, shard: u64) -> (store::VersionId, Vec<u8>) {
    let mut record = record(account(store).await, Some(authority));
    let version = record.version.as_mut().unwrap();
    version.crl_shard = shard;
    let added = (version.id, version.serial.clone());
    store.add_certificate(record).await.unwrap();
    added
}

async fn revoke(store: &Store, version: store::VersionId) {
    let revoked = event(None, "version.revoked");
    let revoked = store.revoke_version(Scope::Everything, version, SUPERSEDED, revoked);
    revoked.await.unwrap();
}

async fn shards_are_filled_one_after_the_other(database: &Database) {
    let store = database.open().await;
    let (ours, theirs) = (authority(&store).await, authority(&store).await);
    let mut shards = Vec::new();
    for count in [4, 6, 1, 9, 1, 10, 10] {
        shards.push(store.take_places(ours, count, 10).await.unwrap());
    }
    assert_eq!(shards, [0, 0, 1, 1, 2, 3, 4]);
    assert_eq!(store.shard(ours, 3).await.unwrap().unwrap().last_shard, 4);
    assert_eq!(store.shard(ours, 5).await.unwrap(), None);
    assert_eq!(store.take_places(theirs, 1, 10).await.unwrap(), 0);
    let nobody = store.take_places(AuthorityId::random(), 1, 10).await;
    assert!(matches!(nobody, Err(Error::NotFound)), "{nobody:?}");
}

async fn no_shard_is_filled_beyond_its_limit_by_many_nodes(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..30 {
        let store = store.clone();
        tasks.spawn(async move { store.take_places(authority, 3, 10).await.unwrap() });
    }
    let mut taken: BTreeMap<u64, u32> = BTreeMap::new();
    for shard in tasks.join_all().await {
        *taken.entry(shard).or_default() += 1;
    }
    assert_eq!(taken.values().sum::<u32>(), 30);
    assert!(taken.values().all(|blocks| *blocks <= 3), "{taken:?}");
    assert!(taken.keys().copied().eq(0..taken.len() as u64), "{taken:?}");
}

async fn a_revocation_counts_in_its_shard_alone(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    for _ in 0..3 {
        store.take_places(authority, 1, 1).await.unwrap();
    }
    let mut expected = Vec::new();
    for shard in [0, 1, 1, 2, 2, 2] {
        let (version, serial) = add(&store, authority, shard).await;
        expected.push((shard, serial));
        revoke(&store, version).await;
    }
    for shard in 0..3 {
        let standing = store.shard(authority, shard).await.unwrap().unwrap();
        assert_eq!(standing.revocations, shard + 1);
        let page = store.revoked_page((authority, shard), ISSUER, None, 10, moment(0));
        let found: Vec<_> = page.await.unwrap();
        let mut found: Vec<_> = found.into_iter().map(|one| (shard, one.serial)).collect();
        let series = CrlSeries::Shard(authority, shard);
        let next = store
            .next_crl(series, (authority, shard), ISSUER, moment(0))
            .await;
        assert_eq!(next.unwrap().1.len(), found.len());
        let mut wanted = expected.clone();
        wanted.retain(|(other, _)| *other == shard);
        wanted.sort();
        found.sort();
        assert_eq!(found, wanted);
    }
}

async fn each_shard_has_numbers_of_its_own(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    for _ in 0..3 {
        store.take_places(authority, 1, 1).await.unwrap();
    }
    let of = |shard| CrlSeries::Shard(authority, shard);
    for number in 0..3 {
        let next = store.next_crl_number(of(1), number).await.unwrap();
        assert_eq!(next, Some(number + 1));
    }
    assert_eq!(store.next_crl_number(of(1), 2).await.unwrap(), None);
    assert_eq!(store.crl_number(of(1)).await.unwrap(), 3);
    assert_eq!(store.crl_number(of(2)).await.unwrap(), 0);
    for error in [
        store.crl_number(of(3)).await,
        store.next_crl_number(of(3), 0).await.map(|_| 0),
        store
            .next_crl(of(3), (authority, 3), ISSUER, moment(0))
            .await
            .map(|(number, _)| number),
    ] {
        assert!(matches!(error, Err(Error::NotFound)), "{error:?}");
    }
}

async fn what_was_issued_before_there_were_shards_is_in_the_first(database: &Database) {
    let store = database.open().await;
    let authority = authority(&store).await;
    let (revoked, serial) = add(&store, authority, 0).await;
    add(&store, authority, 0).await;
    revoke(&store, revoked).await;
    store.close().await;
    database.take_back_to(22).await;

    let store = database.open().await;
    let standing = store.shard(authority, 0).await.unwrap().unwrap();
    assert_eq!((standing.revocations, standing.last_shard), (1, 0));
    let page = store.revoked_page((authority, 0), ISSUER, None, 10, moment(0));
    let page = page.await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].serial, serial);
    // Both have their places there.
    assert_eq!(store.take_places(authority, 1, 3).await.unwrap(), 0);
    assert_eq!(store.take_places(authority, 1, 3).await.unwrap(), 1);
}

fn member(role: CaRole, not_after: i64) -> NewCaCertificate {
    NewCaCertificate {
        id: CaCertificateId::at(moment(not_after)),
        role,
        certificate: vec![0x30, 1, 5],
        key: NewCaKey::Kept(private_key(Exportable::Never)),
        not_before: moment(0),
        not_after: moment(not_after),
        superiors: None,
        crl_number: 0,
    }
}

async fn of_two_nodes_one_adds_a_responder_and_ended_ones_go(database: &Database) {
    let store = database.open().await;
    let root = member(CaRole::Root, 1_000);
    let (authority, issuer) = (AuthorityId::random(), root.id);
    let new = NewAuthority {
        id: authority,
        name: "default".to_owned(),
        created_at: moment(0),
        ca_certificates: vec![root],
        event: event(None, "authority.created"),
    };
    store.create_authority(new).await.unwrap();
    let add = async |known, not_after: i64, ended| {
        let responder = member(CaRole::Responder, not_after);
        let added = event(None, "responder.added");
        let ids = (authority, issuer);
        let added = store.add_responder(ids, known, responder, moment(ended), added);
        added.await.unwrap()
    };
    assert_eq!(store.certified_responders(issuer).await.unwrap(), 0);
    assert!(add(0, 30, 10).await);
    assert!(!add(0, 31, 10).await);
    assert_eq!(store.certified_responders(issuer).await.unwrap(), 1);
    assert!(add(1, 60, 30).await);
    assert_eq!(database.count("ca_certificates").await, 3);
    assert_eq!(database.count("private_keys").await, 3);
    assert!(add(2, 90, 31).await);
    let ends = store.ca_certificates(authority).await.unwrap();
    let ends: Vec<_> = ends.iter().map(|one| one.not_after).collect();
    assert_eq!(ends.len(), 3);
    assert!(!ends.contains(&moment(30)));
    assert_eq!(database.count("private_keys").await, 3);
    let nobody = store.certified_responders(CaCertificateId::at(moment(0)));
    assert!(matches!(nobody.await, Err(Error::NotFound)));
}
