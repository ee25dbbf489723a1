//! Large bodies, in both directions.

use std::io::Read as _;
use std::process::Stdio;

use testbed::{Backend, Pattern, Tally, Workdir};

use crate::{NAME, curl, https, server_before};

/// More than anything on the way holds.
const SIZE: u64 = 96 << 20;

#[test]
fn a_large_answer_arrives_whole() {
    let backend = Backend::web("one");
    let server = server_before(backend.address());
    for version in ["--http1.1", "--http2"] {
        let workdir = Workdir::new();
        let curl = curl(&server, &[NAME]).args(&["--silent", version]);
        let mut command = curl.command(&workdir, &https(&server, &format!("/bytes/{SIZE}")));
        let mut running = command.stdout(Stdio::piped()).spawn().unwrap();
        let received = Tally::of(running.stdout.as_mut().unwrap());
        assert!(running.wait().unwrap().success());
        assert_eq!(received, Tally::of(Pattern::new(SIZE)), "{version}");
    }
}

#[test]
fn a_large_request_arrives_whole() {
    let backend = Backend::web("one");
    let server = server_before(backend.address());
    for arguments in [
        &["--http1.1"][..],
        &["--http2"],
        &["--http1.1", "--header", "Transfer-Encoding: chunked"],
    ] {
        let workdir = Workdir::new();
        let mut whole = Vec::new();
        Pattern::new(SIZE).read_to_end(&mut whole).unwrap();
        let file = format!("@{}", workdir.write("body", &whole));
        let curl = curl(&server, &[NAME])
            .args(arguments)
            .args(&["--data-binary", &file]);
        let answer = curl.get(&https(&server, "/digest"));
        assert_eq!(answer.status, 200, "{arguments:?}");
        assert_eq!(answer.text(), Tally::of(whole.as_slice()), "{arguments:?}");
    }
}
