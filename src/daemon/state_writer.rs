//! Writes the saved state whenever it has changed.
//!
//! In a task of its own: the disk may be slow, and healing does not wait for it. Changes during a write are part of the
//! next one; a failed write is repeated until it succeeds. A caller that needs a confirmation waits for a [`Ticket`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use super::files::Reread;
use crate::core::saved_state::SavedState;
use crate::core::time::Timestamp;
use crate::files::state_file::{Clocks, LoadOutcome, StateFile};

/// Delay before a failed write is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// A state to save, and its version number.
type Version = (u64, Arc<SavedState>);

/// The progress of writing.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// The last version that was written.
    written: u64,
    /// The last version that was tried; if that is greater, the last attempt failed, and why.
    tried: u64,
    why: String,
}

/// The handle of the writer.
pub(super) struct StateWriter {
    newest: Option<watch::Sender<Version>>,
    progress: watch::Receiver<Progress>,
    writer: JoinHandle<()>,
}

/// Waits for a write.
#[derive(Debug, Clone)]
pub(super) struct Ticket {
    version: u64,
    progress: watch::Receiver<Progress>,
}

impl Ticket {
    /// Waits until the version is written.
    ///
    /// # Errors
    ///
    /// If it could not be written, or not in time; says why. Writing continues in any case.
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
    /// Starts the writer for a file that contains `known`. `origin` is the origin of the state's clock.
    pub fn start(file: StateFile, known: SavedState, origin: Instant) -> Self {
        let known = Arc::new(known);
        let (newest, changes) = watch::channel((0, Arc::clone(&known)));
        let (tell, progress) = watch::channel(Progress::default());
        let writer = WriterTask { file, written: known, origin, progress: tell };
        Self { newest: Some(newest), progress, writer: tokio::spawn(writer.keep(changes)) }
    }

    /// Starts again with the content of the file, once it can be read.
    pub fn restart(&mut self, file: StateFile, known: SavedState, origin: Instant) {
        *self = Self::start(file, known, origin);
    }

    /// Sets the state to save.
    pub fn keep(&self, saved_state: SavedState) {
        let Some(newest) = &self.newest else { return };
        newest.send_modify(|(version, known)| {
            *version += 1;
            if **known != saved_state {
                *known = Arc::new(saved_state);
            }
        });
    }

    /// A ticket for the last state, or for the next one.
    pub fn ticket(&self, next: bool) -> Ticket {
        let version = self.newest.as_ref().map_or(0, |newest| newest.borrow().0);
        Ticket { version: version + u64::from(next), progress: self.progress.clone() }
    }

    /// Why the last attempt to write failed, if it did.
    pub fn failing(&self) -> Option<String> {
        let progress = self.progress.borrow();
        (progress.tried > progress.written).then(|| progress.why.clone())
    }

    /// Writes the last state, within the time.
    pub async fn flush(&mut self, time: Duration) {
        self.newest = None;
        let _ = timeout(time, &mut self.writer).await;
    }
}

/// The task that writes.
struct WriterTask {
    file: StateFile,
    /// The content of the file.
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
            // A failed write is repeated once before the end.
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

/// Reads the file repeatedly until that succeeds.
pub(super) async fn reread(file: StateFile, origin: Instant, found: mpsc::UnboundedSender<Reread>) {
    loop {
        sleep(RETRY_DELAY).await;
        let file = file.clone();
        let read = spawn_blocking(move || file.load(clocks(origin))).await;
        match read {
            Ok(LoadOutcome::Unread(_)) | Err(_) => {}
            Ok(known) => {
                // The receiver exists as long as the daemon.
                let _ = found.send(Reread::State(known));
                return;
            }
        }
    }
}

/// The current time of both clocks.
pub(super) fn clocks(origin: Instant) -> Clocks {
    Clocks { now: Timestamp::from_origin(origin.elapsed()), wall: SystemTime::now() }
}
