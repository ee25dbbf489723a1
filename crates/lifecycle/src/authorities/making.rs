//! Making authorities.

use store::{AuthorityId, NewAuthority};

use super::Authorities;
use crate::accounts::HOUSE_ACCOUNT;
use crate::ceremony::new_tiers;
use crate::{Error, Noun, events};

impl Authorities {
    /// Makes the authority `name` after its template.
    pub(super) async fn make(&self, name: &str) -> Result<store::Authority, Error> {
        let template = self
            .settings
            .authorities
            .get(name)
            .cloned()
            .ok_or_else(|| Error::not_found(Noun::Authority, name))?;
        let now = self.surroundings.now();
        let serials = [self.serial(), self.serial()];
        let public_url = self.settings.public_url.clone();
        // RSA keys take up to a second of CPU each.
        let surroundings = self.surroundings.clone();
        let made = tokio::task::spawn_blocking(move || {
            new_tiers(&template, &public_url, &surroundings, &serials)
        });
        let ca_certificates = made.await.map_err(Error::signing)??;
        let id = AuthorityId::from_random(self.surroundings.random());
        let event = events::of(
            &self.surroundings,
            HOUSE_ACCOUNT,
            None,
            events::AUTHORITY_CREATED,
            Some(id.as_uuid()),
            name,
        );
        let record = NewAuthority {
            id,
            name: name.to_owned(),
            created_at: now,
            ca_certificates,
            event,
        };
        match self.store.create_authority(record).await {
            Ok(()) => tracing::info!(authority = name, "made an authority"),
            // Another node was faster; its authority is the one.
            Err(store::Error::DuplicateName) => {}
            Err(error) => return Err(error.into()),
        }
        let row = self.store.authority(name).await?;
        row.ok_or_else(|| Error::not_found(Noun::Authority, name))
    }
}
