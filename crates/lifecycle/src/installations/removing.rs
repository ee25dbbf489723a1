//! Taking certificates off services.

use pki::DnsName;
use store::{CertificateId, CertificateRef, Service, ServiceId, ServiceRef};
use time::OffsetDateTime;

use super::{DRAWS, InstallationStatus, InstallationView, Installations};
use crate::services::Extent;
use crate::{Error, Principal};

impl Installations {
    /// Takes a certificate off a service, and out of the inventory. Domains that came with it go,
    /// unless another certificate of the service covers them; the others are served with the best
    /// that is left.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unfit`] while another service is served with it;
    /// [`Error::Forbidden`].
    pub async fn remove(
        &self,
        principal: &Principal,
        service: ServiceId,
        certificate: CertificateId,
    ) -> Result<InstallationView, Error> {
        principal.require_write()?;
        let service = self.service(principal, service).await?;
        let found = self.one_of(principal, service.id, certificate).await;
        let (installed, others) = match found {
            Ok(found) => found,
            Err(missing @ Error::NotFound { .. }) => {
                let leaving = self.leaving(principal, service.id).await?;
                return leaving
                    .into_iter()
                    .find(|view| view.id == certificate)
                    .ok_or(missing);
            }
            Err(error) => return Err(error),
        };
        self.require_none_elsewhere(principal, service.id, &installed.certificate, |_| false)
            .await?;
        let (domains, since) = (installed.row.domains.clone(), installed.row.created_at);
        let mut view = self.view(principal, installed).await?;
        view.status = InstallationStatus::Removing;
        view.warning = None;
        // Written down before: what has gone from the inventory cannot be told of any more. Targets
        // may be handed the key until then, so it does not matter whether one has it now.
        self.say_farewell(principal, service.id, &view).await?;
        let others = others.iter().filter(|other| other.is_written);
        let others = others.map(|other| other.certificate.id).collect();
        let mut draws = 1..DRAWS;
        let (mut left, mut removed) = (Vec::new(), Vec::new());
        loop {
            let released = self.services.release(
                principal,
                &service,
                certificate,
                &domains,
                &others,
                Extent::All,
            );
            let released = released.await?;
            left.extend(released.left);
            removed.extend(released.removed);
            let reference = CertificateRef::Id(certificate);
            match self.certificates.delete(principal, &reference).await {
                // Between the two, it was chosen again for a domain that had none.
                Err(Error::Attached { .. }) if draws.next().is_some() => {}
                // Somebody else deletes it, too.
                Ok(_) | Err(Error::NotFound { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        self.services.settle(&left).await?;
        self.take_back_requested(principal, &removed, since).await?;
        Ok(view)
    }

    /// Deletes what the house has requested since then for domains that are gone: nobody else wants
    /// it.
    async fn take_back_requested(
        &self,
        principal: &Principal,
        removed: &[String],
        since: OffsetDateTime,
    ) -> Result<(), Error> {
        let account = principal.account_id();
        for name in removed.iter().filter_map(|name| DnsName::parse(name).ok()) {
            let requested = self.certificates.requested_before(account, &name).await?;
            if let Some(requested) = requested.filter(|requested| requested.created_at >= since) {
                self.remove_unused(principal, requested.id).await?;
            }
        }
        Ok(())
    }

    /// Deletes a service, and the certificates that somebody has installed there, except those that
    /// another service is served with.
    ///
    /// # Errors
    /// As [`Services::delete`](crate::Services::delete).
    pub async fn remove_service(
        &self,
        principal: &Principal,
        service: ServiceId,
    ) -> Result<Service, Error> {
        principal.require_write()?;
        let installed = self.store.installations(principal.scope(), service);
        let installed = installed.await?;
        let reference = ServiceRef::Id(service);
        let removed = self.services.delete(principal, &reference).await?;
        for certificate in installed.iter().map(|row| row.certificate_id) {
            // The service is gone and cannot come back; what is left its owner sees and can delete.
            if let Err(error) = self.remove_unused(principal, certificate).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    %certificate,
                    "could not delete the certificate of a service that is gone"
                );
            }
        }
        Ok(removed)
    }

    /// Deletes a certificate, unless it is installed or served with anywhere.
    async fn remove_unused(
        &self,
        principal: &Principal,
        certificate: CertificateId,
    ) -> Result<(), Error> {
        let serving = self.store.domains_of_certificate(certificate, None, 1);
        if !serving.await?.is_empty()
            || !self
                .store
                .installations_of(&[certificate])
                .await?
                .is_empty()
        {
            return Ok(());
        }
        let reference = CertificateRef::Id(certificate);
        match self.certificates.delete(principal, &reference).await {
            // Somebody else was faster with one or the other.
            Ok(_) | Err(Error::NotFound { .. } | Error::Attached { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
