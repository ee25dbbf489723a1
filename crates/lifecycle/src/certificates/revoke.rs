//! Revocation: a row and a counter change in one transaction; answers and lists follow from them.

use pki::{Revocation, RevocationReason};
use store::{CertificateRef, RevokeOutcome, Version};

use super::{Certificates, SerialReference};
use crate::{Error, Noun, Principal, events};

/// How a caller names what to revoke.
#[derive(Debug, Clone)]
pub enum RevocationTarget {
    /// The current version of a certificate of the caller.
    Certificate(CertificateRef),
    /// The version with this serial number; administrators may name those of all accounts.
    Serial(SerialReference),
}

impl Certificates {
    /// Revokes a version that an issuer of ours issued. Of an authority, OCSP says so with the next
    /// answer; a directory is told soon, for as long as that takes.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Forbidden`] for another account's; [`Error::NotIssuedHere`];
    /// [`Error::AlreadyRevoked`].
    pub async fn revoke(
        &self,
        principal: &Principal,
        target: &RevocationTarget,
        reason: RevocationReason,
    ) -> Result<Version, Error> {
        principal.require_write()?;
        let version = self.revocable(principal, target).await?;
        let revocation = Revocation {
            at: self.surroundings.now(),
            reason,
        };
        let event = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(version.account_id),
            events::CERTIFICATE_REVOKED,
            Some(version.certificate_id.as_uuid()),
            &reason.to_string(),
        );
        let scope = principal.administered_scope();
        let outcome = self
            .store
            .revoke_version(scope, version.id, revocation, event)
            .await?;
        match outcome {
            RevokeOutcome::Revoked => {
                self.authorities
                    .memory
                    .hearing
                    .revoked(version.certificate_id);
                // There may be a directory to be told.
                self.due.send_replace(());
                Ok(Version {
                    revocation: Some(revocation),
                    ..version
                })
            }
            RevokeOutcome::AlreadyRevoked => Err(Error::AlreadyRevoked),
            RevokeOutcome::NotFound => Err(Error::not_found(Noun::Certificate, version.id)),
        }
    }

    async fn revocable(
        &self,
        principal: &Principal,
        target: &RevocationTarget,
    ) -> Result<Version, Error> {
        match target {
            RevocationTarget::Certificate(reference) => {
                let certificate = self.find(principal, reference).await?;
                certificate
                    .current
                    .filter(|version| {
                        version.authority_id.is_some() || version.directory_id.is_some()
                    })
                    .ok_or(Error::NotIssuedHere {
                        name: certificate.name,
                    })
            }
            RevocationTarget::Serial(serial) => {
                let found = self.version_by_serial(serial).await?;
                let version = found.ok_or_else(|| Error::not_found(Noun::Certificate, serial))?;
                let is_owner = version.account_id == principal.account_id();
                if is_owner || principal.is_administrator() {
                    return Ok(version);
                }
                Err(Error::Forbidden {
                    reason: "this certificate belongs to another account",
                })
            }
        }
    }
}
