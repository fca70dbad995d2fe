//! For how long a failed worker is down.
//!
//! A figure is `ActiveEnterTimestampMonotonic` less `InactiveEnterTimestampMonotonic` of a unit: neither
//! the kill nor the way of the news to this program counts.
//!
//! - **In turns**: each round kills one worker of each contender, one after the other is up again. The
//!   order rotates, so that none always follows the same neighbour; the first rounds do not count.
//! - **A fresh unit for each kill**, because a healer may remember earlier failures. It gets SIGKILL
//!   straight from here, since a call to the manager would keep that busy at the very moment that
//!   counts. Where only few units are to be loaded, a few at a time are brought and taken away.
//! - **Those that look every 3 s** come last, because they would disturb the others. Their kills are
//!   spread evenly over their period.
//!
//! There are two paces, because most of a start is one lock of the kernel that moves the process into
//! its control group (`cgroup_threadgroup_rwsem`). After a lull that takes a grace period of RCU, 10 ms
//! and more; soon after another start, nearly nothing. **Lone crashes**, with a lull before each kill,
//! are what users have. **Crash upon crash**, without, shows what a healer itself adds.

use std::time::Duration;

use anyhow::Context;
use rustix::process::{Signal, kill_process};
use tokio::time::{Instant, interval, sleep, timeout};

use crate::client::Client;
use crate::contenders::{self, PERIOD};
use crate::report::{Table, figure, median, quantile};
use crate::stage::{DEFAULTS, Stage, WORKER, ms, unit};

const KILLS: usize = 100;
const WARM_UP: usize = 3;
const ROUNDS: usize = WARM_UP + KILLS;
/// Loaded workers, and the targets for the ratios to the limit's.
const SIZES: [(usize, f64); 3] = [(10, 1.15), (1000, 1.15), (5000, 1.3)];
/// The size at which crash upon crash is measured too.
const PACED: usize = 1000;
const LULL: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(40);
/// Rounds for which units are brought at once.
const ROUNDS_AT_ONCE: usize = 50;
/// Units that the kills of those that look now and then go around.
const POOL: usize = 10;
/// monit has one worker killed for so many of the loop's: it starts one after the other, and waits for
/// each. More would pile up.
const MONIT_RESTS: usize = 5;

/// The contenders that take turns: name, prefix of the units' names, and the units. The first is this program.
const IN_TURNS: [(&str, &str, &str); 4] = [
    ("limit: bare client", "bare", WORKER),
    ("workerheal", "lerd-fresh", WORKER),
    ("systemd Restart=always", "auto", contenders::RESTART_ALWAYS),
    ("OnFailure= and systemctl", "then", contenders::ON_FAILURE),
];

pub async fn measure(machine: &str) -> anyhow::Result<()> {
    let title = "Latency: time from failed to active by systemd's timestamps";
    let mut table = Table::new("latency", title, machine);
    for (size, target) in SIZES {
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
        let limit = [median(&lone[0].1), quantile(&lone[0].1, 0.95)];
        for (who, figures) in &polling {
            add_row(&mut table, &group, who, figures, limit, None);
        }
    }
    table.note(
        "Nothing outside the manager can be as fast as its own Restart=, which leaves alone what ends up failed; \
         the others serve that.",
    );
    table.finish()
}

fn add(table: &mut Table, group: &str, contenders: &[(&str, Vec<f64>)], target: Option<f64>) {
    let limit = [median(&contenders[0].1), quantile(&contenders[0].1, 0.95)];
    for (who, figures) in contenders {
        add_row(table, group, who, figures, limit, target.filter(|_| *who == IN_TURNS[1].0));
    }
}

fn add_row(table: &mut Table, group: &str, who: &str, figures: &[f64], limit: [f64; 2], target: Option<f64>) {
    let [median, p95] = [median(figures), quantile(figures, 0.95)];
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let kills = figures.len() as f64;
    let columns = [
        figure("kills", kills, 0),
        figure("median ms", median, 1),
        figure("p95 ms", p95, 1),
        figure("max ms", quantile(figures, 1.0), 1),
        figure("median to limit's", median / limit[0], 2).at_most_if(target),
        figure("p95 to limit's", p95 / limit[1], 2).at_most_if(target),
    ];
    table.row(group, who, columns);
    table.raw(&format!("{group}, {who}, ms"), figures);
}

/// The kills of the contenders that take turns, of units whose numbers begin at `first`.
async fn in_turns(
    stage: &Stage,
    lull: Duration,
    size: usize,
    first: usize,
) -> anyhow::Result<Vec<(&'static str, Vec<f64>)>> {
    let mut figures = IN_TURNS.map(|(who, ..)| (who, Vec::new()));
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
        // A new one each time: a reload can cost a client its subscription (systemd issue 27697).
        let mut client = Client::listening(&stage.sandbox.runtime_dir().join("bus")).await?;
        for number in 0..count {
            for turn in 0..IN_TURNS.len() {
                let who = (round + turn) % IN_TURNS.len();
                let at = who * count + number;
                sleep(lull).await;
                let down = timeout(DEADLINE, client.kill(&names[at], processes[at], who == 0)).await;
                let down = down.with_context(|| format!("{} was not up again within {DEADLINE:?}", names[at]))??;
                if round >= WARM_UP {
                    figures[who].1.push(ms(down));
                }
            }
            round += 1;
        }
        stage.remove(&names)?;
    }
    Ok(figures.into())
}

/// Kills of the workers of contenders that poll, which work at the same time.
async fn now_and_then(stage: &Stage) -> anyhow::Result<Vec<(&'static str, Vec<f64>)>> {
    let [of_loop, of_monit] = ["loop", "monit"].map(|prefix| (0..POOL).map(|n| unit(prefix, n)).collect::<Vec<_>>());
    stage.add(&of_loop, |_| WORKER.to_owned())?;
    stage.add(&of_monit, |_| contenders::WITH_PID_FILE.to_owned())?;
    contenders::start_loop(stage, "loop-*");
    contenders::start_monit(stage, &of_monit)?;
    // monit takes its first look at the end of its first period.
    sleep(2 * PERIOD).await;

    let mut figures = [("shell loop, 3 s", Vec::new()), ("monit, 3 s", Vec::new())];
    // Never in step with those that look.
    let mut pace = interval(PERIOD.mul_f64(1.07) / u32::try_from(POOL)?);
    let mut killed = [0, 0];
    for kill in 0..KILLS {
        pace.tick().await;
        for (who, units) in [&of_loop, &of_monit].into_iter().enumerate() {
            if who == 1 && kill % MONIT_RESTS != 0 {
                continue;
            }
            let unit = &units[killed[who] % POOL];
            if killed[who] >= POOL {
                figures[who].1.push(ms(back_up(stage, unit).await?));
            }
            kill_process(stage.processes(std::slice::from_ref(unit))?[0], Signal::KILL)?;
            killed[who] += 1;
        }
    }
    for (who, units) in [&of_loop, &of_monit].into_iter().enumerate() {
        for kill in killed[who] - POOL..killed[who] {
            figures[who].1.push(ms(back_up(stage, &units[kill % POOL]).await?));
        }
    }
    stage.call("stop", &[contenders::LOOP.to_owned(), contenders::MONIT.to_owned()])?;
    Ok(figures.into())
}

/// For how long the unit was down, once it is up again.
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
