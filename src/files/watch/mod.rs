//! Follows a few files and reports when their contents have changed.
//!
//! Editors replace files by renaming, directories come and go, links are changed, and the system's notifications are
//! unreliable in kind and number. So a notification only means that all files are read again and compared with their
//! last contents. [`Watch::checks`] find changes without a notification.
//!
//! Each file has a thread of its own that owns its state, as a file system may never answer: then nothing else is
//! blocked, and [`Watch::is_silent`] reports it. A check only compares the file's metadata, and wakes that thread if
//! they have changed. The watcher's own thread only decides whether an event can concern a
//! file, and wakes that file's thread, so that nothing piles up when much happens in the directories.

mod content;
mod notifier;

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

pub(crate) use content::read_within;
pub use content::{FileContent, read};
use notifier::{Notifier, Places};

use crate::checks::{Busy, Check};

/// A file is read once it has not changed for this long,
const QUIET_TIME: Duration = Duration::from_millis(60);
/// but no later than this.
const MAX_QUIET_WAIT: Duration = Duration::from_millis(250);
/// A file operation that takes this long counts as unanswered.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum time for reading the files at the start.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of changes of directories while watches are being set.
const MAX_ROUNDS: usize = 10;

/// News of a [`Watch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    /// The content of a file has changed.
    Changed {
        /// The index of the file in the list that the watch was started with.
        index: usize,
        /// The new content.
        content: FileContent,
    },
    /// From now on, changes are only found by polling; says why. Sent once.
    Degraded(String),
}

/// Follows files for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    files: Vec<Line>,
}

/// The handle of a file's thread.
#[derive(Debug, Clone)]
struct Line {
    path: PathBuf,
    last: Arc<Mutex<Last>>,
    polls: mpsc::Sender<()>,
    busy: Busy,
    /// The check of the file that is under way.
    checking: Busy,
}

impl Watch {
    /// Begins to follow the files, and returns their contents. Only later changes are sent.
    ///
    /// The files need not exist, nor their directories. One that does not answer within a few seconds reads as
    /// [`FileContent::Silent`], and is sent when it does.
    #[must_use]
    pub fn start(files: Vec<PathBuf>) -> (Self, Vec<FileContent>, mpsc::Receiver<FileEvent>) {
        Self::start_with(files, Notifier::new)
    }

    /// Checks for changes of each file that were not signalled.
    pub(crate) fn checks(&self) -> impl Iterator<Item = Check> + '_ {
        self.files.iter().cloned().map(|file| Box::new(move || file.check()) as Check)
    }

    /// Whether the file system of the file with this index does not answer.
    #[must_use]
    pub fn is_silent(&self, index: usize) -> bool {
        let is_silent = |busy: &Busy| busy.for_longer_than(READ_TIMEOUT);
        self.files.get(index).is_some_and(|file| is_silent(&file.busy) || is_silent(&file.checking))
    }

    fn start_with(
        files: Vec<PathBuf>,
        notifier: impl Fn() -> notify::Result<Notifier> + Clone + Send + 'static,
    ) -> (Self, Vec<FileContent>, mpsc::Receiver<FileEvent>) {
        let (events, receiver) = mpsc::channel(16);
        let fallback_reported = Arc::new(AtomicBool::new(false));
        let latest = Instant::now() + FIRST_READ_TIMEOUT;
        let begun: Vec<_> = files
            .into_iter()
            .enumerate()
            .map(|(index, path)| {
                let (polls, requests) = mpsc::channel(1);
                let (first, content) = std::sync::mpsc::sync_channel(0);
                let file = Followed { path: path.clone(), last: Arc::default() };
                let (busy, checking) = (Busy::default(), Busy::default());
                let line = Line { path, last: Arc::clone(&file.last), polls, busy, checking };
                let task = Task {
                    index,
                    file,
                    notifier: None,
                    problem: None,
                    fallback_reported: Arc::clone(&fallback_reported),
                    random: RandomState::new(),
                    events: events.clone(),
                    busy: line.busy.clone(),
                };
                let notifier = notifier.clone();
                let thread = std::thread::Builder::new().name("files".to_owned());
                if let Err(error) = thread.spawn(move || task.live(notifier, &first, requests)) {
                    let _ = events.try_send(FileEvent::Degraded(error.to_string()));
                }
                (line, content)
            })
            .collect();
        let mut watch = Self { files: Vec::new() };
        let mut contents = Vec::new();
        for (line, content) in begun {
            let content = content.recv_timeout(latest.saturating_duration_since(Instant::now()));
            contents.push(content.unwrap_or(FileContent::Silent));
            watch.files.push(line);
        }
        (watch, contents, receiver)
    }
}

impl Line {
    /// Wakes the file's thread if its metadata have changed.
    fn check(&self) {
        // The thread may be waiting for the file system already.
        if self.busy.since().is_none() && !self.checking.with(|| last(&self.last).is_of(&self.path)) {
            // A pending poll is enough.
            let _ = self.polls.try_send(());
        }
    }
}

/// The owner of a file's state.
struct Task {
    index: usize,
    file: Followed,
    /// `None` if the system has no watches left: then there is only polling.
    notifier: Option<Notifier>,
    /// Why changes may not be signalled, if so.
    problem: Option<String>,
    /// Whether that was reported, for this file or another.
    fallback_reported: Arc<AtomicBool>,
    random: RandomState,
    events: mpsc::Sender<FileEvent>,
    busy: Busy,
}

impl Task {
    /// Runs as long as the watch. The first content goes to one channel, changes to the other.
    fn live(
        mut self,
        notifier: impl Fn() -> notify::Result<Notifier>,
        first: &std::sync::mpsc::SyncSender<FileContent>,
        polls: mpsc::Receiver<()>,
    ) {
        let busy = self.busy.clone();
        let content = busy.with(|| {
            match notifier() {
                Ok(notifier) => self.notifier = Some(notifier),
                Err(error) => self.problem = Some(error.to_string()),
            }
            // Watch first and then read, so that no change is missed in between.
            self.follow();
            self.file.read(&self.random)
        });
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_time().build() else { return };
        runtime.block_on(async {
            // After a timeout, the receiver is gone.
            if let Err(late) = first.send(content) {
                let content = late.0;
                let _ = self.events.send(FileEvent::Changed { index: self.index, content }).await;
            }
            self.run(polls).await;
        });
    }

    async fn run(mut self, mut polls: mpsc::Receiver<()>) {
        let wake = self.notifier.as_ref().map_or_else(Arc::default, |notifier| Arc::clone(&notifier.wake));
        loop {
            if let Some(problem) = &self.problem
                && !self.fallback_reported.swap(true, Ordering::Relaxed)
                && self.events.send(FileEvent::Degraded(problem.clone())).await.is_err()
            {
                return;
            }
            let polled = tokio::select! {
                () = wake.notified() => false,
                poll = polls.recv() => match poll {
                    Some(()) => true,
                    None => return,
                },
                () = self.events.closed() => return,
            };
            if !polled {
                settle(&wake).await;
            }
            let busy = self.busy.clone();
            let changed = busy.with(|| self.check(polled));
            let index = self.index;
            if let Some(content) = changed
                && self.events.send(FileEvent::Changed { index, content }).await.is_err()
            {
                return;
            }
        }
    }

    /// The content of the file, if it has changed.
    fn check(&mut self, polled: bool) -> Option<FileContent> {
        self.follow();
        let before = last(&self.file.last);
        if polled && before.is_of(&self.file.path) {
            return None;
        }
        let content = self.file.read(&self.random);
        (last(&self.file.last).digest != before.digest).then_some(content)
    }

    /// Watches the relevant directories. Those that appear in the meantime are found by repeating this until nothing is
    /// new.
    fn follow(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        for _ in 0..MAX_ROUNDS {
            let mut wanted = Places::default();
            wanted.add(&self.file.path);
            match notifier.watch(wanted) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.problem.get_or_insert_with(|| error.to_string());
                    return;
                }
            }
        }
    }
}

/// Waits until there has been nothing new for a while, up to a limit.
async fn settle(wake: &Notify) {
    let latest = Instant::now() + MAX_QUIET_WAIT;
    loop {
        let quiet = Instant::now() + QUIET_TIME;
        let woken = timeout_at(quiet.min(latest), wake.notified()).await.is_ok();
        if !woken || Instant::now() >= latest {
            return;
        }
    }
}

/// A file, and its last known state.
struct Followed {
    path: PathBuf,
    last: Arc<Mutex<Last>>,
}

/// What a file was like when it was last read.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    stamp: Option<Stamp>,
    digest: Digest,
}

/// What changes with nearly every change of a file, and is known without reading it: device, inode, length, and the
/// times of the last change of content and of the inode.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Distinguishes contents without storing them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Digest {
    #[default]
    Missing,
    Present(usize, u64),
    Unreadable(u64),
}

impl Followed {
    fn read(&self, random: &RandomState) -> FileContent {
        // The stamp comes first: if the file changes in between, the next check notices.
        let stamp = stamp(&self.path);
        let content = read(&self.path);
        let digest = match &content {
            FileContent::Missing => Digest::Missing,
            FileContent::Present(bytes) => Digest::Present(bytes.len(), random.hash_one(bytes)),
            FileContent::Unreadable(why) => Digest::Unreadable(random.hash_one(why.to_string())),
            FileContent::Silent => Digest::Unreadable(0),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last { stamp, digest };
        content
    }
}

impl Last {
    /// Whether the file at the path looks unchanged.
    fn is_of(&self, path: &Path) -> bool {
        // If its metadata is unavailable, it is read again, which may give an error.
        match stamp(path) {
            None => self.digest == Digest::Missing && self.stamp.is_none(),
            now => self.stamp == now && !matches!(self.digest, Digest::Unreadable(_)),
        }
    }
}

fn last(shared: &Mutex<Last>) -> Last {
    *shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.len(), (data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec())))
}

#[cfg(test)]
mod tests;
