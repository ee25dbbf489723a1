//! Writing so that it is there as a whole, also after a power failure.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;

use super::Directory;

impl Directory {
    /// Writes a file of ours anew, so that it is there as a whole or as it was.
    pub(super) fn replace(&self, file: &str, text: &str) -> io::Result<()> {
        let unfinished = self.inside.join(format!("{file}.unfinished"));
        forgive_missing(fs::remove_file(&unfinished))?;
        write(&unfinished, &[text.as_bytes()])?;
        fs::rename(&unfinished, self.inside.join(file))?;
        sync(&self.inside)
    }

    pub(super) fn read(&self, file: &str) -> io::Result<Option<String>> {
        match fs::read(self.inside.join(file)) {
            Ok(text) => Ok(Some(String::from_utf8_lossy(&text).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Makes a link, in place of what is at `path`.
pub(super) fn link(new: &Path, to: &str, path: &Path) -> io::Result<()> {
    forgive_missing(fs::remove_file(new))?;
    symlink(to, new)?;
    fs::rename(new, path)
}

pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
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
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(super) fn remove_all(directory: &Path) -> io::Result<()> {
    forgive_missing(fs::remove_dir_all(directory))
}

pub(super) fn forgive_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
