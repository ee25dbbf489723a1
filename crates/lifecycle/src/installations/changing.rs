//! Changes of installations: other names, another pair, another way for the certificate to come to
//! be. The certificate remains the same one.

use pki::DnsName;
use store::{
    Certificate, CertificateId, DnsProviderId, Installation, Installing, Material, PrivateKeyId,
    ServiceId, State, VersionId,
};
use zeroize::Zeroizing;

use super::names::{self, ServerName};
use super::request::pair;
use super::room::{Kind, require_room};
use super::view::Installed;
use super::{
    DRAWS, InstallationKind, InstallationRequest, InstallationStatus, InstallationView,
    Installations, is_passing, named_or_of_leaf, warn_of,
};
use crate::certificates::Upload;
use crate::services::Extent;
use crate::{Error, Principal};

/// What becomes of the certificate.
pub(super) enum Outcome {
    /// Nothing but what is said of it changes.
    Kept,
    /// It is obtained for these names.
    Requested(Vec<DnsName>),
    /// Its next version is obtained now.
    Renewed(Vec<DnsName>),
    /// It gets this pair, whose key may be the stored one.
    Replaced(Box<Upload>, Option<PrivateKeyId>),
}

/// A change that could be stored as it is.
struct Draft {
    installing: Installing,
    /// What obtains the certificate, if it is obtained now.
    issuer: Option<String>,
    /// The version that there was.
    version: Option<VersionId>,
    /// Domains that are left without a certificate.
    left: Vec<String>,
    uncovered: Vec<String>,
}

/// What is asked for, beside what there is.
struct Wish {
    outcome: Outcome,
    names: Vec<ServerName>,
    /// Whether the names are those from before, and nothing else is obtained or served.
    is_as_before: bool,
}

impl Installations {
    /// Changes an installation. One whose certificate is obtained is renewed at once by that.
    ///
    /// # Errors
    /// As [`Self::create`]: but other installations stand in the way of another kind and of new names
    /// alone. [`Error::Unfit`], too, while another service is served with the certificate by a name
    /// that it would be good for no more. Whatever is refused changes nothing.
    pub async fn change(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: CertificateId,
        request: InstallationRequest,
    ) -> Result<InstallationView, Error> {
        principal.require_write()?;
        let mut draws = 1..DRAWS;
        loop {
            let draft = self.change_draft(principal, (service, certificate), &request);
            let draft = draft.await?;
            let row = &draft.installing.installation;
            let (account, id) = (row.account_id, row.certificate_id);
            match self.store.install(draft.installing).await {
                Ok(()) => {}
                Err(error) if is_passing(&error) && draws.next().is_some() => continue,
                Err(error) => return Err(self.refused(principal, error)),
            }
            self.services.published.notify_one();
            if draft.issuer.is_some() {
                self.certificates.wake();
            }
            self.services.settle(&draft.left).await?;
            self.wait((account, id), draft.issuer.as_deref(), draft.version)
                .await?;
            let (changed, _) = self.one_of(principal, service, certificate).await?;
            let mut view = self.view(principal, changed).await?;
            if draft.issuer.is_some() {
                view.status = InstallationStatus::InProgress;
            }
            warn_of(&mut view, &draft.uncovered);
            return Ok(view);
        }
    }

    async fn change_draft(
        &self,
        principal: &Principal,
        (service, certificate): (ServiceId, CertificateId),
        request: &InstallationRequest,
    ) -> Result<Draft, Error> {
        let service = self.service(principal, service).await?;
        let revision = self.revision(principal, service.id).await?;
        let (before, others) = self.one_of(principal, service.id, certificate).await?;
        let kind = request.kind.unwrap_or(before.kind());
        let wildcard =
            kind == InstallationKind::Issued && request.wildcard.unwrap_or(before.row.wildcard);
        let is_same_kind = kind == before.kind();
        let kept_provider = before.row.dns_provider_id.filter(|_| is_same_kind);
        let provider = request.dns_provider.or(kept_provider);
        if provider != kept_provider || wildcard != before.row.wildcard || !is_same_kind {
            self.require_provider(principal, wildcard, provider).await?;
        }
        let wish = self.wish(&before, kind, request, wildcard).await?;
        let Wish {
            outcome,
            names,
            is_as_before,
        } = wish;
        let room = Kind::of(kind, wildcard);
        let room = (room != Kind::of_installed(&before)).then_some(room);
        require_room(
            &others,
            room,
            names::added(&before.row.server_names, &names),
        )?;
        let is_kept = |name: &DnsName| outcome.keeps(name);
        self.require_none_elsewhere(principal, service.id, &before.certificate, is_kept)
            .await?;
        let (served, uncovered) = self.served(&before, &outcome, &names).await?;
        let places = if is_as_before {
            self.services.own_places(&service, &served).await?
        } else {
            self.services.places(&service, &served).await?
        };
        let material = self.material(principal, &before.certificate, outcome, provider);
        let material = material.await?;
        let is_gone =
            |domain: &String| !is_as_before && served.iter().all(|name| name.as_str() != domain);
        let (dropped, mut domains): (Vec<String>, Vec<String>) =
            before.row.domains.iter().cloned().partition(is_gone);
        domains.extend(places.missing());
        let current = before.certificate.current.as_ref();
        let is_there = match &material {
            Material::Version(_) => true,
            Material::Kept | Material::Due(_) => {
                current.is_some() && !matches!(before.certificate.state, State::Pending { .. })
            }
            Material::Added(_) | Material::Anew(..) | Material::State(..) => false,
        };
        let (issuer, obtained) = match &material {
            Material::Anew(renewed, _) => {
                let names = renewed.identifiers.iter();
                (Some(renewed.issuer.clone()), names.collect())
            }
            Material::Due(_) | Material::State(..) => {
                let certificate = &before.certificate;
                let names = certificate.identifiers.iter();
                (certificate.issuer.clone(), names.collect())
            }
            Material::Added(_) | Material::Kept | Material::Version(_) => (None, Vec::new()),
        };
        let obtained = obtained.into_iter();
        let obtained: Vec<DnsName> = obtained
            .filter_map(|name| DnsName::parse(name).ok())
            .collect();
        let zones = match issuer {
            Some(_) => self.zones(principal, provider, &obtained).await?,
            None => Vec::new(),
        };
        let row = Installation {
            server_names: match is_as_before {
                true => before.row.server_names.clone(),
                false => names::written(&names),
            },
            domains,
            wildcard,
            dns_provider_id: provider,
            ssl_termination: request
                .ssl_termination
                .unwrap_or(before.row.ssl_termination),
            updated_at: self.surroundings.now().max(before.row.updated_at),
            ..before.row.clone()
        };
        let others = others.iter().filter(|other| other.is_written);
        let others = others.map(|other| other.certificate.id).collect();
        let serving = self
            .services
            .serving(principal, &service, places, certificate, is_there);
        let taken = (certificate, dropped.as_slice());
        let releasing = self
            .services
            .releasing(principal, &service, taken, &others, Extent::Named)
            .await?;
        let attachments = serving.attachments.into_iter();
        let events = serving.events.into_iter();
        Ok(Draft {
            installing: Installing {
                material,
                remove_domains: releasing.released.removed,
                add_domains: serving.add_domains,
                attachments: attachments.chain(releasing.attachments).collect(),
                events: events.chain(releasing.events).collect(),
                switched: Some(self.services.switching(principal)),
                zones,
                ..Installing::of(row, revision)
            },
            issuer,
            version: current.map(|version| version.id),
            left: releasing.released.left,
            uncovered,
        })
    }

    async fn wish(
        &self,
        before: &Installed,
        kind: InstallationKind,
        request: &InstallationRequest,
        wildcard: bool,
    ) -> Result<Wish, Error> {
        let given = request.server_names.as_deref();
        let given_names = names::read(given.unwrap_or_default())?;
        let so_far = || names::known(&before.row.server_names);
        if kind == InstallationKind::Issued && request.kind.is_none() && request.brings_material() {
            let reason = "say manual to bring a certificate along; this one is obtained";
            return Err(Error::invalid("type", reason));
        }
        let is_same = kind == before.kind() && given_names.is_empty();
        let wish = |outcome, names| Wish {
            outcome,
            names,
            is_as_before: false,
        };
        Ok(match (before.kind(), kind) {
            (_, InstallationKind::Issued) if is_same && wildcard == before.row.wildcard => {
                let names = before.certificate.identifiers.iter();
                let names = names.filter_map(|name| DnsName::parse(name).ok());
                Wish {
                    outcome: Outcome::Renewed(names.collect()),
                    names: so_far(),
                    is_as_before: true,
                }
            }
            (from, InstallationKind::Issued) => {
                let names = if given_names.is_empty() {
                    so_far()
                } else {
                    given_names
                };
                let obtained = names::obtained(&names, wildcard)?;
                let is_same = from == InstallationKind::Issued
                    && same_names(&obtained, &before.certificate.identifiers);
                if is_same {
                    wish(Outcome::Renewed(obtained), names)
                } else {
                    wish(Outcome::Requested(obtained), names)
                }
            }
            (InstallationKind::Issued, InstallationKind::Uploaded) => {
                let upload = request.whole_pair(None).await?;
                let names = named_or_of_leaf(&given_names, &upload)?;
                wish(Outcome::Replaced(Box::new(upload), None), names)
            }
            (InstallationKind::Uploaded, InstallationKind::Uploaded) => {
                if !request.brings_material() {
                    return Ok(Wish {
                        outcome: Outcome::Kept,
                        names: if is_same { so_far() } else { given_names },
                        is_as_before: is_same,
                    });
                }
                let (upload, key) = self.new_pair(&before.certificate, request).await?;
                // That the names are left empty means that they are those of the new leaf.
                let names = match given {
                    None => so_far(),
                    Some(_) => named_or_of_leaf(&given_names, &upload)?,
                };
                wish(Outcome::Replaced(Box::new(upload), key), names)
            }
        })
    }

    /// The pair of what was sent and, where something was not, of what is stored; with the stored
    /// key, if it is that.
    async fn new_pair(
        &self,
        certificate: &Certificate,
        request: &InstallationRequest,
    ) -> Result<(Upload, Option<PrivateKeyId>), Error> {
        let stored = self.certificates.chain(certificate).await?;
        let (leaf, above) = match stored.split_first() {
            Some((leaf, above)) => (Some(Zeroizing::new(leaf.to_pem())), above),
            None => (None, stored.as_slice()),
        };
        let all_above = || above.iter().map(pki::Certificate::to_pem).collect();
        let missing = |field| Error::invalid(field, "nothing is stored that could stand for it");
        let intermediates = match (&request.intermediates, &request.certificate) {
            (Some(sent), _) => Some(sent.clone()),
            (None, Some(leaf)) if is_alone_under(leaf, above) => Some(Zeroizing::new(all_above())),
            (None, Some(_)) => None,
            (None, None) => Some(Zeroizing::new(all_above())),
        };
        let leaf = request.certificate.clone().or(leaf);
        let leaf = leaf.ok_or_else(|| missing("certificate"))?;
        let (key, id) = match &request.key {
            Some(sent) => (sent.clone(), None),
            None => {
                let version = certificate.current.as_ref();
                let id = version.and_then(|version| version.private_key_id);
                let id = id.ok_or_else(|| missing("key"))?;
                let scope = store::Scope::Account(certificate.account_id);
                let stored = self.store.private_key(scope, id).await?;
                let stored = stored.ok_or_else(|| missing("key"))?;
                (stored.key.to_pkcs8_pem(), Some(id))
            }
        };
        Ok((pair(None, leaf, key, intermediates).await?, id))
    }

    /// The names that the service gets as domains, and those that it cannot get.
    async fn served(
        &self,
        before: &Installed,
        outcome: &Outcome,
        names: &[ServerName],
    ) -> Result<(Vec<DnsName>, Vec<String>), Error> {
        Ok(match outcome {
            Outcome::Requested(obtained) | Outcome::Renewed(obtained) => {
                (obtained.clone(), Vec::new())
            }
            Outcome::Replaced(upload, _) => match upload.leaf() {
                Some(leaf) => names::split(names, leaf),
                None => (Vec::new(), names::written(names)),
            },
            Outcome::Kept => {
                let chain = self.certificates.chain(&before.certificate).await?;
                match chain.first() {
                    Some(leaf) => names::split(names, leaf),
                    None => (Vec::new(), names::written(names)),
                }
            }
        })
    }

    async fn material(
        &self,
        principal: &Principal,
        certificate: &Certificate,
        outcome: Outcome,
        provider: Option<DnsProviderId>,
    ) -> Result<Material, Error> {
        match outcome {
            Outcome::Kept => Ok(Material::Kept),
            Outcome::Requested(names) => {
                let issuer = match InstallationKind::from(certificate.origin) {
                    InstallationKind::Issued => certificate.issuer.clone(),
                    InstallationKind::Uploaded => self.settings.installations.issuer.clone(),
                };
                let are_proven = self.are_proven(principal, provider).await?;
                self.certificates
                    .draft_anew(principal, certificate, &names, issuer, are_proven)
                    .await
            }
            Outcome::Renewed(_) => {
                let renewal = self.certificates.draft_renewal(principal, certificate);
                // What was issued on order, for a key that is not the server's, stays as it is.
                Ok(renewal.await?.unwrap_or(Material::Kept))
            }
            Outcome::Replaced(upload, key) => {
                self.certificates
                    .draft_taken_over(principal, certificate, *upload, key)
            }
        }
    }
}

/// Whether this is a leaf that comes without what stands above it, and was issued by the first of
/// these.
fn is_alone_under(leaf: &str, above: &[pki::Certificate]) -> bool {
    // What cannot be read is refused where the pair is.
    let sent = pki::read_certificates(leaf.as_bytes()).unwrap_or_default();
    match (sent.as_slice(), above) {
        ([leaf], [issuer, ..]) => leaf.issuer() == issuer.subject(),
        _ => false,
    }
}

/// Whether a certificate is for exactly these names, in whatever order.
fn same_names(names: &[DnsName], identifiers: &[String]) -> bool {
    names.len() == identifiers.len()
        && names
            .iter()
            .all(|name| identifiers.iter().any(|other| other == name.as_str()))
}
