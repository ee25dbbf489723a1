//! Keys of authorities in PKCS#11 tokens: hardware security modules, smart cards, SoftHSM.
//!
//! The module is a library of its maker's, and is loaded, logged in to and asked for a signature
//! only when there is something to sign: a token that is not there stops nothing else. Sessions
//! belong to threads of their own, because they must not be shared, and because nobody knows how
//! long a module takes. A session that fails is given up, and the next signature is asked for in a
//! new one.

mod der;
mod session;

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use pki::{KeyAlgorithm, KeyDevice, KeyKind, OutsideError, OutsideKey, PublicKey};
use session::Sessions;
use zeroize::Zeroizing;

/// Threads, each with a session: as many signatures are made at a time.
const THREADS: usize = 4;
/// Signatures that may wait for a session.
const WAITING: usize = 256;
/// How long is waited for the module.
const PATIENCE: Duration = Duration::from_secs(30);

/// Which token of which module is meant, and how to log in to it.
#[derive(Clone)]
pub struct Settings {
    /// The shared library of the module.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The PIN of its user.
    pub pin: Zeroizing<String>,
}

/// Shows no PIN.
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("module", &self.module)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// A token. Nothing is loaded before it is needed.
#[derive(Debug)]
pub struct Hsm(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    settings: Settings,
    jobs: OnceLock<SyncSender<Job>>,
}

type Answer<T> = SyncSender<Result<T, OutsideError>>;

enum Job {
    Generate {
        id: [u8; 16],
        label: String,
        algorithm: KeyAlgorithm,
        answer: Answer<PublicKey>,
    },
    Sign {
        id: [u8; 16],
        kind: KeyKind,
        message: Vec<u8>,
        answer: Answer<Vec<u8>>,
    },
}

impl Hsm {
    /// The token that is meant.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Queue {
            settings,
            jobs: OnceLock::new(),
        }))
    }
}

impl KeyDevice for Hsm {
    fn generate(
        &self,
        id: [u8; 16],
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<PublicKey, OutsideError> {
        self.0.ask(|answer| Job::Generate {
            id,
            label: label.to_owned(),
            algorithm,
            answer,
        })
    }

    fn key(&self, id: [u8; 16], public: PublicKey) -> Arc<dyn OutsideKey> {
        Arc::new(Key {
            queue: self.0.clone(),
            id,
            public,
        })
    }
}

#[derive(Debug)]
struct Key {
    queue: Arc<Queue>,
    id: [u8; 16],
    public: PublicKey,
}

impl OutsideKey for Key {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, OutsideError> {
        self.queue.ask(|answer| Job::Sign {
            id: self.id,
            kind: self.public.algorithm(),
            message: message.to_vec(),
            answer,
        })
    }
}

impl Queue {
    fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, OutsideError> {
        let token = &self.settings.token;
        let failed = |what: &str| OutsideError(format!("the PKCS#11 token '{token}' {what}"));
        let jobs = self.jobs.get_or_init(|| start(&self.settings));
        let (answer, answered) = sync_channel(1);
        match jobs.try_send(job(answer)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(failed("has too much to sign")),
            Err(TrySendError::Disconnected(_)) => return Err(failed("has no thread to ask it")),
        }
        match answered.recv_timeout(PATIENCE) {
            Ok(answer) => answer.map_err(|OutsideError(reason)| failed(&reason)),
            Err(RecvTimeoutError::Timeout) => Err(failed("did not answer in time")),
            Err(RecvTimeoutError::Disconnected) => Err(failed("took its module down")),
        }
    }
}

/// Starts the threads. They end with the queue.
fn start(settings: &Settings) -> SyncSender<Job> {
    let (jobs, waiting) = sync_channel(WAITING);
    let waiting = Arc::new(Mutex::new(waiting));
    for number in 0..THREADS {
        let (settings, waiting) = (settings.clone(), waiting.clone());
        let thread = std::thread::Builder::new().name(format!("hsm-{number}"));
        if let Err(error) = thread.spawn(move || work(settings, &waiting)) {
            tracing::error!(%error, "could not start a thread for the PKCS#11 token");
        }
    }
    jobs
}

fn work(settings: Settings, waiting: &Mutex<Receiver<Job>>) {
    let mut sessions = Sessions::new(settings);
    loop {
        let next = {
            let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.recv()
        };
        // Whoever asked may have given up; then nobody takes the answer.
        let _ = match next {
            Ok(Job::Generate {
                id,
                label,
                algorithm,
                answer,
            }) => {
                let made = sessions.generate(id, &label, algorithm);
                answer.send(made.map_err(|error| outside(&error))).is_ok()
            }
            Ok(Job::Sign {
                id,
                kind,
                message,
                answer,
            }) => {
                let signed = sessions.sign(id, kind, &message);
                answer.send(signed.map_err(|error| outside(&error))).is_ok()
            }
            Err(_) => return,
        };
    }
}

fn outside(error: &session::Error) -> OutsideError {
    OutsideError(error.to_string())
}
