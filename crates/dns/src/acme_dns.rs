//! acme-dns: a server for nothing but challenges, which a domain's `_acme-challenge` is an alias
//! into.
//!
//! A registration has one name and room for two values, of which a new one replaces the older.
//! There is no way to take a value away, nor a need to: it proves nothing to anybody later.

use egress::Fetch;
use http::HeaderName;
use serde_json::json;

use crate::call::Call;
use crate::{Account, ProviderError, TextRecord};

const USER: HeaderName = HeaderName::from_static("x-api-user");
const KEY: HeaderName = HeaderName::from_static("x-api-key");

pub(crate) async fn publish(
    fetch: &dyn Fetch,
    account: &Account,
    record: &TextRecord,
) -> Result<(), ProviderError> {
    let field = |name: &str| account.credentials.field(name).unwrap_or_default();
    let registered = field("fulldomain").trim_end_matches('.');
    if !record.name.eq_ignore_ascii_case(registered) {
        return Err(ProviderError::Refused {
            reason: format!(
                "the registration is for {registered}, not for {}; a CNAME record has to lead there",
                record.name
            ),
        });
    }
    let url = format!("{}/update", field("url").trim_end_matches('/'));
    Call::new(account, url)
        .header(USER, field("username"))?
        .header(KEY, field("password"))?
        .json(json!({ "subdomain": field("subdomain"), "txt": record.value }))
        .send(fetch)
        .await?;
    Ok(())
}
