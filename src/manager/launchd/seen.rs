//! What an inspection of a job finds, and what the job is meant to be doing.

use std::time::Duration;

use super::answers::Job;
use super::launchctl::Domain;
use super::plist::{Agent, File};
use super::starts::Meant;

/// The result of inspecting a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The job; `None` if it is not loaded.
    pub job: Option<Job>,
    /// The domain in which it is loaded.
    pub domain: Option<Domain>,
    pub file: File,
    /// Whether it is disabled on purpose.
    pub disabled: bool,
    /// Whether it is not loaded, and Lerd has written its plist or its script just now.
    pub is_new: bool,
    /// Whether its working directory is definitely missing.
    pub directory_gone: bool,
    /// How long its process has existed, in whole seconds.
    pub age: Option<Duration>,
}

/// What a job that does not run should be doing, by its plist, or if that cannot be read, by launchd.
pub(super) fn meant(job: &Job, agent: Option<&Agent>) -> Meant {
    match agent {
        Some(agent) => agent.starts.meant(&job.end, job.runs),
        None if job.keep_alive => Meant::Up,
        None => Meant::Down,
    }
}

/// Whether it should run, and launchd does not start it until that is demanded.
pub(super) fn is_put_off(job: &Job, agent: Option<&Agent>) -> bool {
    job.is_idle() && meant(job, agent) == Meant::Up
}

impl Job {
    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.state == "running"
    }

    /// Whether it is being booted out.
    pub fn is_going(&self) -> bool {
        matches!(self.state.as_str(), "SIGTERMed" | "SIGKILLed")
    }

    /// Whether launchd plans no start, or has put it off until it is demanded.
    pub fn is_idle(&self) -> bool {
        matches!(self.state.as_str(), "not running" | "waiting")
    }
}
