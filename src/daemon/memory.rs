//! Writes down what has to survive a restart, whenever that has changed.
//!
//! A task of its own: the disk may be slow, healing does not wait for it. What changes while a write
//! is under way is written with the next one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use crate::core::memory::Memory;
use crate::core::time::Timestamp;
use crate::store::{Clocks, Store};

/// The way to the file.
pub(super) struct Keeper {
    newest: Option<watch::Sender<Arc<Memory>>>,
    writer: JoinHandle<()>,
}

impl Keeper {
    /// Keeps the state in a store that holds `known` now. `origin` is that of the memory's clock.
    pub fn start(store: Store, known: Memory, origin: Instant) -> Self {
        let (newest, changes) = watch::channel(Arc::new(known));
        Self { newest: Some(newest), writer: tokio::spawn(keep(store, changes, origin)) }
    }

    /// What is to be kept from now on.
    pub fn keep(&self, memory: Memory) {
        let Some(newest) = &self.newest else { return };
        newest.send_if_modified(|known| {
            let differs = **known != memory;
            if differs {
                *known = Arc::new(memory);
            }
            differs
        });
    }

    /// Writes what is not written yet, for as long as there is time.
    pub async fn flush(&mut self, time: Duration) {
        self.newest = None;
        let _ = timeout(time, &mut self.writer).await;
    }
}

async fn keep(store: Store, mut changes: watch::Receiver<Arc<Memory>>, origin: Instant) {
    let mut failing = false;
    while changes.changed().await.is_ok() {
        let memory = Arc::clone(&changes.borrow_and_update());
        let (store, clocks) = (store.clone(), clocks(origin));
        match spawn_blocking(move || store.write(&memory, clocks)).await {
            Ok(Ok(())) => failing = false,
            Ok(Err(error)) if !std::mem::replace(&mut failing, true) => {
                tracing::warn!("attempts and pauses cannot be written down, and would not survive a restart: {error}");
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Both clocks now.
pub(super) fn clocks(origin: Instant) -> Clocks {
    Clocks { now: Timestamp::from_origin(origin.elapsed()), wall: SystemTime::now() }
}
