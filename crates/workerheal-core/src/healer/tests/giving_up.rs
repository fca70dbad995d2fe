//! Giving up, and what ends it.

use super::*;

#[test]
fn a_failure_and_a_give_up_name_the_watchdog_or_the_time_limit_that_ended_the_run() {
    for (result, why) in [
        (ServiceResult::Watchdog, "ended by its watchdog"),
        (ServiceResult::Timeout, "ended by a time limit of its unit"),
    ] {
        let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
        harness.list(&[("queue", ActiveState::Active)]);
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", crashed());
        harness.goes("queue", ActiveState::Active);
        harness.ends("queue", Outcome::Done);
        harness.goes("queue", ActiveState::Failed);
        let seen = Inspection { result, stop: Some(StopEvidence::NotRequested), ..crashed() };
        let actions = [format!("failed queue #1: {why}"), format!("gave-up queue #1: 1 attempt failed: {why}")];
        assert_eq!(harness.shows("queue", seen), actions);
    }
}

#[test]
fn an_unrecoverable_worker_is_given_up_at_once() {
    for (load, reason) in [
        (LoadState::NotFound, "the unit has no file any more"),
        (LoadState::BadSetting, "the unit's file has a setting that the service manager refuses"),
    ] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        let actions = harness.shows("queue", Inspection { load, ..crashed() });
        assert_eq!(actions, ["detected queue: failed".to_owned(), format!("gave-up queue: {reason}")]);
        assert!(harness.after(3600 * SECOND).is_empty());
    }
}

#[test]
fn a_give_up_after_a_restart_of_the_daemon_does_not_call_attempts_failed_that_brought_it_up() {
    let policy = || Policy { give_up_after: Some(1), ..without_jitter() };
    let mut before = Harness::with(policy());
    before.list(&[("queue", ActiveState::Active)]);
    before.goes("queue", ActiveState::Failed);
    before.shows("queue", crashed());
    before.goes("queue", ActiveState::Active);
    before.ends("queue", Outcome::Done);
    assert_eq!(before.comes_back("queue"), ["healed queue #1"]);
    let mut harness = Harness::with(policy());
    harness.healer.restore(before.healer.saved_state());
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    let actions = harness.shows("queue", crashed());
    assert_eq!(actions.last().unwrap(), "gave-up queue #1: 1 attempt, and it never stayed up for 10m");
}

#[test]
fn a_worker_whose_file_was_gone_at_its_start_is_tried_again_once_the_same_file_is_back() {
    for active in [ActiveState::Failed, ActiveState::Inactive] {
        let mut harness = Harness::with_starting_queue();
        let actions = harness.ends("queue", Outcome::Impossible(Unrecoverable::NotFound));
        assert_eq!(actions[1], "gave-up queue #1: the unit has no file any more");
        harness.goes("queue", active);
        let no_file = Some(UnitFile { enabled: false, definition: 2, ..ENABLED });
        let gone = Inspection { active, load: LoadState::NotFound, file: no_file, ..crashed() };
        assert_eq!(harness.rechecked("queue", gone), [""; 0]);
        harness.list(&[("queue", active)]);
        let actions = harness.rechecked("queue", Inspection { active, ..crashed() });
        assert!(actions.iter().any(|action| action.starts_with("inspect queue")), "{active}: {actions:?}");
    }
}

/// A healer that has given up on `queue`.
fn given_up() -> Harness {
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    let actions = harness.fails("queue", "boom");
    assert_eq!(actions[1], "gave-up queue #1: 1 attempt failed: boom");
    harness
}

#[test]
fn a_given_up_worker_that_left_the_registry_is_retried_by_the_next_daemon() {
    let mut before = given_up();
    before.sites([]);
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.healer.restore(before.healer.saved_state());
    harness.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(harness.shows("queue", crashed()).last().map(String::as_str), Some("start queue"));
}

#[test]
fn a_give_up_survives_a_daemon_that_ends_during_an_inspection() {
    let mut before = given_up();
    // A stop, after which it is inspected once more.
    assert_eq!(before.observe(Fact::JobDone(unit("queue"))), ["inspect queue"]);
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.healer.restore(before.healer.saved_state());
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    assert!(harness.rechecked("queue", crashed()).is_empty());
}

#[test]
fn a_lower_limit_of_attempts_ends_a_wait_at_once() {
    let mut harness = Harness::with(without_jitter());
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    let actions = harness.fails("queue", "boom");
    assert_eq!(actions[1], "scheduled queue #2 in 1s");
    let policy = Policy { give_up_after: Some(1), ..without_jitter() };
    assert_eq!(harness.observe(Fact::Settings(harness.healer.context().selector.clone(), policy)), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["gave-up queue #1: 1 attempt failed: boom"]);
}

#[test]
fn the_next_daemon_knows_the_last_error_of_a_given_up_worker() {
    let before = given_up();
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.healer.restore(before.healer.saved_state());
    harness.list(&[("queue", ActiveState::Failed)]);
    for healer in [&before.healer, &harness.healer] {
        let reports = healer.reports(Timestamp::default());
        let errors: Vec<&str> = reports.iter().map(|report| report.last_error.as_str()).collect();
        assert_eq!(errors, ["boom"]);
    }
}

#[test]
fn a_persons_action_ends_a_give_up() {
    let starts = ["starting queue #1", "start queue"];

    let mut harness = given_up();
    assert_eq!(harness.observe(Fact::Heal(vec![unit("queue")])), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed())[1..], starts);

    let mut harness = given_up();
    assert_eq!(harness.sites([Site::new("myapp", "/elsewhere")]), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed())[1..], starts);

    // A person starts it, and it fails again.
    let mut harness = given_up();
    assert!(harness.goes("queue", ActiveState::Active).is_empty());
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), starts);

    // It comes up, and stays up.
    let mut harness = given_up();
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed())[1..], starts);

    // Its unit's file was edited, and the manager reloaded.
    let mut harness = given_up();
    harness.rechecked("queue", crashed());
    harness.observe(Fact::Frozen);
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    let edited = Inspection { file: Some(UnitFile { definition: 2, ..ENABLED }), ..crashed() };
    assert_eq!(harness.rechecked("queue", edited), ["inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", crashed())[1..], starts);

    // A reload for some other reason is nothing to it.
    let mut harness = given_up();
    harness.rechecked("queue", crashed());
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    assert!(harness.rechecked("queue", crashed()).is_empty());

    // However often, and whether or not the manager answers in between.
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.observe(Fact::Frozen);
    assert!(harness.rechecked("queue", crashed()).is_empty());
    harness.list(&[("queue", ActiveState::Failed)]);
    assert!(harness.answers_inspection("queue", Purpose::Recheck, Err("no answer".into())).is_empty());
    harness.after(RECHECK_INTERVAL);
    assert!(harness.rechecked("queue", crashed()).is_empty(), "the give-up is reported once");

    // It was started between two lists, and failed again.
    let mut harness = given_up();
    harness.rechecked("queue", Inspection { run: Some("one".into()), ..crashed() });
    assert!(harness.after(RECHECK_INTERVAL).is_empty());
    assert_eq!(
        harness.rechecked("queue", Inspection { run: Some("another".into()), ..crashed() }),
        ["inspect queue and its stop"]
    );

    // Resumed by hand, whether or not it was paused.
    for target in [Target::Everything, Target::Site("myapp".into()), Target::Unit(unit("queue"))] {
        let mut harness = given_up();
        assert_eq!(harness.observe(Fact::Resume(vec![target])), ["inspect queue"]);
        assert_eq!(harness.shows("queue", crashed())[1..], starts);
    }
    let mut harness = given_up();
    assert!(harness.observe(Fact::Resume(vec![Target::Site("shop".into())])).is_empty());

    // Neither is another site's entry.
    let mut harness = given_up();
    assert!(harness.sites([site("myapp"), Site::new("shop", "/x")]).is_empty());
}

#[test]
fn a_hasty_give_up_is_reported_once() {
    let mut harness = Harness::with_starting_queue();
    harness.ends("queue", Outcome::Refused(Refusal::JobPending, "busy".into()));
    // Its file was broken meanwhile, and this inspection did not ask for that.
    harness.after(SECOND);
    let broken = Inspection { load: LoadState::BadSetting, file: None, ..crashed() };
    assert_eq!(
        harness.shows("queue", broken),
        ["gave-up queue: the unit's file has a setting that the service manager refuses"]
    );
    let file = Some(UnitFile { definition: 2, ..ENABLED });
    assert!(harness.rechecked("queue", Inspection { load: LoadState::BadSetting, file, ..crashed() }).is_empty());
}

#[test]
fn a_worker_that_came_up_but_never_answered_stays_given_up() {
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut harness = Harness::with(Policy { probes, give_up_after: Some(1), ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    let result = ProbeResult { answer: ProbeAnswer::Refused("x:1".into()), up_for: Some(60 * SECOND), file_age: None };
    let mut refuses = || harness.observe(Fact::Probed(unit("queue"), result.clone()));
    refuses();
    refuses();
    assert_eq!(refuses(), ["failed queue #1: it is up, but refuses connections to x:1", "inspect queue and its stop"]);
    assert_eq!(
        harness.shows("queue", up(60 * SECOND)),
        ["gave-up queue #1: 1 attempt failed: it is up, but refuses connections to x:1"]
    );
    for _ in 0..4 {
        let refuses = harness.observe(Fact::Probed(unit("queue"), result.clone()));
        assert!(refuses.is_empty());
    }
}

#[test]
fn a_requested_heal_during_an_inspection_ends_a_give_up() {
    let mut harness = given_up();
    harness.observe(Fact::JobDone(unit("queue")));
    assert_eq!(harness.observe(Fact::Heal(vec![unit("queue")])), ["inspect queue"]);
    let seen = Inspection { down_for: Some(60 * SECOND), ..crashed() };
    assert_eq!(harness.shows("queue", seen)[1..], ["starting queue #1", "start queue"]);
}

#[test]
fn attempts_that_brought_it_up_are_not_called_failed() {
    let mut harness = Harness::with(Policy { give_up_after: Some(2), ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    for attempt in 1..=2 {
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", crashed());
        if attempt > 1 {
            harness.after(harness.due_in().unwrap());
            harness.shows("queue", crashed());
        }
        harness.goes("queue", ActiveState::Active);
        harness.ends("queue", Outcome::Done);
        assert_eq!(harness.after(10 * SECOND), ["inspect queue"]);
        assert_eq!(harness.shows("queue", up(10 * SECOND)), [format!("healed queue #{attempt}")]);
    }
    harness.goes("queue", ActiveState::Failed);
    let actions = harness.shows("queue", crashed());
    assert_eq!(actions.last().unwrap(), "gave-up queue #2: 2 attempts, and it never stayed up for 10m");
}

#[test]
fn a_corrected_file_is_tried_once_the_manager_has_read_it() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let refused = |definition| Inspection {
        load: LoadState::BadSetting,
        file: Some(UnitFile { definition, ..ENABLED }),
        ..crashed()
    };
    let actions = harness.shows("queue", refused(1));
    assert!(actions[1].starts_with("gave-up queue"), "{actions:?}");
    harness.rechecked("queue", refused(1));
    // Edited, and found so before `daemon-reload`.
    harness.after(RECHECK_INTERVAL);
    harness.rechecked("queue", refused(2));
    let actions = harness.shows("queue", refused(2));
    assert!(actions.iter().all(|it| !it.starts_with("start")), "{actions:?}");
    harness.rechecked("queue", refused(2));
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    let mended = Inspection { file: Some(UnitFile { definition: 2, ..ENABLED }), ..crashed() };
    assert_eq!(harness.rechecked("queue", mended.clone()), ["inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", mended).last().map(String::as_str), Some("start queue"));
}
