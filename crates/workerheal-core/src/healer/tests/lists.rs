//! What follows from a list that has only the units that are not up, and what does not.

use super::*;

#[test]
fn a_failure_that_was_not_signalled_is_found_in_the_list_of_those_that_are_not_up() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active), ("mail", ActiveState::Active)]);
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["look at queue and its stop"]);
}

#[test]
fn of_those_that_were_up_and_are_not_in_it_nothing_is_concluded() {
    let mut harness = Harness::new();
    harness.list(&[("queue", ActiveState::Active), ("mail", ActiveState::Active)]);
    assert!(harness.list_not_active(&[]).is_empty());
    assert_eq!(harness.healer.counts().workers, 2);
}

#[test]
fn of_one_that_was_down_and_is_not_in_it_a_complete_list_says_whether_it_is_up_or_gone() {
    for is_gone in [false, true] {
        let mut harness = Harness::new();
        harness.list(&[("queue", ActiveState::Activating)]);
        assert_eq!(harness.list_not_active(&[]), ["list all"]);
        let rest: &[_] = if is_gone { &[] } else { &[("queue", ActiveState::Active)] };
        let told = harness.list(rest);
        // Why it is gone, an inspection shows.
        assert_eq!(told.iter().any(|it| it.starts_with("look at queue")), is_gone, "{told:?}");
        assert!(harness.list_not_active(&[]).is_empty(), "it is known now");
    }
}

#[test]
fn one_that_is_gone_while_it_is_being_healed_is_asked_about_once() {
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
fn in_doubt_only_a_complete_list_counts() {
    let mut harness = Harness::new();
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["list all"], "there was none yet");
    harness.list(&[("queue", ActiveState::Active)]);
    harness.observe(Fact::Frozen);
    assert_eq!(harness.list_not_active(&[("queue", ActiveState::Failed)]), ["list all"]);
    assert!(!harness.list(&[("queue", ActiveState::Failed)]).is_empty());
}
