//! What listeners answer to a directory that looks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use acme::Token;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pki::{DnsName, Identifier, KeyAlgorithm, PrivateKey, Serial, Validity};
use store::Store;
use tokio::sync::{OnceCell, Semaphore};

use crate::accounts::HOUSE_ACCOUNT;
use crate::{Error, ServerIdentity, Surroundings};

/// Questions that are being answered at a time. Whoever asks comes from anywhere, and the store has
/// more to do.
const AT_A_TIME: usize = 32;
/// Longest host that is looked up, in octets.
const MAX_HOST: usize = 253;
/// How tokens begin with which the house looks for itself. A directory's are random.
const PROBE: &str = "chancery-probe-";
/// How far a validation certificate reaches into the past and the future, for clocks that are wrong.
const SPAN: Duration = Duration::from_secs(24 * 60 * 60);

/// The answers to challenges that are met on this server's ports.
#[derive(Debug, Clone)]
pub struct Answers {
    store: Store,
    surroundings: Surroundings,
    places: Arc<Semaphore>,
    /// What all nodes of this house know and have in common.
    mark: Arc<OnceCell<String>>,
}

impl Answers {
    pub(crate) fn new(store: Store, surroundings: Surroundings) -> Self {
        Self {
            store,
            surroundings,
            places: Arc::new(Semaphore::new(AT_A_TIME)),
            mark: Arc::default(),
        }
    }

    /// The text at `/.well-known/acme-challenge/TOKEN` (RFC 8555 section 8.3) for a request to
    /// `host`, a name or an address without port or brackets; `None` if there is no such challenge
    /// of this house. What cannot be a token costs nothing.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn http(&self, host: &str, token: &str) -> Result<Option<String>, Error> {
        let (Ok(token), Some(host)) = (token.parse::<Token>(), host_of(host)) else {
            return Ok(None);
        };
        if token.as_str().starts_with(PROBE) {
            return Ok(Some(self.probe_answer(&token).await?));
        }
        let Ok(_place) = self.places.acquire().await else {
            return Ok(None);
        };
        Ok(self.store.challenge_for_http(&host, token.as_str()).await?)
    }

    /// The certificate for a handshake with the protocol `acme-tls/1` under a name (RFC 8737
    /// section 3); of an address, the name of its reverse mapping (RFC 8738 section 6). `None` if
    /// there is no such challenge of this house.
    ///
    /// # Errors
    /// [`Error::Store`] or [`Error::Signing`].
    pub async fn tls_alpn(&self, server_name: &str) -> Result<Option<ServerIdentity>, Error> {
        let Some(identifier) = identifier_of(server_name) else {
            return Ok(None);
        };
        let Ok(_place) = self.places.acquire().await else {
            return Ok(None);
        };
        let name = identifier.to_string();
        let Some(authorization) = self.store.challenge_for_tls(&name).await? else {
            return Ok(None);
        };
        let mut octets = [0; 32];
        octets.copy_from_slice(digest(&SHA256, authorization.as_bytes()).as_ref());
        self.validation(&identifier, &octets).map(Some)
    }

    /// A token with which the house finds itself under a name.
    pub(crate) fn probe_token(&self) -> Result<Token, Error> {
        let octets = URL_SAFE_NO_PAD.encode(self.surroundings.random::<16>());
        let token = format!("{PROBE}{octets}").parse();
        token.map_err(|error: acme::TokenError| Error::signing(error))
    }

    /// What every node of this house answers to such a token, and no other server does.
    pub(crate) async fn probe_answer(&self, token: &Token) -> Result<String, Error> {
        let mark = self.mark.get_or_try_init(|| async {
            let account = self.store.account_by_name(HOUSE_ACCOUNT).await?;
            Ok::<_, Error>(
                account
                    .map(|account| account.id.to_string())
                    .unwrap_or_default(),
            )
        });
        let text = format!("{}.{token}", mark.await?);
        let mark = URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()));
        Ok(format!("{token}.{mark}"))
    }

    fn validation(
        &self,
        identifier: &Identifier,
        octets: &[u8; 32],
    ) -> Result<ServerIdentity, Error> {
        let key = PrivateKey::generate(KeyAlgorithm::P256).map_err(Error::signing)?;
        let now = self.surroundings.now();
        let validity = Validity::new(now - SPAN, now + SPAN).map_err(Error::signing)?;
        let serial = Serial::from_random(self.surroundings.random())
            .ok_or_else(|| Error::signing("the serial number is zero"))?;
        let certificate = pki::validation_certificate(identifier, octets, &serial, &validity, &key);
        Ok(ServerIdentity {
            chain: vec![certificate.map_err(Error::signing)?.der().to_vec()],
            key,
        })
    }
}

/// A host as challenges have it: a name in lower case or an address in its usual form.
fn host_of(host: &str) -> Option<String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    (!host.is_empty() && host.len() <= MAX_HOST).then(|| host.to_ascii_lowercase())
}

/// What a client wants to be proven that sends this name. Clients cannot send addresses, so those
/// come as names of the reverse mapping.
fn identifier_of(server_name: &str) -> Option<Identifier> {
    let name = server_name.strip_suffix('.').unwrap_or(server_name);
    let name = name.to_ascii_lowercase();
    if let Some(address) = address_of(&name) {
        return Some(Identifier::Ip(address));
    }
    let name = DnsName::parse(&name).ok()?;
    (!name.as_str().starts_with("*.")).then_some(Identifier::Dns(name))
}

/// The address of a name below `in-addr.arpa` (RFC 1035 section 3.5) or `ip6.arpa` (RFC 3596
/// section 2.5), in lower case.
fn address_of(name: &str) -> Option<IpAddr> {
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let octets: Vec<&str> = reversed.split('.').rev().collect();
        let address: Ipv4Addr = octets.join(".").parse().ok()?;
        return Some(address.into());
    }
    let reversed = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0_u128;
    let mut count = 0;
    for digit in reversed.split('.').rev() {
        let mut characters = digit.chars();
        let (Some(digit), None) = (characters.next(), characters.next()) else {
            return None;
        };
        bits = bits << 4 | u128::from(digit.to_digit(16)?);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_as_names_of_the_reverse_mapping() {
        let identifier = |name: &str| identifier_of(name).map(|found| found.to_string());
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(identifier("4.3.2.192.in-addr.arpa"), found("192.2.3.4"));
        assert_eq!(identifier("4.3.2.192.IN-ADDR.ARPA."), found("192.2.3.4"));
        // The example of RFC 8738 section 6.
        let reversed = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(identifier(reversed), found("2001:db8::1"));
        assert_eq!(identifier("Example.COM."), found("example.com"));
    }

    #[test]
    fn what_is_no_whole_address_is_a_name_like_others() {
        for name in [
            "3.2.192.in-addr.arpa",
            "04.3.2.192.in-addr.arpa",
            "1.ip6.arpa",
        ] {
            assert!(
                matches!(identifier_of(name), Some(Identifier::Dns(_))),
                "{name}"
            );
        }
        for name in ["", ".", "*.example.com", "a b", "-.com", "a..b"] {
            assert_eq!(identifier_of(name), None, "{name}");
        }
    }

    #[test]
    fn hosts_are_compared_in_one_form() {
        let host = |text: &str| host_of(text);
        assert_eq!(host("Example.COM."), Some("example.com".to_owned()));
        assert_eq!(host("2001:DB8:0::1"), Some("2001:db8::1".to_owned()));
        assert_eq!(host(""), None);
        assert_eq!(host(&"a".repeat(254)), None);
    }
}
