//! Taking certificates off services.

use store::{CertificateId, CertificateRef, ServiceId};

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
        let users = self
            .store
            .services_with_certificates(&[certificate])
            .await?;
        let elsewhere = users.into_iter().find(|(_, user, _)| *user != service.id);
        if let Some((_, _, user)) = elsewhere {
            let name = &installed.certificate.name;
            return Err(Error::Unfit {
                reason: format!(
                    "certificate '{name}' is attached to the stack '{user}', too; remove it there \
                     first"
                ),
            });
        }
        let domains = installed.row.domains.clone();
        let mut view = self.view(principal, installed).await?;
        view.status = InstallationStatus::Removing;
        view.warning = None;
        if self.targets.holds(certificate).await? {
            // Written down before: what has gone from the inventory cannot be told of any more.
            self.say_farewell(principal, service.id, &view).await?;
        }
        let others = others.iter().map(|other| other.certificate.id).collect();
        let mut draws = 1..DRAWS;
        let mut left = Vec::new();
        loop {
            let released = self.services.release(
                principal,
                &service,
                certificate,
                &domains,
                &others,
                Extent::All,
            );
            left.extend(released.await?);
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
        Ok(view)
    }
}
