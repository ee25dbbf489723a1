//! Work that takes a processor for milliseconds or more: done on threads of its own, so that no
//! request waits behind it that needs little, and never more of it at a time than the processors
//! can use. Calls of devices take no processor, but as long as the device likes, so they have places of
//! their own: one that hangs holds up nothing but what wants to be signed by it.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use tokio::sync::{AcquireError, Semaphore};
use tokio::task::{JoinError, spawn_blocking};

/// Pieces of work under way at a time, per processor: one that runs, and one that is ready.
const PER_PROCESSOR: usize = 2;

/// Calls of devices under way at a time: as many as keep the sessions of one busy, with some that wait.
const AT_DEVICES: usize = 16;

/// Processors are the process's, not a part's; so is this.
static PLACES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(places())));

/// So are devices.
static PLACES_AT_DEVICES: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(AT_DEVICES)));

/// Work that came to no end: it panicked, or the process is ending.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    /// There is no place to work any more.
    #[error("no work is taken on any more")]
    Closed(#[source] AcquireError),
    /// The work was begun.
    #[error("a piece of work broke off")]
    BrokenOff(#[source] JoinError),
}

/// Does `work` where it delays nobody, once there is a place for it. Work that was begun is done to
/// its end, and keeps its place, even if nobody waits for it any more.
///
/// # Errors
/// [`Unfinished`].
pub async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    work_at(&PLACES, work).await
}

/// The same for work in which something is signed, by a device or here.
///
/// # Errors
/// [`Unfinished`].
pub(crate) async fn sign_off_the_reactor<T: Send + 'static>(
    is_outside: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    if is_outside {
        work_at(&PLACES_AT_DEVICES, work).await
    } else {
        work_at(&PLACES, work).await
    }
}

async fn work_at<T: Send + 'static>(
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Unfinished> {
    let place = places.clone().acquire_owned().await;
    let place = place.map_err(Unfinished::Closed)?;
    let working = spawn_blocking(move || {
        let _place = place;
        work()
    });
    working.await.map_err(Unfinished::BrokenOff)
}

fn places() -> usize {
    let processors = available_parallelism().map_or(1, usize::from);
    PER_PROCESSOR * processors
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_is_under_way_than_there_are_places() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        // Nobody leaves before all places are taken, so that one more would be seen.
        let all_taken = Arc::new(Barrier::new(places()));
        let mut waiting = Vec::new();
        for _ in 0..8 * places() {
            let (running, most) = (running.clone(), most.clone());
            let all_taken = all_taken.clone();
            waiting.push(tokio::spawn(off_the_reactor(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                all_taken.wait();
                running.fetch_sub(1, Ordering::SeqCst);
            })));
        }
        for task in waiting {
            task.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), places());
    }

    #[tokio::test]
    async fn a_device_that_hangs_holds_up_no_other_work() {
        let answers = Arc::new(Barrier::new(AT_DEVICES + 1));
        let mut hanging = Vec::new();
        for _ in 0..AT_DEVICES {
            let answers = answers.clone();
            let call = move || answers.wait().is_leader();
            hanging.push(tokio::spawn(sign_off_the_reactor(true, call)));
        }
        // One that waits takes no place away either.
        let call = tokio::spawn(sign_off_the_reactor(true, || ()));
        for _ in 0..2 * places() {
            assert_eq!(sign_off_the_reactor(false, || 7).await.unwrap(), 7);
        }
        assert!(!call.is_finished());
        spawn_blocking(move || answers.wait()).await.unwrap();
        for call in hanging {
            call.await.unwrap().unwrap();
        }
        call.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        for _ in 0..2 * places() {
            let broken = off_the_reactor(|| assert!(places() == 0, "on purpose")).await;
            assert!(matches!(broken, Err(Unfinished::BrokenOff(_))));
        }
        assert_eq!(off_the_reactor(|| 7).await.unwrap(), 7);
    }
}
