//! The rules every certificate of ours follows, checked on the very bytes that will be signed. The
//! bytes are read back with the reader for other people's certificates, so that a fault of the
//! writer is found before anything is signed.

use crate::asn1::{Malformed, oid};
use crate::certificate::TbsView;
use crate::extension::{self, key_usage};
use crate::identifier::Identifier;
use crate::key::{SigningKey, is_rsa_key, public_key_bits, sha1};
use crate::name::{self, DistinguishedName};
use crate::profile::{Subtree, Usages};
use crate::signer::Signer;

/// A rule that a certificate about to be signed breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the certificate breaks the rule {rule}: {detail}")]
pub struct LintError {
    /// The rule's name.
    pub rule: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// What kind of certificate is checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Authority,
    Leaf(Usages),
    Responder,
}

/// Who is going to sign.
#[derive(Clone, Copy)]
pub(crate) enum Issuer<'a> {
    Authority(&'a Signer),
    Itself(&'a SigningKey),
}

/// Checks all rules; the first broken one is the error.
pub(crate) fn check(body: &[u8], kind: Kind, issuer: Issuer<'_>) -> Result<(), LintError> {
    let view = TbsView::read(body).map_err(|error| malformed("structure", error))?;
    let certificate = Candidate {
        view: &view,
        kind,
        issuer,
    };
    certificate.check_version_and_serial()?;
    certificate.check_issuer()?;
    certificate.check_validity()?;
    certificate.check_subject()?;
    certificate.check_names()?;
    certificate.check_emails_of_subject()?;
    certificate.check_basic_constraints()?;
    certificate.check_key_usage()?;
    certificate.check_extended_key_usage()?;
    certificate.check_key_identifiers()
}

struct Candidate<'a> {
    view: &'a TbsView<'a>,
    kind: Kind,
    issuer: Issuer<'a>,
}

impl Candidate<'_> {
    fn check_version_and_serial(&self) -> Result<(), LintError> {
        require(self.view.version == 2, "version", "it is not version 3")?;
        require(
            self.view.serial.is_conforming(),
            "serial_number",
            "it is not positive with at most 20 octets (RFC 5280 4.1.2.2)",
        )
    }

    fn check_issuer(&self) -> Result<(), LintError> {
        let (name, key) = match self.issuer {
            Issuer::Authority(signer) => (signer.certificate().subject().to_der(), signer.key()),
            Issuer::Itself(key) => (self.view.subject, key),
        };
        require(
            self.view.issuer == name && name != DistinguishedName::empty().to_der(),
            "issuer",
            "it is not the non-empty subject of the issuer",
        )?;
        let algorithm = key.algorithm().signature_algorithm();
        require(
            self.view.signature_algorithm == algorithm.to_der(),
            "signature_algorithm",
            "it is not the one of the issuer's key",
        )?;
        let is_own_key = self.view.spki == key.public_key().spki_der();
        require(
            is_own_key == matches!(self.issuer, Issuer::Itself(_)),
            "public_key",
            "the issuer's own key is certified if and only if the certificate is self-signed",
        )
    }

    fn check_validity(&self) -> Result<(), LintError> {
        let (not_before, not_after) = (self.view.not_before, self.view.not_after);
        require(
            not_before < not_after,
            "validity",
            "it ends before it begins",
        )?;
        let Issuer::Authority(signer) = self.issuer else {
            return Ok(());
        };
        let limit = signer.validity();
        require(
            limit.not_before() <= not_before && not_after <= limit.not_after(),
            "validity",
            "it is not within the issuer's validity",
        )
    }

    fn check_subject(&self) -> Result<(), LintError> {
        const RULE: &str = "subject";
        let subject = DistinguishedName::from_der(self.view.subject)
            .map_err(|error| broken(RULE, error.to_string()))?;
        require(
            matches!(self.kind, Kind::Leaf(_)) || !subject.is_empty(),
            RULE,
            "it is empty",
        )?;
        let states_itself =
            matches!(self.kind, Kind::Leaf(_)) && matches!(self.issuer, Issuer::Itself(_));
        for attribute in subject.attributes() {
            let text = name::decode_text(&attribute.value)
                .ok_or_else(|| broken(RULE, "a part is not text".to_owned()))?;
            require(!text.is_empty(), RULE, "a part is empty")?;
            require(
                !text.chars().any(char::is_control),
                RULE,
                "a part has a control character",
            )?;
            let Some((field, mut max)) = name::upper_bound(attribute.object) else {
                continue;
            };
            if states_itself && attribute.object != oid::COMMON_NAME.as_bytes() {
                max = max.max(name::STATED_MAX);
            }
            if text.chars().count() > max {
                let detail = format!("the {field} is longer than {max} characters");
                return Err(broken(RULE, detail));
            }
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), LintError> {
        const RULE: &str = "subject_alt_name";
        let has_subject = self.view.subject != DistinguishedName::empty().to_der();
        let Some(names) = extension::find(&self.view.extensions, &oid::SUBJECT_ALT_NAME) else {
            return require(has_subject, RULE, "there is neither a subject nor a name");
        };
        // RFC 5280 4.2.1.6.
        require(
            names.critical != has_subject,
            RULE,
            "it must be critical if and only if the subject is empty",
        )?;
        let entries =
            extension::read_general_names(names.value).map_err(|error| malformed(RULE, error))?;
        let mut count = 0;
        for entry in entries {
            let identifier = entry.map_err(|_| broken(RULE, "a name is invalid".to_owned()))?;
            self.check_name_constraints(&identifier)?;
            count += 1;
        }
        require(count > 0, RULE, "it has no name")
    }

    fn check_name_constraints(&self, identifier: &Identifier) -> Result<(), LintError> {
        let Issuer::Authority(signer) = self.issuer else {
            return Ok(());
        };
        let mut constraints = signer.name_constraints().iter();
        if constraints.all(|constraints| constraints.allow(identifier)) {
            Ok(())
        } else {
            Err(broken(
                "name_constraints",
                format!("the issuer may not certify {identifier}"),
            ))
        }
    }

    /// RFC 5280 4.2.1.10 asks for this where there is no alternative name; OpenSSL does it always.
    fn check_emails_of_subject(&self) -> Result<(), LintError> {
        let subject = DistinguishedName::from_der(self.view.subject)
            .map_err(|error| broken("subject", error.to_string()))?;
        for email in subject.email_addresses() {
            match email {
                Ok(email) => self.check_name_constraints(&Identifier::Email(email))?,
                Err(error) if self.is_limited_in_emails() => {
                    return Err(broken("name_constraints", error.to_string()));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn is_limited_in_emails(&self) -> bool {
        let Issuer::Authority(signer) = self.issuer else {
            return false;
        };
        signer.name_constraints().iter().any(|constraints| {
            let mut subtrees = constraints.permitted.iter().chain(&constraints.excluded);
            subtrees.any(|subtree| matches!(subtree, Subtree::EmailHost(_)))
        })
    }

    fn check_basic_constraints(&self) -> Result<(), LintError> {
        const RULE: &str = "basic_constraints";
        let found = self.required(&oid::BASIC_CONSTRAINTS, RULE)?;
        require(found.critical, RULE, "it is not critical")?;
        let constraints = extension::read_basic_constraints(found.value)
            .map_err(|error| malformed(RULE, error))?;
        require(
            constraints.is_ca == (self.kind == Kind::Authority),
            RULE,
            "CA is set if and only if the certificate is an authority's",
        )?;
        require(
            constraints.is_ca || constraints.path_length.is_none(),
            RULE,
            "only authorities have a path length",
        )?;
        let limit = match self.issuer {
            Issuer::Authority(signer) => signer.certificate().path_length(),
            Issuer::Itself(_) => None,
        };
        // RFC 5280 6.1.4 (l, m): below a path length of 0 there are leaves only.
        let within = match (limit, constraints.path_length) {
            (None, _) => true,
            (Some(limit), Some(own)) => own < limit,
            (Some(limit), None) => limit > 0,
        };
        require(
            !constraints.is_ca || within,
            RULE,
            "the issuer's path length does not allow this authority",
        )
    }

    fn check_key_usage(&self) -> Result<(), LintError> {
        const RULE: &str = "key_usage";
        let found = self.required(&oid::KEY_USAGE, RULE)?;
        require(found.critical, RULE, "it is not critical")?;
        let usage =
            extension::read_key_usage(found.value).map_err(|error| malformed(RULE, error))?;
        let authority_bits = key_usage::KEY_CERT_SIGN | key_usage::CRL_SIGN;
        let expected = match self.kind {
            Kind::Authority => authority_bits,
            Kind::Leaf(_) | Kind::Responder => 0,
        };
        require(
            usage & authority_bits == expected,
            RULE,
            "authorities sign certificates and CRLs, others do not",
        )?;
        require(
            usage & key_usage::DIGITAL_SIGNATURE != 0,
            RULE,
            "digital signature is missing",
        )?;
        let is_rsa = is_rsa_key(self.view.spki).map_err(|error| malformed(RULE, error))?;
        require(
            is_rsa || usage & key_usage::KEY_ENCIPHERMENT == 0,
            RULE,
            "key encipherment needs an RSA key",
        )
    }

    fn check_extended_key_usage(&self) -> Result<(), LintError> {
        const RULE: &str = "extended_key_usage";
        let server: &[u8] = oid::PURPOSE_SERVER_AUTH.as_bytes();
        let client: &[u8] = oid::PURPOSE_CLIENT_AUTH.as_bytes();
        let ocsp: &[u8] = oid::PURPOSE_OCSP_SIGNING.as_bytes();
        let expected: &[&[u8]] = match self.kind {
            Kind::Authority => &[],
            Kind::Leaf(Usages::Client) => &[client],
            Kind::Leaf(Usages::Server) => &[server],
            Kind::Leaf(Usages::ServerAndClient) => &[server, client],
            Kind::Responder => &[ocsp],
        };
        let found = extension::find(&self.view.extensions, &oid::EXTENDED_KEY_USAGE)
            .map(|found| extension::read_extended_key_usage(found.value))
            .transpose()
            .map_err(|error| malformed(RULE, error))?
            .unwrap_or_default();
        require(found == expected, RULE, "it is not the one of its kind")?;
        // RFC 6960 4.2.2.2.1: without it clients would ask for the responder's own status.
        let has_no_check = extension::find(&self.view.extensions, &oid::OCSP_NO_CHECK).is_some();
        require(
            has_no_check == (self.kind == Kind::Responder),
            "ocsp_no_check",
            "it belongs into a responder's certificate and no other",
        )
    }

    fn check_key_identifiers(&self) -> Result<(), LintError> {
        const RULE: &str = "key_identifiers";
        let found = self.required(&oid::SUBJECT_KEY_IDENTIFIER, RULE)?;
        let subject = extension::read_subject_key_identifier(found.value)
            .map_err(|error| malformed(RULE, error))?;
        let bits = public_key_bits(self.view.spki).map_err(|error| malformed(RULE, error))?;
        let own = sha1(bits);
        require(subject == own, RULE, "the subject's is not that of its key")?;
        let found = self.required(&oid::AUTHORITY_KEY_IDENTIFIER, RULE)?;
        let authority = extension::read_authority_key_identifier(found.value)
            .map_err(|error| malformed(RULE, error))?;
        let stated = match self.issuer {
            Issuer::Authority(signer) => signer.certificate().subject_key_identifier(),
            Issuer::Itself(_) => Some(own.as_slice()),
        };
        require(
            authority.is_some() && (stated.is_none() || authority == stated),
            RULE,
            "the authority's is not the one in the issuer's certificate",
        )
    }

    fn required(
        &self,
        object: &crate::asn1::ObjectIdentifier,
        rule: &'static str,
    ) -> Result<&extension::Extension<'_>, LintError> {
        extension::find(&self.view.extensions, object)
            .ok_or_else(|| broken(rule, "the extension is missing".to_owned()))
    }
}

fn require(condition: bool, rule: &'static str, detail: &str) -> Result<(), LintError> {
    if condition {
        Ok(())
    } else {
        Err(broken(rule, detail.to_owned()))
    }
}

fn malformed(rule: &'static str, Malformed(what): Malformed) -> LintError {
    broken(rule, format!("{what} cannot be read"))
}

fn broken(rule: &'static str, detail: String) -> LintError {
    LintError { rule, detail }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
