//! What has to change in a directory, and how it is done: all of it or nothing, as far as the reload
//! command goes along.
//!
//! The files in the directory are always a set that the server was last known to take, so that it
//! also starts again after a crash of the machine. When the reload command fails, the files from
//! before come back; if it then succeeds, what was changed is at fault, and is tried again in halves
//! until it is known which of it. So one certificate that a server cannot take, or one that its
//! configuration still wants, never keeps others from being renewed.

use std::collections::{BTreeMap, HashSet};
use std::io;

use lifecycle::{CertificateId, VersionId};

use super::directory::{Directory, Former, Found, Held, check_name};
use super::reload::Reload;

/// What a target is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) tag: String,
    pub(super) place: Vec<Wanted>,
    /// What may be there and is to go.
    pub(super) remove: Vec<CertificateId>,
}

/// A version that is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) held: Held,
    pub(super) is_acknowledged: bool,
}

/// One step between what is there and what is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) name: String,
    /// What its paths are to lead to; `None` for nothing.
    pub(super) to: Option<Held>,
}

/// What came of a change.
pub(super) type Outcome = (Change, Result<(), String>);

/// What the server is told of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saying {
    Placed(VersionId),
    Refused(Option<VersionId>, String),
    Removed,
}

/// What is there, by name.
pub(super) type There = BTreeMap<String, Found>;

/// All that has to change. Names that no files can have are for others to refuse.
pub(super) fn changes(plan: &Plan, there: &There) -> Vec<Change> {
    let mut names = HashSet::new();
    let mut changes = Vec::new();
    for wanted in &plan.place {
        // Two of one name would take turns for ever.
        let is_first = names.insert(wanted.name.as_str());
        if is_first && whole(there, &wanted.name) != Some(wanted.held) {
            changes.push(Change {
                name: wanted.name.clone(),
                to: Some(wanted.held),
            });
        }
    }
    let unwanted = there.keys().filter(|name| !names.contains(name.as_str()));
    changes.extend(unwanted.map(|name| Change {
        name: name.clone(),
        to: None,
    }));
    changes
}

/// What the server does not know yet. `before` is what was there before the changes and `there` what
/// is there now; `failed` are the changes that did not succeed, with their reasons.
pub(super) fn sayings(
    plan: &Plan,
    before: &There,
    there: &There,
    failed: &[(Change, String)],
) -> Vec<(CertificateId, Saying)> {
    let mut sayings = Vec::new();
    let refused: HashSet<&str> = failed
        .iter()
        .map(|(change, _)| change.name.as_str())
        .collect();
    for wanted in &plan.place {
        let Held { certificate, .. } = wanted.held;
        let is_there = whole(there, &wanted.name) == Some(wanted.held);
        // What is there in spite of a failure is not known to be good.
        if is_there && !wanted.is_acknowledged && !refused.contains(wanted.name.as_str()) {
            sayings.push((certificate, Saying::Placed(wanted.held.version)));
        }
    }
    for (change, reason) in failed {
        let refused = match change.to {
            Some(to) => Some((to.certificate, Some(to.version))),
            None => {
                let held = before.get(&change.name).and_then(|found| found.held);
                held.map(|held| (held.certificate, None))
            }
        };
        let saying =
            |(certificate, version)| (certificate, Saying::Refused(version, reason.clone()));
        sayings.extend(refused.map(saying));
    }
    // Parts of it are there as well.
    let held: HashSet<CertificateId> = there
        .values()
        .filter_map(|found| found.held)
        .map(|held| held.certificate)
        .collect();
    let gone = plan.remove.iter().filter(|id| !held.contains(id));
    sayings.extend(gone.map(|id| (*id, Saying::Removed)));
    sayings
}

fn whole(there: &There, name: &str) -> Option<Held> {
    there.get(name).and_then(|found| found.whole())
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;
    use crate::deliver::directory::{Form, Material};

    fn held(certificate: u8, version: u8) -> Held {
        Held {
            certificate: CertificateId::from_random([certificate; 16]),
            version: format!("0190163d-8694-739b-aea5-966c26f8ad{version:02x}")
                .parse()
                .unwrap(),
        }
    }

    fn wanted(name: &str, held: Held) -> Wanted {
        Wanted {
            name: name.to_owned(),
            held,
            is_acknowledged: false,
        }
    }

    fn change(name: &str, to: Option<Held>) -> Change {
        Change {
            name: name.to_owned(),
            to,
        }
    }

    /// A site whose reload command is this; `$DIR` is its directory and `$LOG` a file outside.
    fn site(command: &str) -> (Site, TempDir, TempDir) {
        let (root, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let command = command
            .replace("$DIR", root.path().to_str().unwrap())
            .replace("$LOG", outside.path().join("log").to_str().unwrap());
        let site = Site {
            directory: Directory::open(root.path(), Form::Pair).unwrap(),
            reload: Some(Reload {
                command,
                patience: Duration::from_secs(20),
            }),
        };
        (site, root, outside)
    }

    fn store(site: &Site, held: Held) {
        let material = Material {
            held,
            chain: format!("certificate {}\n", held.version),
            key: "key\n".to_owned().into(),
        };
        site.directory.store(&material).unwrap();
    }

    async fn make(site: &Site, changes: Vec<Change>) -> Vec<(String, bool)> {
        for change in &changes {
            change.to.into_iter().for_each(|to| store(site, to));
        }
        let outcomes = site.make(changes, || false).await.unwrap();
        let mut outcomes: Vec<(String, bool)> = outcomes
            .into_iter()
            .map(|(change, outcome)| (change.name, outcome.is_ok()))
            .collect();
        outcomes.sort();
        outcomes
    }

    fn runs(outside: &TempDir) -> usize {
        let log = fs::read_to_string(outside.path().join("log"));
        log.unwrap_or_default().lines().count()
    }

    #[test]
    fn what_is_wanted_and_not_there_is_placed_and_what_is_there_unwanted_is_taken_away() {
        let found = |held, is_whole| Found { held, is_whole };
        let there = There::from([
            ("good".to_owned(), found(Some(held(1, 1)), true)),
            ("old".to_owned(), found(Some(held(2, 1)), true)),
            ("broken".to_owned(), found(Some(held(3, 1)), false)),
            ("gone".to_owned(), found(Some(held(4, 1)), false)),
            ("taken over".to_owned(), found(Some(held(5, 1)), true)),
        ]);
        let plan = Plan {
            tag: String::new(),
            place: vec![
                wanted("good", held(1, 1)),
                wanted("old", held(2, 2)),
                wanted("broken", held(3, 1)),
                wanted("new", held(6, 1)),
                wanted("new", held(7, 1)),
                wanted("taken over", held(8, 1)),
            ],
            remove: vec![held(4, 1).certificate, held(5, 1).certificate],
        };
        let changes = changes(&plan, &there);
        assert_eq!(
            changes,
            [
                change("old", Some(held(2, 2))),
                change("broken", Some(held(3, 1))),
                change("new", Some(held(6, 1))),
                change("taken over", Some(held(8, 1))),
                change("gone", None),
            ]
        );
        let mut after = there.clone();
        for change in &changes {
            match change.to {
                Some(to) => after.insert(change.name.clone(), found(Some(to), true)),
                None => after.remove(&change.name),
            };
        }
        let said = sayings(&plan, &there, &after, &[]);
        for (certificate, version) in [(1, 1), (2, 2), (3, 1), (6, 1), (8, 1)] {
            let held = held(certificate, version);
            assert!(said.contains(&(held.certificate, Saying::Placed(held.version))));
        }
        for gone in [4, 5] {
            assert!(said.contains(&(held(gone, 1).certificate, Saying::Removed)));
        }
        assert_eq!(said.len(), 7);

        let failed: Vec<(Change, String)> = changes
            .into_iter()
            .map(|change| (change, "no".to_owned()))
            .collect();
        let said = sayings(&plan, &there, &there, &failed);
        let no = |version| Saying::Refused(version, "no".to_owned());
        assert!(said.contains(&(held(2, 2).certificate, no(Some(held(2, 2).version)))));
        assert!(said.contains(&(held(4, 1).certificate, no(None))));
        assert!(!said.iter().any(|(_, saying)| *saying == Saying::Removed));
        // It is there all the same, and not known to be good.
        let said = sayings(&plan, &there, &after, &failed);
        let good = held(2, 2);
        assert!(!said.contains(&(good.certificate, Saying::Placed(good.version))));
    }

    #[tokio::test]
    async fn a_batch_is_one_reload() {
        let (site, root, outside) =
            site("echo run >> $LOG; test -s $DIR/a.crt && test -s $DIR/b.key");
        let changes = vec![change("a", Some(held(1, 1))), change("b", Some(held(2, 1)))];
        let outcomes = make(&site, changes).await;
        assert_eq!(outcomes, [("a".to_owned(), true), ("b".to_owned(), true)]);
        assert_eq!(runs(&outside), 1);
        assert!(root.path().join("b.crt").exists());
        assert_eq!(site.directory.undo().unwrap(), None);
        assert_eq!(make(&site, Vec::new()).await, []);
        assert_eq!(runs(&outside), 1, "nothing has changed");
    }

    #[tokio::test]
    async fn what_a_server_cannot_take_keeps_nothing_else_back() {
        // It needs the certificate `needed`, and cannot take version 2 of `bad`.
        let bad = held(3, 2).version.to_string();
        let command = format!("test -e $DIR/needed.crt && ! grep -q {bad} $DIR/bad.crt");
        let (mut site, root, _outside) = site(&command);
        let reload = site.reload.take();
        let first = ["needed", "bad", "c", "d", "e"].into_iter().zip(2..);
        let first = first.map(|(name, number)| change(name, Some(held(number, 1))));
        make(&site, first.collect()).await;
        site.reload = reload;
        let changes = vec![
            change("c", Some(held(4, 2))),
            change("bad", Some(held(3, 2))),
            change("d", Some(held(5, 2))),
            change("needed", None),
            change("e", Some(held(6, 2))),
        ];
        let outcomes = make(&site, changes).await;
        let expected = [
            ("bad", false),
            ("c", true),
            ("d", true),
            ("e", true),
            ("needed", false),
        ];
        assert_eq!(
            outcomes,
            expected.map(|(name, is_done)| (name.to_owned(), is_done))
        );
        let there = site.directory.held().unwrap();
        assert_eq!(there["bad"].whole(), Some(held(3, 1)));
        assert_eq!(there["needed"].whole(), Some(held(2, 1)));
        assert_eq!(there["e"].whole(), Some(held(6, 2)));
        let text = fs::read_to_string(root.path().join("bad.crt")).unwrap();
        assert!(text.contains(&held(3, 1).version.to_string()), "{text}");
        let refused = held(3, 2);
        site.directory.sweep(std::iter::once(refused)).unwrap();
        assert!(
            site.directory.has(refused),
            "trying again fetches no key again"
        );
        site.directory.sweep(std::iter::empty()).unwrap();
        assert!(
            !site.directory.has(refused),
            "no key lies about for nothing"
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_anyway_is_not_run_for_each_half() {
        let (site, root, outside) = site("echo run >> $LOG; false");
        let changes: Vec<Change> = (1..=20)
            .map(|number| change(&format!("n{number}"), Some(held(number, 1))))
            .collect();
        let outcomes = make(&site, changes).await;
        assert_eq!(outcomes.len(), 20);
        assert!(outcomes.iter().all(|(_, is_done)| !is_done));
        assert_eq!(runs(&outside), 2);
        assert!(!root.path().join("n1.crt").exists());
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_and_the_rest_is_not() {
        let (site, root, _outside) = site("true");
        fs::write(root.path().join("b.crt"), "not from chancery").unwrap();
        let changes = vec![
            change("a", Some(held(1, 1))),
            change("b", Some(held(2, 1))),
            change("../c", Some(held(3, 1))),
        ];
        let outcomes = make(&site, changes).await;
        let expected = [("../c", false), ("a", true), ("b", false)];
        assert_eq!(
            outcomes,
            expected.map(|(name, is_done)| (name.to_owned(), is_done))
        );
    }

    #[tokio::test]
    async fn what_was_not_settled_is_settled_by_the_next_process() {
        let (site, _root, _outside) = site("! grep -q ad02 $DIR/a.crt");
        make(&site, vec![change("a", Some(held(1, 1)))]).await;
        for (version, stays) in [(3, true), (2, false)] {
            // Killed after the files were changed, and before the command was run.
            let before = site.directory.former("a");
            store(&site, held(1, version));
            let kept = [before.clone(), site.directory.former("b")];
            site.directory.keep_undo(&kept).unwrap();
            site.directory.place("a", held(1, version)).unwrap();
            let failed = site.recover().await.unwrap();
            assert_eq!(failed.is_none(), stays);
            let expected = if stays {
                Some(held(1, version))
            } else {
                before.held
            };
            assert_eq!(site.directory.held().unwrap()["a"].whole(), expected);
            assert_eq!(site.directory.undo().unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_foreign_file_in_place_of_a_delivered_one_keeps_nothing_else_back() {
        let (site, root, _outside) = site("true");
        make(
            &site,
            vec![change("a", Some(held(1, 1))), change("b", Some(held(2, 1)))],
        )
        .await;
        let foreign = root.path().join("a.crt");
        fs::remove_file(&foreign).unwrap();
        fs::write(&foreign, "an editor was here").unwrap();
        let changes = vec![change("a", Some(held(1, 2))), change("b", Some(held(2, 2)))];
        let outcomes = make(&site, changes).await;
        assert_eq!(outcomes, [("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!(site.directory.undo().unwrap(), None);
        assert_eq!(site.directory.former("a").held, Some(held(1, 1)));
        let outcomes = make(&site, vec![change("a", None)]).await;
        assert_eq!(outcomes, [("a".to_owned(), true)]);
        assert!(!root.path().join("a.key").exists());
        let text = fs::read_to_string(foreign).unwrap();
        assert_eq!(text, "an editor was here");
    }

    #[tokio::test]
    async fn what_cannot_be_put_back_keeps_nothing_else_back() {
        // The second version of a cannot be loaded, and takes away what the undoing needs.
        let bad = held(1, 2).version.to_string();
        let command = format!(
            "if test -e $DIR/a.crt && grep -q {bad} $DIR/a.crt; then \
             rm $DIR/.chancery/current/a && mkdir $DIR/.chancery/current/a; false; fi"
        );
        let (site, root, _outside) = site(&command);
        make(&site, vec![change("a", Some(held(1, 1)))]).await;
        let changes = vec![change("a", Some(held(1, 2))), change("b", Some(held(2, 1)))];
        let outcomes = make(&site, changes).await;
        assert_eq!(outcomes, [("a".to_owned(), false), ("b".to_owned(), true)]);
        assert_eq!(site.directory.held().unwrap()["a"].whole(), None);
        fs::remove_dir(root.path().join(".chancery/current/a")).unwrap();
        site.recover().await.unwrap();
        let outcomes = make(&site, vec![change("a", Some(held(1, 3)))]).await;
        assert_eq!(outcomes, [("a".to_owned(), true)]);
    }

    #[tokio::test]
    async fn a_change_of_form_that_fails_is_undone_and_stays_refused() {
        let (first, root, _outside) = site("true");
        make(&first, vec![change("a", Some(held(1, 1)))]).await;
        drop(first);
        let site = Site {
            directory: Directory::open(root.path(), Form::Combined).unwrap(),
            reload: Some(Reload {
                command: format!("test -e {}/a.crt", root.path().display()),
                patience: Duration::from_secs(20),
            }),
        };
        let outcomes = make(&site, vec![change("a", Some(held(1, 1)))]).await;
        assert_eq!(outcomes, [("a".to_owned(), false)]);
        assert!(root.path().join("a.crt").exists() && root.path().join("a.key").exists());
        assert!(!root.path().join("a.pem").exists());
        assert_eq!(site.directory.held().unwrap()["a"].whole(), None);
    }

    #[tokio::test]
    async fn nothing_is_begun_that_would_keep_the_process_from_ending() {
        let (site, _root, outside) = site("echo run >> $LOG");
        store(&site, held(1, 1));
        let outcomes = site
            .make(vec![change("a", Some(held(1, 1)))], || true)
            .await;
        assert_eq!(outcomes.unwrap(), []);
        assert_eq!(runs(&outside), 0);
    }
}
