//! What certificates of ours look like (spec: leaf profile of CertMaker, RFC 5280). A profile says
//! what is wanted; [`prepare`](crate::issuance::prepare) turns it into bytes to sign.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::identifier::{DnsName, Identifier};
use crate::key::PublicKey;
use crate::name::DistinguishedName;

/// The certificate to issue.
#[derive(Clone, Debug)]
pub enum Profile {
    /// For an authority below the issuer.
    Authority(CaProfile),
    /// For a server, client or person.
    Leaf(LeafProfile),
    /// For answering OCSP in the issuer's name.
    Responder(ResponderProfile),
}

/// A period of validity, in whole seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// The end of a validity does not lie after its beginning, or a year has not four digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the validity must end after it begins, between the years 0 and 9999")]
pub struct ValidityError;

impl Validity {
    /// A period from `not_before` through `not_after`. Fractions of a second are cut off.
    ///
    /// # Errors
    /// [`ValidityError`].
    pub fn new(
        not_before: OffsetDateTime,
        not_after: OffsetDateTime,
    ) -> Result<Self, ValidityError> {
        let whole = |moment: OffsetDateTime| {
            OffsetDateTime::from_unix_timestamp(moment.unix_timestamp())
                .ok()
                .filter(|moment| moment.year() >= 0)
                .ok_or(ValidityError)
        };
        let (not_before, not_after) = (whole(not_before)?, whole(not_after)?);
        if not_after <= not_before {
            return Err(ValidityError);
        }
        Ok(Self {
            not_before,
            not_after,
        })
    }

    /// The first moment.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// The last second.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// The part of this period that lies within `other`; `None` if there is none.
    pub fn within(&self, other: &Self) -> Option<Self> {
        Self::new(
            self.not_before.max(other.not_before),
            self.not_after.min(other.not_after),
        )
        .ok()
    }
}

/// Where clients find what they need to check a certificate. Plain ASCII URLs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Urls {
    /// The OCSP responder.
    pub ocsp: Option<String>,
    /// The issuer's own certificate, in DER.
    pub ca_issuers: Option<String>,
    /// The issuer's CRL.
    pub crl: Option<String>,
}

impl Urls {
    /// Whether a text is fit for a URI of an extension: plain ASCII with a scheme.
    pub(crate) fn is_url(text: &str) -> bool {
        text.bytes().all(|byte| byte.is_ascii_graphic())
            && text
                .split_once("://")
                .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
    }
}

/// What a leaf may be used for (RFC 5280 4.2.1.12).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Usages {
    /// For TLS clients only: `id-kp-clientAuth`.
    Client,
    /// For TLS servers only: `id-kp-serverAuth`.
    Server,
    /// For both.
    #[default]
    ServerAndClient,
}

/// A certificate for TLS servers and clients.
#[derive(Clone, Debug)]
pub struct LeafProfile {
    /// May be empty if there are identifiers; these are then critical.
    pub subject: DistinguishedName,
    /// Become the subject alternative names, in order.
    pub identifiers: Vec<Identifier>,
    /// The key to certify.
    pub public_key: PublicKey,
    /// Cut to the issuer's own validity.
    pub validity: Validity,
    /// Written as extended key usage.
    pub usages: Usages,
    /// Written as authority information access and CRL distribution point.
    pub urls: Urls,
}

/// A certificate for an authority.
#[derive(Clone, Debug)]
pub struct CaProfile {
    /// Must not be empty.
    pub subject: DistinguishedName,
    /// The key to certify.
    pub public_key: PublicKey,
    /// Cut to the issuer's own validity.
    pub validity: Validity,
    /// How many authorities may stand between this one and a leaf; `None` for any number.
    pub path_length: Option<u8>,
    /// What names its certificates may have.
    pub name_constraints: Option<NameConstraints>,
    /// Written as authority information access and CRL distribution point.
    pub urls: Urls,
}

/// A certificate whose key answers OCSP for the issuer (RFC 6960 4.2.2.2), itself not to be checked
/// for revocation.
#[derive(Clone, Debug)]
pub struct ResponderProfile {
    /// Must not be empty.
    pub subject: DistinguishedName,
    /// The key to certify.
    pub public_key: PublicKey,
    /// Cut to the issuer's own validity.
    pub validity: Validity,
}

/// Name constraints (RFC 5280 4.2.1.10). A name is allowed if it lies in one of the permitted
/// subtrees of its kind (or there is none of its kind) and in no excluded one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NameConstraints {
    /// Subtrees in which names may lie.
    pub permitted: Vec<Subtree>,
    /// Subtrees in which names must not lie.
    pub excluded: Vec<Subtree>,
}

/// A set of names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subtree {
    /// A DNS name and all names below it.
    Dns(DnsName),
    /// All DNS names. Excluding it forbids them.
    AnyDns,
    /// All e-mail addresses at exactly this host.
    EmailHost(DnsName),
    /// The IP addresses that share the first `prefix` bits with `address`.
    Network {
        /// An address of the network.
        address: IpAddr,
        /// Up to 32 for IPv4, up to 128 for IPv6.
        prefix: u8,
    },
}

impl From<LeafProfile> for Profile {
    fn from(profile: LeafProfile) -> Self {
        Self::Leaf(profile)
    }
}

impl From<CaProfile> for Profile {
    fn from(profile: CaProfile) -> Self {
        Self::Authority(profile)
    }
}

impl From<ResponderProfile> for Profile {
    fn from(profile: ResponderProfile) -> Self {
        Self::Responder(profile)
    }
}
