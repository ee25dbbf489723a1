//! Switches of the CertMaker API: set by administrators while the program runs, on all nodes.
//! Until somebody sets one, it is as the configuration says.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Store;
use time::OffsetDateTime;

use crate::{Error, Principal, Surroundings, events};

/// How long a node goes by what it has seen before it looks again.
const TRUST: Duration = Duration::from_secs(1);

/// Something that can be switched on and off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// Orders with a CSR.
    Csr,
    /// Proof by a DNS record.
    Dns01,
    /// Proof by a file on a web server.
    Http01,
    /// Orders without a CSR.
    SimpleRequest,
}

impl Switch {
    /// All of them, in the order shown to people.
    pub const ALL: [Self; 4] = [Self::SimpleRequest, Self::Csr, Self::Http01, Self::Dns01];

    /// Its name, as in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csr => "csr",
            Self::Dns01 => "dns01",
            Self::Http01 => "http01",
            Self::SimpleRequest => "simple_request",
        }
    }
}

impl fmt::Display for Switch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Switch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter();
        all.find(|switch| switch.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            Error::invalid(
                "switch",
                format!("'{}' is not one of {known}", text.escape_debug()),
            )
        })
    }
}

/// How all switches stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchValues {
    /// See [`Switch::SimpleRequest`].
    pub simple_request: bool,
    /// See [`Switch::Csr`].
    pub csr: bool,
    /// See [`Switch::Http01`].
    pub http01: bool,
    /// See [`Switch::Dns01`].
    pub dns01: bool,
}

impl Default for SwitchValues {
    /// Both kinds of orders, without any proof.
    fn default() -> Self {
        Self {
            simple_request: true,
            csr: true,
            http01: false,
            dns01: false,
        }
    }
}

impl SwitchValues {
    /// How one of them stands.
    #[must_use]
    pub const fn of(&self, switch: Switch) -> bool {
        match switch {
            Switch::Csr => self.csr,
            Switch::Dns01 => self.dns01,
            Switch::Http01 => self.http01,
            Switch::SimpleRequest => self.simple_request,
        }
    }

    /// Whether orders have to prove control over what they name.
    #[must_use]
    pub const fn demand_proof(&self) -> bool {
        self.http01 || self.dns01
    }

    fn set(&mut self, switch: Switch, value: bool) {
        let place = match switch {
            Switch::Csr => &mut self.csr,
            Switch::Dns01 => &mut self.dns01,
            Switch::Http01 => &mut self.http01,
            Switch::SimpleRequest => &mut self.simple_request,
        };
        *place = value;
    }
}

/// How one switch stands, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SwitchState {
    /// Which one.
    pub switch: Switch,
    /// Whether it is on.
    pub is_on: bool,
    /// Whether it is on where nobody has set it.
    pub is_on_by_configuration: bool,
    /// Whether an administrator has set it.
    pub is_set: bool,
}

/// Operations on switches.
#[derive(Debug, Clone)]
pub struct Switches {
    store: Store,
    surroundings: Surroundings,
    configured: SwitchValues,
    seen: Arc<Mutex<Option<(OffsetDateTime, SwitchValues)>>>,
}

impl Switches {
    pub(crate) fn new(store: Store, surroundings: Surroundings, configured: SwitchValues) -> Self {
        Self {
            store,
            surroundings,
            configured,
            seen: Arc::default(),
        }
    }

    /// How they stand now, or stood a second ago.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn current(&self) -> Result<SwitchValues, Error> {
        let now = self.surroundings.now();
        if let Some((at, values)) = *self.seen()
            && at <= now
            && now - at < TRUST
        {
            return Ok(values);
        }
        let mut values = self.configured;
        for (name, value) in self.store.switches().await? {
            // A later release may know more of them.
            if let Ok(switch) = name.parse() {
                values.set(switch, value);
            }
        }
        *self.seen() = Some((now, values));
        Ok(values)
    }

    /// How each of them stands. Only administrators may ask.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn list(&self, principal: &Principal) -> Result<Vec<SwitchState>, Error> {
        principal.require_administrator()?;
        let set = self.store.switches().await?;
        let state = |switch: Switch| {
            let by_configuration = self.configured.of(switch);
            let value = set.get(switch.as_str()).copied();
            SwitchState {
                switch,
                is_on: value.unwrap_or(by_configuration),
                is_on_by_configuration: by_configuration,
                is_set: value.is_some(),
            }
        };
        Ok(Switch::ALL.map(state).to_vec())
    }

    /// Sets switches, or lets them be as the configuration says (`None`); all nodes go by it within
    /// a second. Only administrators may.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub async fn set(
        &self,
        principal: &Principal,
        changes: &[(Switch, Option<bool>)],
    ) -> Result<Vec<SwitchState>, Error> {
        principal.require_administrator()?;
        principal.require_write()?;
        if !changes.is_empty() {
            let named = changes
                .iter()
                .map(|(switch, value)| (switch.as_str(), *value));
            let named: Vec<_> = named.collect();
            let detail = named.iter().map(|(name, value)| match value {
                Some(true) => format!("{name}=on"),
                Some(false) => format!("{name}=off"),
                None => format!("{name}=default"),
            });
            let event = events::of(
                &self.surroundings,
                principal.account_name(),
                None,
                events::SWITCHES_SET,
                None,
                &detail.collect::<Vec<_>>().join(" "),
            );
            self.store.set_switches(&named, event).await?;
            *self.seen() = None;
        }
        self.list(principal).await
    }

    fn seen(&self) -> MutexGuard<'_, Option<(OffsetDateTime, SwitchValues)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
