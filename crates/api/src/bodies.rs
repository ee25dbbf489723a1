//! Bodies of requests, read within limits on their length, on time, and on the memory that those of
//! all requests together take.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

use crate::Limits;

/// Longest body that takes no room from others, in octets: nearly all are shorter.
const FREE: usize = 64 * 1024;

/// Most octets of a body that are read, and not kept, before it is refused.
const DISCARD_LIMIT: usize = 24 * 1024 * 1024;

/// What room is counted in, in octets: a finer count would serve nobody.
const UNIT: usize = 1024;

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// The client went away or took too long.
    Interrupted,
    /// Other requests take all room, for now.
    NoRoom,
    /// Longer than the route accepts.
    TooLarge,
}

/// A whole body. It may hold a private key.
pub(crate) struct Received {
    pub(crate) octets: Zeroizing<Vec<u8>>,
    /// To be kept as long as anything made of the body.
    pub(crate) room: Room,
}

/// A request's share of the room for bodies, given back when it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

/// Reads the bodies of all requests of a process.
#[derive(Debug)]
pub(crate) struct Bodies {
    room: Arc<Semaphore>,
    /// All there is, in units.
    total: u32,
    deadline: Duration,
    patience: Duration,
}

impl Bodies {
    pub(crate) fn new(limits: &Limits) -> Self {
        let total = u32::try_from(limits.bodies / UNIT).unwrap_or(u32::MAX);
        Self {
            room: Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(usize::MAX))),
            total,
            deadline: limits.body,
            patience: limits.body_room,
        }
    }

    /// Reads the whole body, up to `limit` octets.
    pub(crate) async fn read(
        &self,
        mut body: Incoming,
        limit: usize,
    ) -> Result<Received, BodyFault> {
        let deadline = Instant::now() + self.deadline;
        let gathered = timeout_at(deadline, self.gather(&mut body, limit)).await;
        let gathered = gathered.unwrap_or(Err(BodyFault::Interrupted));
        if let Err(BodyFault::NoRoom | BodyFault::TooLarge) = gathered {
            let _ = timeout_at(deadline, discard(&mut body)).await;
        }
        gathered
    }

    async fn gather(&self, body: &mut Incoming, limit: usize) -> Result<Received, BodyFault> {
        let declared = body.size_hint();
        let least = usize::try_from(declared.lower()).unwrap_or(usize::MAX);
        if least > limit {
            return Err(BodyFault::TooLarge);
        }
        let mut room = self.reserve(least).await?;
        let mut octets = Zeroizing::new(Vec::with_capacity(least));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| BodyFault::Interrupted)?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let length = octets.len() + data.len();
            if length > limit {
                return Err(BodyFault::TooLarge);
            }
            if length > FREE && room.0.is_none() {
                // All that it may become, at once: requests that wait for more while they hold some
                // would wait for each other.
                room = self.reserve(limit).await?;
            }
            octets.extend_from_slice(&data);
        }
        room.shrink(octets.len());
        Ok(Received { octets, room })
    }

    /// Room for a body of this length, once there is enough.
    async fn reserve(&self, length: usize) -> Result<Room, BodyFault> {
        if length <= FREE {
            return Ok(Room::default());
        }
        // A body that is longer than all the room there is waits until it is the only one.
        let wanted = units(length).min(self.total);
        let room = self.room.clone().acquire_many_owned(wanted);
        match timeout(self.patience, room).await {
            Ok(Ok(room)) => Ok(Room(Some(room))),
            _ => Err(BodyFault::NoRoom),
        }
    }
}

impl Room {
    /// Gives back what a body of this length does not need.
    fn shrink(&mut self, length: usize) {
        let Some(room) = &mut self.0 else { return };
        let needed = usize::try_from(units(length)).unwrap_or(usize::MAX);
        drop(room.split(room.num_permits().saturating_sub(needed)));
    }
}

fn units(length: usize) -> u32 {
    u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX)
}

/// Reads on without keeping anything: a client that is still sending when the connection is closed
/// may never see the answer.
async fn discard(body: &mut Incoming) {
    let mut left = DISCARD_LIMIT;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies() -> Bodies {
        Bodies::new(&Limits {
            bodies: 1024 * 1024,
            ..Limits::default()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_waited_for_and_given_back() {
        let bodies = bodies();
        let held = bodies.reserve(600 * 1024).await.unwrap();
        let started = Instant::now();
        let refused = bodies.reserve(600 * 1024).await.unwrap_err();
        assert_eq!(refused, BodyFault::NoRoom);
        assert_eq!(started.elapsed(), bodies.patience);
        assert!(bodies.reserve(FREE).await.unwrap().0.is_none());
        drop(held);
        assert!(bodies.reserve(600 * 1024).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_became_shorter_than_it_might_have_keeps_what_it_needs() {
        let bodies = bodies();
        let mut room = bodies.reserve(1024 * 1024).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
        room.shrink(100 * 1024 + 1);
        assert_eq!(bodies.room.available_permits(), 1024 - 101);
    }

    #[tokio::test]
    async fn a_body_longer_than_all_room_takes_all_of_it() {
        let bodies = bodies();
        let mut room = bodies.reserve(20 * 1024 * 1024).await.unwrap();
        assert_eq!(bodies.room.available_permits(), 0);
        room.shrink(20 * 1024 * 1024);
        assert_eq!(bodies.room.available_permits(), 0);
    }
}
