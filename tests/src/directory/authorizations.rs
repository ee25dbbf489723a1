//! Authorizations and challenges (RFC 8555 section 7.5).

use std::sync::Arc;
use std::thread;

use aws_lc_rs::rand;
use pki::Identifier;
use serde_json::{Value, json};

use super::answer::{Answer, Outcome, problem, refuse};
use super::faults::Resource;
use super::jws::encode;
use super::options::Validation;
use super::state::{Authorization, Challenge, KEPT, Server, State, moment, on_the_wire};
use super::validation::{self, Proof};

/// What the authority calls itself in records that stay.
pub(super) const ISSUER_DOMAIN_NAME: &str = "authority.test";

/// The authorization for a name of an order.
pub(super) fn find_or_make(
    server: &Server,
    state: &mut State,
    account: usize,
    name: &Identifier,
) -> usize {
    let (identifier, is_wildcard) = match name {
        Identifier::Dns(name) if name.is_wildcard() => {
            let name = Identifier::parse_host(name.without_wildcard());
            (name.expect("a part of a name is a name"), true)
        }
        name => (name.clone(), false),
    };
    if server.options.reuses_authorizations {
        let found = state.authorizations.iter().position(|authorization| {
            (authorization.account, &authorization.identifier) == (account, &identifier)
                && (authorization.is_wildcard, authorization.status) == (is_wildcard, "valid")
        });
        if let Some(found) = found {
            return found;
        }
    }
    let kinds = server.options.challenges.iter();
    let kinds = kinds.filter(|kind| {
        let is_dns = kind.starts_with("dns-");
        match &identifier {
            Identifier::Ip(_) => !is_dns,
            _ => is_dns || !is_wildcard,
        }
    });
    let challenges = kinds.map(|kind| Challenge {
        kind: kind.clone(),
        token: token(),
        status: "pending",
        error: None,
    });
    let authorization = Authorization {
        account,
        is_wildcard,
        status: "pending",
        challenges: challenges.collect(),
        expires: server.now() + KEPT,
        identifier,
    };
    state.authorizations.push(authorization);
    state.authorizations.len() - 1
}

pub(super) fn look(server: &Server, id: usize, account: usize) -> Outcome {
    let state = server.state();
    let authorization = own(&state, id, account)?;
    let mut document = json!({
        "identifier": on_the_wire(&authorization.identifier),
        "status": authorization.status,
        "expires": moment(authorization.expires),
        "challenges": (0..authorization.challenges.len())
            .map(|index| show(server, &state, id, index))
            .collect::<Vec<_>>(),
    });
    if authorization.is_wildcard {
        document["wildcard"] = true.into();
    }
    Ok(Answer::json(200, &document))
}

pub(super) fn answer(server: &Arc<Server>, id: usize, index: usize, account: usize) -> Outcome {
    let mut state = server.state();
    let authorization = own(&state, id, account)?;
    let Some(challenge) = authorization.challenges.get(index) else {
        return Err(refuse(404, "malformed", "there is no such challenge"));
    };
    if authorization.status != "pending" {
        let detail = format!("the authorization is {}", authorization.status);
        return Err(refuse(400, "malformed", &detail));
    }
    if challenge.status == "pending" {
        let proof = Proof {
            identifier: authorization.identifier.clone(),
            is_wildcard: authorization.is_wildcard,
            kind: challenge.kind.clone(),
            token: challenge.token.clone(),
            thumbprint: state.accounts[account].key.thumbprint(),
            account_url: server.account_url(&state, account),
        };
        state.authorizations[id].challenges[index].status = "processing";
        match server.options.validation {
            Validation::Always => conclude(server, &mut state, id, index, Ok(())),
            Validation::Real {
                resolver,
                http_port,
                tls_port,
            } => {
                let server = Arc::clone(server);
                thread::spawn(move || {
                    let outcome = validation::check(&proof, resolver, http_port, tls_port);
                    conclude(&server, &mut server.state(), id, index, outcome);
                });
            }
        }
    }
    let up = server.url(
        &state,
        Resource::Authorization,
        &format!("/authorization/{id}"),
    );
    let answer = Answer::json(200, &show(server, &state, id, index));
    Ok(answer.header("Link", format!("<{up}>;rel=\"up\"")))
}

/// Writes down what became of a challenge.
fn conclude(
    server: &Server,
    state: &mut State,
    id: usize,
    index: usize,
    outcome: Result<(), Value>,
) {
    let name = state.authorizations[id].identifier.to_string();
    let outcome = outcome.and_then(|()| {
        if state.faults.caa.contains(&name) {
            let detail = format!("CAA record for {name} prevents issuance");
            Err(problem("caa", &detail))
        } else if state.dice.falls(state.faults.failed_validations) {
            let detail = format!("{name}: Timeout during connect (likely firewall problem)");
            Err(problem("connection", &detail))
        } else {
            Ok(())
        }
    });
    let authorization = &mut state.authorizations[id];
    let challenge = &mut authorization.challenges[index];
    let status = if outcome.is_ok() { "valid" } else { "invalid" };
    (challenge.status, authorization.status) = (status, status);
    if let Err(error) = outcome {
        challenge.error = Some(error);
        let account = authorization.account;
        if let Some(limits) = server.options.limits {
            let bucket = format!("failures {account} {name}");
            state.buckets.take(&bucket, limits.failures, server.now());
        }
    }
}

fn own(state: &State, id: usize, account: usize) -> Result<&Authorization, Answer> {
    let authorization = state.authorizations.get(id);
    let authorization = authorization.filter(|authorization| authorization.account == account);
    authorization.ok_or_else(|| refuse(404, "malformed", "there is no such authorization"))
}

fn show(server: &Server, state: &State, id: usize, index: usize) -> Value {
    let challenge = &state.authorizations[id].challenges[index];
    let path = format!("/challenge/{id}/{index}");
    let mut document = json!({
        "type": challenge.kind,
        "url": server.url(state, Resource::Challenge, &path),
        "status": challenge.status,
    });
    if challenge.kind == "dns-persist-01" {
        document["issuer-domain-names"] = json!([ISSUER_DOMAIN_NAME]);
        document["accounturi"] = server
            .account_url(state, state.authorizations[id].account)
            .into();
    } else {
        document["token"] = challenge.token.as_str().into();
    }
    if let Some(error) = &challenge.error {
        document["error"] = error.clone();
    }
    document
}

fn token() -> String {
    let mut octets = [0; 32];
    rand::fill(&mut octets).expect("the system has randomness");
    encode(octets)
}
