//! How long a failed worker is down: workerheal against the limit, and against what systemd and a
//! shell loop do. Run with `cargo bench --bench latency`; needs what the sandbox needs.
//!
//! # How it is measured
//!
//! - **One run, one sandbox.** A private systemd user manager with its own bus and journal; all
//!   contenders are there together, so that each works under the same load.
//! - **systemd's own clock.** The figure is `ActiveEnterTimestampMonotonic` less
//!   `InactiveEnterTimestampMonotonic` of the unit: no contender measures itself, and neither the
//!   kill nor the way of the news to this program counts.
//! - **In turns.** Every round kills one worker of each contender, one after the other; the order
//!   rotates, so that nobody always follows the same neighbour. The next kill comes when the last
//!   worker is active again. The first rounds warm up and are not counted.
//! - **A fresh unit for each kill**, all of them alike (`Type=simple`, one process, enabled, no
//!   parents), because a healer may remember earlier failures. The process gets SIGKILL straight
//!   from here: a call to the manager would make it busy at the very moment that counts.
//! - **The limit** is a client that can do nothing else: it knows the unit, has both messages
//!   ready, and answers the signal of the failure with `ResetFailedUnit` and `StartUnit` at once,
//!   without waiting for an answer in between. It is this program; it hears all signals of all
//!   units, as workerheal does.
//! - **workerheal** is the optimised program as a user has it: with its packaged unit and the
//!   default configuration, and the workers' site in the registry.
//! - **systemd** with `Restart=always RestartSec=0` is for orientation: nothing outside the manager
//!   can be as fast, and it does not serve what ends up failed.
//! - **The shell loop** runs alone, after the others, because it would disturb them. Its kills are
//!   spread evenly over its period.
//!
//! Read medians and the ratios; other work on the machine shows in p95 and max first. The raw
//! figures, in microseconds and in the order of the rounds, go to `bench/latency.json` in Cargo's
//! target directory.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use futures_core::Stream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::{interval, timeout};
use workerheal_sandbox::Sandbox;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

const KILLS: usize = 50;
const WARM_UP: usize = 3;
const LOOP_KILLS: usize = 10;
const LOOP_PERIOD: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(20);

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

/// Somebody, or something, that brings workers back.
struct Contender {
    name: &'static str,
    /// Begins the names of its workers.
    prefix: &'static str,
    worker: &'static str,
    /// Whether this program does the healing.
    is_limit: bool,
}

const IN_TURNS: [Contender; 3] = [
    Contender { name: "limit: bare client", prefix: "bare", worker: WORKER, is_limit: true },
    Contender { name: "workerheal", prefix: "lerd", worker: WORKER, is_limit: false },
    Contender { name: "systemd Restart=always", prefix: "auto", worker: WORKER_RESTARTED, is_limit: false },
];
const SHELL_LOOP: Contender = Contender { name: "shell loop, 3 s", prefix: "loop", worker: WORKER, is_limit: false };

impl Contender {
    fn unit(&self, number: usize) -> String {
        format!("{}-queue{number:02}-shop.service", self.prefix)
    }
}

fn main() -> anyhow::Result<()> {
    // `cargo test --all-targets` starts benches too, without this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let sandbox = Sandbox::start()?;
    let load_before = load()?;
    let mut units = Vec::new();
    for contender in &IN_TURNS {
        units.extend((0..WARM_UP + KILLS).map(|number| (contender.unit(number), contender.worker)));
    }
    units.extend((0..LOOP_KILLS).map(|number| (SHELL_LOOP.unit(number), SHELL_LOOP.worker)));
    for (unit, text) in &units {
        sandbox.write_unit(unit, text);
    }
    let names = || units.iter().map(|(unit, _)| unit.as_str());
    sandbox.systemctl(&["enable"].into_iter().chain(names()).collect::<Vec<_>>())?;
    sandbox.systemctl(&["start"].into_iter().chain(names()).collect::<Vec<_>>())?;
    let processes = processes(&sandbox)?;

    sandbox.write_file(".local/share/lerd/sites.yaml", SITES);
    sandbox.write_unit("workerheal.service", &DAEMON.replace("/usr/bin/workerheal", env!("CARGO_BIN_EXE_workerheal")));
    sandbox.start_unit("workerheal.service");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut figures: Vec<(&str, Vec<u64>)> = runtime
        .block_on(in_turns(&sandbox, &processes))
        .with_context(|| format!("the daemon says: {}", daemon_log(&sandbox)))?;
    ensure!(sandbox.show("workerheal.service", "NRestarts") == "0", "the daemon ended in between");
    figures.push((SHELL_LOOP.name, runtime.block_on(shell_loop(&sandbox, &processes))?));

    let systemd = sandbox.systemctl(&["--version"])?.lines().next().unwrap_or_default().to_owned();
    let machine = format!(
        "{}; Linux {}; {systemd}; {}; load {load_before} before, {} after",
        processor()?,
        fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        humantime::format_rfc3339_seconds(SystemTime::now()),
        load()?,
    );
    print(&machine, &figures);
    let figures: serde_json::Map<_, _> =
        figures.into_iter().map(|(name, figures)| (name.to_owned(), json!(figures))).collect();
    save(&json!({ "machine": machine, "microseconds": figures }))
}

/// The kills of all contenders that take turns.
async fn in_turns(
    sandbox: &Sandbox,
    processes: &HashMap<String, Pid>,
) -> anyhow::Result<Vec<(&'static str, Vec<u64>)>> {
    let mut bus = Bus::connect(&sandbox.runtime_dir().join("bus")).await?;
    let mut figures: Vec<_> = IN_TURNS.iter().map(|contender| (contender.name, Vec::with_capacity(KILLS))).collect();
    for round in 0..WARM_UP + KILLS {
        for turn in 0..IN_TURNS.len() {
            let who = (round + turn) % IN_TURNS.len();
            let unit = IN_TURNS[who].unit(round);
            let process = processes.get(&unit).with_context(|| format!("{unit} has no process"))?;
            let figure = bus.kill(&unit, *process, IN_TURNS[who].is_limit).await?;
            if round >= WARM_UP {
                figures[who].1.push(figure);
            }
        }
    }
    Ok(figures)
}

/// The kills of the shell loop's workers.
async fn shell_loop(sandbox: &Sandbox, processes: &HashMap<String, Pid>) -> anyhow::Result<Vec<u64>> {
    sandbox.write_file("loop.sh", LOOP_SCRIPT);
    sandbox.write_unit("loop.service", LOOP);
    sandbox.start_unit("loop.service");
    let mut pace = interval(LOOP_PERIOD / u32::try_from(LOOP_KILLS)?);
    for number in 0..LOOP_KILLS {
        pace.tick().await;
        kill_process(processes[&SHELL_LOOP.unit(number)], Signal::KILL)?;
    }
    let figures = (0..LOOP_KILLS).map(|number| {
        let unit = SHELL_LOOP.unit(number);
        sandbox.wait_until(&format!("{unit} to be healed"), DEADLINE, || {
            let down = sandbox.timestamp_usec(&unit, "InactiveEnterTimestampMonotonic");
            let up = sandbox.timestamp_usec(&unit, "ActiveEnterTimestampMonotonic");
            (down > 0 && up > down).then(|| up - down)
        })
    });
    Ok(figures.collect())
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
        let rule = "type='signal',sender='org.freedesktop.systemd1',path_namespace='/org/freedesktop/systemd1/unit',\
            interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'";
        connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await?;
        connection.send(&to_manager("Subscribe", &())?).await?;
        Ok(Self { connection, signals })
    }

    /// Kills a worker, and heals it too if that is asked. Returns for how long it was down.
    async fn kill(&mut self, unit: &str, process: Pid, heal: bool) -> anyhow::Result<u64> {
        let path = self.connection.call_method(
            Some("org.freedesktop.systemd1"),
            "/org/freedesktop/systemd1",
            Some("org.freedesktop.systemd1.Manager"),
            "GetUnit",
            &unit,
        );
        let path = path.await?.body().deserialize::<ObjectPath<'_>>()?.to_string();
        let cure = [to_manager("ResetFailedUnit", &unit)?, to_manager("StartUnit", &(unit, "fail"))?];
        kill_process(process, Signal::KILL)?;
        let back = async {
            loop {
                let message = std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.signals).poll_next(cx)).await;
                let message = message.context("the bus is gone")??;
                match Change::of(&message, &path) {
                    Some(Change::Failed) if heal => self.connection.send_all(&cure).await?,
                    Some(Change::Active { down, up }) if up > down && down > 0 => return Ok(up - down),
                    Some(_) | None => {}
                }
            }
        };
        match timeout(DEADLINE, back).await {
            Ok(figure) => figure,
            Err(_) => bail!("{unit} was not active again within {DEADLINE:?}"),
        }
    }
}

/// What a signal says of the unit in question.
enum Change {
    Failed,
    Active { down: u64, up: u64 },
}

impl Change {
    fn of(message: &Message, unit_path: &str) -> Option<Self> {
        if message.message_type() != Type::Signal || message.header().path()?.as_str() != unit_path {
            return None;
        }
        let body = message.body();
        let (_, properties, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
        let time = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok());
        match properties.get("ActiveState")? {
            Variant::Str(state) if state.as_str() == "failed" => Some(Self::Failed),
            Variant::Str(state) if state.as_str() == "active" => Some(Self::Active {
                down: time("InactiveEnterTimestampMonotonic")?,
                up: time("ActiveEnterTimestampMonotonic")?,
            }),
            _ => None,
        }
    }
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
        let units =
            cgroups.lines().filter(|line| line.contains(&*directory)).filter_map(|line| line.rsplit('/').next());
        found.extend(units.filter(|unit| unit.ends_with(".service")).map(|unit| (unit.to_owned(), pid)));
    }
    Ok(found)
}

fn daemon_log(sandbox: &Sandbox) -> String {
    let entries = sandbox.journal(&["_SYSTEMD_USER_UNIT=workerheal.service"]);
    let lines: Vec<_> = entries.iter().rev().take(5).filter_map(|entry| entry["MESSAGE"].as_str()).collect();
    lines.join("; before that: ")
}

fn processor() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Ok(format!(
        "{} × {}",
        std::thread::available_parallelism()?,
        model.map_or("unknown processor", |(_, name)| name.trim())
    ))
}

fn load() -> anyhow::Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}

fn print(machine: &str, figures: &[(&str, Vec<u64>)]) {
    println!("Time from failed to active, by systemd's timestamps, in ms ({machine})\n");
    println!("{:<24}{:>6}{:>9}{:>9}{:>9}{:>9}   median to the limit's", "", "kills", "median", "p95", "min", "max");
    let limit = figures.first().map_or(0, |(_, limit)| quantile(limit, 50));
    for (name, figures) in figures {
        let [median, p95, min, max] = [50, 95, 0, 100].map(|percent| milliseconds(quantile(figures, percent)));
        let ratio = milliseconds(quantile(figures, 50)) / milliseconds(limit);
        println!("{name:<24}{:>6}{median:>9.2}{p95:>9.2}{min:>9.2}{max:>9.2}   {ratio:.2}", figures.len());
    }
}

fn quantile(figures: &[u64], percent: usize) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(microseconds: u64) -> f64 {
    Duration::from_micros(microseconds).as_secs_f64() * 1000.0
}

fn save(figures: &serde_json::Value) -> anyhow::Result<()> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&directory)?;
    let path = directory.join("latency.json");
    fs::write(&path, serde_json::to_string(figures)?)?;
    println!("\nRaw figures: {}", path.display());
    Ok(())
}
