//! The visible state of a unit, in the model and in reality.

use std::fmt;

use crate::agreement::model::{ActiveState, ServiceResult, Signal, Unit, UnitId};

/// The release of systemd that the model follows.
pub const MODELLED: u32 = 252;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Load state, active state, sub state and type of the job, if the manager has it in memory.
    pub listed: Option<[String; 4]>,
    pub result: String,
    pub n_restarts: u32,
    pub has_invocation: bool,
    /// How often its process was started.
    pub runs: u64,
}

impl View {
    /// The view of a unit of the model for a manager of this release.
    ///
    /// If a start limit refuses an automatic restart, the model keeps the result of the previous run: so does 257,
    /// while 262 reports the limit.
    pub fn of(unit: &Unit, release: u32) -> Self {
        let says_limit = release > 257 && unit.is_refused_by_start_limit() && unit.active() == ActiveState::Failed;
        let result = if says_limit { ServiceResult::StartLimitHit } else { unit.result() };
        let job = unit.job().map_or("", |job| job.kind.as_str());
        let listed = [unit.load().as_str(), unit.active().as_str(), unit.sub().as_str(), job];
        Self {
            listed: unit.is_in_memory().then(|| listed.map(str::to_owned)),
            result: result.as_str().to_owned(),
            n_restarts: unit.n_restarts(),
            has_invocation: unit.invocation().is_some(),
            runs: if unit.spec().kind.is_service() { unit.runs() } else { 0 },
        }
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.listed {
            Some([load, active, sub, job]) => write!(f, "{load} {active} ({sub}), job [{job}]")?,
            None => f.write_str("not in memory")?,
        }
        write!(f, ", {}, NRestarts={}, {} runs", self.result, self.n_restarts, self.runs)?;
        f.write_str(if self.has_invocation { "" } else { ", no invocation" })
    }
}

/// The state in a signal: the active state, whether the unit waits for an automatic restart, whether it has a job.
pub type State = (String, bool, bool);

/// The states that the model signals, in order, for a manager of this release.
///
/// The model goes through `inactive` from an automatic restart to the start; since 254 a unit is `activating` there.
pub fn states(signals: &[Signal], of: UnitId, release: u32) -> impl Iterator<Item = State> {
    let mut restarts = false;
    signals.iter().filter_map(move |signal| match *signal {
        Signal::Changed { unit, active, auto_restart, job } if unit == of => {
            let is_queued = release >= 254 && restarts && active == ActiveState::Inactive && job.is_some();
            restarts = auto_restart && job.is_some();
            let active = if is_queued { ActiveState::Activating } else { active };
            Some((active.as_str().to_owned(), auto_restart, job.is_some()))
        }
        _ => None,
    })
}

/// The signalled states, in words.
///
/// Repetitions are left out. Whether a newly loaded unit is signalled to have a job before it starts follows no visible
/// rule, and is left out, too, except for a unit that was loaded all the time: there it distinguishes a stop of a unit
/// that is down from a `try-restart`, which has no effect.
pub fn story(states: impl Iterator<Item = State>, is_loaded: bool) -> String {
    let before = ("inactive".to_owned(), false, false);
    let mut states: Vec<State> = std::iter::once(before).chain(states).collect();
    states.retain(|(active, _, has_job)| is_loaded || active != "inactive" || !has_job);
    states.dedup();
    let words = |(active, auto_restart, has_job): State| {
        let auto_restart = if auto_restart { " (auto-restart)" } else { "" };
        format!("{active}{auto_restart}{}", if has_job { " with job" } else { "" })
    };
    states.into_iter().map(words).collect::<Vec<_>>().join(", ")
}

/// How the jobs of a unit have ended in the model, in order.
pub fn job_results(signals: &[Signal], of: UnitId) -> Vec<&'static str> {
    let result = |signal: &Signal| match signal {
        Signal::JobRemoved { unit, result, .. } if *unit == of => Some(result.as_str()),
        _ => None,
    };
    signals.iter().filter_map(result).collect()
}
