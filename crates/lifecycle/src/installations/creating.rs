//! Installing certificates on services.

use pki::{DnsName, Identifier};
use store::{DnsProviderId, Installation, Installing, Material, NewRecord, ServiceId};

use super::names::{self, ServerName};
use super::room::{Kind, require_room};
use super::{
    DRAWS, InstallationKind, InstallationRequest, InstallationStatus, InstallationView,
    Installations, is_passing, named_or_of_leaf, naming, warn_of,
};
use crate::certificates::{ManagedRequest, Upload};
use crate::{Error, Principal};

/// What the certificate of an installation is made of.
enum Source {
    /// Names that are obtained.
    Issued(Vec<DnsName>),
    /// What somebody brought along.
    Uploaded(Box<Upload>),
}

/// An installation that could be stored as it is.
struct Draft {
    installing: Installing,
    issuer: Option<String>,
    uncovered: Vec<String>,
}

impl Installations {
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
        let mut draws = 1..DRAWS;
        loop {
            let draft = self.draft(principal, service, &request).await?;
            let row = &draft.installing.installation;
            let (account, id) = (row.account_id, row.certificate_id);
            match self.store.install(draft.installing).await {
                Ok(()) => {}
                // Somebody was faster; what is there now may leave no room.
                Err(error) if is_passing(&error) && draws.next().is_some() => continue,
                Err(error) => return Err(self.refused(principal, error)),
            }
            self.services.published.notify_one();
            self.certificates.wake();
            // None of its domains may be served with it, and then the feed tells of nothing.
            self.targets.look_again(account);
            self.wait((account, id), draft.issuer.as_deref(), None)
                .await?;
            let (made, _) = self.one_of(principal, service, id).await?;
            let mut view = self.view(principal, made).await?;
            view.status = InstallationStatus::InProgress;
            warn_of(&mut view, &draft.uncovered);
            return Ok(view);
        }
    }

    async fn draft(
        &self,
        principal: &Principal,
        service: ServiceId,
        request: &InstallationRequest,
    ) -> Result<Draft, Error> {
        let service = self.service(principal, service).await?;
        let revision = self.revision(principal, service.id).await?;
        let kind = request
            .kind
            .ok_or_else(|| Error::invalid("type", "say lets_encrypt or manual"))?;
        let wildcard = kind == InstallationKind::Issued && request.wildcard.unwrap_or_default();
        let given = names::read(request.server_names.as_deref().unwrap_or_default())?;
        let provider = request.dns_provider;
        self.require_provider(principal, wildcard, provider).await?;
        let name = naming::drawn_name(&service, &self.surroundings);
        let (source, names) = source(kind, request, &given, wildcard, &name).await?;
        let others = self.installed(principal, service.id).await?;
        require_room(&others, Some(Kind::of(kind, wildcard)), &names)?;
        let (served, uncovered) = served_names(&source, &names);
        let places = self.services.places(&service, &served).await?;
        let zones = match &source {
            Source::Issued(names) => self.zones(principal, provider, names).await?,
            Source::Uploaded(_) => Vec::new(),
        };
        let is_there = matches!(source, Source::Uploaded(_));
        let record = self.record(principal, source, name, provider).await?;
        let certificate = &record.certificate;
        let now = self.surroundings.now();
        let installation = Installation {
            service_id: service.id,
            certificate_id: certificate.id,
            account_id: certificate.account_id,
            server_names: names::written(&names),
            domains: places.missing(),
            wildcard,
            dns_provider_id: provider,
            ssl_termination: request.ssl_termination.unwrap_or(true),
            created_at: now,
            updated_at: now,
        };
        let serving = self
            .services
            .serving(principal, &service, places, certificate.id, is_there);
        Ok(Draft {
            issuer: certificate.issuer.clone(),
            uncovered,
            installing: Installing {
                material: Material::Added(Box::new(record)),
                add_domains: serving.add_domains,
                attachments: serving.attachments,
                events: serving.events,
                switched: Some(self.services.switching(principal)),
                zones,
                ..Installing::of(installation, revision)
            },
        })
    }

    async fn record(
        &self,
        principal: &Principal,
        source: Source,
        name: String,
        provider: Option<DnsProviderId>,
    ) -> Result<NewRecord, Error> {
        match source {
            Source::Issued(names) => {
                let request = ManagedRequest {
                    name: Some(name),
                    names: names.into_iter().map(Identifier::Dns).collect(),
                    issuer: self.settings.installations.issuer.clone(),
                };
                let are_proven = self.are_proven(principal, provider).await?;
                self.certificates
                    .draft_managed(principal, request, are_proven)
                    .await
            }
            Source::Uploaded(upload) => self.certificates.draft_upload(principal, *upload),
        }
    }
}

/// What the certificate is made of, and the names that it is for.
async fn source(
    kind: InstallationKind,
    request: &InstallationRequest,
    given: &[ServerName],
    wildcard: bool,
    name: &str,
) -> Result<(Source, Vec<ServerName>), Error> {
    match kind {
        InstallationKind::Issued => {
            let obtained = names::obtained(given, wildcard)?;
            Ok((Source::Issued(obtained), given.to_vec()))
        }
        InstallationKind::Uploaded => {
            let upload = request.whole_pair(Some(name.to_owned())).await?;
            let names = named_or_of_leaf(given, &upload)?;
            Ok((Source::Uploaded(Box::new(upload)), names))
        }
    }
}

/// The names that the service gets as domains, and those that it cannot get.
fn served_names(source: &Source, names: &[ServerName]) -> (Vec<DnsName>, Vec<String>) {
    match source {
        Source::Issued(obtained) => (obtained.clone(), Vec::new()),
        Source::Uploaded(upload) => match upload.leaf() {
            Some(leaf) => names::split(names, leaf),
            None => (Vec::new(), names::written(names)),
        },
    }
}
