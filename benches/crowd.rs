//! The cost of many followers and requests for healing. Run it with `cargo bench --bench crowd`.
//!
//! A hundred workers crash one after the other, for a minute without clients and for a minute with 200 followers of the
//! events and 50 requests a second, alternating every ten seconds. The time from failed to active is measured by
//! systemd's own clock. The numbers of the events that each follower has seen show that none lost an event. Everything,
//! including the followers, shares the machine with the daemon, so their own cost counts.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use workerheal_sandbox::Sandbox;

const WORKERS: usize = 100;
const FOLLOWERS: usize = 200;
const TURNS: usize = 12;
const TURN: Duration = Duration::from_secs(10);
/// Time from one worker's return to the next kill.
const LULL: Duration = Duration::from_millis(100);
const BETWEEN_REQUESTS: Duration = Duration::from_millis(20);
const DEADLINE: Duration = Duration::from_secs(20);

const WORKER: &str =
    "[Unit]\nStartLimitBurst=1000\n[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";
/// Minimum time between two kills of a worker, so that each heal is a first attempt.
const CONFIG: &str = "heal: {stable_after: 1s, reset_after: 3s}\n";
const SITES: &str = "sites:\n  - {name: shop, path: /srv/shop}\n";
const DAEMON: &str = include_str!("../packaging/systemd/user/workerheal.service");
const CALLS: [&str; 4] = ["/v1/workers", "/v1/status", "/v1/unhealthy", "/metrics"];

fn main() -> anyhow::Result<()> {
    let sandbox = Sandbox::start()?;
    sandbox.write_file(".local/share/lerd/sites.yaml", SITES);
    sandbox.write_file(".config/workerheal/config.yaml", CONFIG);
    let program = concat!("ExecStart=", env!("CARGO_BIN_EXE_workerheal"));
    sandbox.write_unit("workerheal.service", &DAEMON.replace("ExecStart=/usr/bin/workerheal", program));
    let units: Vec<String> = (0..WORKERS).map(|at| format!("lerd-q{at}-shop.service")).collect();
    for unit in &units {
        sandbox.write_unit(unit, WORKER);
    }
    sandbox.daemon_reload();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    // Enabled, it stays loaded between its failure and its start, and so do its timestamps.
    sandbox.systemctl(&[&["enable", "--now"], &names[..]].concat())?;
    sandbox.start_unit("workerheal.service");
    let socket = sandbox.runtime_dir().join("workerheal/api.sock");

    let (mut alone, mut in_company, mut requests) = (Vec::new(), Vec::new(), Vec::new());
    let mut events = 0;
    let mut next = units.iter().cycle();
    let mut crash = || -> anyhow::Result<u64> {
        let unit = next.next().context("there are workers")?;
        let before = sandbox.timestamp_usec(unit, "ActiveEnterTimestampMonotonic");
        sandbox.kill(unit, "KILL");
        let active = sandbox.wait_until(&format!("{unit} to be up again"), DEADLINE, || {
            Some(sandbox.timestamp_usec(unit, "ActiveEnterTimestampMonotonic")).filter(|active| *active > before)
        });
        let failed = sandbox.timestamp_usec(unit, "InactiveEnterTimestampMonotonic");
        sleep(LULL);
        Ok(active.saturating_sub(failed))
    };
    for turn in 0..TURNS {
        let begin = Instant::now();
        if turn % 2 == 0 {
            while begin.elapsed() < TURN {
                alone.push(crash()?);
            }
            continue;
        }
        let crowd = Crowd::gather(&socket)?;
        while begin.elapsed() < TURN {
            in_company.push(crash()?);
        }
        let seen = crowd.disperse(&socket)?;
        requests.extend(seen.requests);
        events += seen.events;
    }

    let ratio = quantile(&in_company, 50) / quantile(&alone, 50);
    println!("Time from failed to active, in ms, {WORKERS} workers; {} s each, in turns of {} s", 60, TURN.as_secs());
    for (who, figures) in [("alone", &alone), ("200 followers, 50 req/s", &in_company)] {
        let [median, p95] = [50, 95].map(|percent| quantile(figures, percent));
        println!("{who:<26}{:>5} kills   median {median:>7.2}   p95 {p95:>7.2}", figures.len());
    }
    let [median, p95] = [50, 95].map(|percent| quantile(&requests, percent));
    println!("median to that alone: {ratio:.2}");
    println!("requests answered: {}, median {median:.2} ms, p95 {p95:.2} ms", requests.len());
    println!("events seen by each follower: {events}, lost: 0");
    Ok(())
}

/// Clients that follow and send requests.
struct Crowd {
    followers: Vec<JoinHandle<anyhow::Result<Vec<u64>>>>,
    asker: JoinHandle<anyhow::Result<Vec<u64>>>,
    streams: Vec<UnixStream>,
    /// The last event before all were accepted; none of the later ones may be missing.
    since: u64,
    over: std::sync::Arc<AtomicBool>,
}

struct Seen {
    events: u64,
    requests: Vec<u64>,
}

impl Crowd {
    fn gather(socket: &Path) -> anyhow::Result<Self> {
        let (mut followers, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..FOLLOWERS {
            let mut stream = UnixStream::connect(socket)?;
            write!(stream, "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n")?;
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            // An accepted follower gets a greeting.
            while !lines.next().context("no greeting")??.starts_with("retry: ") {}
            streams.push(stream);
            followers.push(std::thread::spawn(move || {
                let mut numbers = Vec::new();
                for line in lines {
                    let Ok(line) = line else { break };
                    if let Some((_, number)) = line.strip_prefix("id: ").and_then(|id| id.split_once('-')) {
                        numbers.push(number.parse()?);
                    }
                }
                Ok(numbers)
            }));
        }
        let since = last_event(socket)?;
        let over = std::sync::Arc::new(AtomicBool::new(false));
        let (socket, ends) = (socket.to_owned(), std::sync::Arc::clone(&over));
        let asker = std::thread::spawn(move || {
            let mut times = Vec::new();
            for call in CALLS.iter().cycle() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let begin = Instant::now();
                let mut stream = UnixStream::connect(&socket)?;
                write!(stream, "GET {call} HTTP/1.1\r\nhost: x\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                ensure!(answer.starts_with("HTTP/1.1 200 "), "{call}: {answer}");
                let took = begin.elapsed();
                times.push(u64::try_from(took.as_micros())?);
                sleep(BETWEEN_REQUESTS.saturating_sub(took));
            }
            Ok(times)
        });
        Ok(Self { followers, asker, streams, since, over })
    }

    /// Ends the clients, and checks that none has missed an event.
    fn disperse(self, socket: &Path) -> anyhow::Result<Seen> {
        self.over.store(true, Ordering::Relaxed);
        let panicked = || anyhow::anyhow!("a thread panicked");
        let requests = self.asker.join().map_err(|_| panicked())??;
        let last = last_event(socket)?;
        // Data that was sent arrives before the end of the connection.
        sleep(Duration::from_millis(500));
        for stream in &self.streams {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let mut seen = Vec::new();
        for follower in self.followers {
            seen.push(follower.join().map_err(|_| panicked())??);
        }
        // Earlier crashes are reported as healed while some clients are connecting or disconnecting.
        for numbers in seen {
            let ends = (numbers.first().copied().unwrap_or(u64::MAX), numbers.last().copied().unwrap_or(0));
            ensure!(ends.0 <= self.since + 1 && ends.1 >= last, "{ends:?} is not {} to {last}", self.since + 1);
            ensure!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "events are missing: {numbers:?}");
        }
        Ok(Seen { events: last - self.since, requests })
    }
}

/// The number of the last event.
fn last_event(socket: &Path) -> anyhow::Result<u64> {
    let mut stream = UnixStream::connect(socket)?;
    write!(stream, "GET /v1/events?follow=false&limit=1 HTTP/1.1\r\nhost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let id = answer.lines().find_map(|line| line.strip_prefix("id: ")).context("there is no event")?;
    Ok(id.split_once('-').context("an id has two parts")?.1.parse()?)
}

/// In milliseconds.
fn quantile(figures: &[u64], percent: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    Duration::from_micros(sorted.get(at).copied().unwrap_or_default()).as_secs_f64() * 1000.0
}
