//! A directory in memory, with the virtual clock of the tests: it keeps orders, checks challenges
//! through a house, signs with an authority of its own, and has every fault that it is told to have.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use acme::client::{
    AccountKey, Authorization, AuthorizationStatus, Chain, Challenge, ChallengeKind,
    ChallengeStatus, Client, DirectoryInfo, Endpoint, Failure, Login, NewOrder, Order, OrderStatus,
    Registration, RenewalInfo,
};
use acme::{ErrorKind, Problem, Token};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lifecycle::{Clock as _, House, Network, Surroundings, SystemRandomness};
use pki::{
    CaProfile, Certificate, CertificateRequest, DistinguishedName, Identifier, KeyAlgorithm,
    LeafProfile, PrivateKey, Profile, Serial, Signer, SubjectFields, Urls, Usages, Validity,
};
use time::OffsetDateTime;

use super::TurnedClock;

/// What the directory's accounts are called.
const BASE: &str = "https://directory.test";

/// Requests that the directory can be told to answer in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    Directory,
    Register,
    ChangeKey,
    NewOrder,
    Order,
    Authorization,
    Answer,
    Finalize,
    Certificate,
    RenewalInfo,
    Revoke,
}

/// How a directory behaves.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// Whether names have been proven before anybody asks.
    pub(crate) trusts: bool,
    /// Kinds of challenges on offer.
    pub(crate) challenges: Vec<ChallengeKind>,
    /// Lifetime of its certificates.
    pub(crate) lifetime: time::Duration,
    /// Whether it tells when to renew.
    pub(crate) has_renewal_info: bool,
    /// Looks at an order that is being finalized before it is done.
    pub(crate) processing: u32,
    pub(crate) profiles: Vec<String>,
    pub(crate) terms: Option<String>,
    pub(crate) requires_external_account: bool,
    /// Whether it says that records which stay will do, and hashes accounts in them.
    pub(crate) has_standing_records: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            trusts: true,
            challenges: vec![ChallengeKind::Http01],
            lifetime: time::Duration::days(90),
            has_renewal_info: false,
            processing: 0,
            profiles: Vec::new(),
            terms: None,
            requires_external_account: false,
            has_standing_records: false,
        }
    }
}

/// An order as the directory remembers it.
#[derive(Debug, Clone)]
pub(crate) struct Ordered {
    pub(crate) names: Vec<String>,
    pub(crate) replaces: Option<String>,
    pub(crate) at: OffsetDateTime,
    status: OrderStatus,
    looks: u32,
    chain: Option<Chain>,
    failed: HashMap<String, Problem>,
    proven: HashSet<String>,
}

/// An answer that is given instead of the right one.
type Excuse = Arc<dyn Fn() -> Failure + Send + Sync>;

struct State {
    manners: Manners,
    orders: Vec<Ordered>,
    keys: HashSet<Vec<u8>>,
    excuses: HashMap<Call, VecDeque<Excuse>>,
    always: HashMap<Call, Excuse>,
    calls: Vec<Call>,
    revoked: Vec<(Vec<u8>, u8)>,
    /// Windows by the identifiers of certificates.
    windows: HashMap<String, (OffsetDateTime, OffsetDateTime)>,
    /// Bends what is handed out as a certificate.
    bend: Option<Arc<dyn Fn(Chain) -> Chain + Send + Sync>>,
    serial: u64,
    loses_key_change: bool,
    /// What its certificates are called in renewal information.
    issued: Vec<String>,
}

/// The directory.
#[derive(Clone)]
pub(crate) struct FakeDirectory {
    clock: TurnedClock,
    signer: Arc<Signer>,
    state: Arc<Mutex<State>>,
    /// Where challenges are looked at.
    houses: Arc<Mutex<Vec<House>>>,
    cut: Arc<Mutex<Cut>>,
    /// URL of a directory that never answers.
    silent: Arc<Mutex<Option<String>>>,
}

/// Where the node that asks is cut off: at the n-th request, before or after it had its effect.
#[derive(Debug, Default)]
struct Cut {
    left: Option<(usize, bool)>,
    happened: bool,
}

impl std::fmt::Debug for FakeDirectory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("FakeDirectory")
    }
}

impl FakeDirectory {
    pub(crate) fn new(clock: &TurnedClock, manners: Manners) -> Self {
        Self {
            clock: clock.clone(),
            signer: Arc::new(signer(clock.now())),
            state: Arc::new(Mutex::new(State {
                manners,
                orders: Vec::new(),
                keys: HashSet::new(),
                excuses: HashMap::new(),
                always: HashMap::new(),
                calls: Vec::new(),
                revoked: Vec::new(),
                windows: HashMap::new(),
                bend: None,
                serial: 0,
                loses_key_change: false,
                issued: Vec::new(),
            })),
            houses: Arc::default(),
            cut: Arc::default(),
            silent: Arc::default(),
        }
    }

    async fn heed_silence(&self, login: &Login) {
        let silent = self.silent.lock().unwrap().clone();
        if silent.as_ref() == Some(&login.endpoint.url) {
            std::future::pending::<()>().await;
        }
    }

    /// Has the directory at that URL answer no order and no revocation any more.
    pub(crate) fn silence(&self, url: &str) {
        *self.silent.lock().unwrap() = Some(url.to_owned());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn manners(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state().manners);
    }

    /// Has challenges looked at in a house.
    pub(crate) fn look_at(&self, house: &House) {
        self.houses.lock().unwrap().push(house.clone());
    }

    /// Answers the next such call with a failure.
    pub(crate) fn fail_next(
        &self,
        call: Call,
        excuse: impl Fn() -> Failure + Send + Sync + 'static,
    ) {
        let mut state = self.state();
        state
            .excuses
            .entry(call)
            .or_default()
            .push_back(Arc::new(excuse));
    }

    /// Answers all such calls with a failure until [`Self::recover`].
    pub(crate) fn fail(&self, call: Call, excuse: impl Fn() -> Failure + Send + Sync + 'static) {
        self.state().always.insert(call, Arc::new(excuse));
    }

    /// Answers nothing any more.
    pub(crate) fn go_down(&self) {
        for call in [
            Call::Directory,
            Call::NewOrder,
            Call::Order,
            Call::Authorization,
            Call::Finalize,
            Call::Certificate,
            Call::RenewalInfo,
            Call::Revoke,
        ] {
            self.fail(call, unreachable);
        }
    }

    pub(crate) fn recover(&self) {
        self.state().always.clear();
    }

    /// Whether the answer to the next change of a key is lost.
    pub(crate) fn lose_next_key_change(&self, is_lost: bool) {
        self.state().loses_key_change = is_lost;
    }

    pub(crate) fn bend(&self, bend: impl Fn(Chain) -> Chain + Send + Sync + 'static) {
        self.state().bend = Some(Arc::new(bend));
    }

    pub(crate) fn set_window(&self, certificate: &str, start: OffsetDateTime, end: OffsetDateTime) {
        let mut state = self.state();
        state.windows.insert(certificate.to_owned(), (start, end));
    }

    /// Wants all certificates that it has issued so far to be renewed in a window.
    pub(crate) fn recall(&self, start: OffsetDateTime, end: OffsetDateTime) {
        let mut state = self.state();
        for name in state.issued.clone() {
            state.windows.insert(name, (start, end));
        }
    }

    pub(crate) fn orders(&self) -> Vec<Ordered> {
        self.state().orders.clone()
    }

    /// How many orders there were for exactly that name.
    pub(crate) fn orders_for(&self, name: &str) -> usize {
        let wanted = [name.to_owned()];
        let orders = self.orders();
        orders.iter().filter(|order| order.names == wanted).count()
    }

    pub(crate) fn calls(&self, call: Call) -> usize {
        self.state()
            .calls
            .iter()
            .filter(|made| **made == call)
            .count()
    }

    pub(crate) fn revoked(&self) -> Vec<(Vec<u8>, u8)> {
        self.state().revoked.clone()
    }

    /// Cuts the node off at the `request`-th request from now, before or after it has its effect.
    pub(crate) fn cut_at(&self, request: usize, after: bool) {
        *self.cut.lock().unwrap() = Cut {
            left: Some((request, after)),
            happened: false,
        };
    }

    /// Whether the node was cut off; from now on it is not.
    pub(crate) fn mend(&self) -> bool {
        std::mem::take(&mut *self.cut.lock().unwrap()).happened
    }

    /// Whether the node has been cut off.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.lock().unwrap().happened
    }

    /// Surroundings in which this is the only directory.
    pub(crate) fn surroundings(&self) -> Surroundings {
        surroundings(&self.clock, self.clone())
    }

    /// A request comes in; never returns for one that is cut off.
    async fn enter(&self, call: Call) -> Result<bool, Failure> {
        let is_cut_after = {
            let mut cut = self.cut.lock().unwrap();
            match cut.left.as_mut() {
                Some((0, after)) => Some(*after),
                Some((left, _)) => {
                    *left -= 1;
                    None
                }
                None => None,
            }
            .inspect(|_| cut.happened = true)
        };
        if is_cut_after == Some(false) {
            std::future::pending::<()>().await;
        }
        let excuse = {
            let mut state = self.state();
            state.calls.push(call);
            let next = state.excuses.get_mut(&call).and_then(VecDeque::pop_front);
            next.or_else(|| state.always.get(&call).cloned())
        };
        match excuse {
            Some(excuse) => Err(excuse()),
            None => Ok(is_cut_after == Some(true)),
        }
    }

    async fn leave<Answer>(&self, is_cut: bool, answer: Answer) -> Answer {
        if is_cut {
            std::future::pending::<()>().await;
        }
        answer
    }

    fn index(url: &str) -> usize {
        url.rsplit('/').next().unwrap().parse().unwrap()
    }

    fn view(state: &State, index: usize) -> Order {
        let order = &state.orders[index];
        Order {
            url: format!("{BASE}/order/{index}"),
            status: order.status,
            authorizations: (0..order.names.len())
                .map(|name| format!("{BASE}/authorization/{name}/{index}"))
                .collect(),
            error: (order.status == OrderStatus::Invalid)
                .then(|| Problem::new(ErrorKind::Unauthorized, "some authorizations failed")),
            retry_after: None,
            expires_at: Some(order.at + time::Duration::days(7)),
        }
    }

    fn sign(&self, state: &mut State, request: &[u8]) -> Chain {
        let pem = CertificateRequest::to_pem(request);
        let request = CertificateRequest::from_pem_or_der(pem.as_bytes()).unwrap();
        let now = self.clock.now();
        state.serial += 1;
        let mut serial = [0x7f; 16];
        serial[8..].copy_from_slice(&state.serial.to_be_bytes());
        let profile = Profile::Leaf(LeafProfile {
            subject: DistinguishedName::from_fields(&SubjectFields::default()).unwrap(),
            identifiers: request.identifiers().to_vec(),
            public_key: request.public_key().clone(),
            validity: Validity::new(now - time::Duration::HOUR, now + state.manners.lifetime)
                .unwrap(),
            usages: Usages::default(),
            urls: Urls::default(),
        });
        let serial = Serial::from_random(serial).unwrap();
        let prepared = pki::prepare(profile, &serial, &self.signer).unwrap();
        let leaf = prepared.lint().unwrap().sign().unwrap();
        state.issued.push(name_of(&leaf));
        vec![
            leaf.der().to_vec(),
            self.signer.certificate().der().to_vec(),
        ]
    }

    /// Whether a house answers for the challenge of a name.
    async fn is_met(&self, name: &str, token: &str) -> bool {
        let houses = self.houses.lock().unwrap().clone();
        for house in houses {
            if house.answers.http(name, token).await.unwrap().is_some() {
                return true;
            }
        }
        false
    }
}

fn token(name: usize, order: usize) -> String {
    format!("token-{order}-{name}")
}

pub(crate) fn unreachable() -> Failure {
    Failure::Unreachable {
        reason: "connection refused".to_owned(),
    }
}

pub(crate) fn refused(
    kind: ErrorKind,
    status: u16,
    detail: &str,
    retry_after: Option<Duration>,
) -> Failure {
    Failure::Refused {
        problem: Box::new(Problem::new(kind, detail)),
        status,
        retry_after,
    }
}

/// Surroundings whose directories are spoken to through `client`.
pub(crate) fn surroundings(clock: &TurnedClock, client: impl Client + 'static) -> Surroundings {
    let network = Network {
        directories: Arc::new(client),
        ..Network::offline()
    };
    Surroundings::new(clock.clone(), SystemRandomness).with_network(network)
}

fn signer(now: OffsetDateTime) -> Signer {
    let key = PrivateKey::generate(KeyAlgorithm::P256).unwrap();
    let subject = SubjectFields {
        common_name: Some("Fake Root".to_owned()),
        ..SubjectFields::default()
    };
    let profile = CaProfile {
        subject: DistinguishedName::from_fields(&subject).unwrap(),
        public_key: key.public_key().clone(),
        validity: Validity::new(
            now - time::Duration::days(1),
            now + time::Duration::days(3650),
        )
        .unwrap(),
        path_length: None,
        name_constraints: None,
        urls: Urls::default(),
    };
    let serial = Serial::from_random([0x11; 16]).unwrap();
    let prepared = pki::prepare_self_signed(profile, &serial, &key).unwrap();
    Signer::new(prepared.lint().unwrap().sign().unwrap(), key).unwrap()
}

/// What a certificate is called in renewal information (RFC 9773 section 4.1), written a second time.
pub(crate) fn name_of(leaf: &Certificate) -> String {
    let serial = leaf.serial().as_be_bytes();
    assert!(
        serial[0] < 0x80,
        "the directory's serial numbers begin with 0x7f"
    );
    let issuer = leaf.authority_key_identifier().unwrap();
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(issuer),
        URL_SAFE_NO_PAD.encode(serial)
    )
}

#[async_trait]
impl Client for FakeDirectory {
    async fn directory(&self, _: &Endpoint) -> Result<DirectoryInfo, Failure> {
        let is_cut = self.enter(Call::Directory).await?;
        let info = {
            let state = self.state();
            let manners = &state.manners;
            let profiles = manners.profiles.iter().cloned();
            DirectoryInfo {
                terms_of_service: manners.terms.clone(),
                profiles: profiles.map(|name| (name, String::new())).collect(),
                caa_identities: vec!["directory.test".to_owned()],
                persistent_issuers: manners
                    .has_standing_records
                    .then(|| "directory.test".to_owned())
                    .into_iter()
                    .collect(),
                account_hash_prefix: manners
                    .has_standing_records
                    .then(|| "https://directory.test/hash/".to_owned()),
                requires_external_account: manners.requires_external_account,
                has_renewal_info: manners.has_renewal_info,
            }
        };
        self.leave(is_cut, Ok(info)).await
    }

    async fn register(&self, _: &Endpoint, asked: &Registration) -> Result<String, Failure> {
        let is_cut = self.enter(Call::Register).await?;
        self.state().keys.insert(asked.key.as_pkcs8().to_vec());
        self.leave(is_cut, Ok(format!("{BASE}/account/1"))).await
    }

    async fn is_known(&self, login: &Login) -> Result<bool, Failure> {
        Ok(self.state().keys.contains(login.key.as_pkcs8()))
    }

    async fn change_key(&self, login: &Login, key: &AccountKey) -> Result<(), Failure> {
        let is_cut = self.enter(Call::ChangeKey).await?;
        let is_lost = {
            let mut state = self.state();
            if !state.keys.remove(login.key.as_pkcs8()) {
                return Err(refused(ErrorKind::Unauthorized, 403, "no such key", None));
            }
            state.keys.insert(key.as_pkcs8().to_vec());
            std::mem::take(&mut state.loses_key_change)
        };
        let changed = if is_lost { Err(unreachable()) } else { Ok(()) };
        self.leave(is_cut, changed).await
    }

    async fn deactivate(&self, _: &Login) -> Result<(), Failure> {
        Ok(())
    }

    async fn new_order(&self, login: &Login, asked: &NewOrder) -> Result<Order, Failure> {
        let is_cut = self.enter(Call::NewOrder).await?;
        self.heed_silence(login).await;
        if !self.state().keys.contains(login.key.as_pkcs8()) {
            return Err(refused(ErrorKind::Unauthorized, 403, "no such key", None));
        }
        let order = {
            let mut state = self.state();
            let names: Vec<String> = asked
                .identifiers
                .iter()
                .map(|identifier| identifier.value.clone())
                .collect();
            let trusts = state.manners.trusts;
            let at = self.clock.now();
            state.orders.push(Ordered {
                names,
                replaces: asked.replaces.clone(),
                at,
                status: if trusts {
                    OrderStatus::Ready
                } else {
                    OrderStatus::Pending
                },
                looks: 0,
                chain: None,
                failed: HashMap::new(),
                proven: HashSet::new(),
            });
            Self::view(&state, state.orders.len() - 1)
        };
        self.leave(is_cut, Ok(order)).await
    }

    async fn order(&self, _: &Login, url: &str) -> Result<Order, Failure> {
        let is_cut = self.enter(Call::Order).await?;
        let order = {
            let mut state = self.state();
            let index = Self::index(url);
            let processing = state.manners.processing;
            let order = &mut state.orders[index];
            if order.status == OrderStatus::Processing {
                order.looks += 1;
                if order.looks >= processing {
                    order.status = OrderStatus::Valid;
                }
            }
            Self::view(&state, index)
        };
        self.leave(is_cut, Ok(order)).await
    }

    async fn authorization(&self, _: &Login, url: &str) -> Result<Authorization, Failure> {
        let is_cut = self.enter(Call::Authorization).await?;
        let (path, order) = url.rsplit_once('/').unwrap();
        let (place, order): (usize, usize) = (Self::index(path), order.parse().unwrap());
        let authorization = {
            let state = self.state();
            let ordered = &state.orders[order];
            let name = ordered.names[place].clone();
            let error = ordered.failed.get(&name).cloned();
            let is_proven = ordered.proven.contains(&name);
            let (status, challenge) = match (&error, is_proven) {
                (Some(_), _) => (AuthorizationStatus::Invalid, ChallengeStatus::Invalid),
                (None, true) => (AuthorizationStatus::Valid, ChallengeStatus::Valid),
                (None, false) => (AuthorizationStatus::Pending, ChallengeStatus::Pending),
            };
            let identifier = Identifier::parse_host(&name).unwrap();
            let is_wildcard = name.starts_with("*.");
            let mut identifier = acme::Identifier::from(&identifier);
            identifier.value = name.trim_start_matches("*.").to_owned();
            Authorization {
                url: url.to_owned(),
                identifier,
                is_wildcard,
                status,
                challenges: state
                    .manners
                    .challenges
                    .iter()
                    .map(|kind| Challenge {
                        kind: kind.clone(),
                        url: format!("{BASE}/challenge/{place}/{order}"),
                        status: challenge,
                        token: Some(token(place, order).parse::<Token>().unwrap()),
                        error: error.clone(),
                        issuer_domain_names: Vec::new(),
                    })
                    .collect(),
                expires_at: None,
            }
        };
        self.leave(is_cut, Ok(authorization)).await
    }

    async fn answer(&self, _: &Login, challenge: &Challenge) -> Result<(), Failure> {
        let is_cut = self.enter(Call::Answer).await?;
        let (path, order) = challenge.url.rsplit_once('/').unwrap();
        let (place, order): (usize, usize) = (Self::index(path), order.parse().unwrap());
        let name = self.state().orders[order].names[place].clone();
        let host = name.trim_start_matches("*.");
        let is_met = self.is_met(host, &token(place, order)).await;
        {
            let mut state = self.state();
            let order = &mut state.orders[order];
            if is_met {
                order.proven.insert(name);
                if order.proven.len() == order.names.len() {
                    order.status = OrderStatus::Ready;
                }
            } else {
                let problem = Problem::new(ErrorKind::Connection, "nobody answers for it");
                order.failed.insert(name, problem);
                order.status = OrderStatus::Invalid;
            }
        }
        self.leave(is_cut, Ok(())).await
    }

    async fn finalize(&self, _: &Login, url: &str, request: &[u8]) -> Result<Order, Failure> {
        let is_cut = self.enter(Call::Finalize).await?;
        let order = {
            let mut state = self.state();
            let index = Self::index(url);
            if state.orders[index].status != OrderStatus::Ready {
                let detail = "it is not ready";
                return Err(refused(ErrorKind::OrderNotReady, 403, detail, None));
            }
            let chain = self.sign(&mut state, request);
            let is_slow = state.manners.processing > 0;
            let order = &mut state.orders[index];
            order.chain = Some(chain);
            order.status = if is_slow {
                OrderStatus::Processing
            } else {
                OrderStatus::Valid
            };
            Self::view(&state, index)
        };
        self.leave(is_cut, Ok(order)).await
    }

    async fn certificate(&self, _: &Login, url: &str) -> Result<Vec<Chain>, Failure> {
        let is_cut = self.enter(Call::Certificate).await?;
        let chains = {
            let state = self.state();
            let chain = state.orders[Self::index(url)].chain.clone().unwrap();
            match &state.bend {
                Some(bend) => vec![bend(chain)],
                None => vec![chain],
            }
        };
        self.leave(is_cut, Ok(chains)).await
    }

    async fn renewal_info(&self, _: &Endpoint, name: &str) -> Result<RenewalInfo, Failure> {
        let is_cut = self.enter(Call::RenewalInfo).await?;
        let window = {
            let state = self.state();
            state.windows.get(name).copied()
        };
        let not_found = || refused(ErrorKind::Malformed, 404, "no such certificate", None);
        let (start, end) = window.ok_or_else(not_found)?;
        let info = RenewalInfo {
            start,
            end,
            explanation: None,
            retry_after: Some(Duration::from_secs(6 * 60 * 60)),
        };
        self.leave(is_cut, Ok(info)).await
    }

    async fn revoke(&self, login: &Login, certificate: &[u8], reason: u8) -> Result<(), Failure> {
        let is_cut = self.enter(Call::Revoke).await?;
        self.heed_silence(login).await;
        self.state().revoked.push((certificate.to_vec(), reason));
        self.leave(is_cut, Ok(())).await
    }
}
