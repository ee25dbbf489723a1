//! Every kind of provider behind one door.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use egress::{Fetch, Resolver};
use hickory_net::runtime::{Time as _, TokioTime};

use crate::change::Change;
use crate::{Account, ProviderError, Records, TextRecord, acme_dns, check, exec, httpreq, rfc2136};

/// Locks that are kept before those that nobody holds are dropped.
const MOST_LOCKS: usize = 1024;

/// Changes zones at providers of all kinds.
///
/// Changes of records with the same name follow one another: some providers only know sets of
/// records, which are read, changed and written.
pub struct Providers {
    fetch: Arc<dyn Fetch>,
    resolver: Arc<dyn Resolver>,
    clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    names: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Providers {
    /// Reaches providers by `fetch`, and DNS servers at the addresses that `resolver` gives. The
    /// time is the system's.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            fetch,
            resolver,
            clock: Arc::new(TokioTime::current_time),
            names: Mutex::default(),
        }
    }

    /// With another clock, in seconds since 1970, that signatures are dated by.
    #[must_use]
    pub fn with_clock(self, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self {
            clock: Arc::new(clock),
            ..self
        }
    }

    async fn change(
        &self,
        account: &Account,
        record: &TextRecord,
        change: Change,
    ) -> Result<(), ProviderError> {
        if crate::kinds::find(&account.kind).is_none() {
            return Err(ProviderError::Unsupported {
                kind: account.kind.clone(),
            });
        }
        check(&account.kind, &account.credentials).map_err(|error| ProviderError::Credentials {
            reason: error.to_string(),
        })?;
        let lock = self.lock(&record.name);
        let _turn = lock.lock().await;
        let fetch = self.fetch.as_ref();
        match account.kind.as_str() {
            // Nothing can be taken away there.
            "acme-dns" if change == Change::Withdraw => Ok(()),
            "acme-dns" => acme_dns::publish(fetch, account, record).await,
            "exec" => exec::change(account, record, change).await,
            "httpreq" => httpreq::change(fetch, account, record, change).await,
            "rfc2136" => {
                is_inside(record)?;
                let now = (self.clock)();
                rfc2136::change(self.resolver.as_ref(), account, record, change, now).await
            }
            #[cfg(feature = "hosted")]
            _ => {
                is_inside(record)?;
                crate::hosted::change(fetch, account, record, change).await
            }
            #[cfg(not(feature = "hosted"))]
            kind => Err(ProviderError::Unsupported {
                kind: kind.to_owned(),
            }),
        }
    }

    fn lock(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = names.get(name).and_then(Weak::upgrade) {
            return lock;
        }
        if names.len() >= MOST_LOCKS {
            names.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        names.insert(name.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Providers").finish_non_exhaustive()
    }
}

#[async_trait]
impl Records for Providers {
    async fn publish(&self, account: &Account, record: &TextRecord) -> Result<(), ProviderError> {
        self.change(account, record, Change::Publish).await
    }

    async fn withdraw(&self, account: &Account, record: &TextRecord) -> Result<(), ProviderError> {
        self.change(account, record, Change::Withdraw).await
    }
}

/// Whether a record is in its zone; servers would be asked to change another one.
fn is_inside(record: &TextRecord) -> Result<(), ProviderError> {
    let name = record.name.to_ascii_lowercase();
    let rest = name.strip_suffix(&record.zone.to_ascii_lowercase());
    if rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')) {
        return Ok(());
    }
    Err(ProviderError::NoZone {
        name: record.name.clone(),
    })
}
