//! The least that an HTTP server can do: hyper, one route, one body. Runs as a process of its own,
//! so that its CPU time is measured as Chancery's is.

use std::net::SocketAddr;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Child;

use crate::arguments::Options;
use crate::process::Process;
use crate::server::{self, Side};

/// A running bare server; it ends when dropped.
pub(crate) struct Hello {
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
    _child: Child,
}

impl Hello {
    /// Starts one that answers with `length` octets, at a free port when `port` is 0.
    pub(crate) async fn start(
        side: Side,
        options: &Options,
        length: usize,
        port: u16,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe()?;
        let mut command = server::pinned_command(side, options, &program);
        command.args(["hello", "--length", &length.to_string()]);
        command.args(["--port", &port.to_string()]);
        let mut child = command
            .spawn()
            .context("cannot start the bare HTTP server")?;
        let stdout = child.stdout.take().context("its output is not piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let address = line
            .trim()
            .parse()
            .context("the bare HTTP server did not start")?;
        let id = child.id().context("the bare HTTP server has ended")?;
        Ok(Self {
            address,
            process: Process::new(id),
            _child: child,
        })
    }
}

/// Serves until the standard input ends, as it does when the parent process does.
pub(crate) fn serve(length: usize, port: u16) -> anyhow::Result<()> {
    until_input_ends(accept(Bytes::from(vec![b'x'; length]), port))
}

/// Runs a server until it fails, or the standard input ends.
pub(crate) fn until_input_ends(
    server: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    // As many threads as the server under test has.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let (ending, ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // An error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(ending);
    });
    runtime.block_on(async {
        tokio::select! {
            _ = ended => Ok(()),
            failed = server => failed,
        }
    })
}

/// Serves `body` at a port of 127.0.0.1, any free one for 0, which is printed.
///
/// # Errors
/// When the port is taken.
pub(crate) async fn accept(body: Bytes, port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, body.clone()));
            // A client that goes away is no fault of this server.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    body: Bytes,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    request.into_body().collect().await?;
    let mut response = Response::new(Full::new(body));
    let content_type = HeaderValue::from_static("application/ocsp-response");
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}
