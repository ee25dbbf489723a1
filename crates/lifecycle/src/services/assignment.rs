//! What the domains of a request are served with: the certificate that the caller chose, the best of
//! the account's, or one that is requested now. A whole request takes a few queries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use pki::DnsName;
use store::{
    AccountId, Certificate, CertificateId, CertificateRef, Covering, NewDomain, Scope, ServiceId,
    ServiceRef,
};

use super::domains::Wanted;
use super::{Draft, Plan, Services, domains, naming};
use crate::accounts::HOUSE_ACCOUNT;
use crate::selection::{self, Choice};
use crate::{Error, Noun, Principal, events};

/// What the domains of a request are served with.
pub(super) struct Assigned {
    /// The domains, in the order in which they were wanted.
    pub(super) domains: Vec<NewDomain>,
    /// Certificates that were requested because nothing covered a name.
    pub(super) requested: Vec<CertificateId>,
}

/// The certificates of one account that cover any of some names, by the name that they hold.
pub(super) struct Coverings(HashMap<String, Vec<Covering>>);

/// A certificate that somebody chose for a domain.
pub(super) struct Chosen {
    pub(super) certificate: Arc<Certificate>,
    is_usable: bool,
}

impl Chosen {
    /// Refuses a certificate that `name` cannot be served with.
    pub(super) fn require_fit(&self, name: &DnsName) -> Result<(), Error> {
        let certificate = &self.certificate;
        if !self.is_usable {
            return Err(Error::NotUsable {
                name: certificate.name.clone(),
            });
        }
        if covers(certificate, name) {
            return Ok(());
        }
        Err(Error::CommonNameMismatch {
            common_name: name.to_string(),
        })
    }
}

/// Whether a certificate covers a name, whatever state it is in.
pub(super) fn covers(certificate: &Certificate, name: &DnsName) -> bool {
    let own = std::iter::once(&certificate.common_name).chain(&certificate.identifiers);
    let mut own = own.filter_map(|own| DnsName::parse(own).ok());
    own.any(|own| own.covers(name))
}

impl Coverings {
    /// Those that cover `name`.
    pub(super) fn of(&self, name: &DnsName) -> impl Iterator<Item = &Covering> {
        let found = selection::keys(name).filter_map(|key| self.0.get(&key));
        found.flatten()
    }
}

impl Services {
    /// Chooses a certificate for each of the domains, and requests what is missing.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotUsable`] or [`Error::CommonNameMismatch`] for a certificate
    /// that the caller chose; [`Error::NoCertificate`].
    pub(super) async fn assign(
        &self,
        principal: &Principal,
        wanted: &[Wanted],
    ) -> Result<Assigned, Error> {
        let account = principal.account_id();
        let chosen = self.chosen(principal, wanted).await?;
        let own = wanted.iter().filter(|domain| !domain.is_metro);
        let coverings = self
            .coverings(account, own.map(|domain| &domain.name))
            .await?;
        let metro = match wanted.iter().any(|domain| domain.is_metro) {
            true => self.metro_certificate().await?,
            false => None,
        };
        let now = self.surroundings.now();
        let mut assigned = Vec::with_capacity(wanted.len());
        let mut uncovered = Vec::new();
        for domain in wanted {
            let explicit = domain
                .certificate
                .as_ref()
                .and_then(|reference| chosen.get(reference));
            let choice = if let Some(explicit) = explicit {
                explicit.require_fit(&domain.name)?;
                Some(Choice {
                    certificate_id: explicit.certificate.id,
                    alternate_id: None,
                })
            } else if domain.is_metro {
                metro
            } else {
                let choice = selection::choose(&domain.name, coverings.of(&domain.name), now);
                if choice.is_none() {
                    uncovered.push((assigned.len(), domain.name.clone()));
                }
                choice
            };
            assigned.push(NewDomain {
                name: domain.name.to_string(),
                certificate_id: choice.map(|choice| choice.certificate_id),
                alternate_id: choice.and_then(|choice| choice.alternate_id),
                is_explicit: explicit.is_some(),
            });
        }
        let (places, names): (Vec<usize>, Vec<DnsName>) = uncovered.into_iter().unzip();
        let requested = self
            .request(account, principal.account_name(), &names)
            .await?;
        for (place, certificate) in places.into_iter().zip(&requested) {
            if let Some(domain) = assigned.get_mut(place) {
                domain.certificate_id = Some(*certificate);
            }
        }
        Ok(Assigned {
            domains: assigned,
            requested,
        })
    }

    /// Requests certificates for names that nothing covers.
    pub(super) async fn request(
        &self,
        account: AccountId,
        actor: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.certificates
            .request_for_domains(account, actor, names)
            .await
    }

    /// Takes back what was requested for domains that did not come to be. What cannot be taken back
    /// is an unattached certificate that its owner sees and can delete.
    pub(crate) async fn take_back(
        &self,
        account: AccountId,
        actor: &str,
        requested: &[CertificateId],
    ) {
        for certificate in requested {
            let event = events::of(
                &self.surroundings,
                actor,
                Some(account),
                events::CERTIFICATE_DELETED,
                Some(certificate.as_uuid()),
                "requested for a domain that was not added",
            );
            let scope = Scope::Account(account);
            let deleted = self
                .store
                .delete_certificate(scope, *certificate, event)
                .await;
            // Another domain may have come to be served with it.
            if let Err(error) = deleted
                && !matches!(error, store::Error::Attached)
            {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %certificate,
                    "could not take back the request for a certificate"
                );
            }
        }
    }

    pub(crate) async fn withdraw(&self, principal: &Principal, draft: &Draft) {
        let (account, actor) = (principal.account_id(), principal.account_name());
        self.take_back(account, actor, &draft.requested).await;
    }

    /// The certificates of `account` that cover any of `names`.
    pub(super) async fn coverings<'a>(
        &self,
        account: AccountId,
        names: impl Iterator<Item = &'a DnsName>,
    ) -> Result<Coverings, Error> {
        let mut keys: Vec<String> = names.flat_map(selection::keys).collect();
        keys.sort_unstable();
        keys.dedup();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let scope = Scope::Account(account);
        let mut coverings: HashMap<String, Vec<Covering>> = HashMap::new();
        for covering in self.store.certificates_covering(scope, &keys).await? {
            coverings
                .entry(covering.name.clone())
                .or_default()
                .push(covering);
        }
        Ok(Coverings(coverings))
    }

    /// What subdomains of the metro domain are served with: the house's certificate for all of them.
    pub(super) async fn metro_certificate(&self) -> Result<Option<Choice>, Error> {
        let account = self.house.get_or_try_init(|| async {
            let found = self.store.account_by_name(HOUSE_ACCOUNT).await?;
            found
                .map(|account| account.id)
                .ok_or_else(|| Error::not_found(Noun::Account, HOUSE_ACCOUNT))
        });
        let account = *account.await?;
        let wildcard = format!("*.{}", self.settings.metro_domain);
        let wildcard = DnsName::parse(&wildcard)
            .map_err(|error| Error::invalid("metro", error.to_string()))?;
        let coverings = self.coverings(account, std::iter::once(&wildcard)).await?;
        let now = self.surroundings.now();
        Ok(selection::choose(&wildcard, coverings.of(&wildcard), now))
    }

    /// The certificates that the caller chose for domains.
    async fn chosen<'a>(
        &self,
        principal: &Principal,
        wanted: &'a [Wanted],
    ) -> Result<HashMap<&'a CertificateRef, Chosen>, Error> {
        let references: Vec<&CertificateRef> = wanted
            .iter()
            .filter_map(|domain| domain.certificate.as_ref())
            .collect();
        let owned: Vec<CertificateRef> = references.iter().copied().cloned().collect();
        let account = principal.account_id();
        let found = self.chosen_by(account, &owned).await?;
        let mut chosen = HashMap::with_capacity(references.len());
        for (reference, found) in references.into_iter().zip(found) {
            let found = found.ok_or_else(|| crate::certificates::not_found(reference))?;
            chosen.insert(reference, found);
        }
        Ok(chosen)
    }

    /// The certificates of an account that `references` name, in the same order.
    pub(super) async fn chosen_by(
        &self,
        account: AccountId,
        references: &[CertificateRef],
    ) -> Result<Vec<Option<Chosen>>, Error> {
        let scope = Scope::Account(account);
        let found = self.store.certificates_by_refs(scope, references).await?;
        let mut ids: Vec<CertificateId> = found.iter().flatten().map(|found| found.id).collect();
        ids.sort_unstable();
        ids.dedup();
        let now = self.surroundings.now();
        let usable = self.store.usable_certificates(scope, &ids).await?;
        let usable: HashSet<CertificateId> = usable
            .iter()
            .filter(|usable| selection::is_usable(usable, now))
            .map(|usable| usable.certificate_id)
            .collect();
        let chosen = |certificate: Arc<Certificate>| Chosen {
            is_usable: usable.contains(&certificate.id),
            certificate,
        };
        Ok(found.into_iter().map(|found| found.map(chosen)).collect())
    }

    /// Refuses a name that another service of the account has. The store has the last word; this
    /// keeps certificates from being requested for nothing.
    pub(super) async fn require_free_name(
        &self,
        principal: &Principal,
        plan: &Plan,
    ) -> Result<(), Error> {
        let Some(name) = &plan.name else {
            return Ok(());
        };
        match self
            .find_bare(principal, &ServiceRef::Name(name.clone()))
            .await
        {
            Ok(_) => Err(Error::NameTaken {
                noun: Noun::Service,
                name: name.clone(),
            }),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Refuses domains that a service has, other than `except`. The store has the last word here
    /// too.
    pub(super) async fn require_free(
        &self,
        wanted: &[Wanted],
        except: Option<ServiceId>,
    ) -> Result<(), Error> {
        let names: Vec<&str> = wanted.iter().map(|domain| domain.name.as_str()).collect();
        let taken = self.store.domains_named(Scope::Everything, &names).await?;
        let mut taken = taken.into_iter();
        match taken.find(|domain| Some(domain.service_id) != except) {
            None => Ok(()),
            Some(domain) => Err(Error::DomainTaken { name: domain.name }),
        }
    }

    /// A subdomain of the metro domain that nobody has yet, very likely.
    pub(super) fn free_subdomain(&self, service: Option<&str>) -> Result<Wanted, Error> {
        let label = naming::random_label(service, &self.surroundings);
        let (name, is_metro) = domains::read_name(&label, &self.settings.metro_domain)?;
        Ok(Wanted {
            name,
            is_metro,
            certificate: None,
        })
    }
}
