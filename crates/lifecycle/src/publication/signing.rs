//! A queue for signatures that take too long to be made between two turns of the reactor.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

use crate::Error;

/// How many may wait or be served, for each core. An RSA-4096 signature takes some 5 ms, so that
/// the last one waits for about a third of a second.
const PLACES_PER_CORE: usize = 64;

/// Signs on threads of its own, as many at a time as there are cores, and turns away who would
/// have to wait for long.
pub(crate) struct SigningQueue {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

impl Default for SigningQueue {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZero::get);
        Self::new(cores, cores * PLACES_PER_CORE)
    }
}

impl SigningQueue {
    fn new(turns: usize, places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// What `sign` returns, or `None` when the queue is full. Dropped while it waits, it leaves the
    /// queue; a signature that was begun is finished.
    pub(crate) async fn sign<T: Send + 'static>(
        &self,
        sign: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, Error> {
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            return Ok(None);
        };
        let turn = self.turns.clone().acquire_owned().await;
        let turn = turn.map_err(Error::signing)?;
        // The thread keeps both, or else whoever hangs up would let in one more.
        let signing = tokio::task::spawn_blocking(move || {
            let _kept = (place, turn);
            sign()
        });
        signing.await.map(Some).map_err(Error::signing)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_full_queue_turns_away_and_takes_again_afterwards() {
        let queue = Arc::new(SigningQueue::new(1, 2));
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let queue = queue.clone();
            async move {
                let slow = move || {
                    begin.send(()).unwrap();
                    released.recv().unwrap();
                    1
                };
                queue.sign(slow).await
            }
        });
        begun.await.unwrap();
        let mut second = Box::pin(queue.sign(|| 2));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is one turn, and it is taken"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(queue.sign(|| 3).await.unwrap(), None);

        // Who hangs up while waiting gives the place to another.
        drop(second);
        let mut second = Box::pin(queue.sign(|| 2));
        tokio::select! {
            biased;
            _ = &mut second => panic!("there is one turn, and it is taken"),
            () = std::future::ready(()) => {}
        }

        // Who hangs up while their signature is made does not.
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert_eq!(queue.sign(|| 3).await.unwrap(), None);

        release.send(()).unwrap();
        assert_eq!(second.await.unwrap(), Some(2));
        assert_eq!(queue.sign(|| 3).await.unwrap(), Some(3));
    }
}
