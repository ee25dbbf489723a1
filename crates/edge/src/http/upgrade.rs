//! Connections that change from HTTP/1.1 to another protocol (RFC 9110 section 7.8), such as
//! WebSocket: from then on what comes from either side goes to the other.

use std::time::Duration;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use listener::Activity;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::sync::watch;
use tokio::time::timeout;

use super::balancer::Held;
use super::body::RequestBody;
use super::connect::Connected;
use super::pool::{Reason, Unanswered, builder};
use crate::tunnel::Watched;

/// How much is held at a time for each direction, in octets.
const BUFFER: usize = 16 * 1024;
/// How long a connection on which nothing goes on is kept after a shutdown was asked for.
const DRAIN_IDLE: Duration = Duration::from_secs(1);

/// Sends a request that asks for another protocol on a connection of its own.
pub(super) async fn exchange(
    connected: Connected,
    request: Request<RequestBody>,
    patience: Duration,
) -> Result<(Response<Incoming>, Held), Unanswered> {
    let Connected { stream, held, slot } = connected;
    let handshake = builder().handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(Reason::Broken)?;
    tokio::spawn(async move {
        let _slot = slot;
        // How it ended is seen by who waits for the answer.
        let _ = connection.with_upgrades().await;
    });
    match timeout(patience, sender.try_send_request(request)).await {
        Ok(Ok(response)) => Ok((response, held)),
        Ok(Err(mut error)) => Err(Unanswered {
            request: error.take_message(),
            reason: Reason::Broken(error.into_error()),
        }),
        Err(_) => Err(Reason::TimedOut.into()),
    }
}

/// The protocol that an instance changed to, if it is among those that were asked for.
pub(super) fn chosen(asked: &HeaderValue, headers: &HeaderMap) -> Option<HeaderValue> {
    let chosen = headers.get(UPGRADE)?;
    let mut protocols = asked.as_bytes().split(|byte| *byte == b',');
    let is_chosen = |protocol: &[u8]| {
        let protocol = protocol.trim_ascii();
        protocol.eq_ignore_ascii_case(chosen.as_bytes().trim_ascii())
    };
    protocols.any(is_chosen).then(|| chosen.clone())
}

/// Two ends that are to be connected as soon as both have changed.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) client: OnUpgrade,
    pub(super) instance: OnUpgrade,
    pub(super) held: Held,
}

impl Tunnel {
    /// Carries what comes from either end to the other until both have ended, nothing went on for
    /// `idle`, or nothing goes on while a shutdown is asked for.
    pub(super) async fn run(
        self,
        mut shutdown: watch::Receiver<bool>,
        idle: Duration,
    ) -> Result<(), hyper::Error> {
        let (client, instance) = (self.client.await?, self.instance.await?);
        let _held = self.held;
        let activity = Activity::new();
        let mut client = Watched::new(TokioIo::new(client), activity.clone());
        let mut instance = TokioIo::new(instance);
        let copying = copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER);
        tokio::select! {
            copied = copying => match copied {
                Ok((received, sent)) => tracing::debug!(received, sent, "a tunnel ended"),
                Err(error) => tracing::debug!(%error, "a tunnel broke off"),
            },
            () = activity.ceased(idle) => tracing::debug!("a tunnel was idle for too long"),
            () = async {
                listener::asked(&mut shutdown).await;
                activity.ceased(DRAIN_IDLE).await;
            } => tracing::debug!("a tunnel was closed for the shutdown"),
        }
        Ok(())
    }
}
