//! What can be made to go wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// The directory object.
    Directory,
    /// A nonce.
    NewNonce,
    /// Opening an account.
    NewAccount,
    /// An account.
    Account,
    /// Changing the key of an account.
    KeyChange,
    /// Placing an order.
    NewOrder,
    /// An order.
    Order,
    /// An authorization.
    Authorization,
    /// Answering a challenge.
    Challenge,
    /// Sending the certificate request of an order.
    Finalize,
    /// A certificate.
    Certificate,
    /// Another chain of a certificate.
    Alternate,
    /// When to renew.
    RenewalInfo,
    /// Revoking a certificate.
    Revoke,
}

/// What goes wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused for being one too many, with this `Retry-After`.
    RateLimited(Option<String>),
    /// It is answered with this status and a page for people.
    Status(u16),
    /// It is answered with this status and this problem document, or whatever that is.
    Problem(u16, String),
    /// It is answered with this text, and that everything is fine.
    Body(String),
    /// It is answered with so many octets, and that everything is fine.
    Huge(usize),
    /// It is sent elsewhere.
    Redirect(String),
    /// It is done after this time.
    Slow(Duration),
    /// It is never answered, and not done.
    Silence,
    /// The connection is closed instead of an answer, and it is not done.
    Cut,
    /// It is done, but the connection is closed instead of an answer.
    Lost,
}

/// What goes wrong. Chances are percentages.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// How many nonces are refused.
    pub bad_nonces: u8,
    /// Whether nonces are only there where they are given out.
    pub withholds_nonces: bool,
    /// How many challenges fail that would be met.
    pub failed_validations: u8,
    /// Names that CAA records forbid.
    pub caa: BTreeSet<String>,
    /// Whether orders never get beyond processing.
    pub is_stuck: bool,
    /// Whether the authority's certificate has expired in the chains.
    pub has_expired_chain: bool,
    /// How many certificates stand in chains besides those that belong there.
    pub surplus_certificates: usize,
    /// Whether certificates come for another key than that of the request.
    pub swaps_keys: bool,
    /// Whether certificates lack the last of the names.
    pub drops_names: bool,
    troubles: Vec<(Resource, u8, Trouble)>,
    bases: BTreeMap<Resource, String>,
}

impl Faults {
    /// Lets `trouble` happen to `percent` of the requests for a resource. What was said first comes
    /// first, if both would happen.
    pub fn at(&mut self, resource: Resource, percent: u8, trouble: Trouble) {
        self.troubles.push((resource, percent, trouble));
    }

    /// Names URLs of a resource as if they were at `base`, such as `https://10.0.0.1`.
    pub fn elsewhere(&mut self, resource: Resource, base: &str) {
        self.bases.insert(resource, base.to_owned());
    }

    /// Ends all faults.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// What goes wrong with this request.
    pub(super) fn trouble(&self, resource: Resource, dice: &mut Dice) -> Option<Trouble> {
        let mut troubles = self.troubles.iter();
        let happens =
            |(at, percent, _): &&(Resource, u8, Trouble)| *at == resource && dice.falls(*percent);
        troubles
            .find(happens)
            .map(|(_, _, trouble)| trouble.clone())
    }

    /// Where URLs of a resource are said to be.
    pub(super) fn base(&self, resource: Resource) -> Option<&str> {
        self.bases.get(&resource).map(String::as_str)
    }
}

/// Chance that is the same for the same seed (splitmix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Whether something happens that happens this often in a hundred times.
    pub(super) fn falls(&mut self, percent: u8) -> bool {
        percent > 0 && self.draw() % 100 < u64::from(percent)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dice_fall_as_often_as_they_should_and_alike_for_the_same_seed() {
        let count = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000).filter(|_| dice.falls(20)).count()
        };
        assert!((1_800..2_200).contains(&count(7)), "{}", count(7));
        assert_eq!(count(7), count(7));
        assert_ne!(count(7), count(8));
        let mut dice = Dice::new(1);
        assert!((0..1_000).all(|_| dice.falls(100) && !dice.falls(0)));
    }

    #[test]
    fn troubles_happen_where_they_were_put() {
        let mut faults = Faults::default();
        faults.at(Resource::Order, 0, Trouble::Cut);
        faults.at(Resource::Order, 100, Trouble::Lost);
        faults.at(Resource::Order, 100, Trouble::Silence);
        let mut dice = Dice::new(1);
        assert_eq!(
            faults.trouble(Resource::Order, &mut dice),
            Some(Trouble::Lost)
        );
        assert_eq!(faults.trouble(Resource::NewOrder, &mut dice), None);
        faults.clear();
        assert_eq!(faults.trouble(Resource::Order, &mut dice), None);
    }
}
