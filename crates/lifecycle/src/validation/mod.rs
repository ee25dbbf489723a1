//! Proof of control towards the house: which names of an order need one, how it is asked for, and
//! what becomes of the order.
//!
//! Invariants:
//! - What is asked, and where, is decided here and not by who orders: names come out of parsed
//!   identifiers, ports out of a short list, and the policy is asked about the very address that is
//!   connected to, again at each redirect.
//! - Who orders learns whether a name was proven and nothing else about the network.
//! - An order belongs to its account, is completed once, and by the transaction that records its
//!   certificate.

mod inbound;
mod places;
mod preauthorized;
mod prover;
mod requirement;
mod switches;

pub use inbound::{Completed, InboundOrders, InboundRequest, Placed, WaitingOrder};
pub use preauthorized::Preauthorizations;
pub use prover::Way;
pub use requirement::ProofKind;
pub(crate) use requirement::Requirement;
pub use switches::{Switch, SwitchState, SwitchValues, Switches};
