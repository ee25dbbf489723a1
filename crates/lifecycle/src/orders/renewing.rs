//! Renewals from directories: when the directory would like them (RFC 9773), what they replace, and
//! what becomes of versions that the directory has called back.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::Certificate as Leaf;
use store::{DirectoryId, DirectoryOrder, Scope, Version};
use time::OffsetDateTime;

use super::{Attempt, Pause};
use crate::Error;
use crate::schedule::{Urgency, Window, look_after_failure, next_look, reconsider, renew_at};

/// What an order is to renew.
#[derive(Debug, Clone)]
pub(super) struct Renewal {
    pub(super) urgency: Urgency,
    /// Since when it is due.
    pub(super) since: Option<OffsetDateTime>,
    /// The directory that issued what is replaced, and what it is called there.
    replaces: Option<(DirectoryId, String)>,
    /// Whether the directory wants it before its time: what is replaced is about to be revoked.
    pub(super) is_recall: bool,
}

/// When a directory would like a version to be renewed.
enum Wish {
    /// In this window; it is to be asked again after some time.
    Window(Window, Option<std::time::Duration>),
    /// It may say so later.
    Unknown,
    /// It never says.
    None,
}

impl Renewal {
    /// No renewal, but a first version.
    pub(super) const FIRST: Self = Self {
        urgency: Urgency::First,
        since: None,
        replaces: None,
        is_recall: false,
    };

    /// What an order at a directory says that it replaces.
    pub(super) fn replaces_at(&self, directory: DirectoryId) -> Option<String> {
        let (issuer, name) = self.replaces.as_ref()?;
        (*issuer == directory).then(|| name.clone())
    }

    /// The same for a directory that does not want to hear what is replaced.
    pub(super) fn without_replacing(self) -> Self {
        Self {
            replaces: None,
            ..self
        }
    }
}

impl Attempt<'_> {
    /// Whether a version is renewed now. If not, its directory is asked whether that should be
    /// earlier than planned.
    pub(super) async fn consider_renewal(&mut self) -> Result<Renewal, Pause> {
        let now = self.orders.now();
        let Some(version) = self.certificate.current.clone() else {
            return Ok(Renewal::FIRST);
        };
        let planned = self.certificate.renew_at.unwrap_or(now);
        let natural = renew_at(version.created_at, version.not_after, 0);
        let named = self.named_at_issuer(&version).await?;
        let Some((directory, name)) = named else {
            return if planned <= now {
                Ok(self.renewal(&version, planned, None, None))
            } else {
                Err(Pause::Until(planned))
            };
        };
        // When it is due in its own time, nothing that the directory could say matters.
        if planned <= now && natural <= now {
            return Ok(self.renewal(&version, planned, Some((directory, name)), None));
        }
        let draw = self.orders.draw();
        let (renew_at, retry_after, window) = match self.wish(directory, &name).await? {
            Wish::Window(window, retry_after) => {
                let renew_at = reconsider(planned, window, now, draw);
                (renew_at, retry_after, Some(window))
            }
            Wish::Unknown if planned > now => {
                let next = look_after_failure(planned, now, draw);
                return Err(Pause::Scheduled {
                    renew_at: planned,
                    next,
                });
            }
            // It never says.
            Wish::None if planned > now => return Err(Pause::Until(planned)),
            Wish::Unknown | Wish::None => (planned, None, None),
        };
        // Whoever asked for it now gets it now, whatever the directory would like.
        let renew_at = if planned <= now { planned } else { renew_at };
        if renew_at <= now {
            let replaces = Some((directory, name));
            let recall = window.filter(|window| {
                let (from, not_after) = (version.created_at, version.not_after);
                window.is_recall(from, not_after)
            });
            return Ok(self.renewal(&version, renew_at, replaces, recall));
        }
        let next = next_look(renew_at, retry_after, now, draw);
        Err(Pause::Scheduled { renew_at, next })
    }

    /// What the order is to renew: what was considered, or what was written down with an order that
    /// another attempt has placed.
    pub(super) fn renewal_sought(&self) -> Renewal {
        match (&self.renewal, &self.certificate.current) {
            (Some(renewal), _) => renewal.clone(),
            (None, Some(version)) => {
                let since = self.certificate.renew_at;
                self.renewal(
                    version,
                    since.unwrap_or_else(|| self.orders.now()),
                    None,
                    None,
                )
            }
            (None, None) => Renewal::FIRST,
        }
    }

    /// The same for an order that was placed before.
    pub(super) fn resumed(&self, order: &DirectoryOrder) -> Renewal {
        Renewal {
            replaces: order
                .replaces
                .clone()
                .map(|name| (order.directory_id, name)),
            is_recall: order.supersedes,
            ..self.renewal_sought()
        }
    }

    fn renewal(
        &self,
        version: &Version,
        since: OffsetDateTime,
        replaces: Option<(DirectoryId, String)>,
        recall: Option<Window>,
    ) -> Renewal {
        let (not_before, not_after) = (version.not_before, version.not_after);
        let now = self.orders.now();
        Renewal {
            urgency: Urgency::of_renewal(not_before, not_after, recall, now),
            since: Some(since),
            replaces,
            is_recall: recall.is_some(),
        }
    }

    /// Which directory issued a version, if it tells when to renew, and what the version is called
    /// there (RFC 9773 section 4.1).
    async fn named_at_issuer(
        &mut self,
        version: &Version,
    ) -> Result<Option<(DirectoryId, String)>, Pause> {
        let Some(id) = version.directory_id else {
            return Ok(None);
        };
        if self.orders.issuers.directory(id).await?.is_none() {
            return Ok(None);
        }
        let scope = Scope::Account(self.certificate.account_id);
        let Some(chain) = self.orders.store.chain(scope, version.id).await? else {
            return Ok(None);
        };
        let leaf = Leaf::from_der(&chain.leaf).map_err(Error::signing)?;
        Ok(certificate_id(&leaf).map(|name| (id, name)))
    }

    /// When the directory would like a version to be renewed.
    async fn wish(&mut self, directory: DirectoryId, name: &str) -> Result<Wish, Pause> {
        let Some(directory) = self.orders.issuers.directory(directory).await? else {
            return Ok(Wish::None);
        };
        let (id, now) = (directory.row.id, self.orders.now());
        let health = self.orders.issuers.health();
        if health.closed_until(id, now).await?.is_some() {
            return Ok(Wish::Unknown);
        }
        let endpoint = directory.endpoint();
        let client = self.orders.client();
        match self.ask(client.directory(&endpoint)).await? {
            Ok(info) if !info.has_renewal_info => return Ok(Wish::None),
            Ok(_) => {}
            Err(_) => return Ok(Wish::Unknown),
        }
        let common_name = &self.certificate.common_name;
        match self.ask(client.renewal_info(&endpoint, name)).await? {
            Ok(info) if info.start <= info.end => {
                if let Some(explanation) = &info.explanation {
                    tracing::info!(common_name, explanation, "the directory says when to renew");
                }
                let window = Window {
                    start: info.start,
                    end: info.end,
                };
                Ok(Wish::Window(window, info.retry_after))
            }
            Ok(_) => Ok(Wish::Unknown),
            Err(failure) => {
                tracing::debug!(
                    common_name,
                    error = &failure as &dyn std::error::Error,
                    "the directory does not say when to renew"
                );
                Ok(Wish::Unknown)
            }
        }
    }
}

/// What a certificate is called in renewal information (RFC 9773 section 4.1): the key identifier of
/// its issuer and the contents of its DER serial number.
fn certificate_id(leaf: &Leaf) -> Option<String> {
    let issuer = leaf.authority_key_identifier()?;
    let mut serial = leaf.serial().as_be_bytes().to_vec();
    if serial.first().is_some_and(|first| first & 0x80 != 0) {
        serial.insert(0, 0);
    }
    let (issuer, serial) = (
        URL_SAFE_NO_PAD.encode(issuer),
        URL_SAFE_NO_PAD.encode(serial),
    );
    Some(format!("{issuer}.{serial}"))
}
