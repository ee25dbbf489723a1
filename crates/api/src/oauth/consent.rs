//! `/oauth/authorize`: a person is asked, and decides.
//!
//! Nobody is logged in before or after: the form itself carries the token. What a strange page could
//! still do is to send the form with a token of its own, so that a program of the person works for
//! a strange account from then on. So the form holds a text that only our page and a cookie have, and
//! a browser that says where a form comes from has to name us.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use http::header::{
    COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE,
};
use http::{StatusCode, Uri};
use lifecycle::{
    AuthenticationError, ConsentError, Error, GrantRequest, LoginError, Question, Redirect,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::BODY_LIMIT;
use super::page::{self, Hidden};
use super::parameters::{Fault, Parameters};
use crate::Context;
use crate::bodies::BodyFault;
use crate::exchange::{Request, Response, Sender, empty};

/// The cookie that a form's text is compared with.
const COOKIE_NAME: &str = "chancery-consent";
/// The field of the form that repeats it.
const FORM_FIELD: &str = "form";
/// When to come again after too many failures.
const PAUSE: Duration = Duration::from_secs(5 * 60);
/// How long the cookie is kept, in seconds.
const COOKIE_AGE: u32 = 60 * 60;
/// What a browser says of how a request came about.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A request of a client, in the words of the wire.
struct Asked {
    request: GrantRequest,
    state: Option<String>,
}

/// Asks the person.
pub(super) async fn ask(context: &Context, request: &Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let asked = Parameters::parse(query.as_bytes()).and_then(|parameters| asked(&parameters));
    let asked = match asked {
        Ok(asked) => asked,
        Err(fault) => return page::refusal(StatusCode::BAD_REQUEST, &fault),
    };
    let question = match context.house.grants.question(&asked.request).await {
        Ok(question) => question,
        Err(error) => return refused(&error),
    };
    let nonce = context.house.grants.nonce();
    let mut response = page::question(StatusCode::OK, &question, &hidden(&asked, &nonce), None);
    let secure = if context.settings.public_url.starts_with("https:") {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE_NAME}={nonce}; Path=/oauth; Max-Age={COOKIE_AGE}; HttpOnly; SameSite=Strict{secure}"
    );
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Takes the person's decision.
pub(super) async fn decide(context: &Context, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let sender = head.extensions.get::<Sender>();
    let address = sender.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |sender| sender.address);
    let nonce = match own_form(context, &head.headers, &head.uri) {
        Ok(nonce) => nonce,
        Err(text) => return page::refusal(StatusCode::FORBIDDEN, text),
    };
    let received = match context.bodies.read(body, BODY_LIMIT).await {
        Ok(received) => received,
        Err(fault) => {
            let status = match fault {
                BodyFault::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                BodyFault::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
                BodyFault::Interrupted => StatusCode::BAD_REQUEST,
            };
            return page::refusal(status, "the form could not be read");
        }
    };
    let parameters = match Parameters::parse(&received.octets) {
        Ok(parameters) => parameters,
        Err(fault) => return page::refusal(StatusCode::BAD_REQUEST, &fault),
    };
    if parameters.one(FORM_FIELD) != Ok(Some(&nonce)) {
        return page::refusal(StatusCode::FORBIDDEN, STALE);
    }
    let answered = answered(&parameters);
    let (asked, is_allowed) = match answered {
        Ok(answered) => answered,
        Err(fault) => return page::refusal(StatusCode::BAD_REQUEST, &fault),
    };
    let question = match context.house.grants.question(&asked.request).await {
        Ok(question) => question,
        Err(error) => return refused(&error),
    };
    if !is_allowed {
        let denied = ("error", "access_denied");
        return sent_on(&question, denied, asked.state.as_deref())
            .unwrap_or_else(|| page::refusal(StatusCode::OK, "as you wished"));
    }
    let shown = parameters.one("token").ok().flatten().unwrap_or_default();
    match context.house.grants.give(&question, shown, address).await {
        Ok(code) => sent_on(&question, ("code", code.as_str()), asked.state.as_deref())
            .unwrap_or_else(|| page::code(&question.client, &code)),
        Err(error) => {
            let (status, text) = said(&error);
            let hidden = hidden(&asked, &nonce);
            let mut response = page::question(status, &question, &hidden, Some(&text));
            let pause = match error {
                ConsentError::House(Error::TooMany { retry_after, .. }) => Some(retry_after),
                ConsentError::Login(LoginError::TooManyFailures) => Some(PAUSE),
                _ => None,
            };
            if let Some(pause) = pause {
                // Rounded up: who comes too early has to come again.
                let seconds = HeaderValue::from(pause.as_secs() + 1);
                response.headers_mut().insert(RETRY_AFTER, seconds);
            }
            response
        }
    }
}

/// What people are told whose form is not the one that their browser was given.
const STALE: &str = "this form is old, or not from here: go back to the program and start again. \
                     Cookies have to be allowed";

/// The text that a form from our own page has to hold, if the browser says nothing to the contrary.
fn own_form(context: &Context, headers: &HeaderMap, uri: &Uri) -> Result<String, &'static str> {
    let elsewhere = "this form came from another site";
    if let Some(site) = headers.get(FETCH_SITE)
        && site != "same-origin"
    {
        return Err(elsewhere);
    }
    if let Some(origin) = headers.get(ORIGIN) {
        let origin = origin.to_str().map_err(|_| elsewhere)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or(host);
        let named = origin.split_once("://").map(|(_, authority)| authority);
        let is_ours = named.is_some() && named == host;
        if !is_ours && origin != context.settings.public_url {
            return Err(elsewhere);
        }
    }
    let cookies = headers.get_all(COOKIE).into_iter();
    let cookies = cookies.filter_map(|cookie| cookie.to_str().ok());
    let pairs = cookies.flat_map(|cookie| cookie.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) if !value.is_empty() => Ok(value.to_owned()),
        _ => Err(STALE),
    }
}

/// What a client asks for.
fn asked(parameters: &Parameters) -> Result<Asked, Fault> {
    if parameters.required("response_type")? != "code" {
        return Err("response_type must be code".into());
    }
    let redirect = parameters.either("redirect_uri", "redirect_url")?;
    let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
    Ok(Asked {
        request: GrantRequest {
            client: parameters.required("client_id")?.to_owned(),
            redirect: redirect.ok_or("redirect_uri is missing")?.to_owned(),
            scope: owned(parameters.one("scope")?).unwrap_or_default(),
            challenge: owned(parameters.one("code_challenge")?),
            challenge_method: owned(parameters.one("code_challenge_method")?),
        },
        state: owned(parameters.one("state")?),
    })
}

/// What was asked, as the form repeats it, and whether the person allows it.
fn answered(parameters: &Parameters) -> Result<(Asked, bool), Fault> {
    let is_allowed = match parameters.required("decision")? {
        "allow" => true,
        "deny" => false,
        _ => return Err("decision must be allow or deny".into()),
    };
    Ok((asked(parameters)?, is_allowed))
}

fn hidden<'a>(asked: &'a Asked, nonce: &'a str) -> Hidden<'a> {
    let request = &asked.request;
    let all = [
        (FORM_FIELD, Some(nonce)),
        ("response_type", Some("code")),
        ("client_id", Some(request.client.as_str())),
        ("redirect_uri", Some(request.redirect.as_str())),
        ("scope", Some(request.scope.as_str())),
        ("state", asked.state.as_deref()),
        ("code_challenge", request.challenge.as_deref()),
        ("code_challenge_method", request.challenge_method.as_deref()),
    ];
    Hidden {
        fields: all
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
    }
}

/// Sends the person's browser on with the outcome, or `None` if there is nowhere to send it.
fn sent_on(question: &Question, outcome: (&str, &str), state: Option<&str>) -> Option<Response> {
    let Redirect::Address { text, origin } = &question.redirect else {
        return None;
    };
    let mut target = text.clone();
    let pairs = [Some(outcome), state.map(|state| ("state", state))];
    for (name, value) in pairs.into_iter().flatten() {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(name);
        target.push('=');
        target.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    let mut response = empty(StatusCode::FOUND);
    let target = HeaderValue::try_from(target).ok()?;
    response.headers_mut().insert(LOCATION, target);
    Some(page::protected(response, Some(origin)))
}

/// A page for a request that cannot be granted to anybody.
fn refused(error: &Error) -> Response {
    if error.is_internal() {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "nobody could be asked for a grant"
        );
        return page::refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal error");
    }
    page::refusal(StatusCode::BAD_REQUEST, &error.to_string())
}

/// What a person is told whose word was not enough.
fn said(error: &ConsentError) -> (StatusCode, String) {
    let internal = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error, "a grant could not be given");
        let text = "internal error; try again".to_owned();
        (StatusCode::INTERNAL_SERVER_ERROR, text)
    };
    match error {
        ConsentError::Login(LoginError::Refused(AuthenticationError::Store(error))) => {
            internal(error)
        }
        ConsentError::Login(LoginError::Refused(
            AuthenticationError::Disabled | AuthenticationError::DialectNotAllowed(_),
        ))
        | ConsentError::Barred => (StatusCode::FORBIDDEN, error.to_string()),
        ConsentError::Login(LoginError::TooManyFailures) => {
            (StatusCode::TOO_MANY_REQUESTS, error.to_string())
        }
        // Which of the others it was would help nobody but a guesser.
        ConsentError::Login(LoginError::Refused(_)) => (
            StatusCode::UNAUTHORIZED,
            "this is not a token that works here".to_owned(),
        ),
        ConsentError::House(fault @ Error::TooMany { .. }) => {
            (StatusCode::TOO_MANY_REQUESTS, fault.to_string())
        }
        ConsentError::House(fault) if fault.is_internal() => internal(fault),
        ConsentError::House(fault) => (StatusCode::FORBIDDEN, fault.to_string()),
    }
}
