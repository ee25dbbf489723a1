//! Certificates made here: signed by a private authority for a request or for a fresh key.
//!
//! Nothing is answered before it is committed: a signed certificate that is not recorded never
//! leaves this module.

use std::sync::Arc;

use pki::{
    CertificateRequest, DistinguishedName, Identifier, KeyAlgorithm, KeyKind, LeafProfile,
    PrivateKey, Profile, PublicKey, Serial, SubjectFields,
};
use store::{
    CertificateId, Exportable, NewCertificate, NewPrivateKey, NewRecord, NewVersion, Origin,
    PrivateKeyId, State, VersionId,
};
use time::OffsetDateTime;

use super::reading::{identifiers_of, too_many_identifiers};
use super::upload::account_gone;
use super::{Certificates, naming};
use crate::authorities::Authority;
use crate::ceremony;
use crate::labour::{off_the_reactor, sign_off_the_reactor};
use crate::publication::urls_of_shard;
use crate::{Error, Noun, Principal, events};

/// Lifetime of a leaf when nobody says otherwise, in days.
const DEFAULT_DAYS: u32 = 7;
/// Longest lifetime of a leaf, in days.
const MAX_DAYS: u32 = 182;
/// Draws of a serial number before giving up; a second draw is already unlikely.
const SERIAL_DRAWS: u32 = 4;

/// Where the certificate's key comes from.
#[derive(Debug)]
pub enum KeySource {
    /// The house generates it; its owner can fetch it for a limited time.
    Generate(KeyAlgorithm),
    /// The house generates it and keeps it for its own use; it never leaves.
    Keep(KeyAlgorithm),
    /// The requester has it.
    Request(Box<CertificateRequest>),
}

impl KeySource {
    fn kind(&self) -> KeyKind {
        match self {
            Self::Generate(algorithm) | Self::Keep(algorithm) => (*algorithm).into(),
            Self::Request(signed) => signed.public_key().algorithm(),
        }
    }
}

/// What to issue. Names and subject of a [`KeySource::Request`] are added to those given here.
#[derive(Debug)]
pub struct IssueRequest {
    /// The authority that signs.
    pub authority: String,
    /// The subject; a common name that is a DNS name or an IP address counts as an identifier too.
    pub subject: SubjectFields,
    /// What the certificate is to be valid for.
    pub identifiers: Vec<Identifier>,
    /// Lifetime in days: `None` or 0 for the default, clamped to 1–182.
    pub days: Option<i64>,
    /// The key.
    pub key: KeySource,
    /// A name in the inventory; chosen if `None`.
    pub name: Option<String>,
}

/// A certificate that was issued and recorded.
#[derive(Debug)]
pub struct Issued {
    /// Its id in the inventory.
    pub id: CertificateId,
    /// Its name in the inventory.
    pub name: String,
    /// The leaf.
    pub leaf: pki::Certificate,
    /// What to send after the leaf.
    pub intermediates: Vec<pki::Certificate>,
    /// The key, if the house generated it.
    pub key: Option<PrivateKey>,
}

/// What was asked, made definite, and allowed but for what has to be proven.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The authority that signs.
    pub(crate) authority: String,
    /// The subject.
    pub(crate) subject: DistinguishedName,
    /// All names, those of the subject's common names among them, without repetitions.
    pub(crate) identifiers: Vec<Identifier>,
    /// Lifetime in days.
    pub(crate) days: u32,
    /// The key.
    pub(crate) key: PlannedKey,
    /// A name in the inventory; chosen if `None`.
    pub(crate) name: Option<String>,
}

/// What a plan says of the key.
#[derive(Debug)]
pub(crate) enum PlannedKey {
    /// See [`KeySource::Generate`].
    Generate(KeyAlgorithm),
    /// See [`KeySource::Keep`].
    Keep(KeyAlgorithm),
    /// See [`KeySource::Request`].
    Certify(PublicKey),
}

impl PlannedKey {
    fn kind(&self) -> KeyKind {
        match self {
            Self::Generate(algorithm) | Self::Keep(algorithm) => (*algorithm).into(),
            Self::Certify(public_key) => public_key.algorithm(),
        }
    }
}

/// A plan with its key: everything about the leaf but its serial number and signature.
struct Draft {
    common_name: String,
    subject: DistinguishedName,
    identifiers: Vec<Identifier>,
    public_key: PublicKey,
    key: Option<(PrivateKey, Exportable)>,
}

impl Certificates {
    /// Issues a certificate and records it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is nothing to certify or the request breaks a rule,
    /// [`Error::NotFound`] for the authority, [`Error::NameTaken`], [`Error::Forbidden`],
    /// [`Error::Policy`] when the account's policy does not allow it,
    /// [`Error::Unsupported`] for names that would have to be validated, [`Error::Signing`].
    pub async fn issue(
        &self,
        principal: &Principal,
        request: IssueRequest,
    ) -> Result<Issued, Error> {
        principal.require_write()?;
        let plan = self.plan(principal, request).await?;
        if !principal.is_house() {
            let account = principal.account_id();
            self.requirement
                .require_none(account, &plan.identifiers)
                .await?;
        }
        self.carry_out(principal, plan, None).await
    }

    /// What a request comes to, if it keeps to the rules.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::Policy`].
    pub(crate) async fn plan(
        &self,
        principal: &Principal,
        request: IssueRequest,
    ) -> Result<Plan, Error> {
        if let Some(name) = &request.name {
            naming::check_name(name)?;
        }
        let mut identifiers = request.identifiers;
        let subject = match &request.key {
            KeySource::Request(signed) => {
                identifiers.extend_from_slice(signed.identifiers());
                signed.subject().clone()
            }
            KeySource::Generate(_) | KeySource::Keep(_) => {
                DistinguishedName::from_fields(&request.subject)
                    .map_err(|error| Error::invalid("subject", error.to_string()))?
            }
        };
        // All of them: which one a relying party goes by is its own choice.
        let common_names = subject.common_names();
        identifiers.extend(identifiers_of(&common_names)?);
        let identifiers = self.checked(identifiers)?;
        let emails = subject.email_addresses();
        self.require_allowed_emails(!emails.is_empty())?;
        if identifiers.is_empty() && subject.common_name().is_none() {
            return Err(Error::invalid(
                "domains",
                "name at least one domain, IP address or e-mail address, or a common name",
            ));
        }
        let policy = self.policies.of(principal.account_id()).await?;
        policy.check_key(request.key.kind())?;
        policy.check_names(&identifiers, &common_names)?;
        policy.check_emails(&emails)?;
        Ok(Plan {
            authority: request.authority,
            subject,
            identifiers,
            days: policy.days(asked_days(request.days), DEFAULT_DAYS)?,
            key: match request.key {
                KeySource::Generate(algorithm) => PlannedKey::Generate(algorithm),
                KeySource::Keep(algorithm) => PlannedKey::Keep(algorithm),
                KeySource::Request(signed) => PlannedKey::Certify(signed.public_key().clone()),
            },
            name: request.name,
        })
    }

    /// Issues what was planned, for a caller who may write and has proven what there was to prove.
    /// The inbound order that it `completes` is completed with it.
    ///
    /// # Errors
    /// Those of [`Self::issue`]; [`store::Error::Completed`], as [`Error::Store`].
    pub(crate) async fn carry_out(
        &self,
        principal: &Principal,
        plan: Plan,
        completes: Option<&str>,
    ) -> Result<Issued, Error> {
        let authority = self.authorities.named(&plan.authority).await?;
        let now = self.surroundings.now();
        let policy = self.policies.of(principal.account_id()).await?;
        // Anew: it may have changed while the order waited.
        let days = policy.days(Some(plan.days), DEFAULT_DAYS)?;
        policy.check_key(plan.key.kind())?;
        policy.check_names(&plan.identifiers, &plan.subject.common_names())?;
        policy.check_emails(&plan.subject.email_addresses())?;
        let validity = ceremony::validity(now, ceremony::days(days))?;
        let name = plan.name.clone();
        let draft = self.draft(plan, now).await?;
        let shard = self.authorities.place(&authority).await?;
        for _ in 0..SERIAL_DRAWS {
            let serial = self.authorities.serial();
            let profile = LeafProfile {
                subject: draft.subject.clone(),
                identifiers: draft.identifiers.clone(),
                public_key: draft.public_key.clone(),
                validity,
                usages: policy.usages.unwrap_or_default(),
                urls: urls_of_shard(&authority.leaf_urls, shard),
            };
            let leaf = sign_leaf(authority.clone(), profile, serial.clone()).await?;
            let name = name
                .clone()
                .unwrap_or_else(|| naming::name_after_serial(&draft.common_name, &serial));
            let record = self.record(
                principal,
                (&authority, shard),
                &draft,
                &leaf,
                name.clone(),
                now,
            );
            let id = record.certificate.id;
            let added = match completes {
                None => self.store.add_certificate(record).await,
                Some(order) => self.store.complete_inbound_order(order, record).await,
            };
            match added {
                Ok(()) => {
                    return Ok(Issued {
                        id,
                        name,
                        leaf,
                        intermediates: authority.intermediates(),
                        key: draft.key.map(|(key, _)| key),
                    });
                }
                Err(store::Error::DuplicateSerial) => {}
                Err(store::Error::UnknownAccount) => return Err(account_gone(principal)),
                Err(store::Error::DuplicateName) => {
                    return Err(Error::NameTaken {
                        noun: Noun::Certificate,
                        name,
                    });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::signing("no unused serial number was drawn"))
    }

    async fn draft(&self, plan: Plan, now: OffsetDateTime) -> Result<Draft, Error> {
        let common_name = plan.subject.common_name();
        let common_name = common_name.or_else(|| plan.identifiers.first().map(ToString::to_string));
        let (public_key, key) = match plan.key {
            PlannedKey::Certify(public_key) => (public_key, None),
            PlannedKey::Generate(algorithm) => {
                let key = generate_key(algorithm).await?;
                let window = Exportable::Until(now + self.settings.key_window);
                (key.public_key().clone(), Some((key, window)))
            }
            PlannedKey::Keep(algorithm) => {
                let key = generate_key(algorithm).await?;
                (key.public_key().clone(), Some((key, Exportable::Never)))
            }
        };
        Ok(Draft {
            common_name: common_name.unwrap_or_default(),
            subject: plan.subject,
            identifiers: plan.identifiers,
            public_key,
            key,
        })
    }

    /// The identifiers without repetitions, if the operator allows all of them.
    fn checked(&self, identifiers: Vec<Identifier>) -> Result<Vec<Identifier>, Error> {
        if identifiers.len() > pki::MAX_IDENTIFIERS {
            return Err(too_many_identifiers());
        }
        let mut seen = std::collections::HashSet::new();
        let mut checked = Vec::with_capacity(identifiers.len());
        for identifier in identifiers {
            self.require_allowed_emails(matches!(identifier, Identifier::Email(_)))?;
            if seen.insert(identifier.clone()) {
                checked.push(identifier);
            }
        }
        Ok(checked)
    }

    /// Refuses e-mail addresses, of which there are some or not, where the operator does.
    fn require_allowed_emails(&self, are_there: bool) -> Result<(), Error> {
        if are_there && !self.settings.allow_email_identifiers {
            return Err(Error::invalid(
                "email_addresses",
                "e-mail addresses are not allowed in certificates of this server",
            ));
        }
        Ok(())
    }

    fn record(
        &self,
        principal: &Principal,
        (authority, shard): (&Authority, u64),
        draft: &Draft,
        leaf: &pki::Certificate,
        name: String,
        now: OffsetDateTime,
    ) -> NewRecord {
        let key = draft.key.as_ref().map(|(key, exportable)| NewPrivateKey {
            id: PrivateKeyId::from_time_and_random(now, self.surroundings.random()),
            key: key.clone(),
            exportable: *exportable,
        });
        let certificate = NewCertificate {
            id: CertificateId::from_random(self.surroundings.random()),
            account_id: principal.account_id(),
            name,
            common_name: draft.common_name.clone(),
            identifiers: draft.identifiers.iter().map(ToString::to_string).collect(),
            origin: Origin::Issued,
            state: State::Valid,
            issuer: Some(authority.name.clone()),
            created_at: now,
        };
        let version = NewVersion {
            id: VersionId::from_time_and_random(now, self.surroundings.random()),
            authority_id: Some(authority.id),
            crl_shard: shard,
            directory_id: None,
            serial: leaf.serial().as_be_bytes().to_vec(),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            not_before: leaf.not_before(),
            not_after: leaf.not_after(),
            leaf: leaf.der().to_vec(),
            intermediates: Vec::new(),
            private_key_id: key.as_ref().map(|key| key.id),
            created_at: now,
        };
        let kind = match &key {
            Some(_) => events::CERTIFICATE_ISSUED,
            None => events::CERTIFICATE_SIGNED,
        };
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            kind,
            Some(certificate.id.as_uuid()),
            &leaf.serial().to_hex(),
        );
        NewRecord {
            certificate,
            version: Some(version),
            key,
            event,
        }
    }
}

/// The lifetime that was asked for, within what a leaf may have; `None` for the usual one.
fn asked_days(days: Option<i64>) -> Option<u32> {
    let days = days.filter(|days| *days != 0)?;
    Some(u32::try_from(days.clamp(1, i64::from(MAX_DAYS))).unwrap_or(MAX_DAYS))
}

pub(crate) async fn generate_key(algorithm: KeyAlgorithm) -> Result<PrivateKey, Error> {
    if !KeyKind::from(algorithm).is_rsa() {
        return PrivateKey::generate(algorithm).map_err(Error::signing);
    }
    // RSA takes a tenth of a second to more than a second of CPU.
    let generated = off_the_reactor(move || PrivateKey::generate(algorithm)).await;
    generated.map_err(Error::signing)?.map_err(Error::signing)
}

pub(super) async fn sign_leaf(
    authority: Arc<Authority>,
    profile: LeafProfile,
    serial: Serial,
) -> Result<pki::Certificate, Error> {
    let profile = Profile::Leaf(profile);
    if !authority.issuing.is_slow() {
        return ceremony::sign(profile, &serial, authority.issuing.signer()?);
    }
    // An RSA-4096 signature takes milliseconds, too long for a task that others wait behind.
    let signed = sign_off_the_reactor(authority.issuing.is_outside(), move || {
        ceremony::sign(profile, &serial, authority.issuing.signer()?)
    });
    signed.await.map_err(Error::signing)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_clamped_to_what_the_authority_allows() {
        for (asked, days) in [
            (None, None),
            (Some(0), None),
            (Some(-3), Some(1)),
            (Some(1), Some(1)),
            (Some(182), Some(182)),
            (Some(999), Some(182)),
            (Some(i64::MAX), Some(182)),
            (Some(i64::MIN), Some(1)),
        ] {
            assert_eq!(asked_days(asked), days, "{asked:?}");
        }
    }
}
