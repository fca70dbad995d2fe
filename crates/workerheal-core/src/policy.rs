//! How eagerly to heal: the validated settings that the healer works by.

use std::collections::BTreeMap;
use std::time::Duration;

use super::backoff::Backoff;
use super::diagnosis::State;
use super::probe::Probe;

/// The `heal:` and `probes:` parts of the configuration. The defaults are the documented ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// States that are healed without anybody asking.
    pub states: Vec<State>,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// A worker counts as healed once it has stayed up this long.
    pub stable_after: Duration,
    /// An uptime this long forgets earlier attempts.
    pub reset_after: Duration,
    /// Attempts without success after which the worker is left alone; `None` never gives up.
    pub give_up_after: Option<u32>,
    /// The longest a start may take.
    pub timeout: Duration,
    /// Starts under way at once.
    pub max_concurrent: usize,
    /// How to ask workers whether they are well, by the worker's name.
    pub probes: BTreeMap<String, Probe>,
}

impl Policy {
    /// Whether a worker in this state is healed without anybody asking. Who configures a probe wants
    /// its refusal healed.
    #[must_use]
    pub fn heals(&self, state: State) -> bool {
        state == State::Unreachable || self.states.contains(&state)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            states: vec![State::Failed, State::StartLimitHit],
            backoff: Backoff::default(),
            stable_after: Duration::from_secs(10),
            reset_after: Duration::from_secs(600),
            give_up_after: Some(10),
            timeout: Duration::from_secs(90),
            max_concurrent: 8,
            probes: BTreeMap::new(),
        }
    }
}
