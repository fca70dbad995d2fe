//! What the daemon tells the service manager that runs it, sd_notify(3).
//!
//! Nothing here can fail in a way that anybody could mend: without a service manager, or on macOS,
//! nothing is told.

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;
use std::time::Duration;

/// All set up: units of the same user that wait for this one may start.
pub(super) fn ready() {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Reads its files again. `ready` follows.
pub(super) fn reloading() {
    #[cfg(target_os = "linux")]
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

/// On its way down.
pub(super) fn stopping() {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Still alive: the loop turns.
pub(super) fn watchdog() {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[NotifyState::Watchdog]);
}

/// One line on how things are.
pub(super) fn status(line: &str) {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[NotifyState::Status(line)]);
    #[cfg(not(target_os = "linux"))]
    let _ = line;
}

/// How often `watchdog` is to be told: twice in the time that the service manager allows.
pub(super) fn watchdog_interval() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return sd_notify::watchdog_enabled().map(|time| time / 2);
    #[cfg(not(target_os = "linux"))]
    None
}
