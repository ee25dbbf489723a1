//! `/dns_providers`, which some call `/stacks/dns_providers`. What is made here has no zone; beside it
//! stand the zones that were added by other ways. Credentials are never shown.

use std::str::FromStr as _;

use lifecycle::{DnsProviderId, NewDnsAccount, RecordWriter};
use serde::Serialize;

use super::call::Call;
use super::envelope;
use super::faults::Fault;
use crate::exchange::Response;
use crate::notation::timestamp;

/// What comes before the digits of an identifier.
const PREFIX: &str = "dp-";
/// What some documents put there instead.
const OTHER_PREFIX: &str = "dns-";

/// The API's names of the kinds. In lower case, they are the house's.
const TYPES: [&str; 16] = [
    "Azure",
    "Cloudflare",
    "DigitalOcean",
    "DNSimple",
    "DnsMadeEasy",
    "Gehirn",
    "Google",
    "Hetzner",
    "Linode",
    "luaDNS",
    "NS1",
    "OVH",
    "RFC2136",
    "Route53",
    "SakuraCloud",
    "TransIP",
];

#[derive(Serialize)]
struct View<'a> {
    uuid: String,
    #[serde(rename = "type")]
    kind: &'a str,
    key: &'a str,
    display_name: String,
    created_at: String,
    updated_at: String,
}

impl<'a> View<'a> {
    fn of(writer: &'a RecordWriter) -> Self {
        let known = TYPES
            .iter()
            .find(|kind| kind.eq_ignore_ascii_case(&writer.kind));
        let kind = known.copied().unwrap_or(&writer.kind);
        let created_at = timestamp(writer.created_at);
        Self {
            uuid: uuid(writer.id),
            kind,
            key: &writer.name,
            display_name: format!("{kind} ({})", writer.name),
            updated_at: created_at.clone(),
            created_at,
        }
    }
}

/// As the API writes the identifier of a DNS provider.
pub(super) fn uuid(id: DnsProviderId) -> String {
    format!("{PREFIX}{}", id.as_uuid().simple())
}

/// Reads an identifier, with or without what comes before it.
pub(super) fn id(text: &str) -> Option<DnsProviderId> {
    let bare = [PREFIX, OTHER_PREFIX]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    DnsProviderId::from_str(bare).ok()
}

pub(super) async fn list(call: Call<'_>) -> Result<Response, Fault> {
    let writers = call.house().dns_accounts.list(&call.principal).await?;
    let asked = call.page();
    let total = u64::try_from(writers.len()).unwrap_or(u64::MAX);
    let page: Vec<View<'_>> = asked.of(&writers).iter().map(View::of).collect();
    Ok(envelope::list(&page, asked, total, call.representation))
}

pub(super) async fn create(mut call: Call<'_>) -> Result<Response, Fault> {
    let mut fields = call.fields("dns_provider").await?;
    let named = fields.text("type")?;
    let named = named.as_ref().map_or("", |named| named.trim());
    let known = TYPES.iter().find(|kind| kind.eq_ignore_ascii_case(named));
    let Some(kind) = known else {
        let reason = format!("must be one of {}", TYPES.join(", "));
        return Err(Fault::invalid("type", reason));
    };
    let name = fields.text("key")?;
    let name = name.as_ref().map_or("", |name| name.trim()).to_owned();
    let credentials = fields.object("credentials")?;
    let credentials =
        credentials.ok_or_else(|| Fault::invalid("credentials", "must be an object"))?;
    let credentials = credentials.texts("credentials")?;
    let account = NewDnsAccount {
        name,
        kind: kind.to_ascii_lowercase(),
        credentials: credentials
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| (name, text.as_str().to_owned()))
            .collect(),
    };
    let accounts = &call.house().dns_accounts;
    let added = accounts.add(&call.principal, account).await?;
    Ok(envelope::single(&View::of(&added)))
}

pub(super) async fn delete(call: Call<'_>, text: &str) -> Result<Response, Fault> {
    let id = id(text);
    let id = id.ok_or_else(|| Fault::NotFound("there is no such DNS provider".to_owned()))?;
    let accounts = &call.house().dns_accounts;
    let removed = accounts.remove(&call.principal, id).await?;
    Ok(envelope::single(&View::of(&removed)))
}
