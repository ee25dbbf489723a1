use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// A site whose reload command is this; `$DIR` is its directory and `$LOG` a file outside.
fn site(command: &str) -> (Site, TempDir, TempDir) {
    let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let command = command
        .replace("$DIR", root.path().to_str().unwrap())
        .replace("$LOG", outside.path().join("log").to_str().unwrap());
    let site = Site {
        directory: Directory::open(root.path(), Form::Pair).unwrap(),
        reload: Some(Reload {
            command,
            patience: Duration::from_secs(20),
        }),
    };
    (site, root, outside)
}

fn store(site: &Site, held: Held) {
    let material = Material {
        held,
        chain: format!("certificate {}\n", held.version),
        key: "key\n".to_owned().into(),
    };
    site.directory.store(&material).unwrap();
}

async fn make(site: &Site, changes: Vec<Change>) -> Vec<(String, bool)> {
    for change in &changes {
        change.to.into_iter().for_each(|to| store(site, to));
    }
    let outcomes = site.make(changes, || false).await.unwrap();
    let mut outcomes: Vec<(String, bool)> = outcomes
        .into_iter()
        .map(|(change, outcome)| (change.name, outcome.is_ok()))
        .collect();
    outcomes.sort();
    outcomes
}

fn runs(outside: &TempDir) -> usize {
    let log = fs::read_to_string(outside.path().join("log"));
    log.unwrap_or_default().lines().count()
}

#[tokio::test]
async fn a_batch_is_one_reload() {
    let (site, root, outside) = site("echo run >> $LOG; test -s $DIR/a.crt && test -s $DIR/b.key");
    let changes = vec![change("a", Some(held(1, 1))), change("b", Some(held(2, 1)))];
    let outcomes = make(&site, changes).await;
    assert_eq!(outcomes, [("a".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(runs(&outside), 1);
    assert!(root.path().join("b.crt").exists());
    assert_eq!(site.directory.undo().unwrap(), None);
    assert_eq!(make(&site, Vec::new()).await, []);
    assert_eq!(runs(&outside), 1, "nothing has changed");
}

#[tokio::test]
async fn what_a_server_cannot_take_keeps_nothing_else_back() {
    // It needs the certificate `needed`, and cannot take version 2 of `bad`.
    let bad = held(3, 2).version.to_string();
    let command = format!("test -e $DIR/needed.crt && ! grep -q {bad} $DIR/bad.crt");
    let (mut site, root, _outside) = site(&command);
    let reload = site.reload.take();
    let first = ["needed", "bad", "c", "d", "e"].into_iter().zip(2..);
    let first = first.map(|(name, number)| change(name, Some(held(number, 1))));
    make(&site, first.collect()).await;
    site.reload = reload;
    let changes = vec![
        change("c", Some(held(4, 2))),
        change("bad", Some(held(3, 2))),
        change("d", Some(held(5, 2))),
        change("needed", None),
        change("e", Some(held(6, 2))),
    ];
    let outcomes = make(&site, changes).await;
    let expected = [
        ("bad", false),
        ("c", true),
        ("d", true),
        ("e", true),
        ("needed", false),
    ];
    assert_eq!(
        outcomes,
        expected.map(|(name, is_done)| (name.to_owned(), is_done))
    );
    let there = site.directory.held().unwrap();
    assert_eq!(there["bad"].whole(), Some(held(3, 1)));
    assert_eq!(there["needed"].whole(), Some(held(2, 1)));
    assert_eq!(there["e"].whole(), Some(held(6, 2)));
    let text = fs::read_to_string(root.path().join("bad.crt")).unwrap();
    assert!(text.contains(&held(3, 1).version.to_string()), "{text}");
    let refused = held(3, 2);
    assert!(site.directory.sweep(std::iter::once(refused)).is_empty());
    assert!(
        site.directory.has(refused),
        "trying again fetches no key again"
    );
    assert!(site.directory.sweep(std::iter::empty()).is_empty());
    assert!(
        !site.directory.has(refused),
        "no key lies about for nothing"
    );
}

#[tokio::test]
async fn a_command_that_fails_anyway_is_not_run_for_each_half() {
    let (site, root, outside) = site("echo run >> $LOG; false");
    let changes: Vec<Change> = (1..=20)
        .map(|number| change(&format!("n{number}"), Some(held(number, 1))))
        .collect();
    let outcomes = make(&site, changes).await;
    assert_eq!(outcomes.len(), 20);
    assert!(outcomes.iter().all(|(_, is_done)| !is_done));
    assert_eq!(runs(&outside), 2);
    assert!(!root.path().join("n1.crt").exists());
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_and_the_rest_is_not() {
    let (site, root, _outside) = site("true");
    fs::write(root.path().join("b.crt"), "not from chancery").unwrap();
    let changes = vec![
        change("a", Some(held(1, 1))),
        change("b", Some(held(2, 1))),
        change("../c", Some(held(3, 1))),
    ];
    let outcomes = make(&site, changes).await;
    let expected = [("../c", false), ("a", true), ("b", false)];
    assert_eq!(
        outcomes,
        expected.map(|(name, is_done)| (name.to_owned(), is_done))
    );
}

#[tokio::test]
async fn what_was_not_settled_is_settled_by_the_next_process() {
    let (site, _root, _outside) = site("! grep -q ad02 $DIR/a.crt");
    make(&site, vec![change("a", Some(held(1, 1)))]).await;
    for (version, stays) in [(3, true), (2, false)] {
        // Killed after the files were changed, and before the command was run.
        let before = site.directory.former("a");
        store(&site, held(1, version));
        let kept = [before.clone(), site.directory.former("b")];
        site.directory.keep_undo(&kept).unwrap();
        site.directory.place("a", held(1, version)).unwrap();
        let failed = site.recover().await.unwrap();
        assert_eq!(failed.is_none(), stays);
        let expected = if stays {
            Some(held(1, version))
        } else {
            before.held
        };
        assert_eq!(site.directory.held().unwrap()["a"].whole(), expected);
        assert_eq!(site.directory.undo().unwrap(), None);
    }
}

#[tokio::test]
async fn a_foreign_file_in_place_of_a_delivered_one_keeps_nothing_else_back() {
    let (site, root, _outside) = site("true");
    make(
        &site,
        vec![change("a", Some(held(1, 1))), change("b", Some(held(2, 1)))],
    )
    .await;
    let foreign = root.path().join("a.crt");
    fs::remove_file(&foreign).unwrap();
    fs::write(&foreign, "an editor was here").unwrap();
    let changes = vec![change("a", Some(held(1, 2))), change("b", Some(held(2, 2)))];
    let outcomes = make(&site, changes).await;
    assert_eq!(outcomes, [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(site.directory.undo().unwrap(), None);
    assert_eq!(site.directory.former("a").held, Some(held(1, 1)));
    let outcomes = make(&site, vec![change("a", None)]).await;
    assert_eq!(outcomes, [("a".to_owned(), true)]);
    assert!(!root.path().join("a.key").exists());
    let text = fs::read_to_string(foreign).unwrap();
    assert_eq!(text, "an editor was here");
}

#[tokio::test]
async fn what_cannot_be_put_back_keeps_nothing_else_back() {
    // The second version of a cannot be loaded, and takes away what the undoing needs.
    let bad = held(1, 2).version.to_string();
    let command = format!(
        "if test -e $DIR/a.crt && grep -q {bad} $DIR/a.crt; then \
         rm $DIR/.chancery/current/a && mkdir $DIR/.chancery/current/a; false; fi"
    );
    let (site, root, _outside) = site(&command);
    make(&site, vec![change("a", Some(held(1, 1)))]).await;
    let changes = vec![change("a", Some(held(1, 2))), change("b", Some(held(2, 1)))];
    let outcomes = make(&site, changes).await;
    assert_eq!(outcomes, [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(site.directory.held().unwrap()["a"].whole(), None);
    fs::remove_dir(root.path().join(".chancery/current/a")).unwrap();
    site.recover().await.unwrap();
    let outcomes = make(&site, vec![change("a", Some(held(1, 3)))]).await;
    assert_eq!(outcomes, [("a".to_owned(), true)]);
}

#[tokio::test]
async fn a_change_of_form_that_fails_is_undone_and_stays_refused() {
    let (first, root, _outside) = site("true");
    make(&first, vec![change("a", Some(held(1, 1)))]).await;
    drop(first);
    let site = Site {
        directory: Directory::open(root.path(), Form::Combined).unwrap(),
        reload: Some(Reload {
            command: format!("test -e {}/a.crt", root.path().display()),
            patience: Duration::from_secs(20),
        }),
    };
    let outcomes = make(&site, vec![change("a", Some(held(1, 1)))]).await;
    assert_eq!(outcomes, [("a".to_owned(), false)]);
    assert!(root.path().join("a.crt").exists() && root.path().join("a.key").exists());
    assert!(!root.path().join("a.pem").exists());
    assert_eq!(site.directory.held().unwrap()["a"].whole(), None);
}

#[tokio::test]
async fn nothing_is_begun_that_would_keep_the_process_from_ending() {
    let (site, _root, outside) = site("echo run >> $LOG");
    store(&site, held(1, 1));
    let outcomes = site
        .make(vec![change("a", Some(held(1, 1)))], || true)
        .await;
    assert_eq!(outcomes.unwrap(), []);
    assert_eq!(runs(&outside), 0);
}
