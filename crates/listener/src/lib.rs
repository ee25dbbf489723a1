//! Listening sockets whose peers are not trusted: a bounded number of connections, a share of them
//! for each peer, deadlines for peers that read nothing or want nothing, and an end in order.
//!
//! What is spoken on a connection, TLS included, is the caller's.

mod activity;
mod limits;
mod peers;
mod stream;

use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use activity::{Activity, Attended, OngoingRequest};
pub use limits::Limits;
use peers::Peers;
pub use stream::Stream;

/// Pause after the system refused to accept, so that a lack of file descriptors is no busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound address on which connections can be accepted.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenerError {
    address: SocketAddr,
    source: std::io::Error,
}

impl Listener {
    /// Binds `address`; port 0 picks a free one.
    ///
    /// # Errors
    /// [`ListenerError`] when the address is taken or not ours.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenerError> {
        let failed = |source| ListenerError { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// The address in effect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A connection that may be served.
#[derive(Debug)]
pub struct Accepted {
    /// The connection; what is written to it has a deadline.
    pub stream: Stream<TcpStream>,
    /// Whose it is.
    pub peer: SocketAddr,
    /// Turns true when the connection should end.
    pub shutdown: watch::Receiver<bool>,
}

/// Serves each connection with what `serve_one` returns for it, until `shutdown` turns true. Then
/// takes no more, and waits for those that there are for as long as `limits` say.
pub async fn serve<Served>(
    listener: Listener,
    limits: &Limits,
    mut shutdown: watch::Receiver<bool>,
    serve_one: impl Fn(Accepted) -> Served,
) where
    Served: Future<Output = ()> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let peers = Peers::new(limits);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener.socket, &slots) => accepted,
            Some(_) = connections.join_next() => continue,
            () = asked(&mut shutdown) => break,
        };
        match accepted {
            Ok((stream, peer, slot)) => {
                let Some(admission) = peers.admit(peer.ip()) else {
                    tracing::debug!(%peer, "a peer has too many connections");
                    continue;
                };
                let serving = serve_one(Accepted {
                    stream: Stream::new(stream, limits.write),
                    peer,
                    shutdown: shutdown.clone(),
                });
                connections.spawn(async move {
                    let _counted = (slot, admission);
                    serving.await;
                });
            }
            // The peer was gone before it was its turn.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, address = %listener.address, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener.socket);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_err() {
        let count = connections.len();
        tracing::warn!(count, "some connections did not end before the shutdown");
        connections.shutdown().await;
    }
}

/// Waits until a shutdown is asked for, or nobody is left to ask for one.
pub async fn asked(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|down| *down).await;
}

async fn accept(
    socket: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await;
    let slot = slot.map_err(std::io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_told_apart_from_the_reason() {
        let first = Listener::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let error = Listener::bind(first.address()).await.unwrap_err();
        let reason = error.source().unwrap().to_string();
        let told = error.to_string();
        assert!(told.contains(&first.address().to_string()), "{told}");
        assert!(!told.contains(&reason), "{told}");
    }
}
