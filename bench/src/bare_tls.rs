//! The least that a TLS server can do: tokio-rustls with one certificate, and behind it hyper, which
//! passes requests on over one connection for each client. Runs as a process of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::ResolvesServerCertUsingSni;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;

use crate::arguments::BareTls;
use crate::{hello, tls};

/// Serves until the standard input ends, as it does when the parent process does.
pub(crate) fn serve(arguments: &BareTls) -> anyhow::Result<()> {
    let config = Arc::new(config(arguments)?);
    hello::until_input_ends(accept(config, arguments.port, arguments.upstream))
}

fn config(arguments: &BareTls) -> anyhow::Result<ServerConfig> {
    let file = arguments.certificate.display();
    let pem = std::fs::read(&arguments.certificate).with_context(|| format!("no {file}"))?;
    let mut resolver = ResolvesServerCertUsingSni::new();
    resolver.add(&arguments.name, tls::certified_key(&pem)?)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    if arguments.without_tickets {
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = Ticketer::new()?;
    }
    Ok(config)
}

async fn accept(config: Arc<ServerConfig>, port: u16, upstream: SocketAddr) -> anyhow::Result<()> {
    let acceptor = TlsAcceptor::from(config);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let connection = Mutex::new(None);
            let service = service_fn(|request| pass_on(request, upstream, &connection));
            // A client that goes away is no fault of this server.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn pass_on(
    request: Request<Incoming>,
    upstream: SocketAddr,
    connection: &Mutex<Option<SendRequest<Incoming>>>,
) -> anyhow::Result<http::Response<Incoming>> {
    let mut connection = connection.lock().await;
    let mut sender = match connection.take() {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(upstream).await?;
            stream.set_nodelay(true)?;
            let (sender, driver) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(driver);
            sender
        }
    };
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    *connection = Some(sender);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::handshakes::{self, Expected, Handshakes};
    use crate::load::http::{Prepared, Security, Traffic, drive_over};
    use crate::load::{Limit, Measurement, Target};
    use crate::material::{self, Identity};
    use crate::names;
    use crate::standing::{free_port, wait};
    use crate::tls::Offer;

    const EXCHANGES: u64 = 20;
    const LIMIT: Limit = Limit::Count {
        requests: EXCHANGES,
        keep: false,
    };

    struct Bare {
        target: Target,
        name: String,
        _certificate: tempfile::NamedTempFile,
    }

    impl Bare {
        async fn start(without_tickets: bool) -> Self {
            let identity = Identity::issue(0, &material::authority().unwrap()).unwrap();
            let certificate = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(certificate.path(), identity.to_pem()).unwrap();
            let (port, upstream) = (free_port().unwrap(), free_port().unwrap());
            let arguments = BareTls {
                certificate: certificate.path().to_owned(),
                name: identity.name.clone(),
                port,
                upstream: SocketAddr::from(([127, 0, 0, 1], upstream)),
                without_tickets,
            };
            let config = Arc::new(config(&arguments).unwrap());
            tokio::spawn(accept(config, port, arguments.upstream));
            tokio::spawn(hello::accept(bytes::Bytes::from_static(b"hello"), upstream));
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let started = std::time::Instant::now();
            wait(address, &identity.name, started, || Ok(true))
                .await
                .unwrap();
            Self {
                target: Target {
                    address,
                    process: None,
                    database: None,
                },
                name: identity.name,
                _certificate: certificate,
            }
        }

        async fn shake(&self, expected: Expected, name: &str) -> Measurement {
            let handshakes = Handshakes {
                name: "test".to_owned(),
                names: vec![names::parse(name).unwrap()].into(),
                expected,
                offer: Offer {
                    checks_name: true,
                    ..Offer::default()
                },
                seed: 1,
            };
            handshakes::drive(self.target, 2, LIMIT, &handshakes)
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn handshakes_are_done_resumed_and_refused() {
        let bare = Bare::start(false).await;
        for (expected, remark) in [
            (Expected::Full, "TLS 1.3, X25519MLKEM768"),
            (Expected::Resumed, "TLS 1.3, X25519MLKEM768"),
            (Expected::Refused, "refused with"),
        ] {
            let measured = bare.shake(expected, &bare.name).await;
            assert!(measured.errors.is_empty(), "{measured:?}");
            assert_eq!(measured.latencies.len() as u64, EXCHANGES);
            let mut remarks = measured.remarks.iter();
            assert!(
                remarks.all(|given| given.starts_with(remark)),
                "{measured:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_handshake_that_is_not_the_expected_one_is_an_error() {
        let bare = Bare::start(true).await;
        let measured = bare.shake(Expected::Resumed, &bare.name).await;
        assert_eq!(measured.errors.get("not resumed"), Some(&EXCHANGES));
        let measured = bare.shake(Expected::Full, "unknown.example").await;
        assert_eq!(measured.errors.values().sum::<u64>(), EXCHANGES);
    }

    #[tokio::test]
    async fn requests_are_passed_on() {
        let bare = Bare::start(false).await;
        let security = Security {
            config: Offer::default().config().unwrap(),
            server_name: names::parse(&bare.name).unwrap(),
        };
        let traffic = Traffic {
            name: "test".to_owned(),
            requests: vec![Prepared::new(http::Method::GET, "/", &[], "").unwrap()],
            expected: http::StatusCode::OK,
            is_good: |body| body == b"hello",
        };
        let measured = drive_over(Some(security), bare.target, 2, LIMIT, traffic)
            .await
            .unwrap();
        assert!(measured.errors.is_empty(), "{measured:?}");
        assert_eq!(measured.latencies.len() as u64, EXCHANGES);
    }
}
