//! Several nodes that are one server.

use std::thread;

use crate::{Chancery, ChanceryOptions, Postgres};

/// Nodes that share a PostgreSQL database and a master key.
pub struct Cluster {
    /// The nodes.
    pub nodes: Vec<Chancery>,
    /// The administrator's token, which works on all of them.
    pub token: String,
    /// The URL of their database.
    pub database: String,
}

impl Cluster {
    /// Starts this many nodes at the same time on a new database.
    ///
    /// # Panics
    ///
    /// When a node does not start, or none has made the administrator's token.
    #[must_use]
    #[track_caller]
    pub fn start(count: usize) -> Self {
        Self::of(vec![Chancery::options(); count])
    }

    /// Starts a node for each of these options, all at the same time on a new database.
    ///
    /// # Panics
    ///
    /// As [`Cluster::start`].
    #[must_use]
    #[track_caller]
    pub fn of(nodes: Vec<ChanceryOptions>) -> Self {
        let database = Postgres::shared().create_database();
        let key = "5a".repeat(32);
        let start = |options: ChanceryOptions| {
            options
                .args(&["--database", &database])
                .env("CHANCERY_MASTER_KEY", &key)
                .start()
        };
        let nodes: Vec<Chancery> = thread::scope(|scope| {
            let nodes = nodes.into_iter();
            let starts: Vec<_> = nodes.map(|node| scope.spawn(move || start(node))).collect();
            let nodes = starts.into_iter().map(thread::ScopedJoinHandle::join);
            nodes.map(|node| node.expect("a node starts")).collect()
        });
        // Whichever was first has made the token.
        let first = nodes.iter().find(|node| node.has_token());
        let token = first.expect("a node has the token").token();
        Self {
            nodes,
            token,
            database,
        }
    }
}
