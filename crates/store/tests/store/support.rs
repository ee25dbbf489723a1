//! Databases to test with, and rows to put into them.

use std::sync::atomic::{AtomicU64, Ordering};

use pki::{KeyAlgorithm, PrivateKey};
use sqlx::AssertSqlSafe;
use store::{
    AccountId, AccountStatus, AuthorityId, Certificate, CertificateId, CertificateRef, ChallengeId,
    ChallengeRecord, ChallengeState, DirectoryId, DnsProviderId, Error, Exportable,
    ExternalAccount, Installation, Installing, MasterKey, NewAccount, NewAuthority, NewCertificate,
    NewDirectory, NewDirectoryOrder, NewDomain, NewEvent, NewPrivateKey, NewRecord, NewService,
    NewVersion, NewVersionRecord, Origin, PendingChallenge, PrivateKeyId, Role, Scope, ServiceId,
    State, Store, VersionId,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

/// Makes two tests of every function named: one on SQLite, one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&crate::support::Database::sqlite()).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(&crate::support::Database::postgres()).await;
                }
            )*
        }
    };
}

/// The issuer of the versions that tests add.
pub(crate) const ISSUER: &str = "CN=Issuer,O=Somebody";

/// What takes back each migration.
pub(crate) const UNDONE: &[(i64, &str)] = &[
    (6, "drop table services"),
    (7, "drop table domains"),
    (8, "drop table instances"),
    (9, "drop table certificate_names"),
    (10, "drop table ticket_keys"),
    (11, "drop table cursors"),
    (12, "alter table private_keys drop column kept"),
    (
        13,
        "drop table budgets; drop table default_issuers; drop table directories",
    ),
    (14, "drop table orders"),
    (15, "drop table challenges; drop table dns_providers"),
    (
        16,
        "drop index certificates_next_action; create index certificates_next_action \
         on certificates (next_action_at) where next_action_at is not null; \
         drop index certificates_ending; alter table versions drop column directory_id; \
         alter table certificates drop column renew_at",
    ),
    (17, "drop table deliveries; drop table webhooks"),
    (18, "drop table expiry_places"),
    (
        19,
        "drop table revocations; alter table orders drop column supersedes",
    ),
    (20, "drop table inbound_proofs; drop table inbound_orders"),
    (21, "drop table preauthorizations; drop table switches"),
    (
        22,
        "alter table ca_certificates drop column last_list; \
         alter table ca_certificates drop column superiors; \
         alter table ca_certificates drop column key_place; \
         alter table authorities drop column warned_at; \
         alter table authorities drop column changes; \
         alter table authorities drop column next_key_id; \
         alter table authorities drop column issuing_id; \
         alter table authorities drop column root_id",
    ),
    (
        23,
        "alter table ca_certificates drop column responders; drop index versions_revoked; \
         create index versions_revoked on versions \
         (authority_id, id, not_after, revoked_at, revocation_reason, serial) \
         where revoked_at is not null; alter table versions drop column crl_shard; \
         alter table authorities add column revocations bigint not null default 0; \
         update authorities set revocations = (select s.revocations from crl_shards s \
         where s.authority_id = authorities.id and s.shard = 0); drop table crl_shards",
    ),
    (24, "drop table audit_links"),
    (25, "drop table policies"),
    (
        26,
        "drop index versions_private_key; drop table certificate_labels; \
         drop table private_key_labels; drop table numbers",
    ),
    (
        27,
        "drop table installations; alter table services drop column environment",
    ),
    (28, "drop table grants; drop table registered_clients"),
    (29, "drop table placements; drop table targets"),
    (
        30,
        "drop index dns_providers_dns_account; alter table dns_providers drop column \
         dns_account_id; drop table dns_accounts",
    ),
    (31, "drop table removals"),
    (
        32,
        "drop index private_key_labels_named; create unique index certificate_labels_name \
         on certificate_labels (name, private_key_id) where name is not null",
    ),
    (33, "alter table grants drop column given_with"),
    (
        34,
        "drop index dns_providers_made; drop index dns_providers_zone; \
         create unique index dns_providers_zone on dns_providers (account_id, zone) \
         where account_id is not null",
    ),
    (
        35,
        "drop index versions_revoked; create index versions_revoked on versions \
         (authority_id, crl_shard, id, not_after, revoked_at, revocation_reason, serial) \
         where revoked_at is not null",
    ),
    (
        36,
        "drop index targets_directory; alter table targets drop column overfull; \
         alter table targets drop column directory_id",
    ),
    (37, "alter table services drop column revision"),
];

/// A fresh database.
pub(crate) struct Database {
    pub(crate) url: String,
    directory: Option<TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            url: format!("sqlite:{}", directory.path().join("chancery.db").display()),
            directory: Some(directory),
        }
    }

    pub(crate) fn postgres() -> Self {
        Self {
            url: testbed::Postgres::shared().create_database(),
            directory: None,
        }
    }

    pub(crate) fn is_sqlite(&self) -> bool {
        self.directory.is_some()
    }

    pub(crate) async fn open(&self) -> Store {
        self.open_with(&master_key(1)).await.unwrap()
    }

    pub(crate) async fn open_with(&self, key: &MasterKey) -> Result<Store, Error> {
        Store::open(&self.url.parse().unwrap(), key).await
    }

    /// Runs SQL behind the store's back.
    pub(crate) async fn tamper(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        if self.is_sqlite() {
            let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
            pool.close().await;
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
            pool.close().await;
        }
    }

    /// Gives the database the schema of this version, an earlier one than it has.
    pub(crate) async fn take_back_to(&self, version: i64) {
        let later = UNDONE.iter().rev().filter(|(later, _)| *later > version);
        for (_, undo) in later {
            self.tamper(undo).await;
        }
        self.tamper(&format!(
            "delete from schema_migrations where version > {version}"
        ))
        .await;
    }

    /// Isolates transactions of connections to come as CockroachDB does; PostgreSQL only.
    pub(crate) async fn make_serializable(&self) {
        let name = self.url.rsplit('/').next().unwrap();
        let isolate = "set default_transaction_isolation to serializable";
        self.tamper(&format!("alter database {name} {isolate}"))
            .await;
    }

    /// How many rows a table has, seen from behind the store's back.
    pub(crate) async fn count(&self, table: &str) -> i64 {
        let sql = AssertSqlSafe(format!("select count(*) from {table}"));
        if self.is_sqlite() {
            let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
        } else {
            let pool = sqlx::PgPool::connect(&self.url).await.unwrap();
            sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
        }
    }
}

pub(crate) fn master_key(byte: u8) -> MasterKey {
    MasterKey::from_bytes(&[byte; 32]).unwrap()
}

/// A moment, in whole seconds after the beginning of the tests' world.
pub(crate) fn moment(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::seconds(seconds)
}

/// A number that no other row of this test process has.
pub(crate) fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn event(account: Option<AccountId>, kind: &'static str) -> NewEvent {
    NewEvent {
        at: moment(0),
        account_id: account,
        actor: "a test".to_owned(),
        kind,
        object: None,
        detail: String::new(),
    }
}

pub(crate) async fn account(store: &Store) -> AccountId {
    let id = AccountId::random();
    let account = NewAccount {
        id,
        name: format!("account-{}", unique()),
        role: Role::User,
        status: AccountStatus::default(),
        created_at: moment(0),
    };
    store
        .create_account(account, event(Some(id), "account.created"))
        .await
        .unwrap();
    id
}

pub(crate) async fn authority(store: &Store) -> AuthorityId {
    let id = AuthorityId::random();
    let authority = NewAuthority {
        id,
        name: format!("authority-{}", unique()),
        created_at: moment(0),
        ca_certificates: Vec::new(),
        event: event(None, "authority.created"),
    };
    store.create_authority(authority).await.unwrap();
    id
}

pub(crate) fn version(authority: Option<AuthorityId>) -> NewVersion {
    let number = unique();
    NewVersion {
        crl_shard: 0,
        id: VersionId::at(moment(0)),
        authority_id: authority,
        directory_id: None,
        serial: [&[1; 8], number.to_be_bytes().as_slice()].concat(),
        subject: format!("CN=name-{number}"),
        issuer: ISSUER.to_owned(),
        not_before: moment(0),
        not_after: moment(1_000_000),
        leaf: vec![0x30, 3, 1, 2, 3],
        intermediates: vec![vec![0x30, 2, 7, 8], vec![0x30, 1, 9]],
        private_key_id: None,
        created_at: moment(0),
    }
}

pub(crate) fn private_key(exportable: Exportable) -> NewPrivateKey {
    NewPrivateKey {
        id: PrivateKeyId::at(moment(0)),
        key: PrivateKey::generate(KeyAlgorithm::P256).unwrap(),
        exportable,
    }
}

/// A version that replaces the current one of a certificate.
pub(crate) fn renewal(
    version: NewVersion,
    identifiers: &[String],
    key: Option<NewPrivateKey>,
    event: NewEvent,
) -> NewVersionRecord {
    NewVersionRecord {
        version,
        key,
        identifiers: identifiers.to_vec(),
        renew_at: None,
        next_action_at: None,
        becomes: None,
        event,
    }
}

/// A valid certificate with a version of that authority and no key.
pub(crate) fn record(account: AccountId, authority: Option<AuthorityId>) -> NewRecord {
    let number = unique();
    let id = CertificateId::random();
    NewRecord {
        certificate: NewCertificate {
            id,
            account_id: account,
            name: format!("certificate-{number}"),
            common_name: format!("{number}.example.com"),
            identifiers: vec![format!("{number}.example.com"), "192.0.2.1".to_owned()],
            origin: Origin::Issued,
            state: State::Valid,
            issuer: Some("default".to_owned()),
            created_at: moment(0),
        },
        version: Some(version(authority)),
        key: None,
        event: NewEvent {
            object: Some(id.as_uuid()),
            ..event(Some(account), "certificate.added")
        },
    }
}

/// The same with a key.
pub(crate) fn record_with_key(
    account: AccountId,
    authority: Option<AuthorityId>,
    exportable: Exportable,
) -> NewRecord {
    let mut record = record(account, authority);
    let key = private_key(exportable);
    record.version.as_mut().unwrap().private_key_id = Some(key.id);
    record.key = Some(key);
    record
}

/// A certificate that is to be obtained, after two attempts that failed.
pub(crate) fn pending(account: AccountId, due: i64) -> NewRecord {
    let mut pending = record(account, None);
    pending.version = None;
    pending.certificate.state = State::Pending {
        attempt: 2,
        next_attempt_at: moment(due),
    };
    pending
}

/// Adds one.
pub(crate) async fn request(store: &Store, account: AccountId, due: i64) -> CertificateId {
    let pending = pending(account, due);
    let id = pending.certificate.id;
    store.add_certificate(pending).await.unwrap();
    id
}

/// Adds one and claims it until 50.
pub(crate) async fn claimed(store: &Store, account: AccountId) -> CertificateId {
    let id = request(store, account, 10).await;
    let claimed = store
        .claim_due(moment(10), moment(50), 1_000, store::Claimable::default())
        .await;
    assert!(claimed.unwrap().iter().any(|claimed| claimed.id == id));
    id
}

/// An ACME directory of that account, or a shared one.
pub(crate) fn directory(owner: Option<AccountId>, name: &str) -> NewDirectory {
    NewDirectory {
        id: DirectoryId::random(),
        account_id: owner,
        name: name.to_owned(),
        rank: 5,
        url: "https://acme.example/directory".to_owned(),
        contact: Some("pki@example.com".to_owned()),
        roots: Some("a certificate".to_owned()),
        account_url: None,
        account_key: b"the account key".to_vec().into(),
        external_account: Some(ExternalAccount {
            key_id: "kid-1".to_owned(),
            key: b"the external key".to_vec().into(),
        }),
        profile: Some("shortlived".to_owned()),
        preferred_chain: Some("Root X1".to_owned()),
        limits: Some("{}".to_owned()),
        is_trusted: true,
        created_at: moment(4),
    }
}

/// Adds one.
pub(crate) async fn add_directory(
    store: &Store,
    owner: Option<AccountId>,
    name: &str,
) -> DirectoryId {
    let directory = directory(owner, name);
    let id = directory.id;
    let added = store.add_directory(directory, event(owner, "issuer.added"));
    added.await.unwrap();
    id
}

/// An order for a certificate.
pub(crate) fn order(
    account: AccountId,
    certificate: CertificateId,
    directory: DirectoryId,
) -> NewDirectoryOrder {
    NewDirectoryOrder {
        certificate_id: certificate,
        account_id: account,
        directory_id: directory,
        identifiers: vec!["a.example".to_owned(), "*.a.example".to_owned()],
        profile: Some("shortlived".to_owned()),
        replaces: Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE".to_owned()),
        supersedes: false,
        key: PrivateKey::generate(KeyAlgorithm::P256).unwrap(),
        challenge: Some("dns-01".to_owned()),
        created_at: moment(11),
    }
}

/// A challenge for a certificate, with a record to be withdrawn or without.
pub(crate) fn challenge(
    account: AccountId,
    certificate: CertificateId,
    kind: &str,
    record: Option<ChallengeRecord>,
) -> PendingChallenge {
    let number = unique();
    PendingChallenge {
        id: ChallengeId::at(moment(12)),
        certificate_id: certificate,
        account_id: account,
        name: "a.example".to_owned(),
        kind: kind.to_owned(),
        state: ChallengeState::Prepared,
        token: format!("token-{number}"),
        key_authorization: format!("token-{number}.thumbprint"),
        record,
        created_at: moment(12),
        expires_at: moment(1_000),
    }
}

/// What is published for a challenge.
pub(crate) fn txt_record() -> ChallengeRecord {
    ChallengeRecord {
        provider_id: DnsProviderId::random(),
        zone: "example".to_owned(),
        name: "_acme-challenge.a.example".to_owned(),
        value: format!("digest-{}", unique()),
    }
}

/// A service without ports and limits of its own.
pub(crate) fn service(account: AccountId) -> NewService {
    NewService {
        id: ServiceId::random(),
        account_id: account,
        name: format!("service-{}", unique()),
        ports: Vec::new(),
        soft_limit: 1,
        hard_limit: 65_535,
        autokill: None,
        is_persistent: true,
        environment: store::DEFAULT_ENVIRONMENT.to_owned(),
        created_at: moment(0),
    }
}

/// A domain that is served with that certificate.
pub(crate) fn domain(name: &str, certificate: Option<CertificateId>) -> NewDomain {
    NewDomain {
        name: name.to_owned(),
        certificate_id: certificate,
        alternate_id: None,
        is_explicit: false,
    }
}

/// Makes a service with these domains, served without certificates.
pub(crate) async fn add_service(store: &Store, account: AccountId, domains: &[&str]) -> ServiceId {
    let service = service(account);
    let id = service.id;
    let domains = domains.iter().map(|name| domain(name, None)).collect();
    store
        .create_service(service, domains, Vec::new())
        .await
        .unwrap();
    id
}

/// Adds a valid certificate with a key for that common name and those other names.
pub(crate) async fn add_certificate_for(
    store: &Store,
    account: AccountId,
    common_name: &str,
    others: &[&str],
) -> CertificateId {
    let mut record = record_with_key(account, None, Exportable::Never);
    let id = record.certificate.id;
    record.certificate.common_name = common_name.to_owned();
    record.certificate.identifiers = [common_name]
        .iter()
        .chain(others)
        .map(ToString::to_string)
        .collect();
    store.add_certificate(record).await.unwrap();
    id
}

/// The kinds of the events of an account, oldest first.
pub(crate) async fn kinds(store: &Store, account: AccountId) -> Vec<String> {
    let events = store.events_after(Scope::Account(account), None, 1_000);
    let events = events.await.unwrap();
    events.into_iter().map(|event| event.kind).collect()
}

/// All domains of a service, by name, in their order.
pub(crate) async fn domain_names(store: &Store, service: ServiceId) -> Vec<String> {
    let domains = store.domains_of_services(&[service]).await.unwrap();
    domains.into_iter().map(|domain| domain.name).collect()
}

pub(crate) async fn find(store: &Store, scope: Scope, id: CertificateId) -> Option<Certificate> {
    store
        .certificate(scope, &CertificateRef::Id(id))
        .await
        .unwrap()
}

/// Writes an installation on what is there now.
pub(crate) async fn install(store: &Store, installation: &Installation) -> Result<(), Error> {
    let scope = Scope::Account(installation.account_id);
    let revision = store.installations_revision(scope, installation.service_id);
    let revision = revision.await?.unwrap_or_default();
    let installing = Installing::of(installation.clone(), revision);
    store.install(installing).await
}
