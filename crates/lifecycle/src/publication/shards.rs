//! Shards of revocation lists.
//!
//! A leaf says where the list is that it would be on, so its place is chosen before it is signed. A
//! shard has so many places that its list stays below a megabyte when all of them are revoked.

use std::ops::Range;

use pki::Urls;
use tokio::sync::Mutex;

use crate::Error;
use crate::authorities::{Authorities, Authority};

/// Places in a shard. An entry of a list takes at most 52 octets.
const SHARD: u64 = 20_000;
/// Places that a node takes at a time. What is left of them when it ends stays empty.
const TAKEN: u64 = 1_000;

/// The places that this node has taken for leaves of an authority.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    shard: u64,
    places: Range<u64>,
}

impl Authorities {
    /// The shard for one more leaf of `authority`.
    pub(crate) async fn place(&self, authority: &Authority) -> Result<u64, Error> {
        let mut taken = authority.places.0.lock().await;
        if taken.places.next().is_none() {
            let shard = self.store.take_places(authority.id, TAKEN, SHARD).await?;
            *taken = Taken {
                shard,
                places: 1..TAKEN,
            };
        }
        Ok(taken.shard)
    }
}

/// These URLs for leaves of a shard. Those of shard 0 are the authority's own.
pub(crate) fn urls_of_shard(urls: &Urls, shard: u64) -> Urls {
    Urls {
        crl: urls.crl.as_ref().map(|url| url_of_shard(url, shard)),
        ..urls.clone()
    }
}

/// Where the list of a shard is, if that of shard 0 is at `url`.
pub(super) fn url_of_shard(url: &str, shard: u64) -> String {
    match url.strip_suffix(".crl") {
        _ if shard == 0 => url.to_owned(),
        Some(stem) => format!("{stem}-{shard}.crl"),
        None => format!("{url}/{shard}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_an_address_of_its_own() {
        assert_eq!(
            url_of_shard("http://a.test/ca/00ff.crl", 0),
            "http://a.test/ca/00ff.crl"
        );
        assert_eq!(
            url_of_shard("http://a.test/ca/00ff.crl", 7),
            "http://a.test/ca/00ff-7.crl"
        );
        assert_eq!(
            url_of_shard("http://a.test/api/v1/crl", 0),
            "http://a.test/api/v1/crl"
        );
        assert_eq!(
            url_of_shard("http://a.test/api/v1/crl", 12),
            "http://a.test/api/v1/crl/12"
        );
    }
}
