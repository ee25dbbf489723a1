//! A certificate authority that Chancery knows nothing of: where uploaded certificates come from.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::{Workdir, openssl};

/// A root made by openssl, and what it has signed.
pub struct Authority {
    workdir: Workdir,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub chain: String,
    /// The private key, PEM (PKCS #8).
    pub key: String,
    /// The serial number, as [`serial`] writes it.
    pub serial: String,
}

impl Authority {
    /// Makes a root.
    #[must_use]
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it runs a program")]
    pub fn new() -> Self {
        let workdir = Workdir::new();
        let (key, certificate) = (workdir.path("root.key"), workdir.path("root.pem"));
        let mut arguments = vec!["req", "-x509", "-subj", "/CN=Elsewhere", "-days", "3650"];
        arguments.extend(P256);
        arguments.extend(["-keyout", &key, "-out", &certificate]);
        openssl(&arguments, b"");
        Self { workdir }
    }

    /// Signs a certificate with a P-256 key for these names and addresses, the first of them its common name.
    #[must_use]
    #[track_caller]
    pub fn issue(&self, names: &[&str], days: u32) -> Pair {
        self.sign(names, days, &P256)
    }

    /// [`Authority::issue`] with an RSA key of 2,048 bits.
    #[must_use]
    #[track_caller]
    pub fn issue_rsa(&self, names: &[&str], days: u32) -> Pair {
        self.sign(names, days, &["-newkey", "rsa:2048", "-nodes"])
    }

    /// An authority below this one, which issues leaves alone.
    #[must_use]
    #[track_caller]
    pub fn below(&self) -> Self {
        let workdir = Workdir::new();
        let (key, request) = (workdir.path("root.key"), workdir.path("root.csr"));
        let mut arguments = vec!["req", "-new", "-subj", "/CN=Below"];
        arguments.extend(P256);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(&arguments, b"");
        let extensions = workdir.write(
            "extensions",
            "basicConstraints = critical, CA:TRUE, pathlen:0\nkeyUsage = critical, keyCertSign\n\
             subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n",
        );
        let (above, above_key) = (self.workdir.path("root.pem"), self.workdir.path("root.key"));
        let certificate = workdir.path("root.pem");
        openssl(
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &above,
                "-CAkey",
                &above_key,
                "-days",
                "3000",
                "-extfile",
                &extensions,
                "-out",
                &certificate,
            ],
            b"",
        );
        Self { workdir }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.workdir.path("root.pem").into()
    }

    #[track_caller]
    fn sign(&self, names: &[&str], days: u32, new_key: &[&str]) -> Pair {
        let first = names.first().expect("a certificate has a name");
        let alternatives: Vec<String> = names.iter().map(|name| alternative(name)).collect();
        let files = Workdir::new();
        let (key, request) = (files.path("leaf.key"), files.path("leaf.csr"));
        let subject = format!("/CN={first}");
        let mut arguments = vec!["req", "-new", "-subj", &subject];
        arguments.extend(new_key);
        arguments.extend(["-keyout", &key, "-out", &request]);
        openssl(&arguments, b"");
        let extensions = files.write(
            "extensions",
            format!(
                "subjectAltName = {}\nbasicConstraints = critical, CA:FALSE\n\
                 keyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth\n\
                 authorityKeyIdentifier = keyid\n",
                alternatives.join(",")
            ),
        );
        let chain = openssl(
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &self.workdir.path("root.pem"),
                "-CAkey",
                &self.workdir.path("root.key"),
                "-days",
                &days.to_string(),
                "-extfile",
                &extensions,
            ],
            b"",
        )
        .text();
        Pair {
            serial: serial(chain.as_bytes()),
            chain,
            key: String::from_utf8(files.read("leaf.key")).expect("PEM is text"),
        }
    }
}

const P256: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
];

/// A name or address as openssl wants it.
fn alternative(name: &str) -> String {
    let kind = if name.parse::<IpAddr>().is_ok() {
        "IP"
    } else {
        "DNS"
    };
    format!("{kind}:{name}")
}

/// The serial number of a certificate, DER or PEM: hexadecimal in capitals, as openssl and
/// Chancery's `serial_number` have it.
#[must_use]
#[track_caller]
pub fn serial(certificate: &[u8]) -> String {
    let text = openssl(&["x509", "-noout", "-serial"], certificate).text();
    let serial = text.trim().strip_prefix("serial=");
    serial.expect("openssl prints a serial").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_authority_signs_verifies_for_its_names() {
        let authority = Authority::new();
        let root = authority.root().display().to_string();
        let (first, second) = (
            authority.issue(&["a.test", "*.b.test"], 90),
            authority.issue_rsa(&["a.test"], 90),
        );
        assert_ne!(first.serial, second.serial);
        let workdir = Workdir::new();
        for (pair, name) in [(&first, "x.b.test"), (&second, "a.test")] {
            let chain = workdir.write("chain.pem", &pair.chain);
            let host = ["-verify_hostname", name];
            let arguments = [&["verify", "-CAfile", &root][..], &host, &[&chain]].concat();
            openssl(&arguments, b"");
            let public = openssl(&["x509", "-in", &chain, "-noout", "-pubkey"], b"").text();
            let own = openssl(&["pkey", "-pubout"], pair.key.as_bytes()).text();
            assert_eq!(public, own);
        }
    }
}
