//! `POST /oauth/token`: a client turns its code into a token (RFC 6749 section 4.1.3).

use http::StatusCode;
use hyper::body::Incoming;
use lifecycle::{MintedToken, Redemption, RedemptionError};
use serde::Serialize;
use zeroize::Zeroizing;

use super::parameters::{Fault as FormFault, Parameters};
use super::{BODY_LIMIT, refusal, unkept};
use crate::Context;
use crate::bodies::BodyFault;
use crate::exchange::{Request, Response, basic_credentials, json};

/// A token, as RFC 6749 section 5.1 gives it.
#[derive(Serialize)]
struct Granted<'a> {
    access_token: &'a str,
    token_type: &'static str,
    scope: String,
    /// Absent for a token that never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
}

/// Why there is no token.
enum Fault {
    Body(BodyFault),
    Form(FormFault),
    /// Another kind of grant than we have.
    Kind,
    Redemption(RedemptionError),
    /// Tokens end only when they are deleted, so there is nothing to refresh them with.
    Refresh,
}

pub(super) async fn redeem(context: &Context, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let basic = basic_credentials(&head.headers);
    match granted(context, body, basic).await {
        Ok(minted) => unkept(shown(&minted)),
        Err(fault) => fault.into_response(),
    }
}

async fn granted(
    context: &Context,
    body: Incoming,
    basic: Option<(String, Zeroizing<String>)>,
) -> Result<MintedToken, Fault> {
    let received = context.bodies.read(body, BODY_LIMIT).await;
    let received = received.map_err(Fault::Body)?;
    let parameters = Parameters::parse(&received.octets)?;
    match parameters.required("grant_type")? {
        "authorization_code" => {}
        "refresh_token" => return Err(Fault::Refresh),
        _ => return Err(Fault::Kind),
    }
    let redemption = redemption(&parameters, basic)?;
    let minted = context.house.grants.redeem(&redemption).await;
    minted.map_err(Fault::Redemption)
}

fn redemption(
    parameters: &Parameters,
    basic: Option<(String, Zeroizing<String>)>,
) -> Result<Redemption, FormFault> {
    let secret = |text: Option<&str>| text.map(|text| Zeroizing::new(text.to_owned()));
    let named = parameters.one("client_id")?;
    let (client, proof) = match (basic, named) {
        (Some((user, _)), Some(named)) if user != named => {
            return Err("client_id is not the user of the Authorization header".into());
        }
        (Some((user, password)), _) => (user, Some(password)),
        (None, Some(named)) => (named.to_owned(), secret(parameters.one("client_secret")?)),
        (None, None) => return Err("client_id is missing".into()),
    };
    let redirect = parameters.either("redirect_uri", "redirect_url")?;
    Ok(Redemption {
        client,
        secret: proof,
        code: Zeroizing::new(parameters.required("code")?.to_owned()),
        redirect: redirect.ok_or("redirect_uri is missing")?.to_owned(),
        verifier: secret(parameters.one("code_verifier")?),
    })
}

fn shown(minted: &MintedToken) -> Response {
    let token = &minted.token;
    let lifetime = token.expires_at.map(|end| end - token.created_at);
    json(
        StatusCode::OK,
        &Granted {
            access_token: &minted.text,
            token_type: "bearer",
            scope: token.scopes.as_deref().unwrap_or_default().join(" "),
            expires_in: lifetime.map(|lifetime| lifetime.whole_seconds().max(1)),
        },
    )
}

impl Fault {
    fn into_response(self) -> Response {
        let bad = |code: &str, text: &str| refusal(StatusCode::BAD_REQUEST, code, text);
        match self {
            Self::Body(BodyFault::TooLarge) => refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request",
                "the body is too large",
            ),
            Self::Body(BodyFault::NoRoom) => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "throttled",
                "too much is being sent; try again",
            ),
            Self::Body(BodyFault::Interrupted) => bad("invalid_request", "the body is incomplete"),
            Self::Form(text) => bad("invalid_request", &text),
            Self::Kind => bad(
                "unsupported_grant_type",
                "grant_type must be authorization_code",
            ),
            Self::Refresh => bad(
                "invalid_grant",
                "there are no refresh tokens: access tokens go on working until they are deleted",
            ),
            Self::Redemption(error @ RedemptionError::Client) => {
                bad("invalid_client", &error.to_string())
            }
            Self::Redemption(error @ RedemptionError::Grant(_)) => {
                bad("invalid_grant", &error.to_string())
            }
            Self::Redemption(RedemptionError::House(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a grant could not be redeemed"
                );
                refusal(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "internal error",
                )
            }
        }
    }
}

impl From<FormFault> for Fault {
    fn from(fault: FormFault) -> Self {
        Self::Form(fault)
    }
}
