//! Programs that may ask people for grants: one that everybody knows, and those that administrators
//! registered.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use pki::Identifier;
use store::{REDIRECTS_LIMIT, RegisteredClient, Store};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::RedemptionError;
use crate::tokens::hash_of;
use crate::{Error, Noun, Principal, Surroundings, events};

/// The client that every house knows: Cloud 66's command line. Its secret is no secret.
pub const CX_CLIENT: &str = "cx";
/// The redirect of programs that cannot listen: the person copies the code from the page.
pub const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// Where the command line listens.
const CX_LISTENER: &str = "http://127.0.0.1:34543";
/// Longest name of a client, in octets.
const MAX_NAME: usize = 64;
/// Longest redirect, in octets.
const MAX_REDIRECT: usize = 1_024;

/// Where a code is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// To nowhere: the person is shown the code.
    OutOfBand,
    /// To this address, by way of the person's browser.
    Address {
        /// The whole address, as it was registered.
        text: String,
        /// Its scheme, host and port: it holds nothing that means something in a policy or a page.
        origin: String,
    },
}

impl Redirect {
    /// Reads a redirect. `https`, or `http` to the machine that the browser runs on: a code must not
    /// be seen on its way.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |reason: &str| {
            let shown: String = text.chars().take(80).collect();
            let shown = shown.escape_debug().to_string();
            Error::invalid("redirects", format!("'{shown}' {reason}"))
        };
        if text == OUT_OF_BAND {
            return Ok(Self::OutOfBand);
        }
        if text.len() > MAX_REDIRECT {
            return Err(Error::TooLong {
                field: "redirect",
                limit: MAX_REDIRECT,
            });
        }
        if text.contains('#') {
            return Err(invalid("has a fragment"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(invalid("holds characters that a URL cannot"));
        }
        let uri: Uri = text.parse().map_err(|_| invalid("is no URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(invalid("is no whole URL"));
        };
        if authority.as_str().contains('@') {
            return Err(invalid("holds credentials"));
        }
        let host = Identifier::parse_host(authority.host());
        let host = host.map_err(|_| invalid("names no host"))?;
        let is_loopback = matches!(&host, Identifier::Ip(address) if address.is_loopback());
        match scheme {
            "https" => {}
            "http" if is_loopback => {}
            _ => return Err(invalid("has to begin with https://, or http://127.0.0.1")),
        }
        let host = match &host {
            Identifier::Ip(address) if address.is_ipv6() => format!("[{address}]"),
            host => host.to_string(),
        };
        if host.contains('*') {
            return Err(invalid("names no host"));
        }
        let port = uri.port_u16().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        Ok(Self::Address {
            text: text.to_owned(),
            origin: format!("{scheme}://{host}{port}"),
        })
    }
}

/// As it was registered.
impl fmt::Display for Redirect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OutOfBand => OUT_OF_BAND,
            Self::Address { text, .. } => text,
        })
    }
}

/// A client to be registered.
#[derive(Debug, Clone)]
pub struct NewClient {
    /// What it calls itself.
    pub name: String,
    /// Where its codes may be sent; they are compared to the letter.
    pub redirects: Vec<String>,
    /// Whether it gets a secret, because it runs where it can keep one. Without one, it has to send a
    /// challenge with every request.
    pub is_confidential: bool,
}

/// A client, as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientView {
    /// What it calls itself.
    pub name: String,
    /// Where its codes may be sent.
    pub redirects: Vec<String>,
    /// Whether it has a secret.
    pub is_confidential: bool,
    /// When it was registered; never, if the house has it by itself.
    pub created_at: Option<OffsetDateTime>,
}

/// A client together with its secret, which is shown this once.
pub struct MintedClient {
    /// The client.
    pub client: ClientView,
    /// Its secret, if it got one.
    pub secret: Option<Zeroizing<String>>,
}

impl fmt::Debug for MintedClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MintedClient")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// A client that may ask, as requests meet it.
pub(super) struct Known {
    pub(super) name: String,
    pub(super) redirects: Vec<String>,
    /// Whether a request without a challenge is refused.
    pub(super) needs_challenge: bool,
    secret_hash: Option<[u8; 32]>,
}

/// Operations on clients. Only administrators register them.
#[derive(Debug, Clone)]
pub struct RegisteredClients {
    store: Store,
    surroundings: Surroundings,
}

impl RegisteredClients {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
        }
    }

    /// Registers a client.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::Invalid`] for the name or a redirect, [`Error::TooLong`],
    /// [`Error::NameTaken`], [`Error::Unfit`] when there are too many.
    pub async fn register(
        &self,
        principal: &Principal,
        client: NewClient,
    ) -> Result<MintedClient, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        let NewClient {
            name,
            redirects,
            is_confidential,
        } = client;
        check_name(&name)?;
        if redirects.is_empty() || redirects.len() > REDIRECTS_LIMIT {
            return Err(Error::invalid(
                "redirects",
                format!("a client has between 1 and {REDIRECTS_LIMIT} redirects"),
            ));
        }
        for redirect in &redirects {
            Redirect::parse(redirect)?;
        }
        let taken = Error::NameTaken {
            noun: Noun::Client,
            name: name.clone(),
        };
        if name == CX_CLIENT {
            return Err(taken);
        }
        let secret = is_confidential.then(|| {
            let octets = Zeroizing::new(self.surroundings.random::<32>());
            Zeroizing::new(URL_SAFE_NO_PAD.encode(*octets))
        });
        let client = RegisteredClient {
            name,
            redirects,
            secret_hash: secret.as_ref().map(|secret| hash_of(secret)),
            created_at: self.surroundings.now(),
        };
        let event = self.event(principal, events::CLIENT_REGISTERED, &client.name);
        match self.store.register_client(client.clone(), event).await {
            Ok(()) => Ok(MintedClient {
                client: view(client),
                secret,
            }),
            Err(store::Error::DuplicateName) => Err(taken),
            Err(store::Error::Full) => Err(Error::Unfit {
                reason: format!(
                    "there are at most {} clients",
                    store::REGISTERED_CLIENTS_LIMIT
                ),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// All clients: the one that is always there, then the others by name.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<ClientView>, Error> {
        principal.require_administrator()?;
        let built_in = built_in();
        let mut clients = vec![ClientView {
            name: built_in.name,
            redirects: built_in.redirects,
            is_confidential: false,
            created_at: None,
        }];
        let registered = self.store.registered_clients().await?;
        clients.extend(registered.into_iter().map(view));
        Ok(clients)
    }

    /// Removes a client, and what people allowed it and it has not taken yet. The tokens that it has
    /// go on working until they are deleted.
    ///
    /// # Errors
    /// [`Error::Forbidden`], [`Error::NotFound`].
    pub async fn remove(&self, principal: &Principal, name: &str) -> Result<(), Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        let event = self.event(principal, events::CLIENT_REMOVED, name);
        if self.store.remove_registered_client(name, event).await? {
            Ok(())
        } else {
            Err(Error::not_found(Noun::Client, name))
        }
    }

    /// The client of this name.
    pub(super) async fn named(&self, name: &str) -> Result<Known, Error> {
        let unknown = || {
            let shown: String = name.chars().take(MAX_NAME).collect();
            Error::not_found(Noun::Client, shown.escape_debug())
        };
        if name == CX_CLIENT {
            return Ok(built_in());
        }
        check_name(name).map_err(|_| unknown())?;
        let client = self.store.registered_client(name).await?;
        let client = client.ok_or_else(unknown)?;
        Ok(Known {
            name: client.name,
            redirects: client.redirects,
            needs_challenge: client.secret_hash.is_none(),
            secret_hash: client.secret_hash,
        })
    }

    /// Whether a client is who it says.
    pub(super) async fn authenticate(
        &self,
        name: &str,
        secret: Option<&str>,
    ) -> Result<(), RedemptionError> {
        let known = match self.named(name).await {
            Ok(known) => known,
            Err(Error::NotFound { .. }) => return Err(RedemptionError::Client),
            Err(error) => return Err(error.into()),
        };
        let Some(wanted) = known.secret_hash else {
            return Ok(());
        };
        let shown = hash_of(secret.unwrap_or_default());
        verify_slices_are_equal(&wanted, &shown).map_err(|_| RedemptionError::Client)
    }

    fn event(&self, principal: &Principal, kind: &'static str, name: &str) -> store::NewEvent {
        let actor = principal.account_name();
        events::of(&self.surroundings, actor, None, kind, None, name)
    }
}

/// It sends no challenge, so none can be demanded; its codes go to the machine of the person.
fn built_in() -> Known {
    Known {
        name: CX_CLIENT.to_owned(),
        redirects: vec![CX_LISTENER.to_owned(), OUT_OF_BAND.to_owned()],
        needs_challenge: false,
        secret_hash: None,
    }
}

fn view(client: RegisteredClient) -> ClientView {
    ClientView {
        name: client.name,
        redirects: client.redirects,
        is_confidential: client.secret_hash.is_some(),
        created_at: Some(client.created_at),
    }
}

/// People read the name on the page where they decide.
fn check_name(name: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME).collect();
    Err(Error::invalid(
        "name",
        format!(
            "'{}' is not a name of a client: 1 to {MAX_NAME} characters of A-Z a-z 0-9 . _ -",
            shown.escape_debug()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_whole_and_safe_from_listeners() {
        for (good, origin) in [
            ("https://shop.test/back?a=b", "https://shop.test"),
            ("https://Shop.test:8443", "https://shop.test:8443"),
            ("https://192.0.2.1/", "https://192.0.2.1"),
            ("http://127.0.0.1:34543", "http://127.0.0.1:34543"),
            ("http://[::1]:1/x", "http://[::1]:1"),
        ] {
            let Redirect::Address { text, origin: read } = Redirect::parse(good).unwrap() else {
                panic!("{good} is no address");
            };
            assert_eq!((text.as_str(), read.as_str()), (good, origin));
        }
        assert_eq!(Redirect::parse(OUT_OF_BAND).unwrap(), Redirect::OutOfBand);
        for bad in [
            "",
            "/back",
            "shop.test",
            "https://",
            "https:///back",
            "http://shop.test/back",
            "http://localhost.shop.test/",
            "javascript:alert(1)",
            "data:text/html,x",
            "ftp://shop.test/",
            "https://shop.test/#x",
            "https://a:b@shop.test/",
            "https://shop.test;x/",
            "https://*.shop.test/",
            "https://shop .test/",
            "https://shop.test/\r\nSet-Cookie: a=b",
            "https://shop.test/\u{e4}",
            "urn:ietf:wg:oauth:2.0:oob:auto",
        ] {
            assert!(Redirect::parse(bad).is_err(), "{bad}");
        }
        let long = format!("https://shop.test/{}", "x".repeat(MAX_REDIRECT));
        assert!(Redirect::parse(&long).is_err());
    }

    #[test]
    fn the_built_in_redirects_are_redirects() {
        for redirect in built_in().redirects {
            Redirect::parse(&redirect).unwrap();
        }
    }
}
