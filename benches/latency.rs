//! How long a failed worker is down: with workerheal, at the limit, and with what else there is.
//! Run it with `cargo bench --bench latency`; it needs what the sandbox needs.
//!
//! # How it is measured
//!
//! - **One run, one sandbox**: a private systemd user manager with its own bus and journal. All
//!   contenders are there together, so that each works under the same load.
//! - **systemd's own clock**: a figure is `ActiveEnterTimestampMonotonic` less
//!   `InactiveEnterTimestampMonotonic` of a unit. Nobody measures himself, and neither the kill nor
//!   the way of the news to this program counts.
//! - **In turns**: each round kills one worker of each contender, one after the other is up again. The
//!   order rotates, so that nobody always follows the same neighbour; the first rounds do not count.
//! - **A fresh unit for each kill**, because a healer may remember earlier failures. All are alike:
//!   enabled, no parents, one process. It gets SIGKILL straight from here, since a call to the manager
//!   would keep that busy at the very moment that counts.
//! - **The limit** is a client of the session bus that can do nothing else: it knows the unit, has both
//!   messages ready, and answers the signal of the failure with `ResetFailedUnit` and `StartUnit` back
//!   to back. It is this program; it hears the signals of all units, as workerheal does.
//! - **workerheal** is the optimised program as its users have it: its packaged unit, the default
//!   configuration, and the workers' site in the registry.
//! - **systemd** with `Restart=always RestartSec=0` is for orientation. Nothing outside the manager can
//!   be as fast, and it leaves alone what ends up failed.
//! - **The shell loop** comes last, alone, because it would disturb the others. Its kills are spread
//!   evenly over its period.
//!
//! There are two tables, because most of a start is one lock of the kernel that moves the process into
//! its cgroup (`cgroup_threadgroup_rwsem`). After a lull that takes a grace period of RCU, 10 ms and
//! more; soon after another start, nearly nothing. **Lone crashes**, with a lull before each kill, are
//! what users have. **Crash upon crash**, without, shows what a healer itself adds. All that
//! starts units on the machine shares that lock: measure with nothing else around, or go by medians.
//!
//! The raw figures, in microseconds and in the order of the rounds, go to `bench/latency.json` in
//! Cargo's target directory.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use futures_core::Stream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{interval, sleep, timeout};
use workerheal_sandbox::Sandbox;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, Variant};

const KILLS: usize = 50;
const WARM_UP: usize = 3;
const ROUNDS: usize = WARM_UP + KILLS;
const LOOP_KILLS: usize = 10;
const LOOP_PERIOD: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(20);
/// The tables, with the time from one worker's return to the next kill.
const PACES: [(&str, Duration); 2] =
    [("lone crashes", Duration::from_millis(250)), ("crash upon crash", Duration::ZERO)];

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit";
const WORKER: &str = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";
const WORKER_RESTARTED: &str =
    "[Service]\nExecStart=sleep infinity\nRestart=always\nRestartSec=0\n[Install]\nWantedBy=default.target\n";
const SITES: &str = "sites:\n  - name: shop\n    path: /srv/shop\n    domains: [shop.test]\n";
const DAEMON: &str = include_str!("../packaging/systemd/user/workerheal.service");
const LOOP: &str = "[Service]\nExecStart=sh %h/loop.sh\n";
const LOOP_SCRIPT: &str = "while sleep 3; do
    for unit in $(systemctl --user list-units --failed --plain --no-legend 'loop-*' | cut -d ' ' -f 1); do
        systemctl --user reset-failed $unit
        systemctl --user start $unit
    done
done
";

/// Who takes turns: name, beginning of the units' names, and the units. The first is this program.
const IN_TURNS: [(&str, &str, &str); 3] = [
    ("limit: bare client", "bare", WORKER),
    ("workerheal", "lerd", WORKER),
    ("systemd Restart=always", "auto", WORKER_RESTARTED),
];

/// The figures of one contender at one pace.
#[derive(serde::Serialize)]
struct Row {
    pace: &'static str,
    contender: &'static str,
    microseconds: Vec<u64>,
}

fn unit(prefix: &str, number: usize) -> String {
    format!("{prefix}-queue{number:03}-shop.service")
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benches too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let load_before = load()?;
    let sandbox = Sandbox::start()?;
    let mut units = Vec::new();
    for (prefix, count, text) in IN_TURNS.map(|(_, prefix, text)| (prefix, PACES.len() * ROUNDS, text)) {
        units.extend((0..count).map(|number| (unit(prefix, number), text)));
    }
    units.extend((0..LOOP_KILLS).map(|number| (unit("loop", number), WORKER)));
    for (unit, text) in &units {
        sandbox.write_unit(unit, text);
    }
    for verb in ["enable", "start"] {
        let call: Vec<_> = [verb].into_iter().chain(units.iter().map(|(unit, _)| unit.as_str())).collect();
        sandbox.systemctl(&call)?;
    }
    let processes = processes(&sandbox)?;
    sandbox.write_file(".local/share/lerd/sites.yaml", SITES);
    sandbox.write_unit("workerheal.service", &DAEMON.replace("/usr/bin/workerheal", env!("CARGO_BIN_EXE_workerheal")));
    sandbox.start_unit("workerheal.service");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = runtime.block_on(in_turns(&sandbox, &processes))?;
    ensure!(sandbox.show("workerheal.service", "NRestarts") == "0", "workerheal ended in between");
    let microseconds = runtime.block_on(shell_loop(&sandbox, &processes))?;
    rows.insert(IN_TURNS.len(), Row { pace: PACES[0].0, contender: "shell loop, 3 s", microseconds });

    let machine = format!(
        "{}, Linux {}, {}, {}, load {load_before} before and {} after",
        processor()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        sandbox.systemctl(&["--version"])?.lines().next().unwrap_or_default(),
        humantime::format_rfc3339_seconds(SystemTime::now()),
        load()?,
    );
    print(&machine, units.len(), &rows);
    save(&json!({ "machine": machine, "rows": rows }))
}

/// The kills of the contenders that take turns.
async fn in_turns(sandbox: &Sandbox, processes: &HashMap<String, Pid>) -> anyhow::Result<Vec<Row>> {
    let mut bus = Bus::connect(&sandbox.runtime_dir().join("bus")).await?;
    let mut rows = Vec::new();
    for (pace, lull) in PACES {
        let earlier = rows.len();
        rows.extend(IN_TURNS.map(|(contender, ..)| Row { pace, contender, microseconds: Vec::new() }));
        for round in 0..ROUNDS {
            for turn in 0..IN_TURNS.len() {
                let who = (round + turn) % IN_TURNS.len();
                let unit = unit(IN_TURNS[who].1, earlier / IN_TURNS.len() * ROUNDS + round);
                let process = processes.get(&unit).with_context(|| format!("{unit} has no process"))?;
                sleep(lull).await;
                let figure = timeout(DEADLINE, bus.kill(&unit, *process, who == 0)).await;
                let figure = figure.with_context(|| format!("{unit} was not active again within {DEADLINE:?}"))??;
                if round >= WARM_UP {
                    rows[earlier + who].microseconds.push(figure);
                }
            }
        }
    }
    Ok(rows)
}

/// The kills of the shell loop's workers.
async fn shell_loop(sandbox: &Sandbox, processes: &HashMap<String, Pid>) -> anyhow::Result<Vec<u64>> {
    sandbox.write_file("loop.sh", LOOP_SCRIPT);
    sandbox.write_unit("loop.service", LOOP);
    sandbox.start_unit("loop.service");
    let units: Vec<_> = (0..LOOP_KILLS).map(|number| unit("loop", number)).collect();
    let mut pace = interval(LOOP_PERIOD / u32::try_from(LOOP_KILLS)?);
    for unit in &units {
        pace.tick().await;
        kill_process(*processes.get(unit).with_context(|| format!("{unit} has no process"))?, Signal::KILL)?;
    }
    let figure = |unit: &String| {
        sandbox.wait_until(&format!("{unit} to be active again"), DEADLINE, || {
            let down = sandbox.timestamp_usec(unit, "InactiveEnterTimestampMonotonic");
            let up = sandbox.timestamp_usec(unit, "ActiveEnterTimestampMonotonic");
            (down > 0 && up > down).then(|| up - down)
        })
    };
    Ok(units.iter().map(figure).collect())
}

/// The client that is the limit, and that watches the others.
struct Bus {
    connection: Connection,
    signals: MessageStream,
}

impl Bus {
    async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let socket = std::os::unix::net::UnixStream::connect(socket)?;
        let connection = zbus::connection::Builder::unix_stream(socket).build().await?;
        let signals = MessageStream::from(&connection);
        let bus = Some("org.freedesktop.DBus");
        let rule = format!(
            "type='signal',sender='org.freedesktop.systemd1',path_namespace='{UNIT_PATH}',\
             interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'"
        );
        connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await?;
        connection.send(&to_manager("Subscribe", &())?).await?;
        Ok(Self { connection, signals })
    }

    /// Kills a worker, and heals it too if that is asked. Returns for how long it was down.
    async fn kill(&mut self, unit: &str, process: Pid, mut heal: bool) -> anyhow::Result<u64> {
        let path = format!("{UNIT_PATH}/{}", unit.replace('-', "_2d").replace('.', "_2e"));
        let cure = [to_manager("ResetFailedUnit", &unit)?, to_manager("StartUnit", &(unit, "fail"))?];
        kill_process(process, Signal::KILL)?;
        loop {
            let message = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.signals).poll_next(cx)).await;
            match news_of(&path, &message.context("the bus is gone")??) {
                Some((state, ..)) if state == "failed" && std::mem::take(&mut heal) => {
                    self.connection.send_all(&cure).await?;
                }
                Some((state, down, up)) if state == "active" && up > down && down > 0 => return Ok(up - down),
                Some(_) | None => {}
            }
        }
    }
}

/// What a signal says of the unit in question: its state, and when it last went down and up.
fn news_of(unit_path: &str, message: &Message) -> Option<(String, u64, u64)> {
    if message.message_type() != Type::Signal || message.header().path()?.as_str() != unit_path {
        return None;
    }
    let body = message.body();
    let (_, properties, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
    let time = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok());
    let Variant::Str(state) = properties.get("ActiveState")? else { return None };
    Some((state.to_string(), time("InactiveEnterTimestampMonotonic")?, time("ActiveEnterTimestampMonotonic")?))
}

fn to_manager<B: serde::Serialize + zbus::wire::DynamicType>(method: &'static str, body: &B) -> zbus::Result<Message> {
    Message::method_call("/org/freedesktop/systemd1", method)
        .interface("org.freedesktop.systemd1.Manager")
        .destination("org.freedesktop.systemd1")
        .build(body)
}

/// The processes of the sandbox's units as this program sees them, by unit: it has another pid namespace.
fn processes(sandbox: &Sandbox) -> anyhow::Result<HashMap<String, Pid>> {
    let directory = sandbox.home().parent().and_then(Path::file_name).context("the sandbox has no directory")?;
    let directory = directory.to_string_lossy();
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else { continue };
        // One that has ended by now is none of ours.
        let cgroups = fs::read_to_string(Path::new("/proc").join(name).join("cgroup")).unwrap_or_default();
        let ours = cgroups.lines().filter(|line| line.contains(&*directory));
        found.extend(ours.filter_map(|line| line.rsplit('/').next()).map(|unit| (unit.to_owned(), pid)));
    }
    Ok(found)
}

fn processor() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Ok(format!("{} × {}", std::thread::available_parallelism()?, model.map_or("processor", |(_, name)| name)))
}

fn load() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}

fn print(machine: &str, units: usize, rows: &[Row]) {
    println!("Time from failed to active by systemd's timestamps, in ms, {units} workers loaded\n({machine})");
    let mut limit = [0.0; 2];
    for Row { pace, contender, microseconds } in rows {
        let [median, p95, min, max] = [50, 95, 0, 100].map(|percent| quantile(microseconds, percent));
        if *contender == IN_TURNS[0].0 {
            limit = [median, p95];
            println!("\n{pace:<24} kills   median      p95      min      max   to the limit's");
        }
        print!("{contender:<24}{:>6}{median:>9.2}{p95:>9.2}{min:>9.2}{max:>9.2}", microseconds.len());
        println!("   median {:.2}, p95 {:.2}", median / limit[0], p95 / limit[1]);
    }
}

/// In milliseconds.
fn quantile(figures: &[u64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    Duration::from_micros(sorted.get(at).copied().unwrap_or_default()).as_secs_f64() * 1000.0
}

fn save(figures: &serde_json::Value) -> anyhow::Result<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join("latency.json");
    fs::write(&path, serde_json::to_string(figures)?)?;
    println!("\nRaw figures: {}", path.display());
    Ok(())
}
