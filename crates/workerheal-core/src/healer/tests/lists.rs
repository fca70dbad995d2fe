//! Lists that contain only the units that are not up.

use super::*;

#[test]
fn an_unsignalled_failure_is_found_in_the_partial_list() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active), ("mail", ActiveState::Active)]);
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["inspect queue and its stop"]);
}

#[test]
fn units_that_were_up_and_are_not_in_a_partial_list_are_unchanged() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active), ("mail", ActiveState::Active)]);
    assert!(harness.list_not_active(&[]).is_empty());
    assert_eq!(harness.healer.counts().workers, 2);
}

#[test]
fn a_unit_that_was_down_and_is_not_in_a_partial_list_leads_to_a_complete_one() {
    for is_gone in [false, true] {
        let mut harness = Harness::new();
        harness.list(&[("queue", ActiveState::Activating)]);
        assert_eq!(harness.list_not_active(&[]), ["list all"]);
        let rest: &[_] = if is_gone { &[] } else { &[("queue", ActiveState::Active)] };
        let actions = harness.list(rest);
        // An inspection shows why it is gone.
        assert_eq!(actions.iter().any(|it| it.starts_with("inspect queue")), is_gone, "{actions:?}");
        assert!(harness.list_not_active(&[]).is_empty(), "it is known now");
    }
}

#[test]
fn a_unit_that_is_gone_during_a_heal_is_requested_once() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Failed)]);
    harness.list(&[]);
    assert!(harness.healer.phase_of(&unit("queue")).is_some(), "an answer is still to come");
    assert!(harness.list_not_active(&[]).is_empty());
    // It is loaded again, which is signalled as for any other.
    harness.goes("queue", ActiveState::Activating);
    assert_eq!(harness.list_not_active(&[]), ["list all"]);
}

#[test]
fn decisions_resume_only_after_a_complete_list() {
    let mut harness = Harness::new();
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["list all"], "there was none yet");
    harness.list(&[("queue", ActiveState::Active)]);
    harness.observe(Fact::Frozen);
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["list all"]);
    assert!(!harness.list(&[("queue", ActiveState::Failed)]).is_empty());
}

#[test]
fn workers_are_counted_by_what_is_being_done_about_them() {
    let mut harness = Harness::new();
    let names = ["queue", "mail", "cron", "vite", "sync"];
    harness.list(&names.map(|name| (name, ActiveState::Active)));
    assert_eq!(harness.healer.counts(), Counts { workers: 5, ..Counts::default() });
    for name in ["queue", "mail", "cron", "vite"] {
        harness.goes(name, ActiveState::Failed);
    }
    harness.shows("queue", Inspection { load: LoadState::NotFound, ..crashed() });
    harness.shows("mail", Inspection { parents: vec![fpm(ActiveState::Inactive, false)], ..crashed() });
    harness.shows("cron", crashed());
    harness.ends("cron", Outcome::NotStarted("status 1".to_owned()));
    harness.goes("cron", ActiveState::Failed);
    harness.shows("cron", crashed());
    harness.shows("vite", crashed());
    let expected = Counts { workers: 5, healing: 1, waiting: 1, held: 1, gave_up: 1 };
    assert_eq!(harness.healer.counts(), expected);
}
