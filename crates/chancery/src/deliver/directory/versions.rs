//! The files of versions, each in a directory of its own that never changes.

use std::collections::HashSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use super::files::{remove_all, sync, write};
use super::{Directory, FILES, Held, Material};

/// The version that is being written.
const UNFINISHED: &str = ".unfinished";

impl Directory {
    /// Whether the files of a version are stored, be they in place or not.
    pub(crate) fn has(&self, held: Held) -> bool {
        let stored = self.version(held);
        FILES.iter().all(|file| stored.join(file).is_file())
    }

    /// Stores the files of a version beside those in place.
    pub(crate) fn store(&self, material: &Material) -> io::Result<()> {
        let stored = self.version(material.held);
        let unfinished = self.inside.join("versions").join(UNFINISHED);
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

    /// Erases the files of versions that nothing leads to or is to go back to, but for those that
    /// are `wanted`. What cannot be erased is returned, and keeps nothing else back.
    pub(crate) fn sweep(&self, wanted: impl Iterator<Item = Held>) -> Vec<String> {
        let unwanted = match self.unwanted(wanted) {
            Ok(unwanted) => unwanted,
            Err(error) => return vec![format!("cannot look for files to erase: {error}")],
        };
        let erased = unwanted.iter().map(|path| (path, remove_all(path)));
        erased
            .filter_map(|(path, erased)| {
                let error = erased.err()?;
                Some(format!("cannot erase {}: {error}", path.display()))
            })
            .collect()
    }

    fn unwanted(&self, wanted: impl Iterator<Item = Held>) -> io::Result<Vec<PathBuf>> {
        self.require_own_inside()?;
        let former = self.undo()?.unwrap_or_default();
        let former = former.iter().filter_map(|former| former.held);
        let mut kept: HashSet<Held> = wanted.chain(former).collect();
        for entry in fs::read_dir(self.inside.join("current"))? {
            let name = entry?.file_name();
            kept.extend(name.to_str().and_then(|name| self.current(name)));
        }
        let mut unwanted = Vec::new();
        for entry in fs::read_dir(self.inside.join("versions"))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            // What has any other name is not from us.
            let is_unwanted = match Held::parse(name) {
                Some(held) => !kept.contains(&held),
                None => name == UNFINISHED,
            };
            if is_unwanted {
                unwanted.push(entry.path());
            }
        }
        Ok(unwanted)
    }

    fn version(&self, held: Held) -> PathBuf {
        self.inside.join("versions").join(held.file_name())
    }
}
