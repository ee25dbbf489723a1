//! Answers that are sent page by page while they are read. If the next page cannot be had, the
//! connection is broken: a short list would look like a whole one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame};

use crate::exchange::{self, Response};

const JSON: &str = "application/json";

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A part of an answer, and what comes after it.
pub(crate) struct Part {
    pub(crate) bytes: Bytes,
    pub(crate) rest: Option<NextPage>,
}

pub(crate) type NextPage = Pin<Box<dyn Future<Output = Result<Part, BrokenOff>> + Send>>;

/// An answer in JSON that begins with `first`.
pub(crate) fn answer(first: Part) -> Response {
    let Some(rest) = first.rest else {
        return exchange::answer(StatusCode::OK, JSON, first.bytes);
    };
    let body = Stream {
        ready: Some(first.bytes),
        next: Some(rest),
    };
    let mut response = Response::new(body.boxed_unsync());
    let json = HeaderValue::from_static(JSON);
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// Why an answer did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    #[error("an object could not be encoded")]
    Encoding(#[source] serde_json::Error),
    #[error("the next page could not be read")]
    Reading(#[source] lifecycle::Error),
}

impl BrokenOff {
    pub(crate) fn log(&self) {
        tracing::error!(error = self as &dyn std::error::Error, "a list broke off");
    }
}

/// The body of a list that takes more than one page.
struct Stream {
    ready: Option<Bytes>,
    next: Option<NextPage>,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        let Some(next) = self.next.as_mut() else {
            return Poll::Ready(None);
        };
        let part = ready!(next.as_mut().poll(context));
        self.next = None;
        Poll::Ready(Some(match part {
            Ok(part) => {
                self.next = part.rest;
                Ok(Frame::data(part.bytes))
            }
            Err(error) => {
                error.log();
                Err(error.into())
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_that_breaks_off_ends_in_an_error_and_not_like_a_short_list() {
        let failure = BrokenOff::Reading(lifecycle::Error::AlreadyRevoked);
        let mut body = Stream {
            ready: Some(Bytes::from_static(b"[1,")),
            next: Some(Box::pin(async { Err(failure) })),
        };
        let first = body.frame().await.unwrap().unwrap();
        assert_eq!(first.data_ref().unwrap(), "[1,");
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }
}
