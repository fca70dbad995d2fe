//! Writes down what has to survive a restart, whenever that has changed.
//!
//! A task of its own: the disk may be slow, healing does not wait for it. What changes while a write
//! is under way is written with the next one; what cannot be written is tried again until it is. A caller that has promised
//! something waits for a [`Ticket`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::files::Reread;
use crate::core::saved_state::SavedState;
use crate::core::time::Timestamp;
use crate::files::state_file::{Clocks, LoadOutcome, StateFile};

/// The wait before what failed is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What is to be kept, and the number of its version.
type Version = (u64, Arc<SavedState>);

/// How far writing has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Versions up to this are written.
    written: u64,
    /// Versions up to this were tried; if that is more, the last attempt failed, and why.
    tried: u64,
    why: String,
}

/// The way to the file.
pub(super) struct StateWriter {
    newest: Option<watch::Sender<Version>>,
    progress: watch::Receiver<Progress>,
    writer: JoinHandle<()>,
}

/// A write, and those who wait for it.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    version: u64,
    progress: watch::Receiver<Progress>,
}

impl Ticket {
    /// Waits until it is written.
    ///
    /// # Errors
    ///
    /// If it could not be written, or not yet; says why. It is tried again all the same.
    pub async fn written(mut self, within: Duration) -> Result<(), String> {
        let version = self.version;
        let tried = self.progress.wait_for(|it| it.written >= version || it.tried >= version);
        match timeout(within, tried).await {
            Ok(Ok(progress)) if progress.written >= version => Ok(()),
            Ok(Ok(progress)) => Err(progress.why.clone()),
            Ok(Err(_)) => Err("the daemon is about to end".to_owned()),
            Err(_) => Err("writing takes too long".to_owned()),
        }
    }
}

impl StateWriter {
    /// Keeps the state in a store that holds `known` now. `origin` is that of the memory's clock.
    pub fn start(file: StateFile, known: SavedState, origin: Instant) -> Self {
        let known = Arc::new(known);
        let (newest, changes) = watch::channel((0, Arc::clone(&known)));
        let (tell, progress) = watch::channel(Progress::default());
        let writer = WriterTask { file, written: known, origin, progress: tell };
        Self { newest: Some(newest), progress, writer: tokio::spawn(writer.keep(changes)) }
    }

    /// What is in the store, once that has been read later.
    pub fn restart(&mut self, file: StateFile, known: SavedState, origin: Instant) {
        *self = Self::start(file, known, origin);
    }

    /// What is to be kept from now on.
    pub fn keep(&self, saved_state: SavedState) {
        let Some(newest) = &self.newest else { return };
        newest.send_modify(|(version, known)| {
            *version += 1;
            if **known != saved_state {
                *known = Arc::new(saved_state);
            }
        });
    }

    /// For what was kept last, or what will be kept next.
    pub fn ticket(&self, next: bool) -> Ticket {
        let version = self.newest.as_ref().map_or(0, |newest| newest.borrow().0);
        Ticket { version: version + u64::from(next), progress: self.progress.clone() }
    }

    /// Why the last attempt to write failed, if it did.
    pub fn failing(&self) -> Option<String> {
        let progress = self.progress.borrow();
        (progress.tried > progress.written).then(|| progress.why.clone())
    }

    /// Writes what is not written yet, for as long as there is time.
    pub async fn flush(&mut self, time: Duration) {
        self.newest = None;
        let _ = timeout(time, &mut self.writer).await;
    }
}

/// The task that writes.
struct WriterTask {
    file: StateFile,
    /// What is in the store.
    written: Arc<SavedState>,
    origin: Instant,
    progress: watch::Sender<Progress>,
}

impl WriterTask {
    async fn keep(mut self, mut changes: watch::Receiver<Version>) {
        let mut failing = false;
        loop {
            let ends = if failing {
                tokio::select! {
                    change = changes.changed() => change.is_err(),
                    () = sleep(RETRY_DELAY) => false,
                }
            } else {
                changes.changed().await.is_err()
            };
            // What has failed is tried once more before the end.
            if ends && !failing {
                return;
            }
            let (version, saved_state) = changes.borrow_and_update().clone();
            let was_failing = failing;
            failing = match self.write(saved_state).await {
                Ok(()) => {
                    if was_failing {
                        tracing::info!("attempts and pauses are written down again");
                    }
                    self.progress.send_modify(|it| (it.written, it.tried) = (version, version));
                    false
                }
                Err(why) => {
                    if !was_failing {
                        tracing::error!(
                            "attempts and pauses cannot be written down, and would not survive a restart: {why}; trying again"
                        );
                    }
                    self.progress.send_modify(|it| (it.tried, it.why) = (version, why));
                    true
                }
            };
            if ends {
                return;
            }
        }
    }

    async fn write(&mut self, saved_state: Arc<SavedState>) -> Result<(), String> {
        if saved_state == self.written {
            return Ok(());
        }
        let (file, clocks, write) = (self.file.clone(), clocks(self.origin), Arc::clone(&saved_state));
        match spawn_blocking(move || file.write(&write, clocks)).await {
            Ok(Ok(())) => {
                self.written = saved_state;
                Ok(())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the write was broken off".to_owned()),
        }
    }
}

/// Reads the store again and again until that succeeds.
pub(super) async fn reread(file: StateFile, origin: Instant, found: mpsc::UnboundedSender<Reread>) {
    loop {
        sleep(RETRY_DELAY).await;
        let file = file.clone();
        let read = spawn_blocking(move || file.load(clocks(origin))).await;
        match read {
            Ok(LoadOutcome::Unread(_)) | Err(_) => {}
            Ok(known) => {
                // The loop is there for as long as the daemon is.
                let _ = found.send(Reread::State(known));
                return;
            }
        }
    }
}

/// Both clocks now.
pub(super) fn clocks(origin: Instant) -> Clocks {
    Clocks { now: Timestamp::from_origin(origin.elapsed()), wall: SystemTime::now() }
}
