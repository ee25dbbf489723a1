//! What the data directory holds besides the database: the master key, the first token, the root
//! certificate, and the address of the running server for client commands.
//!
//! Secret files are made with mode 0600 and never overwritten. Several processes may start on one
//! directory at the same time, and each may die at any step: the master key is whoever's came
//! first, and a token counts only once it is stored; until then it waits in a file of its own.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lifecycle::Surroundings;
use store::MasterKey;
use zeroize::Zeroizing;

/// How the file of a token ends that is not in force yet.
const PENDING: &str = ".new";

/// Files of a data directory.
#[derive(Debug, Clone)]
pub(crate) struct DataDirectory(PathBuf);

impl DataDirectory {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the directory if it is not there, readable by its owner only.
    pub(crate) fn make(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("cannot make the data directory {}", self.0.display()))
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.0.join("admin.token")
    }

    pub(crate) fn root_file(&self) -> PathBuf {
        self.0.join("root.pem")
    }

    pub(crate) fn address_file(&self) -> PathBuf {
        self.0.join("server.url")
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("master.key")
    }

    /// The master key: from the environment, from the operator's command, or from its file, which
    /// is made at first start. `database` is the file of the embedded database, if that is used: a
    /// new key would not open what is in it.
    pub(crate) async fn master_key(
        &self,
        command: Option<&str>,
        database: Option<&Path>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<MasterKey> {
        if let Ok(digits) = std::env::var("CHANCERY_MASTER_KEY").map(Zeroizing::new) {
            return MasterKey::from_hex(digits.trim())
                .context("CHANCERY_MASTER_KEY is not 64 hex digits");
        }
        if let Some(command) = command {
            return key_from_command(command).await;
        }
        // The key is always made before the database, so this has to be asked before the key.
        let has_database = database.is_some_and(Path::exists);
        let path = self.key_file();
        if let Some(key) = read_key(&path)? {
            return Ok(key);
        }
        if has_database {
            bail!(
                "there is a database but no master key in {}; restore {}, or give the key with \
                 CHANCERY_MASTER_KEY or --master-key-command",
                self.0.display(),
                path.display()
            );
        }
        let octets = Zeroizing::new(surroundings.random::<32>());
        let mut line = Zeroizing::new(String::with_capacity(65));
        for octet in octets.iter() {
            line.push_str(&format!("{octet:02x}"));
        }
        line.push('\n');
        make_secret_once(&path, &line)?;
        // Another process may have been first: its key is the one.
        read_key(&path)?.with_context(|| format!("{} has disappeared", path.display()))
    }

    /// Writes a token that is not stored yet to a file of this process alone.
    pub(crate) fn keep_pending_token(&self, token: &str) -> std::io::Result<()> {
        let line = Zeroizing::new(format!("{token}\n"));
        replace_file(&self.pending_token_file(), &line, 0o600).map_err(std::io::Error::other)
    }

    /// Makes a token that was pending and is in force now the first token, unless there is one.
    pub(crate) fn settle_token(&self, pending: &Path) -> anyhow::Result<()> {
        use std::io::ErrorKind;
        let file = self.token_file();
        match std::fs::hard_link(pending, &file) {
            Ok(()) => self.drop_pending_token(pending),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.drop_pending_token(pending)
            }
            // Another process that starts has settled it.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
        }
    }

    /// Removes a token that never came into force.
    pub(crate) fn drop_pending_token(&self, pending: &Path) -> anyhow::Result<()> {
        match std::fs::remove_file(pending) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", pending.display()))
            }
            _ => Ok(()),
        }
    }

    /// Tokens that were pending when their process died, with their files.
    pub(crate) fn pending_tokens(&self) -> anyhow::Result<Vec<(PathBuf, Zeroizing<String>)>> {
        let listed = std::fs::read_dir(&self.0)
            .with_context(|| format!("cannot read {}", self.0.display()))?;
        let mut pending = Vec::new();
        for entry in listed {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with("admin.token.") || !name.ends_with(PENDING) {
                continue;
            }
            // Its own process may be just about to settle it.
            if let Ok(text) = std::fs::read_to_string(&path) {
                let token = Zeroizing::new(text.trim_end().to_owned());
                pending.push((path, token));
            }
        }
        Ok(pending)
    }

    fn pending_token_file(&self) -> PathBuf {
        let process = std::process::id();
        self.0.join(format!("admin.token.{process}{PENDING}"))
    }

    /// Writes the root of the default authority, if it is not there.
    pub(crate) fn keep_root(&self, pem: &str) -> anyhow::Result<()> {
        let path = self.root_file();
        if path.exists() {
            return Ok(());
        }
        replace_file(&path, pem, 0o644)
    }

    /// Writes where the server of this directory listens now.
    pub(crate) fn keep_address(&self, url: &str) -> anyhow::Result<()> {
        replace_file(&self.address_file(), &format!("{url}\n"), 0o644)
    }
}

async fn key_from_command(command: &str) -> anyhow::Result<MasterKey> {
    let output = tokio::process::Command::new("sh")
        .args(["-c", command])
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .context("cannot run master_key_command")?;
    if !output.status.success() {
        bail!("master_key_command failed ({})", output.status);
    }
    let printed = Zeroizing::new(output.stdout);
    let digits = std::str::from_utf8(&printed).unwrap_or_default();
    MasterKey::from_hex(digits.trim()).context("master_key_command did not print 64 hex digits")
}

fn read_key(path: &Path) -> anyhow::Result<Option<MasterKey>> {
    match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(digits) => {
            let key = MasterKey::from_hex(digits.trim())
                .with_context(|| format!("{} does not hold 64 hex digits", path.display()))?;
            Ok(Some(key))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Makes a file with a secret in it, unless there is one of its name.
fn make_secret_once(path: &Path, text: &str) -> anyhow::Result<()> {
    let make = || -> std::io::Result<()> {
        let temporary = write_beside(path, text, 0o600)?;
        let linked = std::fs::hard_link(&temporary, path);
        std::fs::remove_file(&temporary)?;
        match linked {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            _ => sync_directory(path),
        }
    };
    make().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a file whole or not at all, durable before this returns.
fn replace_file(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let replace = || -> std::io::Result<()> {
        let temporary = write_beside(path, text, mode)?;
        std::fs::rename(&temporary, path)?;
        sync_directory(path)
    };
    replace().with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a durable file of this process alone in the directory of `path`.
fn write_beside(path: &Path, text: &str, mode: u32) -> std::io::Result<PathBuf> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(directory) => std::fs::File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
