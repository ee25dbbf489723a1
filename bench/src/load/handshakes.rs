//! TLS handshakes, each on a connection of its own that is closed right after.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Client, Limit, Measurement, Target, run};
use crate::names::{self, Dice};
use crate::tls::{self, Offer};

/// How long a handshake may take, and the end of a connection.
const DEADLINE: Duration = Duration::from_secs(10);
/// Names that one client resumes sessions with. Few, since the first handshake with each is a full
/// one.
const RESUMED_NAMES: usize = 16;

/// What is to happen to a handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expected {
    /// It is done in full.
    Full,
    /// It resumes an earlier session.
    Resumed,
    /// It is refused, since nobody knows the name.
    Refused,
}

/// Handshakes to be made.
#[derive(Clone, Debug)]
pub(crate) struct Handshakes {
    /// What the line is called in the report.
    pub(crate) name: String,
    /// What is asked for, unless it is to be refused.
    pub(crate) names: Arc<[ServerName<'static>]>,
    pub(crate) expected: Expected,
    pub(crate) offer: Offer,
    /// Of the dice that choose the names.
    pub(crate) seed: u64,
}

/// Makes `handshakes` with `target`, `clients` at a time.
///
/// # Errors
/// When the CPU time of a process cannot be read, which is when the server has ended.
pub(crate) async fn drive(
    target: Target,
    clients: u16,
    limit: Limit,
    handshakes: &Handshakes,
) -> anyhow::Result<Measurement> {
    let mut dice = Dice::new(handshakes.seed);
    let offer = Offer {
        resumption: handshakes.expected == Expected::Resumed,
        ..handshakes.offer
    };
    let shared = offer.config()?;
    let mut callers = Vec::with_capacity(clients.into());
    for number in 0..usize::from(clients) {
        let (config, names) = match handshakes.expected {
            Expected::Full | Expected::Refused => (shared.clone(), handshakes.names.clone()),
            // Sessions of its own, so that no other client takes the ticket away.
            Expected::Resumed => {
                let all = handshakes.names.iter().cycle();
                let names = all.skip(number).step_by(clients.into());
                let count = handshakes.names.len().min(RESUMED_NAMES);
                (offer.config()?, names.take(count).cloned().collect())
            }
        };
        callers.push(Caller {
            address: target.address,
            connector: TlsConnector::from(config),
            expected: handshakes.expected,
            names,
            dice: Dice::new(dice.roll()),
            is_primed: handshakes.expected != Expected::Resumed,
            open: None,
            remarks: BTreeSet::new(),
        });
    }
    run(&handshakes.name, target, limit, callers).await
}

/// One handshake, to see whether a server is ready.
///
/// # Errors
/// When it fails.
pub(crate) async fn attempt(
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> std::io::Result<()> {
    let connector = TlsConnector::from(config);
    let mut stream = open(address, &connector, name).await?;
    close(&mut stream).await
}

struct Caller {
    address: SocketAddr,
    connector: TlsConnector,
    expected: Expected,
    names: Arc<[ServerName<'static>]>,
    dice: Dice,
    /// Whether there is a session with each name, if any is to be resumed.
    is_primed: bool,
    /// The last connection, to be closed when nobody counts the time.
    open: Option<TlsStream<TcpStream>>,
    remarks: BTreeSet<String>,
}

impl Client for Caller {
    async fn prepare(&mut self) -> Result<(), String> {
        if let Some(mut stream) = self.open.take() {
            close(&mut stream)
                .await
                .map_err(|error| format!("cannot close: {error}"))?;
        }
        if !self.is_primed {
            for name in self.names.iter() {
                let opened = open(self.address, &self.connector, name.clone()).await;
                let mut stream = opened.map_err(|error| format!("first handshake: {error}"))?;
                close(&mut stream)
                    .await
                    .map_err(|error| format!("cannot close: {error}"))?;
            }
            self.is_primed = true;
        }
        Ok(())
    }

    async fn exchange(&mut self, _number: u64) -> Result<Bytes, String> {
        if self.expected == Expected::Refused {
            return self.be_refused().await;
        }
        let Some(name) = self.dice.choose(&self.names) else {
            return Err("no name to ask for".to_owned());
        };
        let stream = open(self.address, &self.connector, name.clone())
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        let (_, connection) = stream.get_ref();
        let remark = tls::negotiated(connection);
        let kind = connection.handshake_kind();
        self.open = Some(stream);
        self.remark(remark);
        let is_resumed = kind == Some(HandshakeKind::Resumed);
        match (self.expected == Expected::Resumed, is_resumed) {
            (true, false) => Err("not resumed".to_owned()),
            (false, true) => Err("resumed".to_owned()),
            _ => Ok(Bytes::new()),
        }
    }

    fn remarks(self) -> BTreeSet<String> {
        self.remarks
    }
}

impl Caller {
    async fn be_refused(&mut self) -> Result<Bytes, String> {
        let name = names::unknown(&mut self.dice).map_err(|error| error.to_string())?;
        match open(self.address, &self.connector, name).await {
            Ok(_) => Err("an unknown name was served".to_owned()),
            Err(error) => match tls::alert(&error) {
                Some(alert) => {
                    self.remark(format!("refused with {alert:?}"));
                    Ok(Bytes::new())
                }
                // The alert may be lost when a server closes before it has read everything.
                None if matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ) =>
                {
                    self.remark("refused by closing".to_owned());
                    Ok(Bytes::new())
                }
                None => Err(format!("handshake: {error}")),
            },
        }
    }

    fn remark(&mut self, remark: String) {
        if !self.remarks.contains(&remark) {
            self.remarks.insert(remark);
        }
    }
}

async fn open(
    address: SocketAddr,
    connector: &TlsConnector,
    name: ServerName<'static>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let opening = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        connector.connect(name, stream).await
    };
    tokio::time::timeout(DEADLINE, opening).await?
}

/// Ends a connection in order: says so, and reads what the server still sends, session tickets
/// among it, until it has closed its side.
async fn close(stream: &mut TlsStream<TcpStream>) -> std::io::Result<()> {
    let closing = async {
        let mut rest = [0; 1024];
        stream.shutdown().await?;
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    match tokio::time::timeout(DEADLINE, closing).await? {
        // A server that has nothing more to say need not say so.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::NotConnected
                    | ErrorKind::BrokenPipe
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}
