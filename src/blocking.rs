//! System calls that may never return: files on a mount that does not answer, names that no server resolves.
//!
//! Each runs on a thread of its own, and is waited for only for a limited time. A call that does not return keeps its
//! thread and its slot in a [`Pool`], so that only a limited number of threads can be lost; further calls of the same
//! kind then time out as well.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// There was no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer")]
pub(crate) struct NoAnswer;

/// Slots for calls of one kind.
#[derive(Debug)]
pub(crate) struct Pool(std::sync::LazyLock<Arc<Semaphore>>);

/// Maximum number of concurrent calls of one kind; further calls wait for a slot.
const MAX_CONCURRENT_CALLS: usize = 16;

/// For files and directories whose paths come from outside.
pub(crate) static FILES: Pool = Pool::new();
/// For resolving names.
pub(crate) static NAMES: Pool = Pool::new();

impl Pool {
    const fn new() -> Self {
        Self(std::sync::LazyLock::new(|| Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS))))
    }

    /// The result of a call, if it returns in time. A timeout does not end the call.
    pub async fn within<T: Send + 'static>(
        &self,
        time: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let answered = async {
            let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
            // Threads of tokio's blocking pool, which has more than all slots together.
            let called = tokio::task::spawn_blocking(move || {
                let _place = place;
                call()
            });
            called.await.ok()
        };
        timeout(time, answered).await.ok().flatten().ok_or(NoAnswer)
    }
}

/// The result of a call, if it returns in time; for the time before the runtime has started.
///
/// # Errors
///
/// If it does not return in time.
pub(crate) fn within<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let (done, answer) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("file".to_owned()).spawn(move || {
        // After a timeout, the receiver is gone.
        let _ = done.send(call());
    });
    thread.map_err(|_| NoAnswer)?;
    answer.recv_timeout(time).map_err(|_| NoAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn calls_that_do_not_return_cost_their_places_and_no_more() {
        let pool = Pool::new();
        assert_eq!(pool.within(LONG, || 1).await, Ok(1));
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..MAX_CONCURRENT_CALLS {
            let held = Arc::clone(&held);
            assert_eq!(pool.within(SOON, move || held.lock().unwrap().recv().is_ok()).await, Err(NoAnswer));
        }
        assert_eq!(pool.within(SOON, || 2).await, Err(NoAnswer));
        // A slot is free as soon as a call returns.
        drop(release);
        assert_eq!(pool.within(LONG, || 3).await, Ok(3));
    }

    #[test]
    fn without_a_runtime_nothing_is_waited_for_either() {
        let (_release, held) = mpsc::channel::<()>();
        assert_eq!(within(SOON, move || held.recv().is_ok()), Err(NoAnswer));
        assert_eq!(within(LONG, || 4), Ok(4));
    }
}
