//! Another house beside the tested one: a foreign authority with an OCSP responder.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lifecycle::{
    CertificateId, CertificateRef, DEFAULT_AUTHORITY, House, Principal, RevocationTarget,
};
use pki::{KeyAlgorithm, RevocationReason};
use testbed::Workdir;
use tokio::runtime::Handle;

use super::{Client, Server, furnished, order};
use lifecycle::{Surroundings, SystemClock, SystemRandomness};

/// A foreign authority.
pub(crate) struct Foreign<'a> {
    server: &'a Server,
    house: House,
    principal: Principal,
    /// Questions that its responder was asked.
    pub(crate) asked: Arc<AtomicUsize>,
    _data: Workdir,
}

/// What a foreign authority issued; PEM.
pub(crate) struct Pair {
    pub(crate) id: CertificateId,
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl<'a> Foreign<'a> {
    pub(super) fn beside(server: &'a Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let surroundings = Surroundings::new(SystemClock, SystemRandomness);
        let data = Workdir::new();
        let (house, _, principal) = server.run(furnished(&data, surroundings, &url));
        let asked = Arc::new(AtomicUsize::new(0));
        let (responder, counted) = (house.clone(), asked.clone());
        let handle = server.runtime.handle().clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                answer(stream.unwrap(), &responder, &handle);
            }
        });
        Self {
            server,
            house,
            principal,
            asked,
            _data: data,
        }
    }

    /// Issues a certificate.
    pub(crate) fn issue(&self, names: &[&str]) -> Pair {
        let request = order(KeyAlgorithm::P256, names);
        let issued = self.house.certificates.issue(&self.principal, request);
        let issued = self.server.run(issued).unwrap();
        let chain = std::iter::once(&issued.leaf).chain(&issued.intermediates);
        Pair {
            id: issued.id,
            chain: chain.map(pki::Certificate::to_pem).collect(),
            key: issued.key.unwrap().to_pkcs8_pem().to_string(),
        }
    }

    /// Revokes a certificate of its own.
    pub(crate) fn revoke(&self, id: CertificateId) {
        let target = RevocationTarget::Certificate(CertificateRef::Id(id));
        let certificates = &self.house.certificates;
        let revoked = certificates.revoke(&self.principal, &target, RevocationReason::Superseded);
        self.server.run(revoked).unwrap();
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self) -> Client {
        let authority = self.house.authorities.named(DEFAULT_AUTHORITY);
        let authority = self.server.run(authority).unwrap();
        Client::trusting(authority.root_certificate().der())
    }

    /// The certificate that signs.
    pub(crate) fn issuer(&self) -> pki::Certificate {
        let authority = self.house.authorities.named(DEFAULT_AUTHORITY);
        self.server
            .run(authority)
            .unwrap()
            .issuing_certificate()
            .clone()
    }
}

/// Answers the one request of a connection.
fn answer(stream: TcpStream, house: &House, handle: &Handle) {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line == "\r\n" || line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut question = vec![0; length];
    reader.read_exact(&mut question).unwrap();
    let answer = handle
        .block_on(house.authorities.answer_ocsp(&question))
        .der;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let mut stream = reader.into_inner();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&answer).unwrap();
}
