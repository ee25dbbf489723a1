//! Authorities.

use pki::{Revocation, RevocationReason};
use store::{
    AuthorityId, CaCertificateId, CaRole, Error, Exportable, KeyPlace, NewAuthority,
    NewCaCertificate, NewCaKey, Scope, Store,
};
use tokio::task::JoinSet;

use crate::support::{Database, ISSUER, account, event, moment, private_key, record};

on_both_databases!(
    an_authority_comes_back_with_its_certificates,
    of_two_nodes_one_makes_the_authority,
    a_certificate_can_be_added_later,
    no_crl_number_is_given_twice,
    a_crl_number_is_given_only_to_who_knows_the_last_one,
    a_crl_with_a_higher_number_holds_no_less,
    keys_of_authorities_belong_to_no_account,
);

fn member(role: CaRole, seconds: i64) -> NewCaCertificate {
    NewCaCertificate {
        id: CaCertificateId::at(moment(seconds)),
        role,
        certificate: vec![0x30, 1, 5],
        key: NewCaKey::Kept(private_key(Exportable::Never)),
        not_before: moment(1),
        not_after: moment(2),
        superiors: None,
        crl_number: 0,
    }
}

fn new_authority(name: &str) -> NewAuthority {
    NewAuthority {
        id: AuthorityId::random(),
        name: name.to_owned(),
        created_at: moment(4),
        ca_certificates: vec![member(CaRole::Root, 0), member(CaRole::Issuing, 1)],
        event: event(None, "authority.created"),
    }
}

async fn make(store: &Store) -> NewAuthority {
    let authority = new_authority("default");
    store.create_authority(authority.clone()).await.unwrap();
    authority
}

async fn an_authority_comes_back_with_its_certificates(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let found = store.authority("default").await.unwrap().unwrap();
    assert_eq!((found.id, found.created_at), (made.id, moment(4)));
    assert_eq!(store.authorities().await.unwrap(), [found]);
    assert_eq!(store.authority("other").await.unwrap(), None);
    let certificates = store.ca_certificates(made.id).await.unwrap();
    assert_eq!(certificates.len(), 2);
    for (found, made) in certificates.iter().zip(&made.ca_certificates) {
        assert_eq!(found.id, made.id);
        assert_eq!(found.role, made.role);
        assert_eq!(found.certificate, made.certificate);
        let NewCaKey::Kept(made_key) = &made.key else {
            panic!("the key is to be kept");
        };
        assert_eq!(found.private_key_id, made_key.id);
        assert_eq!(found.key_place, KeyPlace::Store);
        assert_eq!((found.not_before, found.not_after), (moment(1), moment(2)));
        let key = store
            .private_key(Scope::Everything, made_key.id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(key.key.to_pkcs8_der(), made_key.key.to_pkcs8_der());
        assert_eq!(key.account_id, None);
    }
}

async fn of_two_nodes_one_makes_the_authority(database: &Database) {
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let store = database.open().await;
        tasks.spawn(async move { store.create_authority(new_authority("default")).await });
    }
    let outcomes = tasks.join_all().await;
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let late = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Err(Error::DuplicateName)));
    assert_eq!((made, late.count()), (1, 5), "{outcomes:?}");
    assert_eq!(database.count("ca_certificates").await, 2);
    assert_eq!(database.count("private_keys").await, 2);
}

async fn a_certificate_can_be_added_later(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let added = || event(None, "authority.extended");
    let responder = member(CaRole::Responder, 9);
    store
        .add_ca_certificate(made.id, responder.clone(), added())
        .await
        .unwrap();
    let certificates = store.ca_certificates(made.id).await.unwrap();
    assert_eq!(certificates.last().unwrap().id, responder.id);
    assert_eq!(certificates.last().unwrap().role, CaRole::Responder);

    let nobody = AuthorityId::random();
    let error = store
        .add_ca_certificate(nobody, member(CaRole::Root, 10), added())
        .await;
    assert!(matches!(error, Err(Error::NotFound)), "{error:?}");
    assert_eq!(database.count("private_keys").await, 3);
}

async fn no_crl_number_is_given_twice(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let id = made.ca_certificates[0].id;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = store.clone();
        tasks.spawn(async move {
            loop {
                let last = store.crl_number(id).await.unwrap();
                if let Some(number) = store.next_crl_number(id, last).await.unwrap() {
                    assert_eq!(number, last + 1);
                    break number;
                }
            }
        });
    }
    let mut numbers = tasks.join_all().await;
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>());
    assert_eq!(
        store.ca_certificates(made.id).await.unwrap()[0].crl_number,
        20
    );
}

async fn a_crl_number_is_given_only_to_who_knows_the_last_one(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let id = made.ca_certificates[0].id;
    assert_eq!(store.crl_number(id).await.unwrap(), 0);
    let slow = store.crl_number(id).await.unwrap();
    assert_eq!(store.next_crl_number(id, 0).await.unwrap(), Some(1));
    assert_eq!(store.next_crl_number(id, slow).await.unwrap(), None);
    assert_eq!(store.crl_number(id).await.unwrap(), 1);
    let other = made.ca_certificates[1].id;
    assert_eq!(store.crl_number(other).await.unwrap(), 0);

    let nobody = CaCertificateId::at(moment(0));
    let error = store.crl_number(nobody).await;
    assert!(matches!(error, Err(Error::NotFound)), "{error:?}");
    let error = store.next_crl_number(nobody, 0).await;
    assert!(matches!(error, Err(Error::NotFound)), "{error:?}");
}

async fn a_crl_with_a_higher_number_holds_no_less(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let series = made.ca_certificates[1].id;
    let account = account(&store).await;
    let mut versions = Vec::new();
    for _ in 0..40 {
        let record = record(account, Some(made.id));
        versions.push(record.version.as_ref().unwrap().id);
        store.add_certificate(record).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for _ in 0..3 {
        let (store, authority, all) = (store.clone(), made.id, versions.len());
        tasks.spawn(async move {
            let mut lists = Vec::new();
            loop {
                let (number, revoked) = store
                    .next_crl(series, (authority, 0), ISSUER, moment(0))
                    .await
                    .unwrap();
                let is_full = revoked.len() == all;
                lists.push((number, revoked));
                if is_full {
                    break lists;
                }
            }
        });
    }
    let revocation = Revocation {
        at: moment(1),
        reason: RevocationReason::Superseded,
    };
    for version in versions {
        let revoked = event(None, "version.revoked");
        store
            .revoke_version(Scope::Everything, version, revocation, revoked)
            .await
            .unwrap();
    }
    let mut lists = tasks.join_all().await.concat();
    lists.sort_by_key(|(number, _)| *number);
    for pair in lists.windows(2) {
        let [(lower, before), (higher, after)] = pair else {
            panic!()
        };
        assert!(lower < higher);
        assert!(before.iter().all(|revoked| after.contains(revoked)));
    }

    let nobody = CaCertificateId::at(moment(0));
    let error = store
        .next_crl(nobody, (made.id, 0), ISSUER, moment(0))
        .await;
    assert!(matches!(error, Err(Error::NotFound)), "{error:?}");
}

async fn keys_of_authorities_belong_to_no_account(database: &Database) {
    let store = database.open().await;
    let made = make(&store).await;
    let scope = Scope::Account(account(&store).await);
    let key = made.ca_certificates[0].key.id();
    assert!(store.private_key(scope, key).await.unwrap().is_none());
    assert!(!store.erase_private_key(scope, key).await.unwrap());
    assert!(
        store
            .private_key(Scope::Everything, key)
            .await
            .unwrap()
            .is_some()
    );
}
