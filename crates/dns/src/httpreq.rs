//! A server of the operator's own that changes the zone, by the messages of lego's `httpreq`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::Fetch;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::call::Call;
use crate::change::Change;
use crate::{Account, ProviderError, TextRecord};

pub(crate) async fn change(
    fetch: &dyn Fetch,
    account: &Account,
    record: &TextRecord,
    change: Change,
) -> Result<(), ProviderError> {
    let field = |name: &str| account.credentials.field(name);
    let path = match change {
        Change::Publish => "present",
        Change::Withdraw => "cleanup",
    };
    let endpoint = field("endpoint").unwrap_or_default();
    let url = format!("{}/{path}", endpoint.trim_end_matches('/'));
    let is_raw = field("mode").is_some_and(|mode| mode.eq_ignore_ascii_case("raw"));
    let mut call = Call::new(account, url).json(message(record, is_raw)?);
    if let (Some(username), Some(password)) = (field("username"), field("password")) {
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let pair = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        let basic = Zeroizing::new(format!("Basic {}", pair.as_str()));
        call = call.authorization(&basic)?;
    }
    call.send(fetch).await?;
    Ok(())
}

fn message(record: &TextRecord, is_raw: bool) -> Result<Value, ProviderError> {
    if !is_raw {
        let name = format!("{}.", record.name);
        return Ok(json!({ "fqdn": name, "value": record.value }));
    }
    let proof = record.raw_proof()?;
    Ok(json!({
        "domain": proof.domain,
        "token": proof.token(),
        "keyAuth": proof.key_authorization,
    }))
}
