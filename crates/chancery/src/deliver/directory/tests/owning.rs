use std::os::unix::fs::{PermissionsExt as _, symlink};

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

#[test]
fn what_somebody_else_has_prepared_is_not_delivered_into_and_nothing_there_is_erased() {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    for path in [INSIDE, ".chancery/current", ".chancery/versions"] {
        let (directory, root) = open(Form::Pair);
        drop(directory);
        let inside = root.path().join(path);
        mode(&inside, 0o770).unwrap();
        let open = Directory::open(root.path(), Form::Pair).unwrap_err();
        let told = format!("{open:#}");
        assert!(told.contains("mode 0700"), "{told}");
        mode(&inside, 0o700).unwrap();

        let elsewhere = tempfile::tempdir().unwrap();
        mode(elsewhere.path(), 0o700).unwrap();
        for precious in ["current", "versions"] {
            fs::create_dir(elsewhere.path().join(precious)).unwrap();
            mode(&elsewhere.path().join(precious), 0o700).unwrap();
        }
        fs::write(elsewhere.path().join("precious"), "x").unwrap();
        let opened = Directory::open(root.path(), Form::Pair).unwrap();
        fs::remove_dir_all(&inside).unwrap();
        symlink(elsewhere.path(), &inside).unwrap();
        let faults = opened.sweep(std::iter::empty());
        assert_eq!(faults.len(), 1, "{faults:?}");
        drop(opened);
        Directory::open(root.path(), Form::Pair).unwrap_err();
        assert!(elsewhere.path().join("precious").exists());
    }
}

#[test]
fn only_versions_are_erased() {
    let (directory, root) = open(Form::Pair);
    put(&directory, "a", held(1, 1));
    put(&directory, "a", held(1, 2));
    let versions = root.path().join(INSIDE).join("versions");
    fs::create_dir(versions.join("backup")).unwrap();
    fs::write(versions.join("notes"), "precious").unwrap();
    fs::create_dir(versions.join(".unfinished")).unwrap();
    // In the way, and no directory.
    fs::write(versions.join(held(2, 1).file_name()), "").unwrap();
    let faults = directory.sweep(std::iter::empty());
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}");
    };
    assert!(fault.contains(&held(2, 1).file_name()), "{fault}");
    assert!(versions.join("backup").exists() && versions.join("notes").exists());
    assert!(!versions.join(".unfinished").exists());
    assert!(!directory.has(held(1, 1)) && directory.has(held(1, 2)));
}

#[test]
fn a_directory_is_known_by_the_same_for_ever() {
    let (directory, root) = open(Form::Pair);
    let identity = directory.identity().unwrap();
    assert_eq!(directory.identity().unwrap(), identity);
    drop(directory);
    let directory = Directory::open(root.path(), Form::Combined).unwrap();
    assert_eq!(directory.identity().unwrap(), identity);
    assert_ne!(open(Form::Pair).0.identity().unwrap(), identity);
    let file = root.path().join(INSIDE).join("target");
    // As it was written before it was drawn.
    let former = "0190163d-8694-439b-aea5-966c26f8ad17";
    fs::write(&file, format!("{former}\n")).unwrap();
    assert_eq!(directory.identity().unwrap().to_string(), former);
    for broken in ["", "web", "0190163d"] {
        fs::write(&file, broken).unwrap();
        let told = directory.identity().unwrap_err().to_string();
        assert!(told.contains("remove it"), "{told}");
    }
}
