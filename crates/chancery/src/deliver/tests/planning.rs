use super::*;
use crate::deliver::directory::Found;
use crate::deliver::plan::{Saying, There};

#[test]
fn what_is_wanted_and_not_there_is_placed_and_what_is_there_unwanted_is_taken_away() {
    let found = |held, is_whole| Found { held, is_whole };
    let there = There::from([
        ("good".to_owned(), found(Some(held(1, 1)), true)),
        ("old".to_owned(), found(Some(held(2, 1)), true)),
        ("broken".to_owned(), found(Some(held(3, 1)), false)),
        ("gone".to_owned(), found(Some(held(4, 1)), false)),
        ("taken over".to_owned(), found(Some(held(5, 1)), true)),
    ]);
    let plan = Plan {
        tag: String::new(),
        place: vec![
            wanted("good", held(1, 1)),
            wanted("old", held(2, 2)),
            wanted("broken", held(3, 1)),
            wanted("new", held(6, 1)),
            wanted("new", held(7, 1)),
            wanted("taken over", held(8, 1)),
        ],
        remove: vec![held(4, 1).certificate, held(5, 1).certificate],
    };
    let changes = changes(&plan, &there);
    assert_eq!(
        changes,
        [
            change("old", Some(held(2, 2))),
            change("broken", Some(held(3, 1))),
            change("new", Some(held(6, 1))),
            change("taken over", Some(held(8, 1))),
            change("gone", None),
        ]
    );
    let mut after = there.clone();
    for change in &changes {
        match change.to {
            Some(to) => after.insert(change.name.clone(), found(Some(to), true)),
            None => after.remove(&change.name),
        };
    }
    let said = sayings(&plan, &there, &after, &[]);
    for (certificate, version) in [(1, 1), (2, 2), (3, 1), (6, 1), (8, 1)] {
        let held = held(certificate, version);
        assert!(said.contains(&(held.certificate, Saying::Placed(held.version))));
    }
    for gone in [4, 5] {
        assert!(said.contains(&(held(gone, 1).certificate, Saying::Removed)));
    }
    assert_eq!(said.len(), 7);

    let failed: Vec<(Change, String)> = changes
        .into_iter()
        .map(|change| (change, "no".to_owned()))
        .collect();
    let said = sayings(&plan, &there, &there, &failed);
    let no = |version| Saying::Refused(version, "no".to_owned());
    assert!(said.contains(&(held(2, 2).certificate, no(Some(held(2, 2).version)))));
    assert!(said.contains(&(held(4, 1).certificate, no(None))));
    assert!(!said.iter().any(|(_, saying)| *saying == Saying::Removed));
    // It is there all the same, and not known to be good.
    let said = sayings(&plan, &there, &after, &failed);
    let good = held(2, 2);
    assert!(!said.contains(&(good.certificate, Saying::Placed(good.version))));
}
