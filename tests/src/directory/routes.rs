//! From a request to its answer: what it asks for, what goes wrong with it, who signed it.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::answer::{Answer, Outcome, refuse};
use super::authorizations::{self, ISSUER_DOMAIN_NAME};
use super::faults::{Resource, Trouble};
use super::jws::{Jws, Key, malformed};
use super::server::Request;
use super::state::{Server, State};
use super::{accounts, certificates, orders};

/// What the client gets to see.
pub(super) enum Reaction {
    Answer(Answer),
    /// The end of the connection.
    Close,
    /// Nothing at all.
    Silence,
}

/// What a path names.
enum Target<'a> {
    Directory,
    NewNonce,
    NewAccount,
    Account(usize),
    KeyChange,
    NewOrder,
    Order(usize),
    Authorization(usize),
    Challenge(usize, usize),
    Finalize(usize),
    Certificate(usize),
    Alternate(usize),
    RenewalInfo(&'a str),
    Revoke,
}

pub(super) fn react(server: &Arc<Server>, request: &Request) -> Reaction {
    let Some(target) = target(&request.path) else {
        return Reaction::Answer(refuse(404, "malformed", "there is nothing here"));
    };
    let resource = target.resource();
    let trouble = {
        let mut state = server.state();
        *state.requests.entry(resource).or_default() += 1;
        let State { faults, dice, .. } = &mut *state;
        faults.trouble(resource, dice)
    };
    let answer = match trouble {
        Some(Trouble::Silence) => return Reaction::Silence,
        Some(Trouble::Cut) => return Reaction::Close,
        Some(Trouble::Lost) => {
            let _ = serve(server, request, &target);
            return Reaction::Close;
        }
        Some(Trouble::Slow(time)) => {
            thread::sleep(time);
            serve(server, request, &target)
        }
        Some(trouble) => answer_with(trouble),
        None => serve(server, request, &target),
    };
    Reaction::Answer(answer.header("Date", http_date(server.now())))
}

fn answer_with(trouble: Trouble) -> Answer {
    const PROBLEM: &str = "application/problem+json";
    match trouble {
        Trouble::RateLimited(retry_after) => {
            let refusal = refuse(429, "rateLimited", "too many requests");
            match retry_after {
                Some(when) => refusal.header("Retry-After", when),
                None => refusal,
            }
        }
        Trouble::Status(status) => Answer::new(status, "text/html", "<html>not today</html>"),
        Trouble::Problem(status, document) => Answer::new(status, PROBLEM, document),
        Trouble::Body(text) => Answer::new(200, "application/json", text),
        Trouble::Huge(size) => Answer::new(200, "application/json", vec![b' '; size]),
        Trouble::Redirect(url) => Answer::empty(307).header("Location", url),
        Trouble::Slow(_) | Trouble::Silence | Trouble::Cut | Trouble::Lost => {
            unreachable!("these have no answer of their own")
        }
    }
}

fn serve(server: &Arc<Server>, request: &Request, target: &Target<'_>) -> Answer {
    let answer = granted(server, request, target).unwrap_or_else(|refusal| refusal);
    let mut state = server.state();
    let is_due = match target {
        Target::NewNonce => true,
        _ => request.method == "POST" && !state.faults.withholds_nonces,
    };
    if is_due {
        answer.header("Replay-Nonce", state.give_nonce())
    } else {
        answer
    }
}

fn granted(server: &Arc<Server>, request: &Request, target: &Target<'_>) -> Outcome {
    match (request.method.as_str(), target) {
        ("GET", Target::Directory) => return Ok(directory(server)),
        ("HEAD", Target::NewNonce) => return Ok(Answer::empty(200)),
        ("GET", Target::NewNonce) => return Ok(Answer::empty(204)),
        ("GET", Target::RenewalInfo(name)) => return certificates::renewal_info(server, name),
        ("POST", Target::Directory | Target::NewNonce | Target::RenewalInfo(_)) => {
            return Err(refuse(405, "malformed", "ask with GET"));
        }
        ("POST", _) => {}
        _ => return Err(refuse(405, "malformed", "ask with POST")),
    }
    if request.content_type != "application/jose+json" {
        return Err(refuse(
            415,
            "malformed",
            "the request is not application/jose+json",
        ));
    }
    let document: Value =
        serde_json::from_slice(&request.body).map_err(|_| malformed("the request is no JSON"))?;
    let jws = Jws::read(&document)?;
    let url = format!("{}{}", server.base, request.path);
    if jws.text("url") != Some(&url) {
        return Err(refuse(
            403,
            "unauthorized",
            "the request is signed for another URL",
        ));
    }
    if matches!(target, Target::NewAccount) {
        jws.verify(&Key::read(&jws.header["jwk"])?)?;
        spend_nonce(server, &jws)?;
        return accounts::open(server, &jws, &url);
    }
    let account = authenticate(server, &jws)?;
    spend_nonce(server, &jws)?;
    accounts::living(&server.state(), account)?;
    if let Target::Order(_) | Target::Authorization(_) | Target::Certificate(_) = target
        && !jws.payload.is_empty()
    {
        return Err(malformed("ask with an empty payload"));
    }
    match *target {
        Target::Account(id) => accounts::update(server, &jws, id, account),
        Target::KeyChange => accounts::change_key(server, &jws, &url, account),
        Target::NewOrder => orders::place(server, &jws, account),
        Target::Order(id) => orders::look(server, id, account),
        Target::Finalize(id) => orders::finalize(server, &jws, id, account),
        Target::Authorization(id) => authorizations::look(server, id, account),
        Target::Challenge(id, index) => authorizations::answer(server, id, index, account),
        Target::Certificate(id) => certificates::fetch(server, id, account, false),
        Target::Alternate(id) => certificates::fetch(server, id, account, true),
        Target::Revoke => certificates::revoke(server, &jws, account),
        Target::Directory | Target::NewNonce | Target::NewAccount | Target::RenewalInfo(_) => {
            unreachable!("these were served before")
        }
    }
}

/// The account that signed a request.
fn authenticate(server: &Server, jws: &Jws) -> Result<usize, Answer> {
    let unknown = || refuse(400, "accountDoesNotExist", "there is no such account");
    let account = jws
        .text("kid")
        .and_then(|url| url.rsplit('/').next()?.parse().ok());
    let account: usize = account.ok_or_else(unknown)?;
    let key = {
        let state = server.state();
        let account = state.accounts.get(account).ok_or_else(unknown)?;
        account.key.clone()
    };
    jws.verify(&key)?;
    Ok(account)
}

fn spend_nonce(server: &Server, jws: &Jws) -> Result<(), Answer> {
    if server
        .state()
        .take_nonce(jws.text("nonce").unwrap_or_default())
    {
        Ok(())
    } else {
        Err(refuse(400, "badNonce", "the nonce is not acceptable"))
    }
}

fn directory(server: &Server) -> Answer {
    let state = server.state();
    let url = |resource, path| server.url(&state, resource, path);
    let profiles = server.options.profiles.iter();
    let profiles = profiles.map(|(name, lifetime)| {
        let days = lifetime.as_secs() / (24 * 60 * 60);
        (name.clone(), Value::from(format!("valid for {days} days")))
    });
    let mut document = json!({
        "newNonce": url(Resource::NewNonce, "/new-nonce"),
        "newAccount": url(Resource::NewAccount, "/new-account"),
        "newOrder": url(Resource::NewOrder, "/new-order"),
        "revokeCert": url(Resource::Revoke, "/revoke"),
        "keyChange": url(Resource::KeyChange, "/key-change"),
        "meta": {
            "termsOfService": format!("{}/terms", server.base),
            "caaIdentities": [ISSUER_DOMAIN_NAME],
            "externalAccountRequired": server.options.requires_external_account,
            "profiles": profiles.collect::<serde_json::Map<_, _>>(),
        },
    });
    if server.options.renewal_info.is_some() {
        document["renewalInfo"] = url(Resource::RenewalInfo, "/renewal-info").into();
    }
    Answer::json(200, &document)
}

fn target(path: &str) -> Option<Target<'_>> {
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let number = |text: &str| text.parse().ok();
    Some(match parts.as_slice() {
        ["directory"] => Target::Directory,
        ["new-nonce"] => Target::NewNonce,
        ["new-account"] => Target::NewAccount,
        ["account", id] => Target::Account(number(id)?),
        ["key-change"] => Target::KeyChange,
        ["new-order"] => Target::NewOrder,
        ["order", id] => Target::Order(number(id)?),
        ["order", id, "finalize"] => Target::Finalize(number(id)?),
        ["authorization", id] => Target::Authorization(number(id)?),
        ["challenge", id, index] => Target::Challenge(number(id)?, number(index)?),
        ["certificate", id] => Target::Certificate(number(id)?),
        ["certificate", id, "alternate"] => Target::Alternate(number(id)?),
        ["renewal-info", name] => Target::RenewalInfo(name),
        ["revoke"] => Target::Revoke,
        _ => return None,
    })
}

impl Target<'_> {
    fn resource(&self) -> Resource {
        match self {
            Self::Directory => Resource::Directory,
            Self::NewNonce => Resource::NewNonce,
            Self::NewAccount => Resource::NewAccount,
            Self::Account(_) => Resource::Account,
            Self::KeyChange => Resource::KeyChange,
            Self::NewOrder => Resource::NewOrder,
            Self::Order(_) => Resource::Order,
            Self::Authorization(_) => Resource::Authorization,
            Self::Challenge(..) => Resource::Challenge,
            Self::Finalize(_) => Resource::Finalize,
            Self::Certificate(_) => Resource::Certificate,
            Self::Alternate(_) => Resource::Alternate,
            Self::RenewalInfo(_) => Resource::RenewalInfo,
            Self::Revoke => Resource::Revoke,
        }
    }
}

/// A moment as HTTP writes it (RFC 9110 section 5.6.7).
#[must_use]
pub fn http_date(moment: OffsetDateTime) -> String {
    let format = format_description!(
        version = 2,
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let utc = moment.to_offset(time::UtcOffset::UTC);
    utc.format(format).expect("a moment can be written")
}
