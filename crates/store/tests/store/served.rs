//! What certificates are served with.

use pki::{PrivateKey, Revocation, RevocationReason};
use store::{CertificateId, Exportable, Scope};

use crate::support::{
    Database, account, authority, event, moment, record, record_with_key, renewal, version,
};

on_both_databases!(
    the_current_version_is_served_with_its_chain_and_key,
    what_is_revoked_or_has_no_key_is_not_served,
);

async fn the_current_version_is_served_with_its_chain_and_key(database: &Database) {
    let store = database.open().await;
    let record = record_with_key(account(&store).await, None, Exportable::Never);
    let (id, scope) = (
        record.certificate.id,
        Scope::Account(record.certificate.account_id),
    );
    let (first, key) = (record.version.clone().unwrap(), record.key.clone().unwrap());
    store.add_certificate(record).await.unwrap();
    let served = store.served_version(id).await.unwrap().unwrap();
    assert_eq!(served.version.id, first.id);
    assert_eq!(served.chain.leaf, first.leaf);
    assert_eq!(served.chain.intermediates, first.intermediates);
    assert_eq!(served.key.pkcs8, key.key.to_pkcs8_der());
    assert!(!served.key.is_rsa);
    assert!(!format!("{:?}", served.key).contains("pkcs8"));

    let second = renewal(
        version(None),
        &[],
        None,
        event(None, "certificate.replaced"),
    );
    store.add_version(scope, id, second).await.unwrap();
    // Without a stored key there is nothing to serve, and the old version is no substitute.
    assert!(store.served_version(id).await.unwrap().is_none());
}

async fn what_is_revoked_or_has_no_key_is_not_served(database: &Database) {
    let store = database.open().await;
    let unknown = CertificateId::random();
    assert!(store.served_version(unknown).await.unwrap().is_none());
    let keyless = record(account(&store).await, None);
    let id = keyless.certificate.id;
    store.add_certificate(keyless).await.unwrap();
    assert!(store.served_version(id).await.unwrap().is_none());

    let authority = authority(&store).await;
    let account = account(&store).await;
    let issued = record_with_key(account, Some(authority), Exportable::Never);
    let version = issued.version.as_ref().unwrap().id;
    let id = issued.certificate.id;
    store.add_certificate(issued).await.unwrap();
    let served = store.served_version(id).await.unwrap().unwrap();
    PrivateKey::from_pkcs8_der(&served.key.pkcs8).unwrap();
    let revocation = Revocation {
        at: moment(0),
        reason: RevocationReason::KeyCompromise,
    };
    let event = event(None, "version.revoked");
    let revoked = store.revoke_version(Scope::Everything, version, revocation, event);
    revoked.await.unwrap();
    assert!(store.served_version(id).await.unwrap().is_none());
}
