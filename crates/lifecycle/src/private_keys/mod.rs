//! Private keys of tenants, as they are known by number and name; the certificates under them are in
//! [`certificates`].
//!
//! A key is known while it is the key of a certificate's current version. One that was made here on
//! its own always is, may be had by its owner at any time, and stays when its certificates go.

mod certificates;
mod subject;

use pki::{KeyAlgorithm, PrivateKey};
use store::{Exportable, LabelledKey, NewEvent, NewPrivateKey, PAGE_LIMIT, PrivateKeyId, Store};

use crate::certificates::{account_gone, generate_key};
use crate::{Certificates, Error, Noun, Principal, Surroundings, events};

/// Longest name of a key or of a certificate under it, in characters.
const MAX_NAME: usize = 255;

/// Where the key of a new private key comes from.
pub enum KeyOrigin<'a> {
    /// It is made here.
    Generate(KeyAlgorithm),
    /// Its owner brings it, in PEM.
    Brought(&'a str),
}

/// Operations on private keys and on the certificates under them.
#[derive(Debug, Clone)]
pub struct PrivateKeys {
    store: Store,
    surroundings: Surroundings,
    certificates: Certificates,
}

impl PrivateKeys {
    pub(crate) fn new(
        store: Store,
        surroundings: Surroundings,
        certificates: Certificates,
    ) -> Self {
        Self {
            store,
            surroundings,
            certificates,
        }
    }

    /// The caller's private keys after the number `after`, in the order of their numbers, at most
    /// [`PAGE_LIMIT`]. From the beginning, those that have no number yet are given one.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn list(&self, principal: &Principal, after: u64) -> Result<Vec<LabelledKey>, Error> {
        let scope = principal.scope();
        if after == 0 {
            self.store.label_private_keys(scope).await?;
        }
        Ok(self.store.labelled_keys(scope, after, PAGE_LIMIT).await?)
    }

    /// The caller's private key of this number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn find(&self, principal: &Principal, number: u64) -> Result<LabelledKey, Error> {
        let found = self.store.labelled_key(principal.scope(), number).await?;
        found.ok_or_else(|| Error::not_found(Noun::PrivateKey, number))
    }

    /// The key itself, if it may leave the house now, for a caller who may do more than look. That it
    /// did is recorded, unless it `is_shown` to nobody.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn export(
        &self,
        principal: &Principal,
        key: &LabelledKey,
        is_shown: bool,
    ) -> Result<Option<PrivateKey>, Error> {
        if principal.require_write().is_err() {
            return Ok(None);
        }
        let taken = self.certificates.leaving_key(principal, key.id).await?;
        if taken.is_some() && is_shown {
            let event = self.event(principal, events::PRIVATE_KEY_TAKEN, key.id, &key.name);
            self.store.add_event(event).await?;
        }
        Ok(taken)
    }

    /// Makes a private key on its own, or takes one in; returns it, and how it is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLong`] for the name or the key, [`Error::NameTaken`],
    /// [`Error::Forbidden`], [`Error::Signing`] when none can be generated.
    pub async fn create(
        &self,
        principal: &Principal,
        name: &str,
        origin: KeyOrigin<'_>,
    ) -> Result<(LabelledKey, PrivateKey), Error> {
        principal.require_write()?;
        check_text("name", name, MAX_NAME)?;
        let key = match origin {
            KeyOrigin::Generate(algorithm) => generate_key(algorithm).await?,
            KeyOrigin::Brought(pem) => PrivateKey::from_pem(pem.as_bytes())
                .map_err(|error| Error::invalid("key", error.to_string()))?,
        };
        let now = self.surroundings.now();
        let key = NewPrivateKey {
            id: PrivateKeyId::from_time_and_random(now, self.surroundings.random()),
            key,
            exportable: Exportable::Always,
        };
        let account = principal.account_id();
        let event = self.event(principal, events::PRIVATE_KEY_CREATED, key.id, name);
        let added = self.store.add_private_key(account, name, &key, event).await;
        let number = added.map_err(|error| match error {
            store::Error::DuplicateName => Error::NameTaken {
                noun: Noun::PrivateKey,
                name: name.to_owned(),
            },
            store::Error::UnknownAccount => account_gone(principal),
            error => error.into(),
        })?;
        let label = LabelledKey {
            number,
            id: key.id,
            name: name.to_owned(),
        };
        Ok((label, key.key))
    }

    /// Deletes a private key with all certificates under it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unfit`] while a domain is served with one of them or one is
    /// installed on a service, and nothing is deleted then; [`Error::Forbidden`].
    pub async fn delete(&self, principal: &Principal, number: u64) -> Result<(), Error> {
        principal.require_write()?;
        let key = self.find(principal, number).await?;
        let of_key = self.event(principal, events::PRIVATE_KEY_DELETED, key.id, &key.name);
        // The store completes it for each certificate.
        let of_certificate = NewEvent {
            kind: events::CERTIFICATE_DELETED,
            ..of_key.clone()
        };
        let scope = principal.scope();
        let deleted = self
            .store
            .delete_private_key(scope, key.id, of_key, of_certificate);
        match deleted.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::not_found(Noun::PrivateKey, number)),
            Err(store::Error::Attached) => Err(Error::Unfit {
                reason: format!(
                    "a certificate of private key '{}' is in use; detach it first",
                    key.name
                ),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// The record that the caller did `kind` to a key now.
    fn event(
        &self,
        principal: &Principal,
        kind: &'static str,
        key: PrivateKeyId,
        name: &str,
    ) -> NewEvent {
        events::of(
            &self.surroundings,
            principal.account_name(),
            Some(principal.account_id()),
            kind,
            Some(key.as_uuid()),
            name,
        )
    }
}

/// Refuses what is empty, too long, or has control characters in it.
fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::invalid(field, format!("{field} is missing")));
    }
    check_optional_text(field, text, limit)
}

/// The same for what may be left out.
fn check_optional_text(field: &'static str, text: &str, limit: usize) -> Result<(), Error> {
    if text.chars().count() > limit {
        return Err(Error::TooLong { field, limit });
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(
            field,
            format!("{field} has a control character in it"),
        ));
    }
    Ok(())
}
