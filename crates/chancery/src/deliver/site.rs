//! How a directory is changed: all of it or nothing, as far as the reload command goes along.
//!
//! The files in the directory are always a set that the server was last known to take, so that it
//! also starts again after a crash of the machine. When the reload command fails, the files from
//! before come back; if it then succeeds, what was changed is at fault, and is tried again in halves
//! until it is known which of it. So one certificate that a server cannot take, or one that its
//! configuration still wants, never keeps others from being renewed.

use std::collections::HashSet;
use std::io;

use super::directory::{Directory, Former, check_name};
use super::plan::Change;
use super::reload::Reload;

/// What came of a change.
pub(super) type Outcome = (Change, Result<(), String>);

/// A directory and the command that has a server read it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) directory: Directory,
    pub(super) reload: Option<Reload>,
}

impl Site {
    /// Settles what a process before this one left unsettled: its changes stay if the reload command
    /// succeeds with them, and are undone otherwise. Returns what failed then. A name that cannot be
    /// put back stays unsettled.
    pub(super) async fn recover(&self) -> io::Result<Option<String>> {
        let Some(before) = self.directory.undo()? else {
            return Ok(None);
        };
        let Err(mut reason) = self.reload().await else {
            self.directory.drop_undo()?;
            return Ok(None);
        };
        self.undo(before, &mut reason)?;
        // Whatever comes of it, these are the files that were good.
        let _ = self.reload().await;
        Ok(Some(reason))
    }

    /// Makes changes whose versions are stored. Stops between two attempts when `is_ending` says so;
    /// what is not told of then was not done. What is refused stays stored.
    pub(super) async fn make(
        &self,
        changes: Vec<Change>,
        is_ending: impl Fn() -> bool,
    ) -> io::Result<Vec<Outcome>> {
        // There is something only when undoing it has failed.
        self.recover().await?;
        let mut outcomes = Vec::new();
        let mut portions = vec![changes];
        while let Some(mut portion) = portions.pop() {
            if portion.is_empty() {
                continue;
            }
            if is_ending() {
                break;
            }
            let Err(fault) = self.attempt(&portion).await? else {
                outcomes.extend(portion.into_iter().map(|change| (change, Ok(()))));
                continue;
            };
            if portion.len() > 1 && !fault.is_general {
                let rest = portion.split_off(portion.len() / 2);
                portions.push(rest);
                portions.push(portion);
                continue;
            }
            let refused = portion.into_iter();
            outcomes.extend(refused.map(|change| (change, Err(fault.reason.clone()))));
        }
        Ok(outcomes)
    }

    /// Makes changes all together, or none of them.
    async fn attempt(&self, changes: &[Change]) -> io::Result<Result<(), Fault>> {
        // What could not be put back has not become good meanwhile.
        let mut before = self.directory.undo()?.unwrap_or_default();
        let mut changed: HashSet<String> =
            before.iter().map(|former| former.name.clone()).collect();
        let fresh = changes
            .iter()
            .filter(|change| check_name(&change.name).is_ok() && !changed.contains(&change.name));
        let fresh: Vec<Former> = fresh
            .map(|change| self.directory.former(&change.name))
            .collect();
        before.extend(fresh);
        if let Err(error) = self.directory.keep_undo(&before) {
            return Ok(Err(Fault {
                reason: error.to_string(),
                is_general: false,
            }));
        }
        let made = changes.iter().try_for_each(|change| {
            changed.insert(change.name.clone());
            match change.to {
                Some(to) => self.directory.place(&change.name, to),
                None => self.directory.take_away(&change.name),
            }
        });
        let is_heard_of = made.is_ok();
        let mut reason = match made {
            Ok(()) => match self.reload().await {
                Ok(()) => {
                    self.directory.drop_undo()?;
                    return Ok(Ok(()));
                }
                Err(reason) => reason,
            },
            Err(error) => error.to_string(),
        };
        before.retain(|former| changed.contains(&former.name));
        self.undo(before, &mut reason)?;
        // What the failure stopped starts again, and whose fault it was shows.
        let is_general = is_heard_of && self.reload().await.is_err();
        Ok(Err(Fault { reason, is_general }))
    }

    /// Puts back what was there before. What cannot be put back stays unsettled and is added to the
    /// reason.
    fn undo(&self, before: Vec<Former>, reason: &mut String) -> io::Result<()> {
        let mut stuck = Vec::new();
        for former in before {
            if let Err(error) = self.directory.restore(&former) {
                if stuck.is_empty() {
                    reason.push_str(&format!(
                        "; and {} cannot be put back: {error}",
                        former.name
                    ));
                }
                stuck.push(former);
            }
        }
        if stuck.is_empty() {
            return self.directory.drop_undo();
        }
        // On a full disk, what was kept before stays, which has these names too.
        let _ = self.directory.keep_undo(&stuck);
        Ok(())
    }

    async fn reload(&self) -> Result<(), String> {
        match &self.reload {
            Some(reload) => reload.run().await,
            None => Ok(()),
        }
    }
}

/// Why changes were undone.
struct Fault {
    reason: String,
    /// Whether it is the same without them.
    is_general: bool,
}
