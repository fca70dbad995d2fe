//! One unit, with the properties that the manager shows.

use std::time::Duration;

use super::jobs::{Job, JobId};
use super::spec::{Exit, File, Life, Spec};
use super::states::{ActiveState, LoadState, ServiceResult, SubState};

/// A unit of a model, cheap to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnitId(pub usize);

/// When an event is due. Of simultaneous events, the older comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub at: Duration,
    pub order: u64,
}

/// The role of a process in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    /// The process of `ExecStartPre=`.
    Pre,
    /// A child of the main process, which has ended.
    LeftBehind,
}

/// A process that the manager waits for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Process {
    pub role: Role,
    pub life: Life,
    pub ready: Option<Due>,
    pub ends: Option<Due>,
    pub exit: Exit,
}

/// The manager's data about a unit; forgotten when the unit is unloaded.
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    pub sub: SubState,
    pub result: ServiceResult,
    pub n_restarts: u32,
    /// The next start that is no automatic restart resets the count.
    pub flush_n_restarts: bool,
    /// Set by a stop, so that its end is not followed by a restart.
    pub forbid_restart: bool,
    /// The window of the start limit: when it began, and the starts in it.
    pub limit: Option<(Duration, u32)>,
    /// The last start was refused because of the limit.
    pub limit_hit: bool,
    /// A client waits at the socket.
    pub is_pending: bool,
    pub invocation: Option<u64>,
    pub state_change: Duration,
    pub active_enter: Option<Duration>,
    pub active_exit: Option<Duration>,
    pub inactive_enter: Option<Duration>,
    pub inactive_exit: Option<Duration>,
    pub run_began: Option<Duration>,
    pub run_ended: Option<Duration>,
    pub last_exit: Option<Exit>,
    pub process: Option<Process>,
    /// A process lives on that is no longer waited for.
    pub has_orphan: bool,
    /// The unit's only timer: start timeout, stop timeout, automatic restart, or the wait of a timer or a socket,
    /// depending on the state.
    pub timer: Option<Due>,
    /// When `ExecReload=` ends.
    pub reloaded: Option<Due>,
    pub reload_fails: bool,
    pub job: Option<Job>,
}

impl Runtime {
    pub(super) const FRESH: Self = Self {
        sub: SubState::Dead,
        result: ServiceResult::Success,
        n_restarts: 0,
        flush_n_restarts: false,
        forbid_restart: false,
        limit: None,
        limit_hit: false,
        is_pending: false,
        invocation: None,
        state_change: Duration::ZERO,
        active_enter: None,
        active_exit: None,
        inactive_enter: None,
        inactive_exit: None,
        run_began: None,
        run_ended: None,
        last_exit: None,
        process: None,
        has_orphan: false,
        timer: None,
        reloaded: None,
        reload_fails: false,
        job: None,
    };
}

/// The origin of a unit file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Person,
    /// A generator, which writes it again on each reload.
    Generator,
    /// `systemd-run`: the file is gone as soon as the unit is unloaded.
    Transient,
}

/// A unit, loaded or not.
#[expect(clippy::struct_excessive_bools, reason = "independent properties")]
#[derive(Debug, Clone)]
pub struct Unit {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) definition: u64,
    /// When the file was last written, as a number.
    pub(super) written: u64,
    pub(super) origin: Origin,
    pub(super) masked: bool,
    pub(super) enabled: bool,
    /// Whether it is loaded. `load`, `spec`, `wanted` and `run` are valid only then.
    pub(super) in_memory: bool,
    pub(super) load: LoadState,
    pub(super) spec: Spec,
    /// Enabled, as of the last reload: default.target refers to it.
    pub(super) wanted: bool,
    pub(super) run: Runtime,
    pub(super) runs: u64,
    pub(super) youngest_termination: Duration,
    /// The journal of the last 64 runs, the last one in the lowest bit: whether a stop was logged.
    pub(super) stops: u64,
    /// The last job that began a run.
    pub(super) last_start: Option<JobId>,
    /// The last job logged as a stop, and when.
    pub(super) last_stop: Option<(JobId, Duration)>,
    /// The state that was last signalled, and whether it may have changed since.
    pub(super) signalled: (ActiveState, bool, Option<JobId>),
    pub(super) changed: bool,
    /// It has just been loaded: `UnitNew` stands for its job until it starts.
    pub(super) is_untold: bool,
}

impl Unit {
    pub(super) fn new(name: String, file: File) -> Self {
        Self {
            name,
            file,
            definition: 0,
            written: 0,
            origin: Origin::Person,
            masked: false,
            enabled: false,
            in_memory: false,
            load: LoadState::Loaded,
            spec: Spec::default(),
            wanted: false,
            run: Runtime::FRESH,
            runs: 0,
            youngest_termination: Duration::MAX,
            stops: 0,
            last_start: None,
            last_stop: None,
            signalled: (ActiveState::Inactive, false, None),
            changed: false,
            is_untold: false,
        }
    }

    /// The load state that loading it now would give.
    pub(super) fn load_on_disk(&self) -> LoadState {
        match &self.file {
            _ if self.masked => LoadState::Masked,
            File::Missing => LoadState::NotFound,
            File::Good(spec) if spec.is_valid() => LoadState::Loaded,
            File::Good(_) | File::Bad => LoadState::BadSetting,
        }
    }

    pub(super) fn read_file(&mut self) {
        self.load = self.load_on_disk();
        self.spec = match &self.file {
            File::Good(spec) if self.load == LoadState::Loaded => spec.clone(),
            // Its name determines its kind.
            _ if !self.spec.kind.is_service() => Spec { kind: self.spec.kind, ..Spec::default() },
            _ => Spec::default(),
        };
        self.wanted = self.enabled && !self.spec.wanted_elsewhere;
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is loaded: `UnitNew` came after the last `UnitRemoved`. Reading the properties of another unit loads
    /// it temporarily from the files.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.in_memory
    }

    #[must_use]
    pub fn load(&self) -> LoadState {
        if self.in_memory { self.load } else { self.load_on_disk() }
    }

    /// The settings in force: those of the file as last read, or systemd's defaults if it could not be read.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        match &self.file {
            File::Good(spec) if !self.in_memory && self.load_on_disk() == LoadState::Loaded => spec,
            _ => &self.spec,
        }
    }

    #[must_use]
    pub fn active(&self) -> ActiveState {
        self.run.sub.active()
    }

    #[must_use]
    pub fn sub(&self) -> SubState {
        self.run.sub
    }

    /// Waiting for an automatic restart.
    #[must_use]
    pub fn is_auto_restart(&self) -> bool {
        self.run.sub == SubState::AutoRestart
    }

    /// The content of a change signal.
    pub(super) fn to_signal(&self) -> (ActiveState, bool, Option<JobId>) {
        (self.active(), self.is_auto_restart(), self.run.job.map(|job| job.id))
    }

    #[must_use]
    pub fn result(&self) -> ServiceResult {
        self.run.result
    }

    /// Whether its start limit refused its last start.
    #[must_use]
    pub fn is_refused_by_start_limit(&self) -> bool {
        self.run.limit_hit
    }

    #[must_use]
    pub fn n_restarts(&self) -> u32 {
        self.run.n_restarts
    }

    #[must_use]
    pub fn job(&self) -> Option<Job> {
        self.run.job
    }

    /// The id of its current or last run, by the number of its runs; `None` if there was none since it was loaded.
    #[must_use]
    pub fn invocation(&self) -> Option<u64> {
        self.run.invocation
    }

    /// How often it has been spawned, or for a target started, including runs that the manager has forgotten.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// The lowest age at which one of its processes was sent SIGTERM. A very young one cannot handle it yet.
    #[must_use]
    pub fn youngest_termination(&self) -> Duration {
        self.youngest_termination
    }

    /// Whether the journal has a "Stopping" with JOB_TYPE=stop for this invocation; only the last 64 are kept.
    #[must_use]
    pub fn is_stop_logged(&self, invocation: u64) -> bool {
        let age = u32::try_from(self.runs - invocation).unwrap_or(u32::MAX);
        self.stops.checked_shr(age).is_some_and(|stops| stops & 1 == 1)
    }

    /// The last job that began a run.
    #[must_use]
    pub fn last_start(&self) -> Option<JobId> {
        self.last_start
    }

    /// The job of the last stop that was logged, and when that was.
    #[must_use]
    pub fn last_stop(&self) -> Option<(JobId, Duration)> {
        self.last_stop
    }

    /// `InactiveEnterTimestampMonotonic`.
    #[must_use]
    pub fn inactive_enter(&self) -> Option<Duration> {
        self.run.inactive_enter
    }

    /// `InactiveExitTimestampMonotonic`.
    #[must_use]
    pub fn inactive_exit(&self) -> Option<Duration> {
        self.run.inactive_exit
    }

    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// `ActiveEnterTimestampMonotonic`.
    #[must_use]
    pub fn active_enter(&self) -> Option<Duration> {
        self.run.active_enter
    }

    /// `StateChangeTimestampMonotonic`.
    #[must_use]
    pub fn state_change(&self) -> Duration {
        self.run.state_change
    }

    /// `ActiveExitTimestampMonotonic`.
    #[must_use]
    pub fn active_exit(&self) -> Option<Duration> {
        self.run.active_exit
    }

    /// The duration of the last run's process; `None` while one lives, or if there was none.
    #[must_use]
    pub fn last_run(&self) -> Option<Duration> {
        self.run.run_ended?.checked_sub(self.run.run_began?)
    }

    /// How the main process of the last run ended.
    #[must_use]
    pub fn last_exit(&self) -> Option<Exit> {
        self.run.last_exit
    }

    /// Whether it has a main process.
    #[must_use]
    pub fn has_process(&self) -> bool {
        self.run.process.is_some_and(|process| process.role == Role::Main)
    }

    /// How long its living process will take to end after SIGTERM; `None` if it ignores that, or if there is none.
    #[must_use]
    pub fn stop_takes(&self) -> Option<Duration> {
        self.run.process.as_ref()?.life.stop_takes
    }

    /// State that cannot be seen and matters later: how many starts count for the limit, whether the next start resets
    /// `NRestarts`, and whether the end of this run will be followed by no restart.
    #[must_use]
    pub fn hidden(&self) -> (u32, bool, bool) {
        (self.run.limit.map_or(0, |(_, starts)| starts), self.run.flush_n_restarts, self.run.forbid_restart)
    }

    /// Whether its process was abandoned: it hit the start limit in mid-stop. The later behaviour of such a unit is not
    /// modelled.
    #[must_use]
    pub fn has_orphan(&self) -> bool {
        self.run.has_orphan
    }

    /// Changes whenever the file does.
    #[must_use]
    pub fn definition(&self) -> u64 {
        self.definition
    }

    /// Changes whenever the file is written, even with the same content, as a generator does on each reload.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether its file on disk, which may differ from the loaded one, is masked.
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.masked
    }

    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether the last exit is one of `RestartPreventExitStatus=`.
    #[must_use]
    pub fn is_restart_prevented(&self) -> bool {
        self.run.last_exit.is_some_and(|exit| self.spec.restart_prevent.contains(&exit))
    }

    /// The next event.
    pub(super) fn due(&self) -> Option<Due> {
        let process = self.run.process.as_ref();
        let [ready, ends] = [process.and_then(|process| process.ready), process.and_then(|process| process.ends)];
        let job = self.run.job.and_then(|job| job.timer);
        [self.run.timer, self.run.reloaded, ready, ends, job].into_iter().flatten().min()
    }
}
