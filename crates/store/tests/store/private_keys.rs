//! Private keys at rest.

use store::{Error, Exportable, NewRecord, PrivateKeyId, Scope, SealError, Store};

use crate::support::{Database, account, master_key, moment, record_with_key};

on_both_databases!(
    a_key_comes_back_as_it_was,
    another_master_key_does_not_open_it,
    a_ciphertext_moved_to_another_row_does_not_open,
    a_damaged_ciphertext_does_not_open,
    an_erased_key_is_gone,
    keys_are_erased_when_their_time_is_over,
    many_keys_are_erased_in_portions,
);

async fn add(store: &Store, exportable: Exportable) -> NewRecord {
    let account = account(store).await;
    let record = record_with_key(account, None, exportable);
    store.add_certificate(record.clone()).await.unwrap();
    record
}

fn key_of(record: &NewRecord) -> PrivateKeyId {
    record.key.as_ref().unwrap().id
}

/// The identifier as both databases write it in SQL.
fn literal(database: &Database, id: PrivateKeyId) -> String {
    let hex = id.as_uuid().simple().to_string();
    if database.is_sqlite() {
        format!("x'{hex}'")
    } else {
        format!("'\\x{hex}'::bytea")
    }
}

async fn a_key_comes_back_as_it_was(database: &Database) {
    let store = database.open().await;
    for exportable in [
        Exportable::Always,
        Exportable::Never,
        Exportable::Until(moment(8)),
    ] {
        let record = add(&store, exportable).await;
        let stored = record.key.as_ref().unwrap();
        let scope = Scope::Account(record.certificate.account_id);
        let opened = store.private_key(scope, stored.id).await.unwrap().unwrap();
        assert_eq!(opened.key.to_pkcs8_der(), stored.key.to_pkcs8_der());
        assert_eq!(opened.exportable, exportable);
        assert_eq!(opened.account_id, Some(record.certificate.account_id));
        assert_eq!(opened.created_at, record.event.at);
        let shown = format!("{opened:?} {stored:?}");
        assert!(!shown.contains("sealed") && shown.len() < 400, "{shown}");
    }
}

async fn another_master_key_does_not_open_it(database: &Database) {
    let store = database.open().await;
    let record = add(&store, Exportable::Never).await;
    store.close().await;
    let store = database.open_with(&master_key(2)).await.unwrap();
    let error = store
        .private_key(Scope::Everything, key_of(&record))
        .await
        .unwrap_err();
    let Error::Seal(SealError::WrongMasterKey { sealed_under, have }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(sealed_under, master_key(1).id());
    assert_eq!(have, master_key(2).id());
}

async fn a_ciphertext_moved_to_another_row_does_not_open(database: &Database) {
    let store = database.open().await;
    let (one, other) = (
        add(&store, Exportable::Always).await,
        add(&store, Exportable::Always).await,
    );
    let (to, from) = (
        literal(database, key_of(&one)),
        literal(database, key_of(&other)),
    );
    database
        .tamper(&format!(
            "update private_keys set sealed = (select sealed from private_keys where id = {from}) \
             where id = {to}"
        ))
        .await;
    let error = store
        .private_key(Scope::Everything, key_of(&one))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::Corrupt)),
        "{error:?}"
    );
    assert!(
        store
            .private_key(Scope::Everything, key_of(&other))
            .await
            .unwrap()
            .is_some()
    );
}

async fn a_damaged_ciphertext_does_not_open(database: &Database) {
    let store = database.open().await;
    let record = add(&store, Exportable::Always).await;
    let empty = if database.is_sqlite() {
        "x''"
    } else {
        "''::bytea"
    };
    database
        .tamper(&format!("update private_keys set sealed = {empty}"))
        .await;
    let error = store
        .private_key(Scope::Everything, key_of(&record))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Seal(SealError::Corrupt)),
        "{error:?}"
    );
}

async fn an_erased_key_is_gone(database: &Database) {
    let store = database.open().await;
    let record = add(&store, Exportable::Always).await;
    let scope = Scope::Account(record.certificate.account_id);
    assert!(
        store
            .erase_private_key(scope, key_of(&record))
            .await
            .unwrap()
    );
    assert!(
        !store
            .erase_private_key(scope, key_of(&record))
            .await
            .unwrap()
    );
    assert!(
        store
            .private_key(scope, key_of(&record))
            .await
            .unwrap()
            .is_none()
    );
}

async fn keys_are_erased_when_their_time_is_over(database: &Database) {
    let store = database.open().await;
    let over = add(&store, Exportable::Until(moment(10))).await;
    let not_yet = add(&store, Exportable::Until(moment(11))).await;
    let always = add(&store, Exportable::Always).await;
    let never = add(&store, Exportable::Never).await;
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        1
    );
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        0
    );
    for (record, kept) in [
        (over, false),
        (not_yet, true),
        (always, true),
        (never, true),
    ] {
        let found = store
            .private_key(Scope::Everything, key_of(&record))
            .await
            .unwrap();
        assert_eq!(found.is_some(), kept);
    }
}

async fn many_keys_are_erased_in_portions(database: &Database) {
    let store = database.open().await;
    let record = add(&store, Exportable::Until(moment(10))).await;
    let original = literal(database, key_of(&record));
    // Copies of one row under made-up identifiers: nobody is going to open them.
    let (series, id) = if database.is_sqlite() {
        (
            "(with recursive series (n) as (select 1 union all select n + 1 from series where n < 2500) select n from series)",
            "randomblob(16)",
        )
    } else {
        ("generate_series(1, 2500)", "uuid_send(gen_random_uuid())")
    };
    database
        .tamper(&format!(
            "insert into private_keys (id, account_id, fingerprint, algorithm, sealed, exportable, \
             exportable_until, created_at) select {id}, account_id, fingerprint, algorithm, sealed, \
             exportable, exportable_until, created_at from private_keys, {series} as copies \
             where private_keys.id = {original}"
        ))
        .await;
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        2501
    );
    assert_eq!(database.count("private_keys").await, 0);
}

#[tokio::test]
async fn a_key_is_not_in_the_database_file_in_the_clear() {
    let database = Database::sqlite();
    let store = database.open().await;
    let record = add(&store, Exportable::Always).await;
    store.close().await;
    let path = database.url.strip_prefix("sqlite:").unwrap();
    let secret = record.key.unwrap().key.to_pkcs8_der();
    let mut files = std::fs::read(path).unwrap();
    files.extend(std::fs::read(format!("{path}-wal")).unwrap_or_default());
    // The private scalar is in the first half of the encoding; the public key at the end is public.
    let needle = &secret[36..60];
    assert!(
        files.windows(7).any(|window| window == b"example"),
        "the file is the right one"
    );
    assert!(!files.windows(needle.len()).any(|window| window == needle));
}
