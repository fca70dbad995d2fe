//! The edge to the model of systemd: what the real edge reads from D-Bus is read from the model here,
//! and beside it the truth is kept that the laws judge by.

use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use workerheal_core::diagnosis::{Refusal, Unrecoverable};
use workerheal_core::healer::{Fact, Outcome};
use workerheal_core::probe::{ProbeAnswer, ProbeResult};
use workerheal_core::rules::Start;
use workerheal_core::units::{
    self, Deactivation, Detail, Inspection, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence, StoppedGroup,
    Transition, UnitFile, UnitName, UnitStatus,
};

use crate::laws::{Breach, Seen};
use crate::model::{
    ActiveState, Bond, File, JobId, JobKind, JobResult, LoadState, Mode, Model, Origin, Refusal as Refused, Restart,
    Signal, Spec, Type, Unit, UnitId, Whim,
};
use crate::scenario::{self, FIRST_HELPER, Family, Lives, NAMES, Plan, SECOND, UNITS};
use crate::world::Message;

/// A start of the healer's may overtake a stop that was asked for so long before.
const OVERTAKEN_WITHIN: Duration = Duration::from_secs(120);
/// What happens within this time reaches the healer in one batch of signals.
const SAME_MOMENT: Duration = Duration::from_millis(50);

/// The truth about one unit.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    up: bool,
    up_since: Duration,
    /// For how long it was up when it last was.
    last_uptime: Duration,
    /// The longest of its uptimes that have ended and not been asked for.
    longest_uptime: Duration,
    /// When a person last stopped it.
    last_stop: Option<Duration>,
    /// Since when it is down.
    down: Option<Duration>,
    /// A person stopped it, and it has not been started since.
    stopped: bool,
    /// That can be known: from the journal, or as the end of the stop was told.
    stop_can_be_known: bool,
    /// When the end of a stop was told that only this tells.
    stop_told: Option<Duration>,
    /// A person cleared its failure, and it has not been started since.
    cleared: bool,
    /// The end of a start was told while signals were lost or overtook each other, and looks like that of a stop.
    looks_stopped: bool,
    /// A heal was requested since it went down.
    wanted: bool,
    /// It was disabled since it last began to come up.
    disabled: bool,
    /// It was disabled after it went down, and after its file had been looked at.
    disabled_while_down: bool,
    file_seen: bool,
    /// A start of the healer's is on its way or under way; its job.
    asked: bool,
    job: Option<JobId>,
    /// The manager restarts it by itself, or has done so since it was last down for good.
    by_manager: bool,
    /// A person's start of it ended because a unit that it needs did not come up.
    kept: bool,
    directory_gone: bool,
    /// A unit that it needs took it along, as the healer could see.
    taken_along: bool,
    /// As that, and the healer could see it.
    kept_seen: bool,
    /// A person cleared the mark of its failure while it was enabled, and the healer could see that.
    reset: bool,
    /// It was stopped with a group that it is part of.
    with_group: bool,
    /// When its user stopped it while a start of the healer's was on its way or under way.
    obey: Option<Duration>,
}

/// A start of the healer's, as the connection to the manager performs it.
#[derive(Debug, Clone)]
struct Starting {
    start: Start,
    step: Step,
    /// The unit has been seen to do more than to be down.
    began: bool,
    /// Which of its starts it is.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// It is taken down, so that what has to be up before it can be started.
    Stop,
    Start,
    /// Its failure was cleared, and it is started once more.
    StartCleared,
}

pub struct Manager {
    pub model: Model,
    pub lives: Lives,
    pub family: Family,
    truth: [Truth; UNITS],
    specs: Vec<Spec>,
    starting: [Option<Starting>; UNITS],
    starts: u64,
    /// The last job that each unit was told to have.
    told_jobs: [Option<JobId>; UNITS],
    /// The unit whose start is just being queued in the place of other jobs.
    overriding: Option<usize>,
    /// The job that isolates a target, and the last that has.
    isolating: Option<JobId>,
    isolated: Option<JobId>,
    pub reloading: bool,
    /// How often the machine was booted.
    boots: u64,
    whim: Whim,
    /// When the healer last looked at each unit to decide about a start.
    inspected_at: [Duration; UNITS],
}

impl Manager {
    pub fn new(plan: Plan, chance: &mut Rng) -> Self {
        let family = Family::of(plan);
        let specs = scenario::units(chance, family);
        let whim = Whim { last_job_first: chance.bool(), jobs_wait: chance.bool() };
        let lives = Lives::new(plan.chance(2), &specs, family);
        Self {
            model: Model::new(),
            lives,
            family,
            truth: [Truth::default(); UNITS],
            specs,
            starting: [const { None }; UNITS],
            starts: 0,
            told_jobs: [None; UNITS],
            overriding: None,
            isolating: None,
            isolated: None,
            reloading: false,
            boots: 0,
            whim,
            inspected_at: [Duration::ZERO; UNITS],
        }
    }

    /// The machine is booted: what is enabled comes up.
    pub fn boot(&mut self, now: Duration) {
        let before = std::mem::take(&mut self.model);
        self.boots += 1;
        scenario::install(&mut self.model, &self.specs, self.family);
        self.model.set_whim(self.whim);
        self.with(|model, lives| model.advance(now, lives));
        for (index, truth) in self.truth.iter_mut().enumerate() {
            *truth = Truth { directory_gone: truth.directory_gone, ..Truth::default() };
            (self.starting[index], self.told_jobs[index]) = (None, None);
        }
        (self.isolating, self.isolated) = (None, None);
        for index in 0..UNITS {
            let (unit, was) = (UnitId(index), before.units().get(index));
            if was.is_some_and(Unit::is_masked) {
                self.with(|model, lives| model.mask(unit, lives));
            }
            if was.map_or(self.family.enables(index) || index < scenario::FIRST_OF_FAMILY, Unit::is_enabled) {
                self.with(|model, lives| model.enable(unit, lives));
            }
        }
        // Sockets and targets come before what they are for.
        for index in (FIRST_HELPER..UNITS).chain(0..FIRST_HELPER) {
            let starts = index < scenario::FIRST_OF_FAMILY || self.family.starts(index);
            if starts && (self.boots == 1 || self.model.unit(UnitId(index)).is_enabled()) {
                let _ = self.with(|model, lives| model.start(UnitId(index), Mode::Replace, lives));
            }
        }
        self.signals(now, [false; UNITS]);
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

    /// Whether the manager has signalled anything since the last call of `signals`.
    pub fn has_signals(&self) -> bool {
        self.model.has_signals()
    }

    /// What the manager has signalled since the last call, once the truth has been brought up to it. `is_watched`: of
    /// which units the healer gets to see all of it.
    pub fn signals(&mut self, now: Duration, is_watched: [bool; UNITS]) -> Vec<Signal> {
        let signals: Vec<Signal> = self.model.drain_signals().collect();
        self.isolated = None;
        for signal in &signals {
            if let Signal::JobRemoved { job, .. } = *signal
                && self.isolating == Some(job)
            {
                self.isolated = self.isolating.take();
            }
            match *signal {
                Signal::Changed { unit, active, job, auto_restart } => {
                    self.takes_along(unit, active, now);
                    self.changed(unit, active, job, auto_restart, is_watched[unit.0], now);
                }
                Signal::Reloading(reloading) => self.reloading = reloading,
                Signal::JobRemoved { unit, kind: JobKind::Stop, result: JobResult::Canceled, .. } => {
                    // A person wants it up after all, unless the healer did this.
                    if self.overriding == Some(unit.0) {
                        self.truth[unit.0].obey.get_or_insert(now);
                    } else {
                        self.truth[unit.0].stopped = false;
                    }
                }
                Signal::JobRemoved { unit, result: JobResult::Dependency, .. } => {
                    let is_kept_loaded = self.model.unit(unit).is_enabled();
                    let truth = &mut self.truth[unit.0];
                    truth.kept = true;
                    truth.kept_seen = is_watched[unit.0] && is_kept_loaded && !truth.asked;
                    // A person wanted it up since, which this alone tells of one that was stopped.
                    truth.looks_stopped |= truth.stopped && !truth.asked && !truth.kept_seen;
                    truth.stopped &= truth.asked;
                }
                Signal::JobRemoved { .. } | Signal::UnitNew(_) => {}
                Signal::UnitRemoved(unit) if self.model.unit(unit).is_in_memory() => {}
                Signal::UnitRemoved(unit) => {
                    let truth = &mut self.truth[unit.0];
                    truth.down.get_or_insert(now);
                    // It was not enabled, so the healer dismisses it; and with it all is forgotten that could be asked.
                    truth.stop_can_be_known = false;
                }
            }
        }
        signals
    }

    fn changed(
        &mut self,
        unit: UnitId,
        active: ActiveState,
        job: Option<JobId>,
        auto_restart: bool,
        is_watched: bool,
        now: Duration,
    ) {
        if let Some(starting) = &mut self.starting[unit.0] {
            starting.began |= !active.is_down();
        }
        let loses_parent = self.truth[unit.0].up && !active.is_up() && self.needs(unit.0).any(|it| self.goes_down(it));
        if active == ActiveState::Active && !self.truth[unit.0].up {
            // The group is up again: of one that was down before it, that is all that can be seen.
            for member in 0..UNITS {
                let is_part = self.specs[member].parents.iter().any(|it| it.bond == Bond::PartOf && it.parent == unit);
                if is_part && self.truth[member].with_group {
                    (self.truth[member].stop_can_be_known, self.truth[member].obey) = (false, None);
                }
            }
        }
        let is_refused = active == ActiveState::Failed
            && self.model.unit(unit).result() == crate::model::ServiceResult::StartLimitHit
            && self.model.unit(unit).state_change() == now
            && !(0..UNITS).any(|it| self.triggers(it, unit.0));
        let truth = &mut self.truth[unit.0];
        truth.taken_along |= loses_parent && !truth.stopped && is_watched;
        if truth.up && active == ActiveState::Failed && !is_watched {
            // It died before the stop began: only what is signalled of that job tells.
            truth.stop_can_be_known = false;
        }
        if truth.up && !active.is_up() {
            truth.last_uptime = now - truth.up_since;
            truth.longest_uptime = truth.longest_uptime.max(truth.last_uptime);
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
                    longest_uptime: truth.longest_uptime,
                    last_stop: truth.last_stop,
                    disabled: truth.disabled && truth.down.is_none(),
                    asked: truth.asked,
                    job: truth.job,
                    obey: truth.obey.filter(|_| truth.asked || truth.by_manager),
                    by_manager: truth.by_manager,
                    directory_gone: truth.directory_gone,
                    ..Truth::default()
                };
            }
            ActiveState::Inactive | ActiveState::Failed => {
                // A refused start shows that it is wanted up: the stop before it is history.
                truth.stopped &= !is_refused || truth.asked;
                truth.down.get_or_insert(now);
                truth.by_manager = false;
            }
            // It is started, be it for the sake of another unit: that is newer.
            ActiveState::Activating => {
                (truth.down, truth.stopped, truth.cleared, truth.kept) = (None, false, false, false);
                truth.obey = truth.obey.filter(|_| truth.asked);
                (truth.taken_along, truth.kept_seen, truth.reset) = (false, false, false);
                truth.by_manager |= auto_restart;
                (truth.disabled, truth.disabled_while_down, truth.file_seen) = (false, false, false);
            }
            ActiveState::Deactivating => truth.down = None,
        }
    }

    /// The units that it has to have up.
    fn needs(&self, index: usize) -> impl Iterator<Item = UnitId> {
        self.specs[index].parents.iter().filter(|it| is_need(it.bond)).map(|it| it.parent)
    }

    fn goes_down(&self, unit: UnitId) -> bool {
        let (unit, now) = (self.model.unit(unit), self.model.now());
        let has_just_gone = unit.active_exit().is_some_and(|left| now <= left + SECOND);
        let is_about_to = unit.job().is_some_and(|job| matches!(job.kind, JobKind::Stop | JobKind::Restart));
        is_about_to || (unit.active() != ActiveState::Active && has_just_gone)
    }

    /// A unit goes down. Whether a child that is stopped at the same time was meant cannot be known.
    fn takes_along(&mut self, parent: UnitId, active: ActiveState, now: Duration) {
        if active.is_up() {
            return;
        }
        for index in 0..UNITS {
            if self.truth[index].down.is_none_or(|down| now <= down + SECOND)
                && self.needs(index).any(|it| it == parent)
            {
                (self.truth[index].stop_can_be_known, self.truth[index].obey) = (false, None);
            }
        }
    }

    /// A signal as the connection to the manager makes it out.
    pub fn message(&mut self, signal: &Signal, names: &[UnitName; UNITS]) -> Option<Message> {
        match *signal {
            Signal::Changed { unit, active, .. } if unit.0 >= FIRST_HELPER => {
                // Of other units only failed sockets are followed.
                let is_socket = self.specs[unit.0].kind == Type::Socket;
                (is_socket && active != ActiveState::Activating).then_some(Message::List)
            }
            Signal::Changed { unit, active, auto_restart, job } => {
                self.told_jobs[unit.0] = job.or(self.told_jobs[unit.0]);
                let name = names[unit.0].clone();
                let (active, has_job) = (state(active), job.is_some());
                let status = UnitStatus { name, load: None, active, has_job, auto_restart };
                Some(Message::Tell(Fact::Changed(status)))
            }
            Signal::JobRemoved { job, unit, result, .. } => {
                let is_told = self.told_jobs[unit.0].take_if(|told| *told == job).is_some();
                if self.isolated.take_if(|isolated| *isolated == job).is_some() {
                    return Some(Message::List);
                }
                if self.truth[unit.0].job == Some(job) {
                    return Some(Message::Ended(unit.0, job.0, result));
                }
                let name = names[unit.0].clone();
                match result {
                    JobResult::Done if is_told => Some(Message::Tell(Fact::JobDone(name))),
                    JobResult::Canceled if self.overriding == Some(unit.0) => {
                        Some(Message::Tell(Fact::StopOverridden(name)))
                    }
                    JobResult::Dependency => Some(Message::Tell(Fact::KeptFromStarting(name))),
                    _ => None,
                }
            }
            Signal::Reloading(true) => Some(Message::Tell(Fact::Frozen)),
            Signal::Reloading(false) | Signal::UnitRemoved(_) => Some(Message::List),
            Signal::UnitNew(_) => None,
        }
    }

    /// Whether a list is no answer to what goes on: everything is being stopped.
    pub fn is_frozen(&self) -> bool {
        self.model.is_shutting_down() || self.isolating.is_some()
    }

    /// The units whose socket has failed.
    pub fn failed_sockets(&self, names: &[UnitName; UNITS]) -> Vec<UnitName> {
        let failed = (0..UNITS).filter(|socket| {
            let unit = self.model.unit(UnitId(*socket));
            unit.spec().kind == Type::Socket && unit.active() == ActiveState::Failed
        });
        failed
            .flat_map(|socket| self.specs[socket].parents.iter().filter(|it| it.bond == Bond::Triggers))
            .map(|it| names[it.parent.0].clone())
            .collect()
    }

    pub fn list(&mut self, names: &[UnitName; UNITS]) -> Vec<UnitStatus> {
        let loaded = self.model.units().iter().zip(names).take(FIRST_HELPER).filter(|(unit, _)| unit.is_in_memory());
        let list = loaded
            .map(|(unit, name)| UnitStatus {
                name: name.clone(),
                load: Some(load(unit.load())),
                active: state(unit.active()),
                has_job: unit.job().is_some(),
                auto_restart: unit.is_auto_restart(),
            })
            .collect();
        for (told, unit) in self.told_jobs.iter_mut().zip(self.model.units()) {
            *told = unit.job().map(|job| job.id).or(*told);
        }
        list
    }

    /// What a close look shows.
    pub fn inspect(&self, index: usize, detail: Detail, no_journal: bool) -> Inspection {
        let unit = self.model.unit(UnitId(index));
        let (spec, now) = (unit.spec(), self.model.now());
        let active = state(unit.active());
        let is_up = active.is_up();
        let is_down = unit.active().is_down();
        let stop = detail.stop.then(|| match unit.invocation() {
            _ if no_journal => StopEvidence::Unknown("the journal is gone".to_owned()),
            None if self.truth[index].kept => StopEvidence::KeptFromStarting,
            None => StopEvidence::Unknown("it never ran".to_owned()),
            Some(run) if unit.is_stop_logged(run) => StopEvidence::Requested,
            Some(_) => StopEvidence::NotRequested,
        });
        let last_run = unit.active_exit().zip(unit.active_enter()).and_then(|(exit, enter)| exit.checked_sub(enter));
        let deactivation =
            unit.active_exit().zip(unit.inactive_enter()).map(|(left, down)| Deactivation { left, down });
        let with_history = is_down && (detail.stop || !deactivation.is_some_and(Deactivation::was_sudden));
        let parents = spec.parents.iter().filter(|it| is_need(it.bond));
        let parents = parents.map(|it| self.parent(unit, it.parent, with_history, stop.as_ref())).collect();
        let changes = matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating);
        let restarts = unit.active() == ActiveState::Failed && spec.restart != Restart::No;
        let triggers: Vec<usize> = (0..UNITS).filter(|it| self.triggers(*it, index)).collect();
        let full_name = |index: &usize| scenario::full_name(*index, &self.specs[*index]);
        let has_failed = |index: &&usize| self.model.unit(UnitId(**index)).active() == ActiveState::Failed;
        let is_socket = |index: &&usize| self.specs[**index].kind == Type::Socket;
        Inspection {
            load: load(unit.load()),
            active,
            has_job: unit.job().is_some(),
            up_for: unit.active_enter().filter(|_| is_up).map(|since| now - since),
            down_for: unit.inactive_enter().filter(|_| is_down).map(|since| now - since),
            at: now,
            began: unit.inactive_exit(),
            transition: (changes && !unit.is_auto_restart()).then(|| transition(unit, now)),
            deactivation,
            result: result(unit.result()),
            restart: restart(spec.restart),
            restart_prevented: (restarts && unit.is_restart_prevented()).then(|| "status 1".to_owned()),
            oneshot: spec.kind == Type::Oneshot,
            file: (detail.file && !unit.is_masked()).then(|| UnitFile {
                enabled: unit.is_enabled(),
                on_demand: !triggers.is_empty(),
                definition: unit.definition(),
            }),
            run: (detail.file || detail.stop).then(|| self.run_of(unit)),
            restarts: (detail.restarts || unit.is_auto_restart())
                .then(|| Restarts { count: unit.n_restarts(), last_run }),
            auto_restart: unit.is_auto_restart(),
            since: None,
            working_directory: Some(PathBuf::from("/srv")),
            directory_gone: self.truth[index].directory_gone,
            container: false,
            parents,
            pulls_in: self.pulls_in(unit).map(|it| full_name(&it.0)).collect(),
            conflicts: self.partners(index).filter(|it| self.is_up_or_coming(*it)).map(|it| full_name(&it.0)).collect(),
            has_conflicts: self.partners(index).next().is_some(),
            stopped_groups: self.stopped_groups(unit),
            failed_sockets: triggers.iter().filter(is_socket).filter(has_failed).map(full_name).collect(),
            triggers: triggers.iter().map(full_name).collect(),
            clearable: unit.origin() != Origin::Transient && unit.load() != LoadState::NotFound,
            stop,
            said: None,
        }
    }

    /// The manager's id of a run: another one after each boot.
    fn run_of(&self, unit: &Unit) -> String {
        unit.invocation().map(|run| format!("{}-{run}", self.boots)).unwrap_or_default()
    }

    fn triggers(&self, trigger: usize, service: usize) -> bool {
        self.specs[trigger].parents.iter().any(|it| it.bond == Bond::Triggers && it.parent == UnitId(service))
    }

    fn parent(&self, child: &Unit, parent: UnitId, with_history: bool, stop: Option<&StopEvidence>) -> Parent {
        let unit = self.model.unit(parent);
        let spec = unit.spec();
        let (active, is_down) = (unit.active(), unit.active().is_down());
        let left = unit.active_exit().filter(|_| with_history || !active.is_up());
        let stops = child.last_stop().zip(unit.last_stop());
        let stopped_later = stop == Some(&StopEvidence::Requested)
            && left.is_some()
            && stops.is_some_and(|((job, at), (other, then))| job < other && at.max(then) - at.min(then) <= 2 * SECOND);
        Parent {
            name: scenario::full_name(parent.0, &self.specs[parent.0]),
            active: state(active),
            stopping: unit.job().is_some_and(|job| job.kind == JobKind::Stop),
            left,
            since: unit.active_enter().filter(|_| with_history && active.is_up()),
            finished: active == ActiveState::Inactive
                && spec.kind == Type::Oneshot
                && unit.result() == crate::model::ServiceResult::Success
                && unit.inactive_exit().is_some(),
            stops_when_unneeded: is_down && spec.stop_when_unneeded,
            stopped_later,
        }
    }

    /// What a start would start as well, though it is only wanted.
    fn pulls_in(&self, unit: &Unit) -> impl Iterator<Item = UnitId> {
        let wanted = unit.spec().parents.iter().filter(|it| it.bond == Bond::Wants).map(|it| it.parent);
        wanted.filter(|it| {
            let it = self.model.unit(*it);
            !it.active().is_up() || it.job().is_some_and(|job| job.kind == JobKind::Stop)
        })
    }

    /// The units that it conflicts with, by its own file or by theirs.
    fn partners(&self, index: usize) -> impl Iterator<Item = UnitId> {
        let own = self.specs[index].parents.iter().filter(|it| it.bond == Bond::Conflicts).map(|it| it.parent);
        let conflicts = move |it: &usize| {
            self.specs[*it].parents.iter().any(|it| it.bond == Bond::Conflicts && it.parent == UnitId(index))
        };
        own.chain((0..UNITS).filter(conflicts).map(UnitId))
    }

    fn is_up_or_coming(&self, unit: UnitId) -> bool {
        let unit = self.model.unit(unit);
        let is_started = unit.job().is_some_and(|job| matches!(job.kind, JobKind::Start | JobKind::Restart));
        !unit.active().is_down() || is_started
    }

    /// The groups that it is part of, and that were stopped or are being stopped.
    fn stopped_groups(&self, unit: &Unit) -> Vec<StoppedGroup> {
        let groups = unit.spec().parents.iter().filter(|it| it.bond == Bond::PartOf).map(|it| it.parent);
        let stopped = groups.filter_map(|group| {
            let (it, name) = (self.model.unit(group), scenario::full_name(group.0, &self.specs[group.0]));
            if !it.active().is_down() {
                let is_stopped = it.job().is_some_and(|job| job.kind == JobKind::Stop);
                return is_stopped.then_some(StoppedGroup { name, left: None });
            }
            let left = it.active_exit()?;
            let was_stopped =
                it.spec().kind == Type::Target || it.invocation().is_some_and(|run| it.is_stop_logged(run));
            was_stopped.then_some(StoppedGroup { name, left: Some(left) })
        });
        stopped.collect()
    }

    /// The truth at the moment of a look that decides about a start.
    pub fn seen(&mut self, index: usize) -> Seen {
        self.inspected_at[index] = self.model.now();
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active().is_up();
        Seen {
            // Of a group that is up again nothing is left to see.
            stopped_by_user: truth.stopped
                && truth.stop_can_be_known
                && !(truth.with_group && self.stopped_groups(unit).is_empty()),
            masked: unit.load() == LoadState::Masked,
            disabled_while_down: truth.disabled_while_down,
            foreign_job: unit.job().is_some(),
            parent_down: unit.spec().parents.iter().filter(|it| is_need(it.bond)).any(|it| {
                let parent = self.model.unit(it.parent);
                let is_left = parent.spec().stop_when_unneeded && parent.active() == ActiveState::Inactive;
                let is_done = parent.spec().kind == Type::Oneshot && parent.active() == ActiveState::Inactive;
                !up(it.parent) && !is_left && !is_done
            }),
            partner_up: self.partners(index).any(|it| self.model.unit(it).active().is_up()),
            left_to_others: self.is_left_to_others(index),
            socket_failed: (0..UNITS)
                .any(|it| self.triggers(it, index) && self.model.unit(UnitId(it)).active() == ActiveState::Failed),
            directory_gone: truth.directory_gone,
            // A person may have one started that is stuck.
            down: unit.active().is_down() || truth.wanted,
        }
    }

    /// The healer learns that the unit was enabled when it had been down since this fall.
    pub fn file_was_seen(&mut self, index: usize, deactivation: Option<Deactivation>) {
        let truth = &mut self.truth[index];
        truth.file_seen |= truth.down.is_some() && deactivation.map(|deactivation| deactivation.down) == truth.down;
    }

    /// A late signal looks like a start by a person: of one that was disabled before that, nothing is left to know.
    pub fn looks_started(&mut self, index: usize) {
        let truth = &mut self.truth[index];
        (truth.file_seen, truth.disabled_while_down) = (false, false);
    }

    /// Whether its author said that it is not to be started again when it has failed.
    fn is_left_to_others(&self, index: usize) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let is_triggered = (0..UNITS).any(|it| self.triggers(it, index));
        let oneshot = unit.spec().kind == Type::Oneshot && (is_triggered || unit.spec().restart == Restart::No);
        let prevented = unit.spec().restart != Restart::No && unit.is_restart_prevented();
        unit.active() == ActiveState::Failed && (oneshot || prevented) && !truth.wanted
    }

    /// The healer wants a start. Answers its number.
    pub fn start_is_asked_for(&mut self, start: Start) -> Option<(usize, u64)> {
        let index = NAMES.iter().position(|name| *name == start.unit.short())?;
        self.starts += 1;
        let step = if start.restart && !start.first.is_empty() { Step::Stop } else { Step::Start };
        self.truth[index].asked = true;
        self.starting[index] = Some(Starting { began: start.restart, start, step, number: self.starts });
        Some((index, self.starts))
    }

    /// Whether the start with this number is under way, and has taken too long.
    pub fn is_late(&self, index: usize, number: u64) -> bool {
        self.starting[index].as_ref().is_some_and(|starting| starting.number == number)
    }

    /// Takes the result of a job of the healer's. Answers how its start ended, or nothing if another step follows.
    pub fn next_step(&mut self, index: usize, result: JobResult) -> Option<Outcome> {
        let Some(starting) = &mut self.starting[index] else { return Some(outcome(result)) };
        match starting.step {
            Step::Stop if result == JobResult::Done => starting.step = Step::Start,
            Step::Start if result == JobResult::Failed && !starting.began && starting.start.clearable => {
                starting.step = Step::StartCleared;
            }
            Step::Stop | Step::Start | Step::StartCleared => return Some(outcome(result)),
        }
        self.truth[index].job = None;
        None
    }

    /// The healer takes back a start that overtook a stop. Answers whether a person had stopped it.
    pub fn stop(&mut self, index: usize) -> bool {
        let stopped_at = self.truth[index].last_stop;
        let was_meant = stopped_at.is_some_and(|at| self.model.now() <= at + OVERTAKEN_WITHIN);
        self.truth[index].stopped |= was_meant;
        let _ = self.with(|model, lives| model.stop(UnitId(index), Mode::Replace, lives));
        was_meant
    }

    /// Whether it was started by its user or for the sake of another unit, rather than by the manager or the healer.
    pub fn is_started_by_others(&self, index: usize) -> bool {
        !self.truth[index].asked && !self.truth[index].by_manager
    }

    /// The next step of a start of the healer's reaches the manager. Answers how it ended if there is no job for it.
    pub fn start(&mut self, index: usize) -> Result<Option<Outcome>, Breach> {
        let unit = UnitId(index);
        let Some(Starting { start, step, .. }) = self.starting[index].clone() else { return Ok(None) };
        let named = |name: &String| (0..UNITS).find(|it| scenario::full_name(*it, &self.specs[*it]) == *name);
        let first: Vec<UnitId> = start.first.iter().filter_map(named).map(UnitId).collect();
        let before: Vec<Unit> = self.model.units().to_vec();
        let mode = if start.alone { Mode::IgnoreRequirements } else { Mode::Fail };
        self.overriding = (start.alone && step != Step::Stop).then_some(index);
        let job = if step == Step::Stop {
            self.with(|model, lives| model.stop(unit, Mode::Fail, lives))
        } else {
            if step == Step::StartCleared {
                let _ = self.with(|model, lives| model.reset_failed(unit, lives));
            }
            for it in &first {
                let _ = self.with(|model, lives| model.start(*it, Mode::Fail, lives));
            }
            let restart = start.restart && first.is_empty();
            self.with(
                |model, lives| {
                    if restart { model.restart(unit, mode, lives) } else { model.start(unit, mode, lives) }
                },
            )
        };
        self.is_alone(index, &before, &first)?;
        Ok(match job {
            Ok(job) => {
                self.truth[index].job = Some(job);
                None
            }
            Err(refused) => Some(match refused {
                Refused::Masked => Outcome::Refused(Refusal::Masked, "masked".to_owned()),
                Refused::NotFound | Refused::NotLoaded => Outcome::Impossible(Unrecoverable::NotFound),
                Refused::BadSetting => Outcome::Impossible(Unrecoverable::BadSetting),
                Refused::NotApplicable => Outcome::NotStarted("the service manager refuses it".to_owned()),
                Refused::OnlyByDependency => {
                    Outcome::Impossible(Unrecoverable::NotByHand("it may be requested by dependency only".to_owned()))
                }
                Refused::Destructive | Refused::Contradiction => {
                    Outcome::Refused(Refusal::JobPending, "a job is in the way".to_owned())
                }
            }),
        })
    }

    /// A start changes no unit but the one that is healed, and loses none.
    fn is_alone(&self, index: usize, before: &[Unit], first: &[UnitId]) -> Result<(), Breach> {
        for (other, (was, is)) in before.iter().zip(self.model.units()).enumerate() {
            let name = NAMES[other];
            if other == index {
                if was.load() == LoadState::Loaded && is.load() == LoadState::NotFound {
                    return Err(Breach { law: "no unit is lost", how: format!("{name} has no file any more") });
                }
                continue;
            }
            // What waited for this one goes on.
            let had_job = was.job().is_some();
            let changed =
                is.runs() != was.runs() || is.job().is_some() || (was.active().is_up() && !is.active().is_up());
            let is_named = first.contains(&UnitId(other));
            // What has become of it since the inspection cannot be known; and a socket fails with its service.
            let is_news = was.state_change() > self.inspected_at[index];
            // The manager stops a pool that nothing needs as soon as it looks, for whatever reason.
            let is_unneeded = was.spec().stop_when_unneeded && is.job().is_some_and(|job| job.kind == JobKind::Stop);
            if changed && !had_job && !is_named && !is_news && !is_unneeded && !self.triggers(other, index) {
                let how = format!("a start of {} changes {name}", NAMES[index]);
                return Err(Breach { law: "no other unit changes", how });
            }
        }
        Ok(())
    }

    /// The start that was queued has been told of.
    pub fn start_is_queued(&mut self) {
        self.overriding = None;
    }

    pub fn is_asked(&self, index: usize) -> bool {
        self.truth[index].asked
    }

    pub fn is_awaited(&self, index: usize, job: u64) -> bool {
        self.truth[index].asked && self.truth[index].job == Some(JobId(job))
    }

    pub fn end_of_start_told(&mut self, index: usize) {
        (self.truth[index].asked, self.truth[index].job) = (false, None);
        self.starting[index] = None;
    }

    pub fn starts_under_way(&self) -> Vec<usize> {
        (0..UNITS).filter(|unit| self.truth[*unit].asked).collect()
    }

    pub fn forget_starts(&mut self) {
        (0..UNITS).for_each(|unit| self.end_of_start_told(unit));
    }

    /// Ends of starts whose signal was lost: their job is listed no longer.
    pub fn missed_ends(&self) -> Vec<(usize, Outcome)> {
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
            Some((index, outcome))
        });
        gone.collect()
    }

    pub fn probe(&self, index: usize, silent: bool) -> ProbeResult {
        let unit = self.model.unit(UnitId(index));
        let up = unit.active_enter().filter(|_| unit.active() == ActiveState::Active);
        let answer = match up {
            Some(_) if silent => ProbeAnswer::Refused("127.0.0.1:5173".to_owned()),
            Some(_) => ProbeAnswer::Accepted,
            None => ProbeAnswer::Refused("127.0.0.1:5173".to_owned()),
        };
        ProbeResult { answer, up_for: up.map(|since| self.model.now() - since), file_age: None }
    }

    pub fn is_oneshot(&self, index: usize) -> bool {
        self.specs[index].kind == Type::Oneshot
    }

    /// The longest of its uptimes that have ended since this was last asked.
    pub fn take_longest_uptime(&mut self, index: usize) -> Duration {
        std::mem::take(&mut self.truth[index].longest_uptime)
    }

    /// Whether it has been up for so long without a break, or had been when it went down.
    pub fn has_been_up_for(&self, index: usize, time: Duration) -> bool {
        let truth = &self.truth[index];
        let uptime = if truth.up { self.model.now() - truth.up_since } else { truth.last_uptime };
        // What is told a moment later had been so a moment ago.
        uptime + SECOND >= time
    }

    pub fn nothing_need_be_obeyed(&mut self) {
        self.truth.iter_mut().for_each(|truth| truth.obey = None);
    }

    /// Whether its user stopped it while the healer's start was under way, so long ago that it has to be down again.
    pub fn disobeys(&self, index: usize, patience: Duration) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        truth.obey.is_some_and(|since| self.model.now() > since + patience)
            && unit.active() == ActiveState::Active
            && unit.job().is_none()
    }

    /// Whether a unit that it needs went down when it did. Of a stop of that unit which was called off before its turn
    /// came nothing is left that could be known.
    fn lost_its_parent(&self, index: usize) -> bool {
        let unit = self.model.unit(UnitId(index));
        // That its failure was cleared is told as another end, by the manager.
        let Some((left, down)) = unit.active_exit().zip(self.truth[index].down) else { return false };
        let took_along = |parent: &Unit| {
            let went = parent.active_exit().is_some_and(|it| left <= it && it <= down);
            // A stop of that unit which gave way to another one looks as if it had come after that of the worker.
            let stops = unit.last_stop().zip(parent.last_stop());
            went && stops.is_none_or(|((own, _), (other, _))| own >= other)
        };
        self.needs(index).any(|it| took_along(self.model.unit(it)))
    }

    /// Whether nothing stands against healing it, for all that can be known.
    pub fn is_healable(&self, index: usize) -> bool {
        let (unit, truth) = (self.model.unit(UnitId(index)), &self.truth[index]);
        let up = |id: UnitId| self.model.unit(id).active() == ActiveState::Active;
        if !matches!(unit.active(), ActiveState::Failed | ActiveState::Inactive) {
            return false;
        }
        let logged = unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
        let ran = unit.invocation().is_some() && unit.active_exit().is_some();
        let is_oneshot = unit.spec().kind == Type::Oneshot;
        let needs_it = match unit.active() {
            ActiveState::Failed => ran && !logged,
            _ if is_oneshot => false,
            // Its parent took it along, and is back.
            ActiveState::Inactive if truth.taken_along => logged && self.lost_its_parent(index),
            // Its parent did not come up in time, and has since.
            ActiveState::Inactive if truth.kept_seen => !ran,
            // A person cleared the mark of its failure, and nothing else.
            _ => truth.reset && ran && !logged,
        };
        let parent_is_fine = |it: UnitId| {
            let parent = self.model.unit(it);
            let is_done =
                parent.spec().kind == Type::Oneshot && parent.result() == crate::model::ServiceResult::Success;
            let is_left = parent.spec().stop_when_unneeded
                && !self.truth[it.0].stopped
                && unit.active() == ActiveState::Failed
                && parent.active_exit() >= unit.active_exit();
            let comes_back = parent.active() == ActiveState::Inactive
                && parent.job().is_none()
                && parent.active_exit().is_some()
                && (is_done || is_left);
            up(it) || comes_back
        };
        needs_it
            && unit.load() == LoadState::Loaded
            && unit.job().is_none()
            && (unit.is_enabled() || (unit.active() == ActiveState::Failed && !truth.disabled))
            && !truth.stopped
            && truth.obey.is_none()
            && !truth.cleared
            && !truth.looks_stopped
            && !truth.directory_gone
            && self.needs(index).all(parent_is_fine)
            && !self.is_left_to_others(index)
            && !unit.spec().refuse_manual_start
            && self.stopped_groups(unit).is_empty()
            && !self.partners(index).any(|it| self.is_up_or_coming(it))
    }

    // What people do.

    pub fn person_stops(&mut self, index: usize) {
        let unit = UnitId(index);
        let state = self.model.unit(unit).active();
        let now = self.model.now();
        let lost_its_parent = self.needs(index).any(|it| self.goes_down(it));
        if self.with(|model, lives| model.stop(unit, Mode::Replace, lives)).is_ok() {
            self.is_stopped_by_person(index, state, lost_its_parent, now);
        }
    }

    fn is_stopped_by_person(&mut self, index: usize, state: ActiveState, lost_its_parent: bool, now: Duration) {
        self.takes_along(UnitId(index), ActiveState::Inactive, now);
        // What is part of it is stopped with it, whatever state it is in.
        let is_part =
            |it: &usize| self.specs[*it].parents.iter().any(|it| it.bond == Bond::PartOf && it.parent == UnitId(index));
        for member in (0..UNITS).filter(is_part).collect::<Vec<_>>() {
            let truth = &mut self.truth[member];
            (truth.stopped, truth.stop_can_be_known) = (true, state == ActiveState::Active);
            truth.last_stop = Some(now);
            truth.with_group = true;
            truth.obey = truth.asked.then_some(now).filter(|_| state == ActiveState::Active);
        }
        // Of one that is down already only the end of the stop tells, see `stop_was_told`; and of one that its
        // parent takes down just now, nothing does.
        // What has no good file is not looked at, and is forgotten with its unit.
        let is_readable = self.model.unit(UnitId(index)).load() == LoadState::Loaded;
        let known = matches!(state, ActiveState::Active | ActiveState::Activating) && !lost_its_parent && is_readable;
        let truth = &mut self.truth[index];
        (truth.stopped, truth.stop_can_be_known) = (true, known || (truth.stopped && truth.stop_can_be_known));
        (truth.taken_along, truth.with_group) = (false, false);
        truth.last_stop = Some(now);
        // Of one that its parent takes down in the same moment, it cannot be known whether it was meant.
        if truth.asked && !lost_its_parent {
            truth.obey = Some(now);
        }
    }

    /// All of them are stopped with one command.
    pub fn person_stops_many(&mut self, indices: &[usize]) {
        let now = self.model.now();
        let units: Vec<UnitId> = indices.iter().map(|index| UnitId(*index)).collect();
        let states: Vec<ActiveState> = units.iter().map(|unit| self.model.unit(*unit).active()).collect();
        let _ = self.with(|model, lives| model.stop_together(&units, Mode::Replace, lives));
        for (index, state) in indices.iter().zip(states) {
            let lost_its_parent = self.needs(*index).any(|it| self.goes_down(it));
            self.is_stopped_by_person(*index, state, lost_its_parent, now);
        }
    }

    /// The end of a stop reached the healer while the unit had been down for a while, so that it cannot be taken for
    /// anything else.
    pub fn stop_was_told(&mut self, index: usize) {
        let now = self.model.now();
        let truth = &mut self.truth[index];
        // What was to be restarted with a unit that it needs, and then was stopped with that, is told of by the same.
        truth.looks_stopped |= !truth.stopped && truth.down.is_some_and(|since| now > since + SECOND);
        if truth.stopped && truth.down.is_some_and(|since| now > since + 10 * SECOND) {
            truth.stop_can_be_known = true;
            truth.stop_told = Some(now);
        }
    }

    /// The end of a job was lost: nothing else tells that a person stopped what was down already.
    pub fn end_of_job_is_lost(&mut self, index: usize) {
        let truth = &mut self.truth[index];
        truth.obey = truth.obey.filter(|_| truth.stop_can_be_known);
    }

    pub fn end_of_job_may_mislead(&mut self, index: usize) {
        self.truth[index].looks_stopped = true;
    }

    /// The daemon is gone, and what it was told last it may not have got to look into.
    pub fn listener_is_gone(&mut self) {
        let now = self.model.now();
        for (truth, unit) in self.truth.iter_mut().zip(self.model.units()) {
            (truth.taken_along, truth.obey) = (false, None);
            (truth.kept_seen, truth.reset) = (false, false);
            // Of one that was not enabled nothing is kept in mind, and the manager has forgotten its run.
            truth.stop_can_be_known &= unit.invocation().is_some();
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

    /// A unit that is down and is started is no longer stopped once it is on its way up, see `signals`.
    fn person_wants_it_up(&mut self, index: usize) {
        let now = self.model.now();
        self.truth[index].obey = None;
        // That the start came right after the stop cannot be told from a start of the healer's that the stop overtook.
        self.truth[index].last_stop = self.truth[index].last_stop.filter(|at| now <= *at + SAME_MOMENT);
        let is_gone = self.model.unit(UnitId(index)).load() == LoadState::NotFound;
        if is_gone && self.family.origin(index) == Origin::Transient {
            // `systemd-run` once more.
            self.model.edit(UnitId(index), File::Good(self.specs[index].clone()));
        }
        if !self.model.unit(UnitId(index)).active().is_down() {
            (self.truth[index].stopped, self.truth[index].cleared) = (false, false);
        }
    }

    pub fn person_starts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.start(UnitId(index), Mode::Replace, lives));
        if self.model.unit(UnitId(index)).result() == crate::model::ServiceResult::StartLimitHit {
            // It was refused: wanted it is all the same. Of one that had failed before, nothing shows that.
            let truth = &mut self.truth[index];
            truth.looks_stopped |= truth.stopped;
            truth.stopped = false;
        }
    }

    pub fn person_restarts(&mut self, index: usize) {
        self.person_wants_it_up(index);
        let _ = self.with(|model, lives| model.restart(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_resets(&mut self, index: usize, is_watched: bool) {
        let unit = self.model.unit(UnitId(index));
        let was_failed = unit.active() == ActiveState::Failed && unit.job().is_none() && unit.is_enabled();
        let _ = self.with(|model, lives| model.reset_failed(UnitId(index), lives));
        let truth = &mut self.truth[index];
        truth.reset |= was_failed && is_watched && !truth.asked;
        truth.cleared = !truth.reset;
    }

    /// Whether any worker is on its way up or down.
    pub fn is_any_changing(&self) -> bool {
        let changes = |unit: &Unit| matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating);
        self.model.units().iter().take(FIRST_HELPER).any(|unit| changes(unit) && !unit.is_auto_restart())
    }

    /// Since when it starts or stops for longer than its file or the settings allow.
    pub fn is_stuck_since(&self, index: usize, timeout: Duration) -> Option<Duration> {
        let unit = self.model.unit(UnitId(index));
        if !matches!(unit.active(), ActiveState::Activating | ActiveState::Deactivating) {
            return None;
        }
        // A oneshot works while it is starting.
        let works = unit.spec().kind == Type::Oneshot && unit.active() == ActiveState::Activating;
        // A stop that its user asked for is theirs to wait for.
        let is_stopped = unit.job().is_some_and(|job| job.kind == JobKind::Stop)
            || unit.invocation().is_some_and(|run| unit.is_stop_logged(run));
        // One without its directory is told as that, whatever becomes of it meanwhile.
        let is_told_otherwise = is_stopped || self.truth[index].directory_gone;
        if is_told_otherwise || unit.is_auto_restart() || works || unit.load() != LoadState::Loaded {
            return None;
        }
        let since = unit.state_change() + transition(unit, self.model.now()).limit.unwrap_or(timeout);
        (since <= self.model.now()).then_some(since)
    }

    /// A heal is requested: earlier wishes are void.
    pub fn person_wants_it_healed(&mut self, index: usize) {
        let has_job = self.model.unit(UnitId(index)).job().is_some();
        let truth = &mut self.truth[index];
        (truth.stopped, truth.cleared, truth.disabled_while_down) = (false, false, false);
        truth.obey = None;
        // The end of a stop that is still pending looks like a newer one.
        truth.looks_stopped |= has_job;
        (truth.wanted, truth.file_seen) = (true, false);
    }

    pub fn person_tries_restart(&mut self, index: usize) {
        if !self.model.unit(UnitId(index)).active().is_down() {
            self.person_wants_it_up(index);
        }
        let _ = self.with(|model, lives| model.try_restart(UnitId(index), Mode::Replace, lives));
    }

    pub fn person_reloads(&mut self, index: usize) {
        let _ = self.with(|model, lives| model.reload(UnitId(index), Mode::Replace, lives));
    }

    /// Isolates a unit: everything else is stopped. Answers whether that has begun, and goes on.
    pub fn person_isolates(&mut self, index: usize) -> bool {
        let states: Vec<ActiveState> = self.model.units().iter().map(Unit::active).collect();
        let job = self.with(|model, lives| model.start(UnitId(index), Mode::Isolate, lives));
        let Ok(job) = job else { return false };
        for (truth, state) in self.truth.iter_mut().zip(states) {
            if !state.is_down() {
                // Whether that was meant for it cannot be known.
                (truth.stopped, truth.stop_can_be_known, truth.taken_along) = (true, false, false);
            }
            // What waits to be started waits no longer, and the end of that job looks like a stop.
            truth.looks_stopped |= truth.taken_along || truth.asked;
        }
        let goes_on = self.model.unit(UnitId(index)).job().is_some_and(|it| it.id == job);
        self.isolating = goes_on.then_some(job);
        true
    }

    /// The session ends: everything is stopped.
    pub fn shut_down(&mut self) {
        self.with(|model, lives| model.shut_down(lives));
    }

    pub fn connect(&mut self, index: usize) {
        if self.specs[index].kind == Type::Socket {
            let _ = self.with(|model, lives| model.connect(UnitId(index), lives));
        }
    }

    /// The units that this one is part of, or has to have up.
    pub fn above(&self, index: usize) -> Vec<usize> {
        let parents = self.specs[index].parents.iter();
        parents.filter(|it| it.bond == Bond::PartOf || is_need(it.bond)).map(|it| it.parent.0).collect()
    }

    /// The units that need this one, and itself.
    pub fn family_of(&self, index: usize) -> Vec<usize> {
        let is_child = |it: &usize| self.needs(*it).any(|parent| parent == UnitId(index));
        std::iter::once(index).chain((0..UNITS).filter(is_child)).collect()
    }

    /// Whether it is enabled, and down.
    pub fn is_wanted(&self, index: usize) -> bool {
        self.model.unit(UnitId(index)).is_enabled() && self.is_down(index)
    }

    pub fn is_down(&self, index: usize) -> bool {
        self.model.unit(UnitId(index)).active().is_down()
    }

    pub fn kill(&mut self, index: usize) {
        self.model.kill_all(UnitId(index));
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
            (self.truth[index].disabled, self.truth[index].disabled_while_down) = (false, false);
            self.with(|model, lives| model.enable(unit, lives));
        } else {
            let truth = &mut self.truth[index];
            truth.disabled = true;
            truth.disabled_while_down |= truth.down.is_some() && truth.file_seen;
            self.with(|model, lives| model.disable(unit, lives));
        }
    }

    pub fn edit(&mut self, index: usize, file: Option<File>) {
        let is_unreadable = !matches!(file, None | Some(File::Good(_)));
        if is_unreadable && self.model.unit(UnitId(index)).active() == ActiveState::Deactivating {
            // What takes it down can no longer be read from its file.
            self.truth[index].looks_stopped = true;
        }
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

/// `Requires=`, `BindsTo=` and `Requisite=`.
fn is_need(bond: Bond) -> bool {
    matches!(bond, Bond::Requires | Bond::BindsTo | Bond::Requisite)
}

/// How long a start or stop goes on, and may: three steps may each take as long as the unit's file says.
fn transition(unit: &Unit, now: Duration) -> Transition {
    let (spec, is_start) = (unit.spec(), unit.active() == ActiveState::Activating);
    let steps = if is_start { spec.timeout_start } else { spec.timeout_stop }.map(|timeout| timeout * 3);
    let job = spec.job_timeout.filter(|_| is_start);
    Transition { lasts: now - unit.state_change(), limit: steps.into_iter().chain(job).min() }
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
