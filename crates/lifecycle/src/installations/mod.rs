//! Installations: certificates on services, in the way of those who install a certificate on a
//! group of servers and think of its domains as a part of it.
//!
//! An installation adds the names of its certificate to the service as domains, which are served
//! with it, and takes them away when it goes. A certificate that came to serve a domain of the
//! service by other ways is shown as installed, too, but keeps nobody from installing another.

mod changing;
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

use pki::{DnsName, Identifier};
use store::{
    AccountId, Certificate, CertificateId, CertificateRef, DnsProviderId, Installation, Service,
    ServiceId, ServiceRef, State, Store,
};
use tokio::time::Instant;

use crate::certificates::{ManagedRequest, Upload};
use crate::issuers::Issuer;
use crate::settings::Settings;
use crate::{
    Certificates, DnsAccounts, Error, Issuers, Noun, Principal, Services, Surroundings, Targets,
};

use names::ServerName;
use room::{Kind, require_room};
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

/// What the certificate of an installation is made of.
enum Material {
    /// Names that are obtained.
    Issued(Vec<DnsName>),
    /// What somebody brought along.
    Uploaded(Box<Upload>),
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

    /// Installs a certificate on a service: takes one in, or requests one, and serves the names
    /// with it.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the field at fault; [`Error::KeyMismatch`], [`Error::Expired`];
    /// [`Error::Unfit`] beside an installed certificate of another kind or for one of the names;
    /// [`Error::DomainTaken`]; [`Error::NoCertificate`] for a wildcard that cannot be obtained;
    /// [`Error::Policy`], [`Error::NotFound`], [`Error::Forbidden`].
    pub async fn create(
        &self,
        principal: &Principal,
        service: ServiceId,
        request: InstallationRequest,
    ) -> Result<InstallationView, Error> {
        principal.require_write()?;
        let service = self.service(principal, service).await?;
        let kind = request
            .kind
            .ok_or_else(|| Error::invalid("type", "say lets_encrypt or manual"))?;
        let wildcard = kind == InstallationKind::Issued && request.wildcard.unwrap_or_default();
        let given = names::read(request.server_names.as_deref().unwrap_or_default())?;
        self.require_provider(principal, wildcard, request.dns_provider)
            .await?;
        let mut draws = 1..DRAWS;
        loop {
            let name = naming::drawn_name(&service, &self.surroundings);
            let (material, names) = self
                .material(kind, &request, &given, wildcard, &name)
                .await?;
            let others = self.installed(principal, service.id).await?;
            require_room(&others, Some(Kind::of(kind, wildcard)), &names)?;
            let served = served_names(&material, &names);
            let places = self.services.places(&service, &served.0).await?;
            self.have_records_written(principal, &material, request.dns_provider)
                .await?;
            let certificate = match self.make(principal, material, name).await {
                Err(Error::NameTaken { .. }) if draws.next().is_some() => continue,
                made => made?,
            };
            let now = self.surroundings.now();
            let row = Installation {
                service_id: service.id,
                certificate_id: certificate.id,
                account_id: certificate.account_id,
                server_names: names::written(&names),
                domains: places.missing(),
                wildcard,
                dns_provider_id: request.dns_provider,
                ssl_termination: request.ssl_termination.unwrap_or(true),
                created_at: now,
                updated_at: now,
            };
            let so_far = others.iter().filter(|other| other.is_written).count();
            match self.store.add_installation(&row, so_far).await {
                // None of its domains may be served with it, and then the feed tells of nothing.
                Ok(true) => self.targets.look_again(certificate.account_id),
                // Somebody was faster; what is there now may leave no room.
                Ok(false) if draws.next().is_some() => {
                    self.take_back(principal, certificate.id).await;
                    continue;
                }
                refused => {
                    self.take_back(principal, certificate.id).await;
                    return Err(match refused {
                        Err(store::Error::NotFound) => not_found(service.id),
                        Err(store::Error::Full) => Error::Unfit {
                            reason: "the stack has as many certificates as it can have".to_owned(),
                        },
                        Err(error) => error.into(),
                        Ok(_) => Error::Busy {
                            reason: "others are changing this stack",
                        },
                    });
                }
            }
            let serving = self
                .services
                .serve_with(principal, &service, places, &certificate);
            if let Err(error) = serving.await {
                self.take_back(principal, certificate.id).await;
                return Err(error);
            }
            self.wait(&certificate).await?;
            let (made, _) = self.one_of(principal, service.id, certificate.id).await?;
            let mut view = self.view(principal, made).await?;
            view.status = InstallationStatus::InProgress;
            warn_of(&mut view, &served.1);
            return Ok(view);
        }
    }

    /// What the certificate is made of, and the names that it is for.
    async fn material(
        &self,
        kind: InstallationKind,
        request: &InstallationRequest,
        given: &[ServerName],
        wildcard: bool,
        name: &str,
    ) -> Result<(Material, Vec<ServerName>), Error> {
        match kind {
            InstallationKind::Issued => {
                let obtained = names::obtained(given, wildcard)?;
                Ok((Material::Issued(obtained), given.to_vec()))
            }
            InstallationKind::Uploaded => {
                let upload = request.whole_pair(Some(name.to_owned())).await?;
                let names = named_or_of_leaf(given, &upload)?;
                Ok((Material::Uploaded(Box::new(upload)), names))
            }
        }
    }

    async fn make(
        &self,
        principal: &Principal,
        material: Material,
        name: String,
    ) -> Result<Certificate, Error> {
        match material {
            Material::Issued(names) => {
                let request = ManagedRequest {
                    name: Some(name),
                    names: names.into_iter().map(Identifier::Dns).collect(),
                    issuer: self.settings.installations.issuer.clone(),
                };
                self.certificates.request_managed(principal, request).await
            }
            Material::Uploaded(upload) => self.certificates.upload(principal, *upload).await,
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

    /// Has the DNS provider that somebody named write the records of what is to be obtained.
    async fn have_records_written(
        &self,
        principal: &Principal,
        material: &Material,
        provider: Option<DnsProviderId>,
    ) -> Result<(), Error> {
        match (material, provider) {
            (Material::Issued(names), Some(provider)) => {
                self.have_zones_served(principal, provider, names).await
            }
            _ => Ok(()),
        }
    }

    async fn have_zones_served(
        &self,
        principal: &Principal,
        provider: DnsProviderId,
        names: &[DnsName],
    ) -> Result<(), Error> {
        match self.dns_accounts.serve(principal, provider, names).await {
            Err(Error::NotFound { .. }) => Err(no_such_provider()),
            served => served,
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
    async fn wait(&self, certificate: &Certificate) -> Result<(), Error> {
        if !self
            .is_of_authority(certificate.account_id, certificate.issuer.as_deref())
            .await?
        {
            return Ok(());
        }
        let before = certificate.current.as_ref().map(|version| version.id);
        let deadline = Instant::now() + self.settings.installations.patience;
        while Instant::now() < deadline {
            tokio::time::sleep(LOOK).await;
            let scope = store::Scope::Account(certificate.account_id);
            let reference = CertificateRef::Id(certificate.id);
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

    async fn take_back(&self, principal: &Principal, certificate: CertificateId) {
        let (account, actor) = (principal.account_id(), principal.account_name());
        self.services
            .take_back(account, actor, &[certificate])
            .await;
    }
}

/// The names as they were given, or those of the leaf when none were.
fn named_or_of_leaf(given: &[ServerName], upload: &Upload) -> Result<Vec<ServerName>, Error> {
    match upload.leaf() {
        Some(leaf) if given.is_empty() => names::of_leaf(leaf),
        _ => Ok(given.to_vec()),
    }
}

/// The names that the service gets as domains, and those that it cannot get.
fn served_names(material: &Material, names: &[ServerName]) -> (Vec<DnsName>, Vec<String>) {
    match material {
        Material::Issued(obtained) => (obtained.clone(), Vec::new()),
        Material::Uploaded(upload) => match upload.leaf() {
            Some(leaf) => names::split(names, leaf),
            None => (Vec::new(), names::written(names)),
        },
    }
}

fn warn_of(view: &mut InstallationView, uncovered: &[String]) {
    if !uncovered.is_empty() {
        let uncovered = uncovered.join(", ");
        view.warning = Some(format!("the certificate does not cover {uncovered}"));
    }
}

fn no_such_provider() -> Error {
    Error::invalid("dns_provider_uuid", "there is no such DNS provider")
}

fn not_found(service: ServiceId) -> Error {
    Error::not_found(Noun::Service, service)
}
