//! A bounded queue that can be closed from either end: what waits for room learns of it at once.
//!
//! Taking and putting happen after the last await of each call, so that a dropped future neither loses nor repeats
//! anything.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    arrived: Notify,
    room: Semaphore,
}

struct Inner<T> {
    /// The items, and whether each takes up room.
    items: VecDeque<(T, bool)>,
    closed: bool,
}

/// The queue is closed: nothing more goes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let inner = Mutex::new(Inner { items: VecDeque::new(), closed: false });
        Self { inner, arrived: Notify::new(), room: Semaphore::new(capacity.min(Semaphore::MAX_PERMITS)) }
    }

    /// Puts an item in as soon as there is room.
    pub(crate) async fn put(&self, item: T) -> Result<(), Closed> {
        let permit = self.room.acquire().await.map_err(|_| Closed)?;
        self.push(item, true)?;
        permit.forget();
        Ok(())
    }

    /// Puts an item in although there may be no room.
    pub(crate) fn put_over(&self, item: T) -> Result<(), Closed> {
        self.push(item, false)
    }

    /// Waits for items and takes those that are there, at most `limit`; none once it is closed and empty.
    pub(crate) async fn take(&self, limit: usize) -> Vec<T> {
        loop {
            // The notification is asked for before looking, so that an item that arrives in between is not missed.
            let arrived = self.arrived.notified();
            {
                let mut inner = self.lock();
                let count = inner.items.len().min(limit);
                let taken: Vec<(T, bool)> = inner.items.drain(..count).collect();
                if !inner.items.is_empty() {
                    self.arrived.notify_one();
                }
                if !taken.is_empty() || inner.closed || limit == 0 {
                    self.room.add_permits(taken.iter().filter(|(_, takes_room)| *takes_room).count());
                    return taken.into_iter().map(|(item, _)| item).collect();
                }
            }
            arrived.await;
        }
    }

    /// Lets nothing more in. What is there can still be taken.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.arrived.notify_waiters();
        self.arrived.notify_one();
    }

    fn push(&self, item: T, takes_room: bool) -> Result<(), Closed> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Closed);
        }
        inner.items.push_back((item, takes_room));
        self.arrived.notify_one();
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
