//! Checks that the model of systemd that the simulation is based on agrees with real systemd.
//!
//! Families of units, one unit or a parent with children, go through random operations in lockstep: each round performs
//! one operation on every family, in the model and in a sandbox with the real manager, waits until the manager has
//! reached the model's state, and compares everything that is visible, including the signals on the way and finally the
//! stops in the journal. Operations whose result depends on timing are not generated: an operation is performed only if
//! the model gives the same result with several timings.
//!
//! `WORKERHEAL_SEED` repeats a run.

#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod family;
mod member;
#[expect(dead_code, unused_imports, reason = "the simulation uses the rest")]
#[path = "../../../crates/workerheal-core/tests/simulation/model/mod.rs"]
mod model;
mod reality;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;
use workerheal_sandbox::Sandbox;

use family::{Change, Family, Operation, PAUSE};
use model::{LoadState, Mode, ProcessSignal, Refusal, UnitId};
use reality::{Reality, Reported};
use view::{State, View, job_results, states, story};

const FAMILIES: usize = 220;
const ROUNDS: usize = 12;
/// Some of the required cases depend on a few families, and take further rounds with some seeds.
const MAX_ROUNDS: usize = 4 * ROUNDS;
/// A case that has not occurred by then does not occur.
const DEADLINE: Duration = Duration::from_secs(20);
/// The cases that have to occur in a run.
const TO_BE_SEEN: [&str; 19] = [
    "auto-restart",
    "stop-sigterm",
    "restarted",
    "canceled",
    "dependency",
    "failed",
    "exit-code",
    "signal",
    "start-limit-hit",
    "skipped",
    "timeout",
    "refused",
    "reload",
    "invalid",
    "nop",
    "wants",
    "part of",
    "conflicts",
    "triggered",
];

#[test]
fn the_model_and_the_manager_agree() {
    let seed = std::env::var("WORKERHEAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("WORKERHEAL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new(&mut rng);
    let has_seen_all = |world: &World| TO_BE_SEEN.iter().all(|word| world.seen.contains_key(*word));
    for round in 0..MAX_ROUNDS {
        if round >= ROUNDS && has_seen_all(&world) {
            break;
        }
        let begin = Instant::now();
        // A reload affects all units, and has to come when nothing else is under way.
        let reloads = round % 4 == 3;
        world.round(reloads, &mut rng);
        world.settle();
        // As in the model: the timer of a masked unit, which has the default settings, may be older than those.
        sleep(PAUSE.saturating_sub(begin.elapsed()));
        println!("round {round}{}: {:.1?}", if reloads { " (reload)" } else { "" }, begin.elapsed());
    }
    world.check_journal();
    println!("seen: {:?}", world.seen);
    for word in TO_BE_SEEN {
        assert!(world.seen.contains_key(word), "{word} has not been seen with seed {seed}: {:?}", world.seen);
    }
}

/// The families, and their real units.
struct World {
    sandbox: Sandbox,
    /// The release of systemd, such as 252.
    release: u32,
    reality: Reality,
    families: Vec<Family>,
    /// By unit, the signalled ends of its jobs.
    results: HashMap<String, Vec<String>>,
    /// By unit, its signalled states.
    states: HashMap<String, Vec<State>>,
    /// By the manager's invocation id, its unit and the model's number.
    invocations: HashMap<String, (usize, UnitId, u64)>,
    /// How often each interesting case has been seen after a round.
    seen: BTreeMap<&'static str, usize>,
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let sandbox = Sandbox::start().unwrap_or_else(|error| panic!("{error}"));
        let families: Vec<Family> = (0..FAMILIES).map(|number| Family::generate(number, rng)).collect();
        let made = sandbox.command("mkfifo").arg(sandbox.home().join("silence")).status();
        assert!(made.is_ok_and(|status| status.success()), "cannot make a fifo");
        let reality = Reality::connect(&sandbox);
        let world = Self {
            release: release(&sandbox),
            sandbox,
            reality,
            families,
            results: HashMap::new(),
            states: HashMap::new(),
            invocations: HashMap::new(),
            seen: BTreeMap::new(),
        };
        for (index, unit, name) in world.units() {
            world.sandbox.write_file(format!("runs/{name}"), "");
            world.sandbox.write_file(format!("reload/{name}"), "");
            world.write_unit(index, unit);
            world.write_behaviour(index, unit);
            world.write_enablement(index, unit);
        }
        world.sandbox.daemon_reload();
        world.reality.reported();
        world
    }

    /// One operation for each family, in the model and in reality.
    fn round(&mut self, reloads: bool, rng: &mut Rng) {
        let (mut masked, mut unmasked) = (Vec::new(), Vec::new());
        let mut differences = Vec::new();
        for index in 0..self.families.len() {
            let (unit, operation, expected) = self.families[index].next(reloads, rng);
            let name = self.families[index].members[unit.0].name.clone();
            match operation {
                Operation::Behave(_) => self.write_behaviour(index, unit),
                Operation::Change(Change::Nothing) => {}
                Operation::Change(Change::Mask) => masked.push(name),
                Operation::Change(Change::Unmask) => unmasked.push(name),
                Operation::Change(Change::Write(_)) => self.write_unit(index, unit),
                Operation::Change(Change::Enable | Change::Disable) => self.write_enablement(index, unit),
                operation => {
                    let outcome = self.perform(&name, &operation);
                    let expected = expected.err().map_or("accepted", error_name);
                    if expected != "accepted" {
                        *self.seen.entry("refused").or_default() += 1;
                    }
                    // Of two units that cannot be loaded, either may come first.
                    let is_load_error = |word: &str| ["UnitMasked", "NoSuchUnit", "BadUnitSetting"].contains(&word);
                    let broken = self.families[index].model.units().iter().filter(|it| it.load() != LoadState::Loaded);
                    if broken.count() < 2 || !is_load_error(expected) || !is_load_error(&outcome) {
                        differences.extend(Difference::between(index, &name, &expected, &outcome.as_str()));
                    }
                }
            }
        }
        self.fail(&differences);
        if reloads {
            self.reality.call("MaskUnitFiles", &(masked, false, false)).expect("it masks");
            self.reality.call("UnmaskUnitFiles", &(unmasked, false)).expect("it unmasks");
            self.reality.call("Reload", &()).expect("it reloads");
        }
    }

    /// Performs an operation, and returns the manager's answer.
    fn perform(&self, unit: &str, operation: &Operation) -> String {
        let job = |method: &'static str, mode: &Mode| {
            let mode = match mode {
                Mode::Fail => "fail",
                Mode::Replace => "replace",
                Mode::IgnoreRequirements => "ignore-requirements",
                Mode::Isolate => "isolate",
            };
            self.reality.call(method, &(unit, mode))
        };
        let answer = match operation {
            Operation::Start(mode) => job("StartUnit", mode),
            Operation::Stop(mode) => job("StopUnit", mode),
            Operation::Restart(mode) => job("RestartUnit", mode),
            Operation::TryRestart(mode) => job("TryRestartUnit", mode),
            Operation::Reload(mode) => job("ReloadUnit", mode),
            Operation::Connect => {
                let connected = UnixStream::connect(self.sandbox.runtime_dir().join(unit));
                return connected.map_or_else(|error| error.to_string(), |_| "accepted".to_owned());
            }
            Operation::Kill(signal) => self.reality.call("KillUnit", &(unit, "main", number(*signal))),
            Operation::ResetFailed => self.reality.call("ResetFailedUnit", &unit),
            Operation::Behave(_) | Operation::Change(_) => unreachable!("that is done with files"),
        };
        answer.map_or_else(|error| error, |_| "accepted".to_owned())
    }

    /// Unit files are below `~/.local`: in `~/.config`, a mask would have to take their place.
    fn write_unit(&self, index: usize, unit: UnitId) {
        let family = &self.families[index];
        let path = format!(".local/share/systemd/user/{}", family.members[unit.0].name);
        match family.unit_file(unit) {
            Some(text) => self.sandbox.write_file(path, &text),
            // It may have been removed before.
            None => fs::remove_file(self.path(&path)).unwrap_or_default(),
        }
    }

    fn write_behaviour(&self, index: usize, unit: UnitId) {
        let member = &self.families[index].members[unit.0];
        let behaviour = member.behaviour;
        self.sandbox.write_file(format!("pre/{}", member.name), &behaviour.pre_script(&member.name));
        let new = format!("life/{}.new", member.name);
        self.sandbox.write_file(&new, &behaviour.script(&member.name));
        fs::rename(self.path(&new), self.path(&format!("life/{}", member.name))).expect("it can be renamed");
    }

    fn write_enablement(&self, index: usize, unit: UnitId) {
        let member = &self.families[index].members[unit.0];
        let link = self.path(&format!(".config/systemd/user/default.target.wants/{}", member.name));
        fs::create_dir_all(link.parent().expect("it is in a directory")).expect("it can be made");
        if member.is_enabled {
            symlink(self.path(&format!(".local/share/systemd/user/{}", member.name)), link).expect("it was disabled");
        } else {
            fs::remove_file(link).unwrap_or_default();
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.sandbox.home().join(path)
    }

    /// Waits until the manager is where the model is, and compares all that can be seen.
    fn settle(&mut self) {
        let begin = Instant::now();
        loop {
            let is_late = begin.elapsed() > DEADLINE;
            let differences = self.compare_lists();
            if differences.is_empty() {
                break;
            }
            if is_late {
                self.fail(&differences);
            }
            sleep(Duration::from_millis(20));
        }
        let differences = self.compare_details();
        self.fail(&differences);
        self.listen();
        self.fail(&self.compare_jobs());
        self.fail(&self.compare_states());
        for word in self.families.iter().flat_map(Family::seen) {
            *self.seen.entry(word).or_default() += 1;
        }
    }

    fn units(&self) -> impl Iterator<Item = (usize, UnitId, &str)> {
        self.families
            .iter()
            .enumerate()
            .flat_map(|(index, family)| family.units().map(move |(id, name)| (index, id, name)))
    }

    fn expected(&self, index: usize, unit: UnitId) -> View {
        View::of(self.families[index].model.unit(unit), self.release)
    }

    /// Compares what is cheap to find out of all units at once.
    fn compare_lists(&self) -> Vec<Difference> {
        let listed = self.reality.list();
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let expected = self.expected(index, unit);
            let runs = fs::metadata(self.path(&format!("runs/{name}"))).map_or(0, |data| data.len());
            let view = View { listed: listed.get(name).cloned(), runs, ..expected.clone() };
            Difference::between(index, name, &expected, &view)
        };
        self.units().filter_map(compare).collect()
    }

    /// Compares the rest, one unit after the other, except for units that reading their properties would load.
    fn compare_details(&mut self) -> Vec<Difference> {
        let units: Vec<_> = self.units().map(|(index, unit, name)| (index, unit, name.to_owned())).collect();
        let in_memory = |(index, unit, _): &(usize, UnitId, String)| self.expected(*index, *unit).listed.is_some();
        let units: Vec<_> = units.into_iter().filter(in_memory).collect();
        let views = units.iter().map(|(index, unit, name)| (name.clone(), self.expected(*index, *unit)));
        let inspected = self.reality.inspect(views.collect());
        let mut differences = Vec::new();
        for ((index, unit, name), (view, id)) in units.into_iter().zip(inspected) {
            differences.extend(Difference::between(index, &name, &self.expected(index, unit), &view));
            if let Some(number) = self.families[index].model.unit(unit).invocation() {
                self.invocations.insert(id, (index, unit, number));
            }
        }
        differences
    }

    /// Records the manager's signals.
    fn listen(&mut self) {
        for reported in self.reality.reported() {
            match reported {
                Reported::JobRemoved { unit, result } => self.results.entry(unit).or_default().push(result),
                Reported::Changed { unit, state } => self.states.entry(unit).or_default().push(state),
            }
        }
    }

    /// Compares how jobs have ended, in order.
    fn compare_jobs(&self) -> Vec<Difference> {
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let expected = job_results(&self.families[index].signals, unit).join(", ");
            let reported = self.results.get(name).map_or(String::new(), |results| results.join(", "));
            Difference::between(index, name, &format!("jobs: {expected}"), &format!("jobs: {reported}"))
        };
        self.units().filter_map(compare).collect()
    }

    /// Compares the signalled states, in order.
    fn compare_states(&self) -> Vec<Difference> {
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let is_loaded = self.families[index].members[unit.0].was_always_enabled;
            let expected = story(states(&self.families[index].signals, unit, self.release), is_loaded);
            let reported = story(self.states.get(name).into_iter().flatten().cloned(), is_loaded);
            Difference::between(index, name, &expected, &reported)
        };
        self.units().filter_map(compare).collect()
    }

    /// Compares which invocations were stopped on request with what the journal has of them.
    fn check_journal(&self) {
        // "Stopping" and "Stopped".
        let ids = ["MESSAGE_ID=de5b426a63be47a7b6ac3eaac82e2f6f", "MESSAGE_ID=9d1aaa27d60140bd96365438aad20286"];
        let entries = self.sandbox.journal(&[&ids[..], &["JOB_TYPE=stop"]].concat());
        let logged: HashSet<_> = entries.iter().filter_map(|entry| entry["USER_INVOCATION_ID"].as_str()).collect();
        let words = |logged: bool| if logged { "stop logged" } else { "no stop logged" };
        let compare = |(id, (index, unit, number)): (&String, &(usize, UnitId, u64))| {
            let unit = self.families[*index].model.unit(*unit);
            let expected = words(unit.is_stop_logged(*number));
            Difference::between(*index, unit.name(), &expected, &words(logged.contains(id.as_str())))
        };
        self.fail(&self.invocations.iter().filter_map(compare).collect::<Vec<_>>());
    }

    /// Fails if there are differences; shows a few.
    fn fail(&self, differences: &[Difference]) {
        if differences.is_empty() {
            return;
        }
        let mut text = format!("model and manager differ in {} units\n", differences.len());
        for of_family in differences.chunk_by(|one, other| one.family == other.family).take(5) {
            for Difference { why, .. } in of_family {
                text.push_str(&format!("\n{why}"));
            }
            text.push_str(&format!("\n{}", self.families[of_family[0].family]));
        }
        panic!("{text}");
    }
}

/// The release of the manager in the sandbox.
fn release(sandbox: &Sandbox) -> u32 {
    let version = sandbox.systemctl(&["show", "--property=Version", "--value"]).expect("the manager answers");
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a version begins with a number")
}

/// A difference between the model and reality.
struct Difference {
    family: usize,
    why: String,
}

impl Difference {
    fn between<T: PartialEq + Display>(family: usize, unit: &str, model: &T, manager: &T) -> Option<Self> {
        let differs = model != manager;
        differs.then(|| Self { family, why: format!("{unit}\n  model:   {model}\n  manager: {manager}") })
    }
}

fn number(signal: ProcessSignal) -> i32 {
    match signal {
        ProcessSignal::Hup => 1,
        ProcessSignal::Int => 2,
        ProcessSignal::Kill => 9,
        ProcessSignal::Segv => 11,
        ProcessSignal::Pipe => 13,
        ProcessSignal::Term => 15,
    }
}

/// systemd's name of the error.
fn error_name(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Destructive => "TransactionIsDestructive",
        Refusal::Masked => "UnitMasked",
        Refusal::NotFound | Refusal::NotLoaded => "NoSuchUnit",
        Refusal::BadSetting => "BadUnitSetting",
        Refusal::Contradiction => "TransactionJobsConflicting",
        Refusal::NotApplicable => "JobTypeNotApplicable",
        Refusal::OnlyByDependency => "OnlyByDependency",
    }
}
