//! Small checks of files that are repeated regularly.
//!
//! One thread makes all of them, so that a round wakes only that one. A file system may never answer: then another
//! thread takes over, and leaves out the check in which the first one is stuck.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A check. It reports by itself what it finds.
pub(crate) type Check = Box<dyn FnMut() + Send>;

/// A round that takes this long is stuck.
const STUCK_TIME: Duration = Duration::from_secs(1);

/// Checks, and the thread that makes them. The checks live as long as this, or as they are under way.
pub(crate) struct Checks {
    checks: Arc<[Mutex<Check>]>,
    thread: Option<Thread>,
}

struct Thread {
    rounds: SyncSender<()>,
    busy: Busy,
}

/// When the current operation of a thread began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<Mutex<Option<Instant>>>);

impl Checks {
    pub fn new(checks: impl IntoIterator<Item = Check>) -> Self {
        Self { checks: checks.into_iter().map(Mutex::new).collect(), thread: None }
    }

    /// Requests a round. One that is pending is enough.
    pub fn run(&mut self) {
        if self.thread.as_ref().is_none_or(|thread| thread.busy.for_longer_than(STUCK_TIME)) {
            // Without a thread, the next round tries again.
            self.thread = self.start().inspect_err(|error| tracing::error!("files cannot be checked: {error}")).ok();
        }
        if let Some(thread) = &self.thread {
            let _ = thread.rounds.try_send(());
        }
    }

    fn start(&self) -> std::io::Result<Thread> {
        let (rounds, requests) = sync_channel(1);
        let (checks, busy) = (Arc::clone(&self.checks), Busy::default());
        let thread = Thread { rounds, busy: busy.clone() };
        std::thread::Builder::new().name("checks".to_owned()).spawn(move || {
            while requests.recv().is_ok() {
                busy.with(|| {
                    for check in &*checks {
                        // If it is locked, an earlier thread is stuck in it.
                        if let Ok(mut check) = check.try_lock() {
                            check();
                        }
                    }
                });
            }
        })?;
        Ok(thread)
    }
}

impl Busy {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    pub fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn for_longer_than(&self, time: Duration) -> bool {
        self.since().is_some_and(|since| since.elapsed() > time)
    }

    /// Performs an operation.
    pub fn with<T>(&self, work: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let done = work();
        self.set(None);
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Long enough for a busy machine.
    const DEADLINE: Duration = Duration::from_secs(20);

    fn reporting(name: &'static str, to: &Sender<&'static str>) -> Check {
        let to = to.clone();
        Box::new(move || to.send(name).unwrap())
    }

    fn next(reports: &Receiver<&'static str>) -> &'static str {
        reports.recv_timeout(DEADLINE).unwrap()
    }

    #[test]
    fn a_check_that_is_stuck_delays_no_other_and_goes_on_when_it_is_free() {
        let (to, reports) = channel();
        let (release, released) = channel::<()>();
        let stuck = reporting("stuck", &to);
        let stuck = {
            let mut stuck = stuck;
            Box::new(move || {
                stuck();
                // After the release, it is quick.
                let _ = released.recv();
            })
        };
        let mut checks = Checks::new([reporting("before", &to), stuck, reporting("after", &to)]);
        checks.run();
        assert_eq!([next(&reports), next(&reports)], ["before", "stuck"]);
        let deadline = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        while !seen.contains(&"after") {
            assert!(Instant::now() < deadline, "the others wait for it: {seen:?}");
            checks.run();
            seen.extend(reports.recv_timeout(Duration::from_millis(50)).ok());
        }
        assert!(!seen.contains(&"stuck"), "it is under way: {seen:?}");
        drop(release);
        while next(&reports) != "stuck" {
            checks.run();
        }
    }

    #[test]
    fn checks_are_dropped_with_the_thread() {
        let held = Arc::new(());
        let watched = Arc::downgrade(&held);
        let (to, reports) = channel();
        let mut report = reporting("round", &to);
        let mut checks = Checks::new([Box::new(move || {
            let _ = &held;
            report();
        }) as Check]);
        checks.run();
        assert_eq!(next(&reports), "round");
        drop((checks, to));
        assert!(reports.recv_timeout(DEADLINE).is_err());
        assert_eq!(watched.strong_count(), 0);
    }
}
