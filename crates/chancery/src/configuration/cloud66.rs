//! The section `[cloud66]`.

use std::num::NonZeroU32;

use super::file::Section;

/// Longest name of a CA that clients are told, in characters.
const MAX_CA_NAME: usize = 64;

/// Settings of the Cloud 66 dialect.
#[derive(Debug)]
pub(crate) struct Cloud66 {
    /// What obtains certificates of the type `lets_encrypt`; the account's default if `None`.
    pub(crate) issuer: Option<String>,
    /// What such certificates are said to come from.
    pub(crate) ca_name: Option<String>,
    /// Requests of an account in an hour; any number if none.
    pub(crate) requests_per_hour: Option<NonZeroU32>,
}

impl Cloud66 {
    pub(super) fn read(section: &mut Section) -> Self {
        let ca_name = section.text("ca_name");
        if let Some(name) = &ca_name
            && (name.is_empty() || name.chars().count() > MAX_CA_NAME)
        {
            let reason = format!("is a name of 1 to {MAX_CA_NAME} characters");
            section.fault("ca_name", reason);
        }
        Self {
            issuer: section.text("issuer"),
            ca_name,
            requests_per_hour: section
                .number("requests_per_hour")
                .and_then(NonZeroU32::new),
        }
    }
}
