//! What is done to a record.

/// What is done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Its value is there afterwards.
    Publish,
    /// Its value is not there afterwards.
    Withdraw,
}
