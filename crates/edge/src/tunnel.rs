//! Ports on which TLS ends and nothing else is done: what is decrypted goes to an instance as it
//! is, and back.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use lifecycle::PublishedPort;
use listener::Activity;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf, copy_bidirectional};

use crate::facts::{ConnectionFacts, TlsFacts};
use crate::http::balancer::Service;
use crate::shared::Shared;

/// Joins a client with an instance of its service until both have said everything, one of them
/// breaks off, or neither says anything for too long.
pub(crate) async fn serve<S>(
    mut stream: S,
    facts: &ConnectionFacts,
    tls: &TlsFacts,
    (service, port): (&Service, PublishedPort),
    shared: &Shared,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connector = &shared.proxy.connector;
    let connected = connector.any(service, port.destination_port).await;
    let mut connected = match connected {
        Ok(connected) => connected,
        Err(error) => {
            let domain = &tls.site.domain;
            tracing::debug!(%domain, %error, "a connection has no instance to go to");
            // TLS has no word for this; its end is one that nobody takes for an answer's.
            let _ = stream.shutdown().await;
            return;
        }
    };
    let activity = Activity::new();
    let mut watched = Watched::new(stream, activity.clone());
    let joined = tokio::select! {
        joined = copy_bidirectional(&mut watched, &mut connected.stream) => joined,
        () = activity.ceased(shared.settings.limits.idle) => {
            Err(io::ErrorKind::TimedOut.into())
        }
    };
    // Also of what broke off.
    let (received, sent) = (watched.received, watched.sent);
    tracing::info!(
        target: "edge::access",
        peer = %facts.peer,
        host = tls.site.domain,
        service = %service.route.service,
        port = port.port,
        tls = tls.version,
        received,
        sent,
        error = joined.err().map(tracing::field::display),
        "tunnel"
    );
}

/// A stream on which every octet that passes is activity.
pub(crate) struct Watched<S> {
    inner: S,
    activity: Arc<Activity>,
    /// Octets that were read.
    received: u64,
    /// Octets that were written.
    sent: u64,
}

impl<S> Watched<S> {
    /// Notes in `activity` what passes.
    pub(crate) fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            activity,
            received: 0,
            sent: 0,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.inner).poll_read(context, buffer));
        self.received += buffer.filled().len().saturating_sub(before) as u64;
        self.activity.touch();
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes));
        self.sent += written.as_ref().map_or(0, |count| *count as u64);
        self.activity.touch();
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_passed_before_a_stream_broke_off_counts() {
        let (stream, mut peer) = duplex(64);
        let mut watched = Watched::new(stream, Activity::new());
        peer.write_all(b"seven..").await.unwrap();
        watched.read_exact(&mut [0; 7]).await.unwrap();
        watched.write_all(b"four").await.unwrap();
        drop(peer);
        watched.write_all(b"lost").await.unwrap_err();
        assert_eq!((watched.received, watched.sent), (7, 4));
    }
}
