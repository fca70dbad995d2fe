//! Attempts, from the failure to the proof, and what may come between.

use super::*;

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
    assert_eq!(ward.shows("queue", up(3 * SECOND)), ["failed queue #1: exited and was restarted right after starting"]);
    // That the manager's own restart lasts is no heal of ours.
    assert_eq!(ward.after(10 * SECOND), ["look at queue"]);
    assert_eq!(ward.shows("queue", up(13 * SECOND)), ["recovered queue"]);
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
    let told = ward.goes("queue", ActiveState::Failed);
    assert_eq!(
        ward.is_seen_failed("queue", told),
        ["failed queue #1: exited right after starting", "scheduled queue #2 in 1s"]
    );
    let mut ward = Ward::with_proving_queue();
    // The manager restarts it by itself: so it died, even if it is not parked.
    assert_eq!(ward.goes("queue", ActiveState::Activating), ["failed queue #1: exited right after starting"]);
    assert_eq!(ward.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn while_the_manager_restarts_it_nothing_is_told_and_nothing_is_started() {
    let mut ward = Ward::with_proving_queue();
    let restarts = |active| Fact::Changed(UnitStatus { auto_restart: true, ..status("queue", active) });
    assert_eq!(ward.observe(restarts(ActiveState::Activating)), ["failed queue #1: exited right after starting"]);
    for _ in 0..3 {
        assert!(ward.goes("queue", ActiveState::Active).is_empty());
        assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
        let waits = Inspection { active: ActiveState::Activating, auto_restart: true, ..crashed() };
        assert!(ward.shows("queue", waits).is_empty());
        assert!(ward.observe(restarts(ActiveState::Activating)).is_empty());
    }
    // It has stopped restarting it: only now does the next attempt come.
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
    assert_eq!(ward.shows("queue", crashed()), ["scheduled queue #2 in 1s"]);
}

#[test]
fn a_start_that_pulls_in_others_is_made_alone() {
    for seen in [
        Inspection { pulls_in: vec!["store.service".into()], ..crashed() },
        Inspection { has_conflicts: true, ..crashed() },
        Inspection { parents: vec![Parent { finished: true, ..fpm(ActiveState::Inactive, false) }], ..crashed() },
    ] {
        let mut ward = Ward::with_healthy_queue();
        ward.goes("queue", ActiveState::Failed);
        assert_eq!(ward.shows("queue", seen).last().map(String::as_str), Some("start queue alone"));
    }
}

/// Maintenance was started while our start was under way.
#[test]
fn a_worker_gives_way_to_what_it_conflicts_with() {
    let mut ward = Ward::with_starting_queue();
    ward.goes("queue", ActiveState::Active);
    ward.ends("queue", Outcome::Done);
    assert_eq!(ward.after(without_jitter().stable_after), ["look at queue"]);
    let beside = Inspection { conflicts: vec!["maint.service".into()], ..up(without_jitter().stable_after) };
    assert_eq!(ward.shows("queue", beside), ["stop queue"]);
    ward.goes_with_job("queue", ActiveState::Deactivating);
    assert_eq!(ward.goes("queue", ActiveState::Inactive), ["stopped queue"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn a_stop_that_our_start_overtook_is_obeyed() {
    for stop in [Fact::JobDone(unit("queue")), Fact::StopOverridden(unit("queue"))] {
        let mut ward = Ward::with_starting_queue();
        assert_eq!(ward.observe(stop), ["stop queue"]);
        ward.goes("queue", ActiveState::Active);
        assert!(ward.ends("queue", Outcome::Done).is_empty());
        ward.goes_with_job("queue", ActiveState::Deactivating);
        assert_eq!(ward.goes("queue", ActiveState::Inactive), ["stopped queue"]);
        assert!(ward.after(3600 * SECOND).is_empty());
    }
}

#[test]
fn attempts_wait_longer_and_longer_and_end_with_one_loud_event() {
    let mut ward = Ward::with_starting_queue();
    let mut waits = Vec::new();
    for attempt in 1..10 {
        let told = ward.fails("queue", "boom");
        assert_eq!(told[0], format!("failed queue #{attempt}: boom"));
        let wait = ward.due_in().unwrap();
        waits.push(wait.as_secs());
        assert_eq!(ward.after(wait), ["look at queue"]);
        let next = attempt + 1;
        assert_eq!(ward.shows("queue", crashed()), [format!("starting queue #{next}"), "start queue".into()]);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256]);
    assert_eq!(ward.fails("queue", "boom"), ["failed queue #10: boom", "gave-up queue #10: 10 attempts failed: boom"]);
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
        assert_eq!(ward.fails("queue", "boom")[0], format!("failed queue #{attempt}: boom"));
        let wait = ward.due_in().unwrap();
        ward.after(wait);
        ward.shows("queue", crashed());
    }
    assert_eq!(ward.due_in(), None);
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
fn a_start_that_takes_too_long_is_no_stop() {
    // systemd ends it, and its start job lasts until it is down.
    let mut ward = Ward::with_starting_queue();
    ward.goes_with_job("queue", ActiveState::Activating);
    ward.goes_with_job("queue", ActiveState::Deactivating);
    ward.goes_with_job("queue", ActiveState::Failed);
    let told = ward.ends("queue", Outcome::Failed("could not be started".into()));
    assert_eq!(told[0], "failed queue #1: could not be started");
    let told = ward.goes("queue", ActiveState::Failed);
    assert_eq!(ward.is_seen_failed("queue", told), ["scheduled queue #2 in 1s"]);
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
    assert_eq!(ward.shows("queue", seen.clone()), ["scheduled queue #2 in 1s"]);
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);
    assert_eq!(ward.shows("queue", seen.clone()), ["starting queue #2", "start queue"]);

    // The same if a unit that it depends on cannot be started.
    let mut ward = Ward::with_starting_queue();
    ward.goes("queue", ActiveState::Inactive);
    let told = ward.ends("queue", Outcome::NotStarted("dependency".into()));
    assert_eq!(told, ["failed queue #1: dependency", "look at queue and its stop"]);
    assert_eq!(ward.shows("queue", seen.clone()), ["scheduled queue #2 in 1s"]);
    assert!(ward.list(&[("queue", ActiveState::Inactive)]).is_empty());
    assert_eq!(ward.after(SECOND), ["look at queue and its stop"]);

    // The same if the end is told before the failure is seen to be cleared.
    let mut ward = Ward::with_starting_queue();
    ward.ends("queue", Outcome::NotStarted("refused".into()));
    assert!(ward.goes("queue", ActiveState::Inactive).is_empty());
    assert_eq!(ward.shows("queue", seen), ["scheduled queue #2 in 1s"]);

    // But not if its user stops it now.
    let mut ward = Ward::with_starting_queue();
    ward.goes("queue", ActiveState::Inactive);
    ward.ends("queue", Outcome::NotStarted("dependency".into()));
    assert!(ward.observe(Fact::JobDone(unit("queue"))).is_empty(), "it is being looked at");
    let seen = Inspection { active: ActiveState::Inactive, ..crashed() };
    assert_eq!(ward.shows("queue", seen), ["stopped queue"]);
    assert!(ward.after(3600 * SECOND).is_empty());
}

#[test]
fn a_start_that_a_restart_replaces_is_somebody_elses() {
    let mut ward = Ward::with_starting_queue();
    ward.goes_with_job("queue", ActiveState::Activating);
    assert!(ward.ends("queue", Outcome::Cancelled).is_empty());
    assert_eq!(
        ward.comes_back("queue"),
        ["failed queue #1: its start was cancelled by somebody else", "recovered queue"]
    );
}

#[test]
fn a_worker_that_comes_up_by_itself_is_not_started() {
    let mut ward = Ward::with_starting_queue();
    ward.fails("queue", "boom");
    assert!(ward.goes("queue", ActiveState::Activating).is_empty());
    assert!(ward.after(SECOND).is_empty());
    assert_eq!(ward.comes_back("queue"), ["recovered queue"]);
}

#[test]
fn a_wait_goes_on_if_the_start_of_somebody_else_fails() {
    let mut ward = Ward::with_starting_queue();
    ward.fails("queue", "boom");
    ward.goes("queue", ActiveState::Activating);
    assert!(ward.after(5 * SECOND).is_empty());
    assert_eq!(ward.goes("queue", ActiveState::Failed), ["look at queue"]);
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
fn the_same_facts_lead_to_the_same_actions_in_the_same_order() {
    let life = || {
        let probes = [("web".to_owned(), Probe::Tcp("x:1".into()))].into();
        let mut ward = Ward::with(Policy { probes, max_concurrent: 20, ..without_jitter() });
        let sites: Vec<String> = (0..20).map(|site| format!("{{name: s{site}, path: /srv/s{site}}}")).collect();
        ward.sites(format!("sites: [{}]", sites.join(", ")).as_bytes());
        let names = |worker: &'static str| (0..20).map(move |site| format!("lerd-{worker}-s{site}"));
        let (queues, webs): (Vec<_>, Vec<_>) = (names("queue").collect(), names("web").collect());
        let list: Vec<_> = queues
            .iter()
            .map(|name| (name.as_str(), ActiveState::Failed))
            .chain(webs.iter().map(|name| (name.as_str(), ActiveState::Active)))
            .collect();
        let mut told = ward.list(&list);
        for name in &queues {
            told.extend(ward.answers(name, Err("no answer".into())));
        }
        ward.observe(Fact::Frozen);
        told.extend(ward.list(&list));
        told
    };
    assert_eq!(life(), life());
}

#[test]
fn an_attempt_that_nobody_saw_the_end_of_spaces_the_next_one_too() {
    // The daemon was restarted.
    let before = Ward::with_proving_queue();
    let mut ward = Ward::new();
    ward.healer.restore(before.healer.memory());
    ward.list(&[("queue", ActiveState::Failed)]);
    assert_eq!(ward.shows("queue", crashed()).last().map(String::as_str), Some("scheduled queue #2 in 1s"));

    // The site was not registered for a moment.
    let mut ward = Ward::with_proving_queue();
    ward.sites(b"sites: []");
    ward.goes("queue", ActiveState::Failed);
    ward.sites(SITES);
    assert_eq!(ward.shows("queue", crashed()).last().map(String::as_str), Some("scheduled queue #2 in 1s"));
}
