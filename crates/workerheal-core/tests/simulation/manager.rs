//! The edge to the model of systemd: what the real edge reads from D-Bus is read from the model here,
//! and beside it the truth is kept that the laws judge by.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::diagnosis::{Hopeless, Refusal};
use workerheal_core::healer::{Fact, Outcome};
use workerheal_core::probe::{Answer, Sighting};
use workerheal_core::units::{
    self, Detail, Fall, Inspection, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence, Transition, UnitFile,
    UnitName, UnitStatus,
};

use crate::laws::Seen;
use crate::model::{
    ActiveState, File, JobId, JobKind, JobResult, LoadState, Mode, Model, ProcessSignal, Refusal as Refused, Restart,
    Signal, Spec, Type, UnitId, Whim,
};
use crate::scenario::{self, Lives, NAMES, Plan, SECOND, UNITS};
use crate::world::Letter;

/// The truth about one unit.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    up: bool,
    up_since: Duration,
    /// For how long it was up when it last was.
    last_uptime: Duration,
    /// Since when it is down.
    down: Option<Duration>,
    /// Its user stopped it, and nobody has started it since.
    stopped: bool,
    /// That can be known: from the journal, or as the end of the stop was told.
    stop_can_be_known: bool,
    /// When the end of a stop was told that only this tells.
    stop_told: Option<Duration>,
    /// Somebody cleared its failure, and nobody has started it since.
    cleared: bool,
    /// The end of a start was told while signals were lost or overtook each other, and looks like that of a stop.
    looks_stopped: bool,
    /// Somebody has asked for a heal since it went down.
    wanted: bool,
    /// It was disabled after it went down, and after its file had been looked at.
    disabled_while_down: bool,
    file_seen: bool,
    /// A start of the healer's is on its way or under way; its job.
    asked: bool,
    job: Option<JobId>,
    /// How often it had run when that start was asked for.
    runs: u64,
    /// The start that was refused has been asked for once more, with its failure cleared.
    repeated: bool,
    /// The manager restarts it by itself, or has done so since it was last down for good.
    by_manager: bool,
    /// Somebody's start of it ended because a unit that it needs did not come up.
    kept: bool,
    directory_gone: bool,
}

pub struct Manager {
    pub model: Model,
    pub lives: Lives,
    truth: [Truth; UNITS],
    specs: Vec<Spec>,
    pub reloading: bool,
}

impl Manager {
    pub fn new(plan: Plan, chance: &mut Rng) -> Self {
        let mut model = Model::new();
        let specs = scenario::units(chance, &mut model);
        model.set_whim(Whim { last_job_first: chance.bool(), jobs_wait: chance.bool() });
        let lives = Lives::new(plan.chance(2), &specs);
        Self { model, lives, truth: [Truth::default(); UNITS], specs, reloading: false }
    }

    /// All units are enabled and come up.
    pub fn boot(&mut self) {
        for unit in (0..UNITS).map(UnitId) {
            self.with(|model, lives| model.enable(unit, lives));
        }
        for unit in (0..UNITS).map(UnitId) {
            let _ = self.with(|model, lives| model.start(unit, Mode::Replace, lives));
        }
        self.signals(Duration::ZERO, false);
    }

    /// Calls the model with the lives that its processes are to lead.
    pub fn with<T>(
        &mut self,
        call: impl FnOnce(&mut Model, &mut dyn FnMut(UnitId, Duration) -> crate::model::Life) -> T,
    ) -> T {
        let Self { model, lives, .. } = self;
        call(model, &mut |unit, now| lives.next(unit, now))
    }

    pub fn next_event(&self) -> Option<Duration> {
        self.model.next_event()
    }

    /// Lets time pass. Answers whether anything was due.
    pub fn advance(&mut self, to: Duration) -> bool {
        let due = self.model.next_event().is_some_and(|at| at <= to);
        self.with(|model, lives| model.advance(to, lives));
        due
    }

    /// What the manager has signalled since the last call, once the truth has been brought up to it.
    pub fn signals(&mut self, now: Duration, some_are_lost: bool) -> Vec<Signal> {
        let signals: Vec<Signal> = self.model.drain_signals().collect();
        for signal in &signals {
            match *signal {
                Signal::Changed { unit, active, job, auto_restart } => {
                    if !active.is_up() {
                        self.takes_along(unit, now);
                    }
                    let truth = &mut self.truth[unit.0];
                    if truth.up && active == ActiveState::Failed && some_are_lost {
                        // It died before the stop began: only what is signalled of that job tells.
                        truth.stop_can_be_known = false;
                    }
                    if truth.up && !active.is_up() {
                        truth.last_uptime = now - truth.up_since;
                    }
                    truth.up &= active.is_up();
                    match active {
                        // It may also have got a job, and be up as before; or have lost that, and not be stopped.
                        ActiveState::Reloading => {}
                        ActiveState::Active if truth.up => truth.stopped &= job.is_some(),
                        ActiveState::Active => {
                            *truth = Truth {
                                up: true,
                                up_since: now,
                                asked: truth.asked,
                                job: truth.job,
                                runs: truth.runs,
                                repeated: truth.repeated,
                                by_manager: truth.by_manager,
                                directory_gone: truth.directory_gone,
                                ..Truth::default()
                            };
                        }
                        ActiveState::Inactive | ActiveState::Failed => {
                            truth.down.get_or_insert(now);
                            truth.by_manager = false;
                        }
                        // Somebody has it started, be it for the sake of another unit: that is newer.
                        ActiveState::Activating => {
                            (truth.down, truth.stopped, truth.cleared, truth.kept) = (None, false, false, false);
                            truth.by_manager |= auto_restart;
                            (truth.disabled_while_down, truth.file_seen) = (false, false);
                        }
                        ActiveState::Deactivating => truth.down = None,
                    }
                }
                Signal::Reloading(reloading) => self.reloading = reloading,
                Signal::JobRemoved { unit, kind: JobKind::Stop, result: JobResult::Canceled, .. } => {
                    // Somebody wants it up after all.
                    self.truth[unit.0].stopped = false;
                }
                Signal::JobRemoved { unit, result: JobResult::Dependency, .. } => self.truth[unit.0].kept = true,
                Signal::JobRemoved { .. } | Signal::UnitNew(_) => {}
                Signal::UnitRemoved(unit) if self.model.unit(unit).is_in_memory() => {}
                Signal::UnitRemoved(unit) => {
                    let truth = &mut self.truth[unit.0];
                    truth.down.get_or_insert(now);
                }
            }
        }
        signals
    }

    /// A unit goes down. Of a child that is stopped at the same time nobody could tell whether it was meant.
    fn takes_along(&mut self, parent: UnitId, now: Duration) {
        for index in 0..UNITS {
            let needs_it = self.specs[index].parents.iter().any(|dependency| dependency.parent == parent);
            if needs_it && self.truth[index].down.is_none_or(|down| now <= down + SECOND) {
                self.truth[index].stop_can_be_known = false;
            }
        }
    }

    /// A signal as the connection to the manager makes it out.
    pub fn letter(&self, signal: &Signal, names: &[UnitName; UNITS]) -> Option<Letter> {
        match *signal {
            Signal::Changed { unit, active, auto_restart, job } => {
                let name = names[unit.0].clone();
                let (active, has_job) = (state(active), job.is_some());
                let status = UnitStatus { name, load: None, active, has_job, auto_restart };
                Some(Letter::Tell(Fact::Changed(status)))
            }
            Signal::JobRemoved { job, unit, result, kind } => {
                if self.truth[unit.0].job == Some(job) {
                    return Some(Letter::Ended(unit.0, job.0, outcome(result)));
                }
                let name = names[unit.0].clone();
                match result {
                    JobResult::Done if kind != JobKind::Nop => Some(Letter::Tell(Fact::JobDone(name))),
                    JobResult::Dependency => Some(Letter::Tell(Fact::KeptFromStarting(name))),
                    _ => None,
                }
            }
            Signal::Reloading(true) => Some(Letter::Tell(Fact::Frozen)),
            Signal::Reloading(false) | Signal::UnitRemoved(_) => Some(Letter::List),
            Signal::UnitNew(_) => None,
        }
    }

    pub fn list(&self, names: &[UnitName; UNITS]) -> Vec<UnitStatus> {
        let loaded = self.model.units().iter().zip(names).filter(|(unit, _)| unit.is_in_memory());
        loaded
            .map(|(unit, name)| UnitStatus {
                name: name.clone(),
                load: Some(load(unit.load())),
                active: state(unit.active()),
                has_job: unit.job().is_some(),
                auto_restart: unit.is_auto_restart(),
            })
            .collect()
    }

    /// What a close look shows.
    pub fn inspect(&self, index: usize, detail: Detail, no_journal: bool) -> Inspection {
        let unit = self.model.unit(UnitId(index));
        let (spec, now) = (unit.spec(), self.model.now());
        let active = state(unit.active());
        let is_up = active.is_up();
        let stop = detail.stop.then(|| match unit.invocation() {
            _ if no_journal => StopEvidence::Unknown("the journal is gone".to_owned()),
            None if self.truth[index].kept => StopEvidence::KeptFromStarting,
            None => StopEvidence::Unknown("it never ran".to_owned()),
            Some(run) if unit.is_stop_logged(run) => StopEvidence::Requested,
            Some(_) => StopEvidence::NotRequested,
        });
        let last_run = unit.active_exit().zip(unit.active_enter()).and_then(|(exit, enter)| exit.checked_sub(enter));
        let parents = spec.parents.iter().map(|dependency| {
            let parent = self.model.unit(dependency.parent);
            let active = state(parent.active());
            Parent {
                name: format!("{}.service", NAMES[dependency.parent.0]),
                active,
                stopping: parent.job().is_some_and(|job| job.kind == JobKind::Stop),
                left: parent.active_exit(),
                finished: false,
                stops_when_unneeded: false,
                stopped_later: false,
            }
        });
        Inspection {
            load: load(unit.load()),
            active,
            has_job: unit.job().is_some(),
            up_for: unit.active_enter().filter(|_| is_up).map(|since| now - since),
            down_for: self.truth[index].down.filter(|_| unit.active().is_down()).map(|since| now - since),
            at: now,
            began: unit.active_enter(),
            transition: matches!(active, units::ActiveState::Activating | units::ActiveState::Deactivating)
                .then(|| Transition { lasts: now - unit.state_change(), limit: Some(270 * SECOND) }),
            fall: unit.active_exit().zip(self.truth[index].down).map(|(left, down)| Fall { left, down }),
            result: result(unit.result()),
            restart: restart(spec.restart),
            restart_prevented: unit.is_restart_prevented().then(|| "status 1".to_owned()),
            oneshot: spec.kind == Type::Oneshot,
            file: (detail.file && !unit.is_masked()).then(|| UnitFile {
                enabled: unit.is_enabled(),
                on_demand: false,
                definition: unit.definition(),
            }),
            run: (detail.file || detail.stop).then(|| unit.invocation().map(|run| run.to_string()).unwrap_or_default()),
            restarts: (detail.restarts || unit.is_auto_restart())
                .then(|| Restarts { count: unit.n_restarts(), last_run }),
            auto_restart: unit.is_auto_restart(),
            since: None,
            working_directory: Some(PathBuf::from("/srv")),
            directory_gone: self.truth[index].directory_gone,
            container: false,
            parents: parents.collect(),
            pulls_in: Vec::new(),
            conflicts: Vec::new(),
            stopped_groups: Vec::new(),
            triggers: Vec::new(),
            failed_sockets: Vec::new(),
            clearable: true,
            stop,
            said: None,
        }
    }

    /// The truth at the moment of a look that decides about a start.
    pub fn seen(&self, index: usize) -> Seen {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active() == ActiveState::Active;
        Seen {
            stopped_by_user: truth.stopped && truth.stop_can_be_known,
            masked: unit.load() == LoadState::Masked,
            disabled_while_down: truth.disabled_while_down,
            somebodys_job: unit.job().is_some(),
            parent_down: unit.spec().parents.iter().any(|dependency| !up(dependency.parent)),
            directory_gone: truth.directory_gone,
            down: unit.active().is_down(),
        }
    }

    /// The healer learns that the unit was enabled when it had been down since this fall.
    pub fn file_was_seen(&mut self, index: usize, fall: Option<Fall>) {
        let truth = &mut self.truth[index];
        truth.file_seen |= truth.down.is_some() && fall.map(|fall| fall.down) == truth.down;
    }

    pub fn start_is_asked_for(&mut self, index: usize) {
        let runs = self.model.unit(UnitId(index)).runs();
        let truth = &mut self.truth[index];
        (truth.asked, truth.repeated, truth.runs) = (true, false, runs);
    }

    /// Whether a start of the healer's failed because of the start limit, so that it takes clearing the failure.
    pub fn is_to_be_cleared(&mut self, index: usize, outcome: &Outcome) -> bool {
        let runs = self.model.unit(UnitId(index)).runs();
        let truth = &mut self.truth[index];
        matches!(outcome, Outcome::Failed(_)) && runs == truth.runs && !std::mem::replace(&mut truth.repeated, true)
    }

    /// The healer takes back a start that overtook a stop.
    pub fn stop(&mut self, index: usize) {
        let _ = self.with(|model, lives| model.stop(UnitId(index), Mode::Replace, lives));
    }

    /// Whether it was started by its user or for the sake of another unit, rather than by the manager or the healer.
    pub fn is_started_by_others(&self, index: usize) -> bool {
        !self.truth[index].asked && !self.truth[index].by_manager
    }

    /// The healer's start reaches the manager. Answers how it ended if there is no job for it.
    pub fn start(&mut self, index: usize, restart: bool, cleared: bool) -> Option<Outcome> {
        let unit = UnitId(index);
        let job = if restart {
            self.with(|model, lives| model.restart(unit, Mode::Fail, lives))
        } else {
            if cleared {
                let _ = self.with(|model, lives| model.reset_failed(unit, lives));
            }
            self.with(|model, lives| model.start(unit, Mode::Fail, lives))
        };
        match job {
            Ok(job) => {
                self.truth[index].job = Some(job);
                None
            }
            Err(refused) => Some(match refused {
                Refused::Masked => Outcome::Refused(Refusal::Masked, "masked".to_owned()),
                Refused::NotFound | Refused::NotLoaded => Outcome::Impossible(Hopeless::NotFound),
                Refused::BadSetting => Outcome::Impossible(Hopeless::BadSetting),
                Refused::Contradiction | Refused::NotApplicable | Refused::OnlyByDependency => {
                    Outcome::NotStarted("the service manager refuses it".to_owned())
                }
                Refused::Destructive => Outcome::Refused(Refusal::JobPending, "a job is in the way".to_owned()),
            }),
        }
    }

    pub fn is_awaited(&self, index: usize, job: u64) -> bool {
        self.truth[index].asked && self.truth[index].job == Some(JobId(job))
    }

    pub fn end_of_start_told(&mut self, index: usize) {
        (self.truth[index].asked, self.truth[index].job) = (false, None);
    }

    pub fn starts_under_way(&self) -> Vec<usize> {
        (0..UNITS).filter(|unit| self.truth[*unit].asked).collect()
    }

    pub fn forget_starts(&mut self) {
        (0..UNITS).for_each(|unit| self.end_of_start_told(unit));
    }

    /// Ends of starts whose signal was lost: their job is listed no longer.
    pub fn missed_ends(&self) -> Vec<(usize, u64, Outcome)> {
        let gone = (0..UNITS).filter_map(|index| {
            let job = self.truth[index].job.filter(|_| self.truth[index].asked)?;
            let unit = self.model.unit(UnitId(index));
            if unit.job().is_some_and(|current| current.id == job) {
                return None;
            }
            let outcome = match unit.active() {
                _ if !unit.is_in_memory() => Outcome::NotStarted("was unloaded while it was being started".to_owned()),
                ActiveState::Failed => Outcome::Failed("could not be started".to_owned()),
                _ => Outcome::Done,
            };
            Some((index, job.0, outcome))
        });
        gone.collect()
    }

    pub fn probe(&self, index: usize, silent: bool) -> Sighting {
        let unit = self.model.unit(UnitId(index));
        let up = unit.active_enter().filter(|_| unit.active() == ActiveState::Active);
        let answer = match up {
            Some(_) if silent => Answer::Refused("127.0.0.1:5173".to_owned()),
            Some(_) => Answer::Accepted,
            None => Answer::Refused("127.0.0.1:5173".to_owned()),
        };
        Sighting { answer, up_for: up.map(|since| self.model.now() - since), file_age: None }
    }

    pub fn is_oneshot(&self, index: usize) -> bool {
        self.specs[index].kind == Type::Oneshot
    }

    /// Whether it has been up for so long without a break, or had been when it went down.
    pub fn has_been_up_for(&self, index: usize, time: Duration) -> bool {
        let truth = &self.truth[index];
        let uptime = if truth.up { self.model.now() - truth.up_since } else { truth.last_uptime };
        // What is told a moment later had been so a moment ago.
        uptime + SECOND >= time
    }

    /// Whether nothing stands against healing it, for all that can be known.
    pub fn is_healable(&self, index: usize) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active() == ActiveState::Active;
        unit.active() == ActiveState::Failed
            && unit.load() == LoadState::Loaded
            && unit.job().is_none()
            && unit.is_enabled()
            && !truth.stopped
            && !truth.cleared
            && !truth.looks_stopped
            && !truth.directory_gone
            && unit.spec().parents.iter().all(|dependency| up(dependency.parent))
            && unit.invocation().is_some_and(|run| !unit.is_stop_logged(run))
            && unit.active_exit().is_some()
    }

    // What people do.

    pub fn person_stops(&mut self, index: usize) {
        let unit = UnitId(index);
        let state = self.model.unit(unit).active();
        let now = self.model.now();
        let goes_down = |parent: UnitId| {
            let parent = self.model.unit(parent);
            let has_just_gone = parent.active_exit().is_some_and(|left| now <= left + SECOND);
            let is_about_to = parent.job().is_some_and(|job| job.kind == JobKind::Stop);
            is_about_to || (parent.active() != ActiveState::Active && has_just_gone)
        };
        let lost_its_parent = self.specs[index].parents.iter().any(|it| goes_down(it.parent));
        if self.with(|model, lives| model.stop(unit, Mode::Replace, lives)).is_ok() {
            self.takes_along(unit, now);
            let truth = &mut self.truth[index];
            // Of one that is down already only the end of the stop tells, see `stop_was_told`; and of one that its
            // parent takes down just now, nothing does.
            let known = matches!(state, ActiveState::Active | ActiveState::Activating) && !lost_its_parent;
            (truth.stopped, truth.stop_can_be_known) = (true, known || (truth.stopped && truth.stop_can_be_known));
        }
    }

    /// The end of a stop reached the healer while the unit had been down for a while, so that it cannot be taken for
    /// anything else.
    pub fn stop_was_told(&mut self, index: usize) {
        let now = self.model.now();
        let truth = &mut self.truth[index];
        if truth.stopped && truth.down.is_some_and(|since| now > since + 10 * SECOND) {
            truth.stop_can_be_known = true;
            truth.stop_told = Some(now);
        }
    }

    pub fn end_of_job_may_mislead(&mut self, index: usize) {
        self.truth[index].looks_stopped = true;
    }

    /// The daemon is gone, and what it was told last it may not have got to look into.
    pub fn listener_is_gone(&mut self) {
        let now = self.model.now();
        for truth in &mut self.truth {
            if truth.stop_told.is_some_and(|told| now <= told + 10 * SECOND) {
                truth.stop_can_be_known = false;
            }
        }
    }

    /// The daemon was killed before it had written down what it knew.
    pub fn memory_is_lost(&mut self) {
        for (index, truth) in self.truth.iter_mut().enumerate() {
            let unit = self.model.unit(UnitId(index));
            let logged = unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
            truth.stop_can_be_known &= logged;
            // That wish may not have been written down, and an earlier stop may.
            truth.cleared |= truth.wanted;
            truth.disabled_while_down = false;
        }
    }

    /// What is down and somebody starts is no longer stopped once it is on its way up, see `signals`.
    fn person_wants_it_up(&mut self, index: usize) {
        if !self.model.unit(UnitId(index)).active().is_down() {
            (self.truth[index].stopped, self.truth[index].cleared) = (false, false);
        }
    }

    pub fn person_starts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.start(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_restarts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.restart(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_resets(&mut self, index: usize) {
        let _ = self.with(|model, lives| model.reset_failed(UnitId(index), lives));
        self.truth[index].cleared = true;
    }

    /// Somebody asks for a heal: whatever they wanted before is history.
    pub fn person_wants_it_healed(&mut self, index: usize) {
        let truth = &mut self.truth[index];
        (truth.stopped, truth.cleared, truth.disabled_while_down) = (false, false, false);
        (truth.wanted, truth.file_seen) = (true, false);
    }

    pub fn kill(&mut self, index: usize) {
        let _ = self.model.kill(UnitId(index), ProcessSignal::Kill);
    }

    pub fn mask(&mut self, index: usize, masked: bool) {
        let unit = UnitId(index);
        if masked {
            self.with(|model, lives| model.mask(unit, lives));
        } else {
            self.with(|model, lives| model.unmask(unit, lives));
        }
    }

    pub fn enable(&mut self, index: usize, enabled: bool) {
        let unit = UnitId(index);
        if enabled {
            self.truth[index].disabled_while_down = false;
            self.with(|model, lives| model.enable(unit, lives));
        } else {
            let truth = &mut self.truth[index];
            truth.disabled_while_down |= truth.down.is_some() && truth.file_seen;
            self.with(|model, lives| model.disable(unit, lives));
        }
    }

    pub fn edit(&mut self, index: usize, file: Option<File>) {
        let file = file.unwrap_or_else(|| File::Good(self.specs[index].clone()));
        self.model.edit(UnitId(index), file);
        self.with(|model, lives| model.daemon_reload(lives));
    }

    pub fn reload(&mut self) {
        self.with(|model, lives| model.daemon_reload(lives));
    }

    pub fn lose_directory(&mut self, index: usize, gone: bool) {
        self.truth[index].directory_gone = gone;
    }

    pub fn describe(&self, index: usize) -> String {
        let unit = self.model.unit(UnitId(index));
        format!(
            "{}: {} load={} job={} restarts={} masked={} enabled={} {:?}\n    {:?}",
            NAMES[index],
            unit.active().as_str(),
            unit.load().as_str(),
            unit.job().is_some(),
            unit.n_restarts(),
            unit.is_masked(),
            unit.is_enabled(),
            self.truth[index],
            unit.spec(),
        )
    }
}

fn state(active: ActiveState) -> units::ActiveState {
    match active {
        ActiveState::Inactive => units::ActiveState::Inactive,
        ActiveState::Failed => units::ActiveState::Failed,
        ActiveState::Activating => units::ActiveState::Activating,
        ActiveState::Active => units::ActiveState::Active,
        ActiveState::Reloading => units::ActiveState::Reloading,
        ActiveState::Deactivating => units::ActiveState::Deactivating,
    }
}

fn load(load: LoadState) -> units::LoadState {
    units::LoadState::from(load.as_str())
}

fn result(result: crate::model::ServiceResult) -> ServiceResult {
    ServiceResult::from(result.as_str())
}

fn restart(policy: Restart) -> RestartPolicy {
    match policy {
        Restart::No => RestartPolicy::No,
        Restart::OnSuccess => RestartPolicy::OnSuccess,
        Restart::OnFailure => RestartPolicy::OnFailure,
        Restart::OnAbnormal => RestartPolicy::OnAbnormal,
        Restart::OnAbort => RestartPolicy::OnAbort,
        Restart::OnWatchdog => RestartPolicy::OnWatchdog,
        Restart::Always => RestartPolicy::Always,
    }
}

/// What the result of a start job means, as the real edge makes it out.
fn outcome(result: JobResult) -> Outcome {
    match result {
        JobResult::Done => Outcome::Done,
        JobResult::Failed => Outcome::Failed("could not be started".to_owned()),
        JobResult::Timeout => Outcome::Failed("its start took longer than its unit allows".to_owned()),
        JobResult::Dependency => Outcome::NotStarted("a unit that it depends on could not be started".to_owned()),
        JobResult::Canceled => Outcome::Cancelled,
        JobResult::Skipped | JobResult::Invalid => {
            Outcome::NotStarted("its start was skipped by the service manager".to_owned())
        }
    }
}
