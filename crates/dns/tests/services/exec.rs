//! Programs.

use dns::{Account, ProviderError, Records as _, check};
use testbed::Workdir;

use crate::support::{account, providers, record};

/// A program that runs this script, in its directory.
fn program(workdir: &Workdir, script: &str, mode: &[(&str, &str)]) -> Account {
    let text = format!("#!/bin/sh\ncd {}\n{script}\n", workdir.root().display());
    let path = workdir.path("change-zone");
    // A file that this process has open for writing cannot be run by it, nor by another test.
    let write = format!("cat > '{path}'; chmod 700 '{path}'");
    testbed::run("sh", &["-c", &write], text.as_bytes());
    account("exec", &[&[("program", &*path)], mode].concat())
}

fn calls(workdir: &Workdir) -> String {
    String::from_utf8(workdir.read("calls")).unwrap()
}

#[tokio::test]
async fn a_program_is_told_what_to_do_in_arguments() {
    let workdir = Workdir::new();
    let account = program(&workdir, r#"echo "$#" "$@" >> calls"#, &[]);
    let mut record = record();
    // No shell has a look at it.
    record.value = "$(touch pwned); `touch pwned` * 'x".to_owned();
    providers().publish(&account, &record).await.unwrap();
    providers().withdraw(&account, &record).await.unwrap();
    let value = &record.value;
    assert_eq!(
        calls(&workdir),
        format!(
            "3 present _acme-challenge.example.com. {value}\n\
             3 cleanup _acme-challenge.example.com. {value}\n"
        )
    );
    assert!(!workdir.root().join("pwned").exists());
}

#[tokio::test]
async fn a_program_that_makes_the_value_itself_gets_what_it_is_made_of() {
    let workdir = Workdir::new();
    let script = r#"echo "$#" "$@" >> calls"#;
    let account = program(&workdir, script, &[("mode", "raw")]);
    providers().publish(&account, &record()).await.unwrap();
    assert_eq!(
        calls(&workdir),
        "5 present -- example.com token token.thumbprint\n"
    );
}

#[tokio::test]
async fn a_program_that_fails_says_why() {
    let workdir = Workdir::new();
    let script = "echo talking; echo 'no such zone' >&2; yes | head -c 1000000; exit 3";
    let account = program(&workdir, script, &[]);
    let refused = providers().publish(&account, &record()).await;
    let Err(ProviderError::Refused { reason }) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("exit status: 3: no such zone talking"),
        "{reason}"
    );
    assert!(reason.len() < 1000, "{reason}");
}

#[tokio::test]
async fn what_a_program_leaves_behind_is_not_waited_for() {
    let workdir = Workdir::new();
    let account = program(&workdir, "sleep 600 & echo $! > left", &[]);
    providers().publish(&account, &record()).await.unwrap();
    let left = String::from_utf8(workdir.read("left")).unwrap();
    testbed::run("kill", &[left.trim()], b"");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let account = account("exec", &[("program", "/no/such/program")]);
    let lost = providers().publish(&account, &record()).await;
    let Err(ProviderError::Unreachable { reason }) = lost else {
        panic!("{lost:?}");
    };
    assert!(
        reason.starts_with("/no/such/program cannot be run: "),
        "{reason}"
    );
}

#[tokio::test]
async fn only_administrators_have_programs_run() {
    let workdir = Workdir::new();
    let mut account = program(&workdir, "touch calls", &[]);
    account.may_run_programs = false;
    let refused = providers().publish(&account, &record()).await;
    assert!(
        matches!(refused, Err(ProviderError::Refused { .. })),
        "{refused:?}"
    );
    assert!(!workdir.root().join("calls").exists());
}

#[tokio::test]
async fn a_program_does_not_see_the_environment_of_the_house() {
    let workdir = Workdir::new();
    let account = program(&workdir, "env > calls", &[]);
    providers().publish(&account, &record()).await.unwrap();
    let seen = calls(&workdir);
    // Cargo sets this one for tests.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(
        seen.contains("PATH=") && !seen.contains("CARGO_MANIFEST_DIR="),
        "{seen}"
    );
}

#[test]
fn a_program_is_named_by_its_whole_path() {
    for (path, is_good) in [("/bin/true", true), ("true", false), ("./true", false)] {
        let account = account("exec", &[("program", path)]);
        let checked = check("exec", &account.credentials);
        assert_eq!(checked.is_ok(), is_good, "{path}");
    }
}
