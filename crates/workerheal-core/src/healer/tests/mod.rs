//! The rules of healing, each as a test that reads like the rule; then random sequences of facts, in which invariants
//! must hold. Here is the harness for all of them.

mod attempts;
mod giving_up;
mod intent;
mod lists;
mod lives;
mod parents;
mod proofs;
mod reports;
mod states;
mod surfaces;
mod waits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::incident::RECHECK_INTERVAL;
use super::*;
use crate::backoff::Backoff;
use crate::diagnosis::{State, Unrecoverable};
use crate::event::Phase as EventPhase;
use crate::pauses::Target;
use crate::policy::Policy;
use crate::probe::{Probe, ProbeAnswer, ProbeResult};
use crate::registry::{Registry, Site};
use crate::report::WorkerReport;
use crate::rules::Start;
use crate::units::{
    ActiveState, Deactivation, LoadState, Location, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence,
    StoppedGroup, Transition, UnitFile, UnitStatus,
};

const SECOND: Duration = Duration::from_secs(1);

fn site(name: &str) -> Site {
    Site::new(name, format!("/srv/{name}"))
}

fn paused_site(name: &str) -> Site {
    Site { paused: true, ..site(name) }
}

/// What is registered to begin with.
fn both_sites() -> [Site; 2] {
    [site("myapp"), site("shop")]
}

fn registry(sites: impl IntoIterator<Item = Site>) -> Arc<Registry> {
    Arc::new(sites.into_iter().collect())
}

/// `queue` for `lerd-queue-myapp`; names with a hyphen in them stand for themselves.
fn unit(name: &str) -> UnitName {
    let full = if name.contains('-') { name.to_owned() } else { format!("lerd-{name}-myapp") };
    UnitName::parse(&full).unwrap()
}

fn status(name: &str, active: ActiveState) -> UnitStatus {
    UnitStatus { name: unit(name), load: Some(LoadState::Loaded), active, has_job: false, auto_restart: false }
}

/// A unit that is enabled, as it was when it failed.
const ENABLED: UnitFile = UnitFile { enabled: true, on_demand: false, waits_with_targets: false, definition: 1 };

fn crashed() -> Inspection {
    Inspection { file: Some(ENABLED), ..Inspection::crashed() }
}

/// The inspection of a worker that is up.
fn up(up_for: Duration) -> Inspection {
    Inspection { active: ActiveState::Active, up_for: Some(up_for), result: ServiceResult::Success, ..crashed() }
}

fn without_jitter() -> Policy {
    Policy { backoff: Backoff::new(SECOND, 2.0, 300 * SECOND, 0.0).unwrap(), ..Policy::default() }
}

/// The settings with both sites.
fn context(policy: Policy) -> Context {
    Context { policy, registry: registry(both_sites()), ..Context::default() }
}

/// A healer with a clock, which observes one fact at a time and returns its actions in words.
struct Harness {
    healer: Healer,
    now: Timestamp,
}

impl Harness {
    fn new() -> Self {
        Self::with(without_jitter())
    }

    fn with(policy: Policy) -> Self {
        let random = fastrand::Rng::with_seed(7);
        let healer = Healer::new(Mode::Automatic, context(policy), random);
        Self { healer, now: Timestamp::default() }
    }

    /// A healer whose worker `queue` of the site myapp is up.
    fn with_healthy_queue() -> Self {
        let mut harness = Self::new();
        assert!(harness.list(&[("queue", ActiveState::Active)]).is_empty());
        harness
    }

    /// A healer whose first attempt to heal `queue` is under way.
    fn with_starting_queue() -> Self {
        let mut harness = Self::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", crashed());
        harness
    }

    /// A healer whose `queue` was started and has to prove itself.
    fn with_proving_queue() -> Self {
        let mut harness = Self::with_starting_queue();
        harness.goes("queue", ActiveState::Active);
        harness.ends("queue", Outcome::Done);
        harness
    }

    /// Observes a fact, and returns the actions. Rechecks of workers that are left alone are left out: `rechecked`
    /// answers them.
    fn observe(&mut self, fact: Fact) -> Vec<String> {
        let actions = self.healer.observe(self.now, fact);
        let is_recheck = |action: &&Action| {
            matches!(action, Action::Inspect { id: InspectionId { purpose: Purpose::Recheck, .. }, .. })
        };
        actions.iter().filter(|action| !is_recheck(action)).map(in_words).collect()
    }

    fn rechecked(&mut self, name: &str, seen: Inspection) -> Vec<String> {
        self.answers_inspection(name, Purpose::Recheck, Ok(seen))
    }

    /// Answers a pending inspection.
    #[track_caller]
    fn answers_inspection(&mut self, name: &str, purpose: Purpose, result: Result<Inspection, String>) -> Vec<String> {
        let id = self.healer.incidents.get(&unit(name)).and_then(|incident| incident.inspections.under_way(purpose));
        self.observe(Fact::Inspected(unit(name), id.expect("no inspection is under way"), result))
    }

    fn list(&mut self, units: &[(&str, ActiveState)]) -> Vec<String> {
        self.observe(Fact::Units(units.iter().map(|(name, active)| status(name, *active)).collect()))
    }

    /// Observes a list of units that are not up.
    fn list_not_active(&mut self, units: &[(&str, ActiveState)]) -> Vec<String> {
        self.observe(Fact::NotActive(units.iter().map(|(name, active)| status(name, *active)).collect()))
    }

    fn goes(&mut self, name: &str, active: ActiveState) -> Vec<String> {
        self.observe(Fact::Changed(status(name, active)))
    }

    /// As `goes`, while a job is under way.
    fn goes_with_job(&mut self, name: &str, active: ActiveState) -> Vec<String> {
        self.observe(Fact::Changed(UnitStatus { has_job: true, ..status(name, active) }))
    }

    fn shows(&mut self, name: &str, seen: Inspection) -> Vec<String> {
        self.answers(name, Ok(seen))
    }

    fn answers(&mut self, name: &str, result: Result<Inspection, String>) -> Vec<String> {
        let proves = self.healer.incidents.get(&unit(name)).is_some_and(|incident| incident.phase == Phase::Verifying);
        self.answers_inspection(name, if proves { Purpose::Proof } else { Purpose::Attempt }, result)
    }

    fn ends(&mut self, name: &str, outcome: Outcome) -> Vec<String> {
        self.observe(Fact::Finished(unit(name), outcome))
    }

    /// Its start fails, and an inspection shows that the manager does not restart it.
    fn fails(&mut self, name: &str, why: &str) -> Vec<String> {
        let actions = self.ends(name, Outcome::Failed(why.into()));
        self.is_seen_failed(name, actions)
    }

    /// It is seen failed, and an inspection shows that the manager does not restart it.
    fn is_seen_failed(&mut self, name: &str, mut actions: Vec<String>) -> Vec<String> {
        let last = actions.pop();
        assert!(last.as_deref().is_some_and(|it| it.starts_with("inspect")), "{actions:?}, {last:?}");
        actions.extend(self.shows(name, Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() }));
        actions
    }

    /// It comes up without an attempt, and stays up.
    fn comes_back(&mut self, name: &str) -> Vec<String> {
        let mut actions = self.goes(name, ActiveState::Active);
        actions.extend(self.after(10 * SECOND));
        assert_eq!(actions.pop(), Some(format!("inspect {name}")));
        actions.extend(self.shows(name, up(10 * SECOND)));
        actions
    }

    fn after(&mut self, wait: Duration) -> Vec<String> {
        self.now = self.now + wait;
        self.observe(Fact::Deadline)
    }

    fn sites(&mut self, sites: impl IntoIterator<Item = Site>) -> Vec<String> {
        self.observe(Fact::Registry(registry(sites)))
    }

    /// The time until the healer's next deadline.
    fn due_in(&self) -> Option<Duration> {
        self.healer.next_deadline().map(|at| at.since_origin().saturating_sub(self.now.since_origin()))
    }
}

fn in_words(action: &Action) -> String {
    let short =
        |unit: &str| unit.strip_prefix("lerd-").and_then(|u| u.strip_suffix("-myapp")).unwrap_or(unit).to_owned();
    match action {
        Action::Inspect { unit, id: InspectionId { purpose: Purpose::Baseline, .. }, .. } => {
            format!("remember {}", short(unit.short()))
        }
        Action::Inspect { unit, id: InspectionId { purpose: Purpose::Uptime, .. }, .. } => {
            format!("see how long {} is up", short(unit.short()))
        }
        Action::Inspect { unit, detail, .. } if detail.stop => format!("inspect {} and its stop", short(unit.short())),
        Action::Inspect { unit, .. } => format!("inspect {}", short(unit.short())),
        Action::Start(Start { unit, restart: true, .. }) => format!("restart {}", short(unit.short())),
        Action::Start(Start { unit, alone: true, .. }) => format!("start {} alone", short(unit.short())),
        Action::Start(Start { unit, .. }) => format!("start {}", short(unit.short())),
        Action::ListAll => "list all".to_owned(),
        Action::Stop(unit) => format!("stop {}", short(unit.short())),
        Action::Probe { unit, .. } => format!("ask {}", short(unit.short())),
        Action::Emit(event) => {
            let mut words = format!("{} {}", event.phase.as_str(), short(event.unit_name()));
            if let Some(attempt) = event.attempt {
                words.push_str(&format!(" #{attempt}"));
            }
            if let Some(wait) = event.retry_in {
                words.push_str(&format!(" in {}s", wait.as_secs_f64()));
            }
            for text in [&event.reason, &event.error] {
                if !text.is_empty() {
                    words.push_str(&format!(": {text}"));
                }
            }
            words
        }
    }
}

/// A unit that workers are bound to.
fn fpm(active: ActiveState, stopping: bool) -> Parent {
    Parent { name: "lerd-php85-fpm.service".into(), active, stopping, left: Some(60 * SECOND), ..Parent::default() }
}
