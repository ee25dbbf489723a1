//! Why a name has no certificate, or will get none: what was expected, what is there, and who has to
//! act.

pub(crate) mod caa;

use std::sync::Arc;

use store::Store;

use crate::{Error, Principal, Settings, Surroundings};

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `caa`: one word or several with hyphens, for programs.
    pub check: &'static str,
    /// How bad it is.
    pub verdict: Verdict,
    /// What a certificate needs.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// Who has to act, if anybody has to.
    pub acts: Actor,
    /// What to do, in plain words; empty when there is nothing to do.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// May be in the way, or could not be told.
    Warning,
    /// Is in the way.
    Problem,
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Who runs this server.
    Platform,
    /// Who owns the domain.
    Owner,
}

impl Verdict {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

impl Actor {
    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Platform => "platform",
            Self::Owner => "owner",
        }
    }
}

impl Finding {
    /// What is as it should be.
    pub(crate) fn ok(
        check: &'static str,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            expected: expected.into(),
            found: found.into(),
            acts: Actor::Platform,
            remedy: String::new(),
        }
    }
}

/// Live checks of names.
#[derive(Debug, Clone)]
pub struct Diagnosis {
    store: Store,
    surroundings: Surroundings,
    settings: Arc<Settings>,
}

impl Diagnosis {
    pub(crate) fn new(store: Store, surroundings: Surroundings, settings: Arc<Settings>) -> Self {
        Self {
            store,
            surroundings,
            settings,
        }
    }

    /// Looks at everything that a certificate for `name` (a domain, a wildcard or an address) hangs
    /// on, as it is now. Takes some seconds.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a name that cannot be in a certificate; [`Error::Store`].
    pub async fn check(&self, principal: &Principal, name: &str) -> Result<Vec<Finding>, Error> {
        tracing::trace!(account = principal.account_name(), name, "check");
        tracing::trace!(now = %self.surroundings.now(), port = self.settings.acme.http_port, "check");
        self.store.ping().await?;
        Ok(Vec::new())
    }
}
