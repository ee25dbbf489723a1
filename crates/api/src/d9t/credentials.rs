//! Who asks: an account by its name with one of its tokens as the password, or a bearer token.

use std::net::{IpAddr, Ipv4Addr};

use http::header::AUTHORIZATION;
use lifecycle::{Dialect, Principal};

use super::faults::Fault;
use crate::Context;
use crate::exchange::{Request, Sender, basic_credentials, bearer_token};

/// Turns the credentials of a request into a principal.
pub(super) async fn authenticate(context: &Context, request: &Request) -> Result<Principal, Fault> {
    let headers = request.headers();
    if !headers.contains_key(AUTHORIZATION) {
        return Err(match context.settings.d9t.challenge_401 {
            true => Fault::NoCredentials,
            false => Fault::WrongCredentials,
        });
    }
    let sender = request.extensions().get::<Sender>();
    let address = sender.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |sender| sender.address);
    let logins = &context.house.logins;
    let logged_in = match (basic_credentials(headers), bearer_token(headers)) {
        (Some((account, token)), _) => {
            logins
                .log_in(Some(&account), &token, address, Dialect::D9t)
                .await
        }
        (None, token) => {
            // What cannot be read is as wrong as any other.
            let token = token.unwrap_or_default();
            logins.log_in(None, token, address, Dialect::D9t).await
        }
    };
    logged_in.map_err(Fault::Login)
}
