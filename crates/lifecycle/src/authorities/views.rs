//! Authorities as administrators see them.

use pki::{Certificate, KeyKind};
use time::OffsetDateTime;

use super::renewing::{advice, dues};
use super::{Authorities, Authority, DueKind, Tier};
use crate::{Error, Principal};

/// An authority as an administrator sees it.
#[derive(Debug, Clone)]
pub struct AuthorityView {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// The tiers: what signs leaves, its root, then those that were or will be.
    pub tiers: Vec<TierView>,
    /// The names that it may certify; empty if that is not limited.
    pub permitted: Vec<String>,
    /// The names that it must not certify.
    pub excluded: Vec<String>,
    /// What will have to be done, the most urgent first.
    pub due: Vec<DueView>,
}

/// A tier as an administrator sees it.
#[derive(Debug, Clone)]
pub struct TierView {
    /// `issuing`, `root`, `root and issuing`, `successor`, or `former`.
    pub role: &'static str,
    /// The CA certificate.
    pub certificate: Certificate,
    /// The certificates of others between it and their root, its issuer first.
    pub superiors: Vec<Certificate>,
    /// The kind of its key.
    pub key_kind: KeyKind,
    /// Where its key is: `store`, `device` or `elsewhere`.
    pub key_place: &'static str,
}

/// Something that will have to be done.
#[derive(Debug, Clone)]
pub struct DueView {
    /// What it is.
    pub kind: DueKind,
    /// By when.
    pub by: OffsetDateTime,
    /// Whether it is time to do it.
    pub is_now: bool,
    /// What to do, for people.
    pub advice: String,
}

impl Authorities {
    /// All authorities, by name; one that cannot be read, without tiers.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for all but administrators, [`Error::Store`].
    pub async fn all(&self, principal: &Principal) -> Result<Vec<AuthorityView>, Error> {
        principal.require_administrator()?;
        let mut views = Vec::new();
        for row in self.store.authorities().await? {
            match self.open(&row).await {
                Ok(authority) => views.push(self.view(&authority)),
                Err(error @ Error::Store(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(
                        authority = row.name,
                        error = &error as &dyn std::error::Error,
                        "could not open an authority"
                    );
                    views.push(AuthorityView {
                        name: row.name,
                        created_at: row.created_at,
                        tiers: Vec::new(),
                        permitted: Vec::new(),
                        excluded: Vec::new(),
                        due: Vec::new(),
                    });
                }
            }
        }
        Ok(views)
    }

    /// An authority.
    ///
    /// # Errors
    /// [`Error::Forbidden`] for all but administrators, [`Error::NotFound`].
    pub async fn show(&self, principal: &Principal, name: &str) -> Result<AuthorityView, Error> {
        principal.require_administrator()?;
        self.view_of(name).await
    }

    pub(super) async fn view_of(&self, name: &str) -> Result<AuthorityView, Error> {
        let authority = self.afresh(name).await?;
        Ok(self.view(&authority))
    }

    fn view(&self, authority: &Authority) -> AuthorityView {
        let now = self.surroundings.now();
        let constraints = authority
            .issuing_certificate()
            .understood_name_constraints()
            .unwrap_or_default();
        let texts = |subtrees: &[pki::Subtree]| {
            let texts = subtrees.iter().map(ToString::to_string);
            texts.collect()
        };
        let due = dues(authority).into_iter().map(|one| DueView {
            kind: one.kind,
            by: one.by,
            is_now: one.from <= now,
            advice: advice(one, &authority.name),
        });
        AuthorityView {
            name: authority.name.clone(),
            created_at: authority.row.created_at,
            tiers: authority
                .tiers()
                .map(|tier| tier_view(authority, tier))
                .collect(),
            permitted: texts(&constraints.permitted),
            excluded: texts(&constraints.excluded),
            due: due.collect(),
        }
    }
}

fn tier_view(authority: &Authority, tier: &Tier) -> TierView {
    let is_successor = authority
        .successor()
        .is_some_and(|successor| successor.has_key_of(tier));
    let role = if tier.id == authority.issuing.id {
        if authority.has_two_tiers() {
            "issuing"
        } else {
            "root and issuing"
        }
    } else if tier.id == authority.root.id {
        "root"
    } else if is_successor {
        "successor"
    } else {
        "former"
    };
    TierView {
        role,
        certificate: tier.certificate().clone(),
        superiors: tier.superiors().to_vec(),
        key_kind: tier.key_kind,
        key_place: tier.key_place().as_str(),
    }
}
