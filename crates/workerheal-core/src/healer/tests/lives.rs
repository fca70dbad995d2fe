//! Random sequences of facts, in which invariants must hold.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;

/// A random event.
#[derive(Debug, Clone)]
enum Happening {
    Changes(usize, ActiveState, bool),
    Lists(Vec<(usize, ActiveState, bool)>),
    ListsNotActive(Vec<(usize, ActiveState, bool)>),
    Freezes,
    Answers(usize, bool, ActiveState),
    Ends(usize, usize),
    Pauses(bool),
    Marks(bool),
    Asks(usize),
    DoesAJob(usize),
    AnswersProbe(usize, bool),
    Waits(u64),
}

const NAMES: [&str; 4] = ["a", "b", "c", "lerd-queue-shop"];

fn any_happening() -> impl Strategy<Value = Happening> {
    let states = prop::sample::select(ActiveState::ALL);
    let who = 0..NAMES.len();
    prop_oneof![
        6 => (who.clone(), states.clone(), any::<bool>()).prop_map(|(w, s, j)| Happening::Changes(w, s, j)),
        2 => prop::collection::vec((who.clone(), states.clone(), any::<bool>()), 0..6).prop_map(Happening::Lists),
        2 => prop::collection::vec((who.clone(), states.clone(), any::<bool>()), 0..6).prop_map(Happening::ListsNotActive),
        1 => Just(Happening::Freezes),
        6 => (who.clone(), any::<bool>(), states).prop_map(|(w, ok, s)| Happening::Answers(w, ok, s)),
        6 => (who.clone(), 0usize..6).prop_map(|(w, o)| Happening::Ends(w, o)),
        1 => any::<bool>().prop_map(Happening::Pauses),
        1 => any::<bool>().prop_map(Happening::Marks),
        1 => who.clone().prop_map(Happening::Asks),
        1 => who.clone().prop_map(Happening::DoesAJob),
        3 => (who, any::<bool>()).prop_map(|(w, accepts)| Happening::AnswersProbe(w, accepts)),
        3 => (0u64..20_000).prop_map(Happening::Waits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// For any order of events: no panic, no two starts of a unit at once, no more concurrent starts than allowed, none
    /// without an inspection, none under a pause or the stop marker, none while decisions are suspended, and events in
    /// a valid order.
    #[test]
    fn invariants_hold_for_random_facts(life in prop::collection::vec(any_happening(), 1..120)) {
        let mut harness = Harness::with(Policy {
            max_concurrent: 2,
            give_up_after: Some(4),
            states: vec![State::Failed, State::StartLimitHit, State::ExpectedButStopped],
            probes: [("a".to_owned(), Probe::Tcp("x:1".into()))].into(),
            ..without_jitter()
        });
        let (mut inspecting, mut starting, mut asked) = (Vec::new(), HashSet::new(), HashSet::new());
        let mut open_attempts: HashMap<Option<UnitName>, bool> = HashMap::new();
        let (mut paused, mut marked, mut frozen) = (false, false, true);
        for happening in life {
            let fact = match happening {
                Happening::Changes(who, active, has_job) => {
                    Fact::Changed(UnitStatus { has_job, ..status(NAMES[who], active) })
                }
                Happening::Lists(list) => {
                    frozen = false;
                    let units = list.into_iter().map(|(who, active, has_job)| UnitStatus { has_job, ..status(NAMES[who], active) });
                    Fact::Units(units.collect())
                }
                Happening::ListsNotActive(list) => {
                    let listed = list.into_iter().filter(|(_, active, _)| *active != ActiveState::Active);
                    let units = listed.map(|(who, active, has_job)| UnitStatus { has_job, ..status(NAMES[who], active) });
                    Fact::NotActive(units.collect())
                }
                Happening::Freezes => { frozen = true; Fact::Frozen }
                Happening::Answers(who, ok, active) => {
                    let unit = unit(NAMES[who]);
                    let Some(at) = inspecting.iter().position(|(name, _)| *name == unit) else { continue };
                    let (_, id) = inspecting.remove(at);
                    let seen = Inspection { active, up_for: active.is_up().then_some(SECOND * 60), ..crashed() };
                    Fact::Inspected(unit, id, if ok { Ok(seen) } else { Err("no answer".into()) })
                }
                Happening::Ends(who, outcome) => {
                    let unit = unit(NAMES[who]);
                    if !starting.remove(&unit) { continue }
                    Fact::Finished(unit, match outcome {
                        0 => Outcome::Done,
                        1 => Outcome::Failed("boom".into()),
                        2 => Outcome::Refused(Refusal::JobPending, "busy".into()),
                        3 => Outcome::Cancelled,
                        4 => Outcome::NotStarted("lost".into()),
                        _ => Outcome::Impossible(Unrecoverable::NotFound),
                    })
                }
                Happening::Pauses(now) => {
                    paused = now;
                    Fact::Registry(registry(if now { vec![paused_site("myapp")] } else { both_sites().into() }))
                }
                Happening::Marks(now) => { marked = now; Fact::StopMarker(now) }
                Happening::Asks(who) => Fact::Heal(vec![unit(NAMES[who])]),
                Happening::DoesAJob(who) => Fact::JobDone(unit(NAMES[who])),
                Happening::AnswersProbe(who, accepts) => {
                    let unit = unit(NAMES[who]);
                    if !asked.remove(&unit) { continue }
                    let answer = if accepts { ProbeAnswer::Accepted } else { ProbeAnswer::Refused("x:1".into()) };
                    Fact::Probed(unit, ProbeResult { answer, up_for: Some(SECOND * 60), file_age: None })
                }
                Happening::Waits(ms) => { harness.now = harness.now + Duration::from_millis(ms); Fact::Deadline }
            };
            let inspected_at = match &fact {
                Fact::Inspected(unit, InspectionId { purpose: Purpose::Attempt, .. }, Ok(_)) => Some(unit.clone()),
                _ => None,
            };
            for action in harness.healer.observe(harness.now, fact) {
                match action {
                    Action::Inspect { unit, id, .. } => inspecting.push((unit, id)),
                    Action::Probe { unit, .. } => {
                        asked.insert(unit);
                    }
                    Action::Start(Start { unit, .. }) => {
                        prop_assert!(!frozen, "{unit} started in doubt");
                        prop_assert!(!marked, "{unit} started under the stop marker");
                        prop_assert!(!paused || !unit.short().ends_with("-myapp"), "{unit} started though paused");
                        prop_assert_eq!(inspected_at.as_ref(), Some(&unit), "started without an inspection");
                        prop_assert!(starting.insert(unit.clone()), "two starts of {unit} at once");
                        prop_assert!(starting.len() <= 2, "more starts at once than allowed");
                    }
                    // A stop that was asked for while the start was under way.
                    Action::Stop(_) | Action::ListAll => {}
                    Action::Emit(event) => {
                        let open = open_attempts.entry(event.unit.clone()).or_default();
                        match event.phase {
                            EventPhase::Starting => {
                                prop_assert!(!*open, "an attempt begun before the last ended");
                                *open = true;
                            }
                            EventPhase::Healed | EventPhase::Failed => {
                                prop_assert!(*open, "the end of an attempt that never began");
                                *open = false;
                            }
                            EventPhase::Stopped | EventPhase::Recovered => *open = false,
                            EventPhase::GaveUp | EventPhase::Scheduled | EventPhase::Held => {
                                prop_assert!(!*open, "{} in the middle of an attempt", event.phase.as_str());
                            }
                            EventPhase::Detected | EventPhase::Done => {}
                        }
                    }
                }
            }
        }
        // And it ends well: once everything is answered and every unit is up, nothing is left.
        let all_up = || Fact::Units(NAMES.iter().map(|name| status(name, ActiveState::Active)).collect());
        let mut facts: VecDeque<Fact> = starting.into_iter().map(|unit| Fact::Finished(unit, Outcome::Done)).collect();
        facts.extend(inspecting.into_iter().map(|(unit, id)| Fact::Inspected(unit, id, Err("too late".into()))));
        facts.extend([Fact::Registry(registry(both_sites())), Fact::StopMarker(false)]);
        for _ in 0..6 {
            facts.push_back(all_up());
            while let Some(fact) = facts.pop_front() {
                for action in harness.healer.observe(harness.now, fact) {
                    match action {
                        Action::Inspect { unit, id, .. } => {
                            facts.push_back(Fact::Inspected(unit, id, Ok(up(SECOND * 600))));
                        }
                        Action::Start(start) => facts.push_back(Fact::Finished(start.unit, Outcome::Done)),
                        Action::Stop(unit) => {
                            let gone = UnitStatus { load: Some(LoadState::Loaded), ..UnitStatus::gone(unit) };
                            facts.push_back(Fact::Changed(gone));
                        }
                        Action::Emit(_) | Action::Probe { .. } | Action::ListAll => {}
                    }
                }
            }
            harness.now = harness.now + 700 * SECOND;
        }
        let counts = harness.healer.counts();
        prop_assert_eq!(counts, Counts { workers: NAMES.len(), ..Counts::default() });
        prop_assert_eq!(harness.healer.in_flight, 0);
    }
}
