//! Making authorities: after a template on first use, or as an administrator says.

use std::time::Duration;

use pki::{DistinguishedName, KeyAlgorithm, NameConstraints, Signer, SubjectFields};
use store::{AuthorityId, CaRole, NewAuthority, NewCaCertificate, Scope};

use super::tier_maker::{TierMaker, named};
use super::{Authorities, AuthorityView, constraints};
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::{days, new_member};
use crate::issuers::check_name;
use crate::labour::sign_off_the_reactor;
use crate::settings::Tiers;
use crate::{Error, Noun, Principal, events};

const ROOT_DAYS: u32 = 15 * 365;
const ISSUING_DAYS: u32 = 10 * 365;
/// Longest lifetime of a CA certificate, in days.
const MAX_DAYS: u32 = 50 * 365;

/// An authority that is to be made.
#[derive(Debug, Clone)]
pub struct NewAuthorityRequest {
    /// Its name.
    pub name: String,
    /// Algorithm of all its keys.
    pub key_algorithm: KeyAlgorithm,
    /// Subject of a single tier. Of two, the CNs get `Root CA` or `Issuing CA` and a part of the key
    /// identifier appended.
    pub subject: SubjectFields,
    /// One tier or two.
    pub tiers: Tiers,
    /// Lifetime of the certificate that signs leaves, in days; `None` for ten years, or fifteen of a
    /// single tier.
    pub days: Option<u32>,
    /// Lifetime of the root of two tiers, in days; `None` for fifteen years.
    pub root_days: Option<u32>,
    /// Names that it may certify: domains, networks, e-mail hosts after `@`, or `*` for all domains.
    pub permitted: Vec<String>,
    /// Names that it must not certify.
    pub excluded: Vec<String>,
    /// Whether its keys are made in the device of this node.
    pub in_device: bool,
}

/// What the tiers of a new authority are to be.
struct Design {
    name: String,
    key_algorithm: KeyAlgorithm,
    subject: SubjectFields,
    tiers: Tiers,
    issuing_lifetime: Duration,
    root_lifetime: Duration,
    constraints: Option<NameConstraints>,
    in_device: bool,
}

impl Authorities {
    /// Makes an authority.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for all but administrators, [`Error::NameTaken`], [`Error::Invalid`],
    /// [`Error::KeyUnavailable`] when the device does not make a key.
    pub async fn create(
        &self,
        principal: &Principal,
        request: NewAuthorityRequest,
    ) -> Result<AuthorityView, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        check_name(&request.name)?;
        let single = request.tiers == Tiers::One;
        let issuing_days = request
            .days
            .unwrap_or(if single { ROOT_DAYS } else { ISSUING_DAYS });
        let root_days = match request.root_days {
            Some(_) if single => {
                let reason = "a single tier has one lifetime; give days";
                return Err(Error::invalid("root_days", reason));
            }
            Some(days) => days,
            None => ROOT_DAYS.max(if single { 0 } else { issuing_days }),
        };
        let design = Design {
            issuing_lifetime: lifetime(issuing_days, "days")?,
            root_lifetime: lifetime(if single { issuing_days } else { root_days }, "root_days")?,
            constraints: constraints::read(&request.permitted, &request.excluded)?,
            name: request.name,
            key_algorithm: request.key_algorithm,
            subject: request.subject,
            tiers: request.tiers,
            in_device: request.in_device,
        };
        if design.root_lifetime < design.issuing_lifetime {
            let reason = "the root must not end before what it certifies";
            return Err(Error::invalid("root_days", reason));
        }
        let _alone = self.making.lock().await;
        self.check_unused(&design.name).await?;
        let name = design.name.clone();
        let members = self.members_of(design).await?;
        let made = self.record(
            principal.account_name(),
            &name,
            members,
            events::AUTHORITY_CREATED,
        );
        if !made.await? {
            return Err(taken(&name));
        }
        tracing::info!(authority = name, "made an authority");
        self.view_of(&name).await
    }

    /// Makes the authority `name` after its template.
    pub(super) async fn make(&self, name: &str) -> Result<store::Authority, Error> {
        let template = self
            .settings
            .authorities
            .get(name)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Authority, name))?;
        let design = Design {
            name: name.to_owned(),
            key_algorithm: template.key_algorithm,
            subject: template.subject,
            tiers: template.tiers,
            issuing_lifetime: days(ISSUING_DAYS),
            root_lifetime: days(ROOT_DAYS),
            constraints: None,
            in_device: false,
        };
        let members = self.members_of(design).await?;
        // If another node was faster, its authority is the one.
        if self
            .record(HOUSE_ACCOUNT, name, members, events::AUTHORITY_CREATED)
            .await?
        {
            tracing::info!(authority = name, "made an authority");
        }
        let row = self.store.authority(name).await?;
        row.ok_or_else(|| Error::not_found(Noun::Authority, name))
    }

    /// Records a new authority. Whether there was none of that name yet.
    pub(super) async fn record(
        &self,
        actor: &str,
        name: &str,
        ca_certificates: Vec<NewCaCertificate>,
        kind: &'static str,
    ) -> Result<bool, Error> {
        let id = AuthorityId::from_random(self.surroundings.random());
        let record = NewAuthority {
            id,
            name: name.to_owned(),
            created_at: self.surroundings.now(),
            ca_certificates,
            event: events::of(
                &self.surroundings,
                actor,
                None,
                kind,
                Some(id.as_uuid()),
                name,
            ),
        };
        match self.store.create_authority(record).await {
            Ok(()) => Ok(true),
            Err(store::Error::DuplicateName) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to it that no issuer of anybody has this name.
    pub(super) async fn check_unused(&self, name: &str) -> Result<(), Error> {
        if self.settings.authorities.contains_key(name) {
            return Err(taken(name));
        }
        let directories = self.store.directories(Scope::Everything).await?;
        let is_taken = directories.iter().any(|directory| directory.name == name)
            || self.store.authority(name).await?.is_some();
        if is_taken { Err(taken(name)) } else { Ok(()) }
    }

    pub(super) fn tier_maker(&self) -> TierMaker {
        TierMaker {
            surroundings: self.surroundings.clone(),
            public_url: self.settings.public_url.clone(),
        }
    }

    async fn members_of(&self, design: Design) -> Result<Vec<NewCaCertificate>, Error> {
        let maker = self.tier_maker();
        // RSA keys take up to a second of CPU each.
        let made = sign_off_the_reactor(design.in_device, move || members(&design, &maker));
        made.await.map_err(Error::signing)?
    }
}

pub(super) fn taken(name: &str) -> Error {
    Error::NameTaken {
        noun: Noun::Issuer,
        name: name.to_owned(),
    }
}

fn lifetime(number: u32, field: &'static str) -> Result<Duration, Error> {
    if (1..=MAX_DAYS).contains(&number) {
        return Ok(days(number));
    }
    let reason = format!("{number} days are not between 1 and {MAX_DAYS}");
    Err(Error::invalid(field, reason))
}

/// The CA certificates and keys of a new authority, root first.
fn members(design: &Design, maker: &TierMaker) -> Result<Vec<NewCaCertificate>, Error> {
    let subject = DistinguishedName::from_fields(&design.subject)
        .map_err(|error| Error::invalid("subject", error.to_string()))?;
    let common_name = design.subject.common_name.as_deref().unwrap_or_default();
    let new_key = |tier: &str| {
        let label = format!("chancery {} {tier}", design.name);
        maker.key(design.key_algorithm, design.in_device, &label)
    };
    let key = new_key("root")?;
    let root_subject = match design.tiers {
        Tiers::One if subject.is_empty() => {
            return Err(Error::invalid(
                "subject",
                "an authority needs a common name",
            ));
        }
        Tiers::One => subject.clone(),
        Tiers::Two => named(&subject, common_name, "Root CA", &key.signing)?,
    };
    let constraints = &design.constraints;
    let root = maker.root(
        root_subject,
        &key.signing,
        design.root_lifetime,
        constraints.clone(),
    )?;
    let record = |role, certificate, key| new_member(role, certificate, key, &maker.surroundings);
    let mut members = vec![record(CaRole::Root, &root, key.record)];
    if design.tiers == Tiers::Two {
        let signer = Signer::new(root.clone(), key.signing).map_err(Error::signing)?;
        let key = new_key("issuing")?;
        let subject = named(&subject, common_name, "Issuing CA", &key.signing)?;
        let lifetime = design.issuing_lifetime;
        let issuing = maker.issuing(
            subject,
            &key.signing,
            lifetime,
            constraints.clone(),
            &signer,
        )?;
        members.push(record(CaRole::Issuing, &issuing, key.record));
    }
    Ok(members)
}
