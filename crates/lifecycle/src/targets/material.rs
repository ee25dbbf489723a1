//! Handing out chains with their keys.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use pki::DnsName;
use store::{Among, CertificateId, Deliverable, ServedKey, TokenId, VersionId};

use super::{TargetAt, Targets};
use crate::routing::Bearings;
use crate::selection::{choose, keys};
use crate::{Error, Noun, Principal, events};

/// Versions remembered at a time whose keys were handed out on demand; more simply leave an event
/// each time.
const REMEMBERED: usize = 10_000;

/// What a TLS server needs to serve a certificate.
#[derive(Clone)]
pub struct Material {
    /// The certificate.
    pub certificate: CertificateId,
    /// The version.
    pub version: VersionId,
    /// Leaf and intermediates, DER, the leaf first.
    pub chain: Vec<Vec<u8>>,
    /// The leaf's key.
    pub key: ServedKey,
}

/// Shows nothing of the key.
impl fmt::Debug for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Material")
            .field("certificate", &self.certificate)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Versions whose keys were handed out on demand, and to which tokens.
pub(super) type Told = Mutex<HashSet<(Option<TokenId>, VersionId)>>;

impl Targets {
    /// The current version of a certificate that a target of the caller is to have, with its key.
    /// Needs the delivery right. The feed tells of it, and until the target says otherwise its files
    /// count as being there.
    ///
    /// # Errors
    /// [`Error::Forbidden`]; [`Error::NotFound`] for the target, or for a certificate that it is not
    /// to have; [`Error::Unfit`] when the target is that of another directory.
    pub async fn material(
        &self,
        principal: &Principal,
        at: TargetAt<'_>,
        certificate: CertificateId,
    ) -> Result<Material, Error> {
        principal.require_delivery()?;
        let missing = || Error::not_found(Noun::Certificate, certificate);
        let target = self.own(principal, at).await?;
        let (account, services) = (target.account_id, target.services.as_deref());
        let this = Among::One(certificate);
        let wanted = self.store.deliverable_to(account, services, this, 1);
        if wanted.await?.is_empty() {
            return Err(missing());
        }
        let material = self.read(certificate).await?.ok_or_else(missing)?;
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(target.account_id),
            events::CERTIFICATE_KEY_TAKEN,
            Some(certificate.as_uuid()),
            &format!("{} (token '{}')", target.name, principal.token_shown()),
        );
        let offered = self.store.offer_placement(target.id, certificate, event);
        if !offered.await? {
            return Err(missing());
        }
        Ok(material)
    }

    /// What to serve a handshake for `server_name` with: what its domain is served with, if the
    /// caller's account has that, or else the best of the account's certificates that cover it;
    /// `None` if there is none. A client that takes no ECDSA signatures gets an RSA key where the
    /// domain has one. Needs the delivery right.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Store`].
    pub async fn for_handshake(
        &self,
        principal: &Principal,
        server_name: &str,
        takes_ecdsa: bool,
    ) -> Result<Option<Material>, Error> {
        principal.require_delivery()?;
        let Ok(name) = DnsName::parse(server_name) else {
            return Ok(None);
        };
        let candidates = self.candidates(principal, &name).await?;
        let usable = self.deliverable(principal, &candidates).await?;
        let mut chosen: Option<Material> = None;
        for candidate in candidates {
            if !usable.iter().any(|one| one.certificate_id == candidate) {
                continue;
            }
            let Some(material) = self.read(candidate).await? else {
                continue;
            };
            let is_fit = takes_ecdsa || material.key.is_rsa;
            if chosen.is_none() || is_fit {
                chosen = Some(material);
            }
            if is_fit {
                break;
            }
        }
        if let Some(material) = &chosen {
            self.tell_of_key(principal, material, name.as_str()).await?;
        }
        Ok(chosen)
    }

    /// The certificates for a name, the best first. They may be of other accounts.
    async fn candidates(
        &self,
        principal: &Principal,
        name: &DnsName,
    ) -> Result<Vec<CertificateId>, Error> {
        let names: Vec<String> = keys(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let scope = principal.scope();
        let mut domains = self.store.domains_named(scope, &names).await?;
        // The name itself before the wildcard that covers it.
        domains.sort_by_key(|domain| domain.name != name.as_str());
        let mut candidates: Vec<CertificateId> = domains
            .iter()
            .flat_map(|domain| [domain.certificate_id, domain.alternate_id])
            .flatten()
            .collect();
        let covering = self.store.certificates_covering(scope, &names).await?;
        if let Some(choice) = choose(name, &covering, self.surroundings.now()) {
            candidates.push(choice.certificate_id);
            candidates.extend(choice.alternate_id);
        }
        let mut seen = HashSet::new();
        candidates.retain(|candidate| seen.insert(*candidate));
        Ok(candidates)
    }

    async fn deliverable(
        &self,
        principal: &Principal,
        certificates: &[CertificateId],
    ) -> Result<Vec<Deliverable>, Error> {
        let scope = principal.scope();
        Ok(self.store.deliverable(scope, certificates).await?)
    }

    async fn read(&self, certificate: CertificateId) -> Result<Option<Material>, Error> {
        let bearings = self.routing.bearings(certificate).await?;
        Ok(bearings.map(
            |Bearings {
                 version,
                 chain,
                 key,
                 ..
             }| Material {
                certificate,
                version: version.id,
                chain,
                key,
            },
        ))
    }

    /// Once for each token and version as far as this node remembers: who asks, asks at every
    /// handshake.
    async fn tell_of_key(
        &self,
        principal: &Principal,
        material: &Material,
        name: &str,
    ) -> Result<(), Error> {
        let taken = (principal.token_id(), material.version);
        let is_told = |told: &Told| {
            let told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.contains(&taken)
        };
        if is_told(&self.told) {
            return Ok(());
        }
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            events::CERTIFICATE_KEY_TAKEN,
            Some(material.certificate.as_uuid()),
            &format!(
                "for handshakes, first that of {name} (token '{}')",
                principal.token_shown()
            ),
        );
        self.store.add_event(event).await?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert(taken);
        Ok(())
    }
}
