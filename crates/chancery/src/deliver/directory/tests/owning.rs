use std::os::unix::fs::symlink;

use super::*;

#[test]
fn files_of_others_are_left_alone() {
    let (directory, root) = open(Form::Pair);
    fs::write(root.path().join("a.key"), "precious").unwrap();
    directory.store(&material(held(1, 1))).unwrap();
    let refused = directory.place("a", held(1, 1)).unwrap_err();
    assert!(refused.to_string().contains("a.key is there"), "{refused}");
    assert!(directory.held().unwrap().is_empty());
    directory.take_away("a").unwrap();
    assert_eq!(read(&root, "a.key").unwrap(), "precious");
    symlink("/etc/passwd", root.path().join("b.crt")).unwrap();
    directory.place("b", held(1, 1)).unwrap_err();
}

#[test]
fn one_process_delivers_to_a_directory() {
    let (directory, root) = open(Form::Pair);
    let second = Directory::open(root.path(), Form::Pair).unwrap_err();
    assert!(second.to_string().contains("another"), "{second}");
    drop(directory);
    Directory::open(root.path(), Form::Pair).unwrap();
}
