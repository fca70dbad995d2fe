//! Detects that a target is being isolated (`systemctl isolate`): everything that it does not need is stopped, which is
//! not meant for any worker in particular. systemd only shows the jobs, queued at once: one for the target, which may
//! be done immediately, and one for each unit that is stopped.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Jobs that are queued at once are signalled within this time.
const SIMULTANEOUS_TIME: Duration = Duration::from_millis(100);
/// Maximum time to wait for the end of the jobs.
const MAX_ISOLATION: Duration = Duration::from_secs(120);

/// Jobs that may belong to an isolation, by path, including the target's.
#[derive(Debug, Default)]
pub(super) struct Isolation {
    recent: VecDeque<(Instant, String)>,
    jobs: HashMap<String, String>,
    /// The last job of a target, and when it was queued.
    last: Option<(Instant, String)>,
}

impl Isolation {
    /// Records a queued job. Returns the job of a target that may be isolated, which has to be checked.
    pub fn queued(&mut self, path: String, unit: &str, now: Instant) -> Option<String> {
        if unit.ends_with(".target") {
            for (at, job) in self.recent.drain(..) {
                if at + SIMULTANEOUS_TIME > now {
                    self.jobs.insert(job, path.clone());
                }
            }
            self.jobs.insert(path.clone(), path.clone());
            self.last = Some((now, path.clone()));
            return Some(path);
        }
        match &self.last {
            Some((at, target)) if *at + SIMULTANEOUS_TIME > now => {
                self.jobs.insert(path, target.clone());
            }
            _ => {
                self.recent.retain(|(at, _)| *at + SIMULTANEOUS_TIME > now);
                self.recent.push_back((now, path));
            }
        }
        None
    }

    /// The target of this job cannot be isolated. Returns whether no isolation is left.
    pub fn is_none_of(&mut self, target_job: &str) -> bool {
        self.jobs.retain(|_, target| target != target_job);
        if self.last.as_ref().is_some_and(|(_, last)| last == target_job) {
            self.last = None;
        }
        self.jobs.is_empty()
    }

    /// Records the end of a job. Returns whether that was the last one of an isolation.
    pub fn job_ended(&mut self, path: &str) -> bool {
        self.recent.retain(|(_, job)| job != path);
        self.jobs.remove(path).is_some() && self.jobs.is_empty()
    }

    pub fn is_under_way(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub fn deadline(&self) -> Option<Instant> {
        let (begun, _) = self.last.as_ref()?;
        self.is_under_way().then_some(*begun + MAX_ISOLATION)
    }

    /// Drops what has taken too long: the end of a job can be missed.
    pub fn expire(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.jobs.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_until_the_last_of_its_jobs_has_ended() {
        let now = Instant::now();
        let mut isolation = Isolation::default();
        assert_eq!(isolation.queued("1".into(), "a.service", now), None);
        assert_eq!(isolation.queued("2".into(), "only.target", now), Some("2".into()));
        assert_eq!(isolation.queued("3".into(), "b.service", now), None);
        assert!(!isolation.job_ended("2") && !isolation.job_ended("1") && isolation.is_under_way());
        assert!(isolation.job_ended("3"));
        assert!(!isolation.is_under_way());
    }

    #[test]
    fn a_job_that_has_ended_before_the_target_was_queued_does_not_prolong_it() {
        let now = Instant::now();
        let mut isolation = Isolation::default();
        isolation.queued("1".into(), "a.service", now);
        assert!(!isolation.job_ended("1"));
        isolation.queued("2".into(), "only.target", now);
        assert!(isolation.job_ended("2"));
    }

    #[test]
    fn a_target_that_cannot_be_isolated_is_only_started() {
        let now = Instant::now();
        let mut isolation = Isolation::default();
        isolation.queued("1".into(), "a.service", now);
        isolation.queued("2".into(), "app.target", now);
        assert!(isolation.is_none_of("2"));
        assert!(!isolation.is_under_way());
        // Jobs long before or after are unrelated.
        isolation.queued("3".into(), "a.service", now);
        isolation.queued("4".into(), "only.target", now + SIMULTANEOUS_TIME);
        assert!(isolation.job_ended("4"));
    }
}
