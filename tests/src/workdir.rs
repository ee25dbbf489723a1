//! A directory of its own for one test.

use std::path::Path;

use tempfile::TempDir;

/// A fresh directory, removed when dropped.
#[derive(Debug)]
pub struct Workdir(TempDir);

impl Workdir {
    /// Makes a new empty directory.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it touches the file system")]
    pub fn new() -> Self {
        Self(
            tempfile::Builder::new()
                .prefix("chancery-test-")
                .tempdir()
                .expect("a temporary directory can be made"),
        )
    }

    /// Writes a file, making the directories above it, and returns its path.
    #[track_caller]
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        if let Some(parent) = Path::new(&path).parent() {
            std::fs::create_dir_all(parent)
                .unwrap_or_else(|error| panic!("cannot make {}: {error}", parent.display()));
        }
        std::fs::write(&path, content)
            .unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
        path
    }

    /// Reads a file.
    #[must_use]
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        let path = self.path(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
    }

    /// The path of `name` inside the directory, as text that fits an argument list.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        let path = self.0.path().join(name);
        path.to_str()
            .expect("temporary directories have UTF-8 names")
            .to_owned()
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workdir_keeps_files_until_it_is_dropped() {
        let workdir = Workdir::new();
        let path = workdir.write("below/file", "text");
        assert_eq!(workdir.read("below/file"), b"text");
        drop(workdir);
        assert!(!Path::new(&path).exists());
    }
}
