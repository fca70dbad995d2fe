//! A worker that dies again and again, as often as in two days: memory stays flat, the log is complete.
//!
//! A worker that dies every half minute does so 2,880 times a day, and workerheal refreshes 28,800 times. Here the
//! first takes as long as its failures, at the shortest times that the configuration accepts; the second is as fast as
//! a refresh may be. So it is two days in failures, and as many refreshes as fit. systemd's own record shows what the
//! log has to contain.
//!
//! On the first day memory grows: the last 10,000 events are kept for clients. On the second it must not.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use crate::machine::memory;
use crate::report::{Table, figure};
use crate::stage::{HEALER, Stage};

const FAILURES_PER_DAY: usize = 2880;
const CONFIG: &str = "refresh: 100ms
heal:
  backoff: {initial: 1ms, factor: 1, max: 1ms, jitter: 0}
  stable_after: 5ms
  reset_after: 20ms
  give_up_after: 0
";
const UNIT: &str = "lerd-flapping-site00000.service";
/// Its uptime is close to the proving time: sometimes it is healed first, sometimes it dies while being proven.
const WORKER: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=sh -c 'sleep 0.01; exit 1'\n\
    [Install]\nWantedBy=default.target\n";
const SAMPLE: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_secs(600);
/// Maximum growth from the end of the first day to the end of the second.
const GROWTH: f64 = 1.05;

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
pub async fn measure(machine: &str) -> anyhow::Result<()> {
    let mut table = Table::new("flapping", "Two days of a flapping worker, in fast motion", machine);
    let stage = Stage::with_workers(5)?;
    let healer = stage.start_healer(CONFIG)?;
    let begin = Instant::now();
    stage.add(&[UNIT.to_owned()], |_| WORKER.to_owned())?;

    let mut samples = Vec::new();
    let mut first_day = None;
    let failures =
        || stage.sandbox.journal(&[&format!("USER_UNIT={UNIT}"), "MESSAGE_ID=d9b373ed55a64feb8242e02dbe79a49c"]).len();
    loop {
        let (failures, memory) = (failures(), memory(healer)?.0);
        samples.push(memory);
        if failures >= FAILURES_PER_DAY {
            first_day.get_or_insert(memory);
        }
        if failures >= 2 * FAILURES_PER_DAY {
            break;
        }
        ensure!(begin.elapsed() < DEADLINE, "{failures} failures in {DEADLINE:?} are not {}", 2 * FAILURES_PER_DAY);
        sleep(SAMPLE).await;
    }
    let time = begin.elapsed();
    stage.call("stop", &[UNIT.to_owned()])?;
    let events = settled_events(&stage).await;
    let phases: Vec<&str> = events.iter().map(|(_, phase)| phase.as_str()).collect();
    let started = phases.iter().filter(|phase| **phase == "starting").count();
    // The last one may have been stopped by the benchmark.
    let ended = |attempt: &&[&str]| attempt.iter().any(|phase| matches!(*phase, "healed" | "failed" | "stopped"));
    let endless = phases.split(|phase| *phase == "starting").skip(1).filter(|attempt| !ended(attempt)).count();
    // systemd's own record of each start, without the manual one.
    let starts = stage.sandbox.journal(&[&format!("USER_UNIT={UNIT}"), "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"]);
    let starts =
        starts.iter().filter(|entry| entry["JOB_TYPE"] == "start" && entry["JOB_RESULT"] == "done").count() - 1;
    ensure!(stage.sandbox.show(HEALER, "NRestarts") == "0", "workerheal ended in between");

    let of = |number: usize| number as f64;
    let (day, last) = (first_day.unwrap_or(0) as f64, samples[samples.len() - 1] as f64);
    let (failed, started, starts) = (of(failures()), of(started), of(starts));
    let columns = [
        figure("failures", failed, 0),
        figure("minutes", time.as_secs_f64() / 60.0, 1),
        figure("RSS KiB after a day", day, 0),
        figure("after two", last, 0),
        figure("growth", last / day, 3).at_most(GROWTH),
        figure("starts by systemd", starts, 0),
        figure("starts untold", (starts - started).abs(), 0).at_most(0.0),
        figure("starts without an end", of(endless), 0).at_most(0.0),
    ];
    table.row("two days", "workerheal", columns);
    table.raw("RSS KiB", samples);
    table.finish()
}

/// The events, once there are no new ones.
async fn settled_events(stage: &Stage) -> Vec<(String, String)> {
    let mut events = stage.events();
    loop {
        sleep(Duration::from_secs(1)).await;
        let more = stage.events();
        if more.len() == events.len() {
            return more;
        }
        events = more;
    }
}
