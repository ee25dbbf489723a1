//! pkilint, the linter for X.509 documents, against the profiles of RFC 5280 and RFC 6960.
//!
//! One Python process per test process does all the work, since starting one takes seconds.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// How bad a finding is, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// So bad that linting stopped, such as undecodable DER.
    Fatal,
    /// Against a MUST.
    Error,
    /// Against a SHOULD.
    Warning,
    /// Worth knowing.
    Notice,
    /// For information.
    Info,
    /// For debugging.
    Debug,
}

/// One remark about a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The path of the element it is about, such as `certificate.tbsCertificate.serialNumber`.
    pub node: String,
    /// The name of the rule, such as `pkix.certificate_serial_number_out_of_range`.
    pub code: String,
    /// More words; may be empty.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            severity,
            node,
            code,
            message,
        } = self;
        write!(formatter, "{severity:?} {code} @ {node} {message}")
    }
}

/// Lints a DER certificate against RFC 5280.
///
/// # Panics
///
/// Like every function here, when pkilint is not installed.
#[must_use]
#[track_caller]
pub fn lint_certificate(der: &[u8]) -> Vec<Finding> {
    lint("certificate", der)
}

/// Lints a DER certificate revocation list against RFC 5280.
#[must_use]
#[track_caller]
pub fn lint_crl(der: &[u8]) -> Vec<Finding> {
    lint("crl", der)
}

/// Lints a DER OCSP response against RFC 6960.
#[must_use]
#[track_caller]
pub fn lint_ocsp_response(der: &[u8]) -> Vec<Finding> {
    lint("ocsp_response", der)
}

/// Fails when there is an error among the findings about `what`.
///
/// # Panics
///
/// Then.
#[track_caller]
pub fn assert_conforms(what: &str, findings: &[Finding]) {
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity <= Severity::Error && !is_wildcard(finding))
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}");
}

/// RFC 5280 section 4.2.1.6 leaves wildcards to the applications, RFC 9525 defines them for TLS;
/// pkilint judges names by RFC 5280 alone.
fn is_wildcard(finding: &Finding) -> bool {
    finding.code == "pkix.invalid_domain_name_syntax" && finding.message.contains("\"*.")
}

struct Driver {
    process: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

#[track_caller]
fn lint(kind: &str, der: &[u8]) -> Vec<Finding> {
    // Left running at the end of the test process: it ends when its standard input does.
    static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);
    let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = driver.get_or_insert_with(start).ask(kind, der);
    let Ok(answer) = answer else {
        // Its words are on the test's standard error output. The next test gets a new one.
        let status = driver.take().map(|mut driver| driver.process.wait());
        panic!("pkilint ended while linting a {kind}: {status:?}");
    };
    answer.iter().map(read_finding).collect()
}

impl Driver {
    fn ask(&mut self, kind: &str, der: &[u8]) -> Result<Vec<Value>, std::io::Error> {
        let hexadecimal: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(self.stdin, "{kind} {hexadecimal}")?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }
}

#[track_caller]
fn start() -> Driver {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = tests.join("../target/venv/bin/python");
    assert!(
        python.exists() && tests.join("../target/venv/bin/lint_pkix_cert").exists(),
        "pkilint is not installed: run `make test` (or `make test-tools`)"
    );
    let mut process = Command::new(python)
        .arg(tests.join("pkilint_driver.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python can be started");
    Driver {
        stdin: process.stdin.take().expect("the stream is piped"),
        stdout: BufReader::new(process.stdout.take().expect("the stream is piped")),
        process,
    }
}

fn read_finding(value: &Value) -> Finding {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Finding {
        severity: match text("severity").as_str() {
            "FATAL" => Severity::Fatal,
            "ERROR" => Severity::Error,
            "WARNING" => Severity::Warning,
            "NOTICE" => Severity::Notice,
            "INFO" => Severity::Info,
            "DEBUG" => Severity::Debug,
            other => panic!("pkilint has a severity {other:?}"),
        },
        node: text("node"),
        code: text("code"),
        message: text("message"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Workdir, openssl};

    /// A self-signed certificate by openssl, with its key, in DER.
    fn self_signed(workdir: &Workdir, extra: &[&str]) -> Vec<u8> {
        let (key, certificate) = (workdir.path("key.pem"), workdir.path("certificate.der"));
        let mut args = vec![
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ];
        args.extend([
            "-nodes",
            "-keyout",
            &key,
            "-outform",
            "DER",
            "-out",
            &certificate,
        ]);
        args.extend(["-subj", "/CN=Test"]);
        args.extend(extra);
        openssl(&args, b"");
        workdir.read("certificate.der")
    }

    fn codes(findings: &[Finding], worst: Severity) -> Vec<&str> {
        findings
            .iter()
            .filter(|it| it.severity <= worst)
            .map(|it| it.code.as_str())
            .collect()
    }

    #[test]
    fn a_sound_certificate_has_no_errors() {
        let workdir = Workdir::new();
        let der = self_signed(
            &workdir,
            &["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        );
        let findings = lint_certificate(&der);
        assert_eq!(codes(&findings, Severity::Error), [""; 0], "{findings:?}");
    }

    #[test]
    fn a_flawed_certificate_is_named_as_such() {
        let workdir = Workdir::new();
        let der = self_signed(&workdir, &["-addext", "keyUsage=digitalSignature"]);
        let findings = lint_certificate(&der);
        assert!(
            !codes(&findings, Severity::Error).is_empty(),
            "{findings:?}"
        );
    }

    #[test]
    fn bytes_that_are_no_document_are_fatal_for_every_kind() {
        for lint in [lint_certificate, lint_crl, lint_ocsp_response] {
            let findings = lint(b"\x30\x00");
            assert_eq!(
                findings.first().map(|it| it.severity),
                Some(Severity::Fatal)
            );
            assert_eq!(
                lint(b"no").first().map(|it| it.severity),
                Some(Severity::Fatal)
            );
        }
    }

    #[test]
    fn a_sound_crl_has_no_errors() {
        let workdir = Workdir::new();
        self_signed(
            &workdir,
            &["-addext", "keyUsage=critical,keyCertSign,cRLSign"],
        );
        workdir.write("index", "");
        workdir.write("number", "01\n");
        let config = workdir.write(
            "ca.cnf",
            format!(
                "[ca]\ndefault_ca=a\n[a]\ndatabase={}\ncrlnumber={}\ndefault_md=sha256\n\
                 default_crl_days=7\ncrl_extensions=e\n[e]\nauthorityKeyIdentifier=keyid\n",
                workdir.path("index"),
                workdir.path("number")
            ),
        );
        let (key, certificate) = (workdir.path("key.pem"), workdir.path("certificate.der"));
        let pem = openssl(
            &[
                "ca",
                "-config",
                &config,
                "-gencrl",
                "-keyfile",
                &key,
                "-cert",
                &certificate,
            ],
            b"",
        );
        let der = openssl(&["crl", "-outform", "DER"], &pem.stdout).stdout;
        let findings = lint_crl(&der);
        assert_eq!(codes(&findings, Severity::Error), [""; 0], "{findings:?}");
    }
}
