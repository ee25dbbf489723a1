//! How the status of a certificate follows what targets say of it.

use std::time::Duration;

use lifecycle::{
    Acknowledgement, CertificateId, Dialect, Principal, Refusal, TargetAt, TargetDirectoryId,
    TokenLimits,
};
use serde_json::json;
use testbed::Authority;

use super::support::Server;
use super::{assert_error, get, manual, path_of, post, response_of, send, stack, uuids};

const NAME: &str = "web";

fn at() -> TargetAt<'static> {
    TargetAt {
        name: NAME,
        directory: TargetDirectoryId::from_random([1; 16]),
    }
}

/// A machine that certificates are delivered to.
struct Target<'a> {
    server: &'a Server,
    principal: Principal,
}

impl<'a> Target<'a> {
    fn register(server: &'a Server) -> Self {
        let token = server.token_with(TokenLimits {
            dialects: Some(vec![Dialect::Delivery]),
            ..TokenLimits::default()
        });
        let tokens = &server.house.tokens;
        let principal = server
            .run(tokens.authenticate(&token, Dialect::Delivery))
            .unwrap();
        let registering = server.house.targets.register(&principal, at(), None);
        server.run(registering).unwrap();
        let asking = server
            .house
            .targets
            .plan(&principal, at(), None, Duration::ZERO);
        server.run(asking).unwrap();
        Self { server, principal }
    }

    /// Takes the version of a certificate that it is to have, and says what `said` makes of it.
    fn take(&self, uuid: &str, said: impl FnOnce(lifecycle::VersionId) -> Acknowledgement) {
        let id = certificate(uuid);
        let targets = &self.server.house.targets;
        let material = targets.material(&self.principal, at(), id);
        let material = self.server.run(material).unwrap();
        self.say(id, said(material.version));
    }

    fn say(&self, id: CertificateId, said: Acknowledgement) {
        let targets = &self.server.house.targets;
        let saying = targets.acknowledge(&self.principal, at(), vec![(id, said)]);
        self.server.run(saying).unwrap();
    }

    /// What it is to take away.
    fn unwanted(&self) -> Vec<CertificateId> {
        let targets = &self.server.house.targets;
        let planning = targets.plan(&self.principal, at(), None, Duration::ZERO);
        let plan = self.server.run(planning).unwrap();
        plan.remove
            .iter()
            .map(|removal| removal.certificate)
            .collect()
    }
}

fn certificate(uuid: &str) -> CertificateId {
    uuid.strip_prefix("ssl-").unwrap().parse().unwrap()
}

#[test]
fn a_certificate_is_installed_when_every_target_has_it() {
    let server = Server::start();
    let target = Target::register(&server);
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let made = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    let (path, uuid) = (path_of(&list, &made), made["uuid"].as_str().unwrap());
    assert_eq!(get(&server, &path)["status"], 1);
    target.take(uuid, Acknowledgement::Placed);
    assert_eq!(get(&server, &path)["status"], 3);
    assert_eq!(get(&server, &list)[0]["status"], 3);

    let next = manual(&authority.issue(&["a.example"], 90), "").to_string();
    let replaced = response_of(&send(&server, "PUT", &path, &next));
    assert_eq!(replaced["status"], 1, "the target has the one before");
    target.take(uuid, |version| {
        Acknowledgement::Refused(Refusal {
            version_id: Some(version),
            reason: "nginx: [emerg] bad".to_owned(),
        })
    });
    let answer = send(&server, "GET", &path, "");
    assert_eq!(response_of(&answer)["status"], 2);
    let warning = answer.header("x-cloud66-warning").unwrap();
    assert!(
        warning.contains(NAME) && warning.contains("[emerg]"),
        "{warning}"
    );
    target.take(uuid, Acknowledgement::Placed);
    assert_eq!(get(&server, &path)["status"], 3);
}

#[test]
fn a_deleted_certificate_is_being_removed_until_no_target_has_it() {
    let server = Server::start();
    let target = Target::register(&server);
    let list = stack(&server, "shop");
    let authority = Authority::new();
    let first = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    let (path, uuid) = (path_of(&list, &first), first["uuid"].as_str().unwrap());
    target.take(uuid, Acknowledgement::Placed);
    let shown = get(&server, &path);
    let deleted = response_of(&send(&server, "DELETE", &path, ""));
    let mut expected = shown;
    expected["status"] = json!(4);
    assert_eq!(deleted, expected);
    // It is shown and can be deleted again, but is in nobody's way.
    assert_eq!(get(&server, &path), expected);
    assert_eq!(response_of(&send(&server, "DELETE", &path, "")), expected);
    let answer = send(&server, "PUT", &path, "{}");
    assert_error(&answer, 404, "not_found");
    let second = post(
        &server,
        &list,
        &manual(&authority.issue(&["a.example"], 90), ""),
    );
    let second = second["uuid"].as_str().unwrap();
    assert_eq!(
        uuids(&server, &list),
        [second, uuid],
        "those under removal come last"
    );
    let page = send(&server, "GET", &format!("{list}?per_page=1&page=2"), "").json();
    assert_eq!(page["response"][0]["uuid"], uuid);
    assert_eq!(page["pagination"]["count"], 2);

    assert_eq!(target.unwanted(), [certificate(uuid)]);
    target.say(certificate(uuid), Acknowledgement::Removed);
    assert_error(&send(&server, "GET", &path, ""), 404, "not_found");
    assert_error(&send(&server, "DELETE", &path, ""), 404, "not_found");
    assert_eq!(uuids(&server, &list), [second]);
}
