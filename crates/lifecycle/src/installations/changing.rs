//! Changes of installations: other names, another pair, another way for the certificate to come to
//! be. The certificate remains the same one.

use pki::{DnsName, Identifier};
use store::{Certificate, CertificateId, CertificateRef, Installation, PrivateKeyId, ServiceId};
use zeroize::Zeroizing;

use super::names::{self, ServerName};
use super::request::pair;
use super::room::{Kind, require_room};
use super::view::Installed;
use super::{
    InstallationKind, InstallationRequest, InstallationStatus, InstallationView, Installations,
    named_or_of_leaf, warn_of,
};
use crate::certificates::Upload;
use crate::services::Extent;
use crate::{Error, Noun, Principal};

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

impl Installations {
    /// Changes an installation. One whose certificate is obtained is renewed at once by that.
    ///
    /// # Errors
    /// As [`Self::create`]: but other installations stand in the way of another kind and of new names
    /// alone. [`Error::Unfit`], too, while another service is served with the certificate by a name
    /// that it would be good for no more.
    pub async fn change(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: CertificateId,
        request: InstallationRequest,
    ) -> Result<InstallationView, Error> {
        principal.require_write()?;
        let service = self.service(principal, service).await?;
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
        let (outcome, names) = self.outcome(&before, kind, &request, wildcard).await?;
        let (room, added) = (
            Kind::of(kind, wildcard),
            names::added(&before.row.server_names, &names),
        );
        let room = (room != Kind::of_installed(&before)).then_some(room);
        require_room(&others, room, added)?;
        let is_kept = |name: &DnsName| outcome.keeps(name);
        self.require_none_elsewhere(principal, service.id, &before.certificate, is_kept)
            .await?;
        let (served, uncovered) = self.served(&before, &outcome, &names).await?;
        let places = self.services.places(&service, &served).await?;
        if let (Outcome::Requested(names) | Outcome::Renewed(names), Some(provider)) =
            (&outcome, provider)
        {
            self.have_zones_served(principal, provider, names).await?;
        }
        let after = self
            .carry_out(principal, &before.certificate, outcome)
            .await?;
        let is_kept = |domain: &&String| served.iter().any(|name| name.as_str() == **domain);
        let (mut domains, dropped): (Vec<String>, Vec<String>) = before
            .row
            .domains
            .iter()
            .cloned()
            .partition(|domain| is_kept(&domain));
        domains.extend(places.missing());
        let row = Installation {
            server_names: names::written(&names),
            domains,
            wildcard,
            dns_provider_id: provider,
            ssl_termination: request
                .ssl_termination
                .unwrap_or(before.row.ssl_termination),
            updated_at: self.surroundings.now().max(before.row.updated_at),
            ..before.row.clone()
        };
        let put = self.store.put_installation(&row).await;
        put.map_err(|error| match error {
            // Somebody deleted it in the meantime.
            store::Error::UnknownCertificate => Error::not_found(Noun::Certificate, certificate),
            error => error.into(),
        })?;
        self.services
            .serve_with(principal, &service, places, &after)
            .await?;
        if !dropped.is_empty() {
            let others = others.iter().filter(|other| other.is_written);
            let others = others.map(|other| other.certificate.id).collect();
            let released = self.services.release(
                principal,
                &service,
                after.id,
                &dropped,
                &others,
                Extent::Named,
            );
            self.services.settle(&released.await?.left).await?;
        }
        if kind == InstallationKind::Issued {
            self.wait(&Certificate {
                current: before.certificate.current.clone(),
                ..after
            })
            .await?;
        }
        let (changed, _) = self.one_of(principal, service.id, certificate).await?;
        let mut view = self.view(principal, changed).await?;
        if kind == InstallationKind::Issued {
            view.status = InstallationStatus::InProgress;
        }
        warn_of(&mut view, &uncovered);
        Ok(view)
    }

    async fn outcome(
        &self,
        before: &Installed,
        kind: InstallationKind,
        request: &InstallationRequest,
        wildcard: bool,
    ) -> Result<(Outcome, Vec<ServerName>), Error> {
        let given = request.server_names.as_deref();
        let given_names = names::read(given.unwrap_or_default())?;
        let so_far = || names::of_parts(before.row.server_names.iter().map(String::as_str));
        if kind == InstallationKind::Issued && request.kind.is_none() && request.brings_material() {
            let reason = "say manual to bring a certificate along; this one is obtained";
            return Err(Error::invalid("type", reason));
        }
        match (before.kind(), kind) {
            (from, InstallationKind::Issued) => {
                let names = if given_names.is_empty() {
                    so_far()?
                } else {
                    given_names
                };
                let obtained = names::obtained(&names, wildcard)?;
                let is_same = from == InstallationKind::Issued
                    && same_names(&obtained, &before.certificate.identifiers);
                let outcome = if is_same {
                    Outcome::Renewed(obtained)
                } else {
                    Outcome::Requested(obtained)
                };
                Ok((outcome, names))
            }
            (InstallationKind::Issued, InstallationKind::Uploaded) => {
                let upload = request.whole_pair(None).await?;
                let names = named_or_of_leaf(&given_names, &upload)?;
                Ok((Outcome::Replaced(Box::new(upload), None), names))
            }
            (InstallationKind::Uploaded, InstallationKind::Uploaded) => {
                if !request.brings_material() {
                    let names = if given_names.is_empty() {
                        so_far()?
                    } else {
                        given_names
                    };
                    return Ok((Outcome::Kept, names));
                }
                let (upload, key) = self.new_pair(&before.certificate, request).await?;
                // That the names are left empty means that they are those of the new leaf.
                let names = match given {
                    None => so_far()?,
                    Some(_) => named_or_of_leaf(&given_names, &upload)?,
                };
                Ok((Outcome::Replaced(Box::new(upload), key), names))
            }
        }
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

    async fn carry_out(
        &self,
        principal: &Principal,
        certificate: &Certificate,
        outcome: Outcome,
    ) -> Result<Certificate, Error> {
        match outcome {
            Outcome::Kept => Ok(certificate.clone()),
            Outcome::Requested(names) => {
                let names: Vec<Identifier> = names.into_iter().map(Identifier::Dns).collect();
                let issuer = match InstallationKind::from(certificate.origin) {
                    InstallationKind::Issued => certificate.issuer.clone(),
                    InstallationKind::Uploaded => self.settings.installations.issuer.clone(),
                };
                self.certificates
                    .request_anew(principal, certificate, &names, issuer)
                    .await
            }
            Outcome::Renewed(_) => {
                let reference = CertificateRef::Id(certificate.id);
                self.certificates.renew(principal, &reference).await
            }
            Outcome::Replaced(upload, key) => {
                self.certificates
                    .take_over(principal, certificate, *upload, key)
                    .await
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
