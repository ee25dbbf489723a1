//! The directory that certificates are delivered to.
//!
//! ```text
//! DIR/a.crt, DIR/a.key      links to .chancery/current/a/crt and …/key
//! DIR/.chancery/current/a   link to ../versions/<certificate>.<version>
//! DIR/.chancery/versions/…  a directory for each version: crt, key and pem, never changed
//! DIR/.chancery/undo        what to go back to, while a change is not settled
//! DIR/.chancery/target      the target whose directory this is
//! DIR/.chancery/lock        held by the one process that delivers here
//! ```
//!
//! Two files cannot be renamed at once, but both paths of a certificate lead through one link, and
//! that is replaced by one rename. So at every moment, also after a crash, certificate and key at
//! these paths belong together, and each is there as a whole. What is in the directory besides is
//! never touched.

use std::collections::{BTreeMap, HashSet};
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

/// What is there under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it leads to, whether all of it is there or not.
    pub(crate) held: Option<Held>,
    /// Whether all of it is there, and no change of it is unsettled.
    pub(crate) is_whole: bool,
}

/// What was there under a name before it was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Former {
    pub(crate) name: String,
    /// What it led to; `None` for nothing.
    pub(crate) held: Option<Held>,
    /// The endings of its paths.
    pub(crate) paths: Vec<&'static str>,
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
    _lock: File,
}

impl Found {
    /// What is there as a whole.
    pub(crate) fn whole(self) -> Option<Held> {
        self.held.filter(|_| self.is_whole)
    }
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

    /// What is there under a name now.
    pub(crate) fn former(&self, name: &str) -> Former {
        let is_own = |ending: &&str| self.is_own(name, ending);
        Former {
            name: name.to_owned(),
            held: self.current(name),
            paths: FILES.into_iter().filter(is_own).collect(),
        }
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

    /// Whose directory this is; `None` while it is nobody's.
    pub(crate) fn target(&self) -> io::Result<Option<String>> {
        let text = self.read("target")?;
        Ok(text.map(|text| text.trim().to_owned()))
    }

    /// Gives the directory to a target.
    pub(crate) fn keep_target(&self, target: &str) -> io::Result<()> {
        self.replace("target", &format!("{target}\n"))
    }

    /// The file that tells whose directory this is.
    pub(crate) fn target_file(&self) -> PathBuf {
        self.inside.join("target")
    }

    /// What was changed stays.
    pub(crate) fn drop_undo(&self) -> io::Result<()> {
        forgive_missing(fs::remove_file(self.inside.join("undo")))?;
        sync(&self.inside)
    }

    /// Erases the files of versions that nothing leads to or is to go back to, but for those that
    /// are `wanted`.
    pub(crate) fn sweep(&self, wanted: impl Iterator<Item = Held>) -> io::Result<()> {
        let former = self.undo()?.unwrap_or_default();
        let former = former.iter().filter_map(|former| former.held);
        let mut kept: HashSet<String> = wanted.chain(former).map(Held::file_name).collect();
        for entry in fs::read_dir(self.inside.join("current"))? {
            let name = entry?.file_name();
            let current = name.to_str().and_then(|name| self.current(name));
            kept.extend(current.map(Held::file_name));
        }
        for entry in fs::read_dir(self.inside.join("versions"))? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| kept.contains(name)) {
                remove_all(&entry.path())?;
            }
        }
        Ok(())
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
    fn replace(&self, file: &str, text: &str) -> io::Result<()> {
        let unfinished = self.inside.join(format!("{file}.unfinished"));
        forgive_missing(fs::remove_file(&unfinished))?;
        write(&unfinished, &[text.as_bytes()])?;
        fs::rename(&unfinished, self.inside.join(file))?;
        sync(&self.inside)
    }

    fn read(&self, file: &str) -> io::Result<Option<String>> {
        match fs::read(self.inside.join(file)) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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

    fn nothing(name: &str) -> Former {
        Former {
            name: name.to_owned(),
            held: None,
            paths: Vec::new(),
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
            assert_eq!(directory.held().unwrap()["a"].whole(), Some(held));
            for file in ["a.crt", "a.key"] {
                let mode = fs::metadata(root.path().join(file)).unwrap().permissions();
                assert_eq!(mode.mode() & 0o777, 0o600);
            }
        }
        let inside = fs::metadata(root.path().join(INSIDE)).unwrap();
        assert_eq!(inside.permissions().mode() & 0o777, 0o700);
        assert_eq!(visible(&root), ["a.crt", "a.key"]);
        directory.sweep(std::iter::empty()).unwrap();
        assert!(!directory.has(held(1, 1)) && directory.has(held(1, 2)));
    }

    #[test]
    fn the_combined_form_is_one_file_and_replaces_the_other_form() {
        let (directory, root) = open(Form::Pair);
        put(&directory, "a", held(1, 1));
        drop(directory);
        let directory = Directory::open(root.path(), Form::Combined).unwrap();
        assert_eq!(
            directory.held().unwrap()["a"].whole(),
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
        let former = Former {
            name: "a".to_owned(),
            held: Some(held(1, 1)),
            paths: vec!["crt", "key"],
        };
        directory.restore(&former).unwrap();
        assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 1)));
        directory.restore(&nothing("a")).unwrap();
        directory.sweep(std::iter::empty()).unwrap();
        assert!(!directory.has(held(1, 1)));
        assert_eq!(directory.held().unwrap().len(), 1);
        directory.take_away("never there").unwrap();
    }

    #[test]
    fn what_is_put_back_has_the_paths_that_it_had_and_spares_those_of_others() {
        let (directory, root) = open(Form::Pair);
        put(&directory, "a", held(1, 1));
        drop(directory);
        let directory = Directory::open(root.path(), Form::Combined).unwrap();
        let former = directory.former("a");
        put(&directory, "a", held(1, 2));
        assert_eq!(visible(&root), ["a.pem"]);
        fs::write(root.path().join("a.crt"), "precious").unwrap();
        directory.keep_undo(std::slice::from_ref(&former)).unwrap();
        directory.sweep(std::iter::empty()).unwrap();
        directory.restore(&former).unwrap();
        assert_eq!(visible(&root), ["a.crt", "a.key"]);
        assert_eq!(read(&root, "a.crt").unwrap(), "precious");
        let key = format!("key of {}\n", held(1, 1).file_name());
        assert_eq!(read(&root, "a.key"), Some(key));
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
        assert_eq!(directory.held().unwrap()["a"].whole(), None);
        directory.place("a", held(1, 1)).unwrap();
        assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 1)));
        // A version was half written.
        let half = directory.inside.join("versions/.unfinished");
        fs::create_dir(&half).unwrap();
        fs::write(half.join("crt"), "x").unwrap();
        put(&directory, "a", held(1, 2));
        assert_eq!(directory.held().unwrap()["a"].whole(), Some(held(1, 2)));

        assert_eq!(directory.undo().unwrap(), None);
        let before = vec![directory.former("a"), nothing("b c")];
        assert_eq!(before[0].paths, ["crt", "key"]);
        directory.keep_undo(&before).unwrap();
        assert_eq!(directory.undo().unwrap(), Some(before));
        let unsettled = directory.held().unwrap()["a"];
        assert_eq!(
            (unsettled.held, unsettled.whole()),
            (Some(held(1, 2)), None)
        );
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
