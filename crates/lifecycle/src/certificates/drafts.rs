//! What certificates become together with something else, drawn up for the store to write at once.

use pki::{DnsName, Identifier};
use store::{
    Certificate, CertificateId, Material, NewCertificate, NewRecord, NewVersionRecord, Origin,
    PrivateKeyId, Remade, Renewed, State,
};

use super::Certificates;
use super::managed_request::ManagedRequest;
use super::requesting::Requester;
use super::upload::Upload;
use crate::{Error, Principal, events};

impl Certificates {
    /// A certificate that the house is to obtain, see [`Self::request_managed`]. It has a name.
    /// With `are_proven`, somebody will write the records of its names.
    ///
    /// # Errors
    /// As [`Self::request_managed`], except for [`Error::NameTaken`].
    pub(crate) async fn draft_managed(
        &self,
        principal: &Principal,
        request: ManagedRequest,
        are_proven: bool,
    ) -> Result<NewRecord, Error> {
        principal.require_write()?;
        let names = request.checked_names()?;
        let account_id = principal.account_id();
        let issuer = match request.issuer {
            Some(issuer) => self.issuers.usable(account_id, &issuer).await?,
            None => self.issuers.default_of(account_id).await?,
        };
        self.check_draft(principal, &issuer, &names, are_proven)
            .await?;
        let requester = Requester {
            account_id,
            actor: principal.account_name(),
            issuer: &issuer,
        };
        let name = request.name.unwrap_or_default();
        Ok(self.request_record(requester, &names, &name).1)
    }

    /// A certificate that was brought along, see [`Self::upload`]. It has a name.
    ///
    /// # Errors
    /// As [`Self::upload`], except for [`Error::NameTaken`].
    pub(crate) fn draft_upload(
        &self,
        principal: &Principal,
        upload: Upload,
    ) -> Result<NewRecord, Error> {
        principal.require_write()?;
        let Upload {
            name,
            common_name,
            pair,
        } = upload;
        let id = CertificateId::from_random(self.surroundings.random());
        let (version, key, identifiers) =
            pair.version(id, Some(&common_name), &self.surroundings)?;
        let certificate = NewCertificate {
            id,
            account_id: principal.account_id(),
            name: name.unwrap_or_default(),
            common_name: common_name.to_string(),
            identifiers,
            origin: Origin::Uploaded,
            state: State::Valid,
            issuer: None,
            created_at: self.surroundings.now(),
        };
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            events::CERTIFICATE_UPLOADED,
            Some(id.as_uuid()),
            common_name.as_str(),
        );
        Ok(NewRecord {
            certificate,
            version: Some(version),
            key: Some(key),
            event,
        })
    }

    /// A certificate, however it came to be, that is obtained for these names from now on. The
    /// version in service stays there until there is a new one. With `are_proven`, somebody will
    /// write the records of its names.
    ///
    /// # Errors
    /// As [`Self::request_managed`], except for [`Error::NameTaken`].
    pub(crate) async fn draft_anew(
        &self,
        principal: &Principal,
        certificate: &Certificate,
        names: &[DnsName],
        issuer: Option<String>,
        are_proven: bool,
    ) -> Result<Material, Error> {
        principal.require_write()?;
        let account_id = certificate.account_id;
        let issuer = match issuer {
            Some(issuer) => self.issuers.usable(account_id, &issuer).await?,
            None => self.issuers.default_of(account_id).await?,
        };
        let names: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        self.check_draft(principal, &issuer, &names, are_proven)
            .await?;
        let identifiers: Vec<String> = names.iter().map(ToString::to_string).collect();
        let common_name = identifiers.first().cloned().unwrap_or_default();
        let kind = events::CERTIFICATE_REQUESTED;
        let event = self.event(certificate, principal.account_name(), kind, &common_name);
        let renewed = Renewed {
            common_name,
            identifiers,
            issuer,
            next_attempt_at: self.surroundings.now(),
        };
        Ok(Material::Anew(renewed, event))
    }

    /// The next version of a certificate now, see [`Self::renew`]; `None` for one that is none of
    /// the house's to renew.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub(crate) async fn draft_renewal(
        &self,
        principal: &Principal,
        certificate: &Certificate,
    ) -> Result<Option<Material>, Error> {
        principal.require_write()?;
        if certificate.origin != Origin::Issued {
            return Ok(None);
        }
        let (actor, kind) = (principal.account_name(), events::CERTIFICATE_REQUESTED);
        let event = || self.event(certificate, actor, kind, &certificate.common_name);
        Ok(match certificate.state {
            State::Error { .. } | State::Revoked if self.may_restart(certificate).await? => {
                let state = State::Pending {
                    attempt: 0,
                    next_attempt_at: self.surroundings.now(),
                };
                Some(Material::State(state, event()))
            }
            State::Pending { .. } | State::Valid if certificate.next_action_at.is_some() => {
                Some(Material::Due(event()))
            }
            _ => None,
        })
    }

    /// A certificate, however it came to be, that was brought along with this pair from now on,
    /// under the names of the pair. `kept_key` is the stored key if the pair has that.
    ///
    /// # Errors
    /// [`Error::KeyMismatch`], [`Error::CommonNameMismatch`], [`Error::Expired`],
    /// [`Error::Forbidden`].
    pub(crate) fn draft_taken_over(
        &self,
        principal: &Principal,
        certificate: &Certificate,
        upload: Upload,
        kept_key: Option<PrivateKeyId>,
    ) -> Result<Material, Error> {
        principal.require_write()?;
        let common_name = upload.common_name.to_string();
        let (mut version, key, identifiers) = upload.pair.version(
            certificate.id,
            Some(&upload.common_name),
            &self.surroundings,
        )?;
        if kept_key.is_some() {
            version.private_key_id = kept_key;
        }
        let actor = principal.account_name();
        let kind = events::CERTIFICATE_REPLACED;
        let record = NewVersionRecord {
            version,
            key: kept_key.is_none().then_some(key),
            identifiers,
            renew_at: None,
            next_action_at: None,
            becomes: Some(Remade {
                origin: Origin::Uploaded,
                common_name,
            }),
            event: self.event(certificate, actor, kind, &certificate.name),
        };
        Ok(Material::Version(Box::new(record)))
    }

    /// Wakes whoever obtains what is due, after something drawn up here was written.
    pub(crate) fn wake(&self) {
        self.due.send_replace(());
    }

    async fn check_draft(
        &self,
        principal: &Principal,
        issuer: &str,
        names: &[Identifier],
        are_proven: bool,
    ) -> Result<(), Error> {
        let account_id = principal.account_id();
        if !are_proven {
            self.check_wildcards(account_id, issuer, names).await?;
        }
        self.check_policy(account_id, issuer, names).await
    }
}
