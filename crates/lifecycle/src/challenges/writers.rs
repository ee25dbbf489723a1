//! Which DNS account writes the records of a certificate, if one was named for it.

use pki::DnsName;
use store::{Certificate, DnsProviderId, Scope};

use super::Solvers;
use crate::Error;
use crate::accounts::HOUSE_ACCOUNT;

impl Solvers {
    /// The DNS account that an installation of the certificate names.
    pub(super) async fn writer(
        &self,
        certificate: &Certificate,
    ) -> Result<Option<DnsProviderId>, Error> {
        let installed = self.store.installations_of(&[certificate.id]).await?;
        let named = installed.into_iter().filter_map(|one| one.dns_provider_id);
        let scope = Scope::Account(certificate.account_id);
        for id in named {
            if self.store.dns_account(scope, id).await?.is_some() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Sees to it that the DNS account that is named for a certificate has the zones of its names:
    /// another may have been named before, or the zones may be others by now. Who cannot prove the
    /// names because of a fault here is told so then.
    pub(super) async fn have_zones(&self, certificate: &Certificate) -> Result<(), Error> {
        let Some(writer) = self.writer(certificate).await? else {
            return Ok(());
        };
        let names = certificate.identifiers.iter();
        let names: Vec<DnsName> = names.filter_map(|name| DnsName::parse(name).ok()).collect();
        let account = certificate.account_id;
        let had = self
            .providers
            .have_zones(account, HOUSE_ACCOUNT, writer, &names);
        match had.await {
            Err(error @ (Error::Unfit { .. } | Error::NotFound { .. })) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    certificate = %certificate.id,
                    "a DNS account could not be made the provider of a zone"
                );
                Ok(())
            }
            had => had,
        }
    }
}
