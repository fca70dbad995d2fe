//! The cost of monitoring workers of which none fails.
//!
//! CPU time is that of the program itself, including its children, and the additional time of the manager and the bus
//! compared to no follower. Wake-ups are of all its threads. It has settled before the minute begins, in which one of
//! the lists is complete. The yardstick at each size is a shell loop that polls for failed units as often as workerheal
//! refreshes.

use std::time::Duration;

use rustix::process::Pid;
use tokio::time::sleep;

use crate::machine::{cpu, memory, threads, wake_ups};
use crate::report::{Figure, Table, figure};
use crate::stage::{DEFAULTS, HEALER, Scheduling, Stage, ms, units};
use crate::{Sizes, contenders};

/// Workers.
const SIZES: [usize; 4] = [100, 1000, 5000, 10_000];
/// The smallest size that the target applies to: below it, both take hardly anything.
const MIN_TARGET_SIZE: usize = 1000;
/// The target for workerheal and the manager together, relative to the shell loop and the manager.
const TARGET: f64 = 0.2;
/// The size at which monit is measured too.
const MONIT_SIZE: usize = 1000;
const MEASURE_TIME: Duration = Duration::from_secs(60);
/// The manager alone takes hardly anything.
const MEASURE_TIME_ALONE: Duration = Duration::from_secs(20);
const SETTLE_TIME: Duration = Duration::from_secs(15);
/// Maximum resident memory at 1,000 workers, and for each further one.
const MEMORY_MIB: f64 = 10.0;
const MEMORY_A_WORKER_KIB: f64 = 0.5;

/// Shares of a core in percent.
struct Load {
    itself: f64,
    manager: f64,
    bus: f64,
}

pub async fn measure(machine: &str, sizes: &Sizes) -> anyhow::Result<()> {
    let mut table = Table::new("idle", "Idle: what watching over healthy workers costs, over 60 s", machine);
    let mut resident = Vec::new();
    for size in SIZES.into_iter().filter(|size| sizes.include(*size)) {
        let group = format!("{size} workers");
        let stage = Stage::with_workers(size)?;
        let alone = during(&stage, None, MEASURE_TIME_ALONE).await?;

        contenders::start_loop(&stage, "lerd-*");
        sleep(SETTLE_TIME).await;
        let of_loop = during(&stage, Some(contenders::LOOP), MEASURE_TIME).await?.beyond(&alone);
        table.row(&group, "shell loop, 3 s", of_loop.columns(None, None));
        stage.call("stop", &[contenders::LOOP.to_owned()])?;

        for (who, scheduling) in
            [("workerheal", Scheduling::Packaged), ("workerheal, default scheduling", Scheduling::Default)]
        {
            stage.schedule(scheduling);
            let healer = stage.start_healer(DEFAULTS)?;
            sleep(SETTLE_TIME).await;
            let woken = wake_ups(healer)?;
            let load = during(&stage, Some(HEALER), MEASURE_TIME).await?.beyond(&alone);
            let woken = wake_ups(healer)? - woken;
            let (rss, anonymous) = memory(healer)?;
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let (woken, threads, rss, anonymous) = (
                woken as f64 / MEASURE_TIME.as_secs_f64(),
                threads(healer)?.len() as f64,
                rss as f64,
                anonymous as f64,
            );
            if scheduling == Scheduling::Packaged {
                resident.push((size, rss));
            }
            let target = (size >= MIN_TARGET_SIZE && scheduling == Scheduling::Packaged).then_some(TARGET);
            let columns = load.columns(Some(&of_loop), target).into_iter().chain([
                figure("wake-ups a s", woken, 1),
                figure("threads", threads, 0),
                figure("RSS MiB", rss / 1024.0, 1).at_most_if((size == 1000).then_some(MEMORY_MIB)),
                figure("of it anonymous", anonymous / 1024.0, 1),
            ]);
            table.row(&group, who, columns);
            stage.stop_healer()?;
        }

        if size == MONIT_SIZE {
            write_pid_files(&stage)?;
            contenders::start_monit(&stage, &units("lerd", size))?;
            sleep(SETTLE_TIME).await;
            let load = during(&stage, Some(contenders::MONIT), MEASURE_TIME).await?.beyond(&alone);
            table.row(&group, "monit, 3 s", load.columns(Some(&of_loop), None));
        }
    }
    if let [(smallest, least), .., (largest, most)] = resident[..] {
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let each = (most - least) / (largest - smallest) as f64;
        let group = format!("growth, {smallest} to {largest}");
        table.row(&group, "workerheal", [figure("KiB a further worker", each, 2).at_most(MEMORY_A_WORKER_KIB)]);
    }
    table.finish()
}

impl Load {
    fn beyond(&self, other: &Self) -> Self {
        let Self { itself, manager, bus } = self;
        Self { itself: *itself, manager: (manager - other.manager).max(0.0), bus: (bus - other.bus).max(0.0) }
    }

    /// Its own share and the manager's share for it.
    fn both(&self) -> f64 {
        self.itself + self.manager
    }

    fn columns(&self, yardstick: Option<&Self>, target: Option<f64>) -> [Figure; 5] {
        [
            figure("itself %", self.itself, 3),
            figure("manager %", self.manager, 3),
            figure("both %", self.both(), 3),
            figure("to the loop's", yardstick.map_or(1.0, |it| self.both() / it.both()), 2).at_most_if(target),
            figure("bus %", self.bus, 3),
        ]
    }
}

/// The resources used over a time, by the unit and by the processes that serve it.
async fn during(stage: &Stage, unit: Option<&str>, time: Duration) -> anyhow::Result<Load> {
    let staff = &stage.staff;
    let count = |process: Pid| cpu(process);
    let itself = || unit.map_or(Ok(Duration::ZERO), |unit| staff.unit(unit));
    let before = (itself()?, count(staff.manager)?, count(staff.bus)?);
    sleep(time).await;
    let share = |now: Duration, before: Duration| 100.0 * ms(now.saturating_sub(before)) / ms(time);
    Ok(Load {
        itself: share(itself()?, before.0),
        manager: share(count(staff.manager)?, before.1),
        bus: share(count(staff.bus)?, before.2),
    })
}

/// The workers' process id files, for monit.
fn write_pid_files(stage: &Stage) -> anyhow::Result<()> {
    let text = stage.sandbox.systemctl(&["show", "--property=Id,MainPID", "lerd-*"])?;
    let value =
        |unit: &str, key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
    for unit in text.split("\n\n") {
        let path = stage.sandbox.runtime_dir().join(format!("{}.pid", value(unit, "Id=")));
        std::fs::write(path, value(unit, "MainPID="))?;
    }
    Ok(())
}
