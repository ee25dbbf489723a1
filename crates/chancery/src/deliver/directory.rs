//! The directory that certificates are delivered to.
//!
//! ```text
//! DIR/a.crt, DIR/a.key      links to .chancery/current/a/crt and …/key
//! DIR/.chancery/current/a   link to ../versions/<certificate>.<version>
//! DIR/.chancery/versions/…  a directory for each version: crt, key and pem, never changed
//! DIR/.chancery/undo        what to go back to, while a change is not settled
//! DIR/.chancery/lock        held by the one process that delivers here
//! ```
//!
//! Two files cannot be renamed at once, but both paths of a certificate lead through one link, and
//! that is replaced by one rename. So at every moment, also after a crash, certificate and key at
//! these paths belong together, and each is there as a whole. What is in the directory besides is
//! never touched.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lifecycle::{CertificateId, VersionId};
use zeroize::Zeroizing;

/// Where everything is but the links that servers are configured with.
const INSIDE: &str = ".chancery";
/// The files of a version.
const FILES: [&str; 3] = ["crt", "key", "pem"];
/// Longest name of a certificate, in octets, so that an ending fits behind it.
const LONGEST_NAME: usize = 200;

/// One version of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) certificate: CertificateId,
    pub(crate) version: VersionId,
}

/// What names led to before they were changed; `None` for nothing.
pub(crate) type Before = Vec<(String, Option<Held>)>;

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
    _lock: File,
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
        let made = || -> io::Result<()> {
            for directory in ["current", "versions"] {
                let mut builder = DirBuilder::new();
                builder.recursive(true).mode(0o700);
                builder.create(inside.join(directory))?;
            }
            Ok(())
        };
        made().with_context(|| format!("cannot write into {}", root.display()))?;
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
            _lock: lock,
        })
    }

    /// What is in place as a whole, by name; `None` for a name of which only parts are there.
    pub(crate) fn held(&self) -> io::Result<BTreeMap<String, Option<Held>>> {
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(self.inside.join("current"))? {
            let name = entry?.file_name();
            let Some(name) = name.to_str().filter(|name| !name.starts_with('.')) else {
                continue;
            };
            let current = self.current(name).filter(|current| self.has(*current));
            let whole = current.filter(|_| self.is_linked(name));
            held.insert(name.to_owned(), whole);
        }
        Ok(held)
    }

    /// Whether the files of a version are stored, be they in place or not.
    pub(crate) fn has(&self, held: Held) -> bool {
        let stored = self.version(held);
        FILES.iter().all(|file| stored.join(file).is_file())
    }

    /// Stores the files of a version beside those in place.
    pub(crate) fn store(&self, material: &Material) -> io::Result<()> {
        let stored = self.version(material.held);
        let unfinished = self.inside.join("versions/.unfinished");
        remove_all(&unfinished)?;
        DirBuilder::new().mode(0o700).create(&unfinished)?;
        let chain = material.chain.as_bytes();
        let key = material.key.as_bytes();
        write(&unfinished.join("crt"), &[chain])?;
        write(&unfinished.join("key"), &[key])?;
        write(&unfinished.join("pem"), &[chain, key])?;
        sync(&unfinished)?;
        // What a crash left there is not whole.
        remove_all(&stored)?;
        fs::rename(&unfinished, &stored)?;
        sync(&self.inside.join("versions"))
    }

    /// Has the paths of a name lead to a version that is stored.
    pub(crate) fn place(&self, name: &str, held: Held) -> io::Result<()> {
        check_name(name)?;
        for ending in self.form.endings() {
            self.require_own(name, ending)?;
        }
        let current = self.inside.join("current");
        let to = format!("../versions/{}", held.file_name());
        link(&current.join(".new"), &to, &current.join(name))?;
        sync(&current)?;
        for ending in self.form.endings() {
            if !self.is_own(name, ending) {
                let (path, to) = (self.path(name, ending), destination(name, ending));
                link(&self.inside.join("new"), &to, &path)?;
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

    /// What a name leads to now, whether all of it is there or not.
    pub(crate) fn current(&self, name: &str) -> Option<Held> {
        let to = fs::read_link(self.inside.join("current").join(name)).ok()?;
        Held::parse(to.to_str()?.strip_prefix("../versions/")?)
    }

    /// Puts a name back to what it led to before.
    pub(crate) fn restore(&self, name: &str, before: Option<Held>) -> io::Result<()> {
        match before {
            Some(before) => self.place(name, before),
            None => self.take_away(name),
        }
    }

    /// Writes down what names lead to before they are changed.
    pub(crate) fn keep_undo(&self, before: &[(String, Option<Held>)]) -> io::Result<()> {
        let lines = before.iter().map(|(name, before)| {
            let before = before.map(Held::file_name);
            format!("{}\t{name}\n", before.as_deref().unwrap_or("-"))
        });
        let text: String = lines.collect();
        let unfinished = self.inside.join("undo.unfinished");
        forgive_missing(fs::remove_file(&unfinished))?;
        write(&unfinished, &[text.as_bytes()])?;
        fs::rename(&unfinished, self.inside.join("undo"))?;
        sync(&self.inside)
    }

    /// What a process that did not come to its end has left to be settled.
    pub(crate) fn undo(&self) -> io::Result<Option<Before>> {
        let text = match fs::read_to_string(self.inside.join("undo")) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let before = text.lines().filter_map(|line| {
            let (before, name) = line.split_once('\t')?;
            check_name(name).ok()?;
            Some((name.to_owned(), Held::parse(before)))
        });
        Ok(Some(before.collect()))
    }

    /// What was changed stays.
    pub(crate) fn drop_undo(&self) -> io::Result<()> {
        forgive_missing(fs::remove_file(self.inside.join("undo")))?;
        sync(&self.inside)
    }

    /// Erases the files of versions that nothing leads to.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let mut wanted = Vec::new();
        for entry in fs::read_dir(self.inside.join("current"))? {
            let name = entry?.file_name();
            let current = name.to_str().and_then(|name| self.current(name));
            wanted.extend(current.map(Held::file_name));
        }
        for entry in fs::read_dir(self.inside.join("versions"))? {
            let entry = entry?;
            let name = entry.file_name();
            if !wanted.iter().any(|wanted| *wanted.as_str() == *name) {
                remove_all(&entry.path())?;
            }
        }
        Ok(())
    }

    fn version(&self, held: Held) -> PathBuf {
        self.inside.join("versions").join(held.file_name())
    }

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

/// Whether files can be named after a certificate: the name comes from elsewhere and becomes part of
/// paths, and of configurations that somebody may generate.
pub(crate) fn check_name(name: &str) -> io::Result<()> {
    let is_fit = |character: char| {
        character.is_alphanumeric() || matches!(character, '.' | '-' | '_' | '+' | '@' | ' ')
    };
    let begins_well = name.starts_with(|first: char| first.is_alphanumeric() || first == '_');
    if name.len() <= LONGEST_NAME && begins_well && name.chars().all(is_fit) && !name.ends_with(' ')
    {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "no files can be named after this certificate: names have letters, digits, '.', '-', '_', \
         '+', '@' and blanks, begin with a letter or digit, and have at most 200 octets",
    ))
}

fn destination(name: &str, ending: &str) -> String {
    format!("{INSIDE}/current/{name}/{ending}")
}

/// Makes a link, in place of what is at `path`.
fn link(new: &Path, to: &str, path: &Path) -> io::Result<()> {
    forgive_missing(fs::remove_file(new))?;
    symlink(to, new)?;
    fs::rename(new, path)
}

fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

/// Has the names in a directory survive a power failure.
fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn remove_all(directory: &Path) -> io::Result<()> {
    forgive_missing(fs::remove_dir_all(directory))
}

fn forgive_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt as _;

    use tempfile::TempDir;

    use super::*;

    fn held(certificate: u8, version: u8) -> Held {
        Held {
            certificate: CertificateId::from_random([certificate; 16]),
            version: format!("0190163d-8694-739b-aea5-966c26f8ad{version:02x}")
                .parse()
                .unwrap(),
        }
    }

    fn material(held: Held) -> Material {
        Material {
            held,
            chain: format!("chain of {}\n", held.file_name()),
            key: format!("key of {}\n", held.file_name()).into(),
        }
    }

    fn open(form: Form) -> (Directory, TempDir) {
        let root = tempfile::tempdir().unwrap();
        (Directory::open(root.path(), form).unwrap(), root)
    }

    fn put(directory: &Directory, name: &str, held: Held) {
        directory.store(&material(held)).unwrap();
        directory.place(name, held).unwrap();
    }

    fn read(root: &TempDir, file: &str) -> Option<String> {
        fs::read_to_string(root.path().join(file)).ok()
    }

    fn visible(root: &TempDir) -> Vec<String> {
        let names = fs::read_dir(root.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != INSIDE)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn certificate_and_key_of_a_name_change_together_and_nobody_else_reads_them() {
        let (directory, root) = open(Form::Pair);
        for version in [1, 2] {
            let held = held(1, version);
            put(&directory, "a", held);
            let id = held.file_name();
            assert_eq!(read(&root, "a.crt"), Some(format!("chain of {id}\n")));
            assert_eq!(read(&root, "a.key"), Some(format!("key of {id}\n")));
            assert_eq!(directory.held().unwrap()["a"], Some(held));
            for file in ["a.crt", "a.key"] {
                let mode = fs::metadata(root.path().join(file)).unwrap().permissions();
                assert_eq!(mode.mode() & 0o777, 0o600);
            }
        }
        let inside = fs::metadata(root.path().join(INSIDE)).unwrap();
        assert_eq!(inside.permissions().mode() & 0o777, 0o700);
        assert_eq!(visible(&root), ["a.crt", "a.key"]);
        directory.sweep().unwrap();
        assert!(!directory.has(held(1, 1)) && directory.has(held(1, 2)));
    }

    #[test]
    fn the_combined_form_is_one_file_and_replaces_the_other_form() {
        let (directory, root) = open(Form::Pair);
        put(&directory, "a", held(1, 1));
        drop(directory);
        let directory = Directory::open(root.path(), Form::Combined).unwrap();
        assert_eq!(
            directory.held().unwrap()["a"],
            None,
            "its files are missing"
        );
        directory.place("a", held(1, 1)).unwrap();
        assert_eq!(visible(&root), ["a.pem"]);
        let id = held(1, 1).file_name();
        let expected = format!("chain of {id}\nkey of {id}\n");
        assert_eq!(read(&root, "a.pem"), Some(expected));
    }

    #[test]
    fn what_is_taken_away_leaves_nothing_and_can_come_back() {
        let (directory, root) = open(Form::Pair);
        put(&directory, "a", held(1, 1));
        put(&directory, "b", held(2, 1));
        directory.take_away("a").unwrap();
        assert_eq!(visible(&root), ["b.crt", "b.key"]);
        directory.restore("a", Some(held(1, 1))).unwrap();
        assert_eq!(directory.held().unwrap()["a"], Some(held(1, 1)));
        directory.restore("a", None).unwrap();
        directory.sweep().unwrap();
        assert!(!directory.has(held(1, 1)));
        assert_eq!(directory.held().unwrap().len(), 1);
        directory.take_away("never there").unwrap();
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let (directory, root) = open(Form::Pair);
        fs::write(root.path().join("a.key"), "precious").unwrap();
        directory.store(&material(held(1, 1))).unwrap();
        let refused = directory.place("a", held(1, 1)).unwrap_err();
        assert!(refused.to_string().contains("a.key is there"), "{refused}");
        assert!(directory.held().unwrap().is_empty());
        directory.take_away("a").unwrap();
        assert_eq!(read(&root, "a.key").unwrap(), "precious");
        symlink("/etc/passwd", root.path().join("b.crt")).unwrap();
        directory.place("b", held(1, 1)).unwrap_err();
    }

    #[test]
    fn what_a_crash_left_is_seen_and_mended() {
        let (directory, root) = open(Form::Pair);
        put(&directory, "a", held(1, 1));
        // The second link was never made.
        fs::remove_file(root.path().join("a.crt")).unwrap();
        assert_eq!(directory.held().unwrap()["a"], None);
        directory.place("a", held(1, 1)).unwrap();
        assert_eq!(directory.held().unwrap()["a"], Some(held(1, 1)));
        // A version was half written.
        let half = directory.inside.join("versions/.unfinished");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("crt"), "x").unwrap();
        put(&directory, "a", held(1, 2));
        assert_eq!(directory.held().unwrap()["a"], Some(held(1, 2)));

        assert_eq!(directory.undo().unwrap(), None);
        let before = vec![("a".to_owned(), Some(held(1, 1))), ("b c".to_owned(), None)];
        directory.keep_undo(&before).unwrap();
        assert_eq!(directory.undo().unwrap(), Some(before));
        directory.drop_undo().unwrap();
        assert_eq!(directory.undo().unwrap(), None);
    }

    #[test]
    fn one_process_delivers_to_a_directory() {
        let (directory, root) = open(Form::Pair);
        let second = Directory::open(root.path(), Form::Pair).unwrap_err();
        assert!(second.to_string().contains("another"), "{second}");
        drop(directory);
        Directory::open(root.path(), Form::Pair).unwrap();
    }

    #[test]
    fn names_that_lead_elsewhere_or_mean_something_are_refused() {
        let (directory, root) = open(Form::Pair);
        directory.store(&material(held(1, 1))).unwrap();
        let long = "x".repeat(201);
        for name in [
            "",
            ".",
            "..",
            "../a",
            "a/b",
            "/etc/a",
            ".hidden",
            "-rf",
            "a\nb",
            "a\0b",
            "a\tb",
            "$(id)",
            "a;b",
            "a*",
            "a ",
            " a",
            "a'b",
            "a\"b",
            "a\\b",
            "\u{202e}a",
            &long,
        ] {
            let refused = directory.place(name, held(1, 1));
            assert!(refused.is_err(), "{name:?}");
        }
        assert_eq!(visible(&root), [""; 0]);
        for name in ["a", "www.example.com-x1y2z", "Läden 7", "_acme", "a+b@c"] {
            directory.place(name, held(1, 1)).unwrap();
        }
    }
}
