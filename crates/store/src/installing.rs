//! Installing certificates on services: the certificate, what is said of it, and the domains that
//! are served with it, all at once or nothing.
//!
//! Who installs has looked at what is there and decided by it. The revision of the service tells
//! whether that has become different: each installation that is written raises it.

use crate::attachments::{self, Attachment};
use crate::backend::{Transaction, in_transaction};
use crate::dns_accounts::NewZone;
use crate::domains::{self, NewDomain, Place};
use crate::error::Error;
use crate::events::{self, EventRow, NewEvent};
use crate::ids::{CertificateId, DnsProviderId, ServiceId};
use crate::installations::{self, Installation};
use crate::inventory::{NewRecord, PreparedState};
use crate::new_versions::{NewVersionRecord, PreparedVersion};
use crate::recorder::{self, RecordRows};
use crate::references::LOOKUP_PORTION;
use crate::renewals;
use crate::requests::{PreparedRequest, Renewed};
use crate::scope::Scope;
use crate::sql::Statement;
use crate::store::Store;

/// What becomes of the certificate that is installed.
#[derive(Debug, Clone)]
pub enum Material {
    /// It is added.
    Added(Box<NewRecord>),
    /// It is obtained for other names, or though it came to be in another way before; see
    /// [`Store::request_anew`].
    Anew(Renewed, NewEvent),
    /// Its next version is due now; see [`Store::renew_now`].
    Due(NewEvent),
    /// Nothing.
    Kept,
    /// It goes to another state; see [`Store::set_certificate_state`].
    State(crate::State, NewEvent),
    /// It gets another version; see [`Store::add_version`].
    Version(Box<NewVersionRecord>),
}

/// A certificate on a service, with everything that becomes true at the same moment.
#[derive(Debug, Clone)]
pub struct Installing {
    /// What is said of it, whether something was said before or not.
    pub installation: Installation,
    /// The revision of the service that all this was made up for, see
    /// [`Store::installations_revision`].
    pub revision: i64,
    /// What becomes of the certificate.
    pub material: Material,
    /// The domains of the service to take away, by name.
    pub remove_domains: Vec<String>,
    /// The domains to add to it.
    pub add_domains: Vec<NewDomain>,
    /// What other domains of it are served with from now on.
    pub attachments: Vec<Attachment>,
    /// What the audit log will say of the domains that come and go.
    pub events: Vec<NewEvent>,
    /// What it will say of each domain that is served with another certificate, see
    /// [`Store::attach`].
    pub switched: Option<NewEvent>,
    /// The zones that a DNS account is to write the records in.
    pub zones: Vec<NewZone>,
}

impl Installing {
    /// What is said of a certificate that is there, and nothing else.
    #[must_use]
    pub const fn of(installation: Installation, revision: i64) -> Self {
        Self {
            installation,
            revision,
            material: Material::Kept,
            remove_domains: Vec::new(),
            add_domains: Vec::new(),
            attachments: Vec::new(),
            events: Vec::new(),
            switched: None,
            zones: Vec::new(),
        }
    }
}

impl Store {
    /// The revision of what is installed on a service; `None` without such a service. To be asked
    /// for before anything is looked at that a decision rests on.
    pub async fn installations_revision(
        &self,
        scope: Scope,
        service: ServiceId,
    ) -> Result<Option<i64>, Error> {
        let statement = Statement::new("select revision from services where id = ?");
        let statement = scope.restrict(statement.bind(service), "account_id");
        let row = self.backend().row(statement).await?;
        row.map(|mut row| row.take()).transpose()
    }

    /// Installs a certificate on a service of the same account.
    ///
    /// # Errors
    ///
    /// [`Error::Stale`] when something is not as it was, or the DNS provider is gone;
    /// [`Error::NotFound`] when the service is gone, or the certificate is and should have been
    /// changed; [`Error::UnknownCertificate`] when another one is; [`Error::DomainTaken`];
    /// [`Error::Full`] beyond [`installations::INSTALLATIONS_LIMIT`] installations,
    /// [`installations::INSTALLATIONS_BYTES_LIMIT`] of their names, [`domains::DOMAINS_LIMIT`]
    /// domains, or too many DNS providers; [`Error::DuplicateName`] for a certificate to be added;
    /// [`Error::TooLong`].
    pub async fn install(&self, installing: Installing) -> Result<(), Error> {
        let Installing {
            installation,
            revision,
            material,
            mut remove_domains,
            add_domains,
            attachments,
            events,
            switched,
            zones,
        } = installing;
        domains::check(&add_domains)?;
        remove_domains.sort_unstable();
        remove_domains.dedup();
        let (account, service) = (installation.account_id, installation.service_id);
        let put = installations::put(&installation)?;
        let scope = Scope::Account(account);
        let provider = installation.dns_provider_id;
        let provider = provider.filter(|_| material.is_obtained());
        let material = self.prepare_material(scope, installation.certificate_id, material)?;
        let zones = self.prepare_zones(scope, zones).await?;
        let lock = Statement::new(
            "update services set revision = revision + 1 \
             where id = ? and account_id = ? and revision = ?",
        )
        .bind(service)
        .bind(account)
        .bind(revision);
        let exists = Statement::new("select 1 from services where id = ? and account_id = ?")
            .bind(service)
            .bind(account);
        let certificates = served_with(installation.certificate_id, &attachments);
        let events = events::into_rows(events);
        in_transaction!(self.backend(), |transaction| {
            if transaction.execute(lock.clone()).await? == 0 {
                let exists = transaction.row(exists.clone()).await?;
                return Err(exists.map_or(Error::NotFound, |_| Error::Stale));
            }
            installations::require_room(transaction, &installation).await?;
            if let Prepared::Added(rows) = &material {
                recorder::insert_records(transaction, std::slice::from_ref(&**rows)).await?;
            }
            for names in remove_domains.chunks(LOOKUP_PORTION) {
                let removal = domains::removal(service, names);
                if transaction.execute(removal).await? < names.len() as u64 {
                    return Err(Error::Stale);
                }
            }
            if !add_domains.is_empty() {
                domains::require_room(transaction, service, add_domains.len()).await?;
                let place = Place {
                    service,
                    account,
                    position: domains::next_position(transaction, service).await?,
                    created_at: installation.updated_at,
                };
                domains::add(transaction, &place, &add_domains).await?;
            }
            let mut told: Vec<EventRow> = material.event().into_iter().collect();
            told.extend(events.iter().cloned());
            if let Some(event) = &switched {
                told.extend(attachments::switch_all(transaction, &attachments, event).await?);
                if !attachments::are_so(transaction, &attachments).await? {
                    return Err(Error::Stale);
                }
            }
            material.apply(transaction).await?;
            let put = transaction.execute(put.clone()).await;
            put.map_err(|error| error.or_missing(Error::UnknownCertificate))?;
            attachments::keep_keys(transaction, &certificates).await?;
            if let Some(provider) = provider {
                hold_provider(transaction, provider).await?;
            }
            for zone in &zones {
                told.extend(zone.provide(transaction).await?);
            }
            events::insert(transaction, told).await
        })
    }

    fn prepare_material(
        &self,
        scope: Scope,
        certificate: CertificateId,
        material: Material,
    ) -> Result<Prepared, Error> {
        Ok(match material {
            Material::Added(record) => Prepared::Added(Box::new(self.prepare(*record)?)),
            Material::Anew(renewed, event) => {
                Prepared::Anew(PreparedRequest::new(scope, certificate, renewed, event)?)
            }
            Material::Due(event) => {
                let update = renewals::hastening(scope, certificate, event.at);
                Prepared::Due(update, event.into_row())
            }
            Material::Kept => Prepared::Kept,
            Material::State(state, event) => {
                Prepared::State(PreparedState::new(scope, certificate, state, None, event))
            }
            Material::Version(record) => Prepared::Version(Box::new(self.prepare_version(
                scope,
                certificate,
                *record,
            )?)),
        })
    }
}

impl Material {
    /// Whether the certificate is obtained, and its names have to be proven.
    const fn is_obtained(&self) -> bool {
        match self {
            Self::Added(record) => record.version.is_none(),
            Self::Anew(..) | Self::Due(_) | Self::State(..) => true,
            Self::Kept | Self::Version(_) => false,
        }
    }
}

/// A [`Material`] that is ready to be written.
enum Prepared {
    Added(Box<RecordRows>),
    Anew(PreparedRequest),
    Due(Statement, EventRow),
    Kept,
    State(PreparedState),
    Version(Box<PreparedVersion>),
}

impl Prepared {
    fn event(&self) -> Option<EventRow> {
        match self {
            Self::Added(rows) => Some(rows.event.clone()),
            Self::Anew(request) => Some(request.event.clone()),
            Self::Due(_, event) => Some(event.clone()),
            Self::Kept => None,
            Self::State(state) => Some(state.event.clone()),
            Self::Version(version) => Some(version.event.clone()),
        }
    }

    /// Writes what becomes of a certificate that was there before.
    async fn apply(&self, transaction: &mut Transaction) -> Result<(), Error> {
        match self {
            Self::Added(_) | Self::Kept => Ok(()),
            Self::Anew(request) => request.apply(transaction).await,
            Self::Due(update, _) => match transaction.execute(update.clone()).await? {
                0 => Err(Error::NotFound),
                _ => Ok(()),
            },
            Self::State(state) => state.apply(transaction).await,
            Self::Version(version) => version.apply(transaction).await,
        }
    }
}

fn served_with(installed: CertificateId, attachments: &[Attachment]) -> Vec<CertificateId> {
    let attached = attachments.iter().flat_map(|attachment| {
        let alternate = attachment.alternate_id;
        attachment.certificate_id.into_iter().chain(alternate)
    });
    let mut certificates: Vec<CertificateId> = attached.chain([installed]).collect();
    certificates.sort_unstable();
    certificates.dedup();
    certificates
}

/// Keeps others from removing a DNS provider, or DNS account, before the transaction ends: they look
/// whether an installation names it.
async fn hold_provider(transaction: &mut Transaction, id: DnsProviderId) -> Result<(), Error> {
    for table in ["dns_accounts", "dns_providers"] {
        let hold = Statement::new(format!("select 1 from {table} where id = ?")).bind(id);
        if transaction
            .row(hold.text(transaction.row_lock()))
            .await?
            .is_some()
        {
            return Ok(());
        }
    }
    Err(Error::Stale)
}
