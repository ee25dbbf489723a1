//! ACME directories that look for a proof of control on the API's listener (RFC 8555 section 8.3).

use std::time::Duration;

use lifecycle::{Clock as _, ManagedRequest, SystemClock};
use pki::Identifier;
use store::{ChallengeId, ChallengeState, PendingChallenge};

use crate::support::Server;

const TOKEN: &str = "LoqXcYV8q5ONbJQxbmR7SCTNo3tiAXDfowyjxAjEuX0";

/// A server that proves control over `new.example.com`.
fn server() -> Server {
    let server = Server::start();
    let principal = server.administrator();
    let challenged = async {
        let request = ManagedRequest {
            name: None,
            names: vec![Identifier::parse_host("new.example.com").unwrap()],
            issuer: None,
        };
        let certificates = &server.house.certificates;
        let requested = certificates.request_managed(&principal, request);
        let id = requested.await.unwrap().id;
        let now = SystemClock.now();
        let until = now + Duration::from_secs(60);
        let claimed = server
            .store
            .claim_due(now, until, 100, store::Claimable::default())
            .await
            .unwrap();
        let certificate = claimed.iter().find(|found| found.id == id).unwrap();
        let challenge = PendingChallenge {
            id: ChallengeId::at(now),
            certificate_id: id,
            account_id: certificate.account_id,
            name: "new.example.com".to_owned(),
            kind: "http-01".to_owned(),
            state: ChallengeState::Presented,
            token: TOKEN.to_owned(),
            key_authorization: format!("{TOKEN}.thumbprint"),
            record: None,
            created_at: now,
            expires_at: until,
        };
        let put = server
            .store
            .put_challenges(id, until, vec![challenge])
            .await;
        assert!(put.unwrap());
    };
    server.run(challenged);
    server
}

fn get(server: &Server, host: &str, token: &str) -> testbed::http::Response {
    let path = format!("/.well-known/acme-challenge/{token}");
    server.send("GET", &path, &[("Host", host)], "")
}

#[test]
fn a_challenge_is_answered_for_its_host_without_a_token_of_the_api() {
    let server = server();
    for host in ["new.example.com", "NEW.example.com:80", "new.example.com."] {
        let answer = get(&server, host, TOKEN);
        assert_eq!(answer.status, 200, "{host}");
        assert_eq!(answer.text(), format!("{TOKEN}.thumbprint"));
    }
    let path = format!("/.well-known/acme-challenge/{TOKEN}");
    let answer = server.send("POST", &path, &[("Host", "new.example.com")], "");
    assert_eq!(answer.status, 405);
}

#[test]
fn what_is_no_challenge_of_this_house_is_not_found() {
    let server = server();
    let long = "a".repeat(300);
    for (host, token) in [
        ("other.example.com", TOKEN),
        ("[::1]:80", TOKEN),
        ("[", TOKEN),
        ("new.example.com", "unknown"),
        ("new.example.com", ""),
        ("new.example.com", "%2e%2e"),
        ("new.example.com", "a/b"),
        ("new.example.com", &long),
    ] {
        assert_eq!(get(&server, host, token).status, 404, "{host} {token}");
    }
}
