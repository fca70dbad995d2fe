//! Saves the state and updates the status line, once for all changes within a short time.

use std::time::Duration;

use super::Daemon;
use crate::core::healer::Counts;
use crate::manager::ServiceManager;

/// Delay before changes are saved and counted: a storm of changes is saved once.
pub(super) const MIN_SAVE_DELAY: Duration = Duration::from_millis(100);
/// Additional delay for each worker in the saved state. All are written each time: without this, a storm of 5,000
/// workers is mostly writing. At most a second in all, so that a daemon that is killed loses no more than that.
const SAVE_DELAY_PER_WORKER: Duration = Duration::from_micros(200);
const MAX_SAVE_DELAY: Duration = Duration::from_secs(1);

impl<M: ServiceManager> Daemon<M> {
    /// Saves the state and counts workers, once for all changes within a short time.
    pub(super) fn take_stock(&mut self) {
        self.stock_at = None;
        self.save_state();
        if self.recount {
            self.count();
        }
    }

    /// Saves the state that has to survive a restart.
    pub(super) fn save_state(&mut self) {
        if self.unread.is_some() {
            // The content of the file is unknown, and must not be overwritten.
            return;
        }
        if let Some(saved_state) = self.healer.saved_state_if_changed() {
            let workers = u32::try_from(saved_state.workers.len()).unwrap_or(u32::MAX);
            let later = SAVE_DELAY_PER_WORKER.saturating_mul(workers);
            self.stock_within = (MIN_SAVE_DELAY + later).min(MAX_SAVE_DELAY);
            self.state_writer.keep(saved_state);
        }
    }

    /// Updates the status line.
    pub(super) fn count(&mut self) {
        self.recount = false;
        let trouble = self.trouble.as_ref().or(self.unread.as_ref());
        let line = status(&self.healer.counts(), trouble.map(String::as_str));
        if line != self.status_line {
            self.notify.status(&line);
            self.status_line = line;
        }
    }
}

/// The line that `systemctl status` shows.
fn status(counts: &Counts, trouble: Option<&str>) -> String {
    use std::fmt::Write as _;
    if let Some(why) = trouble {
        return format!("Paused: {why}");
    }
    let mut line = format!("Watching over {}", watched(counts));
    for (count, what) in [
        (counts.healing, "being healed"),
        (counts.waiting, "waiting for the next attempt"),
        (counts.held, "held"),
        (counts.gave_up, "given up"),
    ] {
        if count > 0 {
            let _ = write!(line, ", {count} {what}");
        }
    }
    line
}

pub(super) fn watched(counts: &Counts) -> String {
    format!("{} worker{}", counts.workers, if counts.workers == 1 { "" } else { "s" })
}
