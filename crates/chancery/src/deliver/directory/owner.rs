//! What the directory is known by, and whether what is inside is ours alone.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use lifecycle::TargetDirectoryId;

use super::Directory;
use super::files::{forgive_missing, write};

/// The directories inside.
const INSIDES: [&str; 2] = ["current", "versions"];

impl Directory {
    /// What the server knows the directory by: drawn the first time, and the same for ever.
    pub(crate) fn identity(&self) -> anyhow::Result<TargetDirectoryId> {
        let file = self.inside.join("target");
        let text = self.read("target");
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        let Some(text) = text else {
            let fresh = TargetDirectoryId::random();
            self.replace("target", &format!("{fresh}\n"))
                .with_context(|| format!("cannot write {}", file.display()))?;
            return Ok(fresh);
        };
        let Ok(identity) = text.trim().parse() else {
            bail!(
                "{} does not say what this directory is known by; remove it, and what the server \
                 knew of it with: chancery target rm",
                file.display()
            );
        };
        Ok(identity)
    }

    /// Makes sure that what leads to the files of versions is ours alone: what is not wanted there is
    /// erased.
    pub(super) fn require_own_inside(&self) -> io::Result<()> {
        require_own(&self.inside, self.owner)?;
        INSIDES
            .iter()
            .try_for_each(|directory| require_own(&self.inside.join(directory), self.owner))
    }
}

/// Makes what is missing inside, and tells who we are. Nobody else has prepared it for us.
pub(super) fn make_inside(inside: &Path) -> io::Result<u32> {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder.recursive(true).create(inside)?;
    if !inside.symlink_metadata()?.is_dir() {
        return Err(not_own(inside));
    }
    // Who makes a file owns it.
    let probe = inside.join("probe.unfinished");
    forgive_missing(fs::remove_file(&probe))?;
    write(&probe, &[])?;
    let owner = probe.symlink_metadata()?.uid();
    fs::remove_file(&probe)?;
    require_own(inside, owner)?;
    for directory in INSIDES.map(|directory| inside.join(directory)) {
        builder.create(&directory)?;
        require_own(&directory, owner)?;
    }
    Ok(owner)
}

fn require_own(directory: &Path, owner: u32) -> io::Result<()> {
    let found = directory.symlink_metadata()?;
    if found.is_dir() && found.uid() == owner && found.mode() & 0o777 == 0o700 {
        return Ok(());
    }
    Err(not_own(directory))
}

fn not_own(directory: &Path) -> io::Error {
    io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{} is to be a directory of this user's alone (mode 0700), since what is not wanted there \
             is erased",
            directory.display()
        ),
    )
}
