use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::arguments::Connection;
use crate::client::Client;
use crate::deliver::deliverer::Deliverer;
use crate::deliver::retries::Retries;

const VERSION: &str = "0190163d-8694-739b-aea5-966c26f8ad01";

/// What a server answers to a request, of which it is told method and path; `None` for nothing ever.
type Answer = Box<dyn Fn(&str) -> Option<(u16, Value)> + Send>;

async fn serve(listener: TcpListener, answer: Answer) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            if connection.read_buf(&mut asked).await.unwrap() == 0 {
                break;
            }
        }
        let asked = String::from_utf8_lossy(&asked).into_owned();
        assert!(asked.contains("chancery-directory: "), "{asked}");
        let words: Vec<&str> = asked.split(' ').take(2).collect();
        let Some((status, body)) = answer(&words.join(" ")) else {
            std::future::pending::<()>().await;
            return;
        };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A client of a server that answers so.
async fn client(answer: impl Fn(&str) -> Option<(u16, Value)> + Send + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Box::new(answer)));
    let client = Client::connect(&Connection {
        url: Some(format!("http://{address}")),
        token: Some("token".to_owned()),
        ca: None,
        data: None,
    });
    let directory = lifecycle::TargetDirectoryId::from_random([1; 16]);
    client.unwrap().delivering_into(directory)
}

/// A deliverer into `root`, and how it is told to end.
fn deliverer<'a>(client: &'a Client, root: &Path) -> (Deliverer<'a>, watch::Sender<bool>) {
    let (end, ending) = watch::channel(false);
    let deliverer = Deliverer {
        client,
        path: "targets/web".to_owned(),
        wants: json!({}),
        site: Site {
            directory: Directory::open(root, Form::Pair).unwrap(),
            reload: None,
        },
        refused: Retries::default(),
        lookup: None,
        settled_at: Instant::now(),
        ending,
    };
    (deliverer, end)
}

fn material_of(certificate: CertificateId) -> (u16, Value) {
    let answer = json!({
        "certificate": certificate.to_string(),
        "version": VERSION,
        "chain": "chain\n",
        "private_key": "key\n",
    });
    (200, answer)
}

fn wanted(name: &str, certificate: CertificateId) -> Wanted {
    Wanted {
        name: name.to_owned(),
        held: Held {
            certificate,
            version: VERSION.parse().unwrap(),
        },
        is_acknowledged: false,
    }
}

#[tokio::test]
async fn what_the_server_does_not_give_out_keeps_neither_others_nor_the_end_back() {
    let ids = [1, 2, 3].map(|number| CertificateId::from_random([number; 16]));
    let [broken, good, silent] = ids;
    let client = client(move |asked| {
        let is_for = |certificate: CertificateId| asked.ends_with(&certificate.to_string());
        if is_for(silent) {
            return None;
        }
        Some(if asked.ends_with("/placements") {
            (200, json!({}))
        } else if is_for(good) {
            material_of(good)
        } else {
            (500, json!({ "detail": "this one is broken" }))
        })
    });
    let client = client.await;
    let root = tempfile::tempdir().unwrap();
    let (mut deliverer, end) = deliverer(&client, root.path());
    let mut plan = Plan {
        tag: "a".to_owned(),
        place: vec![wanted("broken", broken), wanted("good", good)],
        remove: Vec::new(),
    };
    let pass = deliverer.carry_out(&plan).await.ok().flatten().unwrap();
    assert_eq!(pass.refused, 1);
    assert!(root.path().join("good.key").exists());
    let broken = Change {
        name: "broken".to_owned(),
        to: Some(plan.place[0].held),
    };
    assert!(deliverer.refused.waits(&broken, Instant::now()));

    plan.place.push(wanted("silent", silent));
    let (ended, ()) = tokio::join!(deliverer.carry_out(&plan), async {
        end.send_replace(true);
    });
    assert!(matches!(ended, Ok(None)));
}

#[tokio::test]
async fn what_cannot_be_erased_does_not_keep_the_server_from_being_told() {
    let id = CertificateId::from_random([1; 16]);
    let told = Arc::new(AtomicUsize::new(0));
    let count = told.clone();
    let client = client(move |asked| {
        if asked.ends_with("/placements") {
            count.fetch_add(1, Ordering::SeqCst);
            return Some((200, json!({})));
        }
        Some(material_of(id))
    });
    let client = client.await;
    let root = tempfile::tempdir().unwrap();
    let (mut deliverer, _end) = deliverer(&client, root.path());
    let versions = root.path().join(".chancery/versions");
    // No directory, though it is called like that of a version.
    std::fs::write(
        versions.join(format!("{id}.{VERSION}").replace('1', "2")),
        "",
    )
    .unwrap();
    let plan = Plan {
        tag: "a".to_owned(),
        place: vec![wanted("a", id)],
        remove: Vec::new(),
    };
    let pass = deliverer.carry_out(&plan).await.ok().flatten().unwrap();
    assert_eq!((pass.refused, told.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test]
async fn a_server_that_does_not_listen_does_not_keep_the_process_from_ending() {
    let id = CertificateId::from_random([1; 16]);
    let (heard, hearing) = watch::channel(false);
    let client = client(move |asked| {
        if asked.ends_with("/placements") {
            heard.send_replace(true);
            return None;
        }
        Some(material_of(id))
    });
    let client = client.await;
    let root = tempfile::tempdir().unwrap();
    let (mut deliverer, end) = deliverer(&client, root.path());
    let plan = Plan {
        tag: "a".to_owned(),
        place: vec![wanted("a", id)],
        remove: Vec::new(),
    };
    let (ended, ()) = tokio::join!(deliverer.carry_out(&plan), async {
        let mut hearing = hearing;
        hearing.wait_for(|is_heard| *is_heard).await.unwrap();
        end.send_replace(true);
    });
    assert!(matches!(ended, Ok(None)));
    assert!(root.path().join("a.crt").exists());
}

#[tokio::test]
async fn once_is_not_refused_what_was_renewed_between_the_plan_and_its_files() {
    let (old, new) = (
        CertificateId::from_random([1; 16]),
        CertificateId::from_random([2; 16]),
    );
    for plans_behind in [1, 3, 9] {
        let plans = Arc::new(AtomicUsize::new(0));
        let asked_for = plans.clone();
        let client = client(move |asked| {
            Some(if asked.contains("/plan?") {
                let behind = asked_for.fetch_add(1, Ordering::SeqCst) < plans_behind;
                let wanted = json!({
                    "certificate": if behind { old } else { new }.to_string(),
                    "version": VERSION,
                    "name": "a",
                    "acknowledged": false,
                });
                let tag = format!("tag{behind}");
                (200, json!({ "tag": tag, "place": [wanted], "remove": [] }))
            } else if asked.ends_with(&old.to_string()) {
                (404, json!({ "detail": "no such certificate" }))
            } else if asked.ends_with(&new.to_string()) {
                material_of(new)
            } else {
                (200, json!({}))
            })
        });
        let client = client.await;
        let root = tempfile::tempdir().unwrap();
        let (deliverer, _end) = deliverer(&client, root.path());
        deliverer.run(true).await.unwrap();
        let is_there = root.path().join("a.crt").exists();
        assert_eq!(is_there, plans_behind <= 3);
        assert_eq!(plans.load(Ordering::SeqCst), (plans_behind + 1).min(4));
    }
}
