//! What people get to see of issuers: never a key.

use std::time::Duration;

use acme::client::DirectoryInfo;
use store::{AccountId, Scope};
use time::OffsetDateTime;

use super::{Directory, Issuers};
use crate::Error;
use crate::schedule::{Demand, Limits, ORDERS, Purpose, Urgency, left};
use crate::standing::DirectoryBudget;

/// An issuer as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerView {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: IssuerKind,
    /// Whether everybody can use it.
    pub is_shared: bool,
    /// Whether it obtains the caller's certificates when none is named.
    pub is_default: bool,
}

/// What an issuer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerKind {
    /// A private authority of this server.
    Authority,
    /// An ACME directory.
    Directory(Box<DirectoryView>),
}

/// An ACME directory as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryView {
    /// URL of the directory object.
    pub url: String,
    /// E-mail address that the directory may write to.
    pub contact: Option<String>,
    /// URL of the account.
    pub account_url: Option<String>,
    /// The external account that it is bound to.
    pub external_account_id: Option<String>,
    /// The profile of all orders.
    pub profile: Option<String>,
    /// Common name of an issuer in the preferred chain.
    pub preferred_chain: Option<String>,
    /// The place in the order of preference; 0 if it steps in for no other one.
    pub rank: u32,
    /// Whether it has trust anchors of its own.
    pub has_roots: bool,
    /// How it has done lately.
    pub health: HealthView,
    /// When it was added.
    pub created_at: OffsetDateTime,
}

/// How a directory has done lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthView {
    /// From 0 to 1,000, where 1,000 is a directory that never failed; as this node has seen it.
    pub score: u32,
    /// Until when nothing is asked of it.
    pub down_until: Option<OffsetDateTime>,
}

/// An issuer with all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerDetails {
    /// The issuer.
    pub issuer: IssuerView,
    /// What is left of the limits that are not about single names. None for an authority.
    pub budgets: Vec<Budget>,
    /// What the directory says of itself, or why it says nothing. None for an authority.
    pub directory: Option<Result<DirectoryInfo, String>>,
}

/// What is left of one of a directory's limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// What is limited: `orders`, or `orders of your account`, which is the caller's.
    pub bucket: String,
    /// How much can be used now.
    pub left: u32,
    /// How much can be used at once when nothing was used for a while.
    pub burst: u32,
    /// In what time all of it comes back.
    pub period: Duration,
}

impl Issuers {
    pub(super) async fn view(
        &self,
        directory: &Directory,
        is_default: bool,
    ) -> Result<IssuerView, Error> {
        let now = self.surroundings.now();
        let row = directory.row.clone();
        let health = HealthView {
            score: self.health.seen(row.id).score(now),
            down_until: self.health.closed_until(row.id, now).await?,
        };
        Ok(IssuerView {
            name: row.name,
            is_shared: row.account_id.is_none(),
            is_default,
            kind: IssuerKind::Directory(Box::new(DirectoryView {
                url: row.url,
                contact: row.contact,
                account_url: row.account_url,
                external_account_id: row.external_account_id,
                profile: row.profile,
                preferred_chain: row.preferred_chain,
                rank: row.rank,
                has_roots: row.roots.is_some(),
                health,
                created_at: row.created_at,
            })),
        })
    }

    /// What is left of the orders of each directory that everybody uses and that limits them.
    pub(crate) async fn shared_budgets(&self) -> Result<Vec<DirectoryBudget>, Error> {
        let rows = self.store.directories(Scope::Everything).await?;
        let shared = rows.into_iter().map(Directory::of);
        let mut budgets = Vec::new();
        for directory in shared.filter(Directory::is_shared) {
            let Some(limit) = directory.limits.orders else {
                continue;
            };
            let buckets = [ORDERS.to_owned()];
            let levels = self.store.levels(directory.row.id, &buckets).await?;
            let level = levels.first().copied().flatten();
            budgets.push(DirectoryBudget {
                directory: directory.row.name,
                left: left(limit, level, self.surroundings.now()),
                burst: limit.burst(),
            });
        }
        Ok(budgets)
    }

    /// What is left of the limits of a directory that an account can see.
    pub(super) async fn budgets(
        &self,
        directory: &Directory,
        account: AccountId,
    ) -> Result<Vec<Budget>, Error> {
        let now = self.surroundings.now();
        let account = account.to_string();
        let limits = Limits {
            // Those are of single sets of names.
            duplicates: None,
            ..directory.limits.clone()
        };
        let demand = Demand::new(
            &limits,
            Purpose {
                identifiers: &[],
                account: directory.is_shared().then_some(account.as_str()),
                urgency: Urgency::First,
                is_replacement: false,
                since: now,
            },
        );
        let limits = demand.limits();
        let buckets: Vec<String> = limits
            .iter()
            .map(|(bucket, _)| (*bucket).to_owned())
            .collect();
        let levels = self.store.levels(directory.row.id, &buckets).await?;
        let budgets = limits.into_iter().zip(levels);
        Ok(budgets
            .map(|((bucket, limit), level)| Budget {
                bucket: bucket.replace(&account, "your account"),
                left: left(limit, level, now),
                burst: limit.burst(),
                period: limit.period(),
            })
            .collect())
    }
}
