//! Labels of certificates: the numbers that they are known by and, of those that were added under a
//! private key, the name under that key and the parts of the subject.
//!
//! Any other certificate gets its number when somebody asks for it, see
//! [`crate::private_key_labels`].

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::certificates::{self, Certificate};
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AccountId, CertificateId, PrivateKeyId};
use crate::installations;
use crate::inventory::{self, NewRecord, within};
use crate::names::CERTIFICATE_NAMES;
use crate::numbers::{self, Numbered};
use crate::recorder::{CERTIFICATES, VERSIONS, insert_rows, largest_portion};
use crate::references::LOOKUP_PORTION;
use crate::scope::{PAGE_LIMIT, Scope, page_limit};
use crate::sql::{Row, Statement, Value, row_marks};
use crate::store::Store;
use crate::versions;

/// How many certificates can be added under one private key.
pub const CERTIFICATES_PER_KEY_LIMIT: usize = PAGE_LIMIT;

/// The longest text of a label, in bytes: 255 characters of any script.
pub const LABEL_TEXT_LIMIT: usize = 1024;

/// What a certificate that was added under a private key is called, and the parts of its subject. A
/// part that was not given is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateLabel {
    /// Its name, unique under the key.
    pub name: String,
    /// The common name, as it was given.
    pub common_name: String,
    /// The organization.
    pub organization_name: String,
    /// The organizational unit.
    pub organization_unit: String,
    /// The town.
    pub locality: String,
    /// The state or province.
    pub state_province: String,
    /// The country, two letters.
    pub country_code: String,
    /// The e-mail address.
    pub email: String,
}

/// A certificate as it is known under its private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledCertificate {
    /// Its number, over all keys and accounts.
    pub number: u64,
    /// The number of its private key.
    pub key_number: u64,
    /// What was said of it when it was added under a key; none of any other.
    pub label: Option<CertificateLabel>,
    /// The certificate; it has a current version.
    pub certificate: Certificate,
}

impl Store {
    /// Gives a number to each certificate whose current version has a stored private key, or has
    /// this one, and has none yet.
    pub async fn label_certificates(
        &self,
        scope: Scope,
        key: Option<PrivateKeyId>,
    ) -> Result<(), Error> {
        let mut place = None;
        loop {
            let rows = self.backend().rows(unlabelled(scope, key, place)).await?;
            let is_last = rows.len() < PAGE_LIMIT;
            let mut labels: Vec<(CertificateId, AccountId)> = Vec::with_capacity(rows.len());
            let mut next = place;
            for mut row in rows {
                let (created_at, id) = (row.take()?, row.take()?);
                next = Some((created_at, id));
                labels.push((id, row.take()?));
            }
            match self.write_certificate_labels(&labels).await {
                Ok(()) => place = next,
                // One of them was deleted at this very moment.
                Err(Error::UnknownAccount) => continue,
                Err(error) => return Err(error),
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// The certificates that are known, of one private key or of all, those after the number `after`,
    /// at most `limit` (and never more than 1,000).
    pub async fn labelled_certificates(
        &self,
        scope: Scope,
        key: Option<PrivateKeyId>,
        after: u64,
        limit: usize,
    ) -> Result<Vec<LabelledCertificate>, Error> {
        let rows = self
            .backend()
            .rows(listed(scope, key, after, limit))
            .await?;
        rows.into_iter().map(read).collect()
    }

    /// The certificate of this number, if that private key is the key of its current version.
    pub async fn labelled_certificate(
        &self,
        scope: Scope,
        key: PrivateKeyId,
        number: u64,
    ) -> Result<Option<LabelledCertificate>, Error> {
        let statement = select("l.number = ? and v.private_key_id = ?");
        let statement = statement.bind(number.cast_signed()).bind(key);
        let statement = scope.restrict(statement, "l.account_id");
        self.backend().row(statement).await?.map(read).transpose()
    }

    /// Adds a certificate under a private key that is stored already and outlives its time for
    /// export from now on; the answer is the number of the certificate.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] when there is no such key in the account, [`Error::Full`] when it has too
    /// many certificates, [`Error::Duplicate`] when one of them has that name,
    /// [`Error::DuplicateName`] when the account has a certificate of the name in the inventory,
    /// [`Error::UnknownAccount`].
    pub async fn add_certificate_under(
        &self,
        key: PrivateKeyId,
        label: &CertificateLabel,
        record: NewRecord,
    ) -> Result<u64, Error> {
        let named = record.version.as_ref().and_then(|new| new.private_key_id);
        if record.key.is_some() || named != Some(key) {
            return Err(Error::Inconsistent(
                "the version is not one of the stored private key",
            ));
        }
        let (id, account) = (record.certificate.id, record.certificate.account_id);
        let values = label.values()?;
        let rows = self.prepare(record)?;
        let names: Vec<_> = rows.names.iter().collect();
        let versions: Vec<_> = rows.version.iter().collect();
        let scope = Scope::Account(account);
        let name = label.name.as_str();
        in_transaction!(self.backend(), |transaction| {
            insert_rows(transaction, &CERTIFICATES, &[&rows.certificate]).await?;
            insert_rows(transaction, &VERSIONS, &versions).await?;
            if transaction.execute(keeping(scope, key)).await? == 0 {
                return Err(Error::NotFound);
            }
            let mut others = 0;
            for mut row in transaction.rows(under(scope, key)).await? {
                let other: CertificateId = row.take()?;
                others += 1;
                let (_, known_as): (String, String) = (row.take()?, row.take()?);
                if other != id && known_as == name {
                    return Err(Error::Duplicate);
                }
            }
            if others > CERTIFICATES_PER_KEY_LIMIT {
                return Err(Error::Full);
            }
            insert_rows(transaction, &CERTIFICATE_NAMES, &names).await?;
            let number = numbers::draw(transaction, Numbered::Certificate, 1).await?;
            let label = Statement::new(format!(
                "insert into certificate_labels (number, certificate_id, account_id, \
                 private_key_id, {TEXTS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            ));
            let label = label.bind(number).bind(id).bind(account).bind(key);
            let label = values.iter().cloned().fold(label, Statement::bind);
            transaction.execute(label).await?;
            events::insert(transaction, vec![rows.event.clone()]).await?;
            Ok(number.unsigned_abs())
        })
    }

    /// Removes a certificate that is under a private key, as [`Store::delete_certificate`] does; the
    /// answer is whether it was. [`Error::Attached`] while it is installed on a service, too.
    pub async fn delete_certificate_under(
        &self,
        scope: Scope,
        key: PrivateKeyId,
        certificate: CertificateId,
        event: NewEvent,
    ) -> Result<bool, Error> {
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            let removed = remove_under(transaction, scope, key, Some(certificate), now).await?;
            if removed.is_empty() {
                return Ok(false);
            }
            events::insert(transaction, vec![event.clone()]).await?;
            Ok(true)
        })
    }

    async fn write_certificate_labels(
        &self,
        labels: &[(CertificateId, AccountId)],
    ) -> Result<(), Error> {
        if labels.is_empty() {
            return Ok(());
        }
        in_transaction!(self.backend(), |transaction| {
            let first = numbers::draw(transaction, Numbered::Certificate, labels.len()).await?;
            let rows: Vec<[Value; 3]> = (first..)
                .zip(labels)
                .map(|(number, (id, account))| [number.into(), (*id).into(), (*account).into()])
                .collect();
            let mut rest = rows.as_slice();
            while !rest.is_empty() {
                let (portion, later) = rest.split_at(largest_portion(rest.len()));
                transaction.execute(insertion(portion)).await?;
                rest = later;
            }
            Ok(())
        })
    }
}

impl CertificateLabel {
    /// The values of [`TEXTS`].
    fn values(&self) -> Result<[Value; 8], Error> {
        let Self {
            name,
            common_name,
            organization_name,
            organization_unit,
            locality,
            state_province,
            country_code,
            email,
        } = self;
        let texts = [
            name,
            common_name,
            organization_name,
            organization_unit,
            locality,
            state_province,
            country_code,
            email,
        ];
        for text in texts {
            within("a text of the certificate", LABEL_TEXT_LIMIT, text.len())?;
        }
        Ok(texts.map(|text| text.as_str().into()))
    }
}

const TEXTS: &str = "name, common_name, organization_name, organization_unit, locality, \
     state_province, country_code, email";

/// Removes the certificates that are under a key, or that one of them, and answers which they were,
/// with their names in the inventory. [`Error::Attached`] while one is in use or installed on a
/// service.
pub(crate) async fn remove_under(
    transaction: &mut Transaction,
    scope: Scope,
    key: PrivateKeyId,
    only: Option<CertificateId>,
    now: OffsetDateTime,
) -> Result<Vec<(CertificateId, String)>, Error> {
    let mut seen = Vec::new();
    for mut row in transaction.rows(under(scope, key)).await? {
        let id: CertificateId = row.take()?;
        if only.is_none_or(|only| only == id) {
            seen.push(id);
        }
    }
    inventory::hold(transaction, &seen).await?;
    // Until then one could be removed, or get a version with another key.
    let mut found: Vec<(CertificateId, String)> = Vec::with_capacity(seen.len());
    for mut row in transaction.rows(under(scope, key)).await? {
        let id: CertificateId = row.take()?;
        if seen.contains(&id) {
            found.push((id, row.take()?));
        }
    }
    let ids: Vec<CertificateId> = found.iter().map(|(id, _)| *id).collect();
    for portion in ids.chunks(LOOKUP_PORTION) {
        let installed = installations::installed(portion);
        if transaction.row(installed).await?.is_some() {
            return Err(Error::Attached);
        }
    }
    inventory::remove(transaction, scope, &ids, now).await?;
    Ok(found)
}

/// The certificates whose current version has that key, with the name in the inventory and the one
/// under the key.
pub(crate) fn under(scope: Scope, key: PrivateKeyId) -> Statement {
    let statement = Statement::new(
        "select c.id, c.name, coalesce(l.name, c.name) from versions v \
         join certificates c on c.id = v.certificate_id and c.current_version_id = v.id \
         left join certificate_labels l on l.certificate_id = c.id where v.private_key_id = ?",
    )
    .bind(key);
    scope.restrict(statement, "v.account_id")
}

/// Has a private key outlive its time for export, and keeps others from deleting it until the
/// transaction ends.
pub(crate) fn keeping(scope: Scope, key: PrivateKeyId) -> Statement {
    let statement = Statement::new("update private_keys set kept = ? where id = ?");
    scope.restrict(statement.bind(true).bind(key), "account_id")
}

/// Certificates without a label whose current version has a stored key, or that one, after `place`.
pub(crate) fn unlabelled(
    scope: Scope,
    key: Option<PrivateKeyId>,
    place: Option<(OffsetDateTime, CertificateId)>,
) -> Statement {
    let tables = match key {
        // The few of one key are found by the key: SQLite takes a cross join in this order.
        Some(_) => "versions v cross join certificates c cross join private_keys k",
        None => "certificates c cross join versions v cross join private_keys k",
    };
    let mut statement = Statement::new(format!(
        "select c.created_at, c.id, c.account_id from {tables} \
         where v.id = c.current_version_id and c.id = v.certificate_id \
         and k.id = v.private_key_id \
         and not exists (select 1 from certificate_labels l where l.certificate_id = c.id)"
    ));
    if let Some(key) = key {
        statement = statement.text(" and v.private_key_id = ?").bind(key);
    }
    if let Some((created_at, id)) = place {
        statement = statement
            .text(" and (c.created_at, c.id) > (?, ?)")
            .bind(created_at)
            .bind(id);
    }
    scope
        .restrict(statement, "c.account_id")
        .text(" order by c.created_at, c.id limit ?")
        .bind(page_limit(PAGE_LIMIT))
}

pub(crate) fn listed(
    scope: Scope,
    key: Option<PrivateKeyId>,
    after: u64,
    limit: usize,
) -> Statement {
    let after = after.cast_signed();
    let statement = match key {
        // The few of one key are found by the key, and then sorted: SQLite takes a cross join in the
        // order in which it is written.
        Some(key) => Statement::new(format!(
            "select {} from versions v cross join certificates c cross join certificate_labels l \
             cross join private_key_labels n where v.private_key_id = ? \
             and c.id = v.certificate_id and c.current_version_id = v.id \
             and l.certificate_id = c.id and n.private_key_id = v.private_key_id \
             and l.number > ?",
            columns()
        ))
        .bind(key)
        .bind(after),
        None => select("l.number > ?").bind(after),
    };
    scope
        .restrict(statement, "l.account_id")
        .text(" order by l.number limit ?")
        .bind(page_limit(limit))
}

fn select(condition: &str) -> Statement {
    Statement::new(format!(
        "select {} from certificate_labels l join certificates c on c.id = l.certificate_id \
         join versions v on v.id = c.current_version_id \
         join private_key_labels n on n.private_key_id = v.private_key_id where {condition}",
        columns()
    ))
}

/// What [`read`] takes.
fn columns() -> String {
    format!(
        "l.number, n.number, l.name, l.common_name, l.organization_name, l.organization_unit, \
         l.locality, l.state_province, l.country_code, l.email, {}, {}",
        certificates::COLUMNS,
        versions::COLUMNS
    )
}

fn insertion(rows: &[[Value; 3]]) -> Statement {
    // Both databases name the columns of such a list in the same way.
    Statement::with_values(
        format!(
            "insert into certificate_labels (number, certificate_id, account_id, common_name, \
             organization_name, organization_unit, locality, state_province, country_code, email) \
             select fresh.column1, fresh.column2, fresh.column3, '', '', '', '', '', '', '' \
             from (values {}) as fresh \
             where exists (select 1 from certificates c where c.id = fresh.column2) \
             on conflict do nothing",
            row_marks(rows.len(), 3)
        ),
        rows.iter().flatten().cloned().collect(),
    )
}

fn read(mut row: Row) -> Result<LabelledCertificate, Error> {
    let number = row.take()?;
    let key_number = row.take()?;
    let name: Option<String> = row.take()?;
    let texts = CertificateLabel {
        name: String::new(),
        common_name: row.take()?,
        organization_name: row.take()?,
        organization_unit: row.take()?,
        locality: row.take()?,
        state_province: row.take()?,
        country_code: row.take()?,
        email: row.take()?,
    };
    Ok(LabelledCertificate {
        number,
        key_number,
        label: name.map(|name| CertificateLabel { name, ..texts }),
        certificate: certificates::read(row)?,
    })
}
