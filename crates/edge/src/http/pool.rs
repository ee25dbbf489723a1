//! Connections to instances that wait for the next request, and how a request goes out on one.
//!
//! A connection has no task of its own: whoever waits for its answer, or reads the body of one,
//! drives it. While it waits for a request nobody does. It is looked at when it is taken, so that one
//! which the instance closed meanwhile is not used.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::balancer::Instance;
use super::body::{Progress, RequestBody};

/// How long a connection waits for a request. Servers commonly wait a little more than a minute
/// before they close one.
const IDLE: Duration = Duration::from_secs(30);
/// Connections to one instance that wait for a request.
const IDLE_CONNECTIONS: usize = 256;
/// Longest head of an answer, in octets; also how much of a body is held at a time.
const HEAD: usize = 64 * 1024;

/// An HTTP/1.1 connection to an instance.
#[derive(Debug)]
pub(super) struct Upstream {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<TcpStream>, RequestBody>,
    _slot: OwnedSemaphorePermit,
}

/// How a request ended that got no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) reason: Reason,
    /// The request, if nothing of it was sent.
    pub(super) request: Option<Request<RequestBody>>,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    /// No answer began in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// The connection ended, or what came was no HTTP.
    #[error("it broke off: {0}")]
    Broken(hyper::Error),
    /// The connection ended without a word.
    #[error("it closed the connection")]
    Closed,
}

/// What the client side of HTTP/1.1 accepts of an instance.
pub(super) fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD).max_header_size(HEAD);
    builder
}

impl Upstream {
    /// Speaks HTTP on a new connection.
    pub(super) async fn new(
        stream: TcpStream,
        slot: OwnedSemaphorePermit,
    ) -> Result<Box<Self>, hyper::Error> {
        let (sender, connection) = builder().handshake(TokioIo::new(stream)).await?;
        Ok(Box::new(Self {
            sender,
            connection,
            _slot: slot,
        }))
    }

    /// Whether a request can be sent. The task of `context` is woken when the connection ends.
    pub(super) fn is_ready(&mut self, context: &mut Context<'_>) -> bool {
        Pin::new(&mut self.connection).poll(context).is_pending() && self.sender.is_ready()
    }

    /// Goes on with sending and receiving.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Pin::new(&mut self.connection).poll(context)
    }

    /// Sends a request and waits for the head of its answer, at most `patience` after the last part
    /// of the body that went out.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: Request<RequestBody>,
        progress: Option<Arc<Progress>>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Box<Self>), Unanswered> {
        let mut deadline = pin!(sleep(patience));
        let answer = {
            let Self {
                sender, connection, ..
            } = &mut *self;
            let mut answer = pin!(sender.try_send_request(request));
            std::future::poll_fn(|context| {
                let driven = Pin::new(&mut *connection).poll(context);
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    return Poll::Ready(answer.map_err(|mut error| Unanswered {
                        request: error.take_message(),
                        reason: Reason::Broken(error.into_error()),
                    }));
                }
                if driven.is_ready() {
                    return Poll::Ready(Err(Reason::Closed.into()));
                }
                while deadline.as_mut().poll(context).is_ready() {
                    let last = progress.as_ref().map(|progress| progress.last());
                    match last.map(|last| last + patience) {
                        Some(later) if later > Instant::now() => deadline.as_mut().reset(later),
                        _ => return Poll::Ready(Err(Reason::TimedOut.into())),
                    }
                }
                Poll::Pending
            })
            .await?
        };
        Ok((answer, self))
    }
}

impl From<Reason> for Unanswered {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            request: None,
        }
    }
}

/// Connections to one instance that wait for a request.
#[derive(Debug, Default)]
pub(super) struct IdleConnections(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    /// The longest waiting first.
    idle: Vec<Idle>,
    /// Whether a task closes those that waited for too long.
    is_swept: bool,
}

#[derive(Debug)]
struct Idle {
    port: u16,
    since: Instant,
    upstream: Box<Upstream>,
}

impl IdleConnections {
    /// The connection to this port that waited for the shortest time.
    pub(super) fn take(&self, port: u16) -> Option<Box<Upstream>> {
        let mut shelf = self.shelf();
        let at = shelf.idle.iter().rposition(|idle| idle.port == port)?;
        let idle = shelf.idle.remove(at);
        (idle.since.elapsed() < IDLE).then_some(idle.upstream)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // No code that can panic runs while the lock is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shelf().idle.len()
    }
}

/// Keeps a connection to `instance` for the next request to this port.
pub(super) fn keep(instance: &Arc<Instance>, port: u16, upstream: Box<Upstream>) {
    let mut shelf = instance.idle.shelf();
    if shelf.idle.len() >= IDLE_CONNECTIONS {
        return;
    }
    shelf.idle.push(Idle {
        port,
        since: Instant::now(),
        upstream,
    });
    if !std::mem::replace(&mut shelf.is_swept, true) {
        tokio::spawn(sweep(Arc::downgrade(instance)));
    }
}

/// Closes connections that waited for too long, until there are none.
async fn sweep(instance: Weak<Instance>) {
    loop {
        sleep(IDLE).await;
        let Some(instance) = instance.upgrade() else {
            return;
        };
        let mut shelf = instance.idle.shelf();
        shelf.idle.retain(|idle| idle.since.elapsed() < IDLE);
        if shelf.idle.is_empty() {
            shelf.is_swept = false;
            return;
        }
    }
}
