//! What is reported of workers, and what is kept of them.

use super::*;
use crate::report::{Stage, WorkerReport};
use crate::saved_state::SavedPhase;

fn report(harness: &Harness) -> WorkerReport {
    harness.healer.reports(harness.now).into_iter().find(|report| report.worker == "queue").unwrap()
}

#[test]
fn a_worker_that_was_given_up_is_counted_as_that_and_one_at_rest_as_up_or_down() {
    let queue = unit("queue");
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active), ("vite", ActiveState::Inactive)]);
    harness.shows(
        "vite",
        Inspection { active: ActiveState::Inactive, file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() },
    );
    assert_eq!(harness.healer.given_up(), []);
    assert_eq!(harness.healer.at_rest(&queue), Some(true));
    assert_eq!(harness.healer.at_rest(&unit("vite")), Some(false));
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.healer.at_rest(&queue), None);
    harness.shows("queue", crashed());
    harness.fails("queue", "boom");
    assert_eq!(harness.healer.given_up(), [("myapp".to_owned(), "lerd-queue-myapp".to_owned())]);
    assert_eq!(harness.healer.at_rest(&queue), None);
}

#[test]
fn what_is_left_alone_on_purpose_is_told_from_what_is_wrong() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    assert_eq!((report(&harness).phase, report(&harness).state), (Stage::Due, Some(State::Failed)));
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    let held = report(&harness);
    assert_eq!((held.phase, held.healthy, held.on_purpose), (Stage::Held, false, false));
    harness.observe(Fact::Pause(vec![Target::Everything], None));
    let paused = report(&harness);
    assert_eq!((paused.phase, paused.healthy, paused.on_purpose), (Stage::Held, false, true));
    assert_eq!(paused.reason, "you paused everything");

    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { load: LoadState::Masked, ..crashed() });
    let masked = report(&harness);
    assert_eq!((masked.phase, masked.healthy, masked.on_purpose), (Stage::Held, false, true));
}

#[test]
fn a_worker_that_refuses_its_probe_has_that_as_its_last_error() {
    let probes = [("queue".to_owned(), Probe::Tcp("x:1".into()))].into();
    let mut harness = Harness::with(Policy { probes, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    let refused = ProbeResult { answer: ProbeAnswer::Refused("x:1".into()), up_for: Some(60 * SECOND), file_age: None };
    for _ in 0..3 {
        harness.observe(Fact::Probed(unit("queue"), refused.clone()));
    }
    let report = report(&harness);
    assert_eq!((report.state, report.last_error.as_str()), (Some(State::Unreachable), "it refuses connections to x:1"));
    // A heal ends only once it answers.
    harness.shows("queue", up(60 * SECOND));
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    harness.after(10 * SECOND);
    assert_eq!(harness.shows("queue", up(10 * SECOND)), [""; 0]);
    let reachable = ProbeResult { answer: ProbeAnswer::Accepted, ..refused };
    harness.observe(Fact::Probed(unit("queue"), reachable));
    harness.after(10 * SECOND);
    assert_eq!(harness.shows("queue", up(20 * SECOND)), ["healed queue #1"]);
}

#[test]
fn a_failed_socket_is_inspected_when_it_is_known() {
    let mut harness = Harness::with_healthy_queue();
    assert_eq!(harness.observe(Fact::FailedSockets(vec![unit("vite")])), [""; 0]);
    assert_eq!(harness.observe(Fact::FailedSockets(vec![unit("queue")])), ["inspect queue and its stop"]);
}

#[test]
fn a_resume_of_another_worker_does_not_end_a_give_up() {
    for (target, is_tried) in [
        (Target::Unit(unit("vite")), false),
        (Target::Site("other".into()), false),
        (Target::Unit(unit("queue")), true),
        (Target::Site("myapp".into()), true),
        (Target::Everything, true),
    ] {
        let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
        harness.list(&[("queue", ActiveState::Active)]);
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", crashed());
        harness.fails("queue", "boom");
        let actions = harness.observe(Fact::Resume(vec![target.clone()]));
        assert_eq!(!actions.is_empty(), is_tried, "{target:?}: {actions:?}");
    }
}

#[test]
fn only_a_worker_with_a_history_is_saved() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    assert!(harness.healer.saved_state().workers.is_empty());
    harness.shows("queue", crashed());
    let saved = harness.healer.saved_state();
    assert_eq!(saved.workers[&unit("queue")].phase, SavedPhase::Attempt);
    // Of an attempt that an earlier daemon began, too.
    let mut next = Harness::new();
    next.healer.restore(saved.clone());
    assert_eq!(next.healer.saved_state(), saved);
    assert_eq!(next.list(&[("queue", ActiveState::Activating)]), [""; 0]);
    assert_eq!(next.healer.saved_state().workers[&unit("queue")].phase, SavedPhase::Attempt);
}

#[test]
fn a_group_is_summed_up_again_only_if_it_has_grown() {
    let mut harness = Harness::new();
    let names = ["a", "b", "c"];
    harness.list(&names.map(|name| (name, ActiveState::Active)));
    let waits = || Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() };
    let summaries = |actions: &[String]| actions.iter().filter(|it| it.contains("workers wait for")).count();
    let (mut told, mut shortened) = (Vec::new(), 0);
    for name in names {
        harness.goes(name, ActiveState::Failed);
        harness.shows(name, waits());
        let actions = harness.after(2 * SECOND);
        told.push(summaries(&actions));
        shortened += actions.iter().filter(|it| it.contains('…')).count();
    }
    assert_eq!(told, [0, 1, 1]);
    assert_eq!(shortened, 0, "all three names fit");
    assert_eq!(summaries(&harness.after(60 * SECOND)), 0);
}

#[test]
fn the_settings_in_force_can_be_read() {
    let harness = Harness::with(Policy { give_up_after: Some(77), ..without_jitter() });
    assert_eq!(harness.healer.context().policy.give_up_after, Some(77));
}

#[test]
fn workers_that_are_up_are_probed_and_others_not() {
    let probes = ["queue", "vite"].map(|name| (name.to_owned(), Probe::Tcp("x:1".into())));
    let mut harness = Harness::with(Policy { probes: probes.into(), ..without_jitter() });
    assert_eq!(harness.list(&[("queue", ActiveState::Active), ("vite", ActiveState::Activating)]), ["ask queue"]);
}

#[test]
fn a_stop_that_was_signalled_while_the_worker_was_down_is_certain() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let seen = Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() };
    harness.shows("queue", seen.clone());
    harness.observe(Fact::JobDone(unit("queue")));
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
    let saved = harness.healer.saved_state().workers.remove(&unit("queue")).unwrap();
    assert!(matches!(saved.phase, SavedPhase::Stopped { certain: true, .. }), "{saved:?}");
}

#[test]
fn a_recovery_by_the_manager_ends_a_give_up_with_its_attempts() {
    let mut harness = Harness::with(Policy { give_up_after: Some(1), ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    harness.fails("queue", "boom");
    harness.observe(Fact::Changed(UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) }));
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", crashed()).last().map(String::as_str), Some("start queue"));
}

#[test]
fn an_uptime_that_was_read_during_a_reload_does_not_end_the_history() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    assert_eq!(harness.shows("queue", up(10 * SECOND)), ["healed queue #1"]);
    let reset_after = without_jitter().reset_after;
    assert_eq!(harness.after(reset_after), ["see how long queue is up"]);
    harness.observe(Fact::Frozen);
    harness.answers_inspection("queue", Purpose::Uptime, Ok(up(reset_after)));
    assert!(harness.healer.saved_state().workers.contains_key(&unit("queue")));
}

#[test]
fn the_uptime_of_a_crash_loop_is_read_with_its_restarts() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let restarts = Some(Restarts { count: 7, last_run: Some(SECOND), delay: None, status: 1 });
    harness.shows("queue", Inspection { active: ActiveState::Activating, auto_restart: true, restarts, ..crashed() });
    harness.goes("queue", ActiveState::Active);
    let due = harness.healer.next_deadline().unwrap();
    harness.now = due;
    let actions = harness.healer.observe(due, Fact::Deadline);
    let asks = |action: &Action| matches!(action, Action::Inspect { detail, .. } if detail.restarts);
    assert!(actions.iter().any(asks), "{actions:?}");
}

#[test]
fn workers_are_counted_by_their_stage_and_known_by_their_unit() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active), ("vite", ActiveState::Active), ("mail", ActiveState::Failed)]);
    let stages = harness.healer.stages();
    let count = |stage| stages.iter().find(|(it, _)| *it == stage).map(|(_, count)| *count);
    assert_eq!((count(Stage::Up), count(Stage::Due), count(Stage::Held)), (Some(2), Some(1), Some(0)));
    assert_eq!(harness.healer.worker_of(&unit("queue")).map(|worker| worker.name.as_str()), Some("queue"));
    assert_eq!(harness.healer.worker_of(&UnitName::parse("ssh").unwrap()), None);
    assert_eq!(harness.healer.phase_of(&unit("mail")), Some("inspecting"));
    assert_eq!(harness.healer.phase_of(&unit("queue")), None);
}

#[test]
fn a_report_says_until_when_a_pause_lasts_and_why_a_masked_worker_is_down() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Pause(vec![Target::Everything], Some(60 * SECOND)));
    harness.shows("queue", crashed());
    assert_eq!(report(&harness).retry_in, Some(60 * SECOND));

    let mut harness = Harness::new();
    let masked = UnitStatus { load: Some(LoadState::Masked), ..status("queue", ActiveState::Inactive) };
    harness.observe(Fact::Units(vec![masked]));
    assert_eq!(
        (report(&harness).phase, report(&harness).reason.as_str()),
        (Stage::Down, "nothing says that it should be up")
    );
}

#[test]
fn what_a_worker_waits_for_is_shown_while_it_is_inspected_again_unless_that_is_up() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    harness.observe(Fact::Frozen);
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
    assert_eq!(report(&harness).phase, Stage::Held);
    let up = UnitStatus { name: UnitName::parse("lerd-php85-fpm").unwrap(), ..status("queue", ActiveState::Active) };
    harness.observe(Fact::Changed(up));
    assert_ne!(report(&harness).phase, Stage::Held);
}

#[test]
fn only_changes_are_saved() {
    let mut harness = Harness::with_healthy_queue();
    harness.list(&[("queue", ActiveState::Active)]);
    assert!(!harness.healer.saved_state_changed());
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    assert!(harness.healer.saved_state_changed());

    let mut harness = Harness::with_healthy_queue();
    harness.observe(Fact::Pause(vec![Target::Everything], None));
    harness.goes("queue", ActiveState::Failed);
    assert!(harness.healer.saved_state_if_changed().is_some());
    harness.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(harness.healer.saved_state_if_changed(), None, "it is held as before");
}

#[test]
fn a_worker_that_went_down_with_its_parent_is_saved_before_its_files_are_read() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    let seen = Inspection { parents: vec![fpm(ActiveState::Failed, false)], file: None, ..crashed() };
    harness.shows("queue", seen.clone());
    harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..seen });
    let saved = harness.healer.saved_state();
    assert_eq!(saved.workers[&unit("queue")].taken_along, crashed().deactivation);
}

#[test]
fn a_plan_leaves_out_workers_that_a_start_would_not_help() {
    let oneshot = Inspection { oneshot: true, ..crashed() };
    let waits = Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() };
    for (seen, expected) in [(oneshot, (0, 1)), (waits, (1, 0))] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", seen);
        let plan = harness.healer.plan(harness.now);
        assert_eq!((plan.unhealthy.len(), plan.left_alone.len()), expected);
    }
}

#[test]
fn a_start_that_is_refused_for_a_mask_is_told_as_that_only_of_a_masked_worker() {
    for (load, expected) in [
        (LoadState::Masked, "held queue: the unit is masked"),
        (LoadState::Loaded, "held queue: the service manager does not start it now: Unit db.service is masked"),
    ] {
        let mut harness = Harness::with_starting_queue();
        harness.observe(Fact::Changed(UnitStatus { load: Some(load), ..status("queue", ActiveState::Failed) }));
        let refused = Outcome::Refused(Refusal::Masked, "Unit db.service is masked".into());
        let actions = harness.ends("queue", refused);
        assert!(actions.iter().any(|action| action == expected), "{actions:?}");
    }
}

#[test]
fn evidence_that_is_missing_is_searched_for_again_ever_later() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Active);
    harness.goes("queue", ActiveState::Failed);
    let unknown = Inspection { stop: Some(StopEvidence::Unknown("the journal lags".into())), ..crashed() };
    let mut waits = Vec::new();
    for _ in 0..4 {
        harness.shows("queue", unknown.clone());
        let due = harness.due_in().unwrap();
        waits.push(due);
        harness.after(due);
    }
    assert!(waits.is_sorted_by(|one, next| one < next), "{waits:?}");
}

#[test]
fn a_recheck_searches_for_a_stop_that_is_not_certain() {
    for (stop, searches) in [(Some(StopEvidence::Requested), false), (None, true)] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        harness.goes("queue", ActiveState::Inactive);
        let seen = Inspection { active: ActiveState::Inactive, stop, ..crashed() };
        harness.shows("queue", seen);
        harness.now = harness.healer.next_deadline().unwrap_or(harness.now);
        let name = unit("queue");
        if harness.healer.incidents[&name].inspections.under_way(Purpose::Recheck).is_some() {
            harness.rechecked("queue", Inspection { active: ActiveState::Inactive, ..crashed() });
        }
        harness.now = harness.healer.next_deadline().unwrap();
        let actions = harness.healer.observe(harness.now, Fact::Deadline);
        let asked = actions.iter().find_map(|action| match action {
            Action::Inspect { detail, .. } => Some(detail.stop),
            _ => None,
        });
        assert_eq!(asked, Some(searches), "{actions:?}");
    }
}
