//! The audit log: nodes that link, who may look, and what is told when the chain is cut.

use lifecycle::{
    ChainBreak, ChainHead, Error, EventFilter, House, Principal, TokenLimits, VerifiedStretch,
};
use pki::KeyAlgorithm;
use sqlx::{AssertSqlSafe, SqlitePool};
use tokio::task::JoinHandle;

use crate::support::{Fixture, eventually};

/// Nodes that link, until they are dropped.
struct Linking(Vec<JoinHandle<()>>);

impl Linking {
    fn start(houses: &[&House]) -> Self {
        let tasks = houses.iter().map(|house| {
            let house = (*house).clone();
            tokio::spawn(async move { house.link_events().await })
        });
        Self(tasks.collect())
    }
}

impl Drop for Linking {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Runs SQL behind the house's back.
async fn tamper(fixture: &Fixture, sql: &str) {
    let file = fixture.data.path().join("test.db");
    let url = format!("sqlite:{}", file.display());
    let pool = SqlitePool::connect(&url).await.unwrap();
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).execute(&pool).await.unwrap();
    pool.close().await;
}

async fn verify(fixture: &Fixture, expected: Option<&ChainHead>) -> VerifiedStretch {
    let audit = &fixture.nodes[1].house.audit;
    let verified = audit.verify(&fixture.principal, None, expected).await;
    verified.unwrap()
}

/// Waits until all events are linked.
async fn linked(fixture: &Fixture) -> VerifiedStretch {
    eventually("everything is linked", || async {
        let verified = verify(fixture, None).await;
        let last = verified.head.as_ref().map(|link| link.last_event);
        (last.is_some() && last == verified.newest).then_some(verified)
    })
    .await
}

#[tokio::test]
async fn what_is_done_on_any_node_is_linked_by_one_of_them() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let houses: Vec<&House> = fixture.nodes.iter().map(|node| &node.house).collect();
    let _linking = Linking::start(&houses);
    let before = linked(&fixture).await;
    for (name, house) in ["one", "two", "three", "four"]
        .iter()
        .zip(houses.iter().cycle())
    {
        let made = house
            .accounts
            .create(&fixture.principal, name, lifecycle::Role::User);
        made.await.unwrap();
        let after = linked(&fixture).await;
        assert_eq!((after.broken, after.late), (None, None));
    }
    let after = verify(&fixture, before.head.map(|link| link.head).as_ref()).await;
    assert_eq!(after.broken, None);
    assert_eq!(after.events, before.events + 4);
}

#[tokio::test]
async fn a_chain_that_is_cut_while_nodes_run_is_told_of_in_the_log_of_events() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let _linking = Linking::start(&[&fixture.nodes[0].house]);
    let head = linked(&fixture).await.head.unwrap().head;
    tamper(
        &fixture,
        "delete from audit_links; update events set actor = 'nobody' where id = 1",
    )
    .await;
    let told = eventually("it is told", || async {
        let filter = EventFilter {
            kind: Some("audit.cut".to_owned()),
            ..EventFilter::default()
        };
        let audit = &fixture.nodes[0].house.audit;
        let found = audit.events(&fixture.principal, &filter, None, 10);
        found.await.unwrap().events.pop()
    })
    .await;
    assert_eq!(told.actor, "chancery");
    assert!(
        told.detail.starts_with(&head.to_string()),
        "{}",
        told.detail
    );
    // It goes on, and whoever kept the head knows, too.
    assert_eq!(linked(&fixture).await.broken, None);
    let expected = verify(&fixture, Some(&head)).await.broken;
    assert!(
        matches!(
            expected,
            Some(ChainBreak::HeadChanged(_) | ChainBreak::HeadMissing { .. })
        ),
        "{expected:?}"
    );
}

#[tokio::test]
async fn a_node_links_what_is_left_when_it_ends() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    fixture.nodes[0].house.audit.link_now().await.unwrap();
    let verified = verify(&fixture, None).await;
    assert_eq!(verified.broken, None);
    assert_eq!(verified.head.map(|link| link.last_event), verified.newest);
}

#[tokio::test]
async fn accounts_see_their_own_events_and_verify_nothing() {
    let fixture = Fixture::new(KeyAlgorithm::P256).await;
    let tenant = fixture.tenant("shop", TokenLimits::default()).await;
    let audit = &fixture.nodes[0].house.audit;
    let all = EventFilter::default();
    let seen = |principal: Principal| {
        let all = &all;
        async move {
            audit
                .events(&principal, all, None, 1_000)
                .await
                .unwrap()
                .events
        }
    };
    let own = seen(tenant.clone()).await;
    assert!(!own.is_empty());
    for event in &own {
        assert_eq!(event.account_id, Some(tenant.account_id()));
    }
    let everything = seen(fixture.principal.clone()).await;
    assert!(everything.len() > own.len());
    assert!(
        everything
            .iter()
            .any(|event| event.kind == "authority.created")
    );
    let refused = audit.verify(&tenant, None, None).await;
    assert!(
        matches!(refused, Err(Error::Forbidden { .. })),
        "{refused:?}"
    );
}
