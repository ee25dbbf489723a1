//! Looking whether a challenge is met (RFC 8555 section 8, RFC 8737, RFC 8738, and the drafts on DNS
//! records named after accounts and on records that stay).

mod dns;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use pki::Identifier;
use serde_json::Value;

use super::answer::problem;
use super::authorizations::ISSUER_DOMAIN_NAME;
use super::jws::{encode, sha256};
use crate::http;

/// What is to be proven, and by whom.
pub(super) struct Proof {
    pub(super) identifier: Identifier,
    pub(super) is_wildcard: bool,
    pub(super) kind: String,
    pub(super) token: String,
    pub(super) thumbprint: String,
    pub(super) account_url: String,
}

/// Whether a challenge is met; otherwise the problem.
pub(super) fn check(
    proof: &Proof,
    resolver: Option<SocketAddr>,
    http_port: u16,
    tls_port: u16,
) -> Result<(), Value> {
    let name = proof.identifier.to_string();
    let authorization = format!("{}.{}", proof.token, proof.thumbprint);
    match proof.kind.as_str() {
        "http-01" => {
            let address = address(&proof.identifier, resolver)?;
            http_01(
                &name,
                SocketAddr::new(address, http_port),
                proof,
                &authorization,
            )
        }
        "tls-alpn-01" => {
            let address = address(&proof.identifier, resolver)?;
            tls::check(
                &proof.identifier,
                SocketAddr::new(address, tls_port),
                &authorization,
            )
        }
        "dns-01" => dns_01(&format!("_acme-challenge.{name}"), resolver, &authorization),
        "dns-account-01" => {
            let label = account_label(&proof.account_url);
            let record = format!("{label}._acme-challenge.{name}");
            dns_01(&record, resolver, &authorization)
        }
        "dns-persist-01" => dns_persist_01(&name, resolver, proof),
        other => Err(problem("malformed", &format!("{other} is not known"))),
    }
}

fn http_01(name: &str, place: SocketAddr, proof: &Proof, expected: &str) -> Result<(), Value> {
    let path = format!("/.well-known/acme-challenge/{}", proof.token);
    let answer = http::try_send(&place.to_string(), "GET", &path, &[("Host", name)], b"")
        .map_err(|error| problem("connection", &format!("{place}: {error}")))?;
    if answer.status == 200 && answer.text().trim_end() == expected {
        Ok(())
    } else {
        let detail = format!(
            "http://{name}{path} answers {}: {}",
            answer.status,
            answer.text()
        );
        Err(problem("incorrectResponse", &detail))
    }
}

fn dns_01(record: &str, resolver: Option<SocketAddr>, authorization: &str) -> Result<(), Value> {
    let (texts, expected) = (texts(record, resolver)?, encode(sha256(authorization)));
    if texts.contains(&expected) {
        Ok(())
    } else {
        let detail = format!("{record} is {texts:?}, not {expected}");
        Err(problem("incorrectResponse", &detail))
    }
}

/// draft-ietf-acme-dns-persist.
fn dns_persist_01(name: &str, resolver: Option<SocketAddr>, proof: &Proof) -> Result<(), Value> {
    let record = format!("_validation-persist.{name}");
    let texts = texts(&record, resolver)?;
    let allows = |text: &String| {
        let mut parts = text.split(';').map(str::trim);
        let is_ours = parts.next() == Some(ISSUER_DOMAIN_NAME);
        let members: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let account = ("accounturi", proof.account_url.as_str());
        is_ours
            && members.contains(&account)
            && (!proof.is_wildcard || members.contains(&("policy", "wildcard")))
    };
    if texts.iter().any(allows) {
        Ok(())
    } else {
        let detail = format!("{record} is {texts:?}, which does not allow this account");
        Err(problem("unauthorized", &detail))
    }
}

/// The label of an account's own records (draft-ietf-acme-dns-account-label).
fn account_label(account_url: &str) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let digest = sha256(account_url);
    let bits = digest
        .iter()
        .take(10)
        .fold(0_u128, |bits, octet| bits << 8 | u128::from(*octet));
    let letters = (0..16).rev().map(|place| {
        let index = usize::try_from(bits >> (5 * place) & 31).expect("five bits fit");
        char::from(ALPHABET[index])
    });
    format!("_{}", letters.collect::<String>())
}

fn texts(record: &str, resolver: Option<SocketAddr>) -> Result<Vec<String>, Value> {
    let Some(resolver) = resolver else {
        return Ok(Vec::new());
    };
    dns::texts(resolver, record).map_err(|error| problem("dns", &format!("{record}: {error}")))
}

fn address(identifier: &Identifier, resolver: Option<SocketAddr>) -> Result<IpAddr, Value> {
    match (identifier, resolver) {
        (Identifier::Ip(address), _) => Ok(*address),
        (_, None) => Ok(Ipv4Addr::LOCALHOST.into()),
        (name, Some(resolver)) => {
            let name = name.to_string();
            let fail = |error: &str| problem("dns", &format!("{name}: {error}"));
            let addresses = dns::addresses(resolver, &name).map_err(|error| fail(&error))?;
            let address = addresses.first().ok_or_else(|| fail("it has no address"))?;
            Ok((*address).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::process::Command;
    use std::thread;

    use super::*;
    use crate::daemon::Daemon;
    use crate::{Knot, Workdir, Zone, free_port, openssl};

    const ACCOUNT: &str = "http://127.0.0.1:1/account/0";

    fn proof(name: &str, kind: &str) -> Proof {
        Proof {
            identifier: Identifier::parse_host(name).unwrap(),
            is_wildcard: false,
            kind: kind.to_owned(),
            token: "token".to_owned(),
            thumbprint: "thumbprint".to_owned(),
            account_url: ACCOUNT.to_owned(),
        }
    }

    fn kind(outcome: Result<(), Value>) -> String {
        let problem = outcome.unwrap_err();
        let uri = problem["type"].as_str().unwrap();
        uri.rsplit(':').next().unwrap().to_owned()
    }

    #[test]
    fn the_label_of_an_account_is_that_of_the_draft() {
        // The example of draft-ietf-acme-dns-account-label section 3.2.
        let label = account_label("https://example.com/acme/acct/ExampleAccount");
        assert_eq!(label, "_ujmmovf2vn55tgye");
    }

    #[test]
    fn http_01_is_met_by_the_text_at_the_path_of_the_token() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                let (mut head, mut line) = (String::new(), String::new());
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                    head += &line;
                }
                let good = "GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.test\r\n";
                let body = if head.starts_with(good) {
                    "token.thumbprint\n"
                } else {
                    "something else"
                };
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        });
        check(&proof("a.test", "http-01"), None, port, 0).unwrap();
        let other = check(&proof("b.test", "http-01"), None, port, 0);
        assert_eq!(kind(other), "incorrectResponse");
        let nobody = check(&proof("a.test", "http-01"), None, free_port(), 0);
        assert_eq!(kind(nobody), "connection");
    }

    #[test]
    fn tls_alpn_01_is_met_by_a_certificate_with_the_digest() {
        let files = Workdir::new();
        let (key, certificate) = (files.path("key.pem"), files.path("certificate.pem"));
        let digest = sha256("token.thumbprint");
        let digest: String = digest.iter().map(|octet| format!(":{octet:02x}")).collect();
        let extension = format!("1.3.6.1.5.5.7.1.31=critical,DER:04:20{digest}");
        openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-subj",
                "/CN=a.test",
                "-addext",
                "subjectAltName=DNS:a.test",
                "-addext",
                &extension,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
            b"",
        );
        let port = free_port();
        let mut command = Command::new("openssl");
        let address = format!("127.0.0.1:{port}");
        command.args([
            "s_server",
            "-accept",
            &address,
            "-alpn",
            "acme-tls/1",
            "-www",
        ]);
        command.args(["-cert", &certificate, "-key", &key]);
        let _server = Daemon::start("openssl", command, "ACCEPT").unwrap();
        check(&proof("a.test", "tls-alpn-01"), None, 0, port).unwrap();
        let other = check(&proof("b.test", "tls-alpn-01"), None, 0, port);
        assert_eq!(kind(other), "incorrectResponse");
        let forged = Proof {
            token: "other".to_owned(),
            ..proof("a.test", "tls-alpn-01")
        };
        let forged = check(&forged, None, 0, port);
        assert_eq!(kind(forged), "incorrectResponse");
        let nobody = check(&proof("a.test", "tls-alpn-01"), None, 0, free_port());
        assert_eq!(kind(nobody), "tls");
    }

    #[test]
    fn records_prove_names_each_in_its_way() {
        let value = encode(sha256("token.thumbprint"));
        let account = account_label(ACCOUNT);
        let stays =
            format!("_validation-persist.a 60 TXT \"authority.test; accounturi={ACCOUNT}\"");
        let knot = Knot::start(&[Zone::new("example.test")
            .record(&format!("_acme-challenge.a 60 TXT {value}"))
            .record("_acme-challenge.a 60 TXT another")
            .record("_acme-challenge.b 60 CNAME _acme-challenge.a")
            .record(&format!("{account}._acme-challenge.a 60 TXT {value}"))
            .record(&stays)]);
        let check = |proof: &Proof| check(proof, Some(knot.address()), 0, 0);
        for (name, kind) in [
            ("a.example.test", "dns-01"),
            ("b.example.test", "dns-01"),
            ("a.example.test", "dns-account-01"),
            ("a.example.test", "dns-persist-01"),
        ] {
            check(&proof(name, kind)).unwrap_or_else(|error| panic!("{name}, {kind}: {error}"));
        }
        let missing = check(&proof("b.example.test", "dns-account-01"));
        assert!(missing.is_err());
        let wildcard = Proof {
            is_wildcard: true,
            ..proof("a.example.test", "dns-persist-01")
        };
        assert_eq!(kind(check(&wildcard)), "unauthorized");
        let stranger = Proof {
            account_url: "http://127.0.0.1:1/account/1".to_owned(),
            ..proof("a.example.test", "dns-persist-01")
        };
        assert_eq!(kind(check(&stranger)), "unauthorized");
    }
}
