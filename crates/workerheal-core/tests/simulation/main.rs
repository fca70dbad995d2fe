//! Ten thousand simulated days of the healer, with people, crashes and faults.
//!
//! The real [`Healer`](workerheal_core::healer::Healer) is driven through its public interface, in a simulated world
//! made of a [model] of systemd, of [people] who stop, start, pause, mask and edit things, and of faults: lost, late,
//! repeated and reordered signals, a lost bus, a slow manager, a daemon that is restarted or killed, clock changes, a
//! missing journal. Everything is drawn from one seed. After each step the [laws] are checked.
//!
//! `make simulate` runs a million days. A failing run is reduced by leaving out everything that it does not need to
//! fail, and is printed step by step. Its seed replays it: `WORKERHEAL_SEED=1234 make simulate`.
//!
//! # Assumptions
//!
//! Signals may be lost, late, repeated and reordered, with one exception: only the end of its job reports the stop of a
//! worker that was down already. That signal may be lost, in which case the stop cannot be known; but it must not be
//! reordered among the signals of its unit, as D-Bus promises.
//!
//! The following cannot be known to the healer, and breaks no law:
//!
//! - a stop that is reported to a daemon at the moment when it ends, or when its connection is lost;
//! - a stop that only a lost signal would have reported, or that a slow manager reports seconds late;
//! - a stop that waits for other jobs, of a worker that dies meanwhile, if a slow manager reports that seconds late;
//! - a stop of a worker whose parent is being stopped in the same second;
//! - a start whose end is reported between lost or late signals, and looks like the end of a stop;
//! - a stop of a group that is up again, for a worker that was down before it;
//! - a late signal that says "up", which looks like a start by a person;
//! - a stop while signals are lost, reordered or seconds late: it need not be passed on to other units;
//! - a stop of a worker while a unit that it needs goes down;
//! - a stop of a unit that is not loaded, while a requested heal is about to start it;
//! - a person's start within 50 ms of their own stop, in the moment of a start by the healer;
//! - a disable while the worker comes up, which counts as one while it was down;
//! - the end of a job that an isolate cancels, or that was pending, or ended within 50 ms, when a heal was
//!   requested: it looks like a stop;
//! - what a unit that went down needed, if its file became unreadable at that moment.
//!
//! # Coverage
//!
//! `make mistakes` plants known mistakes in the healer, one at a time (`mistakes/*.patch`), requires that each breaks a
//! law, and prints which. Some of them:
//!
//! | mistake | law that is broken |
//! | --- | --- |
//! | attempts forgotten over a restart | attempts are remembered |
//! | conflict not checked before a start | intent wins |
//! | dead parent is started along | intent wins |
//! | decides while the manager reloads | nothing is decided in doubt |
//! | disabled while down is started | intent wins |
//! | missing evidence not searched again | no failed worker is forgotten |
//! | failure during an inspection is overlooked | no failure is left to the next list |
//! | file that is back is no news for one that waits | no failed worker is forgotten |
//! | finished oneshot is run again | no other unit changes |
//! | healed before it is proven | healed means proven |
//! | history cleared by an uptime that was not seen | attempts are remembered |
//! | history cleared when healed | attempts are remembered |
//! | no wait between attempts | backoff |
//! | pause not checked before a start | intent wins |
//! | refused start requested again at once | no storm of starts |
//! | registry not checked before a start | intent wins |
//! | signals trusted as proof of no stop | intent wins |
//! | slot not given back | no failed worker is forgotten |
//! | stop of a worker that is down ignored | intent wins |
//! | stop of long ago taken for the containers | intent wins |
//!
//! Bugs that the simulation found first, all fixed since:
//!
//! - A start that timed out, and a restart whose second half failed, were taken for a stop by a person.
//! - A start that the manager refused because of another unit was requested again at once, a thousand times a second.
//! - A worker that was disabled while it waited for another unit was started.
//! - A stop was forgotten while its site was not registered, and while its directory was gone.
//! - A stopped worker came back with a container that went down hours later.
//! - A late answer to an inspection was taken for the answer to the next one.
//! - A mask was taken for a disable, so that a later disable went unnoticed.
//! - A give-up was lost with a daemon that ended during its next inspection.
//! - A worker that died and came up again was restarted for probes that it had refused before.
//! - A stop was taken for the end of the restart that it replaced.
//! - A requested heal outlived the run that it led to.
//! - A daemon that was restarted after an attempt did not wait for the next.
//! - A worker whose unit file was gone when it was started was not tried again once the same file was back, and a missing
//!   file of a unit that it needs was taken for its own.
//! - A unit that was up again before the worker was stopped was considered the cause of that stop.
//! - A run that ended while starting was judged by the times of the previous run.
//! - A second stop of a worker was ignored when the journal had no record of the first.
//! - A start that the start limit refused was taken for the stop before it.
//! - A pool was not started again for one worker because another one had been inspected.
//! - Units that were started during a reload or an isolate, and stopped with it, were left down.
//! - A hanging start was never reported after our own start had been cancelled.
//! - Decisions depended on the order of a hash map, so that a seed did not replay.

#![expect(clippy::expect_used, reason = "this is for tests only")]
#![expect(
    clippy::unchecked_time_subtraction,
    reason = "virtual time does not go back; if it did, the test should fail"
)]
#![expect(clippy::struct_excessive_bools, reason = "independent properties")]

mod laws;
mod manager;
#[expect(dead_code, unused_imports, reason = "the agreement test uses the rest")]
mod model;
mod people;
mod reached;
mod scenario;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use laws::Breach;
use reached::Reached;
use scenario::{DAY, Kind, Plan};
use world::World;

/// Duration of one simulated run.
const LIFE_DAYS: u64 = 5;
/// A long run reports its progress after this many days, in each of its threads.
const DAYS_PER_PROGRESS_REPORT: u64 = 100_000;

/// Runs one plan. If it breaks a law, returns the breach and the log.
fn live(plan: Plan, trace: bool) -> Result<(u64, Reached), (Breach, Duration, String)> {
    let mut world = World::new(plan);
    world.trace = trace;
    match world.live() {
        Ok(()) => Ok((world.starts, world.reached)),
        Err(breach) => {
            let phase = |unit: usize| world.healer.phase_of(&world.names[unit]).unwrap_or("well");
            let units: Vec<String> = (0..scenario::UNITS)
                .map(|unit| format!("{} ({})", world.manager.describe(unit), phase(unit)))
                .collect();
            let units = units.join("\n");
            let past = if trace { format!("{:#?}\n{units}\n{}", world.policy, world.past()) } else { String::new() };
            Err((breach, world.now, past))
        }
    }
}

/// The smallest plan found that breaks the same law.
fn shrunk(plan: Plan, law: &str) -> Plan {
    let fails = |plan: Plan| match live(plan, false) {
        Err((breach, at, _)) if breach.law == law => Some(at),
        _ => None,
    };
    let mut plan = plan;
    if let Some(at) = fails(plan) {
        plan.length = at + Duration::from_secs(1);
    }
    for kind in Kind::ALL {
        let smaller = plan.without(kind);
        if let Some(at) = fails(smaller) {
            plan = Plan { length: at + Duration::from_secs(1), ..smaller };
        }
    }
    plan
}

#[test]
fn no_law_is_broken_in_ten_thousand_days() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // Without optimization a day takes ten times as long; `make test` runs all of them optimized.
    // A seed by itself is one life; with a number of days it is the first of that many.
    let (first, days) = match (number("WORKERHEAL_SEED"), number("WORKERHEAL_DAYS")) {
        (Some(seed), days) => (seed, days.unwrap_or(LIFE_DAYS)),
        (None, days) => (0, days.unwrap_or(if cfg!(debug_assertions) { 500 } else { 10_000 })),
    };
    let (seeds, life) = (first..first + days.div_ceil(LIFE_DAYS), DAY * 5);
    // Further breaches are reported on request, to see whether they have the same cause.
    let enough = number("WORKERHEAL_BREACHES").map_or(1, |breaches| usize::try_from(breaches).unwrap_or(usize::MAX));
    let begin = Instant::now();
    let (next, starts, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0), Mutex::new(Vec::new()));
    let reached = Mutex::new(Reached::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failed.lock().expect("no thread panics while it holds the lock").len() < enough {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    if seed > 0 && seed.is_multiple_of(DAYS_PER_PROGRESS_REPORT / LIFE_DAYS) {
                        eprintln!("{} days so far", seed * LIFE_DAYS);
                    }
                    match live(Plan::new(seed, life), false) {
                        Ok((more, cells)) => {
                            starts.fetch_add(more, Ordering::Relaxed);
                            reached.lock().expect("no thread panics while it holds the lock").merge(cells);
                        }
                        Err((breach, ..)) => {
                            eprintln!("seed {seed} breaks the law \"{}\": {}", breach.law, breach.how);
                            failed.lock().expect("no thread panics while it holds the lock").push((seed, breach));
                        }
                    }
                }
            });
        }
    });
    if let Some((seed, breach)) =
        failed.into_inner().expect("no thread panics while it holds the lock").into_iter().next()
    {
        let plan = shrunk(Plan::new(seed, life), breach.law);
        let kinds: Vec<Kind> = plan.kinds().collect();
        let Err((breach, at, past)) = live(plan, true) else { panic!("seed {seed} does not replay: {breach:?}") };
        panic!("seed {seed} breaks the law \"{}\" after {at:?}: {}\nwith {kinds:?}\n{past}", breach.law, breach.how);
    }
    let starts = starts.into_inner();
    let (days, took) = ((seeds.end - seeds.start) * LIFE_DAYS, begin.elapsed());
    let a_second = u128::from(days) * 1000 / took.as_millis().max(1);
    println!("{days} simulated days with {starts} starts in {took:.1?}: {a_second} days per second");
    let (never, table) = reached.into_inner().expect("no thread panics while it holds the lock").summary();
    println!("facts, and the phases that they were taken in:\n{table}never reached: {never:?}");
    // A short run need not reach everything.
    assert!(days < 10_000 || never.is_empty(), "never reached, and no reason is listed: {never:?}");
}
