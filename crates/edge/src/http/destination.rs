//! From the host that a request names to what is done with it.

use std::sync::Arc;

use http::HeaderValue;
use lifecycle::{Protocol, PublishedPort, Site};

use super::authority::{Host, Target};
use super::balancer::Service;
use super::pages::Fault;
use super::{Directory, redirect};
use crate::facts::{ConnectionFacts, TlsFacts};

/// What is done with a request.
#[derive(Debug)]
pub(super) enum Destination {
    /// It goes to this port of an instance.
    Instances(Arc<Service>, u16),
    /// The client is sent there.
    Redirect(HeaderValue),
}

/// What is done with a request for `target` on a connection.
///
/// # Errors
/// [`Fault`] when nothing is.
pub(super) async fn destination<D: Directory>(
    target: &Target,
    facts: &ConnectionFacts,
    directory: &D,
) -> Result<Destination, Fault> {
    let host = target.name()?;
    let site = match (&facts.tls, host) {
        (Some(tls), host) => secured(tls, host, directory).await?,
        (None, Host::Address(_)) => return Err(Fault::UnknownHost),
        (None, Host::Name(name)) => find(name, directory).await?.ok_or(Fault::UnknownHost)?,
    };
    let service = directory.service(site.service).await;
    let service = service.map_err(|error| unavailable(&error))?;
    let service = service.ok_or(Fault::UnknownHost)?;
    let published = |port: u16| -> Option<PublishedPort> {
        let mut ports = service.route.ports.iter();
        let is_it = |it: &&PublishedPort| it.port == port && it.protocol == Protocol::Tcp;
        ports.find(is_it).copied()
    };
    let port = published(facts.entrance.port()).ok_or(Fault::NotPublished)?;
    if !port.handlers.http || port.handlers.tls != facts.tls.is_some() {
        return Err(Fault::NotPublished);
    }
    if !port.handlers.redirect {
        return Ok(Destination::Instances(service, port.destination_port));
    }
    if redirect::is_challenge(target.path.path()) {
        let secure = published(443).ok_or(Fault::NotPublished)?;
        return Ok(Destination::Instances(service, secure.destination_port));
    }
    let Host::Name(name) = host else {
        return Err(Fault::UnknownHost);
    };
    let location = redirect::location(name, directory.settings().https_port, &target.path);
    Ok(Destination::Redirect(location.ok_or(Fault::UnknownHost)?))
}

/// The site of a request on a connection with TLS. What the client was shown there has to be the
/// certificate of the host: it may not even have meant to speak to the other one (RFC 9110
/// section 7.4).
async fn secured<D: Directory>(
    tls: &TlsFacts,
    host: Host<'_>,
    directory: &D,
) -> Result<Arc<Site>, Fault> {
    let Host::Name(name) = host else {
        return Err(Fault::Misdirected);
    };
    // Also the name that the client came for: since then it may have gone to another service.
    let site = find(name, directory).await?.ok_or(Fault::Misdirected)?;
    let is_same = site.domain == tls.site.domain
        || (site.certificate.is_some() && site.certificate == tls.site.certificate);
    is_same.then_some(site).ok_or(Fault::Misdirected)
}

async fn find<D: Directory>(name: &str, directory: &D) -> Result<Option<Arc<Site>>, Fault> {
    let found = if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        directory.site(&name.to_ascii_lowercase()).await
    } else {
        directory.site(name).await
    };
    found.map_err(|error| unavailable(&error))
}

fn unavailable(error: &lifecycle::Error) -> Fault {
    tracing::error!(%error, "the house could not be asked about a domain");
    Fault::Unavailable
}
