//! HTTP: requests of clients to instances, and their answers back.

pub(crate) mod balancer;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::facts::ConnectionFacts;
use crate::shared::Shared;

/// Serves a connection until its end.
pub(crate) async fn serve<S>(_stream: S, _facts: ConnectionFacts, _shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
}
