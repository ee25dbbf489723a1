use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn certificate_and_key_of_a_name_change_together_and_nobody_else_reads_them() {
    let (directory, root) = open(Form::Pair);
    for version in [1, 2] {
        let held = held(1, version);
        put(&directory, "a", held);
        let id = held.file_name();
        assert_eq!(read(&root, "a.crt"), Some(format!("chain of {id}\n")));
        assert_eq!(read(&root, "a.key"), Some(format!("key of {id}\n")));
        assert_eq!(directory.held().unwrap()["a"].whole(), Some(held));
        for file in ["a.crt", "a.key"] {
            let mode = fs::metadata(root.path().join(file)).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
    }
    let inside = fs::metadata(root.path().join(INSIDE)).unwrap();
    assert_eq!(inside.permissions().mode() & 0o777, 0o700);
    assert_eq!(visible(&root), ["a.crt", "a.key"]);
    assert!(directory.sweep(std::iter::empty()).is_empty());
    assert!(!directory.has(held(1, 1)) && directory.has(held(1, 2)));
}

#[test]
fn the_combined_form_is_one_file_and_replaces_the_other_form() {
    let (directory, root) = open(Form::Pair);
    put(&directory, "a", held(1, 1));
    drop(directory);
    let directory = Directory::open(root.path(), Form::Combined).unwrap();
    assert_eq!(
        directory.held().unwrap()["a"].whole(),
        None,
        "its files are missing"
    );
    directory.place("a", held(1, 1)).unwrap();
    assert_eq!(visible(&root), ["a.pem"]);
    let id = held(1, 1).file_name();
    let expected = format!("chain of {id}\nkey of {id}\n");
    assert_eq!(read(&root, "a.pem"), Some(expected));
}

#[test]
fn what_is_taken_away_leaves_nothing_and_can_come_back() {
    let (directory, root) = open(Form::Pair);
    put(&directory, "a", held(1, 1));
    put(&directory, "b", held(2, 1));
    directory.take_away("a").unwrap();
    assert_eq!(visible(&root), ["b.crt", "b.key"]);
    let former = Former {
        name: "a".to_owned(),
        held: Some(held(1, 1)),
        paths: vec!["crt", "key"],
    };
    directory.restore(&former).unwrap();
    assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 1)));
    directory.restore(&nothing("a")).unwrap();
    assert!(directory.sweep(std::iter::empty()).is_empty());
    assert!(!directory.has(held(1, 1)));
    assert_eq!(directory.held().unwrap().len(), 1);
    directory.take_away("never there").unwrap();
}
