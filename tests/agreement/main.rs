//! That the model of systemd, on which the simulation rests, and real systemd agree.
//!
//! Families of units, one unit or a parent with children, go through random operations in lockstep: each round does
//! one to every family, in the model and in a sandbox with the real manager, waits until the manager is where the model
//! says that it will come to rest, and compares all that can be seen. Sequences with a race in them, whose end depends
//! on how long a process takes, are not generated (see [`family::Family::next`]).
//!
//! `WORKERHEAL_SEED` repeats a run.

#![cfg(target_os = "linux")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod family;
#[expect(dead_code, reason = "the simulation uses the rest of it")]
#[path = "../simulation/model/mod.rs"]
mod model;
mod reality;

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::time::{Duration, Instant};

use fastrand::Rng;
use workerheal_sandbox::Sandbox;

use family::{Family, Operation, PAUSE, View, changes, job_results};
use model::{Mode, ProcessSignal, Refusal, UnitId};
use reality::{Reality, State, Told};

const FAMILIES: usize = 220;
const ROUNDS: usize = 10;
/// What has not happened by then does not happen.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn the_model_and_the_manager_agree() {
    let seed = std::env::var("WORKERHEAL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("WORKERHEAL_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new(&mut rng);
    for round in 0..ROUNDS {
        let begin = Instant::now();
        // Whatever reloads concerns everybody.
        let reloads = rng.u8(0..5) == 0;
        world.round(reloads, &mut rng);
        world.settle();
        // As in the model: a masked unit loses its settings, and by the default ones a timer may have elapsed.
        while begin.elapsed() < PAUSE {
            std::thread::sleep(PAUSE.saturating_sub(begin.elapsed()));
        }
        println!("round {round}{}: {:.1?}", if reloads { " (reload)" } else { "" }, begin.elapsed());
    }
    world.fail(&world.compare_changes());
    world.check_journal();
}

/// The families, and where they really are.
struct World {
    sandbox: Sandbox,
    reality: Reality,
    families: Vec<Family>,
    /// By unit, what the manager told of the ends of its jobs.
    results: HashMap<String, Vec<String>>,
    /// By unit, the states that the manager told of.
    changes: HashMap<String, Vec<State>>,
    /// By the manager's id of an invocation, its unit and the model's number.
    invocations: HashMap<String, (usize, UnitId, u64)>,
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let sandbox = Sandbox::start().unwrap_or_else(|error| panic!("{error}"));
        let families: Vec<Family> = (0..FAMILIES).map(|number| Family::generate(number, rng)).collect();
        let mut made = sandbox.command("mkfifo");
        assert!(made.arg(sandbox.home().join("silence")).status().is_ok_and(|status| status.success()));
        let wants = sandbox.home().join(".config/systemd/user/default.target.wants");
        fs::create_dir_all(&wants).expect("it can be made");
        for family in &families {
            family.write(&sandbox);
            for name in family.names().filter(|_| family.is_enabled()) {
                let file = sandbox.home().join(".local/share/systemd/user").join(name);
                std::os::unix::fs::symlink(file, wants.join(name)).expect("it can be enabled");
            }
        }
        sandbox.daemon_reload();
        let reality = Reality::connect(&sandbox);
        let (results, changes, invocations) = (HashMap::new(), HashMap::new(), HashMap::new());
        let world = Self { sandbox, reality, families, results, changes, invocations };
        world.reality.told();
        world
    }

    /// One operation for each family, in the model and in reality.
    fn round(&mut self, reloads: bool, rng: &mut Rng) {
        let (mut masked, mut unmasked) = (Vec::new(), Vec::new());
        let mut differences = Vec::new();
        for index in 0..self.families.len() {
            let family = &mut self.families[index];
            let (unit, operation, expected) = family.next(reloads, rng);
            let name = family.model.unit(unit).name().to_owned();
            match operation {
                Operation::Mask => masked.push(name),
                Operation::Unmask => unmasked.push(name),
                Operation::Reload => {}
                Operation::Behave(_) => self.behave(index, unit),
                _ => {
                    let outcome = self.perform(&name, operation);
                    let expected = expected.err().map_or("accepted", error_name);
                    let difference = Difference::between(index, &name, &expected, &outcome.as_str());
                    differences.extend(difference);
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

    fn behave(&self, index: usize, unit: UnitId) {
        let (name, script) = self.families[index].script(unit);
        let path = self.sandbox.home().join("life").join(name);
        let new = path.with_extension("new");
        fs::write(&new, script).and_then(|()| fs::rename(&new, &path)).expect("it can be written");
    }

    /// Performs an operation, and returns the manager's answer.
    fn perform(&self, unit: &str, operation: Operation) -> String {
        let job = |method: &'static str, mode: Mode| {
            let mode = if mode == Mode::Fail { "fail" } else { "replace" };
            self.reality.call(method, &(unit, mode))
        };
        let answer = match operation {
            Operation::Start(mode) => job("StartUnit", mode),
            Operation::Stop(mode) => job("StopUnit", mode),
            Operation::Restart(mode) => job("RestartUnit", mode),
            Operation::TryRestart(mode) => job("TryRestartUnit", mode),
            Operation::Kill(signal) => self.reality.call("KillUnit", &(unit, "main", number(signal))),
            Operation::ResetFailed => self.reality.call("ResetFailedUnit", &unit),
            Operation::Mask | Operation::Unmask | Operation::Reload | Operation::Behave(_) => unreachable!(),
        };
        answer.map_or_else(|error| error, |_| "accepted".to_owned())
    }

    /// Waits until the manager is where the model is, and compares all that can be seen.
    fn settle(&mut self) {
        let begin = Instant::now();
        loop {
            let differences = self.compare_lists();
            if differences.is_empty() {
                break;
            }
            if begin.elapsed() > DEADLINE {
                self.fail(&differences);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let differences = self.compare_details();
        self.fail(&differences);
        let differences = self.compare_jobs();
        self.fail(&differences);
    }

    fn units(&self) -> impl Iterator<Item = (usize, UnitId, &str)> {
        self.families
            .iter()
            .enumerate()
            .flat_map(|(index, family)| family.names().enumerate().map(move |(unit, name)| (index, UnitId(unit), name)))
    }

    fn compare_lists(&self) -> Vec<Difference> {
        let listed = self.reality.list();
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let expected = self.families[index].view(unit);
            let view = View { listed: listed.get(name).cloned(), runs: self.runs(name), ..expected.clone() };
            Difference::between(index, name, &expected, &view)
        };
        self.units().filter_map(compare).collect()
    }

    fn compare_details(&mut self) -> Vec<Difference> {
        // A look would load what is not in memory.
        let in_memory = |(index, unit, _): &(usize, UnitId, &str)| self.families[*index].view(*unit).listed.is_some();
        let units: Vec<_> = self.units().filter(in_memory).collect();
        let views = units.iter().map(|(index, unit, name)| ((*name).to_owned(), self.families[*index].view(*unit)));
        let looked = self.reality.look(views.collect());
        let (mut differences, mut invocations) = (Vec::new(), Vec::new());
        for ((index, unit, name), (_, view, id)) in units.into_iter().zip(looked) {
            differences.extend(Difference::between(index, name, &self.families[index].view(unit), &view));
            if let Some(number) = self.families[index].model.unit(unit).invocation() {
                invocations.push((id, (index, unit, number)));
            }
        }
        self.invocations.extend(invocations);
        differences
    }

    fn runs(&self, unit: &str) -> u64 {
        fs::metadata(self.sandbox.home().join("runs").join(unit)).map_or(0, |data| data.len())
    }

    /// Compares how jobs have ended, in order.
    fn compare_jobs(&mut self) -> Vec<Difference> {
        for told in self.reality.told() {
            match told {
                Told::JobRemoved { unit, result } => self.results.entry(unit).or_default().push(result),
                Told::Changed { unit, state } => self.changes.entry(unit).or_default().push(state),
            }
        }
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let expected = job_results(&self.families[index].signals, unit);
            let results = self.results.get(name).map_or(&[][..], |results| results);
            Difference::between(index, name, &format!("{expected:?}"), &format!("{results:?}"))
        };
        self.units().filter_map(compare).collect()
    }

    /// Compares the states that were told, in order. Whether a unit that has just been loaded is told to have a job
    /// before it starts follows no rule, and is left out.
    fn compare_changes(&self) -> Vec<Difference> {
        let words = |states: &mut dyn Iterator<Item = State>| {
            let inactive = ("inactive".to_owned(), false, false);
            let mut states: Vec<State> = std::iter::once(inactive).chain(states).collect();
            states.retain(|(active, _, has_job)| active != "inactive" || !has_job);
            states.dedup();
            let word = |(active, auto_restart, has_job): State| {
                let auto_restart = if auto_restart { " (auto-restart)" } else { "" };
                format!("{active}{auto_restart}{}", if has_job { " with job" } else { "" })
            };
            states.into_iter().map(word).collect::<Vec<_>>().join(", ")
        };
        let compare = |(index, unit, name): (usize, UnitId, &str)| {
            let expected = words(&mut changes(&self.families[index].signals, unit));
            let told = words(&mut self.changes.get(name).into_iter().flatten().cloned());
            Difference::between(index, name, &expected, &told)
        };
        self.units().filter_map(compare).collect()
    }

    /// Compares which invocations were stopped on request with what the journal has of them.
    fn check_journal(&self) {
        let entries = self.sandbox.journal(&["MESSAGE_ID=de5b426a63be47a7b6ac3eaac82e2f6f", "JOB_TYPE=stop"]);
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
            of_family.iter().for_each(|difference| text.push_str(&format!("\n{}", difference.why)));
            text.push_str(&format!("\n{}", self.families[of_family[0].family]));
        }
        panic!("{text}");
    }
}

/// Something that is not the same in the model and in reality.
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
    }
}
