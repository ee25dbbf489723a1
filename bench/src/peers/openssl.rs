//! `openssl ocsp` as a server: an index in a text file, a signature for each answer, a connection for
//! each question.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use pki::{CertId, HashAlgorithm, OcspRequest};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::arguments::Options;
use crate::load::Target;
use crate::material;
use crate::server::{Side, pinned_command};

/// How long its start may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running responder; it ends when dropped.
pub(crate) struct OpensslResponder {
    /// It has a process for each core; their CPU time is not added up.
    pub(crate) target: Target,
    /// A question that it answers with `good`, without a nonce.
    pub(crate) question: Vec<u8>,
    _child: Child,
    _stdout: BufReader<ChildStdout>,
    _directory: TempDir,
}

impl OpensslResponder {
    /// Starts one for a P-256 authority, at a free port.
    ///
    /// # Errors
    /// When there is no `openssl`, or it does not start.
    pub(crate) async fn start(options: &Options) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("chancery-bench-")
            .tempdir()?;
        let signer = material::authority()?;
        // Whoever signs: nobody verifies it here.
        let material::Identity { leaf, key, .. } = material::Identity::issue(0, &signer)?;
        let file = |name: &str, contents: &str| -> anyhow::Result<String> {
            let path = directory.path().join(name);
            std::fs::write(&path, contents)?;
            Ok(path.to_string_lossy().into_owned())
        };
        let authority = file("ca.pem", &signer.certificate().to_pem())?;
        let responder = file("responder.pem", &leaf.to_pem())?;
        let key = file("responder.key", &key.to_pkcs8_pem())?;
        let serial = leaf.serial().to_hex();
        let index = file(
            "index.txt",
            &format!("V\t491231235959Z\t\t{serial}\tunknown\t/CN=bench\n"),
        )?;
        let program = std::path::Path::new("openssl");
        let mut command = pinned_command(Side::Server, options, program);
        let processes = options.server_cores().to_string();
        command
            .args(["ocsp", "-port", "0", "-index", &index, "-CA", &authority])
            .args(["-rsigner", &responder, "-rkey", &key, "-ndays", "1"])
            .args(["-multi", &processes])
            .stderr(Stdio::null());
        let mut child = command.spawn().context("cannot start openssl")?;
        let stdout = child.stdout.take().context("its output is not piped")?;
        let mut lines = BufReader::new(stdout);
        let mut line = String::new();
        // `ACCEPT 0.0.0.0:PORT PID=…`
        let port = async {
            loop {
                line.clear();
                anyhow::ensure!(lines.read_line(&mut line).await? > 0, "openssl has ended");
                let address = line.strip_prefix("ACCEPT ");
                let address = address.and_then(|rest| rest.split_whitespace().next());
                let port = address.and_then(|address| address.rsplit(':').next());
                if let Some(port) = port {
                    return Ok(port.parse::<u16>()?);
                }
            }
        };
        let port = tokio::time::timeout(DEADLINE, port)
            .await
            .context("openssl was not ready in time")??;
        let question = OcspRequest {
            cert_ids: vec![CertId::new(
                HashAlgorithm::Sha1,
                signer.issuer_hashes(),
                leaf.serial(),
            )],
            nonce: None,
        };
        Ok(Self {
            target: Target {
                address: SocketAddr::from(([127, 0, 0, 1], port)),
                process: None,
                database: None,
            },
            question: question.to_der(),
            _child: child,
            _stdout: lines,
            _directory: directory,
        })
    }
}
