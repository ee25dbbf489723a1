//! DNS servers that let their zones be changed by messages (RFC 2136) signed with a shared key
//! (TSIG, RFC 8945). One value is added or taken away at a time; the server minds the others.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use egress::{ExchangeError, Resolver, exchange};
use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::rdata::tsig::{TSIG, TsigAlgorithm, TsigError};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, TSigner};

use crate::change::Change;
use crate::{Account, ProviderError, TextRecord};

/// How long the record may be kept by resolvers, in seconds.
const TTL: u32 = 60;
/// How far the server's clock may be from ours, in seconds (RFC 8945 section 10 recommends this).
const FUDGE: u16 = 300;
/// Addresses of the server that are tried.
const MOST_ADDRESSES: usize = 4;
/// Longest string in a TXT record, in octets (RFC 1035 section 3.3).
const LONGEST_STRING: usize = 255;

/// Whether there is such an algorithm.
pub(crate) fn is_algorithm(name: &str) -> bool {
    algorithm(name).is_some()
}

/// Whether a text is a shared key.
pub(crate) fn is_secret(text: &str) -> bool {
    STANDARD
        .decode(text.trim())
        .is_ok_and(|key| !key.is_empty())
}

/// `now` is in seconds since 1970.
pub(crate) async fn change(
    resolver: &dyn Resolver,
    account: &Account,
    record: &TextRecord,
    change: Change,
    now: u64,
) -> Result<(), ProviderError> {
    let signer = signer(account)?;
    let mut message = message(record, change)?;
    let verifier = message
        .finalize(&signer, now)
        .map_err(|error| refused(&error))?;
    let question = message.to_vec().map_err(|error| refused(&error))?;
    let answer = ask(resolver, account, &question).await?;
    let reply = Message::from_vec(&answer).map_err(|error| ProviderError::Unreachable {
        reason: format!("the server does not answer in DNS: {error}"),
    })?;
    if let Some(signature) = reply.signature() {
        judge_signature(&signature.data, signer.signer_name(), now)?;
    }
    judge(reply.metadata.response_code, record)?;
    let verified = verifier.map(|mut verifier| verifier.verify(&answer));
    match verified {
        Some(Ok(_)) => Ok(()),
        _ => Err(ProviderError::Refused {
            reason: "the server's answer is not signed with the key, so somebody else may have \
                     given it"
                .to_owned(),
        }),
    }
}

fn signer(account: &Account) -> Result<TSigner, ProviderError> {
    let field = |name: &str| account.credentials.field(name);
    let refused = |reason: &str| ProviderError::Credentials {
        reason: reason.to_owned(),
    };
    let name = field("name").unwrap_or_default().trim();
    let name = Name::from_ascii(name).map_err(|_| refused("the key's name is invalid"))?;
    let key = STANDARD.decode(field("secret").unwrap_or_default().trim());
    let key = key.map_err(|_| refused("the key's secret is not base64"))?;
    let algorithm = algorithm(field("algorithm").unwrap_or_default());
    let algorithm = algorithm.ok_or_else(|| refused("the key's algorithm is unknown"))?;
    TSigner::new(key, algorithm, name, FUDGE)
        .map_err(|_| refused("the key's algorithm is not supported"))
}

fn algorithm(name: &str) -> Option<TsigAlgorithm> {
    let name = name.trim().trim_end_matches('.').to_ascii_lowercase();
    match name.as_str() {
        "" | "hmac-sha256" => Some(TsigAlgorithm::HmacSha256),
        "hmac-sha384" => Some(TsigAlgorithm::HmacSha384),
        "hmac-sha512" => Some(TsigAlgorithm::HmacSha512),
        _ => None,
    }
}

/// The update (RFC 2136 sections 2.3, 2.5.1 and 2.5.4).
fn message(record: &TextRecord, change: Change) -> Result<Message, ProviderError> {
    let name = |text: &str| {
        let mut name = Name::from_ascii(text).map_err(|error| refused(&error))?;
        name.set_fqdn(true);
        Ok(name)
    };
    let (zone, owner) = (name(&record.zone)?, name(&record.name)?);
    let strings = record.value.as_bytes().chunks(LONGEST_STRING).collect();
    let mut text = Record::from_rdata(owner, TTL, RData::TXT(TXT::from_bytes(strings)));
    if change == Change::Withdraw {
        text.dns_class = DNSClass::NONE;
        text.ttl = 0;
    }
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Update;
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(zone, RecordType::SOA));
    message.add_authority(text);
    Ok(message)
}

async fn ask(
    resolver: &dyn Resolver,
    account: &Account,
    question: &[u8],
) -> Result<Vec<u8>, ProviderError> {
    let unreachable = |reason: String| ProviderError::Unreachable { reason };
    let mut last = None;
    for address in addresses(resolver, account).await? {
        match exchange(address, account.policy, question).await {
            Ok(answer) => return Ok(answer),
            Err(error @ ExchangeError::Forbidden { .. }) if last.is_some() => {
                tracing::debug!(%error, "passed over an address of a DNS server");
            }
            Err(error) => last = Some(error.to_string()),
        }
    }
    Err(unreachable(last.unwrap_or_default()))
}

async fn addresses(
    resolver: &dyn Resolver,
    account: &Account,
) -> Result<Vec<SocketAddr>, ProviderError> {
    let field = |name: &str| account.credentials.field(name).unwrap_or_default().trim();
    let invalid = |reason: &str| ProviderError::Credentials {
        reason: reason.to_owned(),
    };
    let port = match field("port") {
        "" => 53,
        port => port.parse().map_err(|_| invalid("the port is no number"))?,
    };
    let server = field("server")
        .trim_start_matches('[')
        .trim_end_matches(']');
    if let Ok(address) = server.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let addresses = resolver.addresses(server).await;
    let addresses = addresses.map_err(|error| ProviderError::Unreachable {
        reason: error.to_string(),
    })?;
    let addresses = addresses.into_iter().take(MOST_ADDRESSES);
    Ok(addresses
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

/// What the server says of the signature (RFC 8945 section 5.2).
fn judge_signature(signature: &TSIG, key: &Name, now: u64) -> Result<(), ProviderError> {
    let reason = match signature.error {
        None | Some(TsigError::Unknown(0)) => return Ok(()),
        Some(TsigError::BadKey) => format!(
            "BADKEY: the server does not know the key {key}, or not with this algorithm, or does \
             not let it do this"
        ),
        Some(TsigError::BadSig) => {
            format!("BADSIG: the secret of the key {key} is another one at the server")
        }
        Some(TsigError::BadTime) => format!(
            "BADTIME: the server's clock and ours are {} seconds apart",
            server_time(signature).abs_diff(now)
        ),
        Some(TsigError::BadTrunc) => {
            "BADTRUNC: the server wants longer signatures than it is sent".to_owned()
        }
        Some(TsigError::Unknown(code)) => {
            format!("the server does not accept the signature (TSIG error {code})")
        }
    };
    Err(ProviderError::Credentials { reason })
}

/// The time at the server, which it gives beside BADTIME (RFC 8945 section 5.2.3).
fn server_time(signature: &TSIG) -> u64 {
    let octets = signature.other.iter().take(8);
    octets.fold(0, |time, octet| (time << 8) | u64::from(*octet))
}

/// What the server says of the change (RFC 2136 section 3).
fn judge(code: ResponseCode, record: &TextRecord) -> Result<(), ProviderError> {
    match code {
        ResponseCode::NoError => Ok(()),
        ResponseCode::NotAuth | ResponseCode::NotZone => Err(ProviderError::NoZone {
            name: record.name.clone(),
        }),
        ResponseCode::Refused => Err(ProviderError::Refused {
            reason: format!(
                "REFUSED: the server does not let this key change {} in the zone {}",
                record.name, record.zone
            ),
        }),
        ResponseCode::ServFail => Err(ProviderError::Unreachable {
            reason: "SERVFAIL: the server has a problem of its own".to_owned(),
        }),
        ResponseCode::NotImp => Err(ProviderError::Refused {
            reason: "NOTIMP: the server does not know updates".to_owned(),
        }),
        code => Err(ProviderError::Refused {
            reason: code.to_string(),
        }),
    }
}

fn refused(error: &impl ToString) -> ProviderError {
    ProviderError::Refused {
        reason: error.to_string(),
    }
}
