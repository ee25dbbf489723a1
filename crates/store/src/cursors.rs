//! Cursors: how far a follower of the change feed has come, so that it goes on there after a
//! restart, on whichever node.

use crate::backend::in_transaction;
use crate::error::Error;
use crate::ids::EventId;
use crate::sql::Statement;
use crate::store::Store;

impl Store {
    /// The event up to which the follower of this name has done its work.
    pub async fn cursor(&self, name: &str) -> Result<Option<EventId>, Error> {
        let statement = Statement::new("select event_id from cursors where name = ?").bind(name);
        let row = self.backend().row(statement).await?;
        row.map(|mut row| row.take()).transpose()
    }

    /// Writes down that the follower of this name has done its work up to an event. A cursor moves
    /// forward only: of several nodes that follow, the furthest counts.
    pub async fn move_cursor(&self, name: &str, event: EventId) -> Result<(), Error> {
        let statement = Statement::new(
            "insert into cursors (name, event_id) values (?, ?) on conflict (name) \
             do update set event_id = excluded.event_id where cursors.event_id < excluded.event_id",
        )
        .bind(name)
        .bind(event);
        in_transaction!(self.backend(), |transaction| {
            transaction.execute(statement.clone()).await.map(drop)
        })
    }
}
