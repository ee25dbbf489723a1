//! What two transactions do to one private key at the same time, on PostgreSQL, which lets both
//! begin. A third one, held open here, sees to it that they meet.

use std::time::Duration;

use pki::{Revocation, RevocationReason};
use sqlx::{AssertSqlSafe, PgPool, Postgres};
use store::{
    AccountId, CertificateId, Error, Exportable, NewRecord, PrivateKeyId, RevokeOutcome, Scope,
    Store,
};
use uuid::Uuid;

use crate::support::{
    Database, account, authority, event, find, kinds, moment, private_key, record, record_with_key,
};

/// A look at the database from outside, and a transaction that others wait for.
struct Obstacle {
    pool: PgPool,
    transaction: sqlx::Transaction<'static, Postgres>,
}

impl Obstacle {
    async fn new(database: &Database) -> Self {
        let pool = PgPool::connect(&database.url).await.unwrap();
        let transaction = pool.begin().await.unwrap();
        Self { pool, transaction }
    }

    async fn run(&mut self, sql: String) {
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut *self.transaction);
        assert_eq!(done.await.unwrap().rows_affected(), 1);
    }

    /// Does what somebody does who gives a key to another certificate.
    async fn give(&mut self, key: PrivateKeyId, to: &NewRecord) {
        let version = literal(to.version.as_ref().unwrap().id.as_uuid());
        let key = literal(key.as_uuid());
        self.run(format!(
            "update versions set private_key_id = {key} where id = {version}"
        ))
        .await;
        self.run(format!(
            "update private_keys set kept = true where id = {key}"
        ))
        .await;
    }

    /// Stops everybody at the end of what they do.
    async fn stop_everybody(&mut self) {
        self.run("update event_counter set last = last".to_owned())
            .await;
    }

    /// Commits once so many others wait.
    async fn end_when_waited_for(self, by: i64) {
        let waiting = "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock'";
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let count: i64 = sqlx::query_scalar(waiting)
                .fetch_one(&self.pool)
                .await
                .unwrap();
            if count == by {
                break;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{count} wait instead of {by}"
            );
            tokio::task::yield_now().await;
        }
        self.transaction.commit().await.unwrap();
    }
}

fn literal(id: Uuid) -> String {
    format!("'\\x{}'::bytea", id.simple())
}

fn key_of(record: &NewRecord) -> PrivateKeyId {
    record.key.as_ref().unwrap().id
}

async fn has_key(store: &Store, key: PrivateKeyId) -> bool {
    let found = store.private_key(Scope::Everything, key).await.unwrap();
    found.is_some()
}

/// An account with a certificate that has a key, and one that has none.
async fn two(store: &Store, exportable: Exportable) -> (AccountId, NewRecord, NewRecord) {
    let account = account(store).await;
    let authority = authority(store).await;
    let with_key = record_with_key(account, Some(authority), exportable);
    let other = record(account, None);
    for record in [&with_key, &other] {
        store.add_certificate(record.clone()).await.unwrap();
    }
    (account, with_key, other)
}

async fn delete(store: Store, certificate: CertificateId) -> bool {
    let deleted = event(None, "certificate.deleted");
    let deleted = store.delete_certificate(Scope::Everything, certificate, deleted);
    deleted.await.unwrap()
}

async fn delete_key(store: Store, account: AccountId, key: PrivateKeyId) -> Result<bool, Error> {
    let of_key = event(Some(account), "private_key.deleted");
    let of_certificate = event(Some(account), "certificate.deleted");
    store
        .delete_private_key(Scope::Account(account), key, of_key, of_certificate)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_leaves_the_key_to_a_certificate_that_is_just_being_added() {
    let database = Database::postgres();
    let store = database.open().await;
    let (_, first, other) = two(&store, Exportable::Always).await;
    let mut adding = Obstacle::new(&database).await;
    adding.give(key_of(&first), &other).await;
    let deleting = tokio::spawn(delete(store.clone(), first.certificate.id));
    adding.end_when_waited_for(1).await;
    assert!(deleting.await.unwrap());
    assert!(has_key(&store, key_of(&first)).await);
    // That was not its last one; this is.
    assert!(delete(store.clone(), other.certificate.id).await);
    assert!(!has_key(&store, key_of(&first)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_just_being_kept_does_not_expire() {
    let database = Database::postgres();
    let store = database.open().await;
    let (_, first, other) = two(&store, Exportable::Until(moment(8))).await;
    let mut adding = Obstacle::new(&database).await;
    adding.give(key_of(&first), &other).await;
    let sweeping = store.clone();
    let sweeping =
        tokio::spawn(async move { sweeping.erase_expired_private_keys(moment(10)).await });
    adding.end_when_waited_for(1).await;
    assert_eq!(sweeping.await.unwrap().unwrap(), 0);
    let swept = store.erase_expired_private_keys(moment(10)).await.unwrap();
    assert_eq!(swept, 0);
    let left = store.private_key(Scope::Everything, key_of(&first)).await;
    assert_eq!(left.unwrap().unwrap().exportable, Exportable::Never);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_leaves_the_key_to_a_certificate_that_is_just_being_added() {
    let database = Database::postgres();
    let store = database.open().await;
    let (_, first, other) = two(&store, Exportable::Until(moment(1_000))).await;
    let mut adding = Obstacle::new(&database).await;
    adding.give(key_of(&first), &other).await;
    let (revoking, version) = (store.clone(), first.version.as_ref().unwrap().id);
    let revoking = tokio::spawn(async move {
        let revocation = Revocation {
            at: moment(5),
            reason: RevocationReason::Superseded,
        };
        let revoked = event(None, "revoked");
        revoking
            .revoke_version(Scope::Everything, version, revocation, revoked)
            .await
    });
    adding.end_when_waited_for(1).await;
    assert_eq!(revoking.await.unwrap().unwrap(), RevokeOutcome::Revoked);
    assert!(has_key(&store, key_of(&first)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_goes_with_its_last_two_certificates_at_once() {
    let database = Database::postgres();
    let store = database.open().await;
    let (_, first, other) = two(&store, Exportable::Always).await;
    let mut adding = Obstacle::new(&database).await;
    adding.give(key_of(&first), &other).await;
    adding.end_when_waited_for(0).await;
    let mut obstacle = Obstacle::new(&database).await;
    obstacle.stop_everybody().await;
    let deleting =
        [&first, &other].map(|record| tokio::spawn(delete(store.clone(), record.certificate.id)));
    obstacle.end_when_waited_for(2).await;
    for deleted in deleting {
        assert!(deleted.await.unwrap());
    }
    assert!(!has_key(&store, key_of(&first)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_who_delete_a_key_one_has_done_it() {
    let database = Database::postgres();
    let store = database.open().await;
    let (account, first, _) = two(&store, Exportable::Always).await;
    let own = private_key(Exportable::Always);
    let added = event(Some(account), "private_key.created");
    let added = store.add_private_key(account, "own", &own, added);
    added.await.unwrap();
    for key in [key_of(&first), own.id] {
        let before = kinds(&store, account).await.len();
        let mut obstacle = Obstacle::new(&database).await;
        obstacle.stop_everybody().await;
        let deleting = [0; 2].map(|_| tokio::spawn(delete_key(store.clone(), account, key)));
        obstacle.end_when_waited_for(2).await;
        let mut outcomes = Vec::new();
        for deleted in deleting {
            outcomes.push(deleted.await.unwrap().unwrap());
        }
        outcomes.sort_unstable();
        assert_eq!(outcomes, [false, true]);
        let told = &kinds(&store, account).await[before..];
        let expected = ["certificate.deleted", "private_key.deleted"];
        assert_eq!(told, &expected[usize::from(key == own.id)..]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_just_leaving_a_key_does_not_go_with_it() {
    let database = Database::postgres();
    let store = database.open().await;
    let (account, first, _) = two(&store, Exportable::Always).await;
    let elsewhere = private_key(Exportable::Always);
    let added = event(Some(account), "private_key.created");
    let added = store.add_private_key(account, "elsewhere", &elsewhere, added);
    added.await.unwrap();
    let before = kinds(&store, account).await.len();
    let id = first.certificate.id;
    let mut replacing = Obstacle::new(&database).await;
    let certificate = literal(id.as_uuid());
    replacing
        .run(format!(
            "update certificates set attempt = 0 where id = {certificate}"
        ))
        .await;
    replacing.give(elsewhere.id, &first).await;
    let deleting = tokio::spawn(delete_key(store.clone(), account, key_of(&first)));
    replacing.end_when_waited_for(1).await;
    assert!(deleting.await.unwrap().unwrap());
    assert!(!has_key(&store, key_of(&first)).await);
    assert!(find(&store, Scope::Account(account), id).await.is_some());
    let told = &kinds(&store, account).await[before..];
    assert_eq!(told, ["private_key.deleted"]);
}
