//! Lists that contain only the units that are not up.

use super::*;
use crate::rules::MAX_RESTARTS;

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

/// Each property costs a message, and the files cost systemd a search in directories.
#[test]
fn an_inspection_asks_only_what_the_decision_needs() {
    let asked = |harness: &mut Harness, fact| {
        let actions = harness.healer.observe(harness.now, fact);
        let detail = actions.into_iter().find_map(|action| match action {
            Action::Inspect { detail, .. } => Some((detail.stop, detail.file, detail.restarts)),
            _ => None,
        });
        detail.expect("it is inspected")
    };
    let goes = |active| Fact::Changed(status("queue", active));
    let failed = asked(&mut Harness::with_healthy_queue(), goes(ActiveState::Failed));
    assert_eq!(failed, (false, false, false), "its failure was seen");
    let ended = asked(&mut Harness::with_healthy_queue(), goes(ActiveState::Inactive));
    assert_eq!(ended, (false, true, false), "whether it is enabled matters");
    let listed = asked(&mut Harness::new(), Fact::Units(vec![status("queue", ActiveState::Failed)]));
    assert_eq!(listed, (true, true, false), "its failure was not seen");
    let mut harness = Harness::with_healthy_queue();
    let waits = UnitStatus { auto_restart: true, ..status("queue", ActiveState::Activating) };
    for _ in 0..MAX_RESTARTS {
        harness.observe(Fact::Changed(waits.clone()));
        harness.goes("queue", ActiveState::Active);
    }
    let looping = asked(&mut harness, Fact::Changed(waits));
    assert!(looping.2, "how often it was restarted");
}
