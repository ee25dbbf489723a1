use serde_json::json;
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

/// A server that has one certificate and fails with others; what it is asked for last, it never
/// answers.
async fn serve(listener: TcpListener, good: CertificateId, silent: CertificateId) {
    let good = good.to_string();
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut asked = Vec::new();
        while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
            if connection.read_buf(&mut asked).await.unwrap() == 0 {
                break;
            }
        }
        let asked = String::from_utf8_lossy(&asked).into_owned();
        let path = asked.split(' ').nth(1).unwrap_or_default();
        if path.ends_with(&silent.to_string()) {
            std::future::pending::<()>().await;
        }
        let (status, body) = if path.ends_with("/placements") {
            (200, json!({}))
        } else if path.ends_with(&good) {
            let answer = json!({
                "certificate": good,
                "version": VERSION,
                "chain": "chain\n",
                "private_key": "key\n",
            });
            (200, answer)
        } else {
            (500, json!({ "detail": "this one is broken" }))
        };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, good, silent));
    let client = Client::connect(&Connection {
        url: Some(format!("http://{address}")),
        token: Some("token".to_owned()),
        ca: None,
        data: None,
    });
    let client = client.unwrap();
    let root = tempfile::tempdir().unwrap();
    let (end, ending) = watch::channel(false);
    let mut deliverer = Deliverer {
        client: &client,
        path: "targets/web".to_owned(),
        wants: json!({}),
        site: Site {
            directory: Directory::open(root.path(), Form::Pair).unwrap(),
            reload: None,
        },
        refused: Retries::default(),
        lookup: None,
        settled_at: Instant::now(),
        ending,
    };
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
