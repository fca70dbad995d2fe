//! How eagerly to heal: the validated settings that the healer works by.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::backoff::Backoff;
use super::diagnosis::State;
use super::probe::Probe;
use super::registry::Registry;
use super::selector::Worker;

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
    /// Which workers are asked as Lerd's definitions say, where nothing else is configured.
    pub defined_probes: DefinedProbes,
}

/// Which workers are asked as the definitions of their frameworks say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinedProbes {
    /// All but those of these names.
    AllBut(BTreeSet<String>),
    /// None.
    Off,
}

impl Default for DefinedProbes {
    fn default() -> Self {
        Self::AllBut(BTreeSet::new())
    }
}

impl Policy {
    /// How to ask this worker whether it is well, if anything says so.
    #[must_use]
    pub fn probe_of(&self, registry: &Registry, worker: &Worker) -> Option<Probe> {
        if let Some(probe) = self.probes.get(&worker.name) {
            return Some(probe.clone());
        }
        match &self.defined_probes {
            DefinedProbes::AllBut(not_these) if !not_these.contains(&worker.name) => {
                Some(Probe::UrlFileWithin(registry.url_file(&worker.site, &worker.name)?.to_owned()))
            }
            DefinedProbes::AllBut(_) | DefinedProbes::Off => None,
        }
    }

    /// Whether some worker may have to be asked whether it is well.
    #[must_use]
    pub fn probes_any(&self, registry: &Registry) -> bool {
        !self.probes.is_empty() || (registry.has_health() && self.defined_probes != DefinedProbes::Off)
    }

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
            defined_probes: DefinedProbes::default(),
        }
    }
}
