//! `/chancery/v1/services…`: the usual kind of service, a web site behind TLS, in one request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::StatusCode;
use lifecycle::{
    Certificate, DomainRequest, DomainView, Error, House, InstanceRef, InstanceView,
    NewServiceRequest, Noun, PortRequest, Principal, Service, ServiceId, ServiceRef, ServiceView,
    State,
};
use serde::Serialize;

use super::faults::Fault;
use super::{Body, Call, named, paging};
use crate::Context;
use crate::exchange::{Response, json};
use crate::json::{Malformed, Object};
use crate::notation::{PortView, timestamp};

/// Most upstreams of one service.
const MAX_UPSTREAMS: usize = 64;

/// What the instances are said to run: their names begin with it.
const IMAGE: &str = "upstream";

const HTTPS: u16 = 443;

/// A service as this API shows it.
#[derive(Serialize)]
struct View<'a> {
    uuid: String,
    name: &'a str,
    created_at: String,
    ports: Vec<PortView>,
    domains: Vec<DomainOfView<'a>>,
    upstreams: Vec<UpstreamView>,
    urls: Vec<String>,
    /// Where this server ends TLS for the domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    edge_https: Option<String>,
}

#[derive(Serialize)]
struct DomainOfView<'a> {
    name: &'a str,
    /// `null` where the domain is served with the server's own certificate.
    certificate: Option<CertificateView<'a>>,
}

#[derive(Serialize)]
struct CertificateView<'a> {
    uuid: String,
    name: &'a str,
    state: &'static str,
    /// The private authority that issues it.
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
}

/// An instance. Lists leave out where it listens and whether it does.
#[derive(Serialize)]
struct UpstreamView {
    uuid: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
}

#[derive(Serialize)]
struct PageView<'a> {
    services: Vec<View<'a>>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

struct CreateBody {
    domains: Vec<String>,
    upstreams: Vec<String>,
    name: Option<String>,
    certificate: Option<String>,
}

impl Body for CreateBody {
    // The greatest number of domains of a service, each as long as can be.
    const LIMIT: usize = 4 * 1024 * 1024;
    const MEMBERS: &'static [&'static str] = &["certificate", "domains", "name", "upstreams"];

    fn read(mut object: Object<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            domains: object.take("domains")?.unwrap_or_default(),
            upstreams: object.require("upstreams")?,
            name: object.take("name")?,
            certificate: object.take("certificate")?,
        })
    }
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let page = paging::asked(&call, ServiceId::from_uuid)?;
    let services = &call.context.house.services;
    let mut found = services.list(&call.principal, &page).await?;
    let place = |service: &Service| (service.created_at, service.id.as_uuid());
    let next = paging::cut(&mut found, &page, place);
    let (found, rest) = services.fill(&call.principal, found).await?;
    let next = rest.as_ref().map(place).map(paging::next).or(next);
    let edge = call.context.settings.edge_https;
    let services = found.iter().map(|found| View::of(found, edge)).collect();
    Ok(json(StatusCode::OK, &PageView { services, next }))
}

pub(super) async fn show(call: Call<'_>, reference: &ServiceRef) -> Result<Response, Fault> {
    answer(call.context, &call.principal, reference).await
}

pub(super) async fn create(call: Call<'_>) -> Result<Response, Fault> {
    let context = call.context;
    let (principal, body, _room): (_, CreateBody, _) = call.body().await?;
    let upstreams = Upstreams::read(&body.upstreams)?;
    let certificate = body.certificate.map(named);
    let domains = body.domains.iter().map(|name| DomainRequest {
        // People do not write the final dot that makes a name absolute.
        name: format!("{name}."),
        certificate: certificate.clone(),
    });
    let request = NewServiceRequest {
        name: body.name,
        ports: PortRequest::web(upstreams.port),
        domains: domains.collect(),
        is_persistent: true,
        ..NewServiceRequest::default()
    };
    let (house, maker) = (context.house.clone(), principal.clone());
    // Carried on to its end even if the caller goes away, so that nothing is left half made.
    let addresses = upstreams.addresses;
    let making =
        tokio::spawn(async move { house.publish(&maker, request, IMAGE, addresses).await });
    let id = making.await.map_err(|error| Fault::internal(&error))??;
    answer(context, &principal, &ServiceRef::Id(id)).await
}

pub(super) async fn delete(call: Call<'_>, reference: &ServiceRef) -> Result<Response, Fault> {
    let house = &call.context.house;
    let found = find(house, &call.principal, reference).await?;
    house.withdraw(&call.principal, &found).await?;
    let deleted = serde_json::json!({
        "uuid": found.service.id.to_string(),
        "name": found.service.name,
    });
    Ok(json(StatusCode::OK, &deleted))
}

/// A service with everything that is known of its instances.
async fn answer(
    context: &Context,
    principal: &Principal,
    reference: &ServiceRef,
) -> Result<Response, Fault> {
    let found = find(&context.house, principal, reference).await?;
    let instances: Vec<InstanceRef> = found
        .instances
        .iter()
        .map(|(id, _)| InstanceRef::Id(*id))
        .collect();
    let instances = &context
        .house
        .instances
        .find_each(principal, &instances)
        .await?;
    let port = web_destination(&found.service);
    let upstreams = instances.iter().flatten();
    let mut view = View::of(&found, context.settings.edge_https);
    view.upstreams = upstreams
        .map(|upstream| UpstreamView::of(upstream, port))
        .collect();
    Ok(json(StatusCode::OK, &view))
}

async fn find(
    house: &House,
    principal: &Principal,
    reference: &ServiceRef,
) -> Result<Arc<ServiceView>, Error> {
    let references = std::slice::from_ref(reference);
    let found = house.services.find_each(principal, references).await?;
    let found = found.into_iter().flatten().next();
    found.ok_or_else(|| match reference {
        ServiceRef::Id(id) => Error::not_found(Noun::Service, id),
        ServiceRef::Name(name) => Error::not_found(Noun::Service, name),
    })
}

/// Where instances listen: all on one port.
struct Upstreams {
    addresses: Vec<String>,
    port: u16,
}

impl Upstreams {
    fn read(texts: &[String]) -> Result<Self, Fault> {
        let bad = |detail: String| Fault::new(StatusCode::BAD_REQUEST, detail);
        if texts.len() > MAX_UPSTREAMS {
            return Err(bad(format!(
                "a service has at most {MAX_UPSTREAMS} upstreams"
            )));
        }
        let mut addresses = Vec::with_capacity(texts.len());
        let mut common = None;
        for text in texts {
            let shown = text.escape_debug();
            let (address, port) = upstream(text).ok_or_else(|| {
                bad(format!(
                    "'{shown}' is no upstream: it looks like 10.0.0.1:8080"
                ))
            })?;
            if *common.get_or_insert(port) != port {
                return Err(bad(
                    "all upstreams of a service have the same port".to_owned()
                ));
            }
            addresses.push(address);
        }
        let port = common.ok_or_else(|| bad("name at least one upstream".to_owned()))?;
        Ok(Self { addresses, port })
    }
}

/// Address and port of `host:port`; an IPv6 address stands in brackets.
fn upstream(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || (host.contains(':') && !is_bracketed) {
        return None;
    }
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
    Some((host.to_owned(), port))
}

/// The port that the instances get HTTPS requests on, if the service publishes HTTPS.
fn web_destination(service: &Service) -> Option<u16> {
    let https = service.ports.iter().find(|port| port.port == HTTPS)?;
    Some(https.destination_port)
}

impl<'a> View<'a> {
    fn of(view: &'a ServiceView, edge: Option<SocketAddr>) -> Self {
        let ServiceView {
            service,
            domains,
            instances,
        } = view;
        let has_urls = web_destination(service).is_some();
        // A wildcard is a name of many sites, none of them known here.
        let sites = domains
            .iter()
            .filter(|domain| has_urls && !domain.name.starts_with('*'));
        Self {
            uuid: service.id.to_string(),
            name: &service.name,
            created_at: timestamp(service.created_at),
            ports: service.ports.iter().map(PortView::of).collect(),
            domains: domains.iter().map(DomainOfView::of).collect(),
            upstreams: instances
                .iter()
                .map(|(id, name)| UpstreamView {
                    uuid: id.to_string(),
                    name: name.clone(),
                    address: None,
                    running: None,
                })
                .collect(),
            urls: sites.map(|domain| url(&domain.name, edge)).collect(),
            edge_https: edge.map(|edge| edge.to_string()),
        }
    }
}

fn url(domain: &str, edge: Option<SocketAddr>) -> String {
    match edge.map(|edge| edge.port()) {
        None | Some(HTTPS) => format!("https://{domain}/"),
        Some(port) => format!("https://{domain}:{port}/"),
    }
}

impl<'a> DomainOfView<'a> {
    fn of(domain: &'a DomainView) -> Self {
        Self {
            name: &domain.name,
            certificate: domain.certificate.as_deref().map(CertificateView::of),
        }
    }
}

impl<'a> CertificateView<'a> {
    fn of(certificate: &'a Certificate) -> Self {
        let (attempt, next_attempt_at, reason) = match &certificate.state {
            State::Pending {
                attempt,
                next_attempt_at,
            } => (Some(*attempt), Some(timestamp(*next_attempt_at)), None),
            State::Error { reason } => (None, None, Some(reason.as_str())),
            State::Revoked | State::Valid => (None, None, None),
        };
        Self {
            uuid: certificate.id.to_string(),
            name: &certificate.name,
            state: certificate.state.kind().as_str(),
            issuer: certificate.issuer.as_deref(),
            reason,
            attempt,
            next_attempt_at,
        }
    }
}

impl UpstreamView {
    fn of(view: &Arc<InstanceView>, port: Option<u16>) -> Self {
        let instance = &view.instance;
        Self {
            uuid: instance.id.to_string(),
            name: instance.name.clone(),
            address: instance.address.as_deref().map(|address| {
                let host = match address.parse::<IpAddr>() {
                    Ok(IpAddr::V6(address)) => format!("[{address}]"),
                    _ => address.to_owned(),
                };
                match port {
                    Some(port) => format!("{host}:{port}"),
                    None => host,
                }
            }),
            running: Some(view.is_running),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_with_a_port() {
        for (text, expected) in [
            ("10.0.0.1:8080", Some(("10.0.0.1", 8080))),
            ("localhost:1", Some(("localhost", 1))),
            ("[::1]:65535", Some(("[::1]", 65535))),
            ("::1:80", None),
            ("10.0.0.1", None),
            (":80", None),
            ("a:", None),
            ("a:0", None),
            ("a:+1", None),
            ("a:65536", None),
            ("http://a:80", None),
            ("", None),
        ] {
            let read = upstream(text);
            let read = read.as_ref().map(|(host, port)| (host.as_str(), *port));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn a_url_names_the_port_of_the_edge_unless_it_is_the_usual_one() {
        let at = |edge: &str| url("a.test", Some(edge.parse().unwrap()));
        assert_eq!(at("127.0.0.1:8444"), "https://a.test:8444/");
        assert_eq!(at("[::]:443"), "https://a.test/");
        assert_eq!(url("a.test", None), "https://a.test/");
    }
}
