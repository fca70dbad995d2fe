//! Calls of the operating system that may never return: files on a mount that does not answer, names that no server
//! resolves.
//!
//! Each runs on a thread of its own, and is waited for no longer than a time. One that does not return keeps its
//! thread and its place in a [`Pool`], so that of each kind only so many threads can be lost; the others of its kind
//! then find no place in time, and are answered the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// There was no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it does not answer")]
pub(crate) struct NoAnswer;

/// Places for calls of one kind.
#[derive(Debug)]
pub(crate) struct Pool(std::sync::LazyLock<Arc<Semaphore>>);

/// Calls at once, of one kind. They take no processor, and hundreds of looks at directories in a storm take turns.
const MAX_CONCURRENT_CALLS: usize = 16;

/// Looks at files and directories whose paths others have chosen.
pub(crate) static FILES: Pool = Pool::new();
/// Resolving names.
pub(crate) static NAMES: Pool = Pool::new();

impl Pool {
    const fn new() -> Self {
        Self(std::sync::LazyLock::new(|| Arc::new(Semaphore::new(MAX_CONCURRENT_CALLS))))
    }

    /// What a call returns, if it does so in time. A call that has begun is not ended by that.
    pub async fn within<T: Send + 'static>(
        &self,
        time: Duration,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let answered = async {
            let place = Arc::clone(&self.0).acquire_owned().await.ok()?;
            // Tokio's threads for that, of which there are many more than all places together.
            let called = tokio::task::spawn_blocking(move || {
                let _place = place;
                call()
            });
            called.await.ok()
        };
        timeout(time, answered).await.ok().flatten().ok_or(NoAnswer)
    }
}

/// What a call returns, if it does so in time: for where nothing else has begun yet.
///
/// # Errors
///
/// If it does not.
pub(crate) fn within<T: Send + 'static>(
    time: Duration,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let (done, answer) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("file".to_owned()).spawn(move || {
        // The caller no longer waits where it took too long.
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
        // As soon as one returns there is a place again.
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
