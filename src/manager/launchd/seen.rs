//! What an inspection of a job finds, and what the job is meant to be doing.

use std::time::Duration;

use super::answers::Job;
use super::launchctl::Domain;
use super::plist::{Agent, File};
use super::starts::Meant;

/// All that a close look at a job found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// `None` if it is not loaded.
    pub job: Option<Job>,
    /// Where it is loaded.
    pub domain: Option<Domain>,
    pub file: File,
    /// It is disabled on purpose.
    pub disabled: bool,
    /// It is not loaded, and Lerd has written its plist or its script just now.
    pub is_new: bool,
    /// Its working directory is definitely gone.
    pub directory_gone: bool,
    /// For how long its process has existed, in whole seconds.
    pub age: Option<Duration>,
}

/// What a job that does not run is meant to be doing, by its plist; where that cannot be read, by what launchd says.
pub(super) fn meant(job: &Job, agent: Option<&Agent>) -> Meant {
    match agent {
        Some(agent) => agent.starts.meant(&job.end, job.runs),
        None if job.keep_alive => Meant::Up,
        None => Meant::Down,
    }
}

/// Whether it is to run, and launchd does not start it until that is demanded.
pub(super) fn is_put_off(job: &Job, agent: Option<&Agent>) -> bool {
    job.is_idle() && meant(job, agent) == Meant::Up
}

impl Job {
    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.state == "running"
    }

    /// Whether it is being taken out.
    pub fn is_going(&self) -> bool {
        matches!(self.state.as_str(), "SIGTERMed" | "SIGKILLed")
    }

    /// Whether launchd has nothing planned for it, or has put that off: it starts when it is demanded.
    pub fn is_idle(&self) -> bool {
        matches!(self.state.as_str(), "not running" | "waiting")
    }
}
