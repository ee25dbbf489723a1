//! The drivers themselves are tested where they come from, most of them against no other address
//! than their provider's. Amazon's can be led to this machine: a server here plays its part.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use egress::{FetchError, Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::{Credentials, check, kinds};

const NAME: &str = "_acme-challenge.example.com";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG";

/// What happens to the values when they were just written.
type Interference = Box<dyn Fn(usize, &mut BTreeSet<String>) + Send>;

/// A zone at Amazon.
struct Amazon {
    address: SocketAddr,
    values: Arc<Mutex<BTreeSet<String>>>,
}

impl Amazon {
    async fn start(interference: Interference) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let values = Arc::new(Mutex::new(BTreeSet::new()));
        let kept = values.clone();
        tokio::spawn(async move {
            let mut writes = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                let (head, body) = read(&mut stream).await;
                let mut values = kept.lock().unwrap().clone();
                if head.starts_with("POST") {
                    write(&mut values, &body);
                    writes += 1;
                    interference(writes, &mut values);
                    *kept.lock().unwrap() = values.clone();
                }
                let answer = answer(&head, &values);
                let length = answer.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                stream.write_all((head + &answer).as_bytes()).await.unwrap();
            }
        });
        Self { address, values }
    }

    fn driver(&self) -> DnsUpdater {
        driver_at(self.address)
    }

    fn values(&self) -> Vec<String> {
        self.values.lock().unwrap().iter().cloned().collect()
    }
}

fn driver_at(address: SocketAddr) -> DnsUpdater {
    DnsUpdater::new_route53(Route53Config {
        access_key_id: "AKIAIOSFODNN7".to_owned(),
        secret_access_key: SECRET.to_owned(),
        session_token: None,
        region: None,
        hosted_zone_id: None,
        private_zone_only: None,
        endpoint: Some(format!("http://{address}")),
    })
    .unwrap()
}

async fn read(stream: &mut tokio::net::TcpStream) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    let lower = head.to_lowercase();
    let length = lower.split("content-length: ").nth(1);
    let length = length.and_then(|rest| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

fn write(values: &mut BTreeSet<String>, body: &str) {
    values.clear();
    if body.contains("<Action>UPSERT</Action>") {
        let written = body.split("<Value>").skip(1);
        let written = written.map(|rest| rest.split("</Value>").next().unwrap());
        values.extend(written.map(|value| value.replace("&quot;", "").replace('"', "")));
    }
}

fn answer(head: &str, values: &BTreeSet<String>) -> String {
    if head.contains("hostedzonesbyname") {
        return "<ListHostedZonesByNameResponse><HostedZones><HostedZone><Id>/hostedzone/Z1</Id>\
                <Name>example.com.</Name><CallerReference>1</CallerReference><Config>\
                <PrivateZone>false</PrivateZone></Config></HostedZone></HostedZones>\
                <IsTruncated>false</IsTruncated><MaxItems>100</MaxItems>\
                </ListHostedZonesByNameResponse>"
            .to_owned();
    }
    if head.starts_with("POST") {
        return "<ChangeResourceRecordSetsResponse><ChangeInfo><Id>/change/C1</Id>\
                <Status>PENDING</Status><SubmittedAt>2026-05-24T12:00:00Z</SubmittedAt>\
                </ChangeInfo></ChangeResourceRecordSetsResponse>"
            .to_owned();
    }
    let mut set = String::new();
    if !values.is_empty() {
        let _ = write!(
            set,
            "<ResourceRecordSet><Name>{NAME}.</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords>"
        );
        for value in values {
            let _ = write!(
                set,
                "<ResourceRecord><Value>\"{value}\"</Value></ResourceRecord>"
            );
        }
        set.push_str("</ResourceRecords></ResourceRecordSet>");
    }
    format!(
        "<ListResourceRecordSetsResponse><ResourceRecordSets>{set}</ResourceRecordSets>\
         <IsTruncated>false</IsTruncated><MaxItems>100</MaxItems></ListResourceRecordSetsResponse>"
    )
}

fn account(kind: &str, fields: &[(&str, &str)]) -> Account {
    let fields = fields.iter();
    let fields = fields.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Account {
        kind: kind.to_owned(),
        credentials: fields.collect(),
        policy: EgressPolicy::PUBLIC,
        may_run_programs: false,
    }
}

fn amazon() -> Account {
    let fields = [("access_key", "AKIAIOSFODNN7"), ("secret_key", SECRET)];
    account("route53", &fields)
}

fn record(value: &str) -> TextRecord {
    TextRecord {
        zone: "example.com".to_owned(),
        name: NAME.to_owned(),
        value: value.to_owned(),
        proof: None,
    }
}

#[tokio::test]
async fn values_come_and_go_without_minding_each_other() {
    let zone = Amazon::start(Box::new(|_, _| {})).await;
    let (driver, account) = (zone.driver(), amazon());
    for value in ["one", "two", "one"] {
        let published = apply(&driver, &account, &record(value), Change::Publish).await;
        published.unwrap();
    }
    assert_eq!(zone.values(), ["one", "two"]);
    for value in ["one", "one", "never there"] {
        let withdrawn = apply(&driver, &account, &record(value), Change::Withdraw).await;
        withdrawn.unwrap();
    }
    assert_eq!(zone.values(), ["two"]);
    let withdrawn = apply(&driver, &account, &record("two"), Change::Withdraw).await;
    withdrawn.unwrap();
    assert!(zone.values().is_empty());
}

#[tokio::test]
async fn a_value_that_another_node_has_written_over_is_written_again() {
    let zone = Amazon::start(Box::new(|writes, values| {
        if writes == 1 {
            *values = BTreeSet::from(["theirs".to_owned()]);
        }
    }))
    .await;
    let published = apply(&zone.driver(), &amazon(), &record("ours"), Change::Publish).await;
    published.unwrap();
    assert_eq!(zone.values(), ["ours", "theirs"]);
}

#[tokio::test]
async fn a_value_that_another_node_has_brought_back_is_taken_away_again() {
    let zone = Amazon::start(Box::new(|writes, values| {
        if writes == 2 {
            *values = BTreeSet::from(["ours".to_owned(), "theirs".to_owned()]);
        }
    }))
    .await;
    let (driver, account) = (zone.driver(), amazon());
    for change in [Change::Publish, Change::Withdraw] {
        let changed = apply(&driver, &account, &record("ours"), change).await;
        changed.unwrap();
    }
    assert_eq!(zone.values(), ["theirs"]);
}

#[tokio::test]
async fn a_value_that_never_stays_is_an_error() {
    let zone = Amazon::start(Box::new(|_, values| values.clear())).await;
    let refused = apply(&zone.driver(), &amazon(), &record("ours"), Change::Publish).await;
    let reason = "others change the same records at the same time".to_owned();
    assert_eq!(refused.unwrap_err(), ProviderError::Refused { reason });
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unreachable() {
    let driver = driver_at(([127, 0, 0, 1], testbed::free_port()).into());
    let lost = apply(&driver, &amazon(), &record("ours"), Change::Publish).await;
    assert!(
        matches!(lost, Err(ProviderError::Unreachable { .. })),
        "{lost:?}"
    );
}

/// Whether an error is of the expected kind.
type Judge<'a> = &'a dyn Fn(&ProviderError) -> bool;

#[test]
fn what_providers_say_is_sorted_and_shown_without_secrets() {
    let api = |text: &str| Error::Api(text.to_owned());
    let is_credentials = |error: &ProviderError| matches!(error, ProviderError::Credentials { .. });
    let is_zone = |error: &ProviderError| matches!(error, ProviderError::NoZone { .. });
    let is_refused = |error: &ProviderError| matches!(error, ProviderError::Refused { .. });
    let is_lost = |error: &ProviderError| matches!(error, ProviderError::Unreachable { .. });
    let forbidden = format!("Route53 API error: 403 Forbidden - bad key {SECRET}");
    let cases: [(Error, Judge<'_>); 9] = [
        (Error::Unauthorized, &is_credentials),
        (api(&forbidden), &is_credentials),
        (
            api("BadRequest {\"error\":\"invalid_client\"}"),
            &is_credentials,
        ),
        (Error::NotFound, &is_zone),
        (api("No Cloudflare zone found for example.com"), &is_zone),
        (api(&format!("BadRequest {SECRET}")), &is_refused),
        (api("HTTP 502: bad gateway"), &is_lost),
        (
            api("Failed to send request to https://a.example: timeout"),
            &is_lost,
        ),
        (
            Error::Serialize(format!("Failed (body: {SECRET})")),
            &is_lost,
        ),
    ];
    for (error, is_expected) in cases {
        let told = failure(&error, &amazon(), &record("ours"));
        assert!(is_expected(&told), "{error:?}: {told:?}");
        assert!(!format!("{told:?} {told}").contains(SECRET), "{told:?}");
    }
    // An answer in full may have a token in it that nobody has seen before.
    let token = Error::Serialize("Failed (body: {\"access_token\":\"ya29.new\"})".to_owned());
    let told = failure(&token, &amazon(), &record("ours"));
    assert!(!told.to_string().contains("ya29"), "{told}");
}

/// Says who a token belongs to, and nothing else.
#[derive(Debug)]
struct Identity(&'static str);

#[async_trait]
impl Fetch for Identity {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        assert_eq!(request.url, DNSIMPLE_IDENTITY);
        assert_eq!(request.policy, EgressPolicy::PUBLIC);
        assert_eq!(request.headers["authorization"], "Bearer secret token");
        assert!(!format!("{request:?}").contains("secret token"));
        Ok(Response {
            status: http::StatusCode::OK,
            headers: http::HeaderMap::new(),
            body: self.0.into(),
        })
    }
}

#[tokio::test]
async fn a_token_of_dnsimple_leads_to_its_account() {
    let account = account("dnsimple", &[("token", "secret token")]);
    let identity = Identity(r#"{"data":{"user":null,"account":{"id":1385,"email":"a@b"}}}"#);
    let found = dnsimple_account(&identity, &account).await;
    assert_eq!(found.unwrap(), "1385");
    for answer in [r#"{"data":{"user":{"id":1},"account":null}}"#, "garbage"] {
        let refused = dnsimple_account(&Identity(answer), &account).await;
        assert!(
            matches!(refused, Err(ProviderError::Credentials { .. })),
            "{refused:?}"
        );
    }
}

const GOOGLE: &str = r#"{"type":"service_account","project_id":"project",
    "client_email":"dns@project.iam.gserviceaccount.com",
    "private_key":"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n",
    "token_uri":"http://169.254.169.254/token"}"#;

#[test]
fn a_service_account_does_not_say_where_its_token_comes_from() {
    let (project, key) = google_account(GOOGLE).unwrap();
    assert_eq!(project, "project");
    let key: Value = serde_json::from_str(&key).unwrap();
    assert_eq!(key["token_uri"], GOOGLE_TOKENS);
    for broken in ["", "{}", "[]", r#"{"client_email":"a","private_key":"b"}"#] {
        assert!(google_account(broken).is_err(), "{broken}");
    }
}

#[tokio::test]
async fn every_kind_has_a_driver_for_complete_credentials() {
    let own = ["acme-dns", "exec", "httpreq", "rfc2136"];
    for kind in kinds().iter().filter(|kind| !own.contains(&kind.name)) {
        let value = |field: &str| match (kind.name, field) {
            ("google", _) => GOOGLE,
            ("ovh", "endpoint") => "OVH-EU",
            ("transip", "key_file") => "-----BEGIN PRIVATE KEY-----",
            _ => "value",
        };
        let fields = kind.fields.iter().map(|field| field.name);
        let fields =
            fields.filter(|name| !["api_key", "email"].contains(name) || kind.name != "cloudflare");
        let fields: Vec<(&str, &str)> = fields.map(|name| (name, value(name))).collect();
        let account = account(kind.name, &fields);
        check(kind.name, &account.credentials).unwrap();
        let driver = driver(&Identity(""), &account).await;
        assert!(driver.is_ok(), "{}: {:?}", kind.name, driver.err());
    }
}

#[test]
fn credentials_that_drivers_have_no_use_for_are_refused() {
    for (kind, fields, field) in [
        ("cloudflare", &[][..], "api_token"),
        ("cloudflare", &[("api_key", "a"), ("email", "b")], "api_key"),
        (
            "ovh",
            &[
                ("application_key", "a"),
                ("application_secret", "b"),
                ("consumer_key", "c"),
                ("endpoint", "ovh-mars"),
            ],
            "endpoint",
        ),
        (
            "transip",
            &[("username", "me"), ("key_file", "/etc/passwd")],
            "key_file",
        ),
        (
            "google",
            &[("service_account_json", "/etc/passwd")],
            "service_account_json",
        ),
        ("hetzner", &[("token", " ")], "token"),
    ] {
        let credentials: Credentials = account(kind, fields).credentials;
        let error = check(kind, &credentials).unwrap_err().to_string();
        assert!(error.contains(field) && error.contains(kind), "{error}");
    }
}
