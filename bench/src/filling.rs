//! Fills the data directory of a Chancery that is not running with domains, each with a certificate
//! of its own, many times faster than its API could.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use pki::Signer;
use store::{
    AccountId, CertificateId, DatabaseUrl, Exportable, Handlers, InstanceId, MasterKey,
    NewCertificate, NewDomain, NewEvent, NewInstance, NewPrivateKey, NewRecord, NewService,
    NewVersion, Origin, PrivateKeyId, Protocol, PublishedPort, ServiceId, State, Store, VersionId,
};
use time::macros::datetime;
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;

use crate::load::bar;
use crate::material::Identity;

/// Domains of one service.
const PORTION: usize = 1_000;
/// How often progress is written down when nobody looks at a terminal.
const MILESTONE: usize = 100_000;
/// The account that everything belongs to: the first one, which may have backends on this machine.
const ACCOUNT: &str = "admin";
/// The follower of the change feed that would take a look at everything that is put in here.
const FOLLOWER: &str = "reconciler";
const ACTOR: &str = "bench";
/// When the filling begins, for the store; objects are a millisecond apart.
const BEGINNING: OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

/// What is put into a data directory.
#[derive(Clone, Debug)]
pub(crate) struct Filling {
    /// How many domains; the first of them is that of `first`.
    pub(crate) domains: usize,
    pub(crate) first: Identity,
    /// Signs the certificates of the others.
    pub(crate) signer: Arc<Signer>,
    /// Where requests for all of them are passed on to.
    pub(crate) backend: SocketAddr,
}

impl Filling {
    /// Fills `data`, in which Chancery has run before.
    ///
    /// # Errors
    /// When the store cannot be opened or refuses something.
    pub(crate) async fn run(&self, data: &Path) -> anyhow::Result<()> {
        let key = std::fs::read_to_string(data.join("master.key")).context("no master key")?;
        let url = DatabaseUrl::sqlite(data.join("chancery.db"));
        let store = Store::open(&url, &MasterKey::from_hex(&key)?).await?;
        let account = store.account_by_name(ACCOUNT).await?;
        let account = account.context("Chancery has made no first account")?.id;
        let (started, bar) = (Instant::now(), bar());
        let total = self.domains;
        for begin in (0..total).step_by(PORTION) {
            let end = total.min(begin + PORTION);
            self.portion(&store, account, begin, end).await?;
            let rate = end as f64 / started.elapsed().as_secs_f64();
            let message = format!("{end} of {total} domains, {rate:.0}/s");
            if bar.is_hidden() && end.is_multiple_of(MILESTONE) {
                eprintln!("{message}");
            }
            bar.set_message(message);
            bar.tick();
        }
        bar.finish_and_clear();
        // As in a house that has run for long: nothing of this is news when it is started.
        if let Some(last) = store.last_event().await? {
            store.move_cursor(FOLLOWER, last).await?;
        }
        store.close().await;
        Ok(())
    }

    /// Adds a service with the domains of these numbers and a backend.
    async fn portion(
        &self,
        store: &Store,
        account: AccountId,
        begin: usize,
        end: usize,
    ) -> anyhow::Result<()> {
        let mut adding = JoinSet::new();
        for number in begin..end {
            let (store, filling) = (store.clone(), self.clone());
            adding.spawn(async move { filling.certificate(&store, account, number).await });
        }
        let mut domains = Vec::with_capacity(end - begin);
        while let Some(added) = adding.join_next().await {
            domains.push(added??);
        }
        let at = moment(end)?;
        let service = ServiceId::random();
        let name = format!("bench-{begin}");
        let published = PublishedPort {
            port: 443,
            destination_port: self.backend.port(),
            handlers: Handlers {
                tls: true,
                http: true,
                redirect: false,
            },
            protocol: Protocol::Tcp,
        };
        let instance = NewInstance {
            id: InstanceId::random(),
            account_id: account,
            service_id: Some(service),
            name: name.clone(),
            image: "bench".to_owned(),
            memory_mb: None,
            args: "[]".to_owned(),
            env: "{}".to_owned(),
            address: Some(self.backend.ip().to_string()),
            created_at: at,
        };
        let service = NewService {
            id: service,
            account_id: account,
            name,
            ports: vec![published],
            soft_limit: u32::from(u16::MAX),
            hard_limit: u32::from(u16::MAX),
            autokill: None,
            is_persistent: true,
            environment: store::DEFAULT_ENVIRONMENT.to_owned(),
            created_at: at,
        };
        store
            .create_instance(instance, Some((service, domains)), Vec::new())
            .await?;
        Ok(())
    }

    /// Adds the certificate with this number; the answer is the domain that is served with it.
    async fn certificate(
        &self,
        store: &Store,
        account: AccountId,
        number: usize,
    ) -> anyhow::Result<NewDomain> {
        let Identity {
            name,
            leaf,
            issuer,
            key,
        } = match number {
            0 => self.first.clone(),
            _ => Identity::issue(number, &self.signer)?,
        };
        let at = moment(number)?;
        let id = CertificateId::random();
        let key = NewPrivateKey {
            id: PrivateKeyId::at(at),
            key,
            exportable: Exportable::Never,
        };
        let record = NewRecord {
            certificate: NewCertificate {
                id,
                account_id: account,
                name: name.clone(),
                common_name: name.clone(),
                identifiers: vec![name.clone()],
                origin: Origin::Uploaded,
                state: State::Valid,
                issuer: None,
                created_at: at,
            },
            version: Some(NewVersion {
                crl_shard: 0,
                id: VersionId::at(at),
                authority_id: None,
                directory_id: None,
                serial: leaf.serial().as_be_bytes().to_vec(),
                subject: leaf.subject().to_string(),
                issuer: leaf.issuer().to_string(),
                not_before: leaf.not_before(),
                not_after: leaf.not_after(),
                leaf: leaf.der().to_vec(),
                intermediates: vec![issuer.der().to_vec()],
                private_key_id: Some(key.id),
                created_at: at,
            }),
            key: Some(key),
            event: NewEvent {
                at,
                account_id: Some(account),
                actor: ACTOR.to_owned(),
                kind: "certificate.uploaded",
                object: Some(id.as_uuid()),
                detail: String::new(),
            },
        };
        store.add_certificate(record).await?;
        Ok(NewDomain {
            name,
            certificate_id: Some(id),
            alternate_id: None,
            is_explicit: false,
        })
    }
}

fn moment(number: usize) -> anyhow::Result<OffsetDateTime> {
    Ok(BEGINNING + Duration::milliseconds(i64::try_from(number)?))
}
