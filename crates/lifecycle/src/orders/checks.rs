//! Whether a certificate is the one that was ordered. A directory is believed nothing. Pure.

use acme::client::Chain;
use pki::{Certificate, Identifier, PublicKey};
use time::{Duration, OffsetDateTime};

/// How much later than here it may be at a directory.
const SKEW: Duration = Duration::hours(1);
/// Most certificates of a chain that are looked at.
const LONGEST_CHAIN: usize = 16;

/// A certificate that can be put into service.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) leaf: Certificate,
    /// From the issuer of the leaf upwards, without a root.
    pub(super) intermediates: Vec<Certificate>,
}

/// Why a certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    #[error("it is empty")]
    Empty,
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    #[error("it is for another key")]
    Key,
    #[error("it does not cover '{0}'")]
    Name(String),
    #[error("it is not valid before {0}")]
    TooEarly(OffsetDateTime),
    #[error("it, or what it is signed with, has expired at {0}")]
    Expired(OffsetDateTime),
    #[error("its chain does not hold together at '{0}'")]
    Broken(String),
}

/// The chain to put into service: the first whose topmost issuer has the preferred common name, if
/// there is one, else the default one.
///
/// # Errors
/// Why the default chain is refused.
pub(super) fn choose_chain(
    chains: &[Chain],
    preferred: Option<&str>,
    wanted: (&PublicKey, &[Identifier]),
    now: OffsetDateTime,
) -> Result<Checked, Unfit> {
    let mut checked = chains.iter().map(|chain| check(chain, wanted, now));
    let default = checked.next().unwrap_or(Err(Unfit::Empty));
    let Some(preferred) = preferred else {
        return default;
    };
    let is_preferred = |checked: &Checked| {
        let top = checked.intermediates.last().unwrap_or(&checked.leaf);
        let name = top.issuer().common_name();
        name.is_some_and(|name| name.eq_ignore_ascii_case(preferred))
    };
    match default {
        Ok(default) if is_preferred(&default) => Ok(default),
        default => match checked.flatten().find(is_preferred) {
            Some(preferred) => Ok(preferred),
            None => default,
        },
    }
}

fn check(
    chain: &Chain,
    (key, identifiers): (&PublicKey, &[Identifier]),
    now: OffsetDateTime,
) -> Result<Checked, Unfit> {
    let read = chain.iter().take(LONGEST_CHAIN).map(|der| {
        Certificate::from_der(der).map_err(|error| Unfit::Unreadable(error.to_string()))
    });
    let mut certificates = read.collect::<Result<Vec<_>, _>>()?.into_iter();
    let leaf = certificates.next().ok_or(Unfit::Empty)?;
    if leaf.spki_der() != key.spki_der() {
        return Err(Unfit::Key);
    }
    let covered = leaf.identifiers();
    let missing = identifiers
        .iter()
        .find(|identifier| !covered.contains(identifier));
    if let Some(missing) = missing {
        return Err(Unfit::Name(missing.to_string()));
    }
    if now + SKEW < leaf.not_before() {
        return Err(Unfit::TooEarly(leaf.not_before()));
    }
    let mut intermediates: Vec<Certificate> = Vec::new();
    for issuer in certificates {
        let below = intermediates.last().unwrap_or(&leaf);
        let is_linked = below.issuer() == issuer.subject()
            && issuer.is_ca()
            && issuer
                .public_key()
                .is_ok_and(|key| below.verify_signature_by(&key));
        if !is_linked {
            return Err(Unfit::Broken(issuer.subject().to_string()));
        }
        intermediates.push(issuer);
    }
    // Relying parties have their own.
    if intermediates
        .last()
        .is_some_and(Certificate::is_self_issued)
    {
        intermediates.pop();
    }
    let signed_with = std::iter::once(&leaf).chain(&intermediates);
    let ends = signed_with.map(Certificate::not_after).min();
    match ends {
        Some(end) if end <= now => Err(Unfit::Expired(end)),
        _ => Ok(Checked {
            leaf,
            intermediates,
        }),
    }
}
