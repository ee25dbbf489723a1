//! The names that certificates cover besides their common name, and the search for certificates by
//! the names they cover.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use crate::backend::Transaction;
use crate::certificates::StateKind;
use crate::domains::DOMAIN_NAME_LIMIT;
use crate::error::Error;
use crate::ids::{AccountId, CertificateId};
use crate::recorder::{Table, insert_rows};
use crate::references::LOOKUP_PORTION;
use crate::scope::Scope;
use crate::sql::{Row, Statement, Value};
use crate::store::Store;

/// A certificate that a domain could be served with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covering {
    /// The name that was asked for.
    pub name: String,
    /// The certificate.
    pub certificate_id: CertificateId,
    /// The common name that it is listed under.
    pub common_name: String,
    /// Valid or pending.
    pub state: StateKind,
    /// When its current version ends, if it has one.
    pub not_after: Option<OffsetDateTime>,
    /// The algorithm of its private key, if it has one.
    pub key_algorithm: Option<String>,
}

impl Store {
    /// The certificates that cover one of these names, literally: listed under it as their common
    /// name, or holding it among their other names. A caller who wants wildcards asks for them.
    ///
    /// Only certificates that can be used: valid ones with a current version that is not revoked
    /// and whose private key is stored, and pending ones. Of those alike in name, whether it is
    /// their common name, state and algorithm of the key only the one that ends last, and which of
    /// several such is always the same. Those that sign themselves are left out: nobody trusts them,
    /// but they end later than all others.
    pub async fn certificates_covering(
        &self,
        scope: Scope,
        names: &[&str],
    ) -> Result<Vec<Covering>, Error> {
        let mut found = Vec::new();
        for portion in names.chunks(LOOKUP_PORTION) {
            for row in self.backend().rows(covering(scope, portion)).await? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }

    /// Those of these certificates that can be used, each told of by its common name, in no
    /// particular order.
    pub async fn usable_certificates(
        &self,
        scope: Scope,
        certificates: &[CertificateId],
    ) -> Result<Vec<Covering>, Error> {
        let mut found = Vec::new();
        for portion in certificates.chunks(LOOKUP_PORTION) {
            for row in self.backend().rows(usable(scope, portion)).await? {
                found.push(read(row)?);
            }
        }
        Ok(found)
    }
}

/// What is told of a certificate `c`, its current version `v` and the key `k` of that.
const COLUMNS: &str = "c.id, c.common_name, c.state, c.created_at, v.not_after, k.algorithm";

/// Certificates that a domain could be served with; a further condition may follow.
const USABLE: &str = "left join versions v on v.id = c.current_version_id \
     left join private_keys k on k.id = v.private_key_id \
     where (c.state = 'pending' or (c.state = 'valid' and v.revoked_at is null \
     and k.id is not null))";

pub(crate) const CERTIFICATE_NAMES: Table = Table {
    name: "certificate_names",
    columns: "name, account_id, certificate_id",
};

/// The rows for the names of a certificate, one for each DNS name besides the common name, which
/// is found by the certificate itself.
pub(crate) fn rows(
    account: AccountId,
    certificate: CertificateId,
    common_name: &str,
    identifiers: &[String],
) -> Vec<Vec<Value>> {
    if identifiers.iter().all(|name| name == common_name) {
        return Vec::new();
    }
    let names: BTreeSet<&str> = identifiers.iter().map(String::as_str).collect();
    names
        .into_iter()
        .filter(|name| *name != common_name && is_dns_name(name))
        .map(|name| vec![name.into(), account.into(), certificate.into()])
        .collect()
}

/// Writes the names of a certificate in place of those it had.
pub(crate) async fn replace(
    transaction: &mut Transaction,
    certificate: CertificateId,
    rows: &[Vec<Value>],
) -> Result<(), Error> {
    let delete = Statement::new("delete from certificate_names where certificate_id = ?");
    transaction.execute(delete.bind(certificate)).await?;
    let rows: Vec<_> = rows.iter().collect();
    insert_rows(transaction, &CERTIFICATE_NAMES, &rows).await
}

pub(crate) fn covering(scope: Scope, names: &[&str]) -> Statement {
    let statement = Statement::new(format!(
        "select name, id, common_name, state, not_after, algorithm from (select every.*, \
         row_number() over (partition by name, name = common_name, state, algorithm \
         order by not_after desc, created_at desc, id) as place from (\
         select c.common_name as name, {COLUMNS} from certificates c {USABLE} \
         and c.origin <> 'self-signed' and c.common_name in "
    ))
    .list(names.iter().copied());
    let statement = scope.restrict(statement, "c.account_id").text(&format!(
        " union all select n.name, {COLUMNS} from certificate_names n \
         join certificates c on c.id = n.certificate_id {USABLE} \
         and c.origin <> 'self-signed' and n.name in "
    ));
    scope
        .restrict(statement.list(names.iter().copied()), "n.account_id")
        .text(") as every) as ranked where place = 1")
}

pub(crate) fn usable(scope: Scope, certificates: &[CertificateId]) -> Statement {
    let statement = Statement::new(format!(
        "select name, id, common_name, state, not_after, algorithm from (\
         select c.common_name as name, {COLUMNS} from certificates c {USABLE} and c.id in "
    ));
    scope
        .restrict(statement.list(certificates.iter().copied()), "c.account_id")
        .text(") as usable")
}

fn read(mut row: Row) -> Result<Covering, Error> {
    Ok(Covering {
        name: row.take()?,
        certificate_id: row.take()?,
        common_name: row.take()?,
        state: StateKind::parse(&row.take::<String>()?)?,
        not_after: row.take()?,
        key_algorithm: row.take()?,
    })
}

/// Tells DNS names from addresses. The migration that collected the names of older certificates
/// says the same in SQL.
fn is_dns_name(name: &str) -> bool {
    let is_of_dns = |byte: u8| byte.is_ascii_alphanumeric() || b"._*-".contains(&byte);
    let is_of_addresses = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    name.len() <= DOMAIN_NAME_LIMIT
        && name.bytes().all(is_of_dns)
        && !name.bytes().all(is_of_addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_no_dns_names() {
        for name in [
            "example.com",
            "*.example.com",
            "1.example",
            "_x.a-b.example",
            "localhost",
        ] {
            assert!(is_dns_name(name), "{name}");
        }
        for name in [
            "192.0.2.1",
            "2001:db8::1",
            "a@example.com",
            "",
            "a b",
            "spiffe://a/b",
        ] {
            assert!(!is_dns_name(name), "{name}");
        }
        assert!(!is_dns_name(&"a".repeat(254)));
    }
}
