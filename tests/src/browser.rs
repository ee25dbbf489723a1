//! Chromium without a window.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::process::{self, Output};
use crate::{Workdir, run};

/// A browser with a home of its own, that trusts some roots beside its built-in ones.
pub struct Browser {
    home: Workdir,
}

impl Browser {
    /// Makes the home, with the certificates of these PEM files trusted as roots of websites.
    #[must_use]
    #[track_caller]
    pub fn trusting(roots: &[&Path]) -> Self {
        let home = Workdir::new();
        let directory = home.path(".pki/nssdb");
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let database = format!("sql:{directory}");
        run(
            "certutil",
            &["-d", &database, "-N", "--empty-password"],
            b"",
        );
        for (number, root) in roots.iter().enumerate() {
            let (name, path) = (format!("root {number}"), root.display().to_string());
            let add = ["-A", "-t", "C,,", "-n", &name, "-i", &path];
            run("certutil", &[&["-d", &database], &add[..]].concat(), b"");
        }
        Self { home }
    }

    /// Opens a path of the site `name`, which it finds at `address`, and returns the page as it is
    /// when it is loaded. It finds no other site.
    ///
    /// # Errors
    ///
    /// The browser's output when it does not show the page, as for a certificate that it refuses.
    #[track_caller]
    pub fn open(&self, name: &str, path: &str, address: SocketAddr) -> Result<String, Output> {
        let mut command = Command::new("chromium");
        command
            .env("HOME", self.home.root())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .args(["--headless", "--disable-gpu", "--disable-dev-shm-usage"])
            // Its sandbox needs rights that root and containers do not have; the page is ours.
            .arg("--no-sandbox")
            .args(["--disable-background-networking", "--no-first-run"])
            .arg(format!("--user-data-dir={}", self.home.path("profile")))
            // What it would like to fetch for itself, it does not find.
            .arg(format!(
                "--host-resolver-rules=MAP {name}:443 {address}, MAP * ~NOTFOUND"
            ))
            .args(["--timeout=30000", "--dump-dom"])
            .arg(format!("https://{name}{path}"));
        let output = process::finish(command, b"");
        // What it shows instead of a page that it refuses is empty.
        if output.status.success() && output.text().contains("</body>") {
            Ok(output.text())
        } else {
            Err(output)
        }
    }
}
