//! Bodies on their way between clients and instances. Each holds one part at a time, so that whoever
//! reads slowly holds back who sends.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use listener::Activity;
use tokio::time::{Instant, Sleep, sleep};

use super::access::Record;
use super::balancer::Held;
use super::headers::rewrite_trailers;
use super::pool::{Upstream, keep};

/// How long a client that wants to be told to go on waits for that, before it does by itself.
const CONTINUE: Duration = Duration::from_secs(1);

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection that it came from failed.
    #[error(transparent)]
    Transport(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("nothing more of the body came")]
    Stalled,
}

/// A deadline that begins anew with each part.
#[derive(Debug)]
struct Patience {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            sleep: None,
            is_running: false,
        }
    }

    fn progressed(&mut self) {
        self.is_running = false;
    }

    /// Waits until there was no progress for too long.
    fn poll_exhausted(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_running {
            sleep.as_mut().reset(Instant::now() + limit);
            self.is_running = true;
        }
        sleep.as_mut().poll(context)
    }
}

/// How far the body of a request has come.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    /// When the last part went out, in milliseconds since the beginning.
    last: AtomicU64,
    failure: AtomicU8,
}

const STALLED: u8 = 1;
const FAILED: u8 = 2;

impl Progress {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            failure: AtomicU8::new(0),
        })
    }

    /// When the last part went out.
    pub(super) fn last(&self) -> Instant {
        self.began + Duration::from_millis(self.last.load(Ordering::Relaxed))
    }

    /// Whether the client sent nothing more.
    pub(super) fn is_stalled(&self) -> bool {
        self.failure.load(Ordering::Relaxed) == STALLED
    }

    /// Whether the client broke off, or what it sent was no body.
    pub(super) fn is_failed(&self) -> bool {
        self.failure.load(Ordering::Relaxed) == FAILED
    }

    fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// Holds back the body of a client that asked whether it should send it.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    /// The instance wants the body.
    pub(super) fn open(&self) {
        self.is_open.store(true, Ordering::Release);
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waiting {
            waker.wake_by_ref();
        }
    }

    fn poll_open(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = Some(context.waker().clone());
        if self.is_open.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// The body of a request on its way to an instance.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// None.
    Empty,
    /// What the client sends.
    Streamed(Box<Upload>),
}

/// See [`RequestBody::Streamed`].
#[derive(Debug)]
pub(super) struct Upload {
    inner: Incoming,
    progress: Arc<Progress>,
    patience: Patience,
    activity: Arc<Activity>,
    gate: Option<(Arc<Gate>, Pin<Box<Sleep>>)>,
}

impl RequestBody {
    /// The body that a client sends, each part of which has to come within `limit`. What is returned
    /// beside it tells how far it has come.
    pub(super) fn streamed(
        inner: Incoming,
        limit: Duration,
        activity: Arc<Activity>,
    ) -> (Self, Arc<Progress>) {
        let progress = Progress::new();
        let upload = Upload {
            inner,
            progress: progress.clone(),
            patience: Patience::new(limit),
            activity,
            gate: None,
        };
        (Self::Streamed(Box::new(upload)), progress)
    }

    /// Holds it back until the gate is open, but not for long.
    pub(super) fn behind(self, gate: Arc<Gate>) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Streamed(mut upload) => {
                upload.gate = Some((gate, Box::pin(sleep(CONTINUE))));
                Self::Streamed(upload)
            }
        }
    }
}

impl Upload {
    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some((gate, deadline)) = &mut self.gate {
            if gate.poll_open(context).is_pending() {
                ready!(deadline.as_mut().poll(context));
            }
            self.gate = None;
        }
        match Pin::new(&mut self.inner).poll_frame(context) {
            Poll::Ready(mut frame) => {
                self.patience.progressed();
                self.progress.touch();
                self.activity.touch();
                match &mut frame {
                    Some(Ok(frame)) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            rewrite_trailers(trailers);
                        }
                    }
                    Some(Err(_)) => self.progress.failure.store(FAILED, Ordering::Relaxed),
                    None => {}
                }
                Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Transport)))
            }
            Poll::Pending => {
                ready!(self.patience.poll_exhausted(context));
                self.progress.failure.store(STALLED, Ordering::Relaxed);
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Streamed(upload) => upload.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Streamed(upload) => upload.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Streamed(upload) => upload.inner.size_hint(),
        }
    }
}

/// The body of an answer on its way to the client.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    content: Content,
    activity: Arc<Activity>,
    record: Option<Box<Record>>,
}

#[derive(Debug)]
enum Content {
    Whole(Bytes),
    Streamed(Download),
}

/// What an instance sends.
#[derive(Debug)]
pub(super) struct Download {
    pub(super) inner: Incoming,
    /// The connection that it comes from, if nobody else drives that.
    pub(super) upstream: Option<Box<Upstream>>,
    pub(super) held: Held,
    /// The port of the instance that the connection goes to.
    pub(super) port: u16,
    patience: Patience,
    /// How it broke off, until the client has what came before that.
    failure: Option<BodyError>,
}

impl Download {
    /// What comes from `held`; each part has to come within `limit`.
    pub(super) fn new(
        inner: Incoming,
        upstream: Option<Box<Upstream>>,
        held: Held,
        port: u16,
        limit: Duration,
    ) -> Self {
        Self {
            inner,
            upstream,
            held,
            port,
            patience: Patience::new(limit),
            failure: None,
        }
    }

    /// Keeps the connection for another request if the body has ended.
    pub(super) fn settle(&mut self, context: &mut Context<'_>) {
        if !self.inner.is_end_stream() {
            return;
        }
        self.release(context);
    }

    fn release(&mut self, context: &mut Context<'_>) {
        if let Some(mut upstream) = self.upstream.take()
            && upstream.is_ready(context)
        {
            keep(self.held.instance(), self.port, upstream);
        }
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let mut frame = Pin::new(&mut self.inner).poll_frame(context);
        if frame.is_pending()
            && let Some(upstream) = &mut self.upstream
        {
            if upstream.drive(context).is_ready() {
                // How it ended shows in the body.
                self.upstream = None;
            }
            frame = Pin::new(&mut self.inner).poll_frame(context);
        }
        match frame {
            Poll::Ready(Some(Ok(frame))) => {
                self.patience.progressed();
                self.settle(context);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                // hyper sends nothing more once it sees an error, also of what it has already.
                self.failure = Some(BodyError::Transport(error));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => {
                self.release(context);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.patience.poll_exhausted(context));
                Poll::Ready(Some(Err(BodyError::Stalled)))
            }
        }
    }
}

impl ResponseBody {
    /// A body of the edge's own.
    pub(super) fn whole(
        bytes: Bytes,
        activity: Arc<Activity>,
        record: Option<Box<Record>>,
    ) -> Self {
        Self {
            content: Content::Whole(bytes),
            activity,
            record,
        }
    }

    /// Notes which answer this is the body of.
    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(record) = &mut self.record {
            record.status = status;
        }
    }

    /// A body that comes from an instance.
    pub(super) fn streamed(
        download: Download,
        activity: Arc<Activity>,
        record: Option<Box<Record>>,
    ) -> Self {
        Self {
            content: Content::Streamed(download),
            activity,
            record,
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match &mut self.content {
            Content::Whole(bytes) if bytes.is_empty() => None,
            Content::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Content::Streamed(download) => ready!(download.poll_frame(context)),
        };
        self.activity.touch();
        if let Some(record) = &mut self.record {
            match &frame {
                Some(Ok(frame)) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Some(Err(error)) => record.failed(error),
                None => {}
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.is_empty(),
            Content::Streamed(download) => download.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Streamed(download) => download.inner.size_hint(),
        }
    }
}
