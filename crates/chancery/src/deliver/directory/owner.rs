//! Whose directory it is.

use std::io;
use std::path::PathBuf;

use super::Directory;

impl Directory {
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
}
