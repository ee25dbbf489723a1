//! What a check came to.

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

    /// What is in the way, or may be.
    pub(crate) fn amiss(
        check: &'static str,
        verdict: Verdict,
        expected: impl Into<String>,
        found: impl Into<String>,
        (acts, remedy): (Actor, String),
    ) -> Self {
        Self {
            check,
            verdict,
            expected: expected.into(),
            found: found.into(),
            acts,
            remedy,
        }
    }

    /// The finding about `name` in one line.
    pub(crate) fn sentence(&self, name: &str) -> String {
        let Self {
            expected,
            found,
            remedy,
            ..
        } = self;
        let acts = self.acts.as_str();
        format!("{name}: expected that {expected}, but {found}; to be done by the {acts}: {remedy}")
    }
}
