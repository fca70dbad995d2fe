//! The time until all workers are up again after all were killed at once, and the cost.
//!
//! The yardstick is a user who waits until all have failed and then knows all their names: one `systemctl start` of all
//! of them. Each storm begins with the same kills, and its time is from the first failure to the last unit up, by
//! systemd's timestamps, minus the lull in which that user waited. CPU time is that of everything in the sandbox, from
//! before the kills until all are up and have been logged, and of `systemctl`.
//!
//! Storms take turns. workerheal is started again for each, without saved state, and its log shows that each unit was
//! started once. It has the scheduling of its package in one storm, and the default in the next.
//!
//! # Where the time goes
//!
//! What the manager does in addition is to signal the failures to workerheal: it reads some hundred properties of a unit
//! for each change of its state, for each client of its private socket. That is what the second kind of storm shows, in
//! which `systemctl` starts the workers while workerheal is paused: it takes as much CPU time as one that workerheal
//! heals, or more. (`systemctl` is such a client too, but not while the workers fail.) The rest of the difference is the
//! time that the manager waits for a processor (`perf sched`, `/proc/PID/schedstat`), although the other one is idle half
//! of the time: processes that the manager wakes or forks are placed beside it more often when another process runs at
//! that moment.
//!
//! - Woken by each message, workerheal preempted the manager 15,000 times in a storm. With `CPUSchedulingPolicy=batch`
//!   in its unit that is 3,000 times, and the ratio 1.17 to 1.20 instead of 1.20 to 1.30.
//! - Reading 1,000 loaded units, one after the other, takes the manager 7 to 8 µs for each property, 9 µs for a list of
//!   one unit, 117 µs for all properties of a unit's interface `Unit` and 194 µs for those of `Service` (so these are
//!   not cheaper than the fifteen that are needed), and 742 µs for the first `UnitFileState` of a unit after a reload.
//!   An inspection before a start had 20 to 22 calls then: 0.17 ms, of 2 ms for the start itself. Today it has 26 of a
//!   worker that has failed. The inspection that proves a worker has half as many, and the one for its uptime 2.
//! - A cache of unit definitions would leave half of them, but has to be filled before the storm: 0.1 ms of the manager
//!   for each unit after each start and each reload, whether or not a storm follows.
//! - The calls of an inspection are written to the manager's socket together, and log entries to the journal in bursts
//!   of 20 ms while there are many. That saves writes and wake-ups; its effect on the time was not measured on an
//!   otherwise idle machine.
//! - The following made no difference above the noise (0.04): starting all at once instead of eight at a time, seven
//!   calls less in the inspection before each start, calls written together (a third of the writes), the log written in
//!   bursts, `Nice=5`. Reading only every 1 to 4 ms made it slower.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::ensure;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::Sizes;
use crate::client::Client;
use crate::machine::{cpu, cpu_of_children, monotonic};
use crate::report::{Table, figure, median};
use crate::stage::{DEFAULTS, Scheduling, Stage, units};

/// Numbers of workers, and the number of storms of each kind.
const SIZES: [(usize, usize); 3] = [(100, 7), (1000, 7), (5000, 3)];
const TARGET: f64 = 1.12;
const AT_ALL: &str = "lerd-*.service";
const POLL: Duration = Duration::from_millis(50);
const DEADLINE: Duration = Duration::from_secs(300);
/// What brings the workers up again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Healer {
    /// One call of `systemctl`.
    Systemctl,
    /// The same, while workerheal runs and is paused: it follows the manager's signals and starts nothing.
    BesidePaused,
    Workerheal(Scheduling),
}
const KINDS: [(&str, Healer); 4] = [
    ("one systemctl start", Healer::Systemctl),
    ("the same, workerheal paused", Healer::BesidePaused),
    ("workerheal", Healer::Workerheal(Scheduling::Packaged)),
    ("workerheal, default scheduling", Healer::Workerheal(Scheduling::Default)),
];

/// The results of a storm.
#[derive(Default, Clone, Copy)]
struct Storm {
    time: Duration,
    cpu: Duration,
    /// Shares of it.
    manager: Duration,
    bus: Duration,
    journal: Duration,
    healer: Duration,
}

pub async fn measure(machine: &str, sizes: &Sizes) -> anyhow::Result<()> {
    let mut table = Table::new("storm", "Storm: all workers killed at once, until all are up again", machine);
    let mut a_unit = Vec::new();
    for (size, storms) in SIZES.into_iter().filter(|(size, _)| sizes.include(*size)) {
        let group = format!("{size} workers");
        let stage = Stage::with_workers(size)?;
        let mut client = Client::connect(&stage.sandbox.runtime_dir().join("bus")).await?;
        let mut seen = KINDS.map(|_| Vec::new());
        for _ in 0..storms {
            for ((_, healer), seen) in KINDS.into_iter().zip(&mut seen) {
                if healer == Healer::Systemctl {
                    seen.push(storm(&stage, &mut client, size, healer).await?);
                    continue;
                }
                stage.schedule(if let Healer::Workerheal(it) = healer { it } else { Scheduling::Packaged });
                stage.start_healer(DEFAULTS)?;
                if healer == Healer::BesidePaused {
                    stage.pause_healer()?;
                }
                seen.push(storm(&stage, &mut client, size, healer).await?);
                if healer != Healer::BesidePaused {
                    check_attempts(&stage, size).await?;
                }
                stage.stop_healer()?;
            }
        }
        let middle = |storms: &[Storm], of: fn(&Storm) -> Duration| {
            median(&storms.iter().map(|storm| of(storm).as_secs_f64()).collect::<Vec<_>>())
        };
        let limit = [middle(&seen[0], |storm| storm.time), middle(&seen[0], |storm| storm.cpu)];
        let mut times = Vec::new();
        for ((who, healer), storms) in KINDS.into_iter().zip(&seen) {
            let (time, cpu) = (middle(storms, |storm| storm.time), middle(storms, |storm| storm.cpu));
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let count = size as f64;
            times.push(time / count * 1000.0);
            let target = (healer == Healer::Workerheal(Scheduling::Packaged)).then_some(TARGET);
            let columns = [
                figure("s", time, 2),
                figure("ratio", time / limit[0], 2).at_most_if(target),
                figure("CPU s", cpu, 2),
                figure("CPU ratio", cpu / limit[1], 2).at_most_if(target),
                figure("manager s", middle(storms, |storm| storm.manager), 2),
                figure("bus s", middle(storms, |storm| storm.bus), 2),
                figure("journal s", middle(storms, |storm| storm.journal), 2),
                figure("workerheal s", middle(storms, |storm| storm.healer), 2),
            ];
            table.row(&group, who, columns);
            table.raw(&format!("{group}, {who}, s"), storms.iter().map(|s| s.time.as_secs_f64()).collect::<Vec<_>>());
        }
        a_unit.push(times);
    }
    if let ([first, .., last], true) = (a_unit.as_slice(), SIZES.iter().all(|(size, _)| sizes.include(*size))) {
        let what = "time a unit, 5000 to 100 workers";
        let growth: Vec<f64> = first.iter().zip(last).map(|(first, last)| last / first).collect();
        for ((who, healer), grown) in KINDS.into_iter().zip(&growth) {
            let heals = matches!(healer, Healer::Workerheal(_));
            let target = heals.then(|| (growth[0] * 100.0).ceil() / 100.0);
            table.row("growth", who, [figure(what, *grown, 2).at_most_if(target)]);
        }
    }
    table.finish()
}

async fn storm(stage: &Stage, client: &mut Client, size: usize, healer: Healer) -> anyhow::Result<Storm> {
    let names = units("lerd", size);
    let processes = stage.processes(&names)?;
    let (runs, heals) = (healer != Healer::Systemctl, matches!(healer, Healer::Workerheal(_)));
    let before = counters(stage, runs)?;
    processes.into_iter().try_for_each(|process| kill_process(process, Signal::KILL))?;
    let mut called = None;
    if !heals {
        until(client, "all have failed", &["failed"], |count| count == size).await?;
        called = Some(monotonic()?);
        stage.call("start", &names)?;
    }
    let begin = Instant::now();
    let stamps = loop {
        until(client, "all are up", &["failed", "inactive", "activating", "deactivating"], |count| count == 0).await?;
        let stamps = stage.timestamps(AT_ALL, ["InactiveEnterTimestampMonotonic", "ActiveEnterTimestampMonotonic"])?;
        // The manager may not have noticed yet that one is down.
        if stamps.iter().all(|[down, up]| *down > before.1 && up > down) {
            break stamps;
        }
        ensure!(begin.elapsed() < DEADLINE, "not all units went down and came up within {DEADLINE:?}");
    };
    // Queued log entries belong to the storm.
    quiet(stage).await?;
    let after = counters(stage, runs)?;
    let first = stamps.iter().map(|[down, _]| *down).min().unwrap_or(0);
    let failed = stamps.iter().map(|[down, _]| *down).max().unwrap_or(0);
    let last = stamps.iter().map(|[_, up]| *up).max().unwrap_or(0);
    let lull = called.map_or(0, |called| called.saturating_sub(failed));
    let difference = |of: fn(&Storm) -> Duration| of(&after.0).saturating_sub(of(&before.0));
    Ok(Storm {
        time: Duration::from_micros((last - first).saturating_sub(lull)),
        cpu: difference(|storm| storm.cpu),
        manager: difference(|storm| storm.manager),
        bus: difference(|storm| storm.bus),
        journal: difference(|storm| storm.journal),
        healer: difference(|storm| storm.healer),
    })
}

/// CPU time so far, and the time of the monotonic clock in microseconds.
fn counters(stage: &Stage, healer_runs: bool) -> anyhow::Result<(Storm, u64)> {
    let staff = &stage.staff;
    let storm = Storm {
        time: Duration::ZERO,
        cpu: staff.all()? + cpu_of_children()?,
        manager: cpu(staff.manager)?,
        bus: cpu(staff.bus)?,
        journal: cpu(staff.journal)?,
        healer: if healer_runs { cpu(stage.healer()?)? } else { Duration::ZERO },
    };
    Ok((storm, monotonic()?))
}

/// Waits until this many units are in one of the states.
async fn until(client: &mut Client, what: &str, states: &[&str], done: impl Fn(usize) -> bool) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !done(client.count(states, AT_ALL).await?) {
        ensure!(begin.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        sleep(POLL).await;
    }
    Ok(())
}

/// Waits until all processes are idle.
async fn quiet(stage: &Stage) -> anyhow::Result<()> {
    const LULL: Duration = Duration::from_millis(200);
    loop {
        let before = stage.staff.all()?;
        sleep(LULL).await;
        // A refresh may happen during this time.
        if stage.staff.all()?.saturating_sub(before) < LULL / 20 {
            return Ok(());
        }
    }
}

/// Checks that each unit was started once and came up.
async fn check_attempts(stage: &Stage, size: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    loop {
        let mut counts: HashMap<(String, String), usize> = HashMap::new();
        for event in stage.events() {
            *counts.entry(event).or_default() += 1;
        }
        let of =
            |phase: &str| counts.iter().filter(|((_, of), _)| of == phase).map(|(_, count)| *count).collect::<Vec<_>>();
        let (started, healed) = (of("starting"), of("healed"));
        ensure!(started.iter().all(|count| *count == 1), "a unit was started more than once");
        ensure!(of("failed").is_empty(), "an attempt failed");
        if (started.len(), healed.len()) == (size, size) {
            return Ok(());
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(60),
            "of {size} workers {} were reported as healed",
            healed.len()
        );
        sleep(Duration::from_secs(1)).await;
    }
}
