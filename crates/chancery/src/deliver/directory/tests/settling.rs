use super::*;

#[test]
fn what_is_put_back_has_the_paths_that_it_had_and_spares_those_of_others() {
    let (directory, root) = open(Form::Pair);
    put(&directory, "a", held(1, 1));
    drop(directory);
    let directory = Directory::open(root.path(), Form::Combined).unwrap();
    let former = directory.former("a");
    put(&directory, "a", held(1, 2));
    assert_eq!(visible(&root), ["a.pem"]);
    fs::write(root.path().join("a.crt"), "precious").unwrap();
    directory.keep_undo(std::slice::from_ref(&former)).unwrap();
    assert!(directory.sweep(std::iter::empty()).is_empty());
    directory.restore(&former).unwrap();
    assert_eq!(visible(&root), ["a.crt", "a.key"]);
    assert_eq!(read(&root, "a.crt").unwrap(), "precious");
    let key = format!("key of {}\n", held(1, 1).file_name());
    assert_eq!(read(&root, "a.key"), Some(key));
}

#[test]
fn what_a_crash_left_is_seen_and_mended() {
    let (directory, root) = open(Form::Pair);
    put(&directory, "a", held(1, 1));
    // The second link was never made.
    fs::remove_file(root.path().join("a.crt")).unwrap();
    assert_eq!(directory.held().unwrap()["a"].whole(), None);
    directory.place("a", held(1, 1)).unwrap();
    assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 1)));
    // A version was half written.
    let half = directory.inside.join("versions/.unfinished");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("crt"), "x").unwrap();
    put(&directory, "a", held(1, 2));
    assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 2)));

    assert_eq!(directory.undo().unwrap(), None);
    let before = vec![directory.former("a"), nothing("b c")];
    assert_eq!(before[0].paths, ["crt", "key"]);
    directory.keep_undo(&before).unwrap();
    assert_eq!(directory.undo().unwrap(), Some(before));
    let unsettled = directory.held().unwrap()["a"];
    assert_eq!(
        (unsettled.held, unsettled.whole()),
        (Some(held(1, 2)), None)
    );
    directory.drop_undo().unwrap();
    assert_eq!(directory.undo().unwrap(), None);
}
