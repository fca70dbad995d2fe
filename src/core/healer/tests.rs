//! The rules of healing, each as a test that reads like the rule; then random lives, in which
//! what must never happen must not happen.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::track::LOOK_AGAIN;
use super::*;
use crate::core::backoff::Backoff;
use crate::core::diagnosis::State;
use crate::core::event::Phase as EventPhase;
use crate::core::probe::Answer;
use crate::core::units::{Fall, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence, UnitFile};

const SECOND: Duration = Duration::from_secs(1);

const SITES: &[u8] = b"
sites:
  - {name: myapp, path: /srv/myapp}
  - {name: shop, path: /srv/shop}
";

fn registry(text: &[u8]) -> Arc<Registry> {
    Arc::new(Registry::parse(text).unwrap())
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
const ENABLED: UnitFile = UnitFile { enabled: true, on_demand: false, definition: 1 };

fn crashed() -> Inspection {
    Inspection { file: Some(ENABLED), ..Inspection::crashed() }
}

/// What a close look at a worker that is up shows.
fn up(up_for: Duration) -> Inspection {
    Inspection { active: ActiveState::Active, up_for: Some(up_for), result: ServiceResult::Success, ..crashed() }
}

fn without_jitter() -> Policy {
    Policy { backoff: Backoff::new(SECOND, 2.0, 300 * SECOND, 0.0).unwrap(), ..Policy::default() }
}

/// A healer with a clock, told facts one at a time; answers what it does in words.
struct Ward {
    healer: Healer,
    now: Timestamp,
}

impl Ward {
    fn new() -> Self {
        Self::with(without_jitter())
    }

    fn with(policy: Policy) -> Self {
        let random = fastrand::Rng::with_seed(7);
        let healer = Healer::new(Mode::Automatic, Coverage::default(), policy, registry(SITES), random);
        Self { healer, now: Timestamp::default() }
    }

    /// A ward whose worker `queue` of the site myapp is up.
    fn with_healthy_queue() -> Self {
        let mut ward = Self::new();
        assert!(ward.list(&[("queue", ActiveState::Active)]).is_empty());
        ward
    }

    /// A ward in which the first attempt to heal `queue` is under way.
    fn with_starting_queue() -> Self {
        let mut ward = Self::with_healthy_queue();
        ward.goes("queue", ActiveState::Failed);
        ward.shows("queue", crashed());
        ward
    }

    /// A ward whose `queue` was started and has to prove itself.
    fn with_proving_queue() -> Self {
        let mut ward = Self::with_starting_queue();
        ward.goes("queue", ActiveState::Active);
        ward.ends("queue", Outcome::Done);
        ward
    }

    /// What is done about a fact. Second looks at what is left alone are not told of: they are
    /// answered with `rechecked`.
    fn observe(&mut self, fact: Fact) -> Vec<String> {
        let actions = self.healer.observe(self.now, fact);
        let is_recheck =
            |action: &&Action| matches!(action, Action::Inspect { look: Look { purpose: Purpose::Recheck, .. }, .. });
        actions.iter().filter(|action| !is_recheck(action)).map(in_words).collect()
    }

    fn rechecked(&mut self, name: &str, seen: Inspection) -> Vec<String> {
        self.answers_look(name, Purpose::Recheck, Ok(seen))
    }

    /// The answer to a look that is under way.
    #[track_caller]
    fn answers_look(&mut self, name: &str, purpose: Purpose, result: Result<Inspection, String>) -> Vec<String> {
        let look = self.healer.tracks.get(&unit(name)).and_then(|track| track.looks.under_way(purpose));
        self.observe(Fact::Inspected(unit(name), look.expect("nobody wants to look at it"), result))
    }

    fn list(&mut self, units: &[(&str, ActiveState)]) -> Vec<String> {
        self.observe(Fact::Units(units.iter().map(|(name, active)| status(name, *active)).collect()))
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
        let proves = self.healer.tracks.get(&unit(name)).is_some_and(|track| track.phase == Phase::Verifying);
        self.answers_look(name, if proves { Purpose::Proof } else { Purpose::Attempt }, result)
    }

    fn ends(&mut self, name: &str, outcome: Outcome) -> Vec<String> {
        self.observe(Fact::Finished(unit(name), outcome))
    }

    fn after(&mut self, wait: Duration) -> Vec<String> {
        self.now = self.now + wait;
        self.observe(Fact::Deadline)
    }

    fn sites(&mut self, text: &[u8]) -> Vec<String> {
        self.observe(Fact::Registry(registry(text)))
    }

    /// How long until the healer wants to be woken.
    fn due_in(&self) -> Option<Duration> {
        self.healer.next_deadline().map(|at| at.since_origin().saturating_sub(self.now.since_origin()))
    }
}

fn in_words(action: &Action) -> String {
    let short =
        |unit: &str| unit.strip_prefix("lerd-").and_then(|u| u.strip_suffix("-myapp")).unwrap_or(unit).to_owned();
    match action {
        Action::Inspect { unit, look: Look { purpose: Purpose::Memory, .. }, .. } => {
            format!("remember {}", short(unit.short()))
        }
        Action::Inspect { unit, look: Look { purpose: Purpose::Uptime, .. }, .. } => {
            format!("see how long {} is up", short(unit.short()))
        }
        Action::Inspect { unit, detail, .. } if detail.stop => format!("look at {} and its stop", short(unit.short())),
        Action::Inspect { unit, .. } => format!("look at {}", short(unit.short())),
        Action::Start(unit) => format!("start {}", short(unit.short())),
        Action::Restart(unit) => format!("restart {}", short(unit.short())),
        Action::Probe { unit, .. } => format!("ask {}", short(unit.short())),
        Action::Emit(event) => {
            let mut words = format!("{} {}", event.phase.as_str(), short(&event.unit));
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

#[test]
fn a_crash_is_looked_at_and_started_at_once() {
    let mut ward = Ward::with_healthy_queue();
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn healed_means_up_for_the_proving_time_and_seen_to_be() {
    let mut ward = Ward::with_proving_queue();
    assert_eq!(ward.due_in(), Some(10 * SECOND));
    assert!(ward.after(9 * SECOND).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue"]);
    assert_eq!(ward.shows("queue", up(10 * SECOND)), ["healed queue #1"]);
}

#[test]
fn a_restart_that_nobody_signalled_is_no_proof() {
    let mut ward = Ward::with_proving_queue();
    ward.after(10 * SECOND);
    assert_eq!(
        ward.shows("queue", up(3 * SECOND)),
        [
            "failed queue #1: died and was restarted right after its start",
            "scheduled queue #2 in 1s",
            "recovered queue"
        ]
    );
}

#[test]
fn a_proof_that_cannot_be_read_is_taken_again() {
    let mut ward = Ward::with_proving_queue();
    ward.after(10 * SECOND);
    assert!(ward.answers("queue", Err("no answer".into())).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue"]);
    assert_eq!(ward.shows("queue", up(11 * SECOND)), ["healed queue #1"]);
}

#[test]
fn death_while_proving_is_a_failed_attempt() {
    let mut ward = Ward::with_proving_queue();
    assert_eq!(
        ward.goes("queue", ActiveState::Failed),
        ["failed queue #1: died right after its start", "scheduled queue #2 in 1s"]
    );
    let mut ward = Ward::with_proving_queue();
    // The manager restarts it by itself: so it died, even if it is not parked.
    assert_eq!(
        ward.goes("queue", ActiveState::Activating),
        ["failed queue #1: died right after its start", "scheduled queue #2 in 1s"]
    );
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
}

#[test]
fn attempts_wait_longer_and_longer_and_end_with_one_loud_event() {
    let mut ward = Ward::with_starting_queue();
    let mut waits = Vec::new();
    for attempt in 1..10 {
        let told = ward.ends("queue", Outcome::Failed("boom".into()));
        assert_eq!(told[0], format!("failed queue #{attempt}: boom"));
        let wait = ward.due_in().unwrap();
        waits.push(wait.as_secs());
        assert_eq!(ward.after(wait), ["look at queue"]);
        let next = attempt + 1;
        assert_eq!(ward.shows("queue", crashed()), [format!("starting queue #{next}"), "start queue".into()]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(
        ward.ends("queue", Outcome::Failed("boom".into())),
        ["failed queue #10: boom", "gave-up queue #10: 10 attempts failed: boom"]
    );
    for _ in 0..100 {
        assert!(ward.after(3600 * SECOND).is_empty());
        assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    }
}

#[test]
fn the_backoff_can_be_told_to_never_give_up() {
    let mut ward = Ward::with(Policy { give_up_after: None, ..without_jitter() });
    ward.list(&[("queue", ActiveState::Failed)]);
    ward.shows("queue", crashed());
    for attempt in 1..100 {
        assert_eq!(ward.ends("queue", Outcome::Failed("boom".into()))[0], format!("failed queue #{attempt}: boom"));
        let wait = ward.due_in().unwrap();
        ward.after(wait);
        ward.shows("queue", crashed());
    }
    assert_eq!(ward.due_in(), None);
}

#[test]
fn a_worker_that_dies_again_after_a_while_has_to_wait_all_the_same() {
    let mut ward = Ward::with_proving_queue();
    ward.after(10 * SECOND);
    ward.shows("queue", up(10 * SECOND));
    ward.after(60 * SECOND);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["detected queue: failed", "scheduled queue #2 in 1s"]);
}

#[test]
fn a_long_uptime_forgets_earlier_attempts() {
    let mut ward = Ward::with_proving_queue();
    ward.after(10 * SECOND);
    ward.shows("queue", up(10 * SECOND));
    assert_eq!(ward.after(600 * SECOND), ["see how long queue is up"]);
    ward.answers_look("queue", Purpose::Uptime, Ok(up(600 * SECOND)));
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.shows("queue", crashed()), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn an_uptime_with_a_break_that_nobody_saw_forgets_nothing() {
    let mut ward = Ward::with_proving_queue();
    ward.after(10 * SECOND);
    ward.shows("queue", up(10 * SECOND));
    ward.after(600 * SECOND);
    ward.answers_look("queue", Purpose::Uptime, Ok(up(100 * SECOND)));
    assert_eq!(ward.due_in(), Some(500 * SECOND));
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.shows("queue", crashed()), ["detected queue: failed", "scheduled queue #2 in 1s"]);
}

#[test]
fn a_crash_loop_is_told_once_whichever_moment_of_it_is_looked_at() {
    let mut ward = Ward::with_healthy_queue();
    // For an instant of each turn systemd calls the unit failed, and has scheduled its restart by the time of the look.
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    let looping = Inspection {
        active: ActiveState::Activating,
        auto_restart: true,
        restarts: Some(Restarts { count: 7, last_run: Some(SECOND) }),
        ..crashed()
    };
    assert_eq!(
        ward.shows("queue", looping),
        [
            "detected queue: crash-looping: restarted 7 times by the service manager",
            "held queue: the service manager itself restarts it, 7 times so far"
        ]
    );
    for _ in 0..3 {
        for active in [ActiveState::Activating, ActiveState::Active, ActiveState::Failed] {
            assert_eq!(ward.goes("queue", active), [""; 0]);
        }
    }
}

#[test]
fn what_failed_while_nobody_watched_is_healed_after_a_look_at_how_it_stopped() {
    let mut ward = Ward::new();
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn a_lost_signal_costs_time_and_nothing_else() {
    let mut ward = Ward::with_healthy_queue();
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
}

#[test]
fn a_fall_that_took_its_time_is_looked_up_even_if_no_stop_was_signalled() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    let slow = Inspection { fall: Some(Fall { left: 50 * SECOND, down: 51 * SECOND }), ..crashed() };
    assert_eq!(ward.shows("queue", slow.clone()), ["look at queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..slow };
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn a_stop_on_request_that_ends_in_failure_stays_a_stop() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    assert!(ward.goes_with_job("queue", ActiveState::Failed).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["stopped queue"]);
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    // Until its user starts it, and it then crashes.
    ward.goes("queue", ActiveState::Active);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
}

#[test]
fn a_worker_that_dies_while_a_job_waits_may_have_been_stopped() {
    // A stop waits until what is ordered after the worker is down.
    let mut ward = Ward::with_healthy_queue();
    ward.observe(Fact::Changed(UnitStatus { has_job: true, ..status("queue", ActiveState::Active) }));
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue and its stop"]);
}

#[test]
fn a_worker_that_dies_under_a_job_may_have_been_stopped_though_that_job_was_not_seen_before() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes_with_job("queue", ActiveState::Failed);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue and its stop"]);

    let mut ward = Ward::with_healthy_queue();
    ward.observe(Fact::JobDone(unit("queue")));
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue and its stop"]);
}

#[test]
fn a_stop_on_request_is_found_out_afterwards_too() {
    let mut ward = Ward::new();
    ward.list(&[("queue", ActiveState::Failed)]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn when_a_stop_cannot_be_ruled_out_nothing_is_started() {
    let mut ward = Ward::new();
    ward.list(&[("queue", ActiveState::Failed)]);
    let seen = Inspection { stop: Some(StopEvidence::Unknown("the journal is gone".into())), ..crashed() };
    assert_eq!(
        ward.shows("queue", seen),
        ["detected queue: failed", "held queue: it may have been stopped on purpose: the journal is gone"]
    );
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
}

#[test]
fn a_crash_through_deactivating_is_a_crash() {
    // ExecStopPost= runs in `deactivating`, without a job.
    let mut ward = Ward::with_healthy_queue();
    assert!(ward.goes("queue", ActiveState::Deactivating).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
}

#[test]
fn a_stop_during_the_proof_is_obeyed() {
    let mut ward = Ward::with_proving_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(ward.goes("queue", ActiveState::Inactive), ["stopped queue"]);
    let mut ward = Ward::with_proving_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["stopped queue"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn clearing_the_failure_by_hand_ends_a_wait() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    assert!(ward.goes("queue", ActiveState::Inactive).is_empty(), "perhaps to start it next");
    assert_eq!(ward.after(SECOND), ["stopped queue: somebody cleared its failure"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn whoever_clears_the_failure_and_starts_the_worker_has_healed_it() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.goes("queue", ActiveState::Inactive);
    ward.goes("queue", ActiveState::Activating);
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
}

#[test]
fn a_stop_of_a_worker_that_is_down_already_is_a_stop_all_the_same() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    // systemd has nothing to do for it but to say that the job is done.
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["stopped queue"]);
    assert!(ward.after(3600 * SECOND).is_empty());

    // Had it been a start, it would have been up since.
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.observe(Fact::JobDone(unit("queue")));
    ward.answers("queue", Err("no answer".into()));
    ward.after(SECOND * 10);
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue"]);
    let again = Inspection { down_for: Some(9 * SECOND), stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(ward.shows("queue", again), ["starting queue #2", "start queue"]);

    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.observe(Fact::JobDone(unit("queue")));
    assert_eq!(ward.shows("queue", crashed()), ["stopped queue"], "while it is looked at");
}

#[test]
fn a_stop_in_the_middle_of_our_start_is_obeyed() {
    for end in [ActiveState::Failed, ActiveState::Inactive] {
        let mut ward = Ward::with_starting_queue();
        ward.goes("queue", ActiveState::Activating);
        ward.goes_with_job("queue", ActiveState::Deactivating);
        assert!(ward.ends("queue", Outcome::Cancelled).is_empty());
        assert_eq!(ward.goes("queue", end), ["stopped queue"]);
        assert!(ward.after(3600 * SECOND).is_empty());
    }
}

#[test]
fn a_start_that_takes_too_long_is_no_stop() {
    // systemd ends it, and its start job lasts until it is down.
    let mut ward = Ward::with_starting_queue();
    ward.goes_with_job("queue", ActiveState::Activating);
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes_with_job("queue", ActiveState::Failed);
    let told = ward.ends("queue", Outcome::Failed("could not be started".into()));
    assert_eq!(told[0], "failed queue #1: could not be started");
    assert!(ward.goes("queue", ActiveState::Failed).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["starting queue #2", "start queue"]);
}

#[test]
fn a_restart_whose_second_half_fails_is_no_stop() {
    // Somebody else's: what is seen of it is a stop, and what the journal has of the new run is none.
    let mut ward = Ward::with_healthy_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes_with_job("queue", ActiveState::Failed);
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.shows("queue", crashed()), ["stopped queue"]);
    let seen = |stop| Inspection { run: Some("2".into()), stop: Some(stop), ..crashed() };
    assert!(ward.rechecked("queue", seen(StopEvidence::NotRequested)).is_empty(), "it may not be written yet");
    ward.after(LOOK_AGAIN);
    let told = ward.rechecked("queue", seen(StopEvidence::NotRequested));
    assert_eq!(told, ["look at queue and its stop"]);
    let told = ward.shows("queue", seen(StopEvidence::NotRequested));
    assert_eq!(told, ["detected queue: failed", "starting queue #1", "start queue"]);

    // What the journal confirms stays a stop.
    let mut ward = Ward::with_healthy_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes("queue", ActiveState::Failed);
    ward.shows("queue", crashed());
    ward.rechecked("queue", seen(StopEvidence::Requested));
    ward.after(LOOK_AGAIN);
    assert!(ward.rechecked("queue", Inspection { run: Some("2".into()), ..crashed() }).is_empty());
}

#[test]
fn a_start_of_which_only_the_first_half_happened_is_repeated() {
    let mut ward = Ward::with_starting_queue();
    // Its failure is cleared, and then the manager or the bus goes away.
    ward.goes("queue", ActiveState::Inactive);
    ward.observe(Fact::Frozen);
    ward.ends("queue", Outcome::NotStarted("the connection was lost".into()));
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(ward.list(&[("queue", ActiveState::Inactive)]), ["look at queue and its stop"]);
    assert!(ward.shows("queue", seen.clone()).is_empty(), "the wait goes on");
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);
    assert_eq!(ward.shows("queue", seen), ["starting queue #2", "start queue"]);

    // The same if a unit that it depends on cannot be started.
    let mut ward = Ward::with_starting_queue();
    ward.goes("queue", ActiveState::Inactive);
    let told = ward.ends("queue", Outcome::NotStarted("dependency".into()));
    assert_eq!(told, ["failed queue #1: dependency", "scheduled queue #2 in 1s"]);
    assert!(ward.list(&[("queue", ActiveState::Inactive)]).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);

    // The same if the end is told before the failure is seen to be cleared.
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::NotStarted("refused".into()));
    assert!(ward.goes("queue", ActiveState::Inactive).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);

    // But not if its user stops it now.
    let mut ward = Ward::with_starting_queue();
    ward.goes("queue", ActiveState::Inactive);
    ward.ends("queue", Outcome::NotStarted("dependency".into()));
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), ["look at queue and its stop"]);
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn a_start_that_a_restart_replaces_is_somebody_elses() {
    let mut ward = Ward::with_starting_queue();
    ward.goes_with_job("queue", ActiveState::Activating);
    assert!(ward.ends("queue", Outcome::Cancelled).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
}

#[test]
fn a_worker_that_comes_up_by_itself_is_not_started() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    assert!(ward.goes("queue", ActiveState::Activating).is_empty());
    assert!(ward.after(SECOND).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
}

#[test]
fn a_wait_goes_on_if_the_start_of_somebody_else_fails() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.goes("queue", ActiveState::Activating);
    assert!(ward.after(5 * SECOND).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
}

#[test]
fn paused_by_the_registry_it_stays_down_until_that_ends() {
    for (text, reason) in [
        (&b"sites: [{name: myapp, path: /a, paused: true}]"[..], "the site myapp is paused"),
        (b"sites: [{name: myapp, path: /a, paused_workers: [queue]}]", "the worker queue of myapp is paused"),
        (
            b"sites: [{name: myapp, path: /a, idle_suspended_workers: [queue]}]",
            "the worker queue of myapp sleeps until the site is used again",
        ),
    ] {
        let mut ward = Ward::with_healthy_queue();
        ward.sites(text);
        let held = [format!("held queue: {reason}"), "remember queue".to_owned()];
        assert_eq!(ward.goes("queue", ActiveState::Failed), held);
        assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
        assert_eq!(ward.sites(SITES), ["look at queue"]);
    }
}

#[test]
fn a_pause_cancels_the_wait_for_the_next_attempt() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    let paused = b"sites: [{name: myapp, path: /a, paused: true}]";
    assert_eq!(ward.sites(paused), ["held queue: the site myapp is paused"]);
    assert_eq!(ward.due_in(), None);
}

#[test]
fn a_pause_between_look_and_start_is_obeyed() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.sites(b"sites: [{name: myapp, path: /a, paused: true}]");
    assert_eq!(ward.shows("queue", crashed()), ["held queue: the site myapp is paused"]);
}

#[test]
fn under_the_stop_marker_nothing_is_healed() {
    let mut ward = Ward::with_healthy_queue();
    ward.observe(Fact::StopMarker(true));
    let held = "held queue: everything was stopped on purpose (the stop marker exists)";
    assert_eq!(ward.goes("queue", ActiveState::Failed), [held, "remember queue"]);
    assert_eq!(ward.observe(Fact::StopMarker(false)), ["look at queue"]);
}

#[test]
fn ignored_sites_containers_and_global_units_are_none_of_ours() {
    let mut ward = Ward::new();
    ward.sites(b"sites: [{name: myapp, path: /a}, {name: blog, path: /b, ignored: true}]");
    let failed = ActiveState::Failed;
    let list =
        [("lerd-fp-myapp", failed), ("lerd-custom-myapp", failed), ("lerd-nginx", failed), ("lerd-queue-blog", failed)];
    assert!(ward.list(&list).is_empty());
    assert_eq!(ward.healer.counts(), Counts::default());
}

#[test]
fn a_site_that_is_added_is_covered_at_once() {
    let mut ward = Ward::new();
    assert!(ward.list(&[("lerd-queue-blog", ActiveState::Failed)]).is_empty());
    let sites = ward.sites(b"sites: [{name: blog, path: /b}]");
    assert_eq!(sites, ["look at lerd-queue-blog and its stop"]);
}

#[test]
fn a_site_that_is_removed_takes_its_heals_with_it() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    assert_eq!(ward.sites(b"sites: []"), ["stopped queue: it is no longer covered"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn masked_it_stays_down_until_unmasked() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.after(SECOND);
    assert_eq!(
        ward.shows("queue", Inspection { load: LoadState::Masked, ..crashed() }),
        ["held queue: the unit is masked"]
    );
    let masked = UnitStatus { load: Some(LoadState::Masked), ..status("queue", ActiveState::Failed) };
    assert!(ward.observe(Fact::Units(vec![masked])).is_empty());
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue"]);
}

#[test]
fn disabled_while_down_it_stays_down_until_enabled() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.after(SECOND);
    assert_eq!(
        ward.shows("queue", Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() }),
        ["held queue: the unit was disabled while it was down"]
    );
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    // systemctl enable reloads the manager.
    ward.observe(Fact::Frozen);
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
    assert_eq!(ward.shows("queue", crashed()), ["starting queue #2", "start queue"]);
}

#[test]
fn disabled_while_it_waits_for_another_unit_it_stays_down() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    let actions = ward.healer.observe(ward.now, Fact::Changed(status("lerd-php85-fpm", ActiveState::Active)));
    let asks = |action: &Action| matches!(action, Action::Inspect { detail, .. } if detail.file);
    assert!(actions.iter().any(asks), "{actions:?}");
}

#[test]
fn a_heal_by_hand_outweighs_that_it_was_disabled_until_it_is_disabled_again() {
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.after(SECOND);
    let waits = vec![fpm(ActiveState::Failed, false)];
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    ward.shows("queue", disabled.clone());
    ward.observe(Fact::Heal(vec![unit("queue")]));
    ward.shows("queue", Inspection { parents: waits.clone(), ..disabled.clone() });
    ward.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Active)]);
    assert_eq!(ward.shows("queue", disabled.clone()).last().map(String::as_str), Some("start queue"));

    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::Failed("boom".into()));
    ward.observe(Fact::Heal(vec![unit("queue")]));
    ward.shows("queue", Inspection { parents: waits, ..crashed() });
    ward.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Active)]);
    assert_eq!(ward.shows("queue", disabled), ["held queue: the unit was disabled while it was down"]);
}

#[test]
fn what_the_files_are_like_is_not_asked_before_the_first_attempt_but_remembered_after_it() {
    let unknown = Inspection { file: None, ..crashed() };
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.shows("queue", unknown), ["detected queue: failed", "starting queue #1", "start queue"]);
    let told = ward.ends("queue", Outcome::Failed("boom".into()));
    assert_eq!(told, ["failed queue #1: boom", "remember queue", "scheduled queue #2 in 1s"]);
    ward.answers_look("queue", Purpose::Memory, Ok(crashed()));
    ward.after(SECOND);
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    assert_eq!(ward.shows("queue", disabled), ["held queue: the unit was disabled while it was down"]);
}

#[test]
fn a_stop_of_what_is_down_for_reasons_unknown_is_remembered() {
    let policy = || Policy { states: vec![State::Failed, State::ExpectedButStopped], ..without_jitter() };
    let ended = Inspection { active: ActiveState::Inactive, result: ServiceResult::Success, ..crashed() };
    let mut ward = Ward::with(policy());
    ward.list(&[("queue", ActiveState::Inactive)]);
    let unknown = Some(StopEvidence::Unknown("the journal is gone".into()));
    assert!(ward.shows("queue", Inspection { stop: unknown, ..ended.clone() }).is_empty());
    ward.now = ward.now + 60 * SECOND;
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), ["look at queue and its stop"]);
    ward.shows("queue", Inspection { down_for: Some(60 * SECOND), ..ended.clone() });

    let mut next = Ward::with(policy());
    next.healer.restore(ward.healer.memory());
    assert!(next.list(&[("queue", ActiveState::Inactive)]).is_empty());
}

#[test]
fn a_look_at_a_unit_that_was_given_up_tells_too_what_its_files_are_like() {
    let unknown = Inspection { file: None, ..crashed() };
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(
        ward.shows("queue", Inspection { load: LoadState::BadSetting, ..unknown }).last().map(String::as_str),
        Some("gave-up queue: the unit's file has a setting that the service manager refuses")
    );
    ward.list(&[("queue", ActiveState::Failed)]);
    ward.rechecked("queue", crashed());
    let disabled = Inspection { file: Some(UnitFile { enabled: false, definition: 2, ..ENABLED }), ..crashed() };
    ward.observe(Fact::Frozen);
    ward.list(&[("queue", ActiveState::Failed)]);
    ward.rechecked("queue", disabled.clone());
    assert_eq!(
        ward.shows("queue", disabled).last().map(String::as_str),
        Some("held queue: the unit was disabled while it was down")
    );
}

#[test]
fn a_unit_that_was_disabled_while_its_site_was_not_registered_stays_down() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.observe(Fact::Registry(registry(b"sites: []")));
    // The answer comes when it is nobody's worker.
    ward.shows("queue", crashed());
    ward.observe(Fact::Registry(registry(SITES)));
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    let told = ward.shows("queue", disabled);
    assert_eq!(told.last().map(String::as_str), Some("held queue: the unit was disabled while it was down"));
}

#[test]
fn a_unit_that_was_never_enabled_is_healed() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    let told = ward.shows("queue", Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() });
    assert_eq!(told, ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn the_job_of_somebody_else_comes_first() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(
        ward.shows("queue", Inspection { has_job: true, ..crashed() }),
        ["detected queue: failed", "held queue: another job is under way for the unit"]
    );
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue"]);
}

#[test]
fn a_start_that_the_manager_refuses_for_a_job_is_no_attempt() {
    let mut ward = Ward::with_starting_queue();
    assert_eq!(
        ward.ends("queue", Outcome::Refused(Refusal::JobPending, "a stop job is queued".into())),
        ["failed queue #1: a stop job is queued", "held queue: another job is under way for the unit"]
    );
    // Asked again after a while, and not at the speed of the manager's refusals.
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["starting queue #1", "start queue"]);
}

#[test]
fn a_worker_waits_for_the_unit_it_is_bound_to_and_starts_with_it() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    let parent = fpm(ActiveState::Inactive, false);
    assert_eq!(
        ward.shows("queue", Inspection { parents: vec![parent], ..crashed() }),
        ["detected queue: failed", "held queue: it needs lerd-php85-fpm.service, which is inactive"]
    );
    let units = [("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Inactive)];
    assert!(ward.list(&units).is_empty());
    assert!(ward.goes("lerd-php85-fpm", ActiveState::Activating).is_empty());
    assert_eq!(ward.goes("lerd-php85-fpm", ActiveState::Active), ["look at queue"]);
}

/// A unit that workers are bound to.
fn fpm(active: ActiveState, stopping: bool) -> Parent {
    Parent { name: "lerd-php85-fpm.service".into(), active, stopping, left: Some(60 * SECOND) }
}

#[test]
fn a_worker_that_its_parent_took_along_comes_back_with_it() {
    // systemd stops the worker first; the parent's own stop is only queued then.
    for parent in [fpm(ActiveState::Active, true), fpm(ActiveState::Failed, false)] {
        let mut ward = Ward::with_healthy_queue();
        ward.goes_with_job("queue", ActiveState::Deactivating);
        assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
        let told = ward.shows("queue", Inspection { parents: vec![parent], ..crashed() });
        assert!(told[1].starts_with("held queue: it needs lerd-php85-fpm.service"), "{told:?}");
        let units = [("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Inactive)];
        assert!(ward.list(&units).is_empty());
        assert_eq!(ward.goes("lerd-php85-fpm", ActiveState::Active), ["look at queue"]);
        let seen = Inspection { parents: vec![fpm(ActiveState::Active, false)], ..crashed() };
        assert_eq!(ward.shows("queue", seen), ["starting queue #1", "start queue"]);
    }
}

#[test]
fn a_parent_that_is_waited_for_is_told_once_whatever_becomes_of_it() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    let told = ward.shows("queue", Inspection { parents: vec![fpm(ActiveState::Active, true)], ..crashed() });
    assert!(told[1].starts_with("held queue: it needs lerd-php85-fpm.service"), "{told:?}");
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue"]);
    let down = Inspection { parents: vec![fpm(ActiveState::Inactive, false)], ..crashed() };
    assert_eq!(ward.shows("queue", down), [""; 0]);
}

#[test]
fn the_end_of_the_stop_by_which_its_parent_took_it_along_is_no_stop_of_its_own() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes_with_job("queue", ActiveState::Failed);
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), [""; 0]);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    let down_since = |age| Inspection {
        parents: vec![fpm(ActiveState::Failed, false)],
        fall: Some(Fall { left: SECOND, down: SECOND }),
        down_for: Some(age),
        ..crashed()
    };
    let parent = Parent { left: Some(SECOND), ..fpm(ActiveState::Failed, false) };
    let seen = Inspection { parents: vec![parent], ..down_since(SECOND) };
    let told = ward.shows("queue", seen.clone());
    assert!(told.iter().any(|what| what.starts_with("held queue: it needs lerd-php85-fpm.service")), "{told:?}");
    // The end of another job is.
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), ["look at queue"]);
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn a_stop_of_a_worker_that_waits_for_its_parent_is_a_stop() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    assert_eq!(ward.observe(Fact::JobDone(unit("queue"))), ["look at queue"]);
    let seen = Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
    assert!(ward.goes("lerd-php85-fpm", ActiveState::Active).is_empty());
}

#[test]
fn what_cannot_succeed_is_given_up_at_once() {
    for (load, reason) in [
        (LoadState::NotFound, "the unit has no file any more"),
        (LoadState::BadSetting, "the unit's file has a setting that the service manager refuses"),
    ] {
        let mut ward = Ward::with_healthy_queue();
        ward.goes("queue", ActiveState::Failed);
        let told = ward.shows("queue", Inspection { load, ..crashed() });
        assert_eq!(told, ["detected queue: failed".to_owned(), format!("gave-up queue: {reason}")]);
        assert!(ward.after(3600 * SECOND).is_empty());
    }
    let mut ward = Ward::with_starting_queue();
    let told = ward.ends("queue", Outcome::Impossible(Hopeless::NotFound));
    assert_eq!(told[1], "gave-up queue #1: the unit has no file any more");
}

/// A ward that has given up on `queue`.
fn given_up() -> Ward {
    let mut ward = Ward::with(Policy { give_up_after: Some(1), ..without_jitter() });
    ward.list(&[("queue", ActiveState::Active)]);
    ward.goes("queue", ActiveState::Failed);
    ward.shows("queue", crashed());
    let told = ward.ends("queue", Outcome::Failed("boom".into()));
    assert_eq!(told[1], "gave-up queue #1: 1 attempt failed: boom");
    ward
}

#[test]
fn what_was_given_up_and_then_taken_out_of_the_registry_is_tried_anew_by_the_next_daemon() {
    let mut before = given_up();
    before.sites(b"sites: []");
    let mut ward = Ward::with(Policy { give_up_after: Some(1), ..without_jitter() });
    ward.healer.restore(before.healer.memory());
    ward.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(ward.shows("queue", crashed()).last().map(String::as_str), Some("start queue"));
}

#[test]
fn what_was_given_up_stays_so_for_the_next_daemon_though_this_one_was_looking_at_it_again() {
    let mut before = given_up();
    // Somebody stops it, which has it looked at once more.
    assert_eq!(before.observe(Fact::JobDone(unit("queue"))), ["look at queue"]);
    let mut ward = Ward::with(Policy { give_up_after: Some(1), ..without_jitter() });
    ward.healer.restore(before.healer.memory());
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    assert!(ward.rechecked("queue", crashed()).is_empty());
}

#[test]
fn a_worker_that_comes_up_after_it_died_is_not_restarted_for_what_it_refused_before_that() {
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut ward = Ward::with(Policy { probes, ..without_jitter() });
    ward.list(&[("queue", ActiveState::Active)]);
    let answer = Answer::Refused("x:1".into());
    let sighting = Sighting { answer, up_for: Some(60 * SECOND), file_age: None };
    for _ in 0..3 {
        ward.observe(Fact::Probed(unit("queue"), sighting.clone()));
    }
    assert_eq!(ward.shows("queue", up(60 * SECOND)).last().map(String::as_str), Some("restart queue"));
    ward.goes("queue", ActiveState::Active);
    ward.ends("queue", Outcome::Done);
    assert_eq!(ward.goes("queue", ActiveState::Failed)[0], "failed queue #1: died right after its start");
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
}

#[test]
fn giving_up_ends_when_somebody_does_something_about_it() {
    let starts = ["starting queue #1", "start queue"];

    let mut ward = given_up();
    assert_eq!(ward.observe(Fact::Heal(vec![unit("queue")])), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed())[1..], starts);

    let mut ward = given_up();
    assert_eq!(ward.sites(b"sites: [{name: myapp, path: /elsewhere}]"), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed())[1..], starts);

    let mut ward = given_up();
    assert_eq!(ward.goes("queue", ActiveState::Active), ["recovered queue"]);
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed())[1..], starts);

    // Its unit's file was edited, and the manager reloaded.
    let mut ward = given_up();
    ward.rechecked("queue", crashed());
    ward.observe(Fact::Frozen);
    assert!(ward.list(&[("queue", ActiveState::Failed)]).is_empty());
    let edited = Inspection { file: Some(UnitFile { definition: 2, ..ENABLED }), ..crashed() };
    assert_eq!(ward.rechecked("queue", edited), ["look at queue and its stop"]);
    assert_eq!(ward.shows("queue", crashed())[1..], starts);

    // A reload for some other reason is nothing to it.
    let mut ward = given_up();
    ward.rechecked("queue", crashed());
    ward.observe(Fact::Frozen);
    ward.list(&[("queue", ActiveState::Failed)]);
    assert!(ward.rechecked("queue", crashed()).is_empty());

    // However often, and whether or not the manager answers in between.
    ward.observe(Fact::Frozen);
    ward.list(&[("queue", ActiveState::Failed)]);
    ward.observe(Fact::Frozen);
    assert!(ward.rechecked("queue", crashed()).is_empty());
    ward.list(&[("queue", ActiveState::Failed)]);
    assert!(ward.answers_look("queue", Purpose::Recheck, Err("no answer".into())).is_empty());
    ward.after(LOOK_AGAIN);
    assert!(ward.rechecked("queue", crashed()).is_empty(), "given up is told once");

    // Somebody started it between two lists, and it failed again.
    let mut ward = given_up();
    ward.rechecked("queue", Inspection { run: Some("one".into()), ..crashed() });
    assert!(ward.after(LOOK_AGAIN).is_empty());
    assert_eq!(
        ward.rechecked("queue", Inspection { run: Some("another".into()), ..crashed() }),
        ["look at queue and its stop"]
    );

    // Resumed by hand, whether or not it was paused.
    for target in [Target::Everything, Target::Site("myapp".into()), Target::Unit(unit("queue"))] {
        let mut ward = given_up();
        assert_eq!(ward.observe(Fact::Resume(vec![target])), ["look at queue"]);
        assert_eq!(ward.shows("queue", crashed())[1..], starts);
    }
    let mut ward = given_up();
    assert!(ward.observe(Fact::Resume(vec![Target::Site("shop".into())])).is_empty());

    // Neither is another site's entry.
    let mut ward = given_up();
    assert!(ward.sites(b"sites: [{name: myapp, path: /srv/myapp}, {name: shop, path: /x}]").is_empty());
}

#[test]
fn a_person_overrules_an_earlier_stop_but_no_pause() {
    let mut ward = Ward::new();
    ward.list(&[("queue", ActiveState::Failed)]);
    ward.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..crashed() });
    assert_eq!(ward.observe(Fact::Heal(vec![unit("queue")])), ["look at queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(ward.shows("queue", seen)[1..], ["starting queue #1", "start queue"]);

    let mut ward = Ward::with_healthy_queue();
    ward.sites(b"sites: [{name: myapp, path: /a, paused: true}]");
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.observe(Fact::Heal(vec![unit("queue")])), ["held queue: the site myapp is paused"]);
}

#[test]
fn what_a_person_does_after_asking_for_a_heal_is_newer() {
    let mut ward = Ward::with_healthy_queue();
    ward.sites(b"sites: [{name: myapp, path: /a, paused: true}]");
    ward.goes("queue", ActiveState::Failed);
    ward.observe(Fact::Heal(vec![unit("queue")]));
    // Held by the pause; they start it themselves, and stop it.
    ward.goes_with_job("queue", ActiveState::Activating);
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.sites(SITES), ["look at queue and its stop"]);
    assert_eq!(ward.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..crashed() }), ["stopped queue"]);
}

#[test]
fn while_the_manager_reloads_nothing_is_decided() {
    let mut ward = Ward::with_healthy_queue();
    ward.observe(Fact::Frozen);
    assert!(ward.goes("queue", ActiveState::Failed).is_empty());
    assert!(ward.after(SECOND).is_empty());
    // The signal fell into the doubt, so the failure counts as not witnessed.
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
}

#[test]
fn a_look_that_ends_while_the_manager_reloads_is_taken_again() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.observe(Fact::Frozen);
    assert!(ward.shows("queue", crashed()).is_empty());
    assert_eq!(ward.list(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
}

#[test]
fn at_most_so_many_starts_are_under_way_at_once() {
    let mut ward = Ward::with(Policy { max_concurrent: 2, ..without_jitter() });
    let names = ["a", "b", "c", "d"];
    let failed = names.map(|name| (name, ActiveState::Failed));
    assert_eq!(ward.list(&failed), ["look at a and its stop", "look at b and its stop"]);
    assert_eq!(ward.shows("a", crashed())[1..], ["starting a #1", "start a"]);
    let told = ward.ends("a", Outcome::Done);
    assert_eq!(told, ["look at c and its stop"], "a worker that only has to prove itself takes no place");
}

#[test]
fn a_start_limit_is_told_by_the_restart_that_did_not_come() {
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    let told = ward.shows("queue", Inspection { restart: RestartPolicy::OnFailure, ..crashed() });
    assert_eq!(told[0], "detected queue: start-limit-hit");
}

#[test]
fn states_that_are_not_configured_are_shown_and_left_alone() {
    let mut ward = Ward::with(Policy { states: vec![State::StartLimitHit], ..without_jitter() });
    ward.list(&[("queue", ActiveState::Active)]);
    ward.goes("queue", ActiveState::Failed);
    assert_eq!(
        ward.shows("queue", crashed()),
        ["detected queue: failed", "held queue: the configuration does not heal the state failed"]
    );
}

#[test]
fn a_oneshot_that_has_done_its_work_is_healed() {
    let oneshot = Inspection { oneshot: true, ..crashed() };
    let mut ward = Ward::with_healthy_queue();
    ward.goes("queue", ActiveState::Failed);
    ward.shows("queue", oneshot);
    ward.goes("queue", ActiveState::Inactive);
    assert_eq!(ward.ends("queue", Outcome::Done), ["healed queue #1"]);
}

#[test]
fn an_idle_oneshot_is_none_of_our_business() {
    let mut ward = Ward::new();
    assert!(ward.list(&[("queue", ActiveState::Inactive)]).is_empty());
    assert!(ward.goes("queue", ActiveState::Inactive).is_empty());
}

#[test]
fn a_worktree_is_told_apart_by_where_it_works() {
    let text = b"sites: [{name: app, path: /srv/app, worktree_idle_suspended: {feature: [queue]}}]";
    let mut ward = Ward::new();
    ward.sites(text);
    assert_eq!(
        ward.list(&[("lerd-queue-app-feature", ActiveState::Failed)]),
        ["look at lerd-queue-app-feature and its stop"]
    );
    let seen = Inspection { working_directory: Some(PathBuf::from("/srv/app-feature")), ..crashed() };
    assert_eq!(
        ward.shows("lerd-queue-app-feature", seen),
        ["held lerd-queue-app-feature: the worker queue of app sleeps until the site is used again"]
    );
}

#[test]
fn on_request_nothing_else_is_touched() {
    let policy = Policy { give_up_after: Some(1), ..without_jitter() };
    let healer =
        Healer::new(Mode::OnRequest, Coverage::default(), policy, registry(SITES), fastrand::Rng::with_seed(7));
    let mut ward = Ward { healer, now: Timestamp::default() };
    assert!(ward.list(&[("queue", ActiveState::Failed), ("vite", ActiveState::Failed)]).is_empty());
    assert_eq!(ward.observe(Fact::Heal(vec![unit("queue")])), ["look at queue and its stop"]);
}

/// What may happen in a random life.
#[derive(Debug, Clone)]
enum Happening {
    Changes(usize, ActiveState, bool),
    Lists(Vec<(usize, ActiveState, bool)>),
    Freezes,
    Answers(usize, bool, ActiveState),
    Ends(usize, usize),
    Pauses(bool),
    Marks(bool),
    Asks(usize),
    DoesAJob(usize),
    AnswersProbe(usize, bool),
    Waits(u64),
}

const NAMES: [&str; 4] = ["a", "b", "c", "lerd-queue-shop"];

fn any_happening() -> impl Strategy<Value = Happening> {
    let states = prop::sample::select(ActiveState::ALL);
    let who = 0..NAMES.len();
    prop_oneof![
        6 => (who.clone(), states.clone(), any::<bool>()).prop_map(|(w, s, j)| Happening::Changes(w, s, j)),
        2 => prop::collection::vec((who.clone(), states.clone(), any::<bool>()), 0..6).prop_map(Happening::Lists),
        1 => Just(Happening::Freezes),
        6 => (who.clone(), any::<bool>(), states).prop_map(|(w, ok, s)| Happening::Answers(w, ok, s)),
        6 => (who.clone(), 0usize..6).prop_map(|(w, o)| Happening::Ends(w, o)),
        1 => any::<bool>().prop_map(Happening::Pauses),
        1 => any::<bool>().prop_map(Happening::Marks),
        1 => who.clone().prop_map(Happening::Asks),
        1 => who.clone().prop_map(Happening::DoesAJob),
        3 => (who, any::<bool>()).prop_map(|(w, accepts)| Happening::AnswersProbe(w, accepts)),
        3 => (0u64..20_000).prop_map(Happening::Waits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens in whatever order: no panic, no two starts of a unit at once, no more at
    /// once than allowed, none without a look that allowed it, none under a pause or the stop
    /// marker, none in doubt, and events in an order that makes sense.
    #[test]
    fn what_must_never_happen_does_not(life in prop::collection::vec(any_happening(), 1..120)) {
        let mut ward = Ward::with(Policy {
            max_concurrent: 2,
            give_up_after: Some(4),
            states: vec![State::Failed, State::StartLimitHit, State::ExpectedButStopped],
            probes: [("a".to_owned(), Probe::Tcp("x:1".into()))].into(),
            ..without_jitter()
        });
        let (mut looking, mut starting, mut asked) = (Vec::new(), HashSet::new(), HashSet::new());
        let mut open_attempts: HashMap<String, bool> = HashMap::new();
        let (mut paused, mut marked, mut frozen) = (false, false, true);
        for happening in life {
            let fact = match happening {
                Happening::Changes(who, active, has_job) => {
                    Fact::Changed(UnitStatus { has_job, ..status(NAMES[who], active) })
                }
                Happening::Lists(list) => {
                    frozen = false;
                    let units = list.into_iter().map(|(who, active, has_job)| UnitStatus { has_job, ..status(NAMES[who], active) });
                    Fact::Units(units.collect())
                }
                Happening::Freezes => { frozen = true; Fact::Frozen }
                Happening::Answers(who, ok, active) => {
                    let unit = unit(NAMES[who]);
                    let Some(at) = looking.iter().position(|(name, _)| *name == unit) else { continue };
                    let (_, look) = looking.remove(at);
                    let seen = Inspection { active, up_for: active.is_up().then_some(SECOND * 60), ..crashed() };
                    Fact::Inspected(unit, look, if ok { Ok(seen) } else { Err("no answer".into()) })
                }
                Happening::Ends(who, outcome) => {
                    let unit = unit(NAMES[who]);
                    if !starting.remove(&unit) { continue }
                    Fact::Finished(unit, match outcome {
                        0 => Outcome::Done,
                        1 => Outcome::Failed("boom".into()),
                        2 => Outcome::Refused(Refusal::JobPending, "busy".into()),
                        3 => Outcome::Cancelled,
                        4 => Outcome::NotStarted("lost".into()),
                        _ => Outcome::Impossible(Hopeless::NotFound),
                    })
                }
                Happening::Pauses(now) => {
                    paused = now;
                    Fact::Registry(registry(if now { b"sites: [{name: myapp, path: /srv/myapp, paused: true}]" } else { SITES }))
                }
                Happening::Marks(now) => { marked = now; Fact::StopMarker(now) }
                Happening::Asks(who) => Fact::Heal(vec![unit(NAMES[who])]),
                Happening::DoesAJob(who) => Fact::JobDone(unit(NAMES[who])),
                Happening::AnswersProbe(who, accepts) => {
                    let unit = unit(NAMES[who]);
                    if !asked.remove(&unit) { continue }
                    let answer = if accepts { Answer::Accepted } else { Answer::Refused("x:1".into()) };
                    Fact::Probed(unit, Sighting { answer, up_for: Some(SECOND * 60), file_age: None })
                }
                Happening::Waits(ms) => { ward.now = ward.now + Duration::from_millis(ms); Fact::Deadline }
            };
            let looked_at = match &fact {
                Fact::Inspected(unit, Look { purpose: Purpose::Attempt, .. }, Ok(_)) => Some(unit.clone()),
                _ => None,
            };
            for action in ward.healer.observe(ward.now, fact) {
                match action {
                    Action::Inspect { unit, look, .. } => looking.push((unit, look)),
                    Action::Probe { unit, .. } => {
                        asked.insert(unit);
                    }
                    Action::Start(unit) | Action::Restart(unit) => {
                        prop_assert!(!frozen, "{unit} started in doubt");
                        prop_assert!(!marked, "{unit} started under the stop marker");
                        prop_assert!(!paused || !unit.short().ends_with("-myapp"), "{unit} started though paused");
                        prop_assert_eq!(looked_at.as_ref(), Some(&unit), "started without a look");
                        prop_assert!(starting.insert(unit.clone()), "two starts of {unit} at once");
                        prop_assert!(starting.len() <= 2, "more starts at once than allowed");
                    }
                    Action::Emit(event) => {
                        let open = open_attempts.entry(event.unit.clone()).or_default();
                        match event.phase {
                            EventPhase::Starting => {
                                prop_assert!(!*open, "an attempt begun before the last ended");
                                *open = true;
                            }
                            EventPhase::Healed | EventPhase::Failed => {
                                prop_assert!(*open, "the end of an attempt that never began");
                                *open = false;
                            }
                            EventPhase::Stopped | EventPhase::Recovered => *open = false,
                            EventPhase::GaveUp | EventPhase::Scheduled | EventPhase::Held => {
                                prop_assert!(!*open, "{} in the middle of an attempt", event.phase.as_str());
                            }
                            EventPhase::Detected | EventPhase::Done => {}
                        }
                    }
                }
            }
        }
        // And it ends well: once everything is answered and every unit is up, nothing is left.
        let all_up = || Fact::Units(NAMES.iter().map(|name| status(name, ActiveState::Active)).collect());
        let mut facts: VecDeque<Fact> = starting.into_iter().map(|unit| Fact::Finished(unit, Outcome::Done)).collect();
        facts.extend(looking.into_iter().map(|(unit, look)| Fact::Inspected(unit, look, Err("too late".into()))));
        facts.extend([Fact::Registry(registry(SITES)), Fact::StopMarker(false)]);
        for _ in 0..4 {
            facts.push_back(all_up());
            while let Some(fact) = facts.pop_front() {
                for action in ward.healer.observe(ward.now, fact) {
                    match action {
                        Action::Inspect { unit, look, .. } => {
                            facts.push_back(Fact::Inspected(unit, look, Ok(up(SECOND * 600))));
                        }
                        Action::Start(unit) | Action::Restart(unit) => facts.push_back(Fact::Finished(unit, Outcome::Done)),
                        Action::Emit(_) | Action::Probe { .. } => {}
                    }
                }
            }
            ward.now = ward.now + 700 * SECOND;
        }
        let counts = ward.healer.counts();
        prop_assert_eq!(counts, Counts { workers: NAMES.len(), ..Counts::default() });
        prop_assert_eq!(ward.healer.in_flight, 0);
    }
}
