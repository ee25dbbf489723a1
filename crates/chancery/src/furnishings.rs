//! What the data directory holds besides the database: the master key, the first token, the root
//! certificate, and the address of the running server for client commands.
//!
//! Secret files are made with mode 0600 and never overwritten by a later start, except for a token
//! that was written but not stored because the process died in between.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use lifecycle::Surroundings;
use store::MasterKey;
use zeroize::Zeroizing;

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
    /// is made at first start.
    pub(crate) async fn master_key(
        &self,
        command: Option<&str>,
        surroundings: &Surroundings,
    ) -> anyhow::Result<MasterKey> {
        if let Ok(digits) = std::env::var("CHANCERY_MASTER_KEY") {
            return MasterKey::from_hex(digits.trim())
                .context("CHANCERY_MASTER_KEY is not 64 hex digits");
        }
        if let Some(command) = command {
            return key_from_command(command).await;
        }
        let path = self.key_file();
        match std::fs::read_to_string(&path) {
            Ok(digits) => MasterKey::from_hex(digits.trim())
                .with_context(|| format!("{} does not hold 64 hex digits", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let octets = Zeroizing::new(surroundings.random::<32>());
                let digits = octets.iter().map(|octet| format!("{octet:02x}"));
                let digits = Zeroizing::new(digits.collect::<String>());
                write_secret(&path, &format!("{}\n", digits.as_str()))?;
                Ok(MasterKey::from_hex(&digits)?)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Writes the first token.
    pub(crate) fn keep_token(&self, token: &str) -> std::io::Result<()> {
        write_secret(&self.token_file(), &format!("{token}\n")).map_err(std::io::Error::other)
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
    let digits = std::str::from_utf8(&output.stdout).unwrap_or_default();
    MasterKey::from_hex(digits.trim()).context("master_key_command did not print 64 hex digits")
}

fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    replace_file(path, text, 0o600)
}

/// Writes a file whole or not at all, durable before this returns.
fn replace_file(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let write = || -> std::io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = PathBuf::from(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        if let Some(directory) = path.parent() {
            std::fs::File::open(directory)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
