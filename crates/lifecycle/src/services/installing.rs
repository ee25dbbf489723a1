//! Domains that come and go with a certificate that is installed on their service.

use std::collections::HashSet;

use pki::DnsName;
use store::{Attachment, CertificateId, Domain, NewDomain, NewEvent, Scope, Service};

use super::{Services, domains};
use crate::selection;
use crate::{Error, Principal, events};

/// Which domains are released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All that are served with the certificate.
    All,
    /// The named ones.
    Named,
}

/// What became of domains that are served with a certificate no more.
pub(crate) struct Released {
    /// Those that stay and have no other.
    pub(crate) left: Vec<String>,
    /// Those that went.
    pub(crate) removed: Vec<String>,
}

/// What makes it so.
pub(crate) struct Releasing {
    pub(crate) released: Released,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) events: Vec<NewEvent>,
}

/// What serves names with a certificate.
pub(crate) struct Serving {
    pub(crate) add_domains: Vec<NewDomain>,
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) events: Vec<NewEvent>,
}

/// Where on a service names are, or will be.
pub(crate) struct Places {
    own: Vec<Domain>,
    missing: Vec<DnsName>,
}

impl Places {
    /// The names that the service does not have yet.
    pub(crate) fn missing(&self) -> Vec<String> {
        self.missing.iter().map(ToString::to_string).collect()
    }
}

impl Services {
    /// Where these names are on a service, or will be.
    ///
    /// # Errors
    /// [`Error::DomainTaken`] when another service has one of them, [`Error::DomainReserved`], and
    /// [`Error::CertificateNotAllowed`] for a subdomain of the metro domain.
    pub(crate) async fn places(
        &self,
        service: &Service,
        names: &[DnsName],
    ) -> Result<Places, Error> {
        for name in names {
            let (name, is_metro) =
                domains::read_name(&format!("{name}."), &self.settings.metro_domain)?;
            if is_metro {
                return Err(Error::CertificateNotAllowed {
                    name: name.to_string(),
                });
            }
        }
        let texts: Vec<&str> = names.iter().map(DnsName::as_str).collect();
        let found = self.store.domains_named(Scope::Everything, &texts).await?;
        if let Some(taken) = found.iter().find(|domain| domain.service_id != service.id) {
            return Err(Error::DomainTaken {
                name: taken.name.clone(),
            });
        }
        let present: HashSet<&str> = found.iter().map(|domain| domain.name.as_str()).collect();
        let missing = names.iter().filter(|name| !present.contains(name.as_str()));
        Ok(Places {
            missing: missing.cloned().collect(),
            own: found,
        })
    }

    /// Where those of these names are that a service has.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn own_places(
        &self,
        service: &Service,
        names: &[DnsName],
    ) -> Result<Places, Error> {
        let texts: Vec<&str> = names.iter().map(DnsName::as_str).collect();
        let found = self.store.domains_named(Scope::Everything, &texts).await?;
        let own = found
            .into_iter()
            .filter(|domain| domain.service_id == service.id);
        Ok(Places {
            own: own.collect(),
            missing: Vec::new(),
        })
    }

    /// What serves names of a service with a certificate that somebody chose for them. What is
    /// served with another goes on so unless this one `is_there`.
    pub(crate) fn serving(
        &self,
        principal: &Principal,
        service: &Service,
        places: Places,
        certificate: CertificateId,
        is_there: bool,
    ) -> Serving {
        let Places { own, missing } = places;
        let names = missing.iter().map(DnsName::as_str);
        let events = self.domain_events(principal, service.id, events::DOMAIN_ADDED, names);
        let add_domains = missing.iter().map(|name| NewDomain {
            name: name.to_string(),
            certificate_id: Some(certificate),
            alternate_id: None,
            is_explicit: true,
        });
        let attachments = own
            .into_iter()
            .filter(|domain| is_there || domain.certificate_id.is_none())
            .map(|domain| Attachment {
                from: domain.certificate_id,
                certificate_id: Some(certificate),
                alternate_id: None,
                is_explicit: true,
                domain: domain.name,
            });
        Serving {
            add_domains: add_domains.collect(),
            attachments: attachments.collect(),
            events,
        }
    }

    /// Has domains of a service served with a certificate no more. Those in `names` go, unless one
    /// of `others` covers them or somebody chose another certificate for them; the rest is served
    /// with the best other certificate.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn release(
        &self,
        principal: &Principal,
        service: &Service,
        certificate: CertificateId,
        names: &[String],
        others: &HashSet<CertificateId>,
        extent: Extent,
    ) -> Result<Released, Error> {
        let releasing = self.releasing(principal, service, (certificate, names), others, extent);
        let Releasing {
            released,
            attachments,
            events,
        } = releasing.await?;
        if !attachments.is_empty() {
            let event = self.switching(principal);
            self.store.attach(attachments, event).await?;
        }
        if !released.removed.is_empty() {
            let change = store::ServiceChange {
                remove_domains: released.removed.clone(),
                ..store::ServiceChange::default()
            };
            let (scope, id) = (principal.scope(), service.id);
            let removing = self.store.change_service(scope, id, change, events);
            match removing.await {
                // Somebody else has taken one of them away; the next look tells.
                Ok(()) | Err(store::Error::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.published.notify_one();
        Ok(released)
    }

    /// What has domains of a service served with a certificate no more, see [`Self::release`].
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn releasing(
        &self,
        principal: &Principal,
        service: &Service,
        (certificate, names): (CertificateId, &[String]),
        others: &HashSet<CertificateId>,
        extent: Extent,
    ) -> Result<Releasing, Error> {
        let domains = self.store.domains_of_services(&[service.id]).await?;
        let served: Vec<(DnsName, Domain)> = domains
            .into_iter()
            .filter(|domain| {
                let is_served = domain.certificate_id == Some(certificate);
                match names.contains(&domain.name) {
                    // What the house chose in place of the certificate, it chose for the name's sake.
                    true => is_served || !domain.is_explicit,
                    false => is_served && extent == Extent::All,
                }
            })
            .filter_map(|domain| Some((DnsName::parse(&domain.name).ok()?, domain)))
            .collect();
        let account = principal.account_id();
        let coverings = served.iter().map(|(name, _)| name);
        let coverings = self.coverings(account, coverings).await?;
        let now = self.surroundings.now();
        let (mut removed, mut left, mut attachments) = (Vec::new(), Vec::new(), Vec::new());
        for (name, domain) in served {
            let candidates = coverings.of(&name);
            let candidates = candidates.filter(|covering| covering.certificate_id != certificate);
            let choice = selection::choose(&name, candidates, now);
            let is_installed = choice.is_some_and(|choice| others.contains(&choice.certificate_id));
            if names.contains(&domain.name) && !is_installed {
                removed.push(domain.name);
                continue;
            }
            if choice.is_none() {
                left.push(domain.name.clone());
            }
            attachments.push(Attachment {
                from: domain.certificate_id,
                certificate_id: choice.map(|choice| choice.certificate_id),
                alternate_id: choice.and_then(|choice| choice.alternate_id),
                is_explicit: false,
                domain: domain.name,
            });
        }
        let gone = removed.iter().map(String::as_str);
        let events = self.domain_events(principal, service.id, events::DOMAIN_REMOVED, gone);
        Ok(Releasing {
            released: Released { left, removed },
            attachments,
            events,
        })
    }

    /// Chooses, or requests, something for domains that were left without.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn settle(&self, names: &[String]) -> Result<(), Error> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let domains = self.store.domains_named(Scope::Everything, &names).await?;
        self.follow(&domains).await?;
        Ok(())
    }

    /// What the audit log says of domains that are served with others; the store completes it for
    /// each that changes.
    pub(crate) fn switching(&self, principal: &Principal) -> NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            None,
            events::DOMAIN_SWITCHED,
            None,
            "",
        )
    }
}
