//! Waiting for an optional deadline.

use tokio::time::{Instant, sleep_until};

/// Waits until the deadline; forever if there is none.
pub(crate) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
