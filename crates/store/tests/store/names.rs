//! The search for certificates by the names they cover.

use store::{CertificateId, Covering, Exportable, Scope, State, StateKind, Store};

use crate::support::{
    Database, account, add_certificate_for, event, find, moment, private_key, record,
    record_with_key, renewal, version,
};

on_both_databases!(
    certificates_are_found_by_common_name_and_by_other_names,
    only_usable_certificates_are_found,
    of_certificates_alike_the_one_that_ends_last_is_found,
    a_renewal_replaces_the_names,
    names_go_with_their_certificate,
    a_certificate_may_have_thousands_of_names,
    names_of_older_certificates_are_collected_once,
);

async fn covering(store: &Store, scope: Scope, names: &[&str]) -> Vec<(String, CertificateId)> {
    let found = store.certificates_covering(scope, names).await.unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|found| (found.name, found.certificate_id))
        .collect();
    found.sort();
    found
}

fn sorted<const N: usize>(pairs: [(&str, CertificateId); N]) -> Vec<(String, CertificateId)> {
    let mut pairs = pairs.map(|(name, id)| (name.to_owned(), id)).to_vec();
    pairs.sort();
    pairs
}

async fn certificates_are_found_by_common_name_and_by_other_names(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let scope = Scope::Account(one);
    let first = add_certificate_for(
        &store,
        one,
        "a.example",
        &[
            "b.example",
            "*.c.example",
            "192.0.2.1",
            "2001:db8::1",
            "x@b.example",
            "b.example",
        ],
    )
    .await;
    let second = add_certificate_for(&store, one, "d.example", &["a.example"]).await;
    let theirs = add_certificate_for(&store, other, "a.example", &["b.example"]).await;
    assert_eq!(database.count("certificate_names").await, 4);

    let names = [
        "a.example",
        "b.example",
        "*.c.example",
        "c.example",
        "192.0.2.1",
        "z\0",
    ];
    let expected = sorted([
        ("a.example", first),
        ("a.example", second),
        ("b.example", first),
        ("*.c.example", first),
    ]);
    assert_eq!(covering(&store, scope, &names).await, expected);
    let found = store
        .certificates_covering(scope, &["*.c.example"])
        .await
        .unwrap();
    let expected = Covering {
        name: "*.c.example".to_owned(),
        certificate_id: first,
        common_name: "a.example".to_owned(),
        state: StateKind::Valid,
        not_after: Some(moment(1_000_000)),
        key_algorithm: Some("p256".to_owned()),
    };
    assert_eq!(found, [expected]);
    let found = covering(&store, Scope::Account(other), &names).await;
    assert_eq!(
        found,
        sorted([("a.example", theirs), ("b.example", theirs)])
    );
    assert_eq!(store.certificates_covering(scope, &[]).await.unwrap(), []);

    let asked = [first, theirs, second, CertificateId::random()];
    let found = store.usable_certificates(scope, &asked).await.unwrap();
    let mut found: Vec<_> = found
        .into_iter()
        .map(|found| (found.name, found.certificate_id))
        .collect();
    found.sort();
    let expected = sorted([("a.example", first), ("d.example", second)]);
    assert_eq!(found, expected);
}

async fn only_usable_certificates_are_found(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let add = async |has_key, state: State| {
        let mut added = if has_key {
            record_with_key(account, None, Exportable::Never)
        } else {
            record(account, None)
        };
        added.certificate.common_name = "a.example".to_owned();
        added.certificate.identifiers = vec!["b.example".to_owned()];
        if matches!(state, State::Pending { .. }) {
            (added.version, added.key) = (None, None);
        }
        added.certificate.state = state;
        let id = added.certificate.id;
        store.add_certificate(added).await.unwrap();
        id
    };
    add(false, State::Valid).await;
    add(true, State::Revoked).await;
    let failed = State::Error {
        reason: "no luck".to_owned(),
    };
    add(true, failed).await;
    let erased = add(true, State::Valid).await;
    let current = find(&store, scope, erased).await.unwrap().current.unwrap();
    store
        .erase_private_key(scope, current.private_key_id.unwrap())
        .await
        .unwrap();
    assert_eq!(
        covering(&store, scope, &["a.example", "b.example"]).await,
        []
    );
    let usable = store.usable_certificates(scope, &[erased]).await;
    assert_eq!(usable.unwrap(), []);

    let state = State::Pending {
        attempt: 0,
        next_attempt_at: moment(0),
    };
    let pending = add(false, state).await;
    let valid = add(true, State::Valid).await;
    let found = store
        .certificates_covering(scope, &["b.example"])
        .await
        .unwrap();
    assert_eq!(found.len(), 2, "{found:?}");
    for found in found {
        let (id, not_after) = match found.state {
            StateKind::Pending => (pending, None),
            _ => (valid, Some(moment(1_000_000))),
        };
        assert_eq!((found.certificate_id, found.not_after), (id, not_after));
    }
}

async fn of_certificates_alike_the_one_that_ends_last_is_found(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let mut last = None;
    for end in [300, 900, 600] {
        let mut added = record_with_key(account, None, Exportable::Never);
        added.certificate.common_name = "a.example".to_owned();
        added.version.as_mut().unwrap().not_after = moment(end);
        if end == 900 {
            last = Some(added.certificate.id);
        }
        store.add_certificate(added).await.unwrap();
    }
    let mut another = record_with_key(account, None, Exportable::Never);
    another.certificate.common_name = "a.example".to_owned();
    another.key.as_mut().unwrap().key = pki::PrivateKey::generate(pki::KeyAlgorithm::P384).unwrap();
    let another_id = another.certificate.id;
    store.add_certificate(another).await.unwrap();
    let found = covering(&store, Scope::Account(account), &["a.example"]).await;
    assert_eq!(
        found,
        sorted([("a.example", last.unwrap()), ("a.example", another_id)])
    );
}

async fn a_renewal_replaces_the_names(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let id = add_certificate_for(&store, account, "a.example", &["b.example", "c.example"]).await;
    let key = private_key(Exportable::Never);
    let mut next = version(None);
    next.private_key_id = Some(key.id);
    let names = ["a.example", "c.example", "d.example"].map(ToOwned::to_owned);
    let renewed = renewal(next, &names, Some(key), event(None, "certificate.renewed"));
    store.add_version(scope, id, renewed).await.unwrap();
    let asked = ["a.example", "b.example", "c.example", "d.example"];
    let expected = sorted([("a.example", id), ("c.example", id), ("d.example", id)]);
    assert_eq!(covering(&store, scope, &asked).await, expected);
    assert_eq!(database.count("certificate_names").await, 2);
}

async fn names_go_with_their_certificate(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let id = add_certificate_for(&store, account, "a.example", &["b.example"]).await;
    add_certificate_for(&store, account, "c.example", &["b.example"]).await;
    let removed = event(None, "certificate.deleted");
    assert!(store.delete_certificate(scope, id, removed).await.unwrap());
    assert_eq!(database.count("certificate_names").await, 1);
}

async fn a_certificate_may_have_thousands_of_names(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let names: Vec<String> = (0..12_000)
        .map(|index| format!("{index}.example"))
        .collect();
    let others: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = add_certificate_for(&store, account, "example", &others).await;
    let found = covering(&store, Scope::Account(account), &others).await;
    assert_eq!(found.len(), 12_000);
    assert!(found.iter().all(|(_, found)| *found == id));
}

async fn names_of_older_certificates_are_collected_once(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let others = [
        "b.example",
        "*.example",
        "192.0.2.1",
        "2001:db8::1",
        "x@example",
        "b.example",
        "_1.2",
        "1.2.3",
        "",
        "spiffe://example/a",
    ];
    add_certificate_for(&store, account, "a.example", &others).await;
    add_certificate_for(&store, account, "192.0.2.2", &["a.example"]).await;
    let mut nameless = record(account, None);
    nameless.certificate.identifiers = Vec::new();
    store.add_certificate(nameless).await.unwrap();
    let single = add_certificate_for(&store, account, "single.example", &[]).await;
    let asked = [
        "a.example",
        "b.example",
        "*.example",
        "_1.2",
        "1.2.3",
        "x@example",
        "",
        "single.example",
    ];
    let expected = covering(&store, scope, &asked).await;
    assert!(expected.contains(&("single.example".to_owned(), single)));
    assert_eq!(database.count("certificate_names").await, 4);
    store.close().await;

    // Back to the schema before services.
    database.take_back_to(5).await;
    let store = database.open().await;
    assert_eq!(database.count("certificate_names").await, 4);
    assert_eq!(covering(&store, scope, &asked).await, expected);
}
