//! The directory that certificates are delivered to.
//!
//! ```text
//! DIR/a.crt, DIR/a.key      links to .chancery/current/a/crt and …/key
//! DIR/.chancery/current/a   link to ../versions/<certificate>.<version>
//! DIR/.chancery/versions/…  a directory for each version: crt, key and pem, never changed
//! DIR/.chancery/undo        what to go back to, while a change is not settled
//! DIR/.chancery/target      what the server knows the directory by
//! DIR/.chancery/lock        held by the one process that delivers here
//! ```
//!
//! Two files cannot be renamed at once, but both paths of a certificate lead through one link, and
//! that is replaced by one rename. So at every moment, also after a crash, certificate and key at
//! these paths belong together, and each is there as a whole. What is in the directory besides is
//! never touched.

mod files;
mod names;
mod owner;
#[cfg(test)]
mod tests;
mod undo;
mod versions;

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lifecycle::{CertificateId, VersionId};
use zeroize::Zeroizing;

use files::{forgive_missing, link, sync};
pub(crate) use names::check_name;
pub(crate) use undo::Former;

/// Where everything is but the links that servers are configured with.
const INSIDE: &str = ".chancery";
/// The files of a version.
const FILES: [&str; 3] = ["crt", "key", "pem"];

/// One version of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held {
    pub(crate) certificate: CertificateId,
    pub(crate) version: VersionId,
}

/// What is there under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it leads to, whether all of it is there or not.
    pub(crate) held: Option<Held>,
    /// Whether all of it is there, and no change of it is unsettled.
    pub(crate) is_whole: bool,
}

/// Which files servers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One with everything.
    Combined,
    /// Certificate and key apart.
    Pair,
}

/// A chain with its key, PEM.
pub(crate) struct Material {
    pub(crate) held: Held,
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
}

/// The directory, locked.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    inside: PathBuf,
    form: Form,
    /// Who we are.
    owner: u32,
    _lock: File,
}

impl Found {
    /// What is there as a whole.
    pub(crate) fn whole(self) -> Option<Held> {
        self.held.filter(|_| self.is_whole)
    }
}
impl Held {
    /// The name of its directory.
    fn file_name(self) -> String {
        format!("{}.{}", self.certificate, self.version)
    }

    fn parse(text: &str) -> Option<Self> {
        let (certificate, version) = text.split_once('.')?;
        Some(Self {
            certificate: certificate.parse().ok()?,
            version: version.parse().ok()?,
        })
    }
}

impl Form {
    /// The endings of the files in the order in which they appear, the certificate last.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Self::Combined => &["pem"],
            Self::Pair => &["key", "crt"],
        }
    }
}

impl Directory {
    /// Makes what is missing and takes the lock.
    pub(crate) fn open(root: &Path, form: Form) -> anyhow::Result<Self> {
        let inside = root.join(INSIDE);
        let owner = owner::make_inside(&inside)
            .with_context(|| format!("cannot write into {}", root.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(inside.join("lock"))
            .with_context(|| format!("cannot write into {}", root.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                bail!("another chancery deliver is at work in {}", root.display())
            }
            Err(fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", root.display()));
            }
        }
        Ok(Self {
            root: root.to_owned(),
            inside,
            form,
            owner,
            _lock: lock,
        })
    }

    /// What is there, by name.
    pub(crate) fn held(&self) -> io::Result<BTreeMap<String, Found>> {
        let unsettled = self.undo()?.unwrap_or_default();
        let unsettled: HashSet<String> = unsettled.into_iter().map(|former| former.name).collect();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(self.inside.join("current"))? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let held = self.current(name);
            let is_there = held.is_some_and(|held| self.has(held)) && self.is_linked(name);
            let is_whole = is_there && !unsettled.contains(name);
            found.insert(name.to_owned(), Found { held, is_whole });
        }
        Ok(found)
    }

    /// Has the paths of a name lead to a version that is stored.
    pub(crate) fn place(&self, name: &str, held: Held) -> io::Result<()> {
        check_name(name)?;
        for ending in self.form.endings() {
            self.require_own(name, ending)?;
        }
        self.lead(name, held)?;
        for ending in self.form.endings() {
            if !self.is_own(name, ending) {
                self.link(name, ending)?;
            }
        }
        self.unlink(name, self.form.endings())?;
        sync(&self.root)
    }

    /// Takes the paths of a name away.
    pub(crate) fn take_away(&self, name: &str) -> io::Result<()> {
        self.unlink(name, &[])?;
        sync(&self.root)?;
        let current = self.inside.join("current");
        forgive_missing(fs::remove_file(current.join(name)))?;
        sync(&current)
    }

    /// Puts a name back to what was there before: as much of it as can be, whatever fails. What
    /// others have put in the way meanwhile stays.
    pub(crate) fn restore(&self, former: &Former) -> io::Result<()> {
        let name = former.name.as_str();
        let Some(held) = former.held else {
            return self.take_away(name);
        };
        let mut done = self.lead(name, held);
        for ending in &former.paths {
            if self.path(name, ending).symlink_metadata().is_err() {
                done = done.and(self.link(name, ending));
            }
        }
        let unlinked = self.unlink(name, &former.paths);
        done.and(unlinked).and(sync(&self.root))
    }

    /// What a name leads to now, whether all of it is there or not.
    fn current(&self, name: &str) -> Option<Held> {
        let to = fs::read_link(self.inside.join("current").join(name)).ok()?;
        Held::parse(to.to_str()?.strip_prefix("../versions/")?)
    }

    /// Has a name lead to a version.
    fn lead(&self, name: &str, held: Held) -> io::Result<()> {
        let current = self.inside.join("current");
        if self.current(name) == Some(held) {
            return Ok(());
        }
        let to = format!("../versions/{}", held.file_name());
        link(&current.join(".new"), &to, &current.join(name))?;
        sync(&current)
    }

    /// Makes one path of a name.
    fn link(&self, name: &str, ending: &str) -> io::Result<()> {
        let (path, to) = (self.path(name, ending), destination(name, ending));
        link(&self.inside.join("new"), &to, &path)
    }

    /// Writes a file of ours anew, so that it is there as a whole or as it was.
    fn path(&self, name: &str, ending: &str) -> PathBuf {
        self.root.join(format!("{name}.{ending}"))
    }

    /// Whether the paths of this form, and no others, are there.
    fn is_linked(&self, name: &str) -> bool {
        let endings = self.form.endings();
        FILES
            .iter()
            .all(|ending| self.is_own(name, ending) == endings.contains(ending))
    }

    /// Whether a path is a link of ours.
    fn is_own(&self, name: &str, ending: &str) -> bool {
        let to = fs::read_link(self.path(name, ending));
        to.is_ok_and(|to| to == Path::new(&destination(name, ending)))
    }

    /// Somebody else's files are not replaced.
    fn require_own(&self, name: &str, ending: &str) -> io::Result<()> {
        let path = self.path(name, ending);
        if self.is_own(name, ending) || path.symlink_metadata().is_err() {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} is there and is not from chancery", path.display()),
        ))
    }

    /// Removes the paths of a name but for these endings.
    fn unlink(&self, name: &str, but: &[&str]) -> io::Result<()> {
        // The certificate goes first: a server that reads a directory asks for the key of each.
        for ending in FILES {
            if !but.contains(&ending) && self.is_own(name, ending) {
                forgive_missing(fs::remove_file(self.path(name, ending)))?;
            }
        }
        Ok(())
    }
}

fn destination(name: &str, ending: &str) -> String {
    format!("{INSIDE}/current/{name}/{ending}")
}
