//! Notices: what webhooks are told, in which words, how often, and by whom.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use egress::{EgressPolicy, Fetch, FetchError, Request, Response};
use http::{HeaderMap, StatusCode};
use lifecycle::{
    CertificateId, CertificateRef, DeliveryOutcome, Error, EventId, House, InstallationKind,
    InstallationRequest, MintedWebhook, Network, NewWebhook, NoticeKind, Principal, Surroundings,
    SystemRandomness, TokenLimits, Trial, Webhook, WebhookFormat,
};
use pki::KeyAlgorithm;
use serde_json::Value;
use store::{DatabaseUrl, DeliveryId, MasterKey, NewDelivery, Scope, Store};
use tokio::task::JoinHandle;

use crate::support::served::{Smith, serve};
use crate::support::{DAY, Fixture, HOUR, MINUTE, eventually, settings};

/// A receiver that answers as it is told, and keeps what was posted.
#[derive(Debug, Clone, Default)]
struct Receiver(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
struct Received {
    posts: Vec<Request>,
    /// Answers of the next requests; after them, 204.
    answers: VecDeque<Result<StatusCode, FetchError>>,
}

#[async_trait]
impl Fetch for Receiver {
    async fn fetch(&self, request: Request) -> Result<Response, FetchError> {
        let mut received = self.0.lock().unwrap();
        received.posts.push(request);
        let answer = received.answers.pop_front();
        let status = answer.unwrap_or(Ok(StatusCode::NO_CONTENT))?;
        Ok(Response {
            status,
            headers: HeaderMap::new(),
            body: b"never looked at".as_slice().into(),
        })
    }
}

impl Receiver {
    fn answer(&self, answer: Result<StatusCode, FetchError>) {
        self.0.lock().unwrap().answers.push_back(answer);
    }

    fn posts(&self) -> Vec<Request> {
        self.0.lock().unwrap().posts.clone()
    }

    fn bodies(&self) -> Vec<Value> {
        let posts = self.posts();
        let bodies = posts.iter().map(|post| serde_json::from_slice(&post.body));
        bodies.map(Result::unwrap).collect()
    }

    /// What was told so far, in the words of the house.
    fn events(&self) -> Vec<String> {
        let bodies = self.bodies();
        let events = bodies.iter().map(|body| body["event"].as_str());
        events.map(|event| event.unwrap().to_owned()).collect()
    }
}

/// A fixture, with a house over its database that has a network: the receiver.
struct Scene {
    fixture: Fixture,
    house: House,
    receiver: Receiver,
}

impl Scene {
    async fn new() -> Self {
        let fixture = Fixture::new(KeyAlgorithm::P256).await;
        let receiver = Receiver::default();
        let house = house(&fixture, &receiver).await;
        Self {
            fixture,
            house,
            receiver,
        }
    }

    /// A tenant that wants to be told of everything in the house's words.
    async fn tenant(&self) -> (Principal, MintedWebhook) {
        let tenant = self.fixture.tenant("shop", TokenLimits::default()).await;
        let minted = self.add(&tenant, WebhookFormat::Chancery, &[]).await;
        (tenant, minted)
    }

    async fn add(
        &self,
        owner: &Principal,
        format: WebhookFormat,
        kinds: &[NoticeKind],
    ) -> MintedWebhook {
        let webhook = NewWebhook {
            url: "https://hooks.test/in".to_owned(),
            format,
            kinds: kinds.to_vec(),
            ..NewWebhook::default()
        };
        self.house.webhooks.add(owner, webhook).await.unwrap()
    }
}

async fn house(fixture: &Fixture, receiver: &Receiver) -> House {
    let url = DatabaseUrl::sqlite(fixture.data.path().join("test.db"));
    let key = MasterKey::from_bytes(&[3; 32]).unwrap();
    let store = Store::open(&url, &key).await.unwrap();
    let network = Network {
        fetch: Arc::new(receiver.clone()),
        ..Network::offline()
    };
    let surroundings = Surroundings::new(fixture.clock.clone(), SystemRandomness);
    let surroundings = surroundings.with_network(network);
    House::new(store, surroundings, settings(KeyAlgorithm::P256))
}

/// Nodes that tell, until they are dropped.
struct Telling(Vec<JoinHandle<()>>);

impl Telling {
    /// From now on: what has happened before is told to nobody.
    async fn start(houses: &[&House], fixture: &Fixture) -> Self {
        let tasks = houses.iter().map(|house| {
            let house = (*house).clone();
            tokio::spawn(async move { house.send_notices().await })
        });
        let telling = Self(tasks.collect());
        let store = &fixture.nodes[0].store;
        eventually("the reader knows where it begins", || async {
            store.cursor("notifier").await.unwrap()
        })
        .await;
        telling
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn request(scene: &Scene, owner: &Principal, name: &str) -> lifecycle::Certificate {
    let request = lifecycle::ManagedRequest::of_name(None, name).unwrap();
    let certificates = &scene.house.certificates;
    let certificate = certificates.request_managed(owner, request).await.unwrap();
    scene.house.obtain_due_now().await.unwrap();
    certificate
}

fn is_signed(post: &Request, secret: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let expected = hmac::sign(&key, &post.body);
    let expected: String = expected
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    post.headers["x-signature"] == expected
}

#[tokio::test]
async fn a_webhook_is_told_of_what_becomes_of_certificates() {
    let scene = Scene::new().await;
    let (tenant, minted) = scene.tenant().await;
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    let certificate = request(&scene, &tenant, "a.test").await;
    eventually("it is told", || async {
        (scene.receiver.posts().len() == 1).then_some(())
    })
    .await;
    let [post] = &scene.receiver.posts()[..] else {
        panic!("more than one")
    };
    assert!(is_signed(post, &minted.secret));
    assert!(!is_signed(post, "another secret"));
    assert_eq!(post.headers["content-type"], "application/json");
    assert_eq!(post.url, "https://hooks.test/in");
    assert_eq!(post.redirects, 0);
    assert_eq!(
        post.policy,
        EgressPolicy {
            private: true,
            loopback: false
        }
    );
    let body = &scene.receiver.bodies()[0];
    assert_eq!(body["timestamp"], scene.fixture.now().unix_timestamp());
    assert_eq!(body["event"], "certificate.issued");
    assert_eq!(body["account"], "shop");
    assert_eq!(body["certificate"]["uuid"], certificate.id.to_string());
    assert_eq!(body["certificate"]["identifiers"][0], "a.test");
    assert_eq!(body["certificate"]["state"], "valid");
    assert!(body["certificate"]["current"]["not_after"].is_string());

    // A renewal, and its failure.
    let reference = CertificateRef::Id(certificate.id);
    scene
        .house
        .certificates
        .renew(&tenant, &reference)
        .await
        .unwrap();
    scene.house.obtain_due_now().await.unwrap();
    eventually("the renewal is told", || async {
        (scene.receiver.posts().len() == 2).then_some(())
    })
    .await;
    assert_eq!(scene.receiver.events()[1], "certificate.renewed");
}

#[tokio::test]
async fn nobody_is_told_of_the_certificates_of_another_account_or_of_the_past() {
    let scene = Scene::new().await;
    let early = scene.fixture.tenant("early", TokenLimits::default()).await;
    let stranger = scene
        .fixture
        .tenant("stranger", TokenLimits::default())
        .await;
    request(&scene, &early, "past.test").await;
    scene.add(&early, WebhookFormat::Chancery, &[]).await;
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    request(&scene, &stranger, "stranger.test").await;
    scene.fixture.turn(1);
    request(&scene, &early, "own.test").await;
    eventually("it is told", || async {
        (!scene.receiver.posts().is_empty()).then_some(())
    })
    .await;
    let told = scene.receiver.bodies();
    let names: Vec<&Value> = told
        .iter()
        .map(|body| &body["certificate"]["common_name"])
        .collect();
    assert_eq!(names, ["own.test"]);
}

#[tokio::test]
async fn a_webhook_is_told_of_the_kinds_that_it_wants_in_its_own_words() {
    let scene = Scene::new().await;
    let tenant = scene.fixture.tenant("shop", TokenLimits::default()).await;
    let cloud66 = WebhookFormat::Cloud66;
    scene.add(&tenant, cloud66, &[NoticeKind::Issued]).await;
    scene
        .add(&tenant, WebhookFormat::Chancery, &[NoticeKind::Failed])
        .await;
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    request(&scene, &tenant, "a.test").await;
    eventually("it is told", || async {
        (!scene.receiver.posts().is_empty()).then_some(())
    })
    .await;
    let bodies = scene.receiver.bodies();
    let [body] = &bodies[..] else {
        panic!("{bodies:?}")
    };
    assert_eq!(body["event_type"], "ssl_certificate.install.ok");
    let told = &body["ssl_certificate"];
    assert_eq!(told["server_names"], "a.test");
    assert_eq!(told["status"], "installed");
    assert_eq!(told["lets_encrypt"], true);
    assert_eq!(told["has_intermediate_cert"], true);
    assert_eq!(told["stack_id"], Value::Null);
    assert!(told.get("error_message").is_none() && told.get("days_until_expiry").is_none());
}

#[tokio::test]
async fn it_is_told_of_certificates_whose_keys_are_elsewhere_too() {
    let scene = Scene::new().await;
    let owner = &scene.fixture.principal;
    scene.add(owner, WebhookFormat::Chancery, &[]).await;
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    let id = scene.fixture.issue_for_request("a.test", 7).await.id;
    eventually("it is told", || async {
        (!scene.receiver.posts().is_empty()).then_some(())
    })
    .await;
    let body = &scene.receiver.bodies()[0];
    assert_eq!(body["event"], "certificate.issued");
    assert_eq!(body["certificate"]["uuid"], id.to_string());
}

#[tokio::test]
async fn what_somebody_brought_along_is_installed_as_it_was_said_to_be() {
    let scene = Scene::new().await;
    let tenant = scene.fixture.tenant("shop", TokenLimits::default()).await;
    for format in [WebhookFormat::Chancery, WebhookFormat::Cloud66] {
        scene.add(&tenant, format, &[NoticeKind::Uploaded]).await;
    }
    let smith = Smith::new(&scene.fixture).await;
    let pair = smith.pair(&scene.house, &["a.test", "b.test"], 30).await;
    let service = serve(&scene.house, &tenant, &[]).await;
    let request = InstallationRequest {
        kind: Some(InstallationKind::Uploaded),
        server_names: Some("B.test,a.test".to_owned()),
        ssl_termination: Some(false),
        certificate: Some(pair.0.into()),
        key: Some(pair.1.into()),
        ..InstallationRequest::default()
    };
    let installations = &scene.house.installations;
    // Whoever tells looks at any moment: at none there is a certificate that is not installed.
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    let installed = installations.create(&tenant, service, request).await;
    installed.unwrap();
    let store = &scene.fixture.nodes[0].store;
    let kept = store.installations(Scope::Everything, service).await;
    let id = kept.unwrap()[0].certificate_id;
    let (certificate, key) = smith.pair(&scene.house, &["a.test", "b.test"], 60).await;
    let renewed = InstallationRequest {
        server_names: Some("B.test,a.test".to_owned()),
        certificate: Some(certificate.into()),
        key: Some(key.into()),
        ..InstallationRequest::default()
    };
    scene.fixture.turn(1);
    let changed = installations.change(&tenant, service, id, renewed);
    changed.await.unwrap();
    eventually("both are told of both", || async {
        (scene.receiver.posts().len() >= 4).then_some(())
    })
    .await;
    let bodies = scene.receiver.bodies();
    let own = bodies.iter().filter_map(|body| body.get("event"));
    let own: Vec<_> = own.collect();
    assert_eq!(own, ["certificate.uploaded", "certificate.uploaded"]);
    let told = bodies
        .iter()
        .filter(|body| body.get("event_type").is_some());
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2);
    for body in told {
        assert_eq!(body["event_type"], "ssl_certificate.install.ok");
        let told = &body["ssl_certificate"];
        assert_eq!(told["lets_encrypt"], false);
        assert_eq!(told["server_names"], "B.test,a.test");
        assert_eq!(told["ssl_termination"], false);
        assert!(told["stack_id"].is_u64());
    }
}

#[tokio::test]
async fn nobody_is_told_of_what_was_refused() {
    let scene = Scene::new().await;
    let tenant = scene.fixture.tenant("shop", TokenLimits::default()).await;
    scene.add(&tenant, WebhookFormat::Chancery, &[]).await;
    let smith = Smith::new(&scene.fixture).await;
    serve(&scene.house, &scene.fixture.principal, &["b.test."]).await;
    let service = serve(&scene.house, &tenant, &[]).await;
    let _telling = Telling::start(&[&scene.house], &scene.fixture).await;
    let pair = smith.pair(&scene.house, &["a.test", "b.test"], 30).await;
    let request = InstallationRequest {
        kind: Some(InstallationKind::Uploaded),
        certificate: Some(pair.0.into()),
        key: Some(pair.1.into()),
        ..InstallationRequest::default()
    };
    let installations = &scene.house.installations;
    let refused = installations.create(&tenant, service, request).await;
    assert!(
        matches!(refused, Err(Error::DomainTaken { .. })),
        "{refused:?}"
    );
    request_named(&scene, &tenant, "last.test").await;
    let bodies = scene.receiver.bodies();
    let names: Vec<_> = bodies
        .iter()
        .map(|body| &body["certificate"]["common_name"])
        .collect();
    assert_eq!(names, ["last.test"]);
}

/// Requests a certificate, and waits until somebody is told of it.
async fn request_named(scene: &Scene, owner: &Principal, name: &str) {
    request(scene, owner, name).await;
    eventually("it is told", || async {
        let bodies = scene.receiver.bodies();
        let mut names = bodies
            .iter()
            .map(|body| &body["certificate"]["common_name"]);
        names.any(|told| told == name).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_nodes_tell_once() {
    let scene = Scene::new().await;
    let (tenant, minted) = scene.tenant().await;
    let other = house(&scene.fixture, &scene.receiver).await;
    let _telling = Telling::start(&[&scene.house, &other], &scene.fixture).await;
    let names: Vec<String> = (0..20).map(|number| format!("d{number}.test")).collect();
    for name in &names {
        request(&scene, &tenant, name).await;
    }
    let store = &scene.fixture.nodes[0].store;
    let webhook = minted.webhook.id;
    eventually("all are told", || async {
        let waiting = store.waiting_deliveries(&[webhook]).await.unwrap();
        (scene.receiver.posts().len() >= names.len() && waiting.is_empty()).then_some(())
    })
    .await;
    let mut told: Vec<String> = scene
        .receiver
        .posts()
        .iter()
        .map(|post| {
            post.headers["x-chancery-delivery"]
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(told.len(), names.len());
    told.sort();
    told.dedup();
    assert_eq!(told.len(), names.len());
}

/// Deliveries to a webhook that are due now.
async fn deliver(scene: &Scene, webhook: &Webhook, count: u64) {
    let now = scene.fixture.now();
    let deliveries = (1..=count).map(|event| NewDelivery {
        id: DeliveryId::at(now),
        webhook_id: webhook.id,
        event_id: EventId::from_number(event),
        body: format!("{{\"event\":\"number {event}\"}}"),
        next_attempt_at: now,
        created_at: now,
    });
    let store = &scene.fixture.nodes[0].store;
    let cursor = webhook.id.to_string();
    let place = EventId::from_number(count);
    let added = store.add_deliveries(&cursor, None, place, deliveries.collect());
    assert!(added.await.unwrap());
}

async fn waiting(scene: &Scene, webhook: &Webhook) -> u64 {
    let store = &scene.fixture.nodes[0].store;
    let waiting = store.waiting_deliveries(&[webhook.id]).await.unwrap();
    waiting.get(&webhook.id).copied().unwrap_or_default()
}

#[tokio::test]
async fn a_delivery_is_tried_three_times() {
    let scene = Scene::new().await;
    let (_, minted) = scene.tenant().await;
    let webhook = minted.webhook;
    deliver(&scene, &webhook, 1).await;
    scene.receiver.answer(Ok(StatusCode::INTERNAL_SERVER_ERROR));
    scene.receiver.answer(Ok(StatusCode::FOUND));
    scene.receiver.answer(Err(FetchError::TimedOut {
        host: "hooks.test".to_owned(),
    }));
    for (pause, attempts) in [(0, 1), (MINUTE - 1, 1), (1, 2), (10 * MINUTE - 1, 2)] {
        scene.fixture.turn(pause);
        scene.house.send_due_notices().await.unwrap();
        assert_eq!(scene.receiver.posts().len(), attempts);
        assert_eq!(waiting(&scene, &webhook).await, 1);
    }
    scene.fixture.turn(1);
    assert_eq!(scene.house.send_due_notices().await.unwrap(), 1);
    assert_eq!(waiting(&scene, &webhook).await, 0);
    let posts = scene.receiver.posts();
    let mut ids = posts
        .iter()
        .map(|post| &post.headers["x-chancery-delivery"]);
    let first = ids.next().unwrap();
    assert!(
        ids.all(|id| id == first),
        "the number of a delivery changes"
    );
    // Each attempt says when it was made, so that an old one cannot be played again.
    let bodies = scene.receiver.bodies();
    let times: Vec<_> = bodies
        .iter()
        .map(|body| body["timestamp"].as_i64().unwrap())
        .collect();
    assert_eq!(times[1] - times[0], MINUTE);
    assert!(posts.iter().all(|post| is_signed(post, &minted.secret)));
    let counts = scene.house.tally.counts().deliveries;
    assert_eq!(counts[&DeliveryOutcome::Failed], 2);
    assert_eq!(counts[&DeliveryOutcome::Dropped], 1);
}

#[tokio::test]
async fn a_delivery_that_arrives_at_last_is_not_made_again() {
    let scene = Scene::new().await;
    let (_, minted) = scene.tenant().await;
    deliver(&scene, &minted.webhook, 1).await;
    scene.receiver.answer(Ok(StatusCode::BAD_GATEWAY));
    scene.house.send_due_notices().await.unwrap();
    scene.fixture.turn(MINUTE);
    scene.house.send_due_notices().await.unwrap();
    scene.fixture.turn(HOUR);
    assert_eq!(scene.house.send_due_notices().await.unwrap(), 0);
    assert_eq!(scene.receiver.posts().len(), 2);
    let counts = scene.house.tally.counts().deliveries;
    assert_eq!(counts[&DeliveryOutcome::Delivered], 1);
}

#[tokio::test]
async fn many_deliveries_of_one_account_are_all_posted() {
    let scene = Scene::new().await;
    let (_, minted) = scene.tenant().await;
    deliver(&scene, &minted.webhook, 100).await;
    assert_eq!(scene.house.send_due_notices().await.unwrap(), 100);
    assert_eq!(scene.receiver.posts().len(), 100);
}

#[tokio::test]
async fn the_webhook_of_an_administrator_may_be_on_this_machine() {
    let scene = Scene::new().await;
    let (tenant, minted) = scene.tenant().await;
    let administrator = &scene.fixture.principal;
    let webhooks = &scene.house.webhooks;
    let local = |url: &str| NewWebhook {
        url: url.to_owned(),
        ..NewWebhook::default()
    };
    for url in [
        "http://127.0.0.1:9/",
        "https://[::1]/",
        "http://169.254.169.254/latest",
    ] {
        let refused = webhooks.add(&tenant, local(url)).await.unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { field: "url", .. }),
            "{refused}"
        );
    }
    let refused = webhooks
        .add(administrator, local("http://169.254.169.254/"))
        .await;
    assert!(refused.is_err());
    let own = webhooks
        .add(administrator, local("http://127.0.0.1:9/"))
        .await
        .unwrap();
    let tried = webhooks.test(administrator, own.webhook.id).await.unwrap();
    assert_eq!(tried, Trial::Delivered { status: 204 });
    assert!(scene.receiver.posts()[0].policy.loopback);
    assert!(is_signed(&scene.receiver.posts()[0], &own.secret));

    // Private networks are where receivers are.
    let private = webhooks.add(&tenant, local("http://10.0.0.1/")).await;
    assert!(private.is_ok());
    scene.receiver.answer(Ok(StatusCode::NOT_FOUND));
    let tried = webhooks.test(&tenant, minted.webhook.id).await.unwrap();
    assert!(matches!(tried, Trial::Failed { reason } if reason.contains("404")));
    assert!(!scene.receiver.posts()[1].policy.loopback);
}

#[tokio::test]
async fn webhooks_are_out_of_reach_of_other_accounts() {
    let scene = Scene::new().await;
    let (tenant, minted) = scene.tenant().await;
    let stranger = scene
        .fixture
        .tenant("stranger", TokenLimits::default())
        .await;
    let webhooks = &scene.house.webhooks;
    let id = minted.webhook.id;
    assert_eq!(webhooks.list(&stranger).await.unwrap(), []);
    for refused in [
        webhooks.remove(&stranger, id).await.unwrap_err(),
        webhooks.test(&stranger, id).await.unwrap_err(),
    ] {
        assert!(matches!(refused, Error::NotFound { .. }), "{refused}");
    }
    let for_other = NewWebhook {
        url: "https://hooks.test/".to_owned(),
        account: Some("shop".to_owned()),
        ..NewWebhook::default()
    };
    let refused = webhooks.add(&stranger, for_other).await.unwrap_err();
    assert!(matches!(refused, Error::Forbidden { .. }), "{refused}");
    assert_eq!(webhooks.list(&tenant).await.unwrap().len(), 1);
    assert_eq!(
        webhooks.list(&scene.fixture.principal).await.unwrap().len(),
        1
    );
    webhooks.remove(&tenant, id).await.unwrap();
    assert_eq!(webhooks.list(&tenant).await.unwrap(), []);
}

#[tokio::test]
async fn a_webhook_that_cannot_be_posted_to_is_refused() {
    let scene = Scene::new().await;
    let owner = &scene.fixture.principal;
    for url in [
        "",
        "hooks.test",
        "/hooks",
        "ftp://hooks.test/",
        "https://",
        "https://user:password@hooks.test/",
        "https://hooks.test/#fragment",
        "https://hooks.tést/",
        &format!("https://hooks.test/{}", "a".repeat(2048)),
    ] {
        let webhook = NewWebhook {
            url: url.to_owned(),
            ..NewWebhook::default()
        };
        let refused = scene.house.webhooks.add(owner, webhook).await;
        assert!(refused.unwrap_err().is_form_fault(), "{url}");
    }
    for secret in ["short", "with a space in it, and long", &"s".repeat(257)] {
        let webhook = NewWebhook {
            url: "https://hooks.test/".to_owned(),
            secret: Some(secret.to_owned().into()),
            ..NewWebhook::default()
        };
        let refused = scene.house.webhooks.add(owner, webhook).await.unwrap_err();
        assert!(!refused.to_string().contains(secret), "{refused}");
    }
}

/// What the log says of certificates that end soon.
async fn ends(fixture: &Fixture) -> Vec<CertificateId> {
    let store = &fixture.nodes[0].store;
    let events = store.events_after(Scope::Everything, None, 1_000).await;
    let events = events.unwrap().into_iter();
    let told = events.filter(|event| event.kind == "certificate.expiring");
    told.map(|event| CertificateId::from_uuid(event.object.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_of_30_days_7_days_and_a_day_before() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let (house, other) = (fixture.house(), fixture.other_node());
    let id = fixture.issue("a.test", 100).await.id;
    let mut told = 0;
    for day in 0..110_usize {
        let left = 100_i64 - i64::try_from(day).unwrap();
        let before = told;
        // Whichever node looks, and however often.
        for node in [house, other, house] {
            told += node.tell_of_ends().await.unwrap();
        }
        let expected = usize::from([30, 7, 1].contains(&left));
        assert_eq!(told - before, expected, "with {left} days left");
        fixture.turn(DAY);
    }
    assert_eq!(ends(&fixture).await, [id, id, id]);
}

#[tokio::test]
async fn what_is_a_matter_of_course_is_not_told() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let house = fixture.house();
    // 30 and 7 days are most of a life of 10 days.
    let short = fixture.issue("short.test", 10).await.id;
    // Somebody has a successor already.
    fixture.issue("renewed.test", 12).await;
    fixture.turn(DAY);
    let successor = fixture.issue("renewed.test", 100).await.id;
    let revoked = fixture.issue("revoked.test", 12).await.id;
    crate::support::served::revoke(house, &fixture.principal, revoked).await;
    for _ in 0..12 {
        house.tell_of_ends().await.unwrap();
        fixture.turn(DAY);
    }
    assert_eq!(ends(&fixture).await, [short]);
    for _ in 0..100 {
        house.tell_of_ends().await.unwrap();
        fixture.turn(DAY);
    }
    assert_eq!(
        ends(&fixture).await,
        [short, successor, successor, successor]
    );
}

#[tokio::test]
async fn what_the_house_renews_is_told_of_only_when_that_is_late() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let house = fixture.house();
    let request = lifecycle::ManagedRequest::of_name(None, "a.test").unwrap();
    let certificates = &house.certificates;
    let certificate = certificates
        .request_managed(&fixture.principal, request)
        .await
        .unwrap();
    // The scheduler does its work: nothing to tell for half a year.
    for _ in 0..180 {
        house.obtain_due_now().await.unwrap();
        house.tell_of_ends().await.unwrap();
        fixture.turn(DAY);
    }
    assert_eq!(ends(&fixture).await, []);
    // And now it does not.
    for _ in 0..100 {
        house.tell_of_ends().await.unwrap();
        fixture.turn(DAY);
    }
    let told = ends(&fixture).await;
    assert!(told.contains(&certificate.id), "{told:?}");
}
