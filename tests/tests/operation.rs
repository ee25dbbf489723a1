//! Starting, configuring and stopping the program.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;

use testbed::{Chancery, http, run};

#[test]
fn a_first_start_furnishes_the_data_directory_and_a_second_one_changes_nothing() {
    let mut server = Chancery::start();
    let kept = ["admin.token", "master.key", "root.pem"];
    let read =
        |server: &Chancery| kept.map(|file| std::fs::read(server.data().join(file)).unwrap());
    let before = read(&server);
    for secret in ["admin.token", "master.key", "chancery.db"] {
        let mode = std::fs::metadata(server.data().join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let token = String::from_utf8(before[0].clone()).unwrap();
    assert!(token.ends_with('\n') && token.trim().len() + 1 == token.len());
    assert!(server.terminate().success());
    server.restart();
    assert_eq!(read(&server), before);
    assert_eq!(server.cli(&["ls"]).code(), Some(0));
}

#[test]
fn first_starts_at_the_same_time_on_one_directory_agree_on_key_token_and_authority() {
    for _ in 0..3 {
        let workdir = testbed::Workdir::new();
        let data = workdir.path("data");
        let start = || Chancery::options().data(&data).start();
        let servers: Vec<Chancery> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..3).map(|_| scope.spawn(start)).collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect()
        });
        for server in &servers {
            assert_eq!(server.cli(&["issue", "a.test"]).code(), Some(0));
        }
        drop(servers);
        let again = start();
        assert_eq!(again.cli(&["ls"]).text().lines().count(), 4);
        let left: Vec<String> = std::fs::read_dir(&data)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".new") || name.ends_with(".tmp"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_database_without_its_master_key_is_left_alone() {
    let mut server = Chancery::start();
    assert!(server.terminate().success());
    let data = server.data();
    let key = data.join("master.key");
    let kept = data.join("kept.elsewhere");
    std::fs::rename(&key, &kept).unwrap();
    let refused = Chancery::options().data(&data).run_to_end();
    assert_eq!(refused.code(), Some(1));
    assert!(refused.stderr.contains("no master key"), "{refused:?}");
    assert!(!key.exists());
    std::fs::rename(&kept, &key).unwrap();
    server.restart();
    assert_eq!(server.cli(&["ls"]).code(), Some(0));
}

#[test]
fn the_ready_line_is_all_that_goes_to_stdout_and_both_listeners_answer() {
    let server = Chancery::start();
    let stdout = server.stdout();
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            http::send(&server.http(), "GET", path, &[], b"").status,
            200
        );
        let root = server.root_certificate().display().to_string();
        let url = format!("{}{path}", server.https());
        run(
            "curl",
            &["--fail", "--silent", "--http2", "--cacert", &root, &url],
            b"",
        );
    }
    let metrics = http::send(&server.http(), "GET", "/metrics", &[], b"").text();
    assert!(
        metrics.contains("chancery_http_requests_total"),
        "{metrics}"
    );
    assert!(metrics.ends_with("# EOF\n"));
}

#[test]
fn a_faulty_configuration_is_refused_with_every_fault_and_its_key() {
    let refused = Chancery::options()
        .config("listne = 1\npublic_url = \"nowhere\"\n[certmaker]\nroot_key_algo = \"dsa\"\n")
        .args(&["--log-format", "xml"])
        .run_to_end();
    assert_eq!(refused.code(), Some(2));
    let said = refused.stderr;
    for key in [
        "listne: ",
        "public_url: ",
        "certmaker.root_key_algo: ",
        "log_format: ",
    ] {
        assert!(said.contains(key), "{key} is not in {said}");
    }
}

#[test]
fn plain_http_to_the_world_is_refused_unless_it_is_asked_for() {
    let refused = Chancery::options()
        .args(&["--listen", "http://0.0.0.0:0"])
        .run_to_end();
    assert_eq!(refused.code(), Some(2));
    assert!(refused.stderr.contains("allow_plaintext"));
    let permitted = Chancery::options()
        .args(&["--listen", "http://0.0.0.0:0", "--allow-plaintext"])
        .start();
    assert_eq!(
        http::send(&permitted.http(), "GET", "/healthz", &[], b"").status,
        200
    );
}

#[test]
fn a_wrong_master_key_is_said_so_and_nothing_is_lost() {
    let mut server = Chancery::start();
    assert!(server.terminate().success());
    let data = server.data();
    let other = Chancery::options()
        .data(&data)
        .env("CHANCERY_MASTER_KEY", &"0f".repeat(32))
        .run_to_end();
    assert_eq!(other.code(), Some(1));
    assert!(other.stderr.contains("master key"), "{other:?}");
    server.restart();
    assert_eq!(server.cli(&["ls"]).code(), Some(0));
}

#[test]
fn the_master_key_can_come_from_a_command() {
    let key = "1e".repeat(32);
    let mut server = Chancery::options()
        .args(&["--master-key-command", &format!("echo {key}")])
        .start();
    assert!(!server.data().join("master.key").exists());
    server.restart();
    assert_eq!(server.cli(&["ls"]).code(), Some(0));
}

#[test]
fn a_request_in_flight_is_answered_before_the_program_ends() {
    let mut server = Chancery::start();
    let token = server.token();
    let address = server.http().trim_start_matches("http://").to_owned();
    let body = br#"{"domains":["drain.test"]}"#;
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST /api/v1/certificate/request-with-simplerequest HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {token}\r\n\
         Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .unwrap();
    // The interim answer says that the request is being worked on.
    let mut interim = [0; 12];
    stream.read_exact(&mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100");
    let sender = std::thread::spawn(move || {
        stream.write_all(body).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    });
    assert!(server.terminate().success());
    let answer = sender.join().unwrap();
    assert!(answer.contains("201 Created"), "{answer}");
}

#[test]
fn without_a_server_the_client_says_what_to_do() {
    let server = Chancery::start();
    let lost = server.cli(&["--url", "http://127.0.0.1:9", "ls"]);
    assert_eq!(lost.code(), Some(1));
    assert!(lost.stderr.contains("is it running?"));
    assert_eq!(server.cli(&["ls", "--expiring", "soon"]).code(), Some(2));
    assert_eq!(server.cli(&["frobnicate"]).code(), Some(2));
}

#[test]
fn administrators_switch_challenges_on_and_vouch_for_accounts_while_the_server_runs() {
    let server = Chancery::start();
    let succeeds = |args: &[&str]| {
        let output = server.cli(args);
        assert_eq!(output.code(), Some(0), "{args:?}: {output:?}");
        output.text()
    };
    succeeds(&["account", "create", "tenant"]);
    let token = succeeds(&["token", "create", "--account", "tenant"]);
    let order = |domain: &str| {
        let order = format!(r#"{{"domains":["{domain}"]}}"#);
        let path = "/api/v1/certificate/request-with-simplerequest";
        let headers = [("X-Auth-Token", token.trim())];
        let answer = http::send(&server.http(), "POST", path, &headers, order.as_bytes());
        answer.status
    };
    assert_eq!(order("a.example.com"), 201);
    let switched = succeeds(&["certmaker", "set", "http01=on"]);
    let warned = server.cli(&["certmaker", "show"]).stderr;
    assert!(warned.contains("preauthorize"), "{warned}");
    assert!(switched.contains("an administrator"), "{switched}");
    assert_eq!(order("a.example.com"), 202);

    succeeds(&[
        "account",
        "preauthorize",
        "tenant",
        "example.com",
        "*.example.com",
    ]);
    let listed = succeeds(&["account", "preauthorize", "tenant"]);
    assert!(listed.contains("*.example.com"), "{listed}");
    assert_eq!(order("a.example.com"), 201);
    assert_eq!(order("a.example.org"), 202);
    succeeds(&[
        "account",
        "preauthorize",
        "tenant",
        "--remove",
        "*.example.com",
    ]);
    assert_eq!(order("a.example.com"), 202);

    succeeds(&["certmaker", "set", "http01=default"]);
    assert!(!succeeds(&["certmaker", "show"]).contains("an administrator"));
    assert_eq!(order("a.example.com"), 201);
    let unknown = server.cli(&["certmaker", "set", "http02=on"]);
    assert_ne!(unknown.code(), Some(0));
    let unknown = server.cli(&["account", "preauthorize", "nobody", "example.com"]);
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.stderr.contains("nobody"), "{unknown:?}");
}

#[test]
fn what_is_backed_up_while_the_server_runs_is_whole_when_it_is_restored() {
    const COPY: &str = "import sqlite3, sys\n\
        sqlite3.connect(sys.argv[1]).execute('vacuum into ?', [sys.argv[2]])";
    let server = Chancery::start();
    let issued = server.cli(&["issue", "a.test"]);
    assert_eq!(issued.code(), Some(0), "{issued:?}");
    let workdir = testbed::Workdir::new();
    let data = workdir.path("data");
    std::fs::create_dir(&data).unwrap();
    let [database, key] = ["chancery.db", "master.key"].map(|file| server.data().join(file));
    let database = database.display().to_string();
    let copy = format!("{data}/chancery.db");
    run("python3", &["-c", COPY, &database, &copy], b"");
    std::fs::copy(key, format!("{data}/master.key")).unwrap();

    let token = std::fs::read_to_string(server.data().join("admin.token")).unwrap();
    let restored = Chancery::options().data(&data).start();
    let as_before = ["--token", token.trim()];
    let list = |server: &Chancery| server.cli(&[&["ls"], &as_before[..]].concat()).text();
    assert_eq!(list(&restored), list(&server));
    // The authority's key opens.
    let issued = restored.cli(&[&["issue", "b.test"], &as_before[..]].concat());
    assert_eq!(issued.code(), Some(0), "{issued:?}");
}
