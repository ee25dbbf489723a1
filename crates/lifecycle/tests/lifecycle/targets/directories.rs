//! A target is that of one directory, and who has another one changes nothing.

use super::*;

/// The target of that name, as somebody with another directory would have it.
fn elsewhere(name: &str) -> TargetAt<'_> {
    TargetAt {
        name,
        directory: TargetDirectoryId::from_random([0xEE; 16]),
    }
}

#[tokio::test]
async fn nobody_takes_the_target_of_another_directory() {
    let fixture = fixture().await;
    let targets = &fixture.house().targets;
    let id = fixture
        .kept(&fixture.principal, "a.test", KeyAlgorithm::P256)
        .await;
    fixture.create_service(named("shop", &[])).await;
    let deliverer = fixture.deliverer("admin").await;
    for name in ["web", "other"] {
        targets.register(&deliverer, at(name), None).await.unwrap();
    }
    let before = targets.list(&fixture.principal).await.unwrap();
    let narrow = [ServiceRef::Name("shop".to_owned())];
    let theirs = TargetAt {
        name: "web",
        ..at("other")
    };
    for claim in [theirs, elsewhere("web")] {
        let refused = targets.register(&deliverer, claim, Some(&narrow)).await;
        let Err(Error::Unfit { reason }) = refused else {
            panic!("{refused:?}");
        };
        assert!(reason.contains("chancery target rm web"), "{reason}");
        let planned = targets.plan(&deliverer, claim, None, AT_ONCE).await;
        let read = targets.material(&deliverer, claim, id).await;
        let gone = vec![(id, Acknowledgement::Removed)];
        let said = targets.acknowledge(&deliverer, claim, gone).await;
        for refused in [planned.unwrap_err(), read.unwrap_err(), said.unwrap_err()] {
            assert!(matches!(refused, Error::Unfit { .. }), "{refused:?}");
        }
    }
    let moved = TargetAt {
        name: "new",
        ..at("other")
    };
    let refused = targets.register(&deliverer, moved, None).await;
    let Err(Error::Unfit { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("that of target 'other'"), "{reason}");
    assert_eq!(targets.list(&fixture.principal).await.unwrap(), before);
    assert_eq!(fixture.events_of("target.changed").await.len(), 0);
    assert_eq!(wanted(&fixture.plan(&deliverer, "web").await), [id]);
}

#[tokio::test]
async fn a_target_that_was_removed_is_whosever_registers_it_first() {
    let fixture = fixture().await;
    let targets = &fixture.house().targets;
    let deliverer = fixture.deliverer("admin").await;
    let register = |at| targets.register(&deliverer, at, None);
    register(at("web")).await.unwrap();
    targets.remove(&fixture.principal, "web").await.unwrap();
    let again = register(at("web")).await.unwrap();
    assert_eq!(again.directory_id, Some(at("web").directory));
    targets.remove(&fixture.principal, "web").await.unwrap();
    register(elsewhere("web")).await.unwrap();
    let late = register(at("web")).await;
    assert!(matches!(late, Err(Error::Unfit { .. })), "{late:?}");
    // The directory that came too late is free for another name.
    let moved = TargetAt {
        name: "web2",
        ..at("web")
    };
    register(moved).await.unwrap();
}
