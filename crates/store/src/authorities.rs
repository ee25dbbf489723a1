//! Authorities: the private certificate authorities of the operator.

use time::OffsetDateTime;

use crate::backend::{Transaction, in_transaction};
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::ids::{AuthorityId, CaCertificateId, PrivateKeyId};
use crate::inventory::NAME_LIMIT;
use crate::private_keys::{self, NewPrivateKey, SealedKey};
use crate::scope::{PAGE_LIMIT, page_limit};
use crate::shards;
use crate::sql::{Row, Statement};
use crate::store::Store;
use crate::versions::{self, RevokedVersion};

/// What a certificate of an authority is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CaRole {
    /// Signs certificates and CRLs.
    Issuing,
    /// Signs OCSP answers.
    Responder,
    /// The anchor that clients trust.
    Root,
}

impl CaRole {
    /// `issuing`, `responder` or `root`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issuing => "issuing",
            Self::Responder => "responder",
            Self::Root => "root",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Issuing, Self::Responder, Self::Root]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(Error::Corrupt(
                "a certificate of an authority has an unknown role",
            ))
    }
}

/// An authority to be made.
#[derive(Debug, Clone)]
pub struct NewAuthority {
    /// Its identifier.
    pub id: AuthorityId,
    /// Its name, unique in the installation; at most [`NAME_LIMIT`] bytes.
    pub name: String,
    /// When it is made.
    pub created_at: OffsetDateTime,
    /// Its certificates, among them one root. The first issuing one signs leaves, or else the root.
    pub ca_certificates: Vec<NewCaCertificate>,
    /// What the audit log will say.
    pub event: NewEvent,
}

/// A certificate of an authority to be added.
#[derive(Debug, Clone)]
pub struct NewCaCertificate {
    /// Its identifier.
    pub id: CaCertificateId,
    /// What it is for.
    pub role: CaRole,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key.
    pub key: NewCaKey,
    /// When it begins to be valid.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The certificates of others above it, as PEM, its issuer first; their root may be among them.
    /// `None` where the authority's own are all there are.
    pub superiors: Option<String>,
    /// The number of the last CRL that was signed with its key.
    pub crl_number: u64,
}

/// The private key of a certificate of an authority to be added.
#[derive(Debug, Clone)]
pub enum NewCaKey {
    /// To be sealed and kept.
    Kept(NewPrivateKey),
    /// Somewhere already: kept for another certificate, or not in the store.
    At(KeyPlace, PrivateKeyId),
}

impl NewCaKey {
    /// The identifier that the key has, or will have.
    pub fn id(&self) -> PrivateKeyId {
        match self {
            Self::Kept(key) => key.id,
            Self::At(_, id) => *id,
        }
    }

    fn place(&self) -> KeyPlace {
        match self {
            Self::Kept(_) => KeyPlace::Store,
            Self::At(place, _) => *place,
        }
    }
}

/// Where the private key of a certificate of an authority is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPlace {
    /// In a device that signs with it, found by its identifier.
    Device,
    /// Not within reach: it was taken out, or was never here.
    Elsewhere,
    /// In the store, sealed.
    Store,
}

impl KeyPlace {
    /// `device`, `elsewhere` or `store`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Elsewhere => "elsewhere",
            Self::Store => "store",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [Self::Device, Self::Elsewhere, Self::Store]
            .into_iter()
            .find(|place| place.as_str() == text)
            .ok_or(Error::Corrupt("the key of an authority is nowhere"))
    }
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// Its identifier.
    pub id: AuthorityId,
    /// Its name, unique in the installation.
    pub name: String,
    /// When it was made, to the microsecond.
    pub created_at: OffsetDateTime,
    /// How often its certificates or keys were changed: when it changes, they are out of date.
    pub changes: u64,
    /// The certificate that is its trust anchor.
    pub root_id: CaCertificateId,
    /// The certificate that signs leaves.
    pub issuing_id: CaCertificateId,
    /// A key in the store that a certificate was requested for and that has none yet.
    pub next_key_id: Option<PrivateKeyId>,
}

/// A certificate of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaCertificate {
    /// Its identifier.
    pub id: CaCertificateId,
    /// The authority.
    pub authority_id: AuthorityId,
    /// What it is for.
    pub role: CaRole,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Its private key; one in the store is opened under [`crate::Scope::Everything`].
    pub private_key_id: PrivateKeyId,
    /// Where that is.
    pub key_place: KeyPlace,
    /// When it begins to be valid.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// The number of the last CRL that was begun.
    pub crl_number: u64,
    /// The certificates of others above it, as in [`NewCaCertificate::superiors`].
    pub superiors: Option<String>,
    /// The CRL that was signed for the time without its key, DER.
    pub last_list: Option<Vec<u8>>,
}

/// CRLs whose numbers follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlSeries {
    /// Those of a shard other than the first, whichever certificate of the authority signs them.
    Shard(AuthorityId, u64),
    /// Those of the first shard, or the only one, that this certificate signs.
    Signer(CaCertificateId),
}

impl From<CaCertificateId> for CrlSeries {
    fn from(certificate: CaCertificateId) -> Self {
        Self::Signer(certificate)
    }
}

impl CrlSeries {
    fn reading(self) -> Statement {
        match self {
            Self::Shard(authority, shard) => Statement::new(
                "select crl_number from crl_shards where authority_id = ? and shard = ?",
            )
            .bind(authority)
            .bind(shard.cast_signed()),
            Self::Signer(certificate) => {
                Statement::new("select crl_number from ca_certificates where id = ?")
                    .bind(certificate)
            }
        }
    }

    fn counting(self) -> Statement {
        match self {
            Self::Shard(authority, shard) => Statement::new(
                "update crl_shards set crl_number = crl_number + 1 \
                 where authority_id = ? and shard = ?",
            )
            .bind(authority)
            .bind(shard.cast_signed()),
            Self::Signer(certificate) => Statement::new(
                "update ca_certificates set crl_number = crl_number + 1 where id = ?",
            )
            .bind(certificate),
        }
    }
}

impl Store {
    /// Makes an authority with its certificates and keys, all or nothing. [`Error::DuplicateName`]
    /// when there is one of that name, for instance because another node was quicker.
    pub async fn create_authority(&self, authority: NewAuthority) -> Result<(), Error> {
        let NewAuthority {
            id,
            name,
            created_at,
            ca_certificates,
            event,
        } = authority;
        if name.len() > NAME_LIMIT {
            return Err(Error::TooLong {
                what: "the name of the authority",
                limit: NAME_LIMIT,
            });
        }
        let with_role = |role| {
            let mut found = ca_certificates.iter().filter(|one| one.role == role);
            found.next().map(|certificate| certificate.id)
        };
        let root = with_role(CaRole::Root);
        let insert = Statement::new(
            "insert into authorities (id, name, created_at, root_id, issuing_id) \
             values (?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(name)
        .bind(created_at)
        .bind(root)
        .bind(with_role(CaRole::Issuing).or(root));
        let members = ca_certificates
            .iter()
            .map(|member| self.prepare_member(id, member, &event))
            .collect::<Result<Vec<_>, _>>()?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(insert.clone()).await?;
            shards::begin(transaction, id).await?;
            for member in &members {
                member.insert(transaction).await?;
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// Adds a certificate to an authority. [`Error::NotFound`] when there is no such authority.
    pub async fn add_ca_certificate(
        &self,
        authority: AuthorityId,
        certificate: NewCaCertificate,
        event: NewEvent,
    ) -> Result<(), Error> {
        let member = self.prepare_member(authority, &certificate, &event)?;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            match member.insert(transaction).await {
                Err(Error::UnknownAccount) => return Err(Error::NotFound),
                outcome => outcome?,
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }

    /// The authority of this name.
    pub async fn authority(&self, name: &str) -> Result<Option<Authority>, Error> {
        let statement = Statement::new(
            "select id, name, created_at, changes, root_id, issuing_id, next_key_id \
             from authorities where name = ?",
        )
        .bind(name);
        self.backend()
            .row(statement)
            .await?
            .map(read_authority)
            .transpose()
    }

    /// The authorities by name, at most 1,000.
    pub async fn authorities(&self) -> Result<Vec<Authority>, Error> {
        let statement = Statement::new(
            "select id, name, created_at, changes, root_id, issuing_id, next_key_id \
             from authorities order by name limit ?",
        )
        .bind(page_limit(PAGE_LIMIT));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read_authority).collect()
    }

    /// The certificates of an authority, oldest first, at most 1,000.
    pub async fn ca_certificates(
        &self,
        authority: AuthorityId,
    ) -> Result<Vec<CaCertificate>, Error> {
        let statement = Statement::new(
            "select id, authority_id, role, certificate, private_key_id, not_before, not_after, \
             crl_number, key_place, superiors, last_list from ca_certificates \
             where authority_id = ? order by id limit ?",
        )
        .bind(authority)
        .bind(page_limit(PAGE_LIMIT));
        let rows = self.backend().rows(statement).await?;
        rows.into_iter().map(read_ca_certificate).collect()
    }

    /// The number of the last CRL of a series, 0 before the first. [`Error::NotFound`] when there is no
    /// such series.
    pub async fn crl_number(&self, series: impl Into<CrlSeries>) -> Result<u64, Error> {
        let row = self.backend().row(series.into().reading()).await?;
        row.ok_or(Error::NotFound)?.take()
    }

    /// The number for the next CRL of a series, if `last` is still the last one; no number is given
    /// twice. A list whose entries were read after `last` was, thus holds all that lists of lower
    /// numbers hold, whichever node built them. [`Error::NotFound`] when there is no such series.
    pub async fn next_crl_number(
        &self,
        series: impl Into<CrlSeries>,
        last: u64,
    ) -> Result<Option<u64>, Error> {
        let series = series.into();
        let update = series
            .counting()
            .text(" and crl_number = ?")
            .bind(last.cast_signed())
            .text(" returning crl_number");
        let taken = in_transaction!(self.backend(), |transaction| {
            let row = transaction.row(update.clone()).await?;
            row.map(|mut row| row.take()).transpose()
        })?;
        if taken.is_none() {
            self.crl_number(series).await?;
        }
        Ok(taken)
    }

    /// The number for the next CRL of a series, and the revoked versions for it: those of a shard of
    /// an authority, signed in the name of `issuer`, that have not ended at `not_after_from`, by
    /// identifier. They hold all that
    /// lists of lower numbers hold, as with [`Self::next_crl_number`], but this cannot come too
    /// late: others wait for their numbers meanwhile, and on SQLite all who write wait.
    /// [`Error::NotFound`] when there is no such series.
    pub async fn next_crl(
        &self,
        series: impl Into<CrlSeries>,
        shard: (AuthorityId, u64),
        issuer: &str,
        not_after_from: OffsetDateTime,
    ) -> Result<(u64, Vec<RevokedVersion>), Error> {
        let update = series.into().counting().text(" returning crl_number");
        in_transaction!(self.backend(), |transaction| {
            let row = transaction.row(update.clone()).await?;
            let number = row.ok_or(Error::NotFound)?.take()?;
            let mut revoked: Vec<RevokedVersion> = Vec::new();
            loop {
                let after = revoked.last().map(|version| version.id);
                let page = versions::revoked(shard, issuer, after, PAGE_LIMIT, not_after_from);
                let rows = transaction.rows(page).await?;
                let is_last = rows.len() < PAGE_LIMIT;
                for mut row in rows {
                    revoked.push(versions::read_revoked(&mut row)?);
                }
                if is_last {
                    return Ok((number, revoked));
                }
            }
        })
    }

    pub(crate) fn prepare_member(
        &self,
        authority: AuthorityId,
        certificate: &NewCaCertificate,
        event: &NewEvent,
    ) -> Result<Member, Error> {
        let NewCaCertificate {
            id,
            role,
            certificate,
            key,
            not_before,
            not_after,
            superiors,
            crl_number,
        } = certificate;
        let insert = Statement::new(
            "insert into ca_certificates (id, authority_id, role, private_key_id, not_before, \
             not_after, crl_number, key_place, superiors, certificate) \
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(*id)
        .bind(authority)
        .bind(role.as_str())
        .bind(key.id())
        .bind(*not_before)
        .bind(*not_after)
        .bind(crl_number.cast_signed())
        .bind(key.place().as_str())
        .bind(superiors.clone())
        .bind(certificate.as_slice());
        let key = match key {
            NewCaKey::Kept(key) => Some(SealedKey::new(self.sealer(), key, event.at)?),
            NewCaKey::At(..) => None,
        };
        Ok(Member { insert, key })
    }
}

/// A certificate of an authority that is ready to be written.
pub(crate) struct Member {
    insert: Statement,
    key: Option<SealedKey>,
}

impl Member {
    pub(crate) async fn insert(&self, transaction: &mut Transaction) -> Result<(), Error> {
        transaction.execute(self.insert.clone()).await?;
        match &self.key {
            Some(key) => private_keys::insert(transaction, key.clone(), None).await,
            None => Ok(()),
        }
    }
}

fn read_authority(mut row: Row) -> Result<Authority, Error> {
    Ok(Authority {
        id: row.take()?,
        name: row.take()?,
        created_at: row.take()?,
        changes: row.take()?,
        root_id: certificate_of_tier(&mut row)?,
        issuing_id: certificate_of_tier(&mut row)?,
        next_key_id: row.take()?,
    })
}

fn read_ca_certificate(mut row: Row) -> Result<CaCertificate, Error> {
    Ok(CaCertificate {
        id: row.take()?,
        authority_id: row.take()?,
        role: CaRole::parse(&row.take::<String>()?)?,
        certificate: row.take()?,
        private_key_id: row.take()?,
        not_before: row.take()?,
        not_after: row.take()?,
        crl_number: row.take()?,
        key_place: KeyPlace::parse(&row.take::<String>()?)?,
        superiors: row.take()?,
        last_list: row.take()?,
    })
}

fn certificate_of_tier(row: &mut Row) -> Result<CaCertificateId, Error> {
    row.take::<Option<_>>()?
        .ok_or(Error::Corrupt("an authority lacks a tier"))
}
