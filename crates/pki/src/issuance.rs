//! Issuing in three steps that cannot be left out or repeated: [`prepare`] makes the bytes to sign,
//! [`Prepared::lint`] reads them back and checks them against the rules, [`Linted::sign`] signs them
//! once. Between the last two steps the bytes can be recorded.

use crate::asn1::{ObjectIdentifier, Writer, oid, tag};
use crate::certificate::Certificate;
use crate::extension::{self, BasicConstraints, key_usage};
use crate::identifier::MAX_IDENTIFIERS;
use crate::key::{KeyError, PublicKey, SigningKey};
use crate::lint::{self, Issuer, Kind, LintError};
use crate::name::DistinguishedName;
use crate::profile::{
    CaProfile, LeafProfile, NameConstraints, Profile, ResponderProfile, Subtree, Urls, Usages,
    Validity,
};
use crate::serial::Serial;
use crate::signed;
use crate::signer::Signer;

/// Prepares a certificate below `issuer`. Its validity is cut to the issuer's.
///
/// # Errors
/// [`ProfileError`], except [`ProfileError::KeyMismatch`].
pub fn prepare(
    profile: impl Into<Profile>,
    serial: &Serial,
    issuer: &Signer,
) -> Result<Prepared, ProfileError> {
    let parts = Parts::new(profile.into(), Some(issuer.validity()))?;
    let body = parts.write(
        serial,
        issuer.key(),
        issuer.certificate().subject(),
        issuer.authority_key_identifier(),
    );
    Ok(Prepared {
        body,
        kind: parts.kind,
        signed_by: SignedBy::Authority(issuer.clone()),
    })
}

/// Prepares a certificate signed with its own key: a root, or a self-signed leaf.
///
/// # Errors
/// [`ProfileError`], each variant.
pub fn prepare_self_signed(
    profile: impl Into<Profile>,
    serial: &Serial,
    key: impl Into<SigningKey>,
) -> Result<Prepared, ProfileError> {
    let key = key.into();
    let parts = Parts::new(profile.into(), None)?;
    if parts.public_key != *key.public_key() {
        return Err(ProfileError::KeyMismatch);
    }
    let mut authority_key_identifier = Writer::new();
    extension::write_authority_key_identifier(
        &mut authority_key_identifier,
        &parts.public_key.key_identifier(),
    );
    let body = parts.write(
        serial,
        &key,
        &parts.subject,
        &authority_key_identifier.finish(),
    );
    Ok(Prepared {
        body,
        kind: parts.kind,
        signed_by: SignedBy::Itself(key),
    })
}

/// A certificate as it would be signed, not yet checked.
#[derive(Debug)]
pub struct Prepared {
    body: Vec<u8>,
    kind: Kind,
    signed_by: SignedBy,
}

impl Prepared {
    /// Checks the certificate against the rules that all of ours follow.
    ///
    /// # Errors
    /// [`LintError`] names the first rule that is broken.
    pub fn lint(self) -> Result<Linted, LintError> {
        let issuer = match &self.signed_by {
            SignedBy::Authority(signer) => Issuer::Authority(signer),
            SignedBy::Itself(key) => Issuer::Itself(key),
        };
        lint::check(&self.body, self.kind, issuer)?;
        Ok(Linted(self))
    }

    /// What would be signed.
    #[cfg(test)]
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// A certificate that follows the rules and can be signed, once.
#[derive(Debug)]
pub struct Linted(Prepared);

impl Linted {
    /// The DER TBSCertificate that will be signed, to be recorded before.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.0.body
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`KeyError::Provider`] if the crypto library fails, [`KeyError::Outside`] if the device does
    /// that has the key.
    pub fn sign(self) -> Result<Certificate, KeyError> {
        let Prepared {
            body, signed_by, ..
        } = self.0;
        let key = match &signed_by {
            SignedBy::Authority(signer) => signer.key(),
            SignedBy::Itself(key) => key,
        };
        let der = signed::sign(key, &body, |_| {})?;
        // The lint has read all of it but the signature.
        Certificate::from_der(&der).map_err(|_| KeyError::Provider("make a readable certificate"))
    }
}

/// Why a profile cannot become a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProfileError {
    /// A self-signed certificate is to be signed with another key than its own.
    #[error("a self-signed certificate must be signed with its own key")]
    KeyMismatch,
    /// A name constraint is a wildcard or has a prefix longer than its address.
    #[error("a name constraint is invalid")]
    NameConstraint,
    /// There are more than [`MAX_IDENTIFIERS`] names.
    #[error("the certificate would have more than {MAX_IDENTIFIERS} names")]
    TooManyNames,
    /// A URL is not plain ASCII with a scheme.
    #[error("the {0} URL is not a valid URL")]
    Url(&'static str),
    /// The issuer is not valid at any moment of the wanted validity.
    #[error("the issuer's certificate is not valid in the period asked for")]
    Validity,
}

#[derive(Debug)]
enum SignedBy {
    Authority(Signer),
    Itself(SigningKey),
}

/// What the three kinds of profiles come down to.
struct Parts {
    kind: Kind,
    subject: DistinguishedName,
    public_key: PublicKey,
    validity: Validity,
    urls: Urls,
    identifiers: Vec<crate::identifier::Identifier>,
    path_length: Option<u8>,
    name_constraints: NameConstraints,
}

impl Parts {
    fn new(profile: Profile, limit: Option<&Validity>) -> Result<Self, ProfileError> {
        let mut parts = match profile {
            Profile::Leaf(LeafProfile {
                subject,
                identifiers,
                public_key,
                validity,
                usages,
                urls,
            }) => Self {
                kind: Kind::Leaf(usages),
                subject,
                public_key,
                validity,
                urls,
                identifiers,
                path_length: None,
                name_constraints: NameConstraints::default(),
            },
            Profile::Authority(CaProfile {
                subject,
                public_key,
                validity,
                path_length,
                name_constraints,
                urls,
            }) => Self {
                kind: Kind::Authority,
                subject,
                public_key,
                validity,
                urls,
                identifiers: Vec::new(),
                path_length,
                name_constraints: name_constraints.unwrap_or_default(),
            },
            Profile::Responder(ResponderProfile {
                subject,
                public_key,
                validity,
            }) => Self {
                kind: Kind::Responder,
                subject,
                public_key,
                validity,
                urls: Urls::default(),
                identifiers: Vec::new(),
                path_length: None,
                name_constraints: NameConstraints::default(),
            },
        };
        if let Some(limit) = limit {
            parts.validity = parts.validity.within(limit).ok_or(ProfileError::Validity)?;
        }
        parts.check()?;
        Ok(parts)
    }

    fn check(&self) -> Result<(), ProfileError> {
        if self.identifiers.len() > MAX_IDENTIFIERS {
            return Err(ProfileError::TooManyNames);
        }
        let Urls {
            ocsp,
            ca_issuers,
            crl,
        } = &self.urls;
        for (what, url) in [("OCSP", ocsp), ("CA issuers", ca_issuers), ("CRL", crl)] {
            if url.as_deref().is_some_and(|url| !Urls::is_url(url)) {
                return Err(ProfileError::Url(what));
            }
        }
        let NameConstraints {
            permitted,
            excluded,
        } = &self.name_constraints;
        if permitted
            .iter()
            .chain(excluded)
            .all(Subtree::is_well_formed)
        {
            Ok(())
        } else {
            Err(ProfileError::NameConstraint)
        }
    }

    /// Writes the TBSCertificate (RFC 5280 4.1.2).
    fn write(
        &self,
        serial: &Serial,
        key: &SigningKey,
        issuer: &DistinguishedName,
        authority_key_identifier: &[u8],
    ) -> Vec<u8> {
        let mut writer = Writer::with_capacity(1024);
        writer.sequence(|body| {
            body.nested(tag::context_constructed(0), |version| {
                version.unsigned(&[2]);
            });
            serial.write(body);
            body.raw(key.algorithm().signature_algorithm().to_der());
            body.raw(issuer.to_der());
            body.sequence(|validity| {
                validity.time(self.validity.not_before());
                validity.time(self.validity.not_after());
            });
            body.raw(self.subject.to_der());
            body.raw(self.public_key.spki_der());
            body.nested(tag::context_constructed(3), |explicit| {
                explicit.sequence(|list| self.write_extensions(list, authority_key_identifier));
            });
        });
        writer.finish()
    }

    fn write_extensions(&self, list: &mut Writer, authority_key_identifier: &[u8]) {
        extension::write_basic_constraints(
            list,
            BasicConstraints {
                is_ca: self.kind == Kind::Authority,
                path_length: self.path_length,
            },
        );
        extension::write_key_usage(list, self.key_usage());
        match self.kind {
            Kind::Leaf(usages) => extension::write_extended_key_usage(list, purposes(usages)),
            Kind::Responder => {
                extension::write_extended_key_usage(list, &[&oid::PURPOSE_OCSP_SIGNING]);
                extension::write(list, &oid::OCSP_NO_CHECK, false, Writer::null);
            }
            Kind::Authority => self.name_constraints.write(list),
        }
        extension::write_subject_key_identifier(list, &self.public_key.key_identifier());
        list.raw(authority_key_identifier);
        let is_critical = self.subject.is_empty();
        extension::write_subject_alt_name(list, &self.identifiers, is_critical);
        let Urls {
            ocsp,
            ca_issuers,
            crl,
        } = &self.urls;
        extension::write_authority_info_access(list, ocsp.as_deref(), ca_issuers.as_deref());
        extension::write_crl_distribution_point(list, crl.as_deref());
    }

    fn key_usage(&self) -> u16 {
        match self.kind {
            Kind::Authority => key_usage::OF_AUTHORITIES,
            Kind::Leaf(_) if self.public_key.algorithm().is_rsa() => {
                key_usage::DIGITAL_SIGNATURE | key_usage::KEY_ENCIPHERMENT
            }
            Kind::Leaf(_) | Kind::Responder => key_usage::DIGITAL_SIGNATURE,
        }
    }
}

/// What the extended key usage of a leaf lists.
fn purposes(usages: Usages) -> &'static [&'static ObjectIdentifier] {
    match usages {
        Usages::Client => &[&oid::PURPOSE_CLIENT_AUTH],
        Usages::Server => &[&oid::PURPOSE_SERVER_AUTH],
        Usages::ServerAndClient => &[&oid::PURPOSE_SERVER_AUTH, &oid::PURPOSE_CLIENT_AUTH],
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use time::Duration;

    use super::*;
    use crate::testing::{self, NOW, issue, leaf_profile, serial, signer};
    use crate::{DnsName, KeyAlgorithm, PrivateKey};

    #[test]
    fn what_is_signed_is_what_was_asked_for() {
        let key = testing::key();
        let profile = leaf_profile(&["example.com", "192.0.2.1"], key.public_key());
        let prepared = prepare(profile.clone(), &serial(7), signer()).unwrap();
        let linted = prepared.lint().unwrap();
        let body = linted.to_be_signed().to_vec();
        let certificate = linted.sign().unwrap();
        assert!(
            certificate
                .der()
                .windows(body.len())
                .any(|part| part == body)
        );
        assert_eq!(certificate.serial(), &serial(7));
        assert_eq!(certificate.subject(), &profile.subject);
        assert_eq!(certificate.issuer(), signer().certificate().subject());
        assert_eq!(certificate.identifiers(), profile.identifiers);
        assert_eq!(certificate.not_before(), profile.validity.not_before());
        assert_eq!(certificate.not_after(), profile.validity.not_after());
        assert_eq!(certificate.public_key().unwrap(), profile.public_key);
        assert!(!certificate.is_ca());
        assert!(certificate.verify_signature_by(&signer().certificate().public_key().unwrap()));
        assert!(!certificate.verify_signature_by(key.public_key()));
        assert_eq!(
            certificate.authority_key_identifier(),
            signer().certificate().subject_key_identifier()
        );
    }

    #[test]
    fn the_validity_is_cut_to_the_issuers() {
        let mut profile = leaf_profile(&["example.com"], testing::key().public_key());
        profile.validity =
            Validity::new(NOW - Duration::days(1), NOW + Duration::days(9999)).unwrap();
        let certificate = issue(profile.clone(), signer());
        assert_eq!(
            certificate.not_before(),
            signer().certificate().not_before()
        );
        assert_eq!(certificate.not_after(), signer().certificate().not_after());
        profile.validity = Validity::new(NOW - Duration::days(2), NOW - Duration::days(1)).unwrap();
        assert_eq!(
            prepare(profile, &serial(2), signer()).unwrap_err(),
            ProfileError::Validity
        );
    }

    #[test]
    fn faulty_profiles_are_refused() {
        let key = testing::key();
        let profile = leaf_profile(&["example.com"], key.public_key());
        let refused = |profile: LeafProfile| prepare(profile, &serial(2), signer()).unwrap_err();
        for url in [
            "example.com/crl",
            "http://",
            "://x",
            "http://exa mple.com",
            "http://\u{e9}",
        ] {
            let mut faulty = profile.clone();
            faulty.urls.crl = Some(url.to_owned());
            assert_eq!(refused(faulty), ProfileError::Url("CRL"), "{url}");
        }
        let mut faulty = profile.clone();
        faulty.identifiers = vec![faulty.identifiers.first().unwrap().clone(); MAX_IDENTIFIERS + 1];
        assert_eq!(refused(faulty), ProfileError::TooManyNames);
        assert_eq!(
            prepare_self_signed(profile, &serial(2), signer().key()).unwrap_err(),
            ProfileError::KeyMismatch
        );
        let mut authority = testing::ca_profile("Authority", key.public_key());
        authority.name_constraints = Some(NameConstraints {
            permitted: vec![Subtree::Dns(DnsName::parse("*.example.com").unwrap())],
            excluded: vec![],
        });
        assert_eq!(
            prepare(authority, &serial(2), signer()).unwrap_err(),
            ProfileError::NameConstraint
        );
    }

    #[test]
    fn only_an_authority_with_its_own_key_becomes_a_signer() {
        use crate::SignerError;
        let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
        let leaf = issue(leaf_profile(&["example.com"], key.public_key()), signer());
        assert_eq!(
            Signer::new(leaf, key.clone()).unwrap_err(),
            SignerError::NotAnAuthority
        );
        let root = signer().certificate().clone();
        assert_eq!(
            Signer::new(root, key).unwrap_err(),
            SignerError::KeyMismatch
        );
    }

    #[test]
    fn certificates_cover_names_by_alternative_name_or_equal_common_name() {
        let dns = |text| DnsName::parse(text).unwrap();
        let mut profile = leaf_profile(&["*.example.com"], testing::key().public_key());
        profile.subject = testing::name("Common.Example.");
        let certificate = issue(profile.clone(), signer());
        assert!(certificate.covers(&dns("a.example.com")));
        assert!(certificate.covers(&dns("*.example.com")));
        assert!(certificate.covers(&dns("common.example")));
        assert!(!certificate.covers(&dns("a.common.example")));
        assert!(!certificate.covers(&dns("a.b.example.com")));
        profile.subject = testing::name("*.example.org");
        let certificate = issue(profile, signer());
        assert!(certificate.covers(&dns("*.example.org")));
        assert!(!certificate.covers(&dns("a.example.org")));
    }
}
