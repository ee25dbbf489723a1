//! What changes in the house is served without a restart.

use pki::KeyAlgorithm;
use rustls::AlertDescription;

use crate::support::Server;

const NAME: &str = "app.example.com";

#[test]
fn another_version_of_a_certificate_is_served_to_who_comes_after_it() {
    let server = Server::start();
    let foreign = server.foreign();
    let pair = foreign.issue(&[NAME]);
    let id = server.upload(&pair.chain, &pair.key);
    server.serve(&[NAME], 80);
    let client = foreign.client();
    let before = client.connect(server.https, NAME).unwrap().serial();
    let pair = foreign.issue(&[NAME]);
    server.replace(id, &pair.chain, &pair.key);
    let client = client.without_sessions();
    server.eventually("the new version to be served", || {
        let serial = client.connect(server.https, NAME).unwrap().serial();
        (serial != before).then_some(())
    });
}

#[test]
fn a_domain_follows_when_its_certificate_is_revoked() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["*.example.com"]);
    let id = server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve(&[NAME], 80);
    let client = server.client().without_sessions();
    let names = |session: &crate::support::Session| session.leaf().identifiers()[0].to_string();
    let session = client.connect(server.https, NAME).unwrap();
    assert_eq!(names(&session), NAME);
    server.revoke(id);
    server.eventually("the wildcard certificate to be served", || {
        let session = client.connect(server.https, NAME).ok()?;
        (names(&session) == "*.example.com").then_some(())
    });
}

#[test]
fn a_name_comes_and_goes_with_its_service() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &["*.example.com"]);
    server.serve(&["*.example.com"], 80);
    let client = server.client().without_sessions();
    client.connect(server.https, NAME).unwrap();
    let service = server.serve(&[NAME], 80);
    server.unpublish(service, 443);
    server.eventually("the name to belong to the new service", || {
        client.connect(server.https, NAME).err()
    });
    server.delete(service);
    server.eventually("the name to belong to the wildcard again", || {
        client.connect(server.https, NAME).ok()
    });
}

#[test]
fn a_name_that_is_gone_is_refused() {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    let service = server.serve(&[NAME], 80);
    let client = server.client().without_sessions();
    client.connect(server.https, NAME).unwrap();
    server.delete(service);
    server.eventually("the name to be refused", || {
        client.connect(server.https, NAME).err()
    });
    let alert = client.refusal(server.https, NAME);
    assert_eq!(alert, AlertDescription::UnrecognisedName);
}
