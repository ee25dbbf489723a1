//! Who asks: the bearer token, its scopes, and the account that it is meant for.

use http::HeaderMap;
use http::header::HeaderValue;
use lifecycle::{AccountId, Dialect, Principal};

use super::faults::Fault;
use crate::Context;
use crate::exchange::bearer_token;

/// What a token must be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// The scope `admin`.
    Admin,
    /// Nothing more than being a token for this API.
    Anybody,
}

/// Turns the token of a request into a principal that has the access needed.
pub(super) async fn authenticate(
    context: &Context,
    headers: &HeaderMap,
    access: Access,
) -> Result<Principal, Fault> {
    let token = bearer_token(headers).ok_or(Fault::NoToken)?;
    let tokens = &context.house.tokens;
    let principal = tokens.authenticate(token, Dialect::Cloud66).await?;
    if let Some(wanted) = headers.get("x-account")
        && !is_meant(wanted, principal.account_id())
    {
        return Err(Fault::ForeignAccount);
    }
    if access == Access::Admin && !principal.has_scope("admin") {
        return Err(Fault::NoScope("admin"));
    }
    Ok(principal)
}

/// The number by which clients know an account: they want an integer, which JSON's readers keep
/// exact below 2^53. It is drawn from the identifier, so it never changes; two accounts may have
/// the same, which nobody can see, as each caller knows its own alone.
pub(super) fn account_number(id: AccountId) -> u64 {
    // Go's int has 32 bits on some machines, with the sign.
    const BITS: u32 = 31;
    let (high, low) = id.as_uuid().as_u64_pair();
    ((high ^ low) >> (u64::BITS - BITS)).max(1)
}

fn is_meant(wanted: &HeaderValue, own: AccountId) -> bool {
    let number = wanted
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number == Some(account_number(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_s_number_fits_an_int_and_is_never_zero() {
        for uuid in [0, u128::MAX, 1, 0x8000_0000_0000_0000] {
            let id = AccountId::from_uuid(uuid::Uuid::from_u128(uuid));
            let number = account_number(id);
            assert!((1..1 << 31).contains(&number), "{number}");
            let header = HeaderValue::from(number);
            assert!(is_meant(&header, id));
        }
        let id = AccountId::from_uuid(uuid::Uuid::from_u128(u128::MAX << 32));
        for foreign in ["", "0", "-1", "x", "99999999999999999999"] {
            assert!(
                !is_meant(&HeaderValue::from_static(foreign), id),
                "{foreign}"
            );
        }
    }
}
