//! The stand-in's state, its rules, and the socket that it listens on.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::job::{End, Job, Spec, State};
use crate::{Reply, Ways, answers, unpoisoned};

/// A job that is told to end and does not is killed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// All that the stand-in knows.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub ways: Ways,
    pub calls: Vec<String>,
    /// What all jobs have in their environment.
    pub environment: BTreeMap<String, String>,
    jobs: BTreeMap<String, Job>,
    /// Labels that somebody has disabled (true) or enabled.
    disabled: BTreeMap<String, bool>,
    loads: u64,
    over: bool,
}

/// A step of an answer.
enum Step {
    Reply(Reply),
    /// Ask again a little later.
    Wait,
}

pub(crate) fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    unpoisoned(world.lock())
}

/// Listens until the world is gone.
pub(crate) fn serve(socket: &Path, world: &Arc<Mutex<World>>) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let world = Arc::downgrade(world);
    thread::spawn({
        let world = world.clone();
        move || {
            for stream in listener.incoming().flatten() {
                let world = world.clone();
                thread::spawn(move || answer(&stream, &world));
            }
        }
    });
    thread::spawn(move || {
        while let Some(world) = world.upgrade() {
            World::tick(&world);
            drop(world);
            thread::sleep(POLL);
        }
    });
    Ok(())
}

fn answer(stream: &UnixStream, world: &Weak<Mutex<World>>) -> Option<()> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    let arguments: Vec<String> = serde_json::from_str(&line).ok()?;
    let world = world.upgrade()?;
    lock(&world).calls.push(arguments.join(" "));
    let reply = call(&world, &arguments);
    let mut stream = stream;
    serde_json::to_writer(&mut stream, &reply).ok()?;
    stream.flush().ok()
}

pub(crate) fn ask(socket: &Path, arguments: &[String]) -> io::Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(format!("{}\n", serde_json::to_string(arguments)?).as_bytes())?;
    Ok(serde_json::from_reader(stream)?)
}

/// Answers one call of `launchctl`.
pub(crate) fn call(world: &Arc<Mutex<World>>, arguments: &[String]) -> Reply {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut first = true;
    loop {
        let step = lock(world).step(world, &words, std::mem::take(&mut first));
        match step {
            Step::Reply(reply) => return reply,
            Step::Wait => thread::sleep(POLL),
        }
    }
}

fn done(out: String) -> Step {
    Step::Reply(Reply { status: 0, out, err: String::new() })
}

fn refuse(status: i32, err: &str) -> Step {
    Step::Reply(Reply { status, out: String::new(), err: format!("{err}\n") })
}

impl World {
    pub fn domain(&self) -> String {
        let uid = rustix::process::getuid().as_raw();
        format!("{}/{uid}", if self.ways.gui { "gui" } else { "user" })
    }

    pub fn pid(&self, label: &str) -> Option<u32> {
        match self.jobs.get(label)?.state {
            State::Running(pid) => Some(pid),
            _ => None,
        }
    }

    pub fn runs(&self, label: &str) -> Option<u32> {
        self.jobs.get(label).map(|job| job.runs)
    }

    /// Ends all jobs.
    pub fn end(&mut self) {
        self.over = true;
        for job in self.jobs.values() {
            signal(job.pid(), Signal::KILL);
        }
    }

    fn step(&mut self, world: &Arc<Mutex<Self>>, words: &[&str], first: bool) -> Step {
        if self.ways.hangs && !self.over {
            return Step::Wait;
        }
        let domain = self.domain();
        // Whether the domain is there, and the label below it.
        let label_in = |target: &str| match target.strip_prefix(&domain) {
            Some(rest) => Ok(rest.trim_start_matches('/').to_owned()),
            None => Err(refuse(125, "Domain does not support specified action")),
        };
        let target = |at: usize| label_in(words.get(at).copied().unwrap_or_default());
        match words {
            ["list"] => done(answers::list(self.jobs.iter())),
            ["print", _] => target(1).map_or_else(|step| step, |label| self.print(&domain, &label)),
            ["print-disabled", _] => {
                target(1).map_or_else(|step| step, |_| done(answers::print_disabled(&self.disabled, self.ways.macos)))
            }
            ["enable" | "disable", _] => target(1).map_or_else(
                |step| step,
                |label| {
                    self.disabled.insert(label, words[0] == "disable");
                    done(String::new())
                },
            ),
            ["bootout", _] => target(1).map_or_else(|step| step, |label| self.bootout(&label)),
            ["bootstrap", _, plist] => target(1).map_or_else(|step| step, |_| self.bootstrap(world, Path::new(plist))),
            ["kickstart", _] => target(1).map_or_else(|step| step, |label| self.kickstart(world, &label, first)),
            ["kill", name, _] => target(2).map_or_else(
                |step| step,
                |label| {
                    let number = match name.trim_start_matches("SIG") {
                        "KILL" => Signal::KILL,
                        "SEGV" => Signal::SEGV,
                        _ => Signal::TERM,
                    };
                    signal(self.pid(&label), number);
                    done(String::new())
                },
            ),
            _ => refuse(64, "Unrecognized subcommand"),
        }
    }

    fn print(&self, domain: &str, label: &str) -> Step {
        match (self.jobs.get(label), &self.ways.prints) {
            (None, _) => refuse(113, &format!("Could not find service \"{label}\" in domain for {domain}")),
            (Some(_), Some(text)) => done(text.clone()),
            (Some(job), None) => done(answers::print(domain, label, job, self.ways.macos)),
        }
    }

    fn bootout(&mut self, label: &str) -> Step {
        let earliest = Instant::now() + self.ways.drains;
        let Some(job) = self.jobs.get_mut(label) else { return refuse(3, "Boot-out failed: 3: No such process") };
        if matches!(job.state, State::Draining(..)) {
            return refuse(37, "Boot-out failed: 37: Operation already in progress");
        }
        let pid = job.pid();
        signal(pid, Signal::TERM);
        job.state = State::Draining(pid, earliest);
        if self.ways.bootout_disables {
            self.disabled.insert(label.to_owned(), true);
        }
        self.bury();
        done(String::new())
    }

    fn bootstrap(&mut self, world: &Arc<Mutex<Self>>, plist: &Path) -> Step {
        const BUSY: &str = "Bootstrap failed: 5: Input/output error";
        let Some(spec) = Spec::read(plist) else { return refuse(5, BUSY) };
        if self.ways.spurious > 0 {
            self.ways.spurious -= 1;
            return refuse(5, BUSY);
        }
        if self.jobs.contains_key(&spec.label) {
            return refuse(5, BUSY);
        }
        if self.disabled.get(&spec.label) == Some(&true) {
            return if self.ways.macos >= 14 { refuse(5, BUSY) } else { refuse(119, "Bootstrap failed: 119") };
        }
        self.loads += 1;
        let (label, starts) = (spec.label.clone(), spec.run_at_load || spec.keep_alive);
        let job = Job {
            plist: PathBuf::from(plist),
            spec,
            state: State::NotRunning,
            runs: 0,
            end: End::Never,
            spawn_failed: false,
            coalition: 1000 + 2 * self.loads,
        };
        self.jobs.insert(label.clone(), job);
        if starts {
            self.spawn(world, &label);
        }
        done(String::new())
    }

    fn kickstart(&mut self, world: &Arc<Mutex<Self>>, label: &str, first: bool) -> Step {
        let Some(job) = self.jobs.get(label) else { return refuse(113, "Could not find service") };
        let is_up = matches!(job.state, State::Running(_));
        if first && !is_up {
            self.spawn(world, label);
        } else if is_up && self.ways.kickstart_blocks {
            return Step::Wait;
        } else if !first {
            return done(String::new());
        }
        if self.ways.kickstart_blocks { Step::Wait } else { done(String::new()) }
    }

    fn spawn(&mut self, world: &Arc<Mutex<Self>>, label: &str) {
        let throttle = self.ways.throttle;
        let Some(job) = self.jobs.get_mut(label) else { return };
        job.runs += 1;
        if let Ok(child) = job.spec.spawn(&self.environment) {
            job.state = State::Running(child.id());
            job.spawn_failed = false;
            let (world, label) = (Arc::downgrade(world), label.to_owned());
            thread::spawn(move || wait(child, &world, &label));
        } else {
            job.spawn_failed = true;
            job.end = End::Code(78);
            job.state = after(job, throttle);
        }
    }

    /// A process of a job has ended.
    fn ended(&mut self, label: &str, pid: u32, status: ExitStatus) {
        let throttle = self.ways.throttle;
        let Some(job) = self.jobs.get_mut(label).filter(|job| job.pid() == Some(pid)) else { return };
        // What it has left behind goes with it.
        signal(Some(pid), Signal::KILL);
        job.end = status.into();
        job.state = match job.state {
            State::Draining(_, earliest) => State::Draining(None, earliest),
            _ => after(job, throttle),
        };
        self.bury();
    }

    /// Does what is due.
    fn tick(world: &Arc<Mutex<Self>>) {
        let mut this = lock(world);
        let now = Instant::now();
        this.bury();
        let due: Vec<String> = this
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Scheduled(at) if at <= now))
            .map(|(label, _)| label.clone())
            .collect();
        for label in due.iter().filter(|_| !this.over).cloned().collect::<Vec<_>>() {
            this.spawn(world, &label);
        }
        for job in this.jobs.values() {
            if let State::Draining(Some(pid), earliest) = job.state
                && earliest + EXIT_TIMEOUT <= now
            {
                signal(Some(pid), Signal::KILL);
            }
        }
    }

    /// Forgets the jobs that were taken out and have ended.
    fn bury(&mut self) {
        let now = Instant::now();
        self.jobs.retain(|_, job| !matches!(job.state, State::Draining(None, earliest) if earliest <= now));
    }
}

/// The state of a job whose process has ended by itself.
fn after(job: &Job, throttle: Duration) -> State {
    if job.spec.keep_alive { State::Scheduled(Instant::now() + throttle) } else { State::NotRunning }
}

fn wait(mut child: Child, world: &Weak<Mutex<World>>, label: &str) {
    let pid = child.id();
    if let (Ok(status), Some(world)) = (child.wait(), world.upgrade()) {
        lock(&world).ended(label, pid, status);
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(group) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended just now.
        let _ = kill_process_group(group, signal);
    }
}
