//! What is asked for when the house is to obtain a certificate, and the form that it must have.

use std::collections::HashSet;

use pki::Identifier;

use super::naming;
use super::upload::fully_qualified;
use crate::Error;
use crate::settings::DEFAULT_AUTHORITY;

/// Most names of a managed certificate; directories take no more.
const MAX_NAMES: usize = 100;

/// A certificate that the house is to obtain and to renew.
#[derive(Debug, Clone)]
pub struct ManagedRequest {
    /// Its name in the inventory; chosen if `None`.
    pub name: Option<String>,
    /// What it has to cover: fully-qualified DNS names and IP addresses, at most 100. The first one
    /// becomes its common name.
    pub names: Vec<Identifier>,
    /// What obtains it; the account's default issuer if `None`.
    pub issuer: Option<String>,
}

impl ManagedRequest {
    /// A request of the default issuer for one name, as dialects have it that know no others.
    ///
    /// # Errors
    /// Faults of form: [`Error::NotFullyQualified`], [`Error::TooLong`], and [`Error::Invalid`], also
    /// for a wildcard.
    pub fn of_name(name: Option<String>, common_name: &str) -> Result<Self, Error> {
        if let Some(name) = &name {
            naming::check_name(name)?;
        }
        let common_name = fully_qualified(common_name)?;
        if common_name.is_wildcard() {
            return Err(Error::invalid(
                "cn",
                "a wildcard certificate cannot be requested this way; upload one, or add the \
                 wildcard domain to a service",
            ));
        }
        Ok(Self {
            name,
            names: vec![Identifier::Dns(common_name)],
            issuer: None,
        })
    }

    /// The names without repetitions, if all of them can be asked for.
    pub(super) fn checked_names(&self) -> Result<Vec<Identifier>, Error> {
        if let Some(name) = &self.name {
            naming::check_name(name)?;
        }
        if self.names.is_empty() {
            return Err(Error::invalid(
                "names",
                "name at least one domain or IP address",
            ));
        }
        if self.names.len() > MAX_NAMES {
            return Err(Error::invalid(
                "names",
                format!("a managed certificate covers at most {MAX_NAMES} names; request several"),
            ));
        }
        let mut seen = HashSet::new();
        let mut names = Vec::with_capacity(self.names.len());
        for name in &self.names {
            match name {
                Identifier::Dns(name) if !name.is_fully_qualified() => {
                    return Err(Error::invalid(
                        "names",
                        format!(
                            "'{name}' is no fully-qualified domain name, and no public authority \
                             issues for it; ask a private authority (--issuer {DEFAULT_AUTHORITY}), or \
                             use a name below a domain of yours"
                        ),
                    ));
                }
                Identifier::Email(_) => {
                    return Err(Error::invalid(
                        "names",
                        "a managed certificate covers domains and IP addresses only",
                    ));
                }
                Identifier::Dns(_) | Identifier::Ip(_) => {}
            }
            if seen.insert(name) {
                names.push(name.clone());
            }
        }
        Ok(names)
    }
}
