//! `service create|ls|show|rm`

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use http::{Method, Uri};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{PAGE, all_pages, print_json, segment, text};
use crate::arguments::{ServiceCommand, ServiceCreate};
use crate::client::Client;
use crate::output::{table, with_spinner};

/// How long `create` waits for certificates.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it looks whether they are there.
const INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn run(client: &Client, command: ServiceCommand) -> anyhow::Result<()> {
    match command {
        ServiceCommand::Create(create) => self::create(client, create).await,
        ServiceCommand::Ls { json } => list(client, json).await,
        ServiceCommand::Show { reference, json } => show(client, &reference, json).await,
        ServiceCommand::Rm { reference, json } => remove(client, &reference, json).await,
    }
}

async fn create(client: &Client, create: ServiceCreate) -> anyhow::Result<()> {
    let body = json!({
        "domains": create.domains,
        "upstreams": create.upstreams,
        "name": create.name,
        "certificate": create.certificate,
    });
    let made = with_spinner("creating", client.post("services", &body)).await?;
    let settled = with_spinner("waiting for the certificate", settled(client, &made)).await;
    let service = settled.with_context(|| {
        format!(
            "the service '{}' is made, but its certificates could not be waited for",
            text(&made, "name")
        )
    })?;
    if create.json {
        return print_json(&service);
    }
    println!("{}  {}", text(&service, "uuid"), text(&service, "name"));
    print_urls(client, &service);
    for unserved in unserved(&service) {
        eprintln!("{unserved}");
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> anyhow::Result<()> {
    let query = format!("services?limit={PAGE}");
    let services = with_spinner("listing", all_pages(client, &query, "services")).await?;
    if json {
        return print_json(&Value::Array(services));
    }
    let rows: Vec<Vec<String>> = services.iter().map(row).collect();
    print!(
        "{}",
        table(
            &["NAME", "DOMAINS", "CERTIFICATES", "UPSTREAMS", "UUID"],
            &rows
        )
    );
    Ok(())
}

async fn show(client: &Client, reference: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("services/{}", segment(reference));
    let service = with_spinner("fetching", client.send(Method::GET, &path)).await?;
    if json {
        return print_json(&service);
    }
    for (label, key) in [
        ("Name", "name"),
        ("UUID", "uuid"),
        ("Created", "created_at"),
    ] {
        println!("{label:<12} {}", text(&service, key));
    }
    let ports: Vec<String> = elements(&service, "ports").map(port).collect();
    println!("{:<12} {}", "Ports", ports.join(", "));
    let domains: Vec<Vec<String>> = elements(&service, "domains").map(domain_row).collect();
    println!();
    print!("{}", table(&["DOMAIN", "CERTIFICATE", "STATE"], &domains));
    let upstreams: Vec<Vec<String>> = elements(&service, "upstreams").map(upstream_row).collect();
    println!();
    print!("{}", table(&["UPSTREAM", "ADDRESS", "STATE"], &upstreams));
    println!();
    print_urls(client, &service);
    Ok(())
}

async fn remove(client: &Client, reference: &str, json: bool) -> anyhow::Result<()> {
    let path = format!("services/{}", segment(reference));
    let removed = with_spinner("deleting", client.send(Method::DELETE, &path)).await?;
    if json {
        return print_json(&removed);
    }
    println!("deleted {}", text(&removed, "name"));
    Ok(())
}

/// The service once none of its certificates is pending, or as it is after some patience.
async fn settled(client: &Client, made: &Value) -> anyhow::Result<Value> {
    let path = format!("services/{}", segment(&text(made, "uuid")));
    let deadline = Instant::now() + PATIENCE;
    let mut service = made.clone();
    while is_pending(&service) && Instant::now() < deadline {
        sleep(INTERVAL).await;
        service = client.send(Method::GET, &path).await?;
    }
    Ok(service)
}

fn is_pending(service: &Value) -> bool {
    elements(service, "domains").any(|domain| text(certificate(domain), "state") == "pending")
}

/// Why domains cannot be served now, a line for each.
fn unserved(service: &Value) -> Vec<String> {
    let lines = elements(service, "domains").filter_map(|domain| {
        let (name, certificate) = (text(domain, "name"), certificate(domain));
        let own = text(certificate, "name");
        match text(certificate, "state").as_str() {
            "" | "valid" => None,
            "pending" => Some(format!(
                "the certificate of {name} is pending: {} attempts failed, the next is due at {} \
                 (chancery show {own})",
                certificate
                    .get("attempt")
                    .and_then(Value::as_u64)
                    .unwrap_or_default(),
                text(certificate, "next_attempt_at"),
            )),
            state => Some(format!(
                "the certificate of {name} cannot be used ({state}): {} (chancery show {own})",
                text(certificate, "reason"),
            )),
        }
    });
    lines.collect()
}

fn print_urls(client: &Client, service: &Value) {
    for url in elements(service, "urls").filter_map(Value::as_str) {
        println!("{}", crate::output::safe(url));
    }
    if let Some(line) = curl(service, client.root_file(), client.url()) {
        println!("try it: {line}");
    }
}

/// A command that asks the edge of this server for the first site, whatever the DNS says. `None` if
/// the server has no edge, or the service no site. `root` is for certificates of the server's own
/// authority, and `server` is the URL that it was reached under.
fn curl(service: &Value, root: Option<&Path>, server: &str) -> Option<String> {
    let domain = elements(service, "domains").find(|domain| !text(domain, "name").starts_with('*'));
    let name = domain.map(|domain| text(domain, "name"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let edge: SocketAddr = service.get("edge_https")?.as_str()?.parse().ok()?;
    if elements(service, "urls").next().is_none() || !name.bytes().all(is_name) {
        return None;
    }
    let certificate = domain.map_or(&Value::Null, certificate);
    // What is served with the server's own certificate has no other one.
    let is_private =
        certificate.is_null() || certificate.get("issuer").is_some_and(Value::is_string);
    let root = match root {
        Some(root) if is_private => format!("--cacert {} ", word(&root.display().to_string())),
        _ => String::new(),
    };
    let port = edge.port();
    let way = match reached_at(edge.ip(), server)? {
        Host::Address(IpAddr::V6(address)) => format!("--resolve {name}:{port}:[{address}]"),
        Host::Address(address) => format!("--resolve {name}:{port}:{address}"),
        Host::Name(host) => format!("--connect-to {name}:{port}:{host}:{port}"),
    };
    let authority = match port {
        443 => name,
        port => format!("{name}:{port}"),
    };
    Some(format!("curl {root}{way} https://{authority}/"))
}

/// Where a client can connect.
enum Host {
    Address(IpAddr),
    Name(String),
}

/// The host of a listener at `address` of the server that was reached under `server`.
fn reached_at(address: IpAddr, server: &str) -> Option<Host> {
    if !address.is_unspecified() {
        return Some(Host::Address(address));
    }
    let server: Uri = server.parse().ok()?;
    let host = server.host()?;
    if host == "localhost" {
        return Some(Host::Address(Ipv4Addr::LOCALHOST.into()));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    Some(match bare.parse() {
        Ok(address) => Host::Address(address),
        Err(_) => Host::Name(host.to_owned()),
    })
}

/// A text as one word of a shell's command.
fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./+:@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn row(service: &Value) -> Vec<String> {
    let mut domains = elements(service, "domains").map(|domain| text(domain, "name"));
    let first = domains.next().unwrap_or_default();
    let states: Vec<String> = elements(service, "domains")
        .map(|domain| text(certificate(domain), "state"))
        .collect();
    // The worst counts.
    let state = ["error", "revoked", "pending", "valid"]
        .into_iter()
        .find(|state| states.iter().any(|other| other == state));
    vec![
        text(service, "name"),
        match domains.count() {
            0 => first,
            more => format!("{first} +{more}"),
        },
        state.unwrap_or("-").to_owned(),
        elements(service, "upstreams").count().to_string(),
        text(service, "uuid"),
    ]
}

fn domain_row(domain: &Value) -> Vec<String> {
    let certificate = certificate(domain);
    if certificate.is_null() {
        let own = "(the server's own)".to_owned();
        return vec![text(domain, "name"), own, "-".to_owned()];
    }
    vec![
        text(domain, "name"),
        text(certificate, "name"),
        match text(certificate, "reason") {
            reason if reason.is_empty() => text(certificate, "state"),
            reason => format!("{}: {reason}", text(certificate, "state")),
        },
    ]
}

fn upstream_row(upstream: &Value) -> Vec<String> {
    let is_running = upstream.get("running") == Some(&Value::Bool(true));
    vec![
        text(upstream, "name"),
        match text(upstream, "address") {
            address if address.is_empty() => "-".to_owned(),
            address => address,
        },
        if is_running { "running" } else { "stopped" }.to_owned(),
    ]
}

/// `443 → 8080 tls+http`
fn port(port: &Value) -> String {
    let number = |key: &str| port.get(key).and_then(Value::as_u64).unwrap_or_default();
    let handlers: Vec<&str> = elements(port, "handlers")
        .filter_map(Value::as_str)
        .collect();
    let handlers = crate::output::safe(&handlers.join("+"));
    format!(
        "{} → {} {handlers}",
        number("port"),
        number("destination_port")
    )
}

fn certificate(domain: &Value) -> &Value {
    domain.get("certificate").unwrap_or(&Value::Null)
}

fn elements<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(edge: Option<&str>, domains: &Value) -> Value {
        json!({
            "edge_https": edge,
            "domains": domains,
            "urls": ["https://shop.test:8444/"],
        })
    }

    fn line(edge: &str, server: &str) -> Option<String> {
        let domains = json!([
            {"name": "*.shop.test", "certificate": null},
            {"name": "shop.test", "certificate": {"issuer": "default"}},
        ]);
        curl(
            &service(Some(edge), &domains),
            Some(Path::new("data/root.pem")),
            server,
        )
    }

    #[test]
    fn the_command_to_try_reaches_the_edge_whatever_the_dns_says() {
        let local = "http://127.0.0.1:8080";
        for (edge, server, way) in [
            (
                "127.0.0.1:8444",
                local,
                "--resolve shop.test:8444:127.0.0.1",
            ),
            ("[::1]:8444", local, "--resolve shop.test:8444:[::1]"),
            ("0.0.0.0:8444", local, "--resolve shop.test:8444:127.0.0.1"),
            (
                "[::]:8444",
                "http://[2001:db8::1]:80",
                "--resolve shop.test:8444:[2001:db8::1]",
            ),
            (
                "0.0.0.0:8444",
                "http://localhost:80",
                "--resolve shop.test:8444:127.0.0.1",
            ),
            (
                "0.0.0.0:8444",
                "https://edge.test",
                "--connect-to shop.test:8444:edge.test:8444",
            ),
        ] {
            let expected = format!("curl --cacert data/root.pem {way} https://shop.test:8444/");
            assert_eq!(line(edge, server), Some(expected));
        }
        let usual = line("10.0.0.1:443", local).unwrap();
        assert!(
            usual.ends_with("--resolve shop.test:443:10.0.0.1 https://shop.test/"),
            "{usual}"
        );
    }

    #[test]
    fn only_certificates_of_the_server_need_its_root() {
        let with = |certificate: Value| {
            let domains = json!([{"name": "a.test", "certificate": certificate}]);
            let line = curl(
                &service(Some("127.0.0.1:443"), &domains),
                Some(Path::new("a b'c")),
                "",
            );
            line.unwrap()
        };
        assert!(with(Value::Null).starts_with(r"curl --cacert 'a b'\''c' --resolve"));
        assert!(with(json!({"issuer": "default"})).contains("--cacert"));
        assert!(!with(json!({"issuer": null})).contains("--cacert"));
    }

    #[test]
    fn nothing_can_be_tried_without_an_edge_or_a_site() {
        let site = json!([{"name": "a.test", "certificate": null}]);
        assert_eq!(curl(&service(None, &site), None, ""), None);
        let wildcard = json!([{"name": "*.a.test", "certificate": null}]);
        assert_eq!(
            curl(&service(Some("127.0.0.1:443"), &wildcard), None, ""),
            None
        );
        let odd = json!([{"name": "a.test; rm -rf", "certificate": null}]);
        assert_eq!(curl(&service(Some("127.0.0.1:443"), &odd), None, ""), None);
        let mut without_urls = service(Some("127.0.0.1:443"), &site);
        without_urls["urls"] = json!([]);
        assert_eq!(curl(&without_urls, None, ""), None);
    }

    #[test]
    fn domains_that_cannot_be_served_are_told_with_their_reason() {
        let domains = json!([
            {"name": "a.test", "certificate": {"name": "a-1", "state": "valid"}},
            {"name": "b.test", "certificate": null},
            {"name": "c.test", "certificate": {"name": "c-1", "state": "pending", "attempt": 2,
                "next_attempt_at": "2026-03-01T12:00:00Z"}},
            {"name": "d.test", "certificate": {"name": "d-1", "state": "error", "reason": "no answer"}},
        ]);
        let service = service(None, &domains);
        let lines = unserved(&service);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].contains("c.test is pending: 2 attempts failed") && lines[0].contains("c-1")
        );
        assert!(lines[1].contains("d.test") && lines[1].contains("no answer"));
        assert!(is_pending(&service));
        assert_eq!(row(&service)[1..3], ["a.test +3", "error"]);
    }
}
