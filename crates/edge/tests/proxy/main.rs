//! HTTP through the edge, from real clients to real servers, over a real house.
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod bodies;
mod faults;
mod requests;
#[path = "../support/mod.rs"]
mod support;

use std::net::SocketAddr;
use std::path::Path;

use pki::KeyAlgorithm;
use testbed::Curl;

use support::Server;

const NAME: &str = "app.example.com";

/// A service of this name with an instance.
fn server_before(instance: SocketAddr) -> Server {
    let server = Server::start();
    server.issue(KeyAlgorithm::P256, &[NAME]);
    server.serve_from(&[NAME], instance);
    server
}

/// curl that finds these names at the edge.
fn curl(server: &Server, names: &[&str]) -> Curl {
    let root = server.root_file();
    let curl = Curl::trusting(&[Path::new(&root)]);
    names.iter().fold(curl, |curl, name| {
        curl.at(name, server.https).at(name, server.http)
    })
}

/// An address of the edge with TLS.
fn https(server: &Server, path: &str) -> String {
    format!("https://{NAME}:{}{path}", server.https.port())
}
