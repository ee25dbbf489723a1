//! Numbers, names and subjects of private keys and certificates.

use pki::{Revocation, RevocationReason};
use store::{
    AccountId, CertificateId, CertificateLabel, Error, Exportable, Installation,
    LabelledCertificate, LabelledKey, NewRecord, Origin, PAGE_LIMIT, PrivateKeyId, Remade, Scope,
    Store,
};

use crate::support::{
    Database, account, add_service, authority, event, find, install, kinds, moment, private_key,
    record, record_with_key, renewal, unique, version,
};

on_both_databases!(
    keys_and_certificates_get_their_numbers_when_somebody_asks,
    numbers_are_never_given_again,
    many_at_once_are_numbered_once,
    lists_go_on_after_a_number,
    nothing_of_another_account_has_a_number_here,
    a_key_on_its_own_stays_when_its_certificates_go,
    a_key_that_came_with_a_certificate_stays_while_another_has_it,
    a_key_goes_with_its_certificates,
    a_key_whose_certificate_is_in_use_stays_with_all_of_them,
    a_key_whose_certificate_is_installed_stays_with_all_of_them,
    a_certificate_is_deleted_under_its_key_only,
    names_are_unique_where_they_have_to_be,
    no_two_listed_keys_have_one_name,
    a_name_is_free_when_its_certificate_has_left_the_key,
    a_certificate_under_a_key_needs_that_key,
    a_key_that_was_to_be_erased_is_kept_for_what_is_added_under_it,
    a_revocation_leaves_the_key_to_others,
    a_certificate_becomes_one_that_nobody_renews,
    the_keys_of_an_account_go_with_it,
    what_signs_itself_is_not_found_for_a_domain,
);

async fn add(store: &Store, account: AccountId) -> NewRecord {
    let record = record_with_key(account, None, Exportable::Never);
    store.add_certificate(record.clone()).await.unwrap();
    record
}

fn key_of(record: &NewRecord) -> PrivateKeyId {
    record.key.as_ref().unwrap().id
}

async fn keys(store: &Store, scope: Scope) -> Vec<LabelledKey> {
    store.label_private_keys(scope).await.unwrap();
    store.labelled_keys(scope, 0, 100).await.unwrap()
}

async fn certificates(store: &Store, scope: Scope) -> Vec<LabelledCertificate> {
    store.label_private_keys(scope).await.unwrap();
    store.label_certificates(scope, None).await.unwrap();
    store
        .labelled_certificates(scope, None, 0, 100)
        .await
        .unwrap()
}

async fn add_key(store: &Store, account: AccountId, name: &str) -> (u64, PrivateKeyId) {
    let key = private_key(Exportable::Always);
    let added = event(Some(account), "private_key.created");
    let number = store.add_private_key(account, name, &key, added).await;
    (number.unwrap(), key.id)
}

/// A certificate that is to be added under a key.
fn under(account: AccountId, key: PrivateKeyId, name: &str) -> (NewRecord, CertificateLabel) {
    let mut record = record(account, None);
    record.version.as_mut().unwrap().private_key_id = Some(key);
    record.certificate.origin = Origin::Uploaded;
    record.certificate.issuer = None;
    let label = CertificateLabel {
        name: name.to_owned(),
        common_name: "Some Text".to_owned(),
        organization_name: "O".to_owned(),
        organization_unit: "OU".to_owned(),
        locality: "L".to_owned(),
        state_province: "ST".to_owned(),
        country_code: "DE".to_owned(),
        email: "a@b.test".to_owned(),
    };
    (record, label)
}

async fn add_under(
    store: &Store,
    account: AccountId,
    key: PrivateKeyId,
    name: &str,
) -> (u64, CertificateId) {
    let (record, label) = under(account, key, name);
    let id = record.certificate.id;
    let number = store.add_certificate_under(key, &label, record).await;
    (number.unwrap(), id)
}

async fn has_key(store: &Store, key: PrivateKeyId) -> bool {
    let found = store.private_key(Scope::Everything, key).await.unwrap();
    found.is_some()
}

async fn delete_key(store: &Store, scope: Scope, key: PrivateKeyId) -> Result<bool, Error> {
    store
        .delete_private_key(
            scope,
            key,
            event(None, "private_key.deleted"),
            event(None, "certificate.deleted"),
        )
        .await
}

async fn keys_and_certificates_get_their_numbers_when_somebody_asks(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (first, second) = (add(&store, account).await, add(&store, account).await);
    // Without a key there is nothing to be known by.
    store.add_certificate(record(account, None)).await.unwrap();
    assert_eq!(store.labelled_keys(scope, 0, 100).await.unwrap(), []);

    let known = keys(&store, scope).await;
    let mut expected: Vec<_> = [&first, &second]
        .map(|record| (key_of(record), record.certificate.name.clone()))
        .into();
    expected.sort_by_key(|(id, _)| known.iter().position(|key| key.id == *id));
    let shown: Vec<_> = known.iter().map(|key| (key.id, key.name.clone())).collect();
    assert_eq!(shown, expected);
    assert!(known[0].number >= 1 && known[0].number < known[1].number);
    assert_eq!(keys(&store, scope).await, known, "asked again");
    let one = store.labelled_key(scope, known[1].number).await.unwrap();
    assert_eq!(one.as_ref(), Some(&known[1]));

    let listed = certificates(&store, scope).await;
    assert_eq!(listed.len(), 2);
    for found in &listed {
        let key = found.certificate.current.as_ref().unwrap().private_key_id;
        let key = known.iter().find(|known| Some(known.id) == key).unwrap();
        assert_eq!((found.key_number, &found.label), (key.number, &None));
        let one = store.labelled_certificate(scope, key.id, found.number);
        assert_eq!(one.await.unwrap().as_ref(), Some(found));
        let of_key = store.labelled_certificates(scope, Some(key.id), 0, 100);
        assert_eq!(&of_key.await.unwrap(), std::slice::from_ref(found));
    }
    // A renewal brings another key, and that another number; the certificate keeps its own.
    let id = first.certificate.id;
    let key = private_key(Exportable::Never);
    let mut next = version(None);
    next.private_key_id = Some(key.id);
    let key_id = key.id;
    let next = renewal(next, &[], Some(key), event(Some(account), "renewed"));
    store.add_version(scope, id, next).await.unwrap();
    let later = keys(&store, scope).await;
    assert_eq!(later.len(), 2);
    assert_eq!(
        (later[1].id, &later[1].name),
        (key_id, &first.certificate.name)
    );
    let number = |listed: &[LabelledCertificate]| {
        let found = listed.iter().find(|found| found.certificate.id == id);
        found.map(|found| (found.number, found.key_number)).unwrap()
    };
    let again = certificates(&store, scope).await;
    assert_eq!(number(&again), (number(&listed).0, later[1].number));
}

async fn numbers_are_never_given_again(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (number, key) = add_key(&store, account, "k").await;
    let (certificate, _) = add_under(&store, account, key, "c").await;
    assert!(delete_key(&store, scope, key).await.unwrap());
    store.close().await;
    let store = database.open().await;
    let (next, key) = add_key(&store, account, "k").await;
    assert!(next > number);
    assert!(add_under(&store, account, key, "c").await.0 > certificate);
}

async fn many_at_once_are_numbered_once(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    for _ in 0..20 {
        add(&store, account).await;
    }
    let other = database.open().await;
    let numbering = |store: &Store| {
        let store = store.clone();
        tokio::spawn(async move {
            store.label_private_keys(scope).await.unwrap();
            store.label_certificates(scope, None).await.unwrap();
        })
    };
    for task in [&store, &other, &store, &other].map(numbering) {
        task.await.unwrap();
    }
    let (keys, certificates) = (keys(&store, scope).await, certificates(&store, scope).await);
    assert_eq!((keys.len(), certificates.len()), (20, 20));
    assert!(keys.is_sorted_by(|one, next| one.number < next.number));
    assert!(certificates.is_sorted_by(|one, next| one.number < next.number));
}

async fn lists_go_on_after_a_number(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    for number in 0..5 {
        let (_, key) = add_key(&store, account, &format!("k{number}")).await;
        add_under(&store, account, key, "c").await;
    }
    let all = keys(&store, scope).await;
    let page = store.labelled_keys(scope, all[1].number, 2).await.unwrap();
    assert_eq!(page, all[2..4]);
    let all = certificates(&store, scope).await;
    let page = store.labelled_certificates(scope, None, all[2].number, PAGE_LIMIT + 1);
    assert_eq!(page.await.unwrap(), all[3..]);
}

async fn nothing_of_another_account_has_a_number_here(database: &Database) {
    let store = database.open().await;
    let (owner, other) = (account(&store).await, account(&store).await);
    let scope = Scope::Account(other);
    let (number, key) = add_key(&store, owner, "k").await;
    let (certificate, id) = add_under(&store, owner, key, "c").await;
    assert_eq!(keys(&store, scope).await, []);
    assert_eq!(certificates(&store, scope).await, []);
    assert_eq!(store.labelled_key(scope, number).await.unwrap(), None);
    let found = store.labelled_certificate(scope, key, certificate).await;
    assert_eq!(found.unwrap(), None);
    assert!(!delete_key(&store, scope, key).await.unwrap());
    let (record, label) = under(other, key, "mine");
    let refused = store.add_certificate_under(key, &label, record).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    assert!(has_key(&store, key).await);
    assert!(find(&store, Scope::Account(owner), id).await.is_some());
}

async fn a_key_on_its_own_stays_when_its_certificates_go(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (number, key) = add_key(&store, account, "k").await;
    let (_, one) = add_under(&store, account, key, "one").await;
    let (_, other) = add_under(&store, account, key, "other").await;
    for id in [one, other] {
        let deleted = event(Some(account), "certificate.deleted");
        assert!(store.delete_certificate(scope, id, deleted).await.unwrap());
        assert!(has_key(&store, key).await);
    }
    let known = keys(&store, scope).await;
    assert_eq!(known.len(), 1);
    assert_eq!((known[0].number, known[0].id), (number, key));
    assert_eq!(certificates(&store, scope).await, []);
}

async fn a_key_that_came_with_a_certificate_stays_while_another_has_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let first = add(&store, account).await;
    let key = key_of(&first);
    let (_, other) = add_under(&store, account, key, "other").await;
    for (id, is_left) in [(first.certificate.id, true), (other, false)] {
        let deleted = event(Some(account), "certificate.deleted");
        assert!(store.delete_certificate(scope, id, deleted).await.unwrap());
        assert_eq!(has_key(&store, key).await, is_left);
    }
    assert_eq!(keys(&store, scope).await, []);
}

async fn a_key_goes_with_its_certificates(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (_, own) = add_key(&store, account, "own").await;
    let (_, one) = add_under(&store, account, own, "one").await;
    let (_, other) = add_under(&store, account, own, "other").await;
    let came_along = add(&store, account).await;
    let before = kinds(&store, account).await.len();
    let mut of_key = event(Some(account), "private_key.deleted");
    of_key.object = Some(own.as_uuid());
    let of_certificate = event(Some(account), "certificate.deleted");
    let deleted = store.delete_private_key(scope, own, of_key, of_certificate);
    assert!(deleted.await.unwrap());
    assert!(!has_key(&store, own).await);
    assert!(find(&store, scope, one).await.is_none());
    assert!(find(&store, scope, other).await.is_none());
    let told = &kinds(&store, account).await[before..];
    let certificate = "certificate.deleted";
    assert_eq!(told, [certificate, certificate, "private_key.deleted"]);
    assert_eq!(keys(&store, scope).await.len(), 1);

    assert!(
        delete_key(&store, scope, key_of(&came_along))
            .await
            .unwrap()
    );
    assert!(
        find(&store, scope, came_along.certificate.id)
            .await
            .is_none()
    );
    assert_eq!(keys(&store, scope).await, []);
    assert!(!delete_key(&store, scope, own).await.unwrap(), "again");
}

async fn a_key_whose_certificate_is_in_use_stays_with_all_of_them(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (_, key) = add_key(&store, account, "k").await;
    let (_, free) = add_under(&store, account, key, "free").await;
    let (_, used) = add_under(&store, account, key, "used").await;
    let domain = format!("a{}.example", unique());
    add_service(&store, account, &[&domain]).await;
    let attachment = store::Attachment {
        domain,
        from: None,
        certificate_id: Some(used),
        alternate_id: None,
        is_explicit: true,
    };
    let attached = store.attach(vec![attachment], event(None, "domain.switched"));
    assert_eq!(attached.await.unwrap(), 1);
    let before = kinds(&store, account).await;
    let refused = delete_key(&store, scope, key).await;
    assert!(matches!(refused, Err(Error::Attached)), "{refused:?}");
    assert!(has_key(&store, key).await);
    for id in [free, used] {
        assert!(find(&store, scope, id).await.is_some());
    }
    assert_eq!(kinds(&store, account).await, before);
}

async fn a_key_whose_certificate_is_installed_stays_with_all_of_them(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (_, key) = add_key(&store, account, "k").await;
    let (_, free) = add_under(&store, account, key, "free").await;
    let (_, installed) = add_under(&store, account, key, "installed").await;
    let service = add_service(&store, account, &[]).await;
    let installation = Installation {
        service_id: service,
        certificate_id: installed,
        account_id: account,
        server_names: Vec::new(),
        domains: Vec::new(),
        wildcard: false,
        dns_provider_id: None,
        ssl_termination: true,
        created_at: moment(1),
        updated_at: moment(1),
    };
    install(&store, &installation).await.unwrap();
    let before = kinds(&store, account).await;
    let refused = delete_key(&store, scope, key).await;
    assert!(matches!(refused, Err(Error::Attached)), "{refused:?}");
    let deleted = || event(Some(account), "certificate.deleted");
    let refused = store.delete_certificate_under(scope, key, installed, deleted());
    let refused = refused.await;
    assert!(matches!(refused, Err(Error::Attached)), "{refused:?}");
    for id in [free, installed] {
        assert!(find(&store, scope, id).await.is_some());
    }
    assert_eq!(store.installations(scope, service).await.unwrap().len(), 1);
    assert_eq!(kinds(&store, account).await, before);
    // Whoever takes it off the service takes the certificate, too.
    let taken = store.delete_certificate(scope, installed, deleted()).await;
    assert!(taken.unwrap());
    assert!(delete_key(&store, scope, key).await.unwrap());
    assert!(find(&store, scope, free).await.is_none());
}

async fn a_certificate_is_deleted_under_its_key_only(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (_, key) = add_key(&store, account, "k").await;
    let (_, other) = add_key(&store, account, "other").await;
    let (_, id) = add_under(&store, account, key, "c").await;
    let (_, neighbour) = add_under(&store, account, key, "d").await;
    for (under, is_there) in [(other, false), (key, true), (key, false)] {
        let deleted = event(Some(account), "certificate.deleted");
        let deleted = store.delete_certificate_under(scope, under, id, deleted);
        assert_eq!(deleted.await.unwrap(), is_there);
    }
    assert!(find(&store, scope, neighbour).await.is_some());
    let told = kinds(&store, account).await;
    let told = told.iter().filter(|kind| *kind == "certificate.deleted");
    assert_eq!(told.count(), 1);
}

async fn names_are_unique_where_they_have_to_be(database: &Database) {
    let store = database.open().await;
    let (one, other) = (account(&store).await, account(&store).await);
    let came_along = add(&store, one).await;
    let taken_by_certificate = came_along.certificate.name.clone();
    keys(&store, Scope::Account(one)).await;
    let (_, first) = add_key(&store, one, "k").await;
    let (_, second) = add_key(&store, one, "l").await;
    add_key(&store, other, "k").await;
    for name in ["k", &taken_by_certificate] {
        let key = private_key(Exportable::Always);
        let refused = store.add_private_key(one, name, &key, event(None, "x"));
        let refused = refused.await;
        assert!(matches!(refused, Err(Error::DuplicateName)), "{refused:?}");
        assert!(!has_key(&store, key.id).await);
    }
    add_under(&store, one, first, "c").await;
    add_under(&store, one, second, "c").await;
    let came = key_of(&came_along);
    for (key, name) in [(first, "c"), (came, taken_by_certificate.as_str())] {
        let (record, label) = under(one, key, name);
        let refused = store.add_certificate_under(key, &label, record).await;
        assert!(matches!(refused, Err(Error::Duplicate)), "{refused:?}");
    }
    let (mut record, label) = under(one, first, "d");
    record.certificate.name = taken_by_certificate;
    let refused = store.add_certificate_under(first, &label, record).await;
    assert!(matches!(refused, Err(Error::DuplicateName)), "{refused:?}");

    // What is numbered later than a key of its name was made gets another one.
    let mut late = record_with_key(one, None, Exportable::Never);
    late.certificate.name = "l".to_owned();
    let id = key_of(&late);
    store.add_certificate(late).await.unwrap();
    let known = keys(&store, Scope::Account(one)).await;
    let late = known.iter().find(|key| key.id == id).unwrap();
    assert_eq!(late.name, format!("l-{}", late.number));
}

async fn no_two_listed_keys_have_one_name(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let first = add(&store, account).await;
    let name = first.certificate.name.clone();
    assert_eq!(keys(&store, scope).await[0].name, name);
    // Another certificate has the key, so it stays listed when the first gets another.
    add_under(&store, account, key_of(&first), "c").await;
    let key = private_key(Exportable::Never);
    let id = key.id;
    let mut next = version(None);
    next.private_key_id = Some(id);
    let next = renewal(next, &[], Some(key), event(Some(account), "renewed"));
    let renewed = store.add_version(scope, first.certificate.id, next);
    renewed.await.unwrap();
    let known = keys(&store, scope).await;
    assert_eq!(known.len(), 2);
    assert_eq!((known[0].id, &known[0].name), (key_of(&first), &name));
    let expected = format!("{name}-{}", known[1].number);
    assert_eq!((known[1].id, &known[1].name), (id, &expected));
}

async fn a_name_is_free_when_its_certificate_has_left_the_key(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (_, key) = add_key(&store, account, "k").await;
    let (_, id) = add_under(&store, account, key, "c").await;
    let pair = private_key(Exportable::Never);
    let mut next = version(None);
    next.private_key_id = Some(pair.id);
    let next = renewal(next, &[], Some(pair), event(Some(account), "replaced"));
    store.add_version(scope, id, next).await.unwrap();
    let (_, again) = add_under(&store, account, key, "c").await;
    assert_ne!(again, id);
}

async fn a_certificate_under_a_key_needs_that_key(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (key_number, key) = add_key(&store, account, "k").await;
    let (number, id) = add_under(&store, account, key, "c").await;
    let found = store.labelled_certificate(scope, key, number).await;
    let found = found.unwrap().unwrap();
    assert_eq!((found.key_number, found.certificate.id), (key_number, id));
    assert_eq!(found.label, Some(under(account, key, "c").1));
    let (_, other) = add_key(&store, account, "other").await;
    let elsewhere = store.labelled_certificate(scope, other, number).await;
    assert_eq!(elsewhere.unwrap(), None);

    assert!(delete_key(&store, scope, key).await.unwrap());
    let (record, label) = under(account, key, "d");
    let id = record.certificate.id;
    let refused = store.add_certificate_under(key, &label, record).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
    assert!(find(&store, scope, id).await.is_none());
    let (record, label) = under(account, other, "d");
    let refused = store.add_certificate_under(key, &label, record).await;
    assert!(
        matches!(refused, Err(Error::Inconsistent(_))),
        "{refused:?}"
    );
}

async fn a_key_that_was_to_be_erased_is_kept_for_what_is_added_under_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let first = record_with_key(account, None, Exportable::Until(moment(8)));
    store.add_certificate(first.clone()).await.unwrap();
    add_under(&store, account, key_of(&first), "c").await;
    assert_eq!(
        store.erase_expired_private_keys(moment(10)).await.unwrap(),
        0
    );
    let key = store.private_key(scope, key_of(&first)).await.unwrap();
    assert_eq!(key.unwrap().exportable, Exportable::Never);
}

async fn a_revocation_leaves_the_key_to_others(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let authority = authority(&store).await;
    let scope = Scope::Account(account);
    let mut records = Vec::new();
    for _ in 0..2 {
        let until = Exportable::Until(moment(1_000));
        let record = record_with_key(account, Some(authority), until);
        store.add_certificate(record.clone()).await.unwrap();
        records.push(record);
    }
    add_under(&store, account, key_of(&records[0]), "c").await;
    for (record, is_left) in records.iter().zip([true, false]) {
        let revocation = Revocation {
            at: moment(5),
            reason: RevocationReason::KeyCompromise,
        };
        let version = record.version.as_ref().unwrap().id;
        let revoked = store.revoke_version(scope, version, revocation, event(None, "revoked"));
        revoked.await.unwrap();
        assert_eq!(has_key(&store, key_of(record)).await, is_left);
    }
}

async fn a_certificate_becomes_one_that_nobody_renews(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let issued = add(&store, account).await;
    let (id, key) = (issued.certificate.id, key_of(&issued));
    let mut next = version(None);
    next.private_key_id = Some(key);
    let mut next = renewal(next, &["b.example".to_owned()], None, event(None, "x"));
    next.becomes = Some(Remade {
        origin: Origin::SelfSigned,
        common_name: "Any Text".to_owned(),
    });
    store.add_version(scope, id, next.clone()).await.unwrap();
    let found = find(&store, scope, id).await.unwrap();
    assert_eq!(found.origin, Origin::SelfSigned);
    assert_eq!((found.issuer, found.renew_at), (None, None));
    assert_eq!(found.common_name, "Any Text");
    assert_eq!(found.current.unwrap().private_key_id, Some(key));
    assert_eq!(certificates(&store, scope).await.len(), 1);

    store.erase_private_key(scope, key).await.unwrap();
    next.version = version(None);
    next.version.private_key_id = Some(key);
    let refused = store.add_version(scope, id, next).await;
    assert!(matches!(refused, Err(Error::NotFound)), "{refused:?}");
}

async fn the_keys_of_an_account_go_with_it(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let (_, key) = add_key(&store, account, "k").await;
    let (_, came_along) = add_key(&store, account, "l").await;
    database
        .tamper("update private_key_labels set on_its_own = false where name = 'l'")
        .await;
    let (_, certificate) = add_under(&store, account, key, "c").await;
    let gone = || event(None, "account.deleted");
    let refused = store.delete_account(account, gone()).await;
    assert!(matches!(refused, Err(Error::InUse)), "{refused:?}");
    assert!(has_key(&store, key).await);
    let scope = Scope::Account(account);
    let deleted = store.delete_certificate(scope, certificate, gone()).await;
    assert!(deleted.unwrap());
    assert!(store.delete_account(account, gone()).await.unwrap());
    assert!(!has_key(&store, key).await);
    assert!(has_key(&store, came_along).await, "not made on its own");
    assert!(!store.delete_account(account, gone()).await.unwrap());
    let key = private_key(Exportable::Always);
    let refused = store.add_private_key(account, "k", &key, gone()).await;
    assert!(matches!(refused, Err(Error::UnknownAccount)), "{refused:?}");
    assert!(!has_key(&store, key.id).await);
}

async fn what_signs_itself_is_not_found_for_a_domain(database: &Database) {
    let store = database.open().await;
    let account = account(&store).await;
    let scope = Scope::Account(account);
    let (one, other) = (format!("a{}.test", unique()), format!("b{}.test", unique()));
    let mut ids = Vec::new();
    for origin in [Origin::SelfSigned, Origin::Uploaded] {
        let mut record = record_with_key(account, None, Exportable::Never);
        record.certificate.origin = origin;
        record.certificate.common_name = one.clone();
        record.certificate.identifiers = vec![one.clone(), other.clone()];
        ids.push(record.certificate.id);
        store.add_certificate(record).await.unwrap();
    }
    for name in [&one, &other] {
        let found = store.certificates_covering(scope, &[name]).await.unwrap();
        let found: Vec<CertificateId> = found.iter().map(|found| found.certificate_id).collect();
        assert_eq!(found, ids[1..]);
    }
    let chosen = store.usable_certificates(scope, &ids).await.unwrap();
    assert_eq!(chosen.len(), 2, "by choice it can be used");
}
