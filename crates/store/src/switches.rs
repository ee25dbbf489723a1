//! Switches: what administrators turn on and off while the program runs, on all nodes.

use std::collections::BTreeMap;

use crate::backend::in_transaction;
use crate::error::Error;
use crate::events::{self, NewEvent};
use crate::inventory::within;
use crate::sql::Statement;
use crate::store::Store;

/// The longest name of a switch, in bytes.
pub const SWITCH_NAME_LIMIT: usize = 64;

impl Store {
    /// All switches that somebody has set, by name.
    pub async fn switches(&self) -> Result<BTreeMap<String, bool>, Error> {
        let rows = Statement::new("select name, value from switches order by name");
        let rows = self.backend().rows(rows).await?;
        rows.into_iter()
            .map(|mut row| Ok((row.take()?, row.take()?)))
            .collect()
    }

    /// Sets switches, or takes back that they were set (`None`): all or none of them.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for a name.
    pub async fn set_switches(
        &self,
        changes: &[(&str, Option<bool>)],
        event: NewEvent,
    ) -> Result<(), Error> {
        for (name, _) in changes {
            within("the name of the switch", SWITCH_NAME_LIMIT, name.len())?;
        }
        let now = event.at;
        let event = event.into_row();
        in_transaction!(self.backend(), |transaction| {
            for (name, value) in changes {
                let statement = match value {
                    Some(value) => Statement::new(
                        "insert into switches (changed_at, value, name) values (?, ?, ?) \
                         on conflict (name) do update set value = excluded.value, \
                         changed_at = excluded.changed_at",
                    )
                    .bind(now)
                    .bind(*value)
                    .bind(*name),
                    None => Statement::new("delete from switches where name = ?").bind(*name),
                };
                transaction.execute(statement).await?;
            }
            events::insert(transaction, vec![event.clone()]).await
        })
    }
}
