//! The stand-in's state, and its rules.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::job::{End, Job, Spec, State};
use crate::{Reply, Ways, answers, unpoisoned};

/// A job that should end and does not is killed after this time.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const POLL: Duration = Duration::from_millis(5);

/// The state of the stand-in.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub ways: Ways,
    pub calls: Vec<String>,
    /// The environment of all jobs.
    pub environment: BTreeMap<String, String>,
    jobs: BTreeMap<Key, Job>,
    /// Labels that were disabled (true) or enabled.
    pub disabled: BTreeMap<String, bool>,
    loads: u64,
    over: bool,
}

/// The domains of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Domain {
    /// The graphical session.
    Gui,
    /// All other sessions.
    User,
}

impl Domain {
    fn session(self) -> &'static str {
        match self {
            Self::Gui => "Aqua",
            Self::User => "Background",
        }
    }
}

/// The domain and the label of a loaded job.
type Key = (Domain, String);

fn name_of(domain: Domain) -> String {
    let uid = rustix::process::getuid().as_raw();
    match domain {
        Domain::Gui => format!("gui/{uid}"),
        Domain::User => format!("user/{uid}"),
    }
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
    /// The current domain for jobs of a user.
    pub fn domain(&self) -> String {
        name_of(if self.ways.gui { Domain::Gui } else { Domain::User })
    }

    pub fn pid(&self, label: &str) -> Option<u32> {
        match self.found(label)?.state {
            State::Running(pid) => Some(pid),
            _ => None,
        }
    }

    pub fn runs(&self, label: &str) -> Option<u32> {
        self.found(label).map(|job| job.runs)
    }

    pub fn outdate(&mut self, label: &str) {
        for (_, job) in self.jobs.iter_mut().filter(|((_, name), _)| name == label) {
            job.is_stale = true;
        }
    }

    /// Ends all jobs.
    pub fn end(&mut self) {
        self.over = true;
        for job in self.jobs.values() {
            signal(job.pid(), Signal::KILL);
        }
    }

    fn found(&self, label: &str) -> Option<&Job> {
        self.jobs.iter().find(|((_, name), _)| name == label).map(|(_, job)| job)
    }

    /// The domain and the label of a target.
    fn target(&self, target: &str) -> Result<(Domain, String), Step> {
        let uid = rustix::process::getuid().as_raw();
        let mut parts = target.splitn(3, '/');
        let (kind, of, label) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        if of != Some(&uid.to_string()) {
            let why =
                format!("Bad request.\nCould not find domain for user {}: {}", kind.unwrap_or("?"), of.unwrap_or(""));
            return Err(refuse(112, &why));
        }
        match kind {
            Some("gui") if self.ways.gui => Ok((Domain::Gui, label.to_owned())),
            Some("gui") if self.ways.no_domain == 112 => {
                Err(refuse(112, &format!("Bad request.\nCould not find domain for user gui: {uid}")))
            }
            Some("gui") => Err(refuse(self.ways.no_domain, "Domain does not support specified action")),
            Some("user") => Ok((Domain::User, label.to_owned())),
            _ => Err(refuse(64, "Unrecognized target specifier")),
        }
    }

    fn step(&mut self, world: &Arc<Mutex<Self>>, words: &[&str], first: bool) -> Step {
        if self.ways.hangs && !self.over {
            return Step::Wait;
        }
        self.answer(world, words, first).unwrap_or_else(|step| step)
    }

    fn answer(&mut self, world: &Arc<Mutex<Self>>, words: &[&str], first: bool) -> Result<Step, Step> {
        Ok(match *words {
            ["list"] => done(answers::LIST.to_owned()),
            ["print", target] => {
                let (domain, label) = self.target(target)?;
                self.print(domain, &label)
            }
            ["print-disabled", target] => {
                self.target(target)?;
                done(answers::print_disabled(&self.disabled, self.ways.macos))
            }
            [verb @ ("enable" | "disable"), target] => {
                // There is one such list for all domains of a user.
                let (_, label) = self.target(target)?;
                self.disabled.insert(label, verb == "disable");
                done(String::new())
            }
            ["bootout", target] => {
                let key = self.target(target)?;
                self.bootout(&key)
            }
            ["bootstrap", target, plist] => {
                let (domain, _) = self.target(target)?;
                self.bootstrap(world, domain, Path::new(plist))
            }
            // The old form: it prints errors, and its status is 0.
            ["load", plist] => {
                let (domain, _) = self.target(&self.domain())?;
                match self.bootstrap(world, domain, Path::new(plist)) {
                    Step::Reply(reply) if reply.status != 0 => {
                        let err = format!("Load failed: {}: Input/output error\n", reply.status);
                        Step::Reply(Reply { status: 0, out: String::new(), err })
                    }
                    step => step,
                }
            }
            ["kickstart", target] => {
                let key = self.target(target)?;
                self.kickstart(world, &key, first)
            }
            ["kill", name, target] => {
                let (_, label) = self.target(target)?;
                let number = match name.trim_start_matches("SIG") {
                    "KILL" => Signal::KILL,
                    "SEGV" => Signal::SEGV,
                    _ => Signal::TERM,
                };
                signal(self.pid(&label), number);
                done(String::new())
            }
            _ => refuse(64, "Unrecognized subcommand"),
        })
    }

    fn print(&self, domain: Domain, label: &str) -> Step {
        let name = name_of(domain);
        if label.is_empty() {
            let jobs = self.jobs.iter().filter(|((of, _), _)| *of == domain);
            return done(answers::domain(&name, domain.session(), jobs.map(|((_, label), job)| (label.as_str(), job))));
        }
        match (self.jobs.get(&(domain, label.to_owned())), &self.ways.prints) {
            (None, _) => {
                let (kind, uid) = name.split_once('/').unwrap_or_default();
                refuse(
                    113,
                    &format!("Bad request.\nCould not find service \"{label}\" in domain for user {kind}: {uid}"),
                )
            }
            (Some(_), Some(text)) => done(text.clone()),
            (Some(job), None) => done(answers::print(&name, label, job, self.ways.macos)),
        }
    }

    fn bootout(&mut self, key: &Key) -> Step {
        let earliest = Instant::now() + self.ways.drains;
        let Some(job) = self.jobs.get_mut(key) else { return refuse(3, "Boot-out failed: 3: No such process") };
        if matches!(job.state, State::Draining(..)) {
            return refuse(37, "Boot-out failed: 37: Operation already in progress");
        }
        let pid = job.pid();
        signal(pid, Signal::TERM);
        job.state = State::Draining(pid, earliest);
        if self.ways.bootout_disables {
            self.disabled.insert(key.1.clone(), true);
        }
        self.bury();
        done(String::new())
    }

    fn bootstrap(&mut self, world: &Arc<Mutex<Self>>, domain: Domain, plist: &Path) -> Step {
        const BUSY: &str = "Bootstrap failed: 5: Input/output error";
        let Some(spec) = Spec::read(plist) else { return refuse(5, BUSY) };
        if self.ways.spurious > 0 {
            self.ways.spurious -= 1;
            return refuse(5, BUSY);
        }
        let is_open = std::fs::metadata(plist).is_ok_and(|data| data.permissions().mode() & 0o022 != 0);
        if is_open {
            return if self.ways.macos >= 13 {
                refuse(5, BUSY)
            } else {
                refuse(122, "Path had bad ownership/permissions")
            };
        }
        let key = (domain, spec.label.clone());
        if self.jobs.contains_key(&key) {
            return refuse(5, BUSY);
        }
        if self.disabled.get(&spec.label) == Some(&true) {
            return if self.ways.macos >= 14 { refuse(5, BUSY) } else { refuse(119, "Bootstrap failed: 119") };
        }
        if !spec.may_load_in(domain.session()) {
            return if self.ways.macos >= 15 {
                refuse(5, BUSY)
            } else {
                refuse(134, "Bootstrap failed: 134: Service cannot load in requested session")
            };
        }
        self.loads += 1;
        let starts = spec.starts_when_loaded();
        let job = Job {
            plist: PathBuf::from(plist),
            spec,
            state: State::NotRunning,
            runs: 0,
            end: End::Never,
            spawn_failed: false,
            is_stale: false,
            coalition: 1000 + 2 * self.loads,
        };
        let job = self.jobs.entry(key.clone()).or_insert(job);
        match self.ways.pends_loads {
            Some(reason) if starts => job.state = State::Pended(reason),
            _ if starts => self.spawn(world, &key),
            _ => {}
        }
        done(String::new())
    }

    fn kickstart(&mut self, world: &Arc<Mutex<Self>>, key: &Key, first: bool) -> Step {
        let Some(job) = self.jobs.get(key) else { return refuse(113, "Could not find service") };
        if matches!(job.state, State::Draining(..)) {
            return refuse(37, "Could not kickstart service: 37: Operation already in progress");
        }
        let is_up = matches!(job.state, State::Running(_));
        if first && !is_up {
            self.spawn(world, key);
        } else if is_up && self.ways.kickstart_blocks {
            return Step::Wait;
        } else if !first {
            return done(String::new());
        }
        if self.ways.kickstart_blocks { Step::Wait } else { done(String::new()) }
    }

    fn spawn(&mut self, world: &Arc<Mutex<Self>>, key: &Key) {
        let throttle = self.ways.throttle;
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.runs += 1;
        let child = if job.is_stale { None } else { job.spec.spawn(&self.environment).ok() };
        if let Some(child) = child {
            job.state = State::Running(child.id());
            job.spawn_failed = false;
            let (world, key) = (Arc::downgrade(world), key.clone());
            thread::spawn(move || wait(child, &world, &key));
        } else {
            job.spawn_failed = true;
            job.end = End::Code(78);
            job.state = after(job, throttle, None);
        }
    }

    /// A process of a job has ended.
    fn ended(&mut self, key: &Key, pid: u32, status: ExitStatus) {
        let (throttle, pends) = (self.ways.throttle, self.ways.pends_respawns);
        let Some(job) = self.jobs.get_mut(key).filter(|job| job.pid() == Some(pid)) else { return };
        // Processes that it has left behind end with it.
        signal(Some(pid), Signal::KILL);
        job.end = status.into();
        job.state = match job.state {
            State::Draining(_, earliest) => State::Draining(None, earliest),
            _ => after(job, throttle, pends),
        };
        self.bury();
    }

    /// Performs everything that is due.
    pub fn tick(world: &Arc<Mutex<Self>>) {
        let mut this = lock(world);
        let now = Instant::now();
        this.bury();
        let due: Vec<Key> = this
            .jobs
            .iter()
            .filter(|(_, job)| matches!(job.state, State::Scheduled(at) if at <= now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due.iter().filter(|_| !this.over).cloned().collect::<Vec<_>>() {
            this.spawn(world, &key);
        }
        for job in this.jobs.values() {
            if let State::Draining(Some(pid), earliest) = job.state
                && earliest + EXIT_TIMEOUT <= now
            {
                signal(Some(pid), Signal::KILL);
            }
        }
    }

    /// Removes jobs that were booted out and have ended.
    fn bury(&mut self) {
        let now = Instant::now();
        self.jobs.retain(|_, job| !matches!(job.state, State::Draining(None, earliest) if earliest <= now));
    }
}

/// The state of a job whose process has ended by itself.
fn after(job: &Job, throttle: Duration, pends: Option<&'static str>) -> State {
    match pends {
        _ if !job.spec.starts_again(job.end) => State::NotRunning,
        Some(reason) => State::Pended(reason),
        None => State::Scheduled(Instant::now() + throttle),
    }
}

fn wait(mut child: Child, world: &Weak<Mutex<World>>, key: &Key) {
    let pid = child.id();
    if let (Ok(status), Some(world)) = (child.wait(), world.upgrade()) {
        lock(&world).ended(key, pid, status);
    }
}

fn signal(pid: Option<u32>, signal: Signal) {
    if let Some(group) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        // It may have ended just now.
        let _ = kill_process_group(group, signal);
    }
}
