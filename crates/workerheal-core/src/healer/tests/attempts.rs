//! Attempts, from the failure to the proof, and what may come between.

use super::*;

#[test]
fn a_crash_is_inspected_and_started_at_once() {
    let mut harness = Harness::with_healthy_queue();
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn healed_means_up_for_the_proving_time_and_seen_to_be() {
    let mut harness = Harness::with_proving_queue();
    assert_eq!(harness.due_in(), Some(10 * SECOND));
    assert!(harness.after(9 * SECOND).is_empty());
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(10 * SECOND)), ["healed queue #1"]);
}

#[test]
fn an_unsignalled_restart_is_no_proof() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    assert_eq!(
        harness.shows("queue", up(3 * SECOND)),
        ["failed queue #1: exited and was restarted right after starting"]
    );
    // That the manager's own restart lasts is no heal of ours.
    assert_eq!(harness.after(10 * SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(13 * SECOND)), ["recovered queue"]);
}

#[test]
fn a_proof_that_cannot_be_read_is_taken_again() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    assert!(harness.answers("queue", Err("no answer".into())).is_empty());
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", up(11 * SECOND)), ["healed queue #1"]);
}

#[test]
fn death_while_proving_is_a_failed_attempt() {
    let mut harness = Harness::with_proving_queue();
    let actions = harness.goes("queue", ActiveState::Failed);
    assert_eq!(
        harness.is_seen_failed("queue", actions),
        ["failed queue #1: exited right after starting", "scheduled queue #2 in 1s"]
    );
    let mut harness = Harness::with_proving_queue();
    // The manager restarts it by itself: so it died, even if it is not parked.
    assert_eq!(harness.goes("queue", ActiveState::Activating), ["failed queue #1: exited right after starting"]);
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_restart_by_a_person_during_the_proof_is_no_failure_and_begins_another_proof() {
    for comes_up in
        [&[ActiveState::Active][..], &[ActiveState::Activating, ActiveState::Activating, ActiveState::Active]]
    {
        let mut harness = Harness::with_proving_queue();
        harness.after(9 * SECOND);
        for active in [ActiveState::Active, ActiveState::Deactivating, ActiveState::Inactive] {
            assert!(harness.goes_with_job("queue", active).is_empty(), "{active}");
        }
        for active in comes_up {
            assert!(harness.goes_with_job("queue", *active).is_empty(), "{active}");
        }
        harness.goes("queue", ActiveState::Active);
        assert!(harness.after(9 * SECOND).is_empty());
        assert_eq!(harness.after(SECOND), ["inspect queue"]);
        assert_eq!(harness.shows("queue", up(10 * SECOND)), ["recovered queue"]);
    }
}

#[test]
fn a_crash_after_a_restart_by_a_person_is_a_failure() {
    let restarted = || {
        let mut harness = Harness::with_proving_queue();
        for active in [ActiveState::Deactivating, ActiveState::Inactive, ActiveState::Activating] {
            harness.goes_with_job("queue", active);
        }
        harness
    };
    let parked = Fact::Changed(UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) });
    let mut harness = restarted();
    assert_eq!(harness.observe(parked), ["failed queue #1: exited right after starting"]);
    let mut harness = restarted();
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.goes("queue", ActiveState::Activating), ["failed queue #1: exited right after starting"]);
    let mut harness = restarted();
    harness.goes("queue", ActiveState::Active);
    let actions = harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.is_seen_failed("queue", actions)[0], "failed queue #1: exited right after starting");
}

#[test]
fn a_restart_by_the_manager_leads_to_no_event_and_no_start() {
    let mut harness = Harness::with_proving_queue();
    let restarts = |active| Fact::Changed(UnitStatus { auto_restart: true, ..status("queue", active) });
    assert_eq!(harness.observe(restarts(ActiveState::Activating)), ["failed queue #1: exited right after starting"]);
    for _ in 0..3 {
        assert!(harness.goes("queue", ActiveState::Active).is_empty());
        assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
        let waits = Inspection { active: ActiveState::Activating, auto_restart: true, ..crashed() };
        assert!(harness.shows("queue", waits).is_empty());
        assert!(harness.observe(restarts(ActiveState::Activating)).is_empty());
    }
    // It has stopped restarting it: only now does the next attempt come.
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["scheduled queue #2 in 1s"]);
}

#[test]
fn a_start_that_pulls_in_others_is_made_alone() {
    for seen in [
        Inspection { pulls_in: vec!["store.service".into()], ..crashed() },
        Inspection { has_conflicts: true, ..crashed() },
        Inspection { parents: vec![Parent { finished: true, ..fpm(ActiveState::Inactive, false) }], ..crashed() },
    ] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        assert_eq!(harness.shows("queue", seen).last().map(String::as_str), Some("start queue alone"));
    }
}

/// Maintenance was started while our start was under way.
#[test]
fn a_worker_waits_for_a_conflicting_unit() {
    let mut harness = Harness::with_starting_queue();
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    assert_eq!(harness.after(without_jitter().stable_after), ["inspect queue"]);
    let beside = Inspection { conflicts: vec!["maint.service".into()], ..up(without_jitter().stable_after) };
    assert_eq!(harness.shows("queue", beside), ["stop queue"]);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(harness.goes("queue", ActiveState::Inactive), ["stopped queue"]);
    assert!(harness.after(3600 * SECOND).is_empty());
}

#[test]
fn a_stop_that_our_start_overtook_is_obeyed() {
    for stop in [Fact::JobDone(unit("queue")), Fact::StopOverridden(unit("queue"))] {
        let mut harness = Harness::with_starting_queue();
        assert_eq!(harness.observe(stop), ["stop queue"]);
        harness.goes("queue", ActiveState::Active);
        // The start may take two steps, and the stop have come between them.
        assert_eq!(harness.ends("queue", Outcome::Done), ["stop queue"]);
        harness.goes_with_job("queue", ActiveState::Deactivating);
        assert_eq!(harness.goes("queue", ActiveState::Inactive), ["stopped queue"]);
        assert!(harness.after(3600 * SECOND).is_empty());
    }
}

/// The connection is lost before that stop is made. The run that the worker is in afterwards may be another.
#[test]
fn a_stop_that_our_start_overtook_is_obeyed_later_only_if_the_worker_is_still_in_that_run() {
    for (up_for, expected) in [(3600 * SECOND, "stop queue"), (600 * SECOND, "failed queue #1")] {
        let mut harness = Harness::with_starting_queue();
        harness.goes("queue", ActiveState::Active);
        harness.after(SECOND);
        harness.observe(Fact::StopOverridden(unit("queue")));
        harness.ends("queue", Outcome::Done);
        harness.observe(Fact::Frozen);
        assert_eq!(harness.after(3600 * SECOND), ["inspect queue"]);
        harness.list(&[("queue", ActiveState::Active)]);
        let actions = harness.shows("queue", up(up_for));
        assert!(actions[0].starts_with(expected), "{actions:?}");
        assert_eq!(actions.contains(&"stop queue".to_owned()), expected == "stop queue", "{actions:?}");
    }
}

#[test]
fn attempts_wait_longer_and_longer_and_end_with_one_loud_event() {
    let mut harness = Harness::with_starting_queue();
    let mut waits = Vec::new();
    for attempt in 1..10 {
        let actions = harness.fails("queue", "boom");
        assert_eq!(actions[0], format!("failed queue #{attempt}: boom"));
        let wait = harness.due_in().unwrap();
        waits.push(wait.as_secs());
        assert_eq!(harness.after(wait), ["inspect queue"]);
        let next = attempt + 1;
        assert_eq!(harness.shows("queue", crashed()), [format!("starting queue #{next}"), "start queue".into()]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(
        harness.fails("queue", "boom"),
        ["failed queue #10: boom", "gave-up queue #10: 10 attempts failed: boom"]
    );
    for _ in 0..100 {
        assert!(harness.after(3600 * SECOND).is_empty());
        assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    }
}

#[test]
fn the_backoff_can_be_configured_to_never_give_up() {
    let mut harness = Harness::with(Policy { give_up_after: None, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.shows("queue", crashed());
    for attempt in 1..100 {
        assert_eq!(harness.fails("queue", "boom")[0], format!("failed queue #{attempt}: boom"));
        let wait = harness.due_in().unwrap();
        harness.after(wait);
        harness.shows("queue", crashed());
    }
    assert_eq!(harness.due_in(), None);
}

#[test]
fn a_long_uptime_forgets_earlier_attempts() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    harness.shows("queue", up(10 * SECOND));
    assert_eq!(harness.after(600 * SECOND), ["see how long queue is up"]);
    harness.answers_inspection("queue", Purpose::Uptime, Ok(up(600 * SECOND)));
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", crashed()), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn an_uptime_with_an_unseen_interruption_resets_nothing() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    harness.shows("queue", up(10 * SECOND));
    harness.after(600 * SECOND);
    harness.answers_inspection("queue", Purpose::Uptime, Ok(up(100 * SECOND)));
    assert_eq!(harness.due_in(), Some(500 * SECOND));
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", crashed()), ["detected queue: failed", "scheduled queue #2 in 1s"]);
}

#[test]
fn a_failure_before_the_start_is_healed_after_its_stop_was_checked() {
    let mut harness = Harness::new();
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn a_lost_signal_costs_time_and_nothing_else() {
    let mut harness = Harness::with_healthy_queue();
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
}

#[test]
fn a_start_that_takes_too_long_is_no_stop() {
    // systemd ends it, and its start job lasts until it is down.
    let mut harness = Harness::with_starting_queue();
    harness.goes_with_job("queue", ActiveState::Activating);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Failed);
    let actions = harness.ends("queue", Outcome::Failed("could not be started".into()));
    assert_eq!(actions[0], "failed queue #1: could not be started");
    let actions = harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.is_seen_failed("queue", actions), ["scheduled queue #2 in 1s"]);
    assert_eq!(harness.after(SECOND), ["inspect queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["starting queue #2", "start queue"]);
}

#[test]
fn a_restart_whose_second_half_fails_is_no_stop() {
    // Another client's job: what is seen of it is a stop, and what the journal has of the new run is none.
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Failed);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", crashed()), ["stopped queue"]);
    let seen = |stop| Inspection { run: Some("2".into()), stop: Some(stop), ..crashed() };
    assert!(harness.rechecked("queue", seen(StopEvidence::NotRequested)).is_empty(), "it may not be written yet");
    harness.after(RECHECK_INTERVAL);
    let actions = harness.rechecked("queue", seen(StopEvidence::NotRequested));
    assert_eq!(actions, ["inspect queue and its stop"]);
    let actions = harness.shows("queue", seen(StopEvidence::NotRequested));
    assert_eq!(actions, ["detected queue: failed", "starting queue #1", "start queue"]);

    // What the journal confirms stays a stop.
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", crashed());
    harness.rechecked("queue", seen(StopEvidence::Requested));
    harness.after(RECHECK_INTERVAL);
    assert!(harness.rechecked("queue", Inspection { run: Some("2".into()), ..crashed() }).is_empty());
}

#[test]
fn a_start_of_which_only_the_first_half_happened_is_repeated() {
    let mut harness = Harness::with_starting_queue();
    // Its failure is cleared, and then the manager or the bus goes away.
    harness.goes("queue", ActiveState::Inactive);
    harness.observe(Fact::Frozen);
    harness.ends("queue", Outcome::NotStarted("the connection was lost".into()));
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", seen.clone()), ["scheduled queue #2 in 1s"]);
    assert_eq!(harness.after(SECOND), ["inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", seen.clone()), ["starting queue #2", "start queue"]);

    // The same if a unit that it depends on cannot be started.
    let mut harness = Harness::with_starting_queue();
    harness.goes("queue", ActiveState::Inactive);
    let actions = harness.ends("queue", Outcome::NotStarted("dependency".into()));
    assert_eq!(actions, ["failed queue #1: dependency", "inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", seen.clone()), ["scheduled queue #2 in 1s"]);
    assert!(harness.list(&[("queue", ActiveState::Inactive)]).is_empty());
    assert_eq!(harness.after(SECOND), ["inspect queue and its stop"]);

    // The same if the end is reported before the failure is seen to be cleared.
    let mut harness = Harness::with_starting_queue();
    harness.ends("queue", Outcome::NotStarted("refused".into()));
    assert!(harness.goes("queue", ActiveState::Inactive).is_empty());
    assert_eq!(harness.shows("queue", seen), ["scheduled queue #2 in 1s"]);

    // But not if a person stops it now.
    let mut harness = Harness::with_starting_queue();
    harness.goes("queue", ActiveState::Inactive);
    harness.ends("queue", Outcome::NotStarted("dependency".into()));
    assert!(harness.observe(Fact::JobDone(unit("queue"))).is_empty(), "it is being inspected");
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
    assert!(harness.after(3600 * SECOND).is_empty());
}

#[test]
fn a_start_replaced_by_a_restart_belongs_to_another_client() {
    let mut harness = Harness::with_starting_queue();
    harness.goes_with_job("queue", ActiveState::Activating);
    assert!(harness.ends("queue", Outcome::Cancelled).is_empty());
    assert_eq!(
        harness.comes_back("queue"),
        ["failed queue #1: its start was cancelled by another client", "recovered queue"]
    );
}

#[test]
fn a_worker_that_comes_up_by_itself_is_not_started() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    assert!(harness.goes("queue", ActiveState::Activating).is_empty());
    assert!(harness.after(SECOND).is_empty());
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_wait_continues_if_another_clients_start_fails() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.goes("queue", ActiveState::Activating);
    assert!(harness.after(5 * SECOND).is_empty());
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
}

#[test]
fn a_start_that_the_manager_refuses_for_a_job_is_no_attempt() {
    let mut harness = Harness::with_starting_queue();
    assert_eq!(
        harness.ends("queue", Outcome::Refused(Refusal::JobPending, "a stop job is queued".into())),
        ["failed queue #1: a stop job is queued", "held queue: another job is under way for the unit"]
    );
    // Asked again after a while, and not at the speed of the manager's refusals.
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    assert_eq!(harness.after(SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["starting queue #1", "start queue"]);
}

#[test]
fn a_missing_permission_is_reported_once_and_is_no_attempt() {
    let mut harness = Harness::with_starting_queue();
    let denied = || Outcome::Refused(Refusal::Forbidden("Access denied".into()), "Access denied".into());
    assert_eq!(
        harness.ends("queue", denied()),
        [
            "failed queue #1: Access denied",
            "held queue: workerheal has no permission to start it (Access denied); \
             to permit it: sudo workerheal --system install"
        ]
    );
    // It is tried again, as nothing signals that the permission is there: less and less often, in silence, and without
    // an end.
    for _ in 0..30 {
        let actions = harness.after(400 * SECOND);
        assert_eq!(actions, ["inspect queue"]);
        assert_eq!(harness.shows("queue", crashed()), ["start queue"]);
        assert!(harness.ends("queue", denied()).is_empty());
    }
    assert_eq!(harness.after(400 * SECOND), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["start queue"]);
    // One that is permitted is an attempt, and reported.
    assert_eq!(
        harness.fails("queue", "boom"),
        ["starting queue #1", "failed queue #1: boom", "scheduled queue #2 in 1s"]
    );
}

#[test]
fn while_the_manager_reloads_nothing_is_decided() {
    let mut harness = Harness::with_healthy_queue();
    harness.observe(Fact::Frozen);
    assert!(harness.goes("queue", ActiveState::Failed).is_empty());
    assert!(harness.after(SECOND).is_empty());
    // The signal fell into the doubt, so the failure counts as not witnessed.
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
}

#[test]
fn an_inspection_that_ends_during_a_reload_is_repeated() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Frozen);
    assert!(harness.shows("queue", crashed()).is_empty());
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
}

#[test]
fn at_most_so_many_starts_are_under_way_at_once() {
    let mut harness = Harness::with(Policy { max_concurrent: 2, ..without_jitter() });
    let names = ["a", "b", "c", "d"];
    let failed = names.map(|name| (name, ActiveState::Failed));
    assert_eq!(harness.list(&failed), ["inspect a and its stop", "inspect b and its stop"]);
    assert_eq!(harness.shows("a", crashed())[1..], ["starting a #1", "start a"]);
    let actions = harness.ends("a", Outcome::Done);
    assert_eq!(actions, ["inspect c and its stop"], "a worker that only has to prove itself takes no place");
}

#[test]
fn the_same_facts_lead_to_the_same_actions_in_the_same_order() {
    let life = || {
        let probes = [("web".to_owned(), Probe::Tcp("x:1".into()))].into();
        let mut harness = Harness::with(Policy { probes, max_concurrent: 20, ..without_jitter() });
        harness.sites((0..20).map(|number| site(&format!("s{number}"))));
        let names = |worker: &'static str| (0..20).map(move |site| format!("lerd-{worker}-s{site}"));
        let (queues, webs): (Vec<_>, Vec<_>) = (names("queue").collect(), names("web").collect());
        let list: Vec<_> = queues
            .iter()
            .map(|name| (name.as_str(), ActiveState::Failed))
            .chain(webs.iter().map(|name| (name.as_str(), ActiveState::Active)))
            .collect();
        let mut actions = harness.list(&list);
        for name in &queues {
            actions.extend(harness.answers(name, Err("no answer".into())));
        }
        harness.observe(Fact::Frozen);
        actions.extend(harness.list(&list));
        actions
    };
    assert_eq!(life(), life());
}

#[test]
fn an_attempt_with_an_unseen_end_delays_the_next_one() {
    // The daemon was restarted.
    let before = Harness::with_proving_queue();
    let mut harness = Harness::new();
    harness.healer.restore(before.healer.saved_state());
    harness.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(harness.shows("queue", crashed()).last().map(String::as_str), Some("scheduled queue #2 in 1s"));

    // The site was not registered for a moment.
    let mut harness = Harness::with_proving_queue();
    harness.sites([]);
    harness.goes("queue", ActiveState::Failed);
    harness.sites(both_sites());
    assert_eq!(harness.shows("queue", crashed()).last().map(String::as_str), Some("scheduled queue #2 in 1s"));
}

#[test]
fn a_worker_that_dies_while_an_inspection_still_shows_it_up_is_inspected_again() {
    for end in [ActiveState::Failed, ActiveState::Inactive] {
        let mut harness = Harness::new();
        assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
        assert!(harness.goes("queue", ActiveState::Active).is_empty());
        assert!(harness.goes("queue", end).is_empty());
        assert!(harness.shows("queue", up(Duration::ZERO)).is_empty());
        // No list and no further signal is needed for that.
        let did = harness.after(SECOND);
        assert!(did.iter().any(|did| did.starts_with("inspect queue")), "{end}: {did:?}");
    }
}

#[test]
fn a_worker_that_is_stopped_while_an_inspection_still_shows_its_start_is_inspected_again() {
    let mut harness = Harness::new();
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    assert!(harness.goes("queue", ActiveState::Active).is_empty());
    assert!(harness.goes("queue", ActiveState::Inactive).is_empty());
    let starting = Inspection { active: ActiveState::Inactive, has_job: true, deactivation: None, ..crashed() };
    assert!(harness.shows("queue", starting).is_empty());
    let did = harness.after(SECOND);
    assert!(did.iter().any(|did| did.starts_with("inspect queue")), "{did:?}");
}

#[test]
fn a_refused_start_that_a_stop_overtook_is_no_attempt() {
    let mut harness = Harness::with_starting_queue();
    harness.observe(Fact::JobDone(unit("queue")));
    let refused = Outcome::Refused(Refusal::JobPending, "a stop job is queued".into());
    assert_eq!(harness.ends("queue", refused), ["stopped queue"]);
    // Started by hand, and failed again.
    harness.goes("queue", ActiveState::Active);
    harness.goes("queue", ActiveState::Failed);
    let did = harness.shows("queue", crashed());
    assert!(did.contains(&"starting queue #1".to_owned()), "{did:?}");
}

#[test]
fn a_worker_kept_from_starting_during_its_proof_waits_for_its_parent() {
    let mut harness = Harness::with_proving_queue();
    // It is restarted with its parent, which does not come up again.
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.observe(Fact::KeptFromStarting(unit("queue")));
    let did = harness.goes("queue", ActiveState::Inactive);
    assert!(!did.iter().any(|did| did.starts_with("stopped")), "{did:?}");
    let down = fpm(ActiveState::Failed, false);
    let kept = Inspection { active: ActiveState::Inactive, parents: vec![down], ..crashed() };
    assert_eq!(
        harness.shows("queue", kept.clone()),
        ["failed queue #1: it was stopped while it was coming up", "inspect queue"]
    );
    let did = harness.shows("queue", kept);
    assert!(did.last().is_some_and(|did| did.starts_with("held queue")), "{did:?}");
}

#[test]
fn a_start_that_is_skipped_is_a_failed_attempt_and_no_stop() {
    // Nothing signals it: the unit stays as it was, and the job is done.
    let mut harness = Harness::with_starting_queue();
    harness.observe(Fact::Finished(unit("queue"), Outcome::Done));
    let actions = harness.goes("queue", ActiveState::Failed);
    assert_eq!(actions[0], "failed queue #1: its start was skipped: a condition of the unit is not met", "{actions:?}");

    // By `ExecCondition=` it ends without error.
    let mut harness = Harness::with_starting_queue();
    harness.goes("queue", ActiveState::Activating);
    harness.observe(Fact::Finished(unit("queue"), Outcome::Done));
    harness.goes("queue", ActiveState::Inactive);
    let seen = Inspection { active: ActiveState::Inactive, skipped: Some(61 * SECOND), ..crashed() };
    let actions = harness.shows("queue", seen);
    assert_eq!(actions[0], "failed queue #1: its start was skipped: a condition of the unit is not met", "{actions:?}");

    // Nor is it a stop if it was started by hand, but a job that ends later is one.
    for (ago, expected) in [(0, vec!["starting queue #1", "start queue"]), (5, vec!["stopped queue"])] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
        harness.observe(Fact::JobDone(unit("queue")));
        let skipped = Some(crashed().at.saturating_sub(ago * SECOND));
        let seen = Inspection { skipped, down_for: Some(9 * SECOND), ..crashed() };
        assert_eq!(harness.shows("queue", seen), expected, "{ago} s ago");
    }
}
