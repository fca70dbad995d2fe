//! What the inspection after a start shows, and what follows from it.

use super::*;

/// A worker that has ended without an error.
fn ended() -> Inspection {
    Inspection { active: ActiveState::Inactive, ..crashed() }
}

/// A healer that is starting `queue` as it should be up, although it has not failed.
fn with_starting_stopped_queue() -> Harness {
    let mut harness = Harness::with(Policy { states: vec![State::ExpectedButStopped], ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Inactive);
    let actions = harness.shows("queue", ended());
    assert_eq!(actions, ["detected queue: expected-but-stopped", "starting queue #1", "start queue"]);
    harness
}

#[test]
fn an_end_without_error_right_after_the_start_fails_only_a_worker_that_should_be_up() {
    let failed = with_starting_stopped_queue();
    for (mut harness, expected) in [
        (Harness::with_starting_queue(), "stopped queue: it ended without error soon after its start"),
        (failed, "failed queue #1: ended without error right after its start"),
    ] {
        harness.goes("queue", ActiveState::Active);
        harness.ends("queue", Outcome::Done);
        assert_eq!(harness.goes("queue", ActiveState::Inactive), ["inspect queue"]);
        assert_eq!(harness.shows("queue", ended())[0], expected);
    }
    // That it ended was not signalled, and may be a stop: the journal decides.
    let mut harness = Harness::with_proving_queue();
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue"]);
    assert_eq!(harness.shows("queue", ended()), ["inspect queue and its stop"]);
    assert_eq!(
        harness.shows("queue", Inspection { stop: Some(StopEvidence::NotRequested), ..ended() }),
        ["stopped queue: it ended without error soon after its start"]
    );
}

#[test]
fn a_start_that_was_not_made_leaves_what_is_wrong_with_the_worker() {
    let mut harness = with_starting_stopped_queue();
    let actions = harness.ends("queue", Outcome::NotStarted("the connection was lost".into()));
    assert!(actions[0].starts_with("failed queue #1: the connection was lost"), "{actions:?}");
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..ended() };
    assert_eq!(harness.shows("queue", seen), ["scheduled queue #2 in 1s"]);
    assert_eq!(harness.healer.reports(harness.now)[0].state, Some(State::ExpectedButStopped));
}

#[test]
fn a_late_report_of_the_state_before_the_start_ends_nothing() {
    let mut harness = Harness::with_proving_queue();
    harness.after(4 * SECOND);
    assert_eq!(harness.goes("queue", ActiveState::Inactive), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(4 * SECOND)), [""; 0]);
    assert_eq!(harness.due_in(), Some(SECOND), "the contradiction is resolved soon");
}

#[test]
fn of_a_worker_that_came_up_by_itself_an_unseen_restart_begins_another_proof() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.after(10 * SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(3 * SECOND)), [""; 0]);
    assert_eq!(harness.due_in(), Some(7 * SECOND));
    assert_eq!(harness.after(7 * SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(10 * SECOND)), ["recovered queue"]);
}

#[test]
fn a_proof_that_sees_a_change_before_its_signal_waits_for_that() {
    for seen in [crashed(), Inspection { has_job: true, ..ended() }] {
        let mut harness = Harness::with_proving_queue();
        harness.after(10 * SECOND);
        assert_eq!(harness.shows("queue", seen), [""; 0]);
        let actions = harness.goes("queue", ActiveState::Failed);
        assert_eq!(harness.is_seen_failed("queue", actions)[0], "failed queue #1: exited right after starting");
    }
}

/// Answers the proof, and returns how long the worker is said to have been down.
fn downtime(harness: &mut Harness, seen: Inspection) -> (EventPhase, Option<Duration>) {
    assert_eq!(harness.after(10 * SECOND), ["inspect queue"]);
    let id = harness.healer.incidents[&unit("queue")].inspections.under_way(Purpose::Proof).unwrap();
    let actions = harness.healer.observe(harness.now, Fact::Inspected(unit("queue"), id, Ok(seen)));
    let told = actions.iter().find_map(|action| match action {
        Action::Emit(event) => Some((event.phase, event.downtime)),
        _ => None,
    });
    told.expect("its end is reported")
}

#[test]
fn the_time_that_a_worker_was_down_is_told_if_it_is_that_of_one_failure() {
    // It failed 60 s after the manager began.
    let seen = Inspection { at: 75 * SECOND, ..up(10 * SECOND) };
    let mut harness = Harness::with_proving_queue();
    assert_eq!(downtime(&mut harness, seen.clone()), (EventPhase::Healed, Some(5 * SECOND)));
    // It ran, and was restarted by hand.
    let mut harness = Harness::with_proving_queue();
    for active in [ActiveState::Deactivating, ActiveState::Inactive, ActiveState::Active] {
        harness.goes_with_job("queue", active);
    }
    assert_eq!(downtime(&mut harness, seen.clone()), (EventPhase::Recovered, None));
    // It was up all the time, and did not answer.
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut harness = Harness::with(Policy { probes, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    let answers = |answer| ProbeResult { answer, up_for: Some(60 * SECOND), file_age: None };
    for _ in 0..3 {
        harness.observe(Fact::Probed(unit("queue"), answers(ProbeAnswer::Refused("x:1".into()))));
    }
    assert_eq!(harness.shows("queue", up(60 * SECOND)).last().map(String::as_str), Some("restart queue"));
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    harness.observe(Fact::Probed(unit("queue"), answers(ProbeAnswer::Accepted)));
    assert_eq!(downtime(&mut harness, seen), (EventPhase::Healed, None));
}

#[test]
fn a_start_that_exec_condition_skipped_has_cleared_the_failure_and_another_skip_has_not() {
    for (result, state) in
        [(ServiceResult::ExecCondition, State::Failed), (ServiceResult::Success, State::ExpectedButStopped)]
    {
        let mut harness = Harness::with_starting_queue();
        harness.goes("queue", ActiveState::Activating);
        harness.ends("queue", Outcome::Done);
        harness.goes("queue", ActiveState::Inactive);
        let seen = Inspection { skipped: Some(61 * SECOND), result, ..ended() };
        assert!(harness.shows("queue", seen.clone())[0].contains("its start was skipped"));
        harness.shows("queue", Inspection { stop: Some(StopEvidence::NotRequested), ..seen });
        assert_eq!(harness.healer.reports(harness.now)[0].state, Some(state));
    }
}

#[test]
fn a_worker_that_the_manager_restarted_right_after_our_start_was_not_started_by_hand() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    let actions = harness.shows("queue", up(3 * SECOND));
    assert_eq!(actions, ["failed queue #1: exited and was restarted right after starting"]);
    harness.goes("queue", ActiveState::Failed);
    let file = Some(UnitFile { enabled: false, ..ENABLED });
    let seen = Inspection { file, stop: Some(StopEvidence::NotRequested), ..crashed() };
    let actions = harness.shows("queue", seen);
    assert_eq!(actions.last().map(String::as_str), Some("held queue: the unit was disabled while it was down"));
}

/// Found by random facts, in one of 180,000 lives.
#[test]
fn an_attempt_that_was_cancelled_is_reported_as_failed_if_a_failure_is_cleared_before_the_inspection() {
    let mut harness =
        Harness::with(Policy { max_concurrent: 1, states: vec![State::ExpectedButStopped], ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active), ("vite", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Inactive);
    assert_eq!(harness.shows("queue", ended()).last().map(String::as_str), Some("start queue"));
    harness.goes("vite", ActiveState::Inactive);
    // Its inspection waits for that of the other.
    assert_eq!(harness.ends("queue", Outcome::Cancelled), ["inspect vite"]);
    harness.goes("queue", ActiveState::Failed);
    harness.list(&[("queue", ActiveState::Inactive), ("vite", ActiveState::Inactive)]);
    assert_eq!(harness.goes("queue", ActiveState::Active), ["failed queue #1: it was stopped while it was coming up"]);
}
