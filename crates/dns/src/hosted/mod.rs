//! Providers with an API of their own, by the drivers of `dns-update`.
//!
//! Where the API knows single records, a value is added and taken away without the others being
//! touched. Amazon, NS1 and in part Hetzner know only whole sets of records: the set is read,
//! changed and written, so that two nodes at a time can undo each other's change. What was written
//! is therefore read again, and written again if it is not as it should be. Google and Azure refuse
//! a change to a set that is not as it was read; that is tried again as well.

use std::time::Duration;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::route53::Route53Config;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use egress::{EgressPolicy, Fetch};
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::call::Call;
use crate::change::Change;
use crate::presentable::presentable;
use crate::{Account, ProviderError, TextRecord};

/// Longest time for one request of a driver.
const REQUEST_PATIENCE: Option<Duration> = Some(Duration::from_secs(30));
/// Longest time for a change, which takes several requests.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a change is tried that others get in the way of.
const TRIES: u32 = 4;
/// Where Google gives out tokens. A service account names the place itself, but whoever gives it to
/// us shall not choose what we connect to.
const GOOGLE_TOKENS: &str = "https://oauth2.googleapis.com/token";
/// Who a token of DNSimple belongs to.
const DNSIMPLE_IDENTITY: &str = "https://api.dnsimple.com/v2/whoami";

pub(crate) async fn change(
    fetch: &dyn Fetch,
    account: &Account,
    record: &TextRecord,
    change: Change,
) -> Result<(), ProviderError> {
    let changing = async {
        let driver = driver(fetch, account).await?;
        apply(&driver, account, record, change).await
    };
    let changed = timeout(PATIENCE, changing).await;
    changed.unwrap_or_else(|_| {
        Err(ProviderError::Unreachable {
            reason: "it takes too long".to_owned(),
        })
    })
}

/// What is wrong with the service account of Google, if anything.
pub(crate) fn google_account(text: &str) -> Result<(String, Zeroizing<String>), &'static str> {
    let parsed: Value = serde_json::from_str(text).map_err(|_| "it is not JSON")?;
    let Value::Object(mut members) = parsed else {
        return Err("it is not a JSON object");
    };
    for name in ["client_email", "private_key"] {
        if !members.get(name).is_some_and(Value::is_string) {
            return Err("it is no key of a service account");
        }
    }
    let project = members.get("project_id").and_then(Value::as_str);
    let project = project.ok_or("it names no project_id")?.to_owned();
    members.insert("token_uri".to_owned(), GOOGLE_TOKENS.into());
    Ok((project, Zeroizing::new(Value::Object(members).to_string())))
}

/// Whether OVH has such an endpoint.
pub(crate) fn is_ovh_endpoint(name: &str) -> bool {
    ovh_endpoint(name).is_ok()
}

fn ovh_endpoint(name: &str) -> Result<dns_update::providers::ovh::OvhEndpoint, Error> {
    name.trim().to_ascii_lowercase().parse()
}

async fn driver(fetch: &dyn Fetch, account: &Account) -> Result<DnsUpdater, ProviderError> {
    let credentials = &account.credentials;
    let field = |name: &str| credentials.field(name).unwrap_or_default().trim();
    let wait = REQUEST_PATIENCE;
    let driver = match account.kind.as_str() {
        "azure" => DnsUpdater::new_azuredns(AzureDnsConfig {
            tenant_id: field("tenant_id").to_owned(),
            client_id: field("client_id").to_owned(),
            client_secret: field("client_secret").to_owned(),
            subscription_id: field("subscription_id").to_owned(),
            resource_group: field("resource_group").to_owned(),
            environment: AzureEnvironment::Public,
            request_timeout: wait,
        }),
        "cloudflare" => DnsUpdater::new_cloudflare(field("api_token"), wait),
        "digitalocean" => DnsUpdater::new_digitalocean(field("token"), wait),
        "dnsimple" => {
            let id = dnsimple_account(fetch, account).await?;
            DnsUpdater::new_dnsimple(field("token"), id, wait)
        }
        "dnsmadeeasy" => DnsUpdater::new_dnsmadeeasy(field("key"), field("secret"), wait),
        "google" => {
            let (project_id, key) =
                google_account(field("service_account_json")).map_err(|reason| {
                    ProviderError::Credentials {
                        reason: format!("the service account is of no use: {reason}"),
                    }
                })?;
            DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig {
                service_account_json: key.to_string(),
                project_id,
                managed_zone: None,
                private_zone: false,
                impersonate_service_account: None,
                request_timeout: wait,
            })
        }
        "hetzner" => DnsUpdater::new_hetzner(field("token"), wait),
        "linode" => DnsUpdater::new_linode(field("key"), wait),
        "luadns" => DnsUpdater::new_luadns(field("email"), field("key"), wait),
        "ns1" => DnsUpdater::new_ns1(field("key"), wait),
        "ovh" => ovh_endpoint(field("endpoint")).and_then(|endpoint| {
            DnsUpdater::new_ovh(
                field("application_key"),
                field("application_secret"),
                field("consumer_key"),
                endpoint,
                wait,
            )
        }),
        "route53" => DnsUpdater::new_route53(Route53Config {
            access_key_id: field("access_key").to_owned(),
            secret_access_key: field("secret_key").to_owned(),
            session_token: None,
            region: None,
            hosted_zone_id: None,
            private_zone_only: None,
            endpoint: None,
        }),
        "transip" => DnsUpdater::new_transip(
            field("username"),
            field("key_file"),
            field("global_key").eq_ignore_ascii_case("true"),
            wait,
        ),
        kind => {
            return Err(ProviderError::Unsupported {
                kind: kind.to_owned(),
            });
        }
    };
    driver.map_err(|error| ProviderError::Credentials {
        reason: presentable(&error.to_string(), &account.kind, credentials),
    })
}

/// The account that a token of DNSimple is for, which its addresses begin with.
async fn dnsimple_account(fetch: &dyn Fetch, account: &Account) -> Result<String, ProviderError> {
    let field = |name: &str| account.credentials.field(name).map(str::trim);
    if let Some(id) = field("account_id").filter(|id| !id.is_empty()) {
        return Ok(id.to_owned());
    }
    let token = field("token").unwrap_or_default();
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    let mut call = Call::new(account, DNSIMPLE_IDENTITY.to_owned()).authorization(&bearer)?;
    call.policy = EgressPolicy::PUBLIC;
    let answer = call.send(fetch).await?;
    let answer: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let id = answer.pointer("/data/account/id").and_then(Value::as_i64);
    id.map(|id| id.to_string())
        .ok_or_else(|| ProviderError::Credentials {
            reason: "the token is a user's; create one of the account, or give account_id"
                .to_owned(),
        })
}

async fn apply(
    driver: &DnsUpdater,
    account: &Account,
    record: &TextRecord,
    change: Change,
) -> Result<(), ProviderError> {
    let is_wanted = change == Change::Publish;
    let name = record.name.as_str();
    let zone = record.zone.as_str();
    let kind = DnsRecordType::TXT;
    let mut last = None;
    for _ in 0..TRIES {
        if adds_twice(&account.kind) && is_wanted {
            let listed = driver.list_rrset(name, kind, zone).await;
            if listed.is_ok_and(|listed| has(&listed, &record.value)) {
                return Ok(());
            }
        }
        let value = vec![DnsRecord::TXT(record.value.clone())];
        let changed = match change {
            Change::Publish => {
                let ttl = ttl(&account.kind);
                driver.add_to_rrset(name, kind, ttl, value, zone).await
            }
            Change::Withdraw => driver.remove_from_rrset(name, kind, value, zone).await,
        };
        match changed {
            Ok(()) if !writes_sets(&account.kind) => return Ok(()),
            Ok(()) => match driver.list_rrset(name, kind, zone).await {
                Ok(listed) if has(&listed, &record.value) != is_wanted => last = None,
                // It was written; whether it shows is seen at the servers of the zone.
                _ => return Ok(()),
            },
            Err(error) if is_conflict(&error) => last = Some(error),
            // Somebody else has taken it away in between.
            Err(Error::NotFound) if !is_wanted && last.is_none() => last = Some(Error::NotFound),
            Err(error) => return Err(failure(&error, account, record)),
        }
    }
    Err(match last {
        Some(error) => failure(&error, account, record),
        None => ProviderError::Refused {
            reason: "others change the same records at the same time".to_owned(),
        },
    })
}

/// Whether a driver writes whole sets of records without a look at what was there.
fn writes_sets(kind: &str) -> bool {
    matches!(kind, "hetzner" | "ns1" | "route53")
}

/// Whether a driver fails at a value, or repeats it, that is there already.
fn adds_twice(kind: &str) -> bool {
    kind == "hetzner"
}

/// How long a record may be kept by resolvers, in seconds; some providers want it to be longer.
fn ttl(kind: &str) -> u32 {
    match kind {
        "luadns" | "linode" => 300,
        "dnsmadeeasy" => 120,
        _ => 60,
    }
}

fn has(records: &[DnsRecord], value: &str) -> bool {
    let is_it = |record: &DnsRecord| matches!(record, DnsRecord::TXT(text) if text.trim_matches('"') == value);
    records.iter().any(is_it)
}

/// Whether the records were changed by somebody else in between.
fn is_conflict(error: &Error) -> bool {
    let Error::Api(text) = error else {
        return false;
    };
    ["HTTP 409", "HTTP 412", "PriorRequestNotComplete"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn failure(error: &Error, account: &Account, record: &TextRecord) -> ProviderError {
    let text = match error {
        // The answer is in it, and there may be a token in that.
        Error::Serialize(_) => "the answer is not what the driver expects".to_owned(),
        error => error.to_string(),
    };
    let has = |signs: &[&str]| signs.iter().any(|sign| text.contains(sign));
    let reason = shown(&text, account);
    match error {
        Error::Unauthorized => ProviderError::Credentials { reason },
        Error::NotFound => ProviderError::NoZone {
            name: record.name.clone(),
        },
        Error::Serialize(_) | Error::Response(_) | Error::Protocol(_) => {
            ProviderError::Unreachable { reason }
        }
        _ if has(NO_ZONE) => ProviderError::NoZone {
            name: record.name.clone(),
        },
        _ if has(BAD_CREDENTIALS) => ProviderError::Credentials { reason },
        _ if has(OUT_OF_ORDER) => ProviderError::Unreachable { reason },
        _ => ProviderError::Refused { reason },
    }
}

fn shown(text: &str, account: &Account) -> String {
    let Account {
        kind, credentials, ..
    } = account;
    presentable(text, kind, credentials)
}

/// What drivers say when the zone is not there. OVH's says the same when the key is wrong, and is
/// left to speak for itself.
const NO_ZONE: &[&str] = &[
    "No Cloudflare zone found",
    "No suitable hosted zone",
    "No matching managed zone",
    "LuaDNS zone",
    "Linode domain",
];

/// What drivers and providers say when the credentials are no good.
const BAD_CREDENTIALS: &[&str] = &[
    "HTTP 403",
    "error: 403",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "Invalid request headers",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "Failed to create JWT",
    "Failed to obtain access token",
    "Failed to sign",
];

/// What drivers say when the provider does not answer, or not now.
const OUT_OF_ORDER: &[&str] = &[
    "Failed to send request",
    "error sending request",
    "error: 5",
    "Failed to read response",
    "Token exchange failed",
    "HTTP 429",
    "HTTP 5",
    "Throttling",
];

#[cfg(test)]
mod tests;
