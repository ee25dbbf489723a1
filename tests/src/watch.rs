//! A clock that a test can put forward: for the built program, through libfaketime, and for what runs
//! in this process.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::directory::Clock;
use crate::{ChanceryOptions, Workdir};

/// Where Debian has the library, by what the dynamic linker calls its directory.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// A clock that is slow, and goes as fast as any other.
///
/// It is put forward only so far that it is not ahead of the system's clock: what it has seen made is
/// valid for everybody.
pub struct Watch {
    workdir: Workdir,
    /// By how many seconds it is slow.
    behind: Arc<AtomicU64>,
}

impl Watch {
    /// A clock that is slow by so much.
    ///
    /// # Panics
    ///
    /// When libfaketime is not installed.
    #[must_use]
    #[track_caller]
    pub fn slow_by(time: Duration) -> Self {
        assert!(
            is_installed(),
            "libfaketime is not installed: run `make setup`"
        );
        let watch = Self {
            workdir: Workdir::new(),
            behind: Arc::new(AtomicU64::new(time.as_secs())),
        };
        watch.tell();
        watch
    }

    /// What it shows.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        read(&self.behind)
    }

    /// The same for a directory.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let behind = Arc::clone(&self.behind);
        Clock::new(move || read(&behind))
    }

    /// Puts it forward by so much, for all that go by it.
    ///
    /// # Panics
    ///
    /// When it would be ahead of the system's clock.
    #[track_caller]
    pub fn forward(&self, time: Duration) {
        let seconds = time.as_secs();
        let change = |behind: u64| behind.checked_sub(seconds);
        let changed = self
            .behind
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, change);
        assert!(changed.is_ok(), "{time:?} is more than it is slow by");
        self.tell();
    }

    /// Tells programs.
    fn tell(&self) {
        let behind = self.behind.load(Ordering::SeqCst);
        // It is read all the time: never half of it.
        let new = self.workdir.write("new", format!("-{behind}\n"));
        std::fs::rename(new, self.workdir.path("offset")).expect("a file can be renamed");
    }

    /// What a program is started with that goes by it. Its timers still go by the system's clock.
    pub(crate) fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", LIBRARY.to_owned()),
            ("FAKETIME_TIMESTAMP_FILE", self.workdir.path("offset")),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
            ("NO_FAKE_STAT", "1".to_owned()),
        ]
    }
}

impl ChanceryOptions {
    /// Lets the program go by this watch. Its timers still go by the system's clock.
    #[must_use]
    pub fn watch(self, watch: &Watch) -> Self {
        let set = |options: Self, (name, value): (&str, String)| options.env(name, &value);
        watch.environment().into_iter().fold(self, set)
    }
}

fn is_installed() -> bool {
    let directories = std::fs::read_dir("/usr/lib").into_iter().flatten();
    let file = LIBRARY.rsplit_once("$LIB/").map(|(_, file)| file);
    let file = Path::new(file.unwrap_or(LIBRARY));
    directories
        .flatten()
        .any(|directory| directory.path().join(file).exists())
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the tested program is told of the time is made of the system's"
)]
fn read(behind: &AtomicU64) -> OffsetDateTime {
    let behind = Duration::from_secs(behind.load(Ordering::SeqCst));
    OffsetDateTime::from(SystemTime::now()) - behind
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// What another program takes for the time, seconds.
    fn told(watch: &Watch) -> i64 {
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", watch.workdir.path("offset"));
        let library = format!("LD_PRELOAD={LIBRARY}");
        let output = run("env", &[&library, &file, "date", "+%s"], b"");
        output.text().trim().parse().unwrap()
    }

    #[test]
    fn programs_and_this_process_go_by_it_and_it_can_be_put_forward() {
        let watch = Watch::slow_by(2 * DAY);
        let clock = watch.clock();
        let start = watch.now();
        let agree = |later: Duration| {
            let from = (start + later).unix_timestamp();
            let told = told(&watch);
            assert!((from..=watch.now().unix_timestamp()).contains(&told));
            assert!(clock.now() >= start + later);
        };
        agree(Duration::ZERO);
        watch.forward(DAY);
        agree(DAY);
    }

    #[test]
    #[should_panic(expected = "more than it is slow by")]
    fn it_does_not_get_ahead_of_the_systems_clock() {
        Watch::slow_by(DAY).forward(2 * DAY);
    }
}
