//! Bodies of any length go through the edge without being kept in it.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{self, Read as _, Write as _};
use std::process::Stdio;
use std::time::Duration;

use testbed::{Backend, Chancery, Fault, Pattern, Tally, Workdir, eventually};

const GIBIBYTE: u64 = 1 << 30;
const MEBIBYTE: u64 = 1 << 20;
/// How much more memory than before a body of any length may take, with all buffers on its way.
const FLAT: u64 = 64 * MEBIBYTE;
const DEADLINE: Duration = Duration::from_secs(60);
const NAME: &str = "stream.example.com";

fn serve(backend: &Backend) -> Chancery {
    let server = Chancery::start();
    server
        .kraftcloud()
        .serve("stream", &[&format!("{NAME}.")], backend);
    server.wait_for_edge(&[NAME]);
    server
}

#[test]
fn a_gibibyte_streams_down_and_up_in_flat_memory() {
    let backend = Backend::web("stream");
    let server = serve(&backend);
    let workdir = Workdir::new();
    let expected = Tally::of(Pattern::new(GIBIBYTE));
    for flag in ["--http1.1", "--http2"] {
        let curl = server
            .edge_curl(&[NAME])
            .args(&[flag, "--fail", "--silent"]);
        assert_eq!(curl.get(&server.edge_url(NAME, "/")).status, 200);
        let before = server.peak_memory();

        let url = server.edge_url(NAME, &format!("/bytes/{GIBIBYTE}"));
        let mut command = curl.command(&workdir, &url);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        assert_eq!(Tally::of(child.stdout.take().unwrap()), expected, "{flag}");
        assert!(child.wait().unwrap().success(), "{flag}");

        let mut command = curl.command(&workdir, &server.edge_url(NAME, "/digest"));
        command.args(["--upload-file", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        io::copy(&mut Pattern::new(GIBIBYTE), &mut input).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{flag}");

        let grown = server.peak_memory() - before;
        assert!(grown < FLAT, "{flag}: {} MiB more", grown / MEBIBYTE);
    }
}

#[test]
fn a_client_that_stops_reading_stops_the_backend() {
    let length = GIBIBYTE / 4;
    let backend = Backend::web("stream");
    let server = serve(&backend);
    let before = server.peak_memory();
    let client = server.edge_client();
    let mut stream = client.connect(server.edge_https(), NAME).unwrap();
    let head = format!("GET /bytes/{length} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = vec![0; 65_536];
    stream.read_exact(&mut first).unwrap();

    let (mut last, mut unchanged) = (0, 0);
    eventually(DEADLINE, "the backend stops", || {
        let sent = backend.sent();
        unchanged = if sent == last { unchanged + 1 } else { 0 };
        last = sent;
        (unchanged == 20).then_some(())
    });
    assert!(last < FLAT, "{} MiB were fetched", last / MEBIBYTE);
    // Nobody else is held back.
    let answer = server.edge_curl(&[NAME]).get(&server.edge_url(NAME, "/"));
    assert_eq!(answer.text(), backend.greeting());

    let start = first
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let mut tally = Tally::new();
    tally.add(&first[start..]);
    while tally.count() < length {
        let read = stream.read(&mut first).unwrap();
        assert!(read > 0, "the body ends after {} bytes", tally.count());
        tally.add(&first[..read]);
    }
    assert_eq!(tally.finish(), Tally::of(Pattern::new(length)));
    let grown = server.peak_memory() - before;
    assert!(grown < FLAT, "{} MiB more", grown / MEBIBYTE);
}

#[test]
fn a_backend_that_stops_reading_stops_the_client() {
    let backend = Backend::faulty("deaf", Fault::Deafness);
    let server = serve(&backend);
    let workdir = Workdir::new();
    let before = server.peak_memory();
    for flag in ["--http1.1", "--http2"] {
        let curl = server.edge_curl(&[NAME]).args(&[flag, "--silent"]);
        let mut command = curl.command(&workdir, &server.edge_url(NAME, "/"));
        command.args(["--upload-file", "-", "--max-time", "5"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        let (mut buffer, mut written) = (vec![0; 65_536], 0);
        let mut pattern = Pattern::new(GIBIBYTE);
        while pattern.read(&mut buffer).unwrap() > 0 && input.write_all(&buffer).is_ok() {
            written += buffer.len() as u64;
        }
        assert!(!child.wait().unwrap().success(), "{flag}");
        assert!(
            written < FLAT,
            "{flag}: {} MiB were taken",
            written / MEBIBYTE
        );
    }
    let grown = server.peak_memory() - before;
    assert!(grown < FLAT, "{} MiB more", grown / MEBIBYTE);
}
