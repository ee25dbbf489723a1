//! What all servers have in common: certificates, data directories, and the backend.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use pki::Signer;
use tempfile::TempDir;

use crate::arguments::{Edge, Options};
use crate::filling::Filling;
use crate::hello::Hello;
use crate::material::{self, Identity};
use crate::peers;
use crate::server::{Server, Side, WITHOUT_EDGE};
use crate::standing::free_port;

/// Where everything is kept while it is needed, or for longer.
pub(super) struct Ground {
    directory: PathBuf,
    _temporary: Option<TempDir>,
    /// The certificate that all servers have.
    pub(super) shared: Identity,
    signer: Arc<Signer>,
    /// Where the backend listens.
    pub(super) backend: SocketAddr,
}

impl Ground {
    /// Makes what is not there from an earlier run.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub(super) fn prepare(edge: &Edge) -> anyhow::Result<Self> {
        let (directory, temporary) = match &edge.keep {
            Some(directory) => {
                std::fs::create_dir_all(directory)
                    .with_context(|| format!("cannot make {}", directory.display()))?;
                (directory.canonicalize()?, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("chancery-bench-edge-")
                    .tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let certificates = directory.join("certificates");
        std::fs::create_dir_all(&certificates)?;
        let signer = Arc::new(material::authority()?);
        let file = peers::bundle(&certificates, &material::host(0));
        let shared = if file.is_file() {
            Identity::from_pem(0, &std::fs::read(&file)?)?
        } else {
            let shared = Identity::issue(0, &signer)?;
            std::fs::write(&file, shared.to_pem())?;
            shared
        };
        // Part of what is in a filled data directory.
        let file = directory.join("backend.port");
        let port = if file.is_file() {
            std::fs::read_to_string(&file)?.trim().parse()?
        } else {
            let port = free_port()?;
            std::fs::write(&file, port.to_string())?;
            port
        };
        Ok(Self {
            directory,
            _temporary: temporary,
            shared,
            signer,
            backend: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        })
    }

    /// Where [`peers::bundle`] finds certificates.
    pub(super) fn certificates(&self) -> PathBuf {
        self.directory.join("certificates")
    }

    /// The data directory with so many domains.
    pub(super) fn data(&self, domains: usize) -> PathBuf {
        self.directory.join(format!("chancery-{domains}"))
    }

    /// Fills the data directory with so many domains, unless it is.
    ///
    /// # Errors
    /// When Chancery cannot be started on it, or the store refuses something.
    pub(super) async fn fill(&self, options: &Options, domains: usize) -> anyhow::Result<()> {
        let data = self.data(domains);
        let done = data.join("bench.filled");
        if done.is_file() {
            return Ok(());
        }
        if data.exists() {
            // An earlier run did not come to its end.
            std::fs::remove_dir_all(&data)?;
        }
        // The first start makes the master key, the accounts and the authority.
        Server::start_on(Some(&data), options, &WITHOUT_EDGE)
            .await?
            .stop()
            .await?;
        let filling = Filling {
            domains,
            first: self.shared.clone(),
            signer: self.signer.clone(),
            backend: self.backend,
        };
        filling
            .run(&data)
            .await
            .with_context(|| format!("cannot fill {}", data.display()))?;
        std::fs::write(done, "")?;
        Ok(())
    }

    /// Makes certificates for so many names, and tells the names.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn crowd(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let certificates = self.certificates();
        let name = |number: usize| -> anyhow::Result<String> {
            let name = material::host(number);
            let file = peers::bundle(&certificates, &name);
            if !file.is_file() {
                let identity = Identity::issue(number, &self.signer)?;
                std::fs::write(file, identity.to_pem())?;
            }
            Ok(name)
        };
        (0..count).map(name).collect()
    }

    /// Starts the backend: beside the load generator, out of the way of the servers.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start_backend(
        &self,
        options: &Options,
        edge: &Edge,
    ) -> anyhow::Result<Hello> {
        Hello::start(Side::Client, options, edge.length, self.backend.port()).await
    }

    /// The file with the certificate that all servers have.
    pub(super) fn shared_bundle(&self) -> PathBuf {
        peers::bundle(Path::new(&self.certificates()), &self.shared.name)
    }
}
