//! What a node remembers in order to answer OCSP at once: answers that it has signed, by the bytes of
//! their question, and what the store said of certificates. Both are bounded, and neither is gone by
//! without asking [`Hearing`] whether it holds.

use std::ops::Range;
use std::sync::Arc;

use pki::{CertStatus, Serial};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use store::{CaCertificateId, CertificateId};
use time::OffsetDateTime;

use super::hearing::{Hearing, Moment};
use super::ocsp::OcspAnswer;

/// Memory for signed answers with their questions, in octets.
const ANSWERS: u64 = 64 * 1024 * 1024;
/// What an answer is expected to take, in octets: one that is signed with P-256 by the issuer.
const USUAL_ANSWER: u64 = 640;
/// What an answer takes beside question and DER, in octets.
const BESIDE: usize = 224;
/// Certificates of which is remembered what the store said; some 150 octets each.
const STATUSES: usize = 128 * 1024;

/// What is known about the certificate of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) status: CertStatus,
    /// What would be revoked; `None` if the certificate is none that can be.
    pub(crate) certificate: Option<CertificateId>,
    /// When the store was asked.
    pub(crate) since: Moment,
}

/// An answer that was signed once and is given to everybody with the same question.
#[derive(Debug)]
pub(crate) struct KeptAnswer {
    pub(crate) answer: OcspAnswer,
    pub(crate) known: Known,
    /// When it may be given; it ends before the answer does.
    pub(crate) term: Range<OffsetDateTime>,
}

pub(crate) type Answers = Cache<Vec<u8>, Arc<KeptAnswer>, Size>;

/// What a node remembers.
pub(crate) struct Memory {
    pub(crate) hearing: Arc<Hearing>,
    pub(crate) answers: Answers,
    statuses: Cache<(CaCertificateId, Serial), Known>,
}

impl Default for Memory {
    fn default() -> Self {
        let usual = usize::try_from(ANSWERS / USUAL_ANSWER).unwrap_or(usize::MAX);
        Self {
            hearing: Arc::default(),
            answers: Cache::with_weighter(usual, ANSWERS, Size),
            statuses: Cache::new(STATUSES),
        }
    }
}

impl Memory {
    /// The answer to a question, if it was signed before and nothing speaks against it.
    pub(crate) fn answer(&self, question: &[u8], now: OffsetDateTime) -> Option<OcspAnswer> {
        if !self.hearing.is_fresh() {
            return None;
        }
        let kept = self.answers.get(question)?;
        self.holds(&kept, now).then(|| kept.answer.clone())
    }

    /// Whether an answer is in its term, and about what still is as far as this node has heard.
    pub(crate) fn holds(&self, kept: &KeptAnswer, now: OffsetDateTime) -> bool {
        kept.term.contains(&now) && self.hearing.holds(kept.known.certificate, kept.known.since)
    }

    /// What the store said of a certificate of a tier, if that holds.
    pub(crate) fn status(&self, tier: CaCertificateId, serial: &Serial) -> Option<Known> {
        if !self.hearing.is_fresh() {
            return None;
        }
        let known = self.statuses.get(&(tier, serial.clone()))?;
        let holds = self.hearing.holds(known.certificate, known.since);
        holds.then_some(known)
    }

    /// Remembers what the store said of a certificate that it has, and that the tier issued.
    pub(crate) fn keep_status(&self, tier: CaCertificateId, serial: &Serial, known: Known) {
        self.statuses.insert((tier, serial.clone()), known);
    }
}

/// Octets that an answer takes.
#[derive(Debug, Clone)]
pub(crate) struct Size;

impl Weighter<Vec<u8>, Arc<KeptAnswer>> for Size {
    fn weight(&self, question: &Vec<u8>, kept: &Arc<KeptAnswer>) -> u64 {
        (question.len() + kept.answer.der.len() + BESIDE) as u64
    }
}
