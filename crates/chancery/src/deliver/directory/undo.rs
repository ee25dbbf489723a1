//! What to go back to, while a change is not settled.

use std::fs;
use std::io;

use super::files::{forgive_missing, sync};
use super::{Directory, FILES, Held, check_name};

/// What was there under a name before it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) name: String,
    /// What it led to; `None` for nothing.
    pub(crate) held: Option<Held>,
    /// The endings of its paths.
    pub(crate) paths: Vec<&'static str>,
}

impl Former {
    /// A line of the file that tells what to go back to.
    fn line(&self) -> String {
        let held = self.held.map(Held::file_name);
        let held = held.as_deref().unwrap_or("-");
        format!("{held}\t{}\t{}\n", self.paths.join(","), self.name)
    }

    fn parse(line: &str) -> Option<Self> {
        let (held, rest) = line.split_once('\t')?;
        let (paths, name) = rest.split_once('\t')?;
        check_name(name).ok()?;
        let was_there = |ending: &&str| paths.split(',').any(|path| path == *ending);
        Some(Self {
            name: name.to_owned(),
            held: Held::parse(held),
            paths: FILES.into_iter().filter(was_there).collect(),
        })
    }
}

impl Directory {
    /// What is there under a name now.
    pub(crate) fn former(&self, name: &str) -> Former {
        let is_own = |ending: &&str| self.is_own(name, ending);
        Former {
            name: name.to_owned(),
            held: self.current(name),
            paths: FILES.into_iter().filter(is_own).collect(),
        }
    }

    /// Writes down what was there before it is changed.
    pub(crate) fn keep_undo(&self, before: &[Former]) -> io::Result<()> {
        let text: String = before.iter().map(Former::line).collect();
        self.replace("undo", &text)
    }

    /// What a process that did not come to its end has left to be settled, and what could not be put
    /// back.
    pub(crate) fn undo(&self) -> io::Result<Option<Vec<Former>>> {
        let text = self.read("undo")?;
        Ok(text.map(|text| text.lines().filter_map(Former::parse).collect()))
    }

    /// What was changed stays.
    pub(crate) fn drop_undo(&self) -> io::Result<()> {
        forgive_missing(fs::remove_file(self.inside.join("undo")))?;
        sync(&self.inside)
    }
}
