//! One request: to an instance, and its answer back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::header::{CONNECTION, EXPECT, LOCATION, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use tokio::time::{Duration, Instant};

use super::access::{Record, RequestId};
use super::authority::Target;
use super::balancer::{Held, Service};
use super::body::{Download, Gate, Progress, RequestBody, ResponseBody};
use super::challenge;
use super::destination::{Destination, destination};
use super::headers::{self, Length};
use super::introduction;
use super::pages::{Fault, wants_html};
use super::pool::{Reason, Unanswered, Upstream};
use super::upgrade::{self, Tunnel};
use super::{Directory, Session};

/// How long an instance may send nothing within an answer. What is sent as things happen is often
/// quiet for a while.
const QUIET: Duration = Duration::from_secs(5 * 60);

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const UPGRADES: HeaderValue = HeaderValue::from_static("upgrade");

/// Answers a request.
pub(super) async fn respond<D: Directory>(
    session: Arc<Session<D>>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    session.has_begun.store(true, Ordering::Relaxed);
    let _ongoing = session.activity.request();
    let began = Instant::now();
    let proxy = session.directory.proxy();
    let id = proxy.requests.next();
    let (parts, body) = request.into_parts();
    let is_first_version = parts.version != Version::HTTP_2;
    // What is not looked at once another protocol was asked for must not be a request.
    let asked_upgrade = is_first_version && parts.headers.contains_key(UPGRADE);
    let wants_html = wants_html(&parts.headers);
    let mut handling = Handling {
        session: &session,
        id,
        record: session.record(id, &parts.method, began),
    };
    let mut response = match handling.answer(parts, body).await {
        Ok(response) => response,
        Err(fault) => {
            let mut page = fault.page(wants_html, id);
            if is_first_version && fault.ends_connection() {
                page.headers_mut().insert(CONNECTION, CLOSE);
            }
            page.map(|bytes| handling.whole(bytes))
        }
    };
    if asked_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, CLOSE);
    }
    let status = response.status();
    response.body_mut().answered(status);
    session.directory.metrics().answered(status);
    response
}

/// A request that is being answered.
struct Handling<'a, D> {
    session: &'a Session<D>,
    id: RequestId,
    record: Option<Box<Record>>,
}

/// What an instance answered.
struct Answer {
    response: Response<Incoming>,
    /// The connection that the body comes from, if nobody else drives that.
    upstream: Option<Box<Upstream>>,
    held: Held,
}

/// A request in the form in which instances get it.
struct Outgoing {
    request: Request<RequestBody>,
    progress: Option<Arc<Progress>>,
    /// What the client asks to change to.
    upgrade: Option<HeaderValue>,
}

impl<D: Directory> Handling<'_, D> {
    fn whole(&mut self, bytes: bytes::Bytes) -> ResponseBody {
        ResponseBody::whole(bytes, self.session.activity.clone(), self.record.take())
    }

    async fn answer(
        &mut self,
        mut parts: Parts,
        body: Incoming,
    ) -> Result<Response<ResponseBody>, Fault> {
        let target = Target::of(&parts);
        if let (Some(record), Ok(target)) = (&mut self.record, &target) {
            record.host = Some(target.host.clone());
            record.path = Some(target.path.clone());
        }
        let target = target?;
        let directory = &*self.session.directory;
        if let Some(answer) = challenge::answer(&parts.method, &target, directory).await {
            return Ok(answer.map(|bytes| self.whole(bytes)));
        }
        let length = headers::length(&parts.headers, parts.version, body.size_hint().exact())?;
        let (service, port) = match destination(&target, &self.session.facts, directory).await? {
            Destination::Instances(service, port) => (service, port),
            Destination::Redirect(location) => {
                let mut response = Response::new(self.whole(bytes::Bytes::new()));
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
                return Ok(response);
            }
        };
        if let Some(record) = &mut self.record {
            record.service = Some(service.route.service);
        }
        let client = parts.extensions.remove::<OnUpgrade>();
        let is_head = parts.method == Method::HEAD;
        let mut outgoing = self.outgoing(parts, body, &target, length)?;
        let progress = outgoing.progress.clone();
        let asked = outgoing.upgrade.take();
        let answered = if asked.is_some() {
            self.change(&service, port, outgoing).await
        } else {
            self.forward(&service, port, outgoing).await
        };
        let answer = answered.map_err(|fault| match &progress {
            // Then it is not the instance that failed.
            Some(progress) if progress.is_stalled() => Fault::Stalled,
            Some(progress) if progress.is_failed() => {
                Fault::Malformed(super::authority::Malformed::Length)
            }
            _ => fault,
        })?;
        if let Some(record) = &mut self.record {
            record.instance = Some(answer.held.instance().id);
        }
        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.switch(answer, asked, client);
        }
        self.relay(answer, port, is_head).await
    }

    /// The request as instances get it.
    fn outgoing(
        &self,
        mut parts: Parts,
        body: Incoming,
        target: &Target,
        length: Length,
    ) -> Result<Outgoing, Fault> {
        let upgrade = headers::upgrade(&parts.headers, parts.version, length);
        let expects = parts.version == Version::HTTP_11
            && headers::lists(&parts.headers, &EXPECT, "100-continue");
        headers::rewrite_request(&mut parts.headers, &target.host, length);
        introduction::pass(&mut parts.headers)?;
        self.session
            .introduction
            .introduce(&mut parts.headers, &target.host);
        if let Some(upgrade) = &upgrade {
            parts.headers.insert(CONNECTION, UPGRADES);
            parts.headers.insert(UPGRADE, upgrade.clone());
        }
        let (body, progress) = match length {
            Length::None => (RequestBody::Empty, None),
            Length::Known(_) | Length::Open => {
                let patience = self.session.directory.settings().head;
                let activity = self.session.activity.clone();
                let (body, progress) = RequestBody::streamed(body, patience, activity);
                (body, Some(progress))
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = parts.method;
        *request.uri_mut() = if parts.uri.authority().is_some() {
            Uri::from(target.path.clone())
        } else {
            parts.uri
        };
        *request.headers_mut() = parts.headers;
        if expects && progress.is_some() {
            request
                .headers_mut()
                .insert(EXPECT, HeaderValue::from_static("100-continue"));
            let gate = Arc::new(Gate::default());
            request = request.map(|body| body.behind(gate.clone()));
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    gate.open();
                }
            });
        }
        Ok(Outgoing {
            request,
            progress,
            upgrade,
        })
    }

    /// Sends a request to an instance, over a connection that waits for one or a new one.
    async fn forward(
        &self,
        service: &Service,
        port: u16,
        outgoing: Outgoing,
    ) -> Result<Answer, Fault> {
        let Outgoing {
            mut request,
            progress,
            ..
        } = outgoing;
        let directory = &self.session.directory;
        let (connector, patience) = (&directory.proxy().connector, directory.settings().answer);
        let mut candidates = service.candidates();
        let mut may_repeat = progress.is_none() && request.method().is_idempotent();
        loop {
            let held = candidates.next()?;
            while let Some(upstream) = reusable(&held, port).await {
                // The instance may have closed the connection without having seen the request.
                let copy = may_repeat.then(|| copy(&request));
                match self.exchange(upstream, request, &progress, patience).await {
                    Ok((response, upstream)) => {
                        return Ok(Answer {
                            response,
                            upstream: Some(upstream),
                            held,
                        });
                    }
                    Err(unanswered) => match (unanswered.request, copy, unanswered.reason) {
                        (Some(unsent), _, _) => request = unsent,
                        (None, Some(copy), Reason::Broken(_) | Reason::Closed) => {
                            may_repeat = false;
                            request = copy;
                            break;
                        }
                        (None, _, reason) => return Err(self.failed(&held, &reason)),
                    },
                }
            }
            let Some((stream, slot)) = connector.one(service, &held, port).await else {
                continue;
            };
            let exchanged = match Upstream::new(stream, slot).await {
                Ok(upstream) => self.exchange(upstream, request, &progress, patience).await,
                Err(error) => return Err(self.failed(&held, &Reason::Broken(error))),
            };
            match exchanged {
                Ok((response, upstream)) => {
                    return Ok(Answer {
                        response,
                        upstream: Some(upstream),
                        held,
                    });
                }
                Err(Unanswered { reason, .. }) => return Err(self.failed(&held, &reason)),
            }
        }
    }

    async fn exchange(
        &self,
        upstream: Box<Upstream>,
        request: Request<RequestBody>,
        progress: &Option<Arc<Progress>>,
        patience: Duration,
    ) -> Result<(Response<Incoming>, Box<Upstream>), Unanswered> {
        let began = Instant::now();
        let answer = upstream
            .exchange(request, progress.clone(), patience)
            .await?;
        self.session.directory.metrics().upstream(began.elapsed());
        Ok(answer)
    }

    /// Sends a request that asks for another protocol.
    async fn change(
        &self,
        service: &Service,
        port: u16,
        outgoing: Outgoing,
    ) -> Result<Answer, Fault> {
        let directory = &self.session.directory;
        let connected = directory.proxy().connector.any(service, port).await?;
        let instance = connected.held.instance().clone();
        let patience = directory.settings().answer;
        let began = Instant::now();
        match upgrade::exchange(connected, outgoing.request, patience).await {
            Ok((response, held)) => {
                directory.metrics().upstream(began.elapsed());
                Ok(Answer {
                    response,
                    upstream: None,
                    held,
                })
            }
            Err(Unanswered { reason, .. }) => Err(self.lost(&instance.address, &reason)),
        }
    }

    fn failed(&self, held: &Held, reason: &Reason) -> Fault {
        self.lost(&held.instance().address, reason)
    }

    fn lost(&self, address: &str, reason: &Reason) -> Fault {
        tracing::warn!(%reason, %address, request = %self.id, "an instance did not answer");
        let (fault, name) = match reason {
            Reason::TimedOut => (Fault::TimedOut, "timeout"),
            Reason::Broken(_) | Reason::Closed => (Fault::Broken, "broken"),
        };
        self.session.directory.metrics().instance_failed(name);
        fault
    }

    /// Lets client and instance speak the protocol that both want.
    fn switch(
        &mut self,
        answer: Answer,
        asked: Option<HeaderValue>,
        client: Option<OnUpgrade>,
    ) -> Result<Response<ResponseBody>, Fault> {
        let Answer {
            mut response, held, ..
        } = answer;
        let chosen = asked.and_then(|asked| upgrade::chosen(&asked, response.headers()));
        let (Some(chosen), Some(client)) = (chosen, client) else {
            let address = &held.instance().address;
            tracing::warn!(%address, request = %self.id, "an instance changed to a protocol that was not asked for");
            return Err(Fault::Broken);
        };
        let tunnel = Tunnel {
            client,
            instance: hyper::upgrade::on(&mut response),
            held,
        };
        let (mut parts, _) = response.into_parts();
        headers::rewrite_answer(&mut parts.headers, parts.status, false, None)
            .map_err(|_| Fault::Broken)?;
        parts.headers.insert(CONNECTION, UPGRADES);
        parts.headers.insert(UPGRADE, chosen);
        self.session.tunnel(tunnel);
        let body = self.whole(bytes::Bytes::new());
        Ok(answer_with(parts.status, parts.headers, body))
    }

    /// Passes an answer on.
    async fn relay(
        &mut self,
        answer: Answer,
        port: u16,
        is_head: bool,
    ) -> Result<Response<ResponseBody>, Fault> {
        let Answer {
            response,
            upstream,
            held,
        } = answer;
        let (mut parts, body) = response.into_parts();
        let length = body.size_hint().exact();
        if headers::rewrite_answer(&mut parts.headers, parts.status, is_head, length).is_err() {
            let address = &held.instance().address;
            tracing::warn!(%address, request = %self.id, "the length of an instance's answer is not clear");
            return Err(Fault::Broken);
        }
        let mut download = Download::new(body, upstream, held, port, QUIET);
        std::future::poll_fn(|context| {
            download.settle(context);
            std::task::Poll::Ready(())
        })
        .await;
        let activity = self.session.activity.clone();
        let body = ResponseBody::streamed(download, activity, self.record.take());
        Ok(answer_with(parts.status, parts.headers, body))
    }
}

/// An answer without what hyper notes about the one it comes from.
fn answer_with(
    status: StatusCode,
    headers: HeaderMap,
    body: ResponseBody,
) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A connection to an instance that waits for a request and was not closed meanwhile.
async fn reusable(held: &Held, port: u16) -> Option<Box<Upstream>> {
    std::future::poll_fn(|context| {
        while let Some(mut upstream) = held.instance().idle.take(port) {
            if upstream.is_ready(context) {
                return std::task::Poll::Ready(Some(upstream));
            }
        }
        std::task::Poll::Ready(None)
    })
    .await
}

/// A request without a body, once more.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
