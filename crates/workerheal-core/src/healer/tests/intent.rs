//! What people want: stops, pauses, masks, disabling, the registry, heals by hand.

use super::*;

#[test]
fn a_stop_that_ends_before_our_start_is_obeyed_even_if_a_reload_came_in_between() {
    let mut harness = Harness::with_starting_queue();
    harness.observe(Fact::Frozen);
    harness.after(Duration::from_millis(1));
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), [""; 0]);
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["stop queue"]);
}

#[test]
fn a_worker_that_dies_again_after_a_while_has_to_wait_all_the_same() {
    let mut harness = Harness::with_proving_queue();
    harness.after(10 * SECOND);
    harness.shows("queue", up(10 * SECOND));
    harness.after(60 * SECOND);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["detected queue: failed", "scheduled queue #2 in 1s"]);
}

#[test]
fn the_cause_of_a_slow_deactivation_is_searched_for_even_without_a_stop_signal() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let slow = Inspection { deactivation: Some(Deactivation { left: 50 * SECOND, down: 51 * SECOND }), ..crashed() };
    assert_eq!(harness.shows("queue", slow.clone()), ["inspect queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..slow };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn a_stop_on_request_that_ends_in_failure_stays_a_stop() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    assert!(harness.goes_with_job("queue", ActiveState::Failed).is_empty());
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["stopped queue"]);
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    // Until a person starts it, and it then crashes.
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
}

#[test]
fn a_worker_that_dies_while_a_job_waits_may_have_been_stopped() {
    // A stop waits until what is ordered after the worker is down.
    let mut harness = Harness::with_healthy_queue();
    harness.observe(Fact::Changed(UnitStatus { has_job: true, ..status("queue", ActiveState::Active) }));
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
}

#[test]
fn a_worker_that_dies_under_a_job_may_have_been_stopped_though_that_job_was_not_seen_before() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Failed);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);

    let mut harness = Harness::with_healthy_queue();
    harness.observe(Fact::JobDone(unit("queue")));
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
}

#[test]
fn a_stop_on_request_is_found_out_afterwards_too() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn when_a_stop_cannot_be_ruled_out_nothing_is_started() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    let seen = Inspection { stop: Some(StopEvidence::Unknown("the journal is gone".into())), ..crashed() };
    assert_eq!(
        harness.shows("queue", seen),
        ["detected queue: failed", "held queue: it may have been stopped on purpose: the journal is gone"]
    );
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
}

#[test]
fn a_crash_through_deactivating_is_a_crash() {
    // ExecStopPost= runs in `deactivating`, without a job.
    let mut harness = Harness::with_healthy_queue();
    assert!(harness.goes("queue", ActiveState::Deactivating).is_empty());
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
}

#[test]
fn a_stop_during_the_proof_is_obeyed() {
    for down in [ActiveState::Inactive, ActiveState::Failed] {
        let mut harness = Harness::with_proving_queue();
        harness.goes_with_job("queue", ActiveState::Deactivating);
        assert_eq!(harness.goes("queue", down), ["inspect queue"], "it may have been meant for a unit that it needs");
        let seen = Inspection { active: down, ..crashed() };
        assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
        assert!(harness.after(3600 * SECOND).is_empty());
    }
}

#[test]
fn a_stop_of_a_parent_during_the_proof_is_not_the_workers() {
    let mut harness = Harness::with_proving_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let left = crashed().deactivation.map(|deactivation| deactivation.left);
    let parent = Parent { name: "fpm.service".to_owned(), active: ActiveState::Inactive, left, ..Parent::default() };
    let seen = Inspection { active: ActiveState::Inactive, parents: vec![parent], ..crashed() };
    let asked = harness.shows("queue", seen.clone());
    assert_eq!(asked, ["inspect queue and its stop"]);
    let file = Some(ENABLED);
    let actions = harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), file, ..seen });
    assert_eq!(actions[0], "failed queue #1: it was stopped while it was coming up");
    assert!(actions.iter().any(|action| action.starts_with("held queue: it needs fpm")), "{actions:?}");
}

#[test]
fn clearing_the_failure_by_hand_ends_a_wait() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    assert!(harness.goes("queue", ActiveState::Inactive).is_empty(), "perhaps to start it next");
    assert_eq!(harness.after(SECOND), ["inspect queue and its stop"]);
    let cleared = Inspection { active: ActiveState::Inactive, stop: Some(StopEvidence::NotRequested), ..crashed() };
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..cleared.clone() };
    assert_eq!(harness.shows("queue", disabled), ["stopped queue: its failure was cleared, and it is not enabled"]);
    assert!(harness.after(3600 * SECOND).is_empty());

    // Of one that is enabled it says nothing.
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.goes("queue", ActiveState::Inactive);
    harness.after(SECOND);
    assert_eq!(harness.shows("queue", cleared), ["starting queue #2", "start queue"]);
}

#[test]
fn a_cleared_failure_and_a_manual_start_is_a_recovery() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.goes("queue", ActiveState::Inactive);
    harness.goes("queue", ActiveState::Activating);
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_stop_of_a_worker_that_is_down_already_is_a_stop_all_the_same() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    // systemd has nothing to do for it but to say that the job is done.
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue"]);
    assert_eq!(harness.shows("queue", crashed()), ["stopped queue"]);
    assert!(harness.after(3600 * SECOND).is_empty());

    // Had it been a start, it would have been up since.
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.observe(Fact::JobDone(unit("queue")));
    harness.answers("queue", Err("no answer".into()));
    assert_eq!(harness.after(SECOND * 10), ["inspect queue"]);
    let again = Inspection { down_for: Some(9 * SECOND), stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(harness.shows("queue", again), ["starting queue #2", "start queue"]);

    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::JobDone(unit("queue")));
    assert_eq!(harness.shows("queue", crashed()), ["stopped queue"], "during its inspection");
}

#[test]
fn a_stop_in_the_middle_of_our_start_is_obeyed() {
    for end in [ActiveState::Failed, ActiveState::Inactive] {
        let mut harness = Harness::with_starting_queue();
        harness.goes("queue", ActiveState::Activating);
        harness.goes_with_job("queue", ActiveState::Deactivating);
        assert!(harness.ends("queue", Outcome::Cancelled).is_empty());
        assert_eq!(harness.goes("queue", end), ["inspect queue and its stop"]);
        let seen = Inspection { active: end, stop: Some(StopEvidence::Requested), ..crashed() };
        assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
        assert!(harness.after(3600 * SECOND).is_empty());
    }
}

#[test]
fn paused_by_the_registry_it_stays_down_until_that_ends() {
    let queue = || ["queue".to_owned()].into();
    for (site, reason) in [
        (paused_site("myapp"), "the site myapp is paused"),
        (Site { paused_workers: queue(), ..site("myapp") }, "the worker queue of myapp is paused"),
        (
            Site { idle_suspended_workers: queue(), ..site("myapp") },
            "the worker queue of myapp sleeps until the site is used again",
        ),
    ] {
        let mut harness = Harness::with_healthy_queue();
        harness.sites([site]);
        let held = [format!("held queue: {reason}"), "remember queue".to_owned()];
        assert_eq!(harness.goes("queue", ActiveState::Failed), held);
        assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
        assert_eq!(harness.sites(both_sites()), ["inspect queue"]);
    }
}

#[test]
fn a_pause_cancels_the_wait_for_the_next_attempt() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    let paused = [paused_site("myapp")];
    assert_eq!(harness.sites(paused), ["held queue: the site myapp is paused"]);
    assert_eq!(harness.due_in(), None);
}

#[test]
fn a_pause_between_inspection_and_start_is_obeyed() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.sites([paused_site("myapp")]);
    assert_eq!(harness.shows("queue", crashed()), ["held queue: the site myapp is paused"]);
}

#[test]
fn under_the_stop_marker_nothing_is_healed() {
    let mut harness = Harness::with_healthy_queue();
    harness.observe(Fact::StopMarker(true));
    let held = "held queue: everything was stopped on purpose (the stop marker exists)";
    assert_eq!(harness.goes("queue", ActiveState::Failed), [held, "remember queue"]);
    assert_eq!(harness.observe(Fact::StopMarker(false)), ["inspect queue"]);
}

#[test]
fn ignored_sites_containers_and_global_units_are_none_of_ours() {
    let mut harness = Harness::new();
    harness.sites([site("myapp"), Site { ignored: true, ..site("blog") }]);
    let failed = ActiveState::Failed;
    let list = [
        ("lerd-fp-myapp", failed),
        ("lerd-custom-myapp", failed),
        ("lerd-cfpm-myapp", failed),
        ("lerd-nginx", failed),
        ("lerd-queue-blog", failed),
    ];
    assert!(harness.list(&list).is_empty());
    assert_eq!(harness.healer.counts(), Counts::default());
}

#[test]
fn a_site_that_is_added_is_covered_at_once() {
    let mut harness = Harness::new();
    assert!(harness.list(&[("lerd-queue-blog", ActiveState::Failed)]).is_empty());
    let sites = harness.sites([site("blog")]);
    assert_eq!(sites, ["inspect lerd-queue-blog and its stop"]);
}

#[test]
fn a_site_that_is_removed_takes_its_heals_with_it() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    assert_eq!(harness.sites([]), ["stopped queue: it is no longer covered"]);
    assert!(harness.after(3600 * SECOND).is_empty());
}

#[test]
fn masked_it_stays_down_until_unmasked() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.after(SECOND);
    assert_eq!(
        harness.shows("queue", Inspection { load: LoadState::Masked, ..crashed() }),
        ["held queue: the unit is masked"]
    );
    let masked = UnitStatus { load: Some(LoadState::Masked), ..status("queue", ActiveState::Failed) };
    assert!(harness.observe(Fact::Units(vec![masked])).is_empty());
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue"]);
}

#[test]
fn disabled_while_down_it_stays_down_until_enabled() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.after(SECOND);
    assert_eq!(
        harness.shows("queue", Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() }),
        ["held queue: the unit was disabled while it was down"]
    );
    assert!(harness.list(&[("queue", ActiveState::Failed)]).is_empty());
    // systemctl enable reloads the manager.
    harness.observe(Fact::Frozen);
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
    assert_eq!(harness.shows("queue", crashed()), ["starting queue #2", "start queue"]);
}

#[test]
fn disabled_while_it_waits_for_another_unit_it_stays_down() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    let actions = harness.healer.observe(harness.now, Fact::Changed(status("lerd-php85-fpm", ActiveState::Active)));
    let asks = |action: &Action| matches!(action, Action::Inspect { detail, .. } if detail.file);
    assert!(actions.iter().any(asks), "{actions:?}");
}

#[test]
fn a_heal_by_hand_outweighs_that_it_was_disabled_until_it_is_disabled_again() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.after(SECOND);
    let waits = vec![fpm(ActiveState::Failed, false)];
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    harness.shows("queue", disabled.clone());
    harness.observe(Fact::Heal(vec![unit("queue")]));
    harness.shows("queue", Inspection { parents: waits.clone(), ..disabled.clone() });
    harness.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Active)]);
    assert_eq!(harness.shows("queue", disabled.clone()).last().map(String::as_str), Some("start queue"));

    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.observe(Fact::Heal(vec![unit("queue")]));
    harness.shows("queue", Inspection { parents: waits, ..crashed() });
    harness.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Active)]);
    assert_eq!(harness.shows("queue", disabled), ["held queue: the unit was disabled while it was down"]);
}

#[test]
fn healed_by_hand_then_enabled_and_disabled_again_it_stays_down() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Heal(vec![unit("queue")]));
    let waits = vec![fpm(ActiveState::Failed, false)];
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), parents: waits, ..crashed() };
    harness.shows("queue", disabled.clone());
    let reload = |harness: &mut Harness| {
        harness.observe(Fact::Frozen);
        harness.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Failed)]);
    };
    reload(&mut harness);
    harness.shows("queue", Inspection { file: Some(ENABLED), ..disabled.clone() });
    reload(&mut harness);
    assert_eq!(harness.shows("queue", disabled), ["held queue: the unit was disabled while it was down"]);
}

#[test]
fn a_heal_by_hand_is_history_once_the_worker_has_run_again() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Heal(vec![unit("queue")]));
    let waits = vec![fpm(ActiveState::Failed, false)];
    harness.shows("queue", Inspection { run: Some("a".into()), parents: waits, ..crashed() });
    // While the bus was lost it was started and stopped.
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed), ("lerd-php85-fpm", ActiveState::Active)]);
    let stopped = Inspection {
        run: Some("b".into()),
        stop: Some(StopEvidence::Requested),
        deactivation: Some(Deactivation { left: 99 * SECOND, down: 99 * SECOND }),
        ..crashed()
    };
    assert_eq!(harness.shows("queue", stopped), ["stopped queue"]);
}

#[test]
fn a_stop_is_not_taken_for_the_end_of_the_restart_that_took_the_worker_down() {
    let mut harness = Harness::with_healthy_queue();
    // It is restarted along with what it needs, and waits for that.
    harness.goes_with_job("queue", ActiveState::Active);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Failed);
    let restarts = UnitStatus { has_job: true, ..status("queue", ActiveState::Failed) };
    harness.observe(Fact::Units(vec![restarts]));
    // A stop replaces that.
    harness.now = harness.now + 60 * SECOND;
    harness.observe(Fact::JobDone(unit("queue")));
    harness.goes("queue", ActiveState::Failed);
    let seen =
        Inspection { down_for: Some(60 * SECOND), parents: vec![fpm(ActiveState::Activating, false)], ..crashed() };
    assert_eq!(harness.shows("queue", seen.clone()), ["inspect queue and its stop"], "or its parent took it along");
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..seen };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
}

#[test]
fn a_stop_of_a_masked_worker_is_remembered() {
    let policy = || Policy { states: vec![State::Failed, State::ExpectedButStopped], ..without_jitter() };
    let mut harness = Harness::with(policy());
    let masked = UnitStatus { load: Some(LoadState::Masked), ..status("queue", ActiveState::Inactive) };
    harness.observe(Fact::Units(vec![masked]));
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue and its stop"]);
    let seen = Inspection { load: LoadState::Masked, file: None, active: ActiveState::Inactive, ..crashed() };
    assert_eq!(harness.shows("queue", seen), ["stopped queue"]);
    let mut next = Harness::with(policy());
    next.healer.restore(harness.healer.saved_state());
    assert!(next.list(&[("queue", ActiveState::Inactive)]).is_empty());
}

#[test]
fn unit_files_are_not_read_before_the_first_attempt_but_remembered_after_it() {
    let unknown = Inspection { file: None, ..crashed() };
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", unknown), ["detected queue: failed", "starting queue #1", "start queue"]);
    let actions = harness.ends("queue", Outcome::Failed("boom".into()));
    assert_eq!(harness.is_seen_failed("queue", actions), ["failed queue #1: boom", "scheduled queue #2 in 1s"]);
    harness.after(SECOND);
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    assert_eq!(harness.shows("queue", disabled), ["held queue: the unit was disabled while it was down"]);
}

#[test]
fn a_stop_of_a_worker_that_is_down_for_unknown_reasons_is_remembered() {
    let policy = || Policy { states: vec![State::Failed, State::ExpectedButStopped], ..without_jitter() };
    let ended = Inspection { active: ActiveState::Inactive, result: ServiceResult::Success, ..crashed() };
    let mut harness = Harness::with(policy());
    harness.list(&[("queue", ActiveState::Inactive)]);
    let unknown = Some(StopEvidence::Unknown("the journal is gone".into()));
    assert!(harness.shows("queue", Inspection { stop: unknown, ..ended.clone() }).is_empty());
    harness.now = harness.now + 60 * SECOND;
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["inspect queue and its stop"]);
    harness.shows("queue", Inspection { down_for: Some(60 * SECOND), ..ended.clone() });

    let mut next = Harness::with(policy());
    next.healer.restore(harness.healer.saved_state());
    assert!(next.list(&[("queue", ActiveState::Inactive)]).is_empty());
}

#[test]
fn an_inspection_of_a_given_up_unit_records_its_files() {
    let unknown = Inspection { file: None, ..crashed() };
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(
        harness.shows("queue", Inspection { load: LoadState::BadSetting, ..unknown }).last().map(String::as_str),
        Some("gave-up queue: the unit's file has a setting that the service manager refuses")
    );
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.rechecked("queue", crashed());
    let disabled = Inspection { file: Some(UnitFile { enabled: false, definition: 2, ..ENABLED }), ..crashed() };
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.rechecked("queue", disabled.clone());
    assert_eq!(
        harness.shows("queue", disabled).last().map(String::as_str),
        Some("held queue: the unit was disabled while it was down")
    );
}

#[test]
fn a_unit_that_was_disabled_while_its_site_was_not_registered_stays_down() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Registry(registry([])));
    // The result arrives when it is no longer covered.
    harness.shows("queue", crashed());
    harness.observe(Fact::Registry(registry(both_sites())));
    let disabled = Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() };
    let actions = harness.shows("queue", disabled);
    assert_eq!(actions.last().map(String::as_str), Some("held queue: the unit was disabled while it was down"));
}

#[test]
fn a_unit_that_was_never_enabled_is_healed() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    let actions =
        harness.shows("queue", Inspection { file: Some(UnitFile { enabled: false, ..ENABLED }), ..crashed() });
    assert_eq!(actions, ["detected queue: failed", "starting queue #1", "start queue"]);
}

#[test]
fn the_job_of_another_client_takes_precedence() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(
        harness.shows("queue", Inspection { has_job: true, ..crashed() }),
        ["detected queue: failed", "held queue: another job is under way for the unit"]
    );
    assert_eq!(harness.list(&[("queue", ActiveState::Failed)]), ["inspect queue"]);
}

#[test]
fn a_person_overrules_an_earlier_stop_but_no_pause() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..crashed() });
    assert_eq!(harness.observe(Fact::Heal(vec![unit("queue")])), ["inspect queue and its stop"]);
    let seen = Inspection { stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(harness.shows("queue", seen)[1..], ["starting queue #1", "start queue"]);

    let mut harness = Harness::with_healthy_queue();
    harness.sites([paused_site("myapp")]);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.observe(Fact::Heal(vec![unit("queue")])), ["held queue: the site myapp is paused"]);
}

#[test]
fn an_action_after_a_heal_request_supersedes_it() {
    let mut harness = Harness::with_healthy_queue();
    harness.sites([paused_site("myapp")]);
    harness.goes("queue", ActiveState::Failed);
    harness.observe(Fact::Heal(vec![unit("queue")]));
    // Held by the pause; they start it themselves, and stop it.
    harness.goes_with_job("queue", ActiveState::Activating);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
    assert_eq!(
        harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..crashed() }),
        ["stopped queue"]
    );
}

#[test]
fn on_request_nothing_else_is_touched() {
    let policy = Policy { give_up_after: Some(1), ..without_jitter() };
    let healer = Healer::new(Mode::OnRequest, context(policy), fastrand::Rng::with_seed(7));
    let mut harness = Harness { healer, now: Timestamp::default() };
    assert!(harness.list(&[("queue", ActiveState::Failed), ("vite", ActiveState::Failed)]).is_empty());
    assert_eq!(harness.observe(Fact::Heal(vec![unit("queue")])), ["inspect queue and its stop"]);
}

#[test]
fn a_stop_before_its_first_run_is_over_once_it_has_run() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    let never_ran = Inspection { run: Some(String::new()), stop: Some(StopEvidence::NotRequested), ..crashed() };
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..never_ran.clone() });
    harness.now = harness.now + 60 * SECOND;
    harness.observe(Fact::JobDone(unit("queue")));
    harness.shows("queue", Inspection { down_for: Some(60 * SECOND), ..never_ran.clone() });
    assert!(harness.rechecked("queue", never_ran.clone()).is_empty());

    // It was started in the meantime, which was not seen.
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(
        harness.rechecked("queue", Inspection { run: Some("a".into()), ..crashed() }),
        ["inspect queue and its stop"]
    );
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.now = harness.now + 60 * SECOND;
    let ran = Inspection { run: Some("a".into()), down_for: Some(60 * SECOND), ..crashed() };
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..ran.clone() });
    harness.observe(Fact::JobDone(unit("queue")));
    harness.shows("queue", ran.clone());
    harness.rechecked("queue", ran);
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    assert!(harness.rechecked("queue", never_ran).is_empty(), "unloaded, the manager has forgotten the run");
}

#[test]
fn a_stop_after_a_run_that_was_not_seen_is_a_stop() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Failed);
    assert_eq!(harness.shows("queue", crashed()), ["stopped queue"]);
    assert!(harness.rechecked("queue", Inspection { run: Some("a".into()), ..crashed() }).is_empty());
    harness.now = harness.now + 60 * SECOND;
    // It ran again since, and crashed a minute ago.
    harness.observe(Fact::JobDone(unit("queue")));
    harness.now = harness.now + SECOND;
    harness.observe(Fact::Frozen);
    harness.list(&[("queue", ActiveState::Failed)]);
    let seen = Inspection {
        run: Some("b".into()),
        stop: Some(StopEvidence::NotRequested),
        down_for: Some(60 * SECOND),
        ..crashed()
    };
    assert_eq!(harness.rechecked("queue", seen.clone()), ["inspect queue and its stop"]);
    let actions = harness.shows("queue", seen);
    assert!(!actions.iter().any(|action| action.starts_with("start")), "{actions:?}");
}

#[test]
fn a_stop_during_the_wait_for_an_automatic_restart_is_reported_as_one() {
    for (skipped, reported) in [(None, "stopped queue"), (Some(SECOND), "stopped queue: it has ended without error")] {
        let mut harness = Harness::with_healthy_queue();
        let waits = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
        harness.now = harness.now + 60 * SECOND;
        harness.goes("queue", ActiveState::Failed);
        harness.observe(Fact::Changed(waits.clone()));
        harness.observe(Fact::Heal(vec![unit("queue")]));
        let seen = Inspection { active: ActiveState::Activating, auto_restart: true, ..crashed() };
        harness.shows("queue", seen.clone());
        harness.observe(Fact::Changed(UnitStatus { has_job: true, ..waits }));
        harness.goes_with_job("queue", ActiveState::Inactive);
        harness.observe(Fact::JobDone(unit("queue")));
        harness.goes("queue", ActiveState::Inactive);
        // The journal has no more than that its run ended by itself, and it is not enabled.
        let file = Some(UnitFile { enabled: false, ..ENABLED });
        let seen = Inspection {
            active: ActiveState::Inactive,
            auto_restart: false,
            stop: Some(StopEvidence::NotRequested),
            file,
            skipped,
            ..seen
        };
        let actions = harness.shows("queue", seen);
        assert_eq!(actions, [reported]);
    }
}

#[test]
fn a_heal_request_reports_that_another_client_was_faster() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..crashed() });
    harness.goes("queue", ActiveState::Active);
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.observe(Fact::Heal(vec![unit("queue")]));
    harness.goes_with_job("queue", ActiveState::Inactive);
    harness.goes_with_job("queue", ActiveState::Active);
    harness.observe(Fact::JobDone(unit("queue")));
    harness.goes("queue", ActiveState::Active);
    assert_eq!(harness.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_stop_while_the_directory_was_gone_is_remembered() {
    let gone = Inspection { directory_gone: true, stop: Some(StopEvidence::NotRequested), ..crashed() };
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Failed);
    harness.shows("queue", gone.clone());
    harness.observe(Fact::JobDone(unit("queue")));
    harness.shows("queue", Inspection { down_for: Some(60 * SECOND), run: Some("1".into()), ..gone });

    let mut next = Harness::new();
    next.healer.restore(harness.healer.saved_state());
    next.list(&[("queue", ActiveState::Failed)]);
    let back = Inspection { stop: Some(StopEvidence::NotRequested), ..crashed() };
    let same_run = Inspection { run: Some("1".into()), ..back.clone() };
    assert_eq!(next.shows("queue", same_run), ["stopped queue"]);

    // Another run is another matter.
    let mut next = Harness::new();
    next.healer.restore(harness.healer.saved_state());
    next.list(&[("queue", ActiveState::Failed)]);
    let did = next.shows("queue", Inspection { run: Some("2".into()), ..back });
    assert_eq!(did.last().map(String::as_str), Some("start queue"));
}

#[test]
fn a_stop_that_was_signalled_twice_outweighs_a_silent_journal() {
    let mut harness = Harness::with_starting_queue();
    harness.goes("queue", ActiveState::Activating);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.ends("queue", Outcome::Cancelled);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
    let run = Inspection { run: Some("1".into()), stop: Some(StopEvidence::NotRequested), ..crashed() };
    assert_eq!(harness.shows("queue", run.clone()), ["stopped queue"]);
    harness.rechecked("queue", Inspection { stop: None, ..run.clone() });
    harness.now = harness.now + 60 * SECOND;
    harness.observe(Fact::JobDone(unit("queue")));
    harness.after(RECHECK_INTERVAL);
    assert!(harness.rechecked("queue", Inspection { down_for: Some(1000 * SECOND), ..run }).is_empty());
}

/// Nothing has failed, so nothing is detected, and no failure is counted.
#[test]
fn a_worker_that_was_stopped_or_is_not_enabled_is_started_on_request_and_was_no_failure() {
    let down = |enabled, stop| Inspection {
        active: ActiveState::Inactive,
        file: Some(UnitFile { enabled, ..ENABLED }),
        stop: Some(stop),
        ..crashed()
    };
    for (seen, is_failure) in [
        (down(true, StopEvidence::Requested), false),
        (down(false, StopEvidence::NotRequested), false),
        (down(true, StopEvidence::NotRequested), true),
    ] {
        let mut harness = Harness::new();
        harness.list(&[("queue", ActiveState::Inactive)]);
        harness.observe(Fact::Heal(vec![unit("queue")]));
        let actions = harness.shows("queue", seen);
        let is_detected = actions.iter().any(|action| action.starts_with("detected"));
        assert_eq!(is_detected, is_failure, "{actions:?}");
        assert_eq!(actions.last().map(String::as_str), Some("start queue"), "{actions:?}");
    }
}

/// The connection was lost, or its site not registered: only the run shows that it was started after that.
#[test]
fn a_start_by_hand_that_was_not_seen_is_newer_than_a_disable() {
    for (attempts, is_unregistered) in [(0, false), (0, true), (1, false)] {
        let mut harness = Harness::with_healthy_queue();
        harness.goes("queue", ActiveState::Failed);
        let run = |run: &str, enabled| Inspection {
            run: Some(run.into()),
            file: Some(UnitFile { enabled, ..ENABLED }),
            stop: Some(StopEvidence::NotRequested),
            ..crashed()
        };
        if attempts == 0 {
            harness.shows("queue", Inspection { parents: vec![fpm(ActiveState::Failed, false)], ..run("1", true) });
        } else {
            harness.shows("queue", run("1", true));
            harness.fails("queue", "boom");
        }
        if is_unregistered {
            harness.sites([site("shop")]);
            harness.sites(both_sites());
        } else {
            harness.observe(Fact::Frozen);
            harness.list(&[("queue", ActiveState::Failed)]);
        }
        let actions = harness.shows("queue", run("2", false));
        let is_held = actions.iter().any(|action| action.contains("disabled while it was down"));
        assert_eq!(is_held, attempts > 0, "one of our own attempts is no such start: {actions:?}");
    }
}

#[test]
fn a_start_by_hand_that_fails_at_once_ends_a_stop() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes("queue", ActiveState::Inactive);
    let ended = Inspection { active: ActiveState::Inactive, stop: Some(StopEvidence::Requested), ..crashed() };
    harness.shows("queue", ended);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue and its stop"]);
    let refused = Inspection { result: ServiceResult::StartLimitHit, stop: Some(StopEvidence::Requested), ..crashed() };
    assert_eq!(harness.shows("queue", refused).last().map(String::as_str), Some("start queue"));
}

#[test]
fn a_stop_ends_with_the_run_after_it_whenever_the_daemon_is_restarted() {
    let mut harness = Harness::with_healthy_queue();
    harness.goes("queue", ActiveState::Inactive);
    let stop = Some(StopEvidence::Requested);
    let stopped = Inspection { active: ActiveState::Inactive, stop, run: Some("1".into()), ..crashed() };
    harness.shows("queue", stopped);

    // Before any further inspection; the worker was started and failed while no daemon ran.
    let mut next = Harness::new();
    next.healer.restore(harness.healer.saved_state());
    next.list(&[("queue", ActiveState::Failed)]);
    let failed = Inspection { stop: None, run: Some("2".into()), ..crashed() };
    assert_eq!(next.rechecked("queue", failed), ["inspect queue and its stop"]);
}

#[test]
fn a_stop_signalled_during_a_reload_is_obeyed() {
    let mut harness = Harness::with_starting_queue();
    harness.goes_with_job("queue", ActiveState::Failed);
    harness.ends("queue", Outcome::Cancelled);
    harness.observe(Fact::Frozen);
    harness.observe(Fact::JobDone(unit("queue")));
    let did = harness.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(did.last().map(String::as_str), Some("inspect queue and its stop"));
    // The run before it ended by itself: the journal knows of no stop.
    let crash = Inspection { stop: Some(StopEvidence::NotRequested), down_for: Some(SECOND), ..crashed() };
    assert_eq!(harness.shows("queue", crash), ["stopped queue"]);
}

#[test]
fn a_worker_that_was_started_by_hand_after_a_stop_is_not_stopped_again() {
    let mut harness = Harness::with_starting_queue();
    harness.goes_with_job("queue", ActiveState::Failed);
    // A stop overtook the start, and is requested once more.
    assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), ["stop queue"]);
    harness.goes("queue", ActiveState::Active);
    harness.ends("queue", Outcome::Done);
    harness.goes_with_job("queue", ActiveState::Deactivating);
    harness.goes_with_job("queue", ActiveState::Active);
    harness.goes("queue", ActiveState::Active);
    harness.after(10 * SECOND);
    let did = harness.answers_inspection("queue", Purpose::Proof, Ok(up(9 * SECOND)));
    assert!(!did.contains(&"stop queue".to_owned()), "{did:?}");
}

#[test]
fn a_disabled_worker_that_is_stopped_while_starting_is_reported_as_stopped() {
    let disabled = Some(UnitFile { enabled: false, ..ENABLED });
    let mut harness = Harness::with_proving_queue();
    harness.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(harness.goes("queue", ActiveState::Inactive), ["inspect queue"]);
    let seen = Inspection { active: ActiveState::Inactive, file: disabled, ..crashed() };
    assert_eq!(
        harness.shows("queue", seen),
        ["failed queue #1: it was stopped while it was coming up", "stopped queue"],
        "and not as ended by itself"
    );
}

#[test]
fn a_worker_that_was_stopped_and_unloaded_is_not_taken_for_one_that_never_ran() {
    let states = vec![State::Failed, State::ExpectedButStopped];
    let mut harness = Harness::with(Policy { states, ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    // Its group was stopped and is unloaded, and so is the worker. Both signals came as one.
    assert_eq!(harness.goes("queue", ActiveState::Inactive), ["inspect queue"]);
    let unloaded = Inspection {
        active: ActiveState::Inactive,
        result: ServiceResult::Success,
        run: Some(String::new()),
        deactivation: None,
        began: None,
        ..crashed()
    };
    assert_eq!(harness.shows("queue", unloaded.clone()), ["inspect queue and its stop"]);
    let unknown = StopEvidence::Unknown("the service manager does not know its last run".into());
    let actions = harness.shows("queue", Inspection { stop: Some(unknown), ..unloaded.clone() });
    assert!(!actions.iter().any(|it| it == "start queue"), "{actions:?}");
    // The journal may have it.
    let mut harness = Harness::with(Policy { states: vec![State::ExpectedButStopped], ..without_jitter() });
    harness.list(&[("queue", ActiveState::Active)]);
    harness.goes("queue", ActiveState::Inactive);
    harness.shows("queue", unloaded.clone());
    let actions = harness.shows("queue", Inspection { stop: Some(StopEvidence::Requested), ..unloaded });
    assert_eq!(actions, ["stopped queue"]);
}

#[test]
fn a_stop_of_its_group_after_a_heal_was_requested_is_newer_than_that() {
    let seen = |harness: &Harness, left: u64| Inspection {
        active: ActiveState::Inactive,
        at: Duration::from_secs(1000) + harness.now.since_origin(),
        stop: Some(StopEvidence::Requested),
        stopped_groups: vec![StoppedGroup { name: "workers.target".into(), left: Some(Duration::from_secs(left)) }],
        ..crashed()
    };
    for (left, outcome) in
        [(1004, "start queue"), (1030, "stopped queue: workers.target was stopped, which it is part of")]
    {
        let mut harness = Harness::new();
        harness.list(&[("queue", ActiveState::Inactive)]);
        harness.observe(Fact::StopMarker(true));
        harness.after(10 * SECOND);
        harness.observe(Fact::Heal(vec![unit("queue")]));
        harness.after(50 * SECOND);
        assert_eq!(harness.observe(Fact::StopMarker(false)), ["inspect queue and its stop"]);
        let actions = harness.shows("queue", seen(&harness, left));
        assert_eq!(actions.last().map(String::as_str), Some(outcome), "{actions:?}");
    }
}

#[test]
fn a_disable_while_it_was_down_is_history_once_it_was_started_again() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active)]);
    // It ends by itself, is disabled, and is then started, for another unit's sake.
    harness.goes("queue", ActiveState::Inactive);
    let down = Inspection { active: ActiveState::Inactive, stop: Some(StopEvidence::NotRequested), ..crashed() };
    harness.shows("queue", down.clone());
    harness.observe(Fact::Frozen);
    assert_eq!(harness.list(&[("queue", ActiveState::Inactive)]), ["inspect queue and its stop"]);
    let file = Some(UnitFile { enabled: false, ..ENABLED });
    harness.shows("queue", Inspection { file, ..down });
    harness.goes_with_job("queue", ActiveState::Activating);
    harness.goes_with_job("queue", ActiveState::Failed);
    assert_eq!(harness.goes("queue", ActiveState::Failed), ["inspect queue"]);
    let actions = harness.shows("queue", Inspection { file, ..crashed() });
    assert_eq!(actions.last().map(String::as_str), Some("start queue"), "{actions:?}");
}

#[test]
fn the_end_of_a_start_during_an_isolation_is_no_stop_of_what_dies_before_the_next_list() {
    let mut harness = Harness::with_starting_queue();
    harness.fails("queue", "boom");
    harness.observe(Fact::Frozen);
    for active in [ActiveState::Activating, ActiveState::Active] {
        harness.goes_with_job("queue", active);
    }
    harness.observe(Fact::JobDone(unit("queue")));
    harness.goes("queue", ActiveState::Failed);
    // The manager is slow: it died before any of that was received.
    harness.list(&[("queue", ActiveState::Failed)]);
    let actions = harness.shows("queue", Inspection { down_for: Some(SECOND), ..crashed() });
    assert!(!actions.iter().any(|action| action.starts_with("stopped")), "{actions:?}");
}

#[test]
fn a_stop_during_a_reload_is_obeyed_although_our_start_came_after_it() {
    for (active, is_stopped) in [(ActiveState::Activating, true), (ActiveState::Active, false)] {
        let mut harness = Harness::with_starting_queue();
        harness.observe(Fact::Frozen);
        harness.goes_with_job("queue", ActiveState::Failed);
        assert_eq!(harness.observe(Fact::JobDone(unit("queue"))), [""; 0]);
        harness.goes_with_job("queue", active);
        let actions = harness.list(&[("queue", active)]);
        // One that is up may have been started by that job.
        assert_eq!(actions.iter().any(|action| action == "stop queue"), is_stopped, "{active}: {actions:?}");
    }
}
