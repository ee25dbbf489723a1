//! A client, a directory for it, and the steps that most tests have in common.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use acme::Identifier;
use acme::client::{
    AccountKey, ChallengeKind, Client, Endpoint, Failure, Login, NewOrder, Order, Registration,
};
use acme_client::AcmeClient;
use async_trait::async_trait;
use egress::{Caa, Fetcher, LookupError, Nameserver, Resolver, Zone};
use pki::{CertificateRequest, DistinguishedName, KeyAlgorithm, PrivateKey, SubjectFields};
use testbed::Directory;
use testbed::directory::Options;

/// A name that leads to this machine, where nobody may be sent.
pub(crate) const INSIDE: &str = "inside.test";

/// Knows one name, and asks nobody.
#[derive(Debug)]
struct OneName;

#[async_trait]
impl Resolver for OneName {
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        match name {
            INSIDE => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
            other => unknown(other),
        }
    }

    async fn text(&self, name: &str) -> Result<Vec<String>, LookupError> {
        unknown(name)
    }

    async fn alias(&self, name: &str) -> Result<Option<String>, LookupError> {
        unknown(name)
    }

    async fn caa(&self, name: &str) -> Result<Vec<Caa>, LookupError> {
        unknown(name)
    }

    async fn zone(&self, name: &str) -> Result<Zone, LookupError> {
        unknown(name)
    }

    async fn text_at(&self, _: &Nameserver, name: &str) -> Result<Vec<String>, LookupError> {
        unknown(name)
    }
}

fn unknown<T>(name: &str) -> Result<T, LookupError> {
    Err(LookupError::NotFound {
        name: name.to_owned(),
    })
}

pub(crate) fn client() -> AcmeClient {
    AcmeClient::new(Arc::new(Fetcher::new(Arc::new(OneName))))
}

/// A directory that an administrator named.
pub(crate) fn trusted(url: String, roots: Option<&str>) -> Endpoint {
    Endpoint {
        url,
        roots: roots.map(Arc::from),
        is_trusted: true,
    }
}

pub(crate) fn endpoint(directory: &Directory) -> Endpoint {
    trusted(directory.url(), Some(&directory.root_pem()))
}

pub(crate) fn account_key() -> Arc<AccountKey> {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    Arc::new(AccountKey::from_pkcs8(key.to_pkcs8_der()))
}

pub(crate) fn registration(key: &Arc<AccountKey>) -> Registration {
    Registration {
        key: Arc::clone(key),
        contact: Some("operator@house.test".to_owned()),
        agrees_to_terms: true,
        external_account: None,
    }
}

/// A new account.
pub(crate) async fn login(client: &AcmeClient, endpoint: Endpoint) -> Login {
    let key = account_key();
    let account_url = client
        .register(&endpoint, &registration(&key))
        .await
        .unwrap();
    Login {
        endpoint,
        account_url,
        key,
    }
}

/// A directory, a client, and an account of the client with the directory.
pub(crate) async fn house(options: Options) -> (Directory, AcmeClient, Login) {
    let (directory, client) = (Directory::start(options), client());
    let login = login(&client, endpoint(&directory)).await;
    (directory, client, login)
}

pub(crate) fn names(names: &[&str]) -> NewOrder {
    let identifiers = names.iter().map(|name| {
        let identifier = pki::Identifier::parse_host(name).unwrap();
        Identifier::from(&identifier)
    });
    NewOrder {
        identifiers: identifiers.collect(),
        profile: None,
        replaces: None,
    }
}

/// A certificate request, DER, with a new key.
pub(crate) fn request(names: &[&str]) -> Vec<u8> {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let names = names
        .iter()
        .map(|name| pki::Identifier::parse_host(name).unwrap());
    let subject = DistinguishedName::from_fields(&SubjectFields::default()).unwrap();
    CertificateRequest::build(&key, &subject, &names.collect::<Vec<_>>()).unwrap()
}

/// Answers one challenge of each authorization that is pending.
pub(crate) async fn prove(client: &AcmeClient, login: &Login, order: &Order, kind: &ChallengeKind) {
    for url in &order.authorizations {
        let authorization = client.authorization(login, url).await.unwrap();
        let challenge = authorization
            .challenges
            .iter()
            .find(|one| one.kind == *kind);
        client.answer(login, challenge.unwrap()).await.unwrap();
    }
}

/// The certificate for one name, from the order on.
pub(crate) async fn obtain(
    client: &AcmeClient,
    login: &Login,
    order: &NewOrder,
) -> Result<Vec<Vec<Vec<u8>>>, Failure> {
    let placed = client.new_order(login, order).await?;
    for url in &placed.authorizations {
        let authorization = client.authorization(login, url).await?;
        let challenge = authorization.challenges.first().unwrap();
        client.answer(login, challenge).await?;
    }
    let values = order.identifiers.iter();
    let values: Vec<&str> = values.map(|one| one.value.as_str()).collect();
    client
        .finalize(login, &placed.url, &request(&values))
        .await?;
    client.certificate(login, &placed.url).await
}

/// The kind of error of a refusal, as its name in the registry.
pub(crate) fn refusal<T: std::fmt::Debug>(outcome: Result<T, Failure>) -> String {
    match outcome {
        Err(Failure::Refused { problem, .. }) => {
            let uri = problem.kind.as_uri();
            let name = uri.strip_prefix("urn:ietf:params:acme:error:");
            name.unwrap_or(&uri).to_owned()
        }
        other => panic!("not refused: {other:?}"),
    }
}
