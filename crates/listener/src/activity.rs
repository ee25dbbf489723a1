//! Whether anything goes on between a connection's peer and us. Bytes do not tell: HTTP/2 peers
//! that want nothing exchange pings, and ones that accept no answer too.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep};

/// Longest part of an answer that goes out as one, in octets. A peer has to take one in within the
/// time that a connection may be quiet.
const PART: usize = 64 * 1024;

/// What goes on on one connection.
#[derive(Debug)]
pub struct Activity {
    began: Instant,
    /// Requests that are being carried out.
    requests: AtomicUsize,
    /// When something last happened, in milliseconds since the beginning.
    last: AtomicU64,
}

impl Activity {
    /// Nothing yet, from now on.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            requests: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        })
    }

    /// Notes that a request is being carried out for as long as what is returned lives.
    #[must_use]
    pub fn request(self: &Arc<Self>) -> OngoingRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        OngoingRequest(self.clone())
    }

    /// Waits until nothing has happened for so long. While a request is carried out, its peer is
    /// the one who waits.
    pub async fn ceased(&self, limit: Duration) {
        loop {
            let quiet = if self.requests.load(Ordering::Relaxed) > 0 {
                Duration::ZERO
            } else {
                let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
                self.began.elapsed().saturating_sub(last)
            };
            if quiet >= limit {
                return;
            }
            sleep(limit - quiet).await;
        }
    }

    /// Notes that something happened.
    pub fn touch(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// See [`Activity::request`].
#[derive(Debug)]
pub struct OngoingRequest(Arc<Activity>);

impl Drop for OngoingRequest {
    fn drop(&mut self) {
        self.0.touch();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, in parts of which each one that goes out is activity.
#[derive(Debug)]
pub struct Attended<B> {
    inner: B,
    /// What is left of a frame that is too long for one part.
    rest: Bytes,
    activity: Arc<Activity>,
}

impl<B> Attended<B> {
    /// Wraps `inner`, the body of an answer on the connection of this activity.
    pub fn new(inner: B, activity: Arc<Activity>) -> Self {
        Self {
            inner,
            rest: Bytes::new(),
            activity,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Attended<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.rest.is_empty() {
            let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        self.activity.touch();
        let length = self.rest.len().min(PART);
        let part = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let inner = self.inner.size_hint();
        let rest = self.rest.len() as u64;
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(inner.lower().saturating_add(rest));
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_when_nothing_was_asked_or_taken_for_long() {
        let activity = Activity::new();
        let began = activity.began;
        let request = activity.request();
        let ending = tokio::spawn(async move {
            sleep(3 * LIMIT).await;
            drop(request);
        });
        activity.ceased(LIMIT).await;
        assert_eq!(began.elapsed(), 4 * LIMIT);
        ending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn each_part_of_an_answer_that_goes_out_is_activity() {
        let activity = Activity::new();
        let whole = vec![7; 5 * PART + 1];
        let full = Full::new(Bytes::from(whole.clone()));
        let mut body = Attended::new(full, activity.clone());
        let mut gathered = Vec::new();
        while let Some(frame) = body.frame().await {
            gathered.extend_from_slice(&frame.unwrap().into_data().unwrap());
            assert_eq!(
                body.size_hint().exact(),
                Some((whole.len() - gathered.len()) as u64)
            );
            assert_eq!(body.is_end_stream(), whole.len() == gathered.len());
            sleep(LIMIT / 2).await;
        }
        assert_eq!(gathered, whole);
        let ended = Instant::now();
        activity.ceased(LIMIT).await;
        assert_eq!(ended.elapsed(), LIMIT / 2);
    }
}
