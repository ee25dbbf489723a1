//! When things are done: the decisions about time of everything that the house does of itself.
//!
//! Pure functions over plain values: the present moment and what is random come in as arguments, and
//! nothing is kept. The scheduler calls them with the rows of the store in its hands, the simulation
//! of a year (`tests/simulation`) with rows of its own.
//!
//! A `draw` is 64 random bits. Where the same decision is taken more than once about one thing, the
//! caller gives the same draw each time.

mod budget;
mod candidates;
mod domains;
mod health;
mod limit;
mod limits;
mod moment;
mod renewal;
mod retry;

pub(crate) use budget::ORDERS;
pub use budget::{Decision, Demand, Mark, Purpose, Reason, Verdict};
pub use candidates::{Aside, Candidate, Choice, alternative, choose};
pub use domains::registered_domain;
pub use health::Health;
pub use limit::{Limit, left};
pub use limits::{Limits, LimitsError};
pub use renewal::{
    Urgency, Window, look_after_failure, next_look, reconsider, renew_at, urgent_from, within,
};
pub use retry::{
    AGAIN, Cause, Failed, PAUSES, Plan, UNANSWERED, after_failure, after_wait, asides, not_too_late,
};
