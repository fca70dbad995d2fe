//! What is told of a worker agrees with what is done about it.

use std::time::SystemTime;

use super::*;
use crate::explain::{Commands, References};

fn references() -> References {
    References {
        sites: String::new(),
        config: String::new(),
        stop_marker: String::new(),
        commands: Commands::USER,
        daemon_runs: true,
        now: SystemTime::UNIX_EPOCH + 86_400 * SECOND,
        clock: Timestamp::default(),
    }
}

/// Stops a worker that is up, by hand.
fn is_stopped(harness: &mut Harness) -> Vec<String> {
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    harness
        .shows("queue", Inspection { active: ActiveState::Inactive, stop: Some(StopEvidence::Requested), ..crashed() })
}

#[test]
fn a_stop_is_worth_an_event_if_the_worker_was_being_cared_for() {
    let mut harness = Harness::with_healthy_queue();
    assert_eq!(is_stopped(&mut harness), [""; 0], "it was well");
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    assert_eq!(harness.shows("queue", up(10 * SECOND)), ["healed queue #1"]);
    assert_eq!(is_stopped(&mut harness), ["stopped queue"]);
    // Longer up than its attempts are remembered.
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    harness.shows("queue", up(10 * SECOND));
    harness.after(700 * SECOND);
    harness.answers_inspection("queue", Purpose::Uptime, Ok(up(710 * SECOND)));
    assert_eq!(is_stopped(&mut harness), [""; 0]);
}

#[test]
fn a_hold_for_a_pause_says_when_that_ends() {
    for (time, held) in
        [(Some(60 * SECOND), "held queue in 60s: you paused everything"), (None, "held queue: you paused everything")]
    {
        let mut harness = Harness::with_healthy_queue();
        harness.observe(Fact::Pause(vec![Target::Everything], time));
        let actions = harness.goes("queue", ActiveState::Failed);
        assert!(actions.iter().any(|action| action == held), "{actions:?}");
    }
}

#[test]
fn a_failure_that_is_cleared_ends_a_long_wait() {
    let mut harness = Harness::with_starting_queue();
    for _ in 0..4 {
        harness.fails("queue", "boom");
        let wait = harness.due_in().unwrap();
        harness.after(wait);
        harness.shows("queue", crashed());
    }
    harness.fails("queue", "boom");
    assert_eq!(harness.due_in(), Some(16 * SECOND));
    harness.goes("queue", ActiveState::Inactive);
    assert_eq!(harness.due_in(), Some(SECOND), "perhaps to start it next");
    // Once: what follows does not put it off.
    harness.now = harness.now + SECOND / 2;
    harness.goes("queue", ActiveState::Inactive);
    assert_eq!(harness.due_in(), Some(SECOND / 2));
}

#[test]
fn a_worker_that_an_explanation_shows_to_be_unhealthy_is_inspected() {
    let enabled = Some(ENABLED);
    let down = Inspection {
        active: ActiveState::Inactive,
        file: Some(UnitFile { enabled: false, ..ENABLED }),
        stop: Some(StopEvidence::NotRequested),
        ..crashed()
    };
    let at_rest = || {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Inactive);
        assert_eq!(harness.shows("queue", down.clone()), [""; 0]);
        harness
    };
    // As it was.
    let mut harness = at_rest();
    let now = harness.now;
    let explained = harness.healer.explain(now, &unit("queue"), &down, &references()).unwrap();
    assert_eq!(explained.state, None);
    assert_eq!(harness.after(Duration::ZERO), [""; 0]);
    // Down for another reason, and meant to be up.
    let on_demand = Some(UnitFile { on_demand: true, ..ENABLED });
    for file in [on_demand, enabled] {
        let mut harness = at_rest();
        let seen = Inspection { file, ..down.clone() };
        let explained = harness.healer.explain(now, &unit("queue"), &seen, &references()).unwrap();
        assert_eq!(explained.state.is_some(), file == enabled);
        let actions = harness.after(Duration::ZERO);
        assert!(actions.first().is_some_and(|action| action.starts_with("inspect queue")), "{actions:?}");
    }
    // Of one that is up it is nothing but an answer.
    let mut harness = Harness::with_healthy_queue();
    harness.healer.explain(now, &unit("queue"), &down, &references()).unwrap();
    assert_eq!(harness.after(Duration::ZERO), [""; 0]);
}

#[test]
fn a_recorded_stop_is_explained_although_the_journal_has_none() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { run: Some("a".into()), ..crashed() });
    harness.rechecked("queue", Inspection { run: Some("a".into()), ..crashed() });
    let mut later = Harness::new();
    later.healer.restore(harness.healer.saved_state());
    later.list(&[("queue", ActiveState::Failed)]);
    let silent = StopEvidence::Unknown("the journal is gone".into());
    let seen = |run: &str| Inspection { run: Some(run.into()), stop: Some(silent.clone()), ..crashed() };
    let mut says_stopped = |run| {
        let now = later.now;
        let explained = later.healer.explain(now, &unit("queue"), &seen(run), &references()).unwrap();
        explained.summary.contains("you stopped it")
    };
    assert!(says_stopped("a"));
    assert!(!says_stopped("b"), "it has run since");
}

#[test]
fn a_worker_that_is_being_proven_is_explained_with_the_time_that_takes() {
    let mut harness = Harness::with_proving_queue();
    let now = harness.now;
    let summary = |harness: &mut Harness| {
        harness.healer.explain(now, &unit("queue"), &up(SECOND), &references()).unwrap().summary
    };
    assert!(summary(&mut harness).contains("once it has stayed up for 10s"), "{}", summary(&mut harness));
    harness.healer.prove_within(&unit("queue"), 3 * SECOND);
    assert!(summary(&mut harness).contains("once it has stayed up for 3s"), "{}", summary(&mut harness));
    assert!(!summary(&mut Harness::with_healthy_queue()).contains("once"));
}

fn summary(harness: &mut Harness, seen: &Inspection) -> String {
    let now = harness.now;
    harness.healer.explain(now, &unit("queue"), seen, &references()).unwrap().summary
}

#[test]
fn an_explanation_says_what_the_healer_knows_of_the_worker() {
    let with_job = Inspection { has_job: true, ..crashed() };
    let mut harness = Harness::with_starting_queue();
    let says = summary(&mut harness, &with_job);
    assert!(says.contains("is being started"), "{says}");
    harness.ends("queue", Outcome::Refused(Refusal::Forbidden("Access denied".into()), "Access denied".into()));
    let says = summary(&mut harness, &with_job);
    assert!(says.contains("another job is under way"), "{says}");
    let says = summary(&mut harness, &crashed());
    assert!(says.contains("has no permission to start it"), "{says}");

    let mut harness = Harness::with_proving_queue();
    let ended = Inspection { active: ActiveState::Inactive, ..crashed() };
    harness.goes("queue", ActiveState::Inactive);
    harness.shows("queue", ended.clone());
    let says = summary(&mut harness, &ended);
    assert!(says.contains("it ended without error soon after its start"), "{says}");

    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { load: LoadState::NotFound, ..crashed() });
    // Its file is back, and the manager has not read it.
    let says = summary(&mut harness, &Inspection { file: None, ..crashed() });
    assert!(says.contains("was given up: the unit has no file any more"), "{says}");
}

#[test]
fn an_explanation_leaves_a_wait_as_it_is() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    assert_eq!(harness.due_in(), Some(SECOND));
    summary(&mut harness, &crashed());
    assert_eq!(harness.due_in(), Some(SECOND));
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
}
