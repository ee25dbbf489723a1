//! Domains follow the certificates: when one comes, ends, is revoked or fails, the choice is made
//! again for the domains that it concerns. Several nodes may do so at once; a choice counts only
//! while the domain is still served with what it was made instead of. Nothing that can be served,
//! even if it has ended, is replaced by a certificate that is not there yet.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error as StdError;
use std::sync::Arc;

use pki::DnsName;
use store::{
    AccountId, Attachment, Certificate, CertificateId, CertificateRef, Domain, Scope, State,
    StateKind, Version,
};

use super::assignment::covers;
use super::{Services, domains};
use crate::accounts::HOUSE_ACCOUNT;
use crate::selection::{self, Choice};
use crate::{Error, events};

/// What domains are served with.
struct Served(HashMap<CertificateId, Arc<Certificate>>);

impl Served {
    fn by(&self, domain: &Domain) -> Option<&Certificate> {
        let certificate = self.0.get(&domain.certificate_id?)?;
        Some(certificate)
    }

    /// Whether there is something to serve the domain with, be it a certificate that has ended.
    fn is_there(&self, domain: &Domain) -> bool {
        let (Some(served), Ok(name)) = (self.by(domain), DnsName::parse(&domain.name)) else {
            return false;
        };
        let is_whole =
            |version: &Version| version.revocation.is_none() && version.private_key_id.is_some();
        served.current.as_ref().is_some_and(is_whole) && covers(served, &name)
    }

    /// Whether another certificate would not help: obtaining this one was given up, so that its
    /// owner has to act, or its renewal is tried again and again.
    fn is_settled(&self, domain: &Domain) -> bool {
        let served = self.by(domain);
        served.is_some_and(|served| match served.state {
            State::Error { .. } => true,
            State::Valid => served.next_action_at.is_some(),
            State::Pending { .. } | State::Revoked => false,
        })
    }
}

impl Services {
    /// Chooses again for these domains, of whatever accounts, and stores what differs. Where nothing
    /// covers a name any more, a certificate is requested, unless obtaining the last one was given
    /// up, or goes on. Returns how many domains changed.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn follow(&self, domains: &[Domain]) -> Result<usize, Error> {
        let mut subdomains = Vec::new();
        let mut by_account: BTreeMap<AccountId, Vec<(DnsName, &Domain)>> = BTreeMap::new();
        for domain in domains {
            if domains::is_metro(&domain.name, &self.settings.metro_domain) {
                subdomains.push(domain);
            } else if let Ok(name) = DnsName::parse(&domain.name) {
                let own = by_account.entry(domain.account_id).or_default();
                own.push((name, domain));
            }
        }
        let mut changed = 0;
        if !subdomains.is_empty()
            && let Some(choice) = self.metro_certificate().await?
        {
            let differing = subdomains
                .into_iter()
                .filter(|domain| !is_served_with(domain, choice))
                .map(|domain| (domain, choice));
            changed += self.attach(differing.collect()).await?;
        }
        for (account, domains) in by_account {
            changed += self.follow_account(account, domains).await?;
        }
        Ok(changed)
    }

    async fn follow_account(
        &self,
        account: AccountId,
        domains: Vec<(DnsName, &Domain)>,
    ) -> Result<usize, Error> {
        let names = domains.iter().map(|(name, _)| name);
        let coverings = self.coverings(account, names).await?;
        let mut differing = Vec::new();
        let mut coming = Vec::new();
        let mut uncovered = Vec::new();
        let explicit = self.still_explicit(account, &domains).await?;
        for (name, domain) in domains {
            if explicit.contains(&name) {
                continue;
            }
            let now = self.surroundings.now();
            match selection::choose(&name, coverings.of(&name), now) {
                Some(choice) if is_served_with(domain, choice) => {}
                Some(choice) => {
                    let is_coming = coverings.of(&name).any(|covering| {
                        covering.certificate_id == choice.certificate_id
                            && covering.state == StateKind::Pending
                    });
                    let chosen = if is_coming {
                        &mut coming
                    } else {
                        &mut differing
                    };
                    chosen.push((domain, choice));
                }
                None => uncovered.push((name, domain)),
            }
        }
        let missing = uncovered.iter().map(|(_, domain)| *domain);
        let doubtful = coming.iter().map(|(domain, _)| *domain).chain(missing);
        let served = self.served(account, doubtful).await?;
        coming.retain(|(domain, _)| !served.is_there(domain));
        differing.append(&mut coming);
        uncovered.retain(|(_, domain)| !served.is_settled(domain));
        let mut changed = self.attach(differing).await?;
        changed += self.obtain(account, uncovered, &served).await?;
        Ok(changed)
    }

    /// Which of the domains are served with what their owner chose, and can be for longer.
    async fn still_explicit(
        &self,
        account: AccountId,
        domains: &[(DnsName, &Domain)],
    ) -> Result<HashSet<DnsName>, Error> {
        let explicit = domains.iter().filter(|(_, domain)| domain.is_explicit);
        let (names, references): (Vec<&DnsName>, Vec<CertificateRef>) = explicit
            .filter_map(|(name, domain)| Some((name, CertificateRef::Id(domain.certificate_id?))))
            .unzip();
        let chosen = self.chosen_by(account, &references).await?;
        let fitting = names.into_iter().zip(chosen).filter(|(name, chosen)| {
            let chosen = chosen.as_ref();
            chosen.is_some_and(|chosen| chosen.require_fit(name).is_ok())
        });
        Ok(fitting.map(|(name, _)| name.clone()).collect())
    }

    /// Requests certificates for domains that nothing covers, and attaches them where nothing else
    /// can be served meanwhile.
    async fn obtain(
        &self,
        account: AccountId,
        uncovered: Vec<(DnsName, &Domain)>,
        served: &Served,
    ) -> Result<usize, Error> {
        let (names, domains): (Vec<DnsName>, Vec<&Domain>) = uncovered.into_iter().unzip();
        let requested = match self.request(account, HOUSE_ACCOUNT, &names).await {
            Err(error) if is_refusal(&error) => self.request_obtainable(account, &names).await?,
            requested => requested?.into_iter().map(Some).collect(),
        };
        let mut chosen: Vec<(&Domain, Choice)> = domains
            .into_iter()
            .zip(requested)
            .filter_map(|(domain, requested)| {
                let choice = Choice {
                    certificate_id: requested?,
                    alternate_id: None,
                };
                Some((domain, choice))
            })
            .collect();
        chosen.retain(|(domain, _)| !served.is_there(domain));
        let changed = self.attach(chosen.clone()).await?;
        if changed < chosen.len() {
            // Another node was faster, or the domains are gone.
            let names: Vec<&str> = chosen
                .iter()
                .map(|(domain, _)| domain.name.as_str())
                .collect();
            let stored = self.store.domains_named(Scope::Account(account), &names);
            let stored = stored.await?.into_iter();
            let used: HashSet<CertificateId> =
                stored.filter_map(|domain| domain.certificate_id).collect();
            let requested = chosen.into_iter().map(|(_, choice)| choice.certificate_id);
            let unused: Vec<CertificateId> = requested.filter(|id| !used.contains(id)).collect();
            self.take_back(account, HOUSE_ACCOUNT, &unused).await;
        }
        Ok(changed)
    }

    /// The same request name by name, for some of which nothing can be obtained.
    async fn request_obtainable(
        &self,
        account: AccountId,
        names: &[DnsName],
    ) -> Result<Vec<Option<CertificateId>>, Error> {
        let mut requested = Vec::with_capacity(names.len());
        for name in names {
            let alone = std::slice::from_ref(name);
            requested.push(match self.request(account, HOUSE_ACCOUNT, alone).await {
                Err(error) if is_refusal(&error) => {
                    tracing::warn!(
                        domain = %name,
                        error = &error as &dyn StdError,
                        "no certificate can be obtained for a domain"
                    );
                    None
                }
                requested => requested?.first().copied(),
            });
        }
        Ok(requested)
    }

    /// What of the account the domains are served with.
    async fn served<'a>(
        &self,
        account: AccountId,
        domains: impl Iterator<Item = &'a Domain>,
    ) -> Result<Served, Error> {
        let ids: HashSet<CertificateId> =
            domains.filter_map(|domain| domain.certificate_id).collect();
        let references: Vec<CertificateRef> = ids.into_iter().map(CertificateRef::Id).collect();
        let scope = Scope::Account(account);
        let found = self.store.certificates_by_refs(scope, &references).await?;
        let found = found.into_iter().flatten();
        Ok(Served(found.map(|found| (found.id, found)).collect()))
    }

    async fn attach(&self, chosen: Vec<(&Domain, Choice)>) -> Result<usize, Error> {
        if chosen.is_empty() {
            return Ok(0);
        }
        let attachments = chosen.iter().map(|(domain, choice)| Attachment {
            domain: domain.name.clone(),
            from: domain.certificate_id,
            certificate_id: Some(choice.certificate_id),
            alternate_id: choice.alternate_id,
            is_explicit: false,
        });
        // The store completes it for each domain that changes.
        let event = events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            None,
            events::DOMAIN_SWITCHED,
            None,
            "",
        );
        let changed = self.store.attach(attachments.collect(), event).await?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }
}

/// Whether a request was refused for the sake of a name in it.
fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::NoCertificate { .. } | Error::Policy { .. } | Error::Unsupported { .. }
    )
}

fn is_served_with(domain: &Domain, choice: Choice) -> bool {
    let served = (domain.certificate_id, domain.alternate_id);
    served == (Some(choice.certificate_id), choice.alternate_id)
}
