//! Certificates that are requested because a domain needs one: at most one at a time for a name, whoever
//! asks, and however often.

use pki::{DnsName, Identifier};
use store::{AccountId, Certificate, CertificateId, CertificateRef, Origin, Scope, State};
use tokio::task::JoinSet;

use super::requesting::Requester;
use super::{Certificates, naming};
use crate::accounts::HOUSE_ACCOUNT;
use crate::settings::DEFAULT_AUTHORITY;
use crate::{Error, Noun, events};

/// Names that are tried in turn for a request on behalf of a domain.
const PLACES: u32 = 16;

impl Certificates {
    /// For each name a managed certificate that is being obtained or valid, requested unless there
    /// is one already. Repeating a call, or making it on two nodes at a time, requests nothing
    /// twice: the names of these certificates follow from what they are for.
    ///
    /// # Errors
    /// [`Error::NoCertificate`] for a wildcard that nothing can obtain, [`Error::Policy`] for a name that
    /// the account may not have, [`Error::Unsupported`] for one that it would have to prove control over.
    /// Nothing is requested then.
    pub(crate) async fn request_for_domains(
        &self,
        account_id: AccountId,
        actor: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        let issuer = self.issuers.default_of(account_id).await?;
        let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
        self.check_obtainable(account_id, &issuer, &identifiers)
            .await?;
        self.request_each(account_id, actor, &issuer, names).await
    }

    /// The second half of [`Self::request_for_domains`].
    async fn request_each(
        &self,
        account_id: AccountId,
        actor: &str,
        issuer: &str,
        names: &[DnsName],
    ) -> Result<Vec<CertificateId>, Error> {
        // At the same time, because those that wait together are written together.
        let mut requests = JoinSet::new();
        for (place, name) in names.iter().cloned().enumerate() {
            let (certificates, actor) = (self.clone(), actor.to_owned());
            let issuer = issuer.to_owned();
            requests.spawn(async move {
                let requester = Requester {
                    account_id,
                    actor: &actor,
                    issuer: &issuer,
                };
                let id = certificates.request_once(requester, &name).await?;
                Ok::<_, Error>((place, id))
            });
        }
        let mut requested = Vec::with_capacity(names.len());
        while let Some(request) = requests.join_next().await {
            requested.push(request.map_err(Error::signing)??);
        }
        requested.sort_unstable_by_key(|(place, _)| *place);
        Ok(requested.into_iter().map(|(_, id)| id).collect())
    }

    /// Requests the house's own wildcard certificate for the subdomains of the metro domain, unless
    /// it is there. One that was given up is begun anew, with the pauses of any other, and one whose
    /// issuer is not the default any more is renewed by that.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(crate) async fn look_after_metro(&self) -> Result<(), Error> {
        let account = self.store.account_by_name(HOUSE_ACCOUNT).await?;
        let account = account.ok_or_else(|| Error::not_found(Noun::Account, HOUSE_ACCOUNT))?;
        let wildcard = DnsName::parse(&format!("*.{}", self.settings.metro_domain))
            .map_err(|error| Error::invalid("metro_domain", error.to_string()))?;
        let issuer = self.issuers.default_of(account.id).await?;
        let names = [Identifier::Dns(wildcard.clone())];
        let (issuer, is_default) = match self.check_wildcards(account.id, &issuer, &names).await {
            Ok(()) => (issuer, true),
            Err(Error::NoCertificate { .. }) => (DEFAULT_AUTHORITY.to_owned(), false),
            Err(error) => return Err(error),
        };
        let Some(found) = self.requested_before(account.id, &wildcard).await? else {
            return self
                .request_each(account.id, HOUSE_ACCOUNT, &issuer, &[wildcard])
                .await
                .map(drop);
        };
        // That the zone cannot be proven now is no reason to leave the issuer that there is.
        if is_default && found.issuer.as_ref() != Some(&issuer) {
            let kind = events::ISSUER_CHOSEN;
            let event = self.event(&found, HOUSE_ACCOUNT, kind, &issuer);
            let scope = Scope::Account(account.id);
            self.store
                .name_issuer(scope, found.id, &issuer, event)
                .await?;
        }
        if matches!(found.state, State::Error { .. }) {
            self.restarted(found, HOUSE_ACCOUNT).await?;
        }
        Ok(())
    }

    /// What was requested for a name before on behalf of a domain: what is coming or in force, else
    /// the first that was given up.
    pub(crate) async fn requested_before(
        &self,
        account_id: AccountId,
        common_name: &DnsName,
    ) -> Result<Option<Certificate>, Error> {
        let scope = Scope::Account(account_id);
        let mut given_up = None;
        for place in 0..PLACES {
            let name = naming::name_in_row(common_name.as_str(), account_id, place);
            let reference = CertificateRef::Name(name);
            let Some(found) = self.store.certificate(scope, &reference).await? else {
                break;
            };
            if found.common_name != common_name.as_str() || found.origin != Origin::Issued {
                continue;
            }
            if self.is_coming_or_in_force(&found) {
                return Ok(Some(found));
            }
            if matches!(found.state, State::Error { .. }) {
                given_up = given_up.or(Some(found));
            }
        }
        Ok(given_up)
    }

    async fn request_once(
        &self,
        requester: Requester<'_>,
        common_name: &DnsName,
    ) -> Result<CertificateId, Error> {
        let Requester { account_id, .. } = requester;
        let identifiers = [Identifier::Dns(common_name.clone())];
        for place in 0..PLACES {
            let name = naming::name_in_row(common_name.as_str(), account_id, place);
            match self.add_request(requester, &identifiers, &name).await {
                Ok(certificate) => return Ok(certificate.id),
                Err(store::Error::DuplicateName) => {}
                Err(error) => return Err(error.into()),
            }
            let reference = CertificateRef::Name(name);
            let scope = Scope::Account(account_id);
            // One that is gone by now was taken away on purpose; the next place is as good.
            if let Some(found) = self.store.certificate(scope, &reference).await?
                && found.common_name == common_name.as_str()
                && self.is_coming_or_in_force(&found)
            {
                return Ok(found.id);
            }
        }
        let name = naming::name_after(common_name.as_str(), &self.surroundings);
        let requested = self.add_request(requester, &identifiers, &name).await?;
        Ok(requested.id)
    }

    fn is_coming_or_in_force(&self, certificate: &Certificate) -> bool {
        matches!(certificate.state, State::Pending { .. }) || self.is_in_force(certificate)
    }
}
