//! Orders (RFC 8555 section 7.4).

use std::collections::BTreeSet;

use pki::Identifier;
use serde_json::{Value, json};

use super::answer::{Answer, Outcome, refuse};
use super::authorizations;
use super::faults::Resource;
use super::issuing::read_request;
use super::jws::{Jws, decode, malformed};
use super::limits::{Limit, registered_domain};
use super::state::{KEPT, Order, Server, State, moment, on_the_wire};

/// The most names in an order.
const MAX_NAMES: usize = 100;

pub(super) fn place(server: &Server, jws: &Jws, account: usize) -> Outcome {
    let wish = jws.document()?;
    let names = read_names(&wish)?;
    if !wish["notBefore"].is_null() || !wish["notAfter"].is_null() {
        return Err(malformed("validities cannot be chosen"));
    }
    let profile = wish["profile"].as_str();
    if let Some(profile) = profile.filter(|name| !server.options.profiles.contains_key(*name)) {
        let detail = format!("there is no profile {profile}");
        return Err(refuse(400, "invalidProfile", &detail));
    }
    let mut state = server.state();
    let replaces = wish["replaces"].as_str();
    if let Some(name) = replaces {
        check_replaced(&state, account, &names, name)?;
    }
    if replaces.is_none() && server.options.limits.is_some() {
        check_limits(server, &mut state, account, &names)?;
    }
    let authorizations = names.iter();
    let authorizations = authorizations
        .map(|name| authorizations::find_or_make(server, &mut state, account, name))
        .collect();
    state.orders.push(Order {
        account,
        status: "pending",
        names,
        authorizations,
        profile: profile.map(ToOwned::to_owned),
        replaces: replaces.map(ToOwned::to_owned),
        request: None,
        polls: server.options.processing_polls,
        certificate: None,
        error: None,
        placed: server.now(),
        expires: server.now() + KEPT,
    });
    let id = state.orders.len() - 1;
    server.advance(&mut state, id);
    let location = server.url(&state, Resource::Order, &format!("/order/{id}"));
    Ok(show(server, &state, id, 201).header("Location", location))
}

pub(super) fn look(server: &Server, id: usize, account: usize) -> Outcome {
    let mut state = server.state();
    own(&state, id, account)?;
    server.advance(&mut state, id);
    Ok(show(server, &state, id, 200))
}

pub(super) fn finalize(server: &Server, jws: &Jws, id: usize, account: usize) -> Outcome {
    let wish = jws.document()?;
    let request = decode(wish["csr"].as_str().unwrap_or_default())?;
    let mut state = server.state();
    own(&state, id, account)?;
    server.advance(&mut state, id);
    let order = &mut state.orders[id];
    if order.status != "ready" {
        let detail = format!("the order is {}", order.status);
        return Err(refuse(403, "orderNotReady", &detail));
    }
    let (key, names) = read_request(&request).map_err(|error| refuse(400, "badCSR", &error))?;
    if spelled(&names) != spelled(&order.names) {
        return Err(refuse(
            400,
            "badCSR",
            "the request is for other names than the order",
        ));
    }
    order.request = Some((key, names));
    order.status = "processing";
    server.advance(&mut state, id);
    let location = server.url(&state, Resource::Order, &format!("/order/{id}"));
    Ok(show(server, &state, id, 200).header("Location", location))
}

fn own(state: &State, id: usize, account: usize) -> Result<(), Answer> {
    match state.orders.get(id) {
        Some(order) if order.account == account => Ok(()),
        _ => Err(refuse(404, "malformed", "there is no such order")),
    }
}

fn show(server: &Server, state: &State, id: usize, status: u16) -> Answer {
    let order = &state.orders[id];
    let authorizations = order.authorizations.iter().map(|authorization| {
        let path = format!("/authorization/{authorization}");
        server.url(state, Resource::Authorization, &path)
    });
    let mut document = json!({
        "status": order.status,
        "expires": moment(order.expires),
        "identifiers": order.names.iter().map(on_the_wire).collect::<Vec<_>>(),
        "authorizations": authorizations.collect::<Vec<_>>(),
        "finalize": server.url(state, Resource::Finalize, &format!("/order/{id}/finalize")),
    });
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            document[name] = value;
        }
    };
    add("profile", order.profile.as_deref().map(Value::from));
    add("replaces", order.replaces.as_deref().map(Value::from));
    add("error", order.error.clone());
    let certificate = order.certificate.map(|certificate| {
        let path = format!("/certificate/{certificate}");
        server.url(state, Resource::Certificate, &path)
    });
    add("certificate", certificate.map(Value::from));
    let answer = Answer::json(status, &document);
    match server.options.retry_after {
        Some(seconds) if order.status == "processing" => {
            answer.header("Retry-After", seconds.to_string())
        }
        _ => answer,
    }
}

fn read_names(wish: &Value) -> Result<Vec<Identifier>, Answer> {
    let given = wish["identifiers"].as_array();
    let given = given.ok_or_else(|| malformed("the order names nothing"))?;
    let mut names = Vec::new();
    for identifier in given {
        let value = identifier["value"].as_str().unwrap_or_default();
        let name = Identifier::parse_host(value)
            .map_err(|error| refuse(400, "rejectedIdentifier", &format!("{value}: {error}")))?;
        if on_the_wire(&name) != *identifier {
            let detail = format!("{value} is not of that type, or not in its usual form");
            return Err(refuse(400, "unsupportedIdentifier", &detail));
        }
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        1..=MAX_NAMES => Ok(names),
        _ => Err(malformed("the order names nothing, or too much")),
    }
}

/// RFC 9773 section 5.
fn check_replaced(
    state: &State,
    account: usize,
    names: &[Identifier],
    replaced: &str,
) -> Result<(), Answer> {
    let replaced = state
        .certificate_named(replaced)
        .map(|id| &state.certificates[id]);
    let replaced = replaced.filter(|certificate| certificate.account == account);
    let Some(replaced) = replaced else {
        return Err(refuse(
            404,
            "malformed",
            "there is no such certificate to replace",
        ));
    };
    if replaced.is_replaced {
        return Err(refuse(
            409,
            "alreadyReplaced",
            "the certificate has been replaced",
        ));
    }
    let before = spelled(&state.orders[replaced.order].names);
    if before.is_disjoint(&spelled(names)) {
        return Err(malformed(
            "the certificate to replace has none of these names",
        ));
    }
    Ok(())
}

fn check_limits(
    server: &Server,
    state: &mut State,
    account: usize,
    names: &[Identifier],
) -> Result<(), Answer> {
    let Some(limits) = server.options.limits else {
        return Ok(());
    };
    let now = server.now();
    let orders = (format!("orders {account}"), limits.orders);
    let mut buckets = certificate_buckets(server, names);
    buckets.extend(names.iter().map(|name| {
        let bucket = format!("failures {account} {name}");
        (bucket, limits.failures)
    }));
    buckets.push(orders.clone());
    let waits = buckets.iter();
    let waits = waits.filter_map(|(bucket, limit)| {
        let wait = state.buckets.wait(bucket, *limit, now)?;
        Some((wait, bucket))
    });
    if let Some((wait, bucket)) = waits.max() {
        let seconds = wait.as_secs() + 1;
        let detail = format!("too many: {bucket}; retry in {seconds} s");
        state.violations += 1;
        if server.options.enforces_limits {
            let refusal = refuse(429, "rateLimited", &detail);
            return Err(refusal.header("Retry-After", seconds.to_string()));
        }
    }
    state.buckets.take(&orders.0, orders.1, now);
    Ok(())
}

/// The buckets that a certificate for these names is taken from.
fn certificate_buckets(server: &Server, names: &[Identifier]) -> Vec<(String, Limit)> {
    let Some(limits) = server.options.limits else {
        return Vec::new();
    };
    let names: Vec<String> = spelled(names).into_iter().collect();
    let domains = names.iter().map(|name| registered_domain(name));
    let domains: BTreeSet<&str> = domains.collect();
    let domains = domains.into_iter();
    let mut buckets: Vec<_> = domains
        .map(|domain| (format!("certificates of {domain}"), limits.per_domain))
        .collect();
    buckets.push((
        format!("certificates for {}", names.join(",")),
        limits.duplicates,
    ));
    buckets
}

impl Server {
    /// Counts a certificate against the limits.
    pub(super) fn charge_certificate(&self, state: &mut State, order: usize) {
        let now = self.now();
        for (bucket, limit) in certificate_buckets(self, &state.orders[order].names) {
            state.buckets.take(&bucket, limit, now);
        }
    }
}

/// The names as text, in order.
pub(super) fn spelled(names: &[Identifier]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}
