//! How workers are healed: the validated settings of the healer.

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
    /// States that are healed automatically.
    pub states: Vec<State>,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// A worker counts as healed once it has stayed up this long.
    pub stable_after: Duration,
    /// After an uptime this long, earlier attempts are forgotten.
    pub reset_after: Duration,
    /// Number of failed attempts after which the worker is left alone; `None` never gives up.
    pub give_up_after: Option<u32>,
    /// Maximum duration of a start.
    pub timeout: Duration,
    /// Maximum number of concurrent starts.
    pub max_concurrent: usize,
    /// Configured health probes, by the worker's name.
    pub probes: BTreeMap<String, Probe>,
    /// Which workers without a configured probe use the one that Lerd defines.
    pub defined_probes: DefinedProbes,
}

/// Which workers use the health probes that the definitions of their frameworks give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DefinedProbes {
    /// All but those with these names.
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
    /// The health probe of this worker, if it has one.
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

    /// Whether some worker may have a health probe.
    #[must_use]
    pub fn probes_any(&self, registry: &Registry) -> bool {
        !self.probes.is_empty() || (registry.has_health() && self.defined_probes != DefinedProbes::Off)
    }

    /// The names of workers that have a probe configured, or are excluded from those that Lerd defines.
    pub fn workers_in_probes(&self) -> impl Iterator<Item = &str> {
        let off = match &self.defined_probes {
            DefinedProbes::AllBut(not_these) => Some(not_these),
            DefinedProbes::Off => None,
        };
        self.probes.keys().chain(off.into_iter().flatten()).map(String::as_str)
    }

    /// How long a worker has to stay up until its crash loop is over: `stable_after`, and twice as long as its last run,
    /// but never longer than `reset_after`.
    #[must_use]
    pub fn crash_loop_ends_after(&self, last_run: Option<Duration>) -> Duration {
        let last_run = last_run.unwrap_or_default();
        last_run.saturating_mul(2).max(self.stable_after).min(self.reset_after.max(self.stable_after))
    }

    /// Whether a worker in this state is healed automatically. A configured probe implies that its refusal is healed.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Site;

    #[test]
    fn there_are_probes_if_they_are_configured_or_defined_and_not_switched_off() {
        let plain: Registry = [Site::new("shop", "/srv/shop")].into_iter().collect();
        let files = [("vite".to_owned(), "public/hot".into())].into_iter().collect();
        let with_health = plain.clone().with_health([("laravel".to_owned(), files)].into_iter().collect());
        let probes = BTreeMap::from([("vite".to_owned(), Probe::UrlFileWithin("hot".into()))]);
        for (probes, defined_probes, registry, expected) in [
            (BTreeMap::new(), DefinedProbes::default(), &plain, false),
            (probes, DefinedProbes::Off, &plain, true),
            (BTreeMap::new(), DefinedProbes::default(), &with_health, true),
            (BTreeMap::new(), DefinedProbes::Off, &with_health, false),
        ] {
            let policy = Policy { probes, defined_probes, ..Policy::default() };
            assert_eq!(policy.probes_any(registry), expected, "{policy:?}");
        }
    }

    #[test]
    fn the_workers_of_configured_and_excluded_probes_are_known_by_name() {
        let probes = BTreeMap::from([("vite".to_owned(), Probe::UrlFileWithin("hot".into()))]);
        let defined_probes = DefinedProbes::AllBut(["reverb".to_owned()].into());
        let policy = Policy { probes: probes.clone(), defined_probes, ..Policy::default() };
        assert_eq!(policy.workers_in_probes().collect::<Vec<_>>(), ["vite", "reverb"]);
        let off = Policy { probes, defined_probes: DefinedProbes::Off, ..Policy::default() };
        assert_eq!(off.workers_in_probes().collect::<Vec<_>>(), ["vite"]);
    }

    #[test]
    fn a_configured_probe_comes_before_the_frameworks_and_either_can_be_switched_off() {
        let site = Site { framework: "laravel".to_owned(), ..Site::new("shop", "/srv/shop") };
        let files = [("vite".to_owned(), "public/hot".into())].into_iter().collect();
        let registry = [site].into_iter().collect::<Registry>();
        let registry = registry.with_health([("laravel".to_owned(), files)].into_iter().collect());
        let worker = Worker { site: "shop".into(), name: "vite".into(), worktree: None };
        let defined = Probe::UrlFileWithin("public/hot".into());
        let configured = Probe::Tcp("localhost:5173".into());
        let all_but = |name: &str| DefinedProbes::AllBut([name.to_owned()].into());
        for (probe, defined_probes, expected) in [
            (None, DefinedProbes::default(), Some(&defined)),
            (None, all_but("other"), Some(&defined)),
            (None, all_but("vite"), None),
            (None, DefinedProbes::Off, None),
            (Some(&configured), DefinedProbes::default(), Some(&configured)),
            (Some(&configured), DefinedProbes::Off, Some(&configured)),
        ] {
            let probes = probe.map(|probe| ("vite".to_owned(), probe.clone())).into_iter().collect();
            let policy = Policy { probes, defined_probes, ..Policy::default() };
            assert_eq!(policy.probe_of(&registry, &worker).as_ref(), expected, "{policy:?}");
        }
    }
}
