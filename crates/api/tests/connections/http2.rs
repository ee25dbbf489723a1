//! HTTP/2: peers that answer every ping and want nothing, or take nothing.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::LONG;
use crate::support::Server;

/// A server that soon gives up on idle connections, and pings before.
fn server() -> Server {
    Server::with(|options| {
        options.limits.listener.idle = Duration::from_secs(3);
        options.limits.head = Duration::from_secs(1);
        options.limits.listener.write = Duration::from_secs(3);
    })
}

/// Configurations of both sides, with a certificate of the server's own authority.
fn configurations(server: &Server) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let bearer = format!("Bearer {}", server.token);
    let path = "/chancery/v1/certificates";
    let order = json!({ "names": ["localhost"] }).to_string();
    let issued = server.send("POST", path, &[("Authorization", &bearer)], order);
    let issued = issued.json();
    let text = |member: &str| issued[member].as_str().unwrap().as_bytes();
    let chain = CertificateDer::pem_slice_iter(text("chain")).map(Result::unwrap);
    let key = PrivateKeyDer::from_pem_slice(text("private_key")).unwrap();
    let mut ours = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.collect(), key)
        .unwrap();
    ours.alpn_protocols = vec![b"h2".to_vec()];

    let authority = server.run(server.house.authorities.named("default"));
    let root = authority.unwrap().root_certificate().der().to_vec();
    let mut roots = RootCertStore::empty();
    roots.add(root.into()).unwrap();
    let mut theirs = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    theirs.alpn_protocols = vec![b"h2".to_vec()];
    (Arc::new(ours), Arc::new(theirs))
}

/// A connection whose peer accepts so many octets of an answer. The task answers pings, and ends
/// with the connection.
async fn connect(
    address: std::net::SocketAddr,
    configuration: Arc<ClientConfig>,
    window: u32,
) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(configuration)
        .connect(name, stream)
        .await
        .unwrap();
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let living = tokio::spawn(async move {
        let _ = connection.await;
    });
    (sender, living)
}

fn request() -> http::Request<Empty<Bytes>> {
    http::Request::get("https://localhost/openapi.json")
        .body(Empty::new())
        .unwrap()
}

#[test]
fn a_peer_that_only_answers_pings_is_let_go() {
    let server = server();
    let (ours, theirs) = configurations(&server);
    let address = server.listen_with_tls(ours);
    server.run(async {
        let (mut sender, living) = connect(address, theirs, 1 << 20).await;
        let answer = sender.send_request(request()).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body.ends_with(b"}\n"));
        timeout(LONG, living).await.expect("held").unwrap();
    });
}

#[test]
fn a_peer_that_takes_in_no_answer_is_let_go() {
    let server = server();
    let (ours, theirs) = configurations(&server);
    let address = server.listen_with_tls(ours);
    server.run(async {
        let (mut sender, living) = connect(address, theirs, 10).await;
        let answer = sender.send_request(request()).await.unwrap();
        assert_eq!(answer.status(), 200);
        timeout(LONG, living).await.expect("held").unwrap();
        drop(answer);
    });
}

#[test]
fn connections_without_a_request_end_with_a_shutdown() {
    let server = Server::start();
    let (ours, theirs) = configurations(&server);
    let address = server.listen_with_tls(ours);
    server.run(async {
        let (mut sender, living) = connect(address, theirs, 1 << 20).await;
        sender.send_request(request()).await.unwrap();
        // One that never gets to speak TLS is not waited for either.
        let mut silent = TcpStream::connect(address).await.unwrap();
        server.ask_to_stop();
        timeout(LONG, living).await.expect("held").unwrap();
        let mut rest = Vec::new();
        let closed = tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut rest);
        let _ = timeout(Duration::from_secs(5), closed).await.expect("held");
    });
}
