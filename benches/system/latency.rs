//! The downtime of a failed worker.
//!
//! A figure is `ActiveEnterTimestampMonotonic` minus `InactiveEnterTimestampMonotonic` of a unit: it includes neither
//! the kill nor the delay of the signal to this program. The whole outage begins with the kill.
//!
//! For the contenders that take turns, the manager's CPU time for each kill is measured too: from the kill until the
//! end of the following lull, so it includes all calls and signals.
//!
//! - **In turns**: each round kills one worker of each contender, each after the last one is up again. The order
//!   rotates, so that none always follows the same neighbour; the first rounds do not count.
//! - **A fresh unit for each kill**, because a healer may remember earlier failures. It gets SIGKILL directly from
//!   here, since a call to the manager would keep that busy at the moment that counts. If only few units are to be
//!   loaded, they are added and removed a few at a time.
//! - **Contenders that poll every 3 s** come last, because they would disturb the others. Their kills are spread evenly
//!   over their period.
//!
//! There are two paces, because most of a start is one lock of the kernel that moves the process into its control group
//! (`cgroup_threadgroup_rwsem`). After a lull that takes a grace period of RCU, 10 ms and more; soon after another
//! start, nearly nothing. **Lone crashes**, with a lull before each kill, are what users have. **Crash upon crash**,
//! without, shows what a healer itself adds.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::Sizes;
use crate::client::Client;
use crate::contenders::{self, PERIOD};
use crate::machine::cpu;
use crate::report::{Figure, Table, figure, median, quantile};
use crate::stage::{DEFAULTS, Stage, WORKER, ms, unit};

const KILLS: usize = 100;
const WARM_UP: usize = 3;
const ROUNDS: usize = WARM_UP + KILLS;
/// Loaded workers, and the targets for the ratios to the limit.
const SIZES: [(usize, f64); 3] = [(10, 1.15), (1000, 1.15), (5000, 1.3)];
/// The target for the manager's CPU time for a kill, relative to the limit.
const MANAGER: f64 = 1.3;
/// The size at which crash upon crash is measured too.
const PACED: usize = 1000;
const LULL: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(40);
/// Number of rounds for which units are added at once.
const ROUNDS_AT_ONCE: usize = 50;
/// Number of units that are killed in turn for contenders that poll.
const POLLED_UNITS: usize = 10;
/// One worker of monit is killed for this many of the loop's: it starts one after the other, and waits for each. More
/// would pile up.
const MONIT_RESTS: usize = 5;

/// The contenders that take turns: name, prefix of the units' names, and the units. The first is this program.
const IN_TURNS: [(&str, &str, &str); 4] = [
    ("limit: bare client", "bare", WORKER),
    ("workerheal", "lerd-fresh", WORKER),
    ("systemd Restart=always", "auto", contenders::RESTART_ALWAYS),
    ("OnFailure= and systemctl", "then", contenders::ON_FAILURE),
];

pub async fn measure(machine: &str, sizes: &Sizes) -> anyhow::Result<()> {
    let title = "Latency: time from failed to active by systemd's timestamps";
    let mut table = Table::new("latency", title, machine);
    for (size, target) in SIZES.into_iter().filter(|(size, _)| sizes.include(*size)) {
        let stage = Stage::with_room(size, 2 * ROUNDS)?;
        contenders::install_on_failure(&stage);
        stage.start_healer(DEFAULTS)?;
        let group = format!("{size} loaded workers");
        let lone = in_turns(&stage, LULL, size, 0).await?;
        add(&mut table, &group, &lone, Some(target));
        if size == PACED {
            let quick = in_turns(&stage, Duration::ZERO, size, ROUNDS).await?;
            add(&mut table, &format!("{size}, crash upon crash"), &quick, None);
        }
        stage.stop_healer()?;
        let polling = now_and_then(&stage).await?;
        let limit = [median(&lone[0].down), quantile(&lone[0].down, 0.95)];
        for (who, figures) in &polling {
            table.row(&group, who, down_for(figures, limit, None));
            table.raw(&format!("{group}, {who}, ms"), figures.clone());
        }
    }
    table.note(
        "Nothing outside the manager can be as fast as its own Restart=, which leaves alone what ends up failed; \
         the others serve that.",
    );
    table.finish()
}

/// The kills of one contender, in ms.
#[derive(Default)]
struct Kills {
    /// From failed to active.
    down: Vec<f64>,
    /// From the kill to active.
    whole: Vec<f64>,
    /// The manager's CPU time.
    manager: Vec<f64>,
}

fn add(table: &mut Table, group: &str, contenders: &[Kills; IN_TURNS.len()], target: Option<f64>) {
    let limit = &contenders[0];
    let down_limit = [median(&limit.down), quantile(&limit.down, 0.95)];
    for ((who, ..), kills) in IN_TURNS.into_iter().zip(contenders) {
        let target = target.filter(|_| who == IN_TURNS[1].0);
        table.row(group, who, down_for(&kills.down, down_limit, target));
        table.raw(&format!("{group}, {who}, ms"), kills.down.clone());
    }
    for ((who, ..), kills) in IN_TURNS.into_iter().zip(contenders) {
        let target = target.filter(|_| who == IN_TURNS[1].0);
        let manager = median(&kills.manager);
        let columns = [
            figure("median ms", median(&kills.whole), 1),
            figure("p95 ms", quantile(&kills.whole, 0.95), 1),
            figure("p99 ms", quantile(&kills.whole, 0.99), 1),
            figure("manager's CPU ms", manager, 2),
            figure("to limit's", manager / median(&limit.manager), 2).at_most_if(target.map(|_| MANAGER)),
        ];
        table.row(&format!("{group}, from the kill on"), who, columns);
        table.raw(&format!("{group}, {who}, from the kill on, ms"), kills.whole.clone());
        table.raw(&format!("{group}, {who}, the manager's CPU, ms"), kills.manager.clone());
    }
}

fn down_for(figures: &[f64], limit: [f64; 2], target: Option<f64>) -> [Figure; 7] {
    let [median, p95] = [median(figures), quantile(figures, 0.95)];
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let kills = figures.len() as f64;
    [
        figure("kills", kills, 0),
        figure("median ms", median, 1),
        figure("p95 ms", p95, 1),
        figure("p99 ms", quantile(figures, 0.99), 1),
        figure("max ms", quantile(figures, 1.0), 1),
        figure("median to limit's", median / limit[0], 2).at_most_if(target),
        figure("p95 to limit's", p95 / limit[1], 2).at_most_if(target),
    ]
}

/// The kills for the contenders that take turns, of units whose numbers begin at `first`.
async fn in_turns(stage: &Stage, lull: Duration, size: usize, first: usize) -> anyhow::Result<[Kills; IN_TURNS.len()]> {
    let mut seen = IN_TURNS.map(|_| Kills::default());
    let at_once = ROUNDS_AT_ONCE.min(size / 5);
    let mut round = 0;
    while round < ROUNDS {
        let count = at_once.min(ROUNDS - round);
        let numbers = first + round..first + round + count;
        let of = |prefix: &'static str| numbers.clone().map(move |number| unit(prefix, number));
        let units: Vec<(String, &str)> =
            IN_TURNS.iter().flat_map(|(_, prefix, text)| of(prefix).map(move |unit| (unit, *text))).collect();
        let names: Vec<String> = units.iter().map(|(unit, _)| unit.clone()).collect();
        stage.add(&names, |name| {
            units.iter().find(|(unit, _)| unit == name).map_or(WORKER, |(_, text)| text).to_owned()
        })?;
        let processes = stage.processes(&names)?;
        // A new connection each time: a reload can cost a client its subscription (systemd issue 27697).
        let mut client = Client::listening(&stage.sandbox.runtime_dir().join("bus")).await?;
        sleep(lull).await;
        for number in 0..count {
            for turn in 0..IN_TURNS.len() {
                let who = (round + turn) % IN_TURNS.len();
                let at = who * count + number;
                let before = cpu(stage.staff.manager)?;
                let outage = timeout(DEADLINE, client.kill(&names[at], processes[at], who == 0)).await;
                let outage =
                    outage.with_context(|| format!("{} was not up again within {DEADLINE:?}", names[at]))??;
                // Later calls and signals belong to this kill.
                sleep(lull).await;
                if round >= WARM_UP {
                    seen[who].down.push(ms(outage.down));
                    seen[who].whole.push(ms(outage.whole));
                    seen[who].manager.push(ms(cpu(stage.staff.manager)?.saturating_sub(before)));
                }
            }
            round += 1;
        }
        stage.remove(&names)?;
    }
    Ok(seen)
}

/// Kills of the workers of contenders that poll, which work at the same time.
async fn now_and_then(stage: &Stage) -> anyhow::Result<Vec<(&'static str, Vec<f64>)>> {
    let [of_loop, of_monit] =
        ["loop", "monit"].map(|prefix| (0..POLLED_UNITS).map(|n| unit(prefix, n)).collect::<Vec<_>>());
    stage.add(&of_loop, |_| WORKER.to_owned())?;
    stage.add(&of_monit, |_| contenders::WITH_PID_FILE.to_owned())?;
    contenders::start_loop(stage, "loop-*");
    contenders::start_monit(stage, &of_monit)?;
    // monit first checks at the end of its first period.
    sleep(2 * PERIOD).await;

    let mut figures = [("shell loop, 3 s", Vec::new()), ("monit, 3 s", Vec::new())];
    // Never in step with the polling.
    let mut pace = interval(PERIOD.mul_f64(1.07) / u32::try_from(POLLED_UNITS)?);
    let mut killed = [0, 0];
    for kill in 0..KILLS {
        pace.tick().await;
        for (who, units) in [&of_loop, &of_monit].into_iter().enumerate() {
            if who == 1 && kill % MONIT_RESTS != 0 {
                continue;
            }
            let unit = &units[killed[who] % POLLED_UNITS];
            if killed[who] >= POLLED_UNITS {
                figures[who].1.push(ms(back_up(stage, unit).await?));
            }
            kill_process(stage.processes(std::slice::from_ref(unit))?[0], Signal::KILL)?;
            killed[who] += 1;
        }
    }
    for (who, units) in [&of_loop, &of_monit].into_iter().enumerate() {
        for kill in killed[who] - POLLED_UNITS..killed[who] {
            figures[who].1.push(ms(back_up(stage, &units[kill % POLLED_UNITS]).await?));
        }
    }
    stage.call("stop", &[contenders::LOOP.to_owned(), contenders::MONIT.to_owned()])?;
    Ok(figures.into())
}

/// The downtime of the unit, once it is up again.
async fn back_up(stage: &Stage, unit: &str) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    loop {
        let stamps = ["InactiveEnterTimestampMonotonic", "ActiveEnterTimestampMonotonic"];
        let [down, up] = stage.timestamps(unit, stamps)?[0];
        if down > 0 && up > down {
            return Ok(Duration::from_micros(up - down));
        }
        anyhow::ensure!(begin.elapsed() < DEADLINE, "{unit} was not up again within {DEADLINE:?}");
        sleep(Duration::from_millis(100)).await;
    }
}
