//! Leaves whose lists are in different shards, judged by `openssl` and pkilint.

use lifecycle::{
    CertificateRef, House, IssueRequest, Issued, KeySource, RevocationTarget, parse_identifiers,
};
use pki::{KeyAlgorithm, RevocationReason, SubjectFields};
use testbed::pkilint::{self, Severity};
use testbed::{Workdir, openssl, try_openssl};

use crate::support::Server;

/// Places in a shard, and those that a node takes at a time.
const SHARD: u64 = 20_000;
const TAKEN: u64 = 1_000;

fn issue(server: &Server, house: &House, authority: &str) -> Issued {
    let request = IssueRequest {
        authority: authority.to_owned(),
        subject: SubjectFields::default(),
        identifiers: parse_identifiers(["a.test"], [], []).unwrap(),
        days: Some(30),
        key: KeySource::Generate(KeyAlgorithm::P256),
        name: None,
    };
    let administrator = server.administrator();
    let issued = house.certificates.issue(&administrator, request);
    server.run(issued).unwrap()
}

/// Where the list is that a leaf would be on.
fn list_of(server: &Server, issued: &Issued) -> String {
    let shown = ["x509", "-noout", "-ext", "crlDistributionPoints"];
    let shown = openssl(&shown, issued.leaf.to_pem().as_bytes()).text();
    let (_, path) = shown.split_once(&server.url).unwrap();
    path.trim().to_owned()
}

/// Fetches a list, as PEM.
fn fetch(server: &Server, path: &str) -> String {
    let response = server.send("GET", path, &[], "");
    assert_eq!(response.status, 200, "{path}");
    assert_eq!(
        response.header("content-type"),
        Some("application/pkix-crl")
    );
    let findings = pkilint::lint_crl(&response.body);
    let errors: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity <= Severity::Error)
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{path}: {errors:#?}");
    pki::crl::to_pem(&response.body)
}

#[test]
fn a_leaf_is_checked_against_the_list_of_its_shard_and_no_other() {
    for (authority, has_root) in [("default", true), ("certmaker", false)] {
        let server = Server::start();
        let first = issue(&server, &server.house, authority);
        let named = server.run(server.house.authorities.named(authority));
        let named = named.unwrap();
        let filling = server.store.take_places(named.id, SHARD - TAKEN, SHARD);
        assert_eq!(server.run(filling).unwrap(), 0);
        let second = issue(&server, &server.another_house(), authority);
        let (near, far) = (list_of(&server, &first), list_of(&server, &second));
        assert_ne!(near, far);

        let files = Workdir::new();
        let root = files.write("root.pem", named.root_certificate().to_pem());
        let intermediates = named.intermediates();
        let intermediates: String = intermediates.iter().map(pki::Certificate::to_pem).collect();
        let intermediates = files.write("intermediates.pem", intermediates);
        let root_list = if has_root {
            let identifier = named.root_certificate().subject_key_identifier().unwrap();
            let name: String = identifier
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            assert_eq!(
                server
                    .send("GET", &format!("/ca/{name}-ca.crl"), &[], "")
                    .status,
                404
            );
            fetch(&server, &format!("/ca/{name}.crl"))
        } else {
            // A root that signs leaves itself is on no list that counts for some leaves only.
            fetch(&server, "/api/v1/crl/ca")
        };
        // With these lists, and told what to check against them.
        let verify = |leaf: &Issued, paths: &[&str]| {
            let mut lists: String = paths.iter().map(|path| fetch(&server, path)).collect();
            lists.push_str(&root_list);
            let lists = files.write("lists.pem", lists);
            let leaf = files.write("leaf.pem", leaf.leaf.to_pem());
            let check = "-crl_check_all";
            let mut arguments = vec!["verify", check, "-CAfile", &root, "-CRLfile", &lists];
            if has_root {
                arguments.extend(["-untrusted", &intermediates]);
            }
            arguments.push(&leaf);
            let output = try_openssl(&arguments, b"");
            format!("{}{}", output.text(), output.stderr)
        };
        let is_good = |text: &str| text.contains("leaf.pem: OK");
        for (leaf, own, other) in [(&first, &near, &far), (&second, &far, &near)] {
            let text = verify(leaf, &[own]);
            assert!(is_good(&text), "{text}");
            let text = verify(leaf, &[other, own]);
            assert!(is_good(&text), "{text}");
            let text = verify(leaf, &[other]);
            assert!(!is_good(&text), "{text}");
        }
        let target = RevocationTarget::Certificate(CertificateRef::Id(second.id));
        let administrator = server.administrator();
        let reason = RevocationReason::KeyCompromise;
        let certificates = &server.house.certificates;
        server
            .run(certificates.revoke(&administrator, &target, reason))
            .unwrap();
        let text = verify(&second, &[&far]);
        assert!(text.contains("certificate revoked"), "{text}");
        let text = verify(&first, &[&near, &far]);
        assert!(is_good(&text), "{text}");
        for unknown in [
            format!("{far}0"),
            far.replace("-1.crl", "-01.crl").replace("crl/1", "crl/01"),
        ] {
            assert_eq!(
                server.send("GET", &unknown, &[], "").status,
                404,
                "{unknown}"
            );
        }
    }
}
