//! Installations: certificates on services, in the way of those who install a certificate on a
//! group of servers and think of its domains as a part of it.
//!
//! An installation adds the names of its certificate to the service as domains, which are served
//! with it, and takes them away when it goes. A certificate that came to serve a domain of the
//! service by other ways is shown as installed, too, but keeps nobody from installing another.

mod changing;
mod creating;
mod farewell;
mod names;
mod naming;
mod removing;
mod request;
mod room;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pki::DnsName;
use store::{
    AccountId, CertificateId, CertificateRef, DnsProviderId, NewZone, Service, ServiceId,
    ServiceRef, State, Store, VersionId,
};
use tokio::time::Instant;

use crate::certificates::{Upload, account_gone};
use crate::issuers::Issuer;
use crate::settings::Settings;
use crate::{
    Certificates, DnsAccounts, Error, Issuers, Noun, Principal, Services, Surroundings, Targets,
};

use names::ServerName;
use view::Installed;

pub use request::{InstallationKind, InstallationRequest};
pub use view::{InstallationStatus, InstallationView};

/// Draws of a random name, and looks at the others on the service, before giving up.
const DRAWS: u32 = 8;
/// How often a certificate is looked at that somebody waits for.
const LOOK: Duration = Duration::from_millis(50);

/// Operations on installations.
#[derive(Debug, Clone)]
pub struct Installations {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
    certificates: Certificates,
    issuers: Issuers,
    dns_accounts: DnsAccounts,
    services: Services,
    targets: Targets,
}

/// What every part of the house stands on.
pub(crate) struct Around {
    pub(crate) store: Store,
    pub(crate) surroundings: Surroundings,
    pub(crate) settings: Arc<Settings>,
}

impl Installations {
    pub(crate) fn new(
        around: Around,
        certificates: Certificates,
        issuers: Issuers,
        dns_accounts: DnsAccounts,
        services: Services,
        targets: Targets,
    ) -> Self {
        let Around {
            store,
            surroundings,
            settings,
        } = around;
        Self {
            store,
            surroundings,
            settings,
            certificates,
            issuers,
            dns_accounts,
            services,
            targets,
        }
    }

    /// How many certificates are installed on a service, and those after the first `skipped`, the
    /// oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the service.
    pub async fn list(
        &self,
        principal: &Principal,
        service: ServiceId,
        skipped: u64,
        limit: usize,
    ) -> Result<(Vec<InstallationView>, u64), Error> {
        let service = self.service(principal, service).await?;
        let installed = self.installed(principal, service.id).await?;
        let leaving = self.leaving(principal, service.id).await?;
        let count = (installed.len() + leaving.len()) as u64;
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let left_out = skipped.saturating_sub(installed.len());
        let shown = installed.into_iter().skip(skipped).take(limit).collect();
        let mut views = self.views(principal, service.id, shown).await?;
        let room = limit - views.len();
        views.extend(leaving.into_iter().skip(left_out).take(room));
        Ok((views, count))
    }

    /// One certificate on a service, or on its way off it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: CertificateId,
    ) -> Result<InstallationView, Error> {
        let service = self.service(principal, service).await?;
        match self.one_of(principal, service.id, certificate).await {
            Ok((found, _)) => self.view(principal, found).await,
            Err(missing @ Error::NotFound { .. }) => {
                let leaving = self.leaving(principal, service.id).await?.into_iter();
                leaving
                    .into_iter()
                    .find(|view| view.id == certificate)
                    .ok_or(missing)
            }
            Err(error) => Err(error),
        }
    }

    /// All that is installed on a service, the oldest first.
    async fn installed(
        &self,
        principal: &Principal,
        service: ServiceId,
    ) -> Result<Vec<Installed>, Error> {
        let scope = principal.scope();
        let rows = self.store.installations(scope, service).await?;
        let written: HashSet<CertificateId> = rows.iter().map(|row| row.certificate_id).collect();
        let domains = self.store.domains_of_services(&[service]).await?;
        let serving = domains
            .iter()
            .flat_map(|domain| domain.certificate_id.into_iter().chain(domain.alternate_id));
        let mut others: Vec<CertificateId> = serving.filter(|id| !written.contains(id)).collect();
        others.sort_unstable();
        others.dedup();
        let references: Vec<CertificateRef> = rows
            .iter()
            .map(|row| row.certificate_id)
            .chain(others)
            .map(CertificateRef::Id)
            .collect();
        // What belongs to the house is not found here.
        let found = self.store.certificates_by_refs(scope, &references).await?;
        let mut rows = rows.into_iter();
        let mut installed = Vec::with_capacity(found.len());
        for certificate in found {
            let row = rows.next();
            let Some(certificate) = certificate else {
                continue;
            };
            installed.push(match row {
                Some(row) => Installed {
                    certificate,
                    row,
                    is_written: true,
                },
                None => Installed::by_other_ways(certificate, service),
            });
        }
        installed.sort_by_key(|installed| (installed.row.created_at, installed.certificate.id));
        Ok(installed)
    }

    /// One certificate on a service, and the others.
    async fn one_of(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: CertificateId,
    ) -> Result<(Installed, Vec<Installed>), Error> {
        let mut installed = self.installed(principal, service).await?;
        let place = installed
            .iter()
            .position(|one| one.certificate.id == certificate);
        let place = place.ok_or_else(|| Error::not_found(Noun::Certificate, certificate))?;
        let found = installed.remove(place);
        Ok((found, installed))
    }

    async fn service(&self, principal: &Principal, id: ServiceId) -> Result<Service, Error> {
        self.services
            .find_bare(principal, &ServiceRef::Id(id))
            .await
    }

    async fn view(
        &self,
        principal: &Principal,
        installed: Installed,
    ) -> Result<InstallationView, Error> {
        let id = installed.certificate.id;
        let views = self
            .views(principal, installed.row.service_id, vec![installed])
            .await?;
        let view = views.into_iter().next();
        view.ok_or_else(|| Error::not_found(Noun::Certificate, id))
    }

    async fn views(
        &self,
        principal: &Principal,
        service: ServiceId,
        installed: Vec<Installed>,
    ) -> Result<Vec<InstallationView>, Error> {
        let ids: Vec<CertificateId> = installed.iter().map(|one| one.certificate.id).collect();
        let on_targets = self.targets.placements(principal, service, &ids).await?;
        let mut views = Vec::with_capacity(installed.len());
        for installed in installed {
            let chain = match self.certificates.chain(&installed.certificate).await {
                // Somebody deleted it between two looks.
                Err(Error::NotFound { .. }) => continue,
                chain => chain?,
            };
            let view = installed.view(self.surroundings.now(), &chain);
            let on_targets = on_targets.get(&view.id);
            views.push(view.on_targets(on_targets));
        }
        Ok(views)
    }

    /// What is at the base of everything that is drawn up for a service; to be looked at first.
    async fn revision(&self, principal: &Principal, service: ServiceId) -> Result<i64, Error> {
        let revision = self
            .store
            .installations_revision(principal.scope(), service);
        revision.await?.ok_or_else(|| not_found(service))
    }

    /// The zones that a DNS provider gets, which somebody named for what is to be obtained.
    async fn zones(
        &self,
        principal: &Principal,
        provider: Option<DnsProviderId>,
        names: &[DnsName],
    ) -> Result<Vec<NewZone>, Error> {
        let Some(provider) = provider else {
            return Ok(Vec::new());
        };
        match self
            .dns_accounts
            .zones_for(principal, provider, names)
            .await
        {
            Err(Error::NotFound { .. }) => Err(no_such_provider()),
            zones => zones,
        }
    }

    /// Whether a DNS provider that somebody named takes whatever zone there is to be proven.
    async fn are_proven(
        &self,
        principal: &Principal,
        provider: Option<DnsProviderId>,
    ) -> Result<bool, Error> {
        match provider {
            Some(provider) => self.dns_accounts.is_account(principal, provider).await,
            None => Ok(false),
        }
    }

    /// Why the store did not take a draft.
    fn refused(&self, principal: &Principal, error: store::Error) -> Error {
        match error {
            store::Error::DomainTaken(name) => Error::DomainTaken { name },
            store::Error::Full => Error::Unfit {
                reason: "the stack has as many certificates and domains as it can have".to_owned(),
            },
            store::Error::UnknownAccount => account_gone(principal),
            error if is_passing(&error) => Error::Busy {
                reason: "others are changing this stack",
            },
            error => error.into(),
        }
    }

    /// Refuses a DNS provider that is not there, or a wildcard without one.
    async fn require_provider(
        &self,
        principal: &Principal,
        wildcard: bool,
        provider: Option<DnsProviderId>,
    ) -> Result<(), Error> {
        let invalid = |reason| Error::invalid("dns_provider_uuid", reason);
        let Some(provider) = provider else {
            return match wildcard {
                true => Err(invalid("a wildcard certificate needs a DNS provider")),
                false => Ok(()),
            };
        };
        let scope = principal.scope();
        if self.store.dns_account(scope, provider).await?.is_some()
            || self.store.dns_provider(scope, provider).await?.is_some()
        {
            return Ok(());
        }
        Err(no_such_provider())
    }

    /// Waits a little for what an authority of the house has to sign, so that its version can be
    /// shown at once.
    async fn wait(
        &self,
        (account, id): (AccountId, CertificateId),
        issuer: Option<&str>,
        before: Option<VersionId>,
    ) -> Result<(), Error> {
        if !self.is_of_authority(account, issuer).await? {
            return Ok(());
        }
        let deadline = Instant::now() + self.settings.installations.patience;
        let (scope, reference) = (store::Scope::Account(account), CertificateRef::Id(id));
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            let Some(found) = self.store.certificate(scope, &reference).await? else {
                break;
            };
            let after = found.current.as_ref().map(|version| version.id);
            if after != before || matches!(found.state, State::Error { .. }) || found.attempt > 0 {
                break;
            }
        }
        Ok(())
    }

    async fn is_of_authority(
        &self,
        account: AccountId,
        issuer: Option<&str>,
    ) -> Result<bool, Error> {
        let Some(issuer) = issuer else {
            return Ok(false);
        };
        match self.issuers.resolve(account, issuer).await {
            Ok(Issuer::Authority) => Ok(true),
            Ok(Issuer::Directory(_)) | Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The names as they were given, or those of the leaf when none were.
fn named_or_of_leaf(given: &[ServerName], upload: &Upload) -> Result<Vec<ServerName>, Error> {
    match upload.leaf() {
        Some(leaf) if given.is_empty() => names::of_leaf(leaf),
        _ => Ok(given.to_vec()),
    }
}

fn warn_of(view: &mut InstallationView, uncovered: &[String]) {
    if !uncovered.is_empty() {
        let uncovered = uncovered.join(", ");
        view.warning = Some(format!("the certificate does not cover {uncovered}"));
    }
}

/// Whether a draft that the store refused can differ from the next one.
fn is_passing(error: &store::Error) -> bool {
    matches!(
        error,
        store::Error::Duplicate
            | store::Error::DuplicateName
            | store::Error::NotFound
            | store::Error::Stale
            | store::Error::UnknownCertificate
    )
}

fn no_such_provider() -> Error {
    Error::invalid("dns_provider_uuid", "there is no such DNS provider")
}

fn not_found(service: ServiceId) -> Error {
    Error::not_found(Noun::Service, service)
}
