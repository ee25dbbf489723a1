//! Chromium without a window.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{self, Output, Reaper};
use crate::{Workdir, eventually, run};

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

    /// Starts it for somebody who does more than look: it finds this machine's addresses, and no
    /// names.
    #[must_use]
    #[track_caller]
    pub fn visit(self) -> Visit {
        Visit::start(self)
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
        self.furnish(&mut command);
        command
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

    fn furnish(&self, command: &mut Command) {
        command
            .env("HOME", self.home.root())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .args(["--headless", "--disable-gpu", "--disable-dev-shm-usage"])
            // Its sandbox needs rights that root and containers do not have; the page is ours.
            .arg("--no-sandbox")
            .args(["--disable-background-networking", "--no-first-run"])
            .arg(format!("--user-data-dir={}", self.home.path("profile")));
    }
}

/// How long a page may take to become what is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running browser with one page, which does what a person does. It ends when dropped.
pub struct Visit {
    browser: Child,
    orders: Mutex<ChildStdin>,
    answers: Mutex<BufReader<ChildStdout>>,
    session: String,
    next: AtomicU64,
    _reaper: Reaper,
    _home: Browser,
}

impl Visit {
    #[track_caller]
    fn start(home: Browser) -> Self {
        // The browser takes orders at descriptor 3 and answers at 4.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
                "sh",
            ])
            .arg("chromium");
        home.furnish(&mut command);
        command
            .arg("--remote-debugging-pipe")
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut browser = command.spawn().expect("sh can be started");
        let reaper = Reaper::watch(&browser);
        let orders = browser.stdin.take().expect("it is piped");
        let answers = browser.stdout.take().expect("it is piped");
        let mut visit = Self {
            browser,
            orders: Mutex::new(orders),
            answers: Mutex::new(BufReader::new(answers)),
            session: String::new(),
            next: AtomicU64::new(1),
            _reaper: reaper,
            _home: home,
        };
        let target = visit.order("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = visit.order("Target.attachToTarget", &attach);
        visit.session = attached["sessionId"]
            .as_str()
            .expect("a session has a name")
            .to_owned();
        visit
    }

    /// Goes to a URL.
    #[track_caller]
    pub fn open(&self, url: &str) {
        self.order("Page.navigate", &json!({ "url": url }));
    }

    /// What an expression is worth on the page, `null` while there is none.
    #[track_caller]
    pub fn evaluate(&self, expression: &str) -> Value {
        let order = json!({ "expression": expression, "returnByValue": true });
        let mut evaluated = self.order("Runtime.evaluate", &order);
        evaluated["result"]["value"].take()
    }

    /// Waits until an expression holds on a page that is there as a whole.
    #[track_caller]
    pub fn wait_for(&self, condition: &str) {
        let whole = format!("document.readyState === 'complete' && Boolean({condition})");
        eventually(PATIENCE, condition, || {
            (self.evaluate(&whole) == true).then_some(())
        });
    }

    /// What can be read on the page.
    #[track_caller]
    pub fn text(&self) -> String {
        let text = self.evaluate("document.body.innerText");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Types into the field that a selector finds.
    #[track_caller]
    pub fn type_into(&self, selector: &str, text: &str) {
        let selector = json!(selector);
        self.wait_for(&format!("document.querySelector({selector})"));
        self.evaluate(&format!("document.querySelector({selector}).focus()"));
        self.order("Input.insertText", &json!({ "text": text }));
    }

    /// Clicks on what a selector finds.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.wait_for(&format!("document.querySelector({selector})"));
        self.evaluate(&format!("document.querySelector({selector}).click()"));
    }

    /// Where the frames within the page have got to.
    #[track_caller]
    pub fn frames(&self) -> Vec<String> {
        let tree = self.order("Page.getFrameTree", &json!({}));
        let children = tree["frameTree"]["childFrames"].as_array();
        let urls = children.into_iter().flatten();
        let urls = urls.filter_map(|child| child["frame"]["url"].as_str());
        urls.map(ToOwned::to_owned).collect()
    }

    /// Gives an order of the DevTools protocol, and takes its answer.
    #[track_caller]
    fn order(&self, method: &str, parameters: &Value) -> Value {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut order = json!({ "id": id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            order["sessionId"] = self.session.as_str().into();
        }
        let mut octets = order.to_string().into_bytes();
        octets.push(0);
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        orders.write_all(&octets).expect("the browser takes orders");
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut octets = Vec::new();
            let read = answers.read_until(0, &mut octets);
            assert!(read.is_ok_and(|read| read > 0), "the browser has ended");
            octets.pop();
            let mut answer: Value =
                serde_json::from_slice(&octets).expect("the browser answers JSON");
            if answer["id"] == id {
                // A page that is being left has nothing to say.
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}
