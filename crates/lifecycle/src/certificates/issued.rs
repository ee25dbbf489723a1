//! What was issued here, named by its serial number: fetched again by its owner, and what is erased
//! when its time is over.

use pki::{PrivateKey, Serial};
use store::{Exportable, PrivateKeyId, Scope, StoredKey, Version, VersionId};

use super::Certificates;
use crate::{Error, Noun, Principal, events};

/// How clients name an issued certificate by its serial number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialReference(Serial);

impl SerialReference {
    /// Reads up to 49 decimal digits: a full serial, or its low 64 bits.
    #[must_use]
    pub fn from_decimal(digits: &str) -> Option<Self> {
        Serial::from_decimal(digits).map(Self)
    }

    /// Whether `serial` is meant: equal in full, or equal in its low 64 bits when no more than
    /// those were given.
    fn names(&self, serial: &[u8]) -> bool {
        let given = self.0.as_be_bytes();
        given == serial
            || (given.len() <= 8 && serial.ends_with(given) && {
                let padding = 8 - given.len();
                let low = serial
                    .len()
                    .checked_sub(8)
                    .and_then(|start| serial.get(start..));
                low.is_some_and(|low| low.iter().take(padding).all(|byte| *byte == 0))
            })
    }
}

impl std::fmt::Display for SerialReference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

impl Certificates {
    /// The certificate that an authority of ours issued under this serial number to the caller.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for those of other accounts.
    pub async fn issued_certificate(
        &self,
        principal: &Principal,
        serial: &SerialReference,
    ) -> Result<pki::Certificate, Error> {
        let version = self.issued_version(principal, serial).await?;
        let chain = self.store.chain(principal.scope(), version.id).await?;
        let chain = chain.ok_or_else(|| Error::not_found(Noun::Certificate, serial))?;
        pki::Certificate::from_der(&chain.leaf).map_err(Error::signing)
    }

    async fn issued_version(
        &self,
        principal: &Principal,
        serial: &SerialReference,
    ) -> Result<Version, Error> {
        let found = self.version_by_serial(serial).await?;
        found
            .filter(|version| version.account_id == principal.account_id())
            .ok_or_else(|| Error::not_found(Noun::Certificate, serial))
    }

    /// The private key of [`Self::issued_certificate`], while its owner may fetch it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, or its time is over; [`Error::Forbidden`] for a
    /// read-only token.
    pub async fn issued_private_key(
        &self,
        principal: &Principal,
        serial: &SerialReference,
    ) -> Result<PrivateKey, Error> {
        // A key in hand is more than a look at what there is.
        principal.require_write()?;
        let gone = || Error::not_found(Noun::PrivateKey, serial);
        let version = self.issued_version(principal, serial).await?;
        let id = version.private_key_id.ok_or_else(gone)?;
        let key = self.leaving_key(principal, id).await?.ok_or_else(gone)?;
        self.tell_of_key(principal, &version).await?;
        Ok(key)
    }

    /// Writes down that the caller is given the private key of a version. An answer that has the
    /// key waits for this.
    async fn tell_of_key(&self, principal: &Principal, version: &Version) -> Result<(), Error> {
        let taken = events::of(
            &self.surroundings,
            principal.account_name(),
            Some(version.account_id),
            events::CERTIFICATE_KEY_TAKEN,
            Some(version.certificate_id.as_uuid()),
            &version.subject,
        );
        Ok(self.store.add_event(taken).await?)
    }

    /// A version that was issued to the caller, with its private key if the house generated one.
    /// Nothing if that is given out no more. Whether the caller is given the key has to be said, since
    /// that is written down.
    pub(crate) async fn issued_again(
        &self,
        principal: &Principal,
        version: VersionId,
        is_given: bool,
    ) -> Result<Option<(pki::Certificate, Option<PrivateKey>)>, Error> {
        let scope = principal.scope();
        let version = self.store.version(scope, version).await?;
        let Some(version) = version else {
            return Ok(None);
        };
        let key = match version.private_key_id {
            None => None,
            Some(id) => match self.leaving_key(principal, id).await? {
                None => return Ok(None),
                key => key,
            },
        };
        let Some(chain) = self.store.chain(scope, version.id).await? else {
            return Ok(None);
        };
        let leaf = pki::Certificate::from_der(&chain.leaf).map_err(Error::signing)?;
        if is_given && key.is_some() {
            self.tell_of_key(principal, &version).await?;
        }
        Ok(Some((leaf, key)))
    }

    /// A private key of the caller, if it is there and may leave the house now.
    pub(crate) async fn leaving_key(
        &self,
        principal: &Principal,
        id: PrivateKeyId,
    ) -> Result<Option<PrivateKey>, Error> {
        let stored = self.store.private_key(principal.scope(), id).await?;
        let may_leave = |stored: &StoredKey| match stored.exportable {
            Exportable::Always => true,
            Exportable::Never => false,
            Exportable::Until(end) => self.surroundings.now() < end,
        };
        Ok(stored.filter(may_leave).map(|stored| stored.key))
    }

    /// Erases private keys whose time is over. Returns how many.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn erase_expired_keys(&self) -> Result<u64, Error> {
        let now = self.surroundings.now();
        Ok(self.store.erase_expired_private_keys(now).await?)
    }

    pub(super) async fn version_by_serial(
        &self,
        serial: &SerialReference,
    ) -> Result<Option<Version>, Error> {
        let found = self
            .store
            .version_by_serial_low(Scope::Everything, serial.0.low64())
            .await?;
        Ok(found.filter(|version| serial.names(&version.serial)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_named_in_full_or_by_its_low_64_bits() {
        let full = Serial::from_decimal("170141183460469231731687303715884105727").unwrap();
        let bytes = full.as_be_bytes();
        let named = |digits: &str| SerialReference::from_decimal(digits).unwrap().names(bytes);
        assert!(named("170141183460469231731687303715884105727"));
        assert!(named(&u64::MAX.to_string()));
        assert!(!named(&(u64::MAX - 1).to_string()));
        assert!(!named(&(u128::from(u64::MAX) + (1 << 64)).to_string()));
        let low_with_zeros = [0x12, 0, 0, 0, 0, 0, 0, 0, 7];
        assert!(
            SerialReference::from_decimal("7")
                .unwrap()
                .names(&low_with_zeros)
        );
        assert!(
            !SerialReference::from_decimal("7")
                .unwrap()
                .names(&[0x12, 1, 0, 0, 0, 0, 0, 0, 7])
        );
    }
}
