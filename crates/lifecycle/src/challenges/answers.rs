//! What listeners answer to a directory that looks.

use store::Store;

use crate::{Error, ServerIdentity};

/// The answers to challenges that are met on this server's ports.
#[derive(Debug, Clone)]
pub struct Answers {
    store: Store,
}

impl Answers {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// The text at `/.well-known/acme-challenge/TOKEN` (RFC 8555 section 8.3) for a request to
    /// `host`, without its port; `None` if there is no such challenge of this house.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn http(&self, host: &str, token: &str) -> Result<Option<String>, Error> {
        tracing::trace!(host, token, "http-01");
        self.store.ping().await?;
        Ok(None)
    }

    /// The certificate for a handshake with the protocol `acme-tls/1` under a name (RFC 8737
    /// section 3); of an address, the name of its reverse mapping (RFC 8738 section 6). `None` if
    /// there is no such challenge of this house.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`].
    pub async fn tls_alpn(&self, server_name: &str) -> Result<Option<ServerIdentity>, Error> {
        tracing::trace!(server_name, "tls-alpn-01");
        self.store.ping().await?;
        Ok(None)
    }
}
