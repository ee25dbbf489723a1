//! Changes of services: their domains, ports and limits.

use std::collections::{HashMap, HashSet};

use store::{Domain, NewDomain, NewEvent, PublishedPort, Service, ServiceId, ServiceRef};

use super::domains::Wanted;
use super::request::PlannedChange;
use super::{DRAWS, Edit, MAX_DOMAINS, ServiceChange, Services, not_found, ports};
use crate::{Error, Noun, Principal, events};

/// A change that the store can make, and what it would leave behind if it was not made.
struct Draft {
    change: store::ServiceChange,
    events: Vec<NewEvent>,
    requested: Vec<store::CertificateId>,
}

impl Services {
    /// The form of a change, without looking at anything stored.
    ///
    /// # Errors
    /// Faults of form alone, and [`Error::DomainReserved`].
    pub fn check_change(&self, change: &ServiceChange) -> Result<(), Error> {
        change.plan(&self.settings.metro_domain).map(drop)
    }

    /// Changes a service. Certificates are chosen for every domain that is added.
    ///
    /// # Errors
    /// As [`Self::create`]; [`Error::NotFound`] also for a domain or port to delete;
    /// [`Error::NameTaken`] for a port that is published already; [`Error::Unfit`] for limits that
    /// contradict each other, or too many ports or domains.
    pub async fn change(
        &self,
        principal: &Principal,
        reference: &ServiceRef,
        change: ServiceChange,
    ) -> Result<Service, Error> {
        principal.require_write()?;
        let planned = change.plan(&self.settings.metro_domain)?;
        let mut draws = 1..DRAWS;
        loop {
            let service = self.find_bare(principal, reference).await?;
            let draft = self.change_draft(principal, &service, &planned).await?;
            let (scope, id) = (principal.scope(), service.id);
            let changed = self
                .store
                .change_service(scope, id, draft.change, draft.events)
                .await;
            let Err(error) = changed else {
                self.published.notify_one();
                return self.find_bare(principal, &ServiceRef::Id(id)).await;
            };
            let (account, actor) = (principal.account_id(), principal.account_name());
            self.take_back(account, actor, &draft.requested).await;
            match error {
                // Something went, or became different, between two looks.
                store::Error::UnknownCertificate | store::Error::NotFound
                    if draws.next().is_some() => {}
                store::Error::NotFound => return Err(not_found(reference)),
                store::Error::Full => {
                    return Err(Error::Unfit {
                        reason: format!("a service has at most {MAX_DOMAINS} domains"),
                    });
                }
                store::Error::DomainTaken(name) => return Err(Error::DomainTaken { name }),
                error => return Err(error.into()),
            }
        }
    }

    async fn change_draft(
        &self,
        principal: &Principal,
        service: &Service,
        planned: &PlannedChange,
    ) -> Result<Draft, Error> {
        let mut change = store::ServiceChange {
            so_far: Some(service.clone()),
            ..store::ServiceChange::default()
        };
        match planned {
            PlannedChange::Domains(edit) => {
                return self.domains_draft(principal, service, edit).await;
            }
            PlannedChange::Autokill(time) => change.autokill = Some(*time),
            PlannedChange::HardLimit(limit) => {
                require_order(service.soft_limit, *limit)?;
                change.hard_limit = Some(*limit);
            }
            PlannedChange::Ports(edit) => change.ports = Some(edited(&service.ports, edit)?),
            PlannedChange::SoftLimit(limit) => {
                require_order(*limit, service.hard_limit)?;
                change.soft_limit = Some(*limit);
            }
        }
        Ok(Draft {
            change,
            events: vec![self.changed(principal, service)],
            requested: Vec::new(),
        })
    }

    async fn domains_draft(
        &self,
        principal: &Principal,
        service: &Service,
        edit: &Edit<Wanted, String>,
    ) -> Result<Draft, Error> {
        match edit {
            Edit::Add(wanted) => self.addition(principal, service, wanted).await,
            Edit::Delete(names) => self.removal(principal, service, names).await,
            Edit::Set(wanted) => self.new_list(principal, service, wanted).await,
        }
    }

    async fn addition(
        &self,
        principal: &Principal,
        service: &Service,
        wanted: &[Wanted],
    ) -> Result<Draft, Error> {
        self.require_free(wanted, None).await?;
        let assigned = self.assign(principal, wanted).await?;
        let names = wanted.iter().map(|domain| domain.name.as_str());
        Ok(Draft {
            events: self.domain_events(principal, service.id, events::DOMAIN_ADDED, names),
            change: store::ServiceChange {
                add_domains: assigned.domains,
                ..store::ServiceChange::default()
            },
            requested: assigned.requested,
        })
    }

    async fn removal(
        &self,
        principal: &Principal,
        service: &Service,
        names: &[String],
    ) -> Result<Draft, Error> {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = self.store.domains_named(principal.scope(), &asked).await?;
        let own: HashSet<&str> = found
            .iter()
            .filter(|domain| domain.service_id == service.id)
            .map(|domain| domain.name.as_str())
            .collect();
        if let Some(missing) = asked.iter().find(|name| !own.contains(*name)) {
            return Err(Error::not_found(Noun::Domain, missing));
        }
        let names = own.iter().copied();
        Ok(Draft {
            events: self.domain_events(principal, service.id, events::DOMAIN_REMOVED, names),
            change: store::ServiceChange {
                remove_domains: own.iter().map(|name| (*name).to_owned()).collect(),
                ..store::ServiceChange::default()
            },
            requested: Vec::new(),
        })
    }

    /// What stands at the beginning of both lists stays; the rest is taken out and put in anew, so
    /// that the order is the asked one.
    async fn new_list(
        &self,
        principal: &Principal,
        service: &Service,
        wanted: &[Wanted],
    ) -> Result<Draft, Error> {
        self.require_free(wanted, Some(service.id)).await?;
        let current = self.store.domains_of_services(&[service.id]).await?;
        let assigned = self.assign(principal, wanted).await?;
        let is_same = |(old, new): &(&Domain, &NewDomain)| is_served_alike(old, new);
        let pairs = current.iter().zip(&assigned.domains);
        let kept = pairs.take_while(is_same).count();
        let added: Vec<NewDomain> = assigned.domains.into_iter().skip(kept).collect();
        let removed = current.iter().skip(kept);
        let old: HashMap<&str, &Domain> = removed
            .map(|domain| (domain.name.as_str(), domain))
            .collect();
        let new: HashSet<&str> = added.iter().map(|domain| domain.name.as_str()).collect();
        let mut events = vec![self.changed(principal, service)];
        let mut tell = |kind, name| {
            events.extend(self.domain_events(principal, service.id, kind, std::iter::once(name)));
        };
        for domain in current.iter().skip(kept) {
            if !new.contains(domain.name.as_str()) {
                tell(events::DOMAIN_REMOVED, domain.name.as_str());
            }
        }
        for domain in &added {
            match old.get(domain.name.as_str()) {
                None => tell(events::DOMAIN_ADDED, &domain.name),
                Some(old) if is_served_alike(old, domain) => {}
                Some(_) => tell(events::DOMAIN_SWITCHED, &domain.name),
            }
        }
        Ok(Draft {
            change: store::ServiceChange {
                remove_domains: old.keys().map(|name| (*name).to_owned()).collect(),
                add_domains: added,
                ..store::ServiceChange::default()
            },
            events,
            requested: assigned.requested,
        })
    }

    fn changed(&self, principal: &Principal, service: &Service) -> NewEvent {
        self.service_event(
            principal,
            service.id,
            &service.name,
            events::SERVICE_CHANGED,
        )
    }

    pub(super) fn service_event(
        &self,
        principal: &Principal,
        id: ServiceId,
        name: &str,
        kind: &'static str,
    ) -> NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            kind,
            Some(id.as_uuid()),
            name,
        )
    }

    /// One event for each of the domains.
    pub(super) fn domain_events<'a>(
        &self,
        principal: &Principal,
        service: ServiceId,
        kind: &'static str,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<NewEvent> {
        let event = |name| {
            events::of(
                &self.surroundings,
                principal.account_name(),
                Some(principal.account_id()),
                kind,
                Some(service.as_uuid()),
                name,
            )
        };
        names.map(event).collect()
    }
}

fn is_served_alike(old: &Domain, new: &NewDomain) -> bool {
    let served = |certificate, alternate, is_explicit| (certificate, alternate, is_explicit);
    old.name == new.name
        && served(old.certificate_id, old.alternate_id, old.is_explicit)
            == served(new.certificate_id, new.alternate_id, new.is_explicit)
}

fn require_order(soft_limit: u32, hard_limit: u32) -> Result<(), Error> {
    if soft_limit <= hard_limit {
        return Ok(());
    }
    Err(Error::Unfit {
        reason: format!("the soft limit {soft_limit} would be above the hard limit {hard_limit}"),
    })
}

fn edited(
    ports: &[PublishedPort],
    edit: &Edit<PublishedPort, u16>,
) -> Result<Vec<PublishedPort>, Error> {
    match edit {
        Edit::Set(new) => Ok(new.clone()),
        Edit::Add(new) => {
            let is_published =
                |port: &&PublishedPort| ports.iter().any(|other| ports::is_same(other, port));
            if let Some(taken) = new.iter().find(is_published) {
                return Err(Error::NameTaken {
                    noun: Noun::Port,
                    name: taken.port.to_string(),
                });
            }
            if ports.len() + new.len() > ports::MAX_PORTS {
                return Err(Error::Unfit {
                    reason: format!("a service publishes at most {} ports", ports::MAX_PORTS),
                });
            }
            Ok(ports.iter().chain(new).copied().collect())
        }
        Edit::Delete(numbers) => {
            let is_published = |number| ports.iter().any(|port| port.port == number);
            if let Some(missing) = numbers.iter().find(|number| !is_published(**number)) {
                return Err(Error::not_found(Noun::Port, missing));
            }
            let stays = |port: &&PublishedPort| !numbers.contains(&port.port);
            Ok(ports.iter().filter(stays).copied().collect())
        }
    }
}
