//! What is asked before something is done: what to pause and for how long, and whether to do it at all. Pure.

use std::time::Duration;

use super::effect::{Effect, Target};
use crate::core::report::WorkerReport;

/// The durations, and how they are shown.
pub(super) const PAUSE_TIMES: [(&str, Option<Duration>); 5] = [
    ("until you resume it", None),
    ("15 minutes", Some(Duration::from_secs(15 * 60))),
    ("1 hour", Some(Duration::from_secs(3600))),
    ("8 hours", Some(Duration::from_secs(8 * 3600))),
    ("1 day", Some(Duration::from_secs(24 * 3600))),
];

/// A question to be answered with yes before something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub title: &'static str,
    pub text: String,
    /// What yes means, as a word.
    pub yes: &'static str,
    pub effect: Effect,
}

impl Question {
    /// Whether to stop a worker.
    pub fn stop(worker: &WorkerReport) -> Self {
        let text = format!("Stop {}? It stays stopped until you start it.", worker.name());
        Self { title: "Stop", text, yes: "stop it", effect: Effect::Stop(Target::worker(worker)) }
    }

    /// Whether to end the pause of everything.
    pub fn resume_all() -> Self {
        let text = "You paused everything. Resume healing of all workers?".to_owned();
        Self { title: "Resume all", text, yes: "resume", effect: Effect::Resume(Target::everything()) }
    }

    /// Whether to heal this many workers.
    pub fn heal_all(count: usize) -> Self {
        let workers = if count == 1 { "worker" } else { "workers" };
        let text = format!("Heal {count} unhealthy {workers} now, without waiting for the next attempt?");
        Self { title: "Heal all", text, yes: "heal", effect: Effect::Heal(Target::everything()) }
    }
}

/// The menu, open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PauseMenu {
    pub targets: Vec<Target>,
    /// The index of the target, and the index into [`PAUSE_TIMES`].
    pub target: usize,
    pub time: usize,
}

impl PauseMenu {
    /// For a worker, its site, and everything.
    pub fn about(worker: &WorkerReport) -> Self {
        let site = (!worker.site.is_empty()).then(|| Target::site(&worker.site));
        let targets = [Some(Target::worker(worker)), site, Some(Target::everything())];
        Self { targets: targets.into_iter().flatten().collect(), target: 0, time: 0 }
    }

    /// Selects the next or the previous target.
    pub fn turn(&mut self, forward: bool) {
        let count = self.targets.len();
        self.target = (self.target + if forward { 1 } else { count - 1 }) % count;
    }

    /// Selects a longer or a shorter time.
    pub fn lengthen(&mut self, longer: bool) {
        self.time = if longer { (self.time + 1).min(PAUSE_TIMES.len() - 1) } else { self.time.saturating_sub(1) };
    }

    pub fn chosen(&self) -> (Target, Option<Duration>) {
        (self.targets[self.target].clone(), PAUSE_TIMES[self.time].1)
    }
}
