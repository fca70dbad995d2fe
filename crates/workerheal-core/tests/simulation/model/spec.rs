//! The inputs of the model: unit files, dependencies, and the lives of processes.

use std::time::Duration;

use super::UnitId;

/// The kind of unit; for a service, its `Type=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// Active as soon as its process is forked.
    Simple,
    /// Active once its process reports that it is ready.
    Notify,
    /// Activating while its process runs.
    Oneshot,
    /// A target or a slice: up as soon as it is started, down as soon as it is stopped.
    Target,
    /// A timer, which triggers a service.
    Timer,
    /// A socket, which triggers a service.
    Socket,
}

/// When a timer triggers its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elapses {
    /// `OnActiveSec=`: once, this long after its start.
    Once(Duration),
    /// `OnCalendar=`: at each multiple of it.
    Every(Duration),
}

impl Type {
    #[must_use]
    pub fn is_service(self) -> bool {
        matches!(self, Self::Simple | Self::Notify | Self::Oneshot)
    }
}

/// `Restart=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    No,
    OnSuccess,
    OnFailure,
    OnAbnormal,
    OnAbort,
    OnWatchdog,
    Always,
}

/// A signal that ends a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessSignal {
    Hup,
    Int,
    Kill,
    Segv,
    Pipe,
    Term,
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    Signal(ProcessSignal),
}

impl Exit {
    /// The exit status of the manager's child when the program cannot be executed (`EXIT_EXEC`).
    pub const EXEC_FAILED: Self = Self::Code(203);

    /// Whether it is a clean end by itself (systemd.service(5), "Exit status"): no signal ends a oneshot cleanly, as it
    /// is a command; everything else is a daemon, which may end by the usual signals.
    fn is_clean(self, kind: Type) -> bool {
        use ProcessSignal::{Hup, Int, Pipe, Term};
        match self {
            Self::Code(code) => code == 0,
            Self::Signal(signal) => kind != Type::Oneshot && matches!(signal, Hup | Int | Pipe | Term),
        }
    }
}

/// The relation of a unit to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bond {
    /// `Requires=`: a start pulls it in, and its stop or restart is passed on.
    Requires,
    /// `BindsTo=`: the same, and the unit is stopped as well when the other one goes down by itself.
    BindsTo,
    /// `Requisite=`: as `Requires=`, but the other one has to be up already.
    Requisite,
    /// `Wants=`: a start pulls it in, nothing else.
    Wants,
    /// `PartOf=`: a stop or restart of the other one is passed on.
    PartOf,
    /// `Conflicts=`: a start of either stops the other.
    Conflicts,
    /// It is a timer or socket, and starts the other one.
    Triggers,
}

impl Bond {
    /// `UNIT_ATOM_PROPAGATE_STOP` and `UNIT_ATOM_PROPAGATE_RESTART`: the parent's stops and restarts are passed on.
    pub(super) fn passes_stops(self) -> bool {
        matches!(self, Self::Requires | Self::BindsTo | Self::Requisite | Self::PartOf)
    }

    /// `UNIT_ATOM_PROPAGATE_START_FAILURE`: a failed start of the parent fails the child's start.
    pub(super) fn passes_failures(self) -> bool {
        matches!(self, Self::Requires | Self::BindsTo | Self::Requisite)
    }

    /// `UNIT_ATOM_PINS_STOP_WHEN_UNNEEDED`: the parent is needed by it.
    pub(super) fn needs(self) -> bool {
        matches!(self, Self::Requires | Self::BindsTo | Self::Requisite | Self::Wants)
    }
}

/// One line of dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    pub parent: UnitId,
    pub bond: Bond,
    /// Whether there is `After=` too.
    pub after: bool,
}

/// The settings of a unit file. The default is systemd's.
#[expect(clippy::struct_excessive_bools, reason = "as in the file")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub kind: Type,
    pub restart: Restart,
    /// `RestartSec=`.
    pub restart_delay: Duration,
    /// `TimeoutStartSec=`; `None` is infinity. For a oneshot, systemd's default is infinity.
    pub timeout_start: Option<Duration>,
    /// `TimeoutStopSec=`; `None` is infinity.
    pub timeout_stop: Option<Duration>,
    /// `JobTimeoutSec=`; `None` is infinity.
    pub job_timeout: Option<Duration>,
    /// `StartLimitIntervalSec=`; zero turns the limit off.
    pub start_limit_interval: Duration,
    /// `StartLimitBurst=`; zero turns the limit off.
    pub start_limit_burst: u32,
    /// `SuccessExitStatus=`.
    pub success_exit: Vec<Exit>,
    /// `RestartPreventExitStatus=`.
    pub restart_prevent: Vec<Exit>,
    /// `RemainAfterExit=`.
    pub remain_after_exit: bool,
    /// `StopWhenUnneeded=`.
    pub stop_when_unneeded: bool,
    /// If it is enabled, then for a target that is not loaded: nothing keeps it in memory while it is down.
    pub wanted_elsewhere: bool,
    /// `RefuseManualStart=`.
    pub refuse_manual_start: bool,
    /// `ExecReload=`: it can be reloaded.
    pub can_reload: bool,
    /// Of a timer.
    pub elapses: Elapses,
    /// Its relations to others, at most one for each unit.
    pub parents: Vec<Dependency>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            kind: Type::Simple,
            restart: Restart::No,
            restart_delay: Duration::from_millis(100),
            timeout_start: Some(Duration::from_secs(90)),
            timeout_stop: Some(Duration::from_secs(90)),
            job_timeout: None,
            start_limit_interval: Duration::from_secs(10),
            start_limit_burst: 5,
            success_exit: Vec::new(),
            restart_prevent: Vec::new(),
            remain_after_exit: false,
            stop_when_unneeded: false,
            wanted_elsewhere: false,
            refuse_manual_start: false,
            can_reload: false,
            elapses: Elapses::Every(Duration::from_secs(24 * 3600)),
            parents: Vec::new(),
        }
    }
}

impl Spec {
    pub(super) fn is_success(&self, exit: Exit) -> bool {
        exit.is_clean(self.kind) || self.success_exit.contains(&exit)
    }

    /// Whether its work is done once it is down: a oneshot without `RemainAfterExit=`.
    pub fn ends_done(&self) -> bool {
        self.kind == Type::Oneshot && !self.remain_after_exit
    }

    /// systemd refuses to load a oneshot that is restarted after success ("Service has Restart= set to either always
    /// or on-success, which isn't allowed for Type=oneshot services").
    pub(super) fn is_valid(&self) -> bool {
        self.kind != Type::Oneshot || !matches!(self.restart, Restart::Always | Restart::OnSuccess)
    }
}

/// The content of the place where the unit file belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    /// A valid file.
    Good(Spec),
    /// A file with a setting that systemd refuses.
    Bad,
    /// No file.
    Missing,
}

/// The behaviour of a process, decided when it is spawned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// When it reports that it is ready; `None` is never. Applies to `Type=notify` only.
    pub ready_after: Option<Duration>,
    /// How long it lives if nothing ends it; `None` is unlimited.
    pub lives_for: Option<Duration>,
    /// How it ends then.
    pub exit: Exit,
    /// How long it takes to end after SIGTERM; `None` ignores the signal.
    pub stop_takes: Option<Duration>,
    /// How it ends then.
    pub stop_exit: Exit,
    /// How long `ExecStartPre=` takes, and how it ends; the main process is spawned only if that is a success. `None`:
    /// there is no such line.
    pub pre: Option<(Duration, Exit)>,
    /// How long `ExecReload=` takes.
    pub reload_takes: Duration,
    /// How the main process ends upon that, and how long after the beginning of the reload; `None` lives on.
    pub reload_exit: Option<(Duration, Exit)>,
    /// One of its children lives on, and ignores SIGTERM.
    pub leaves_child: bool,
    /// It accepts the clients that wait at its sockets.
    pub accepts: bool,
}

impl Life {
    /// Ready at once, lives until it is stopped, and stops at once and cleanly.
    pub const GOOD: Self = Self {
        ready_after: Some(Duration::ZERO),
        lives_for: None,
        exit: Exit::Code(0),
        stop_takes: Some(Duration::ZERO),
        stop_exit: Exit::Signal(ProcessSignal::Term),
        pre: None,
        reload_takes: Duration::ZERO,
        reload_exit: None,
        leaves_child: false,
        accepts: true,
    };

    /// Ready at once if it lives that long, and ends by itself.
    #[must_use]
    pub const fn ends(lives_for: Duration, exit: Exit) -> Self {
        Self { lives_for: Some(lives_for), exit, ..Self::GOOD }
    }

    /// The program cannot be executed.
    pub const EXEC_FAILS: Self = Self { ready_after: None, ..Self::ends(Duration::ZERO, Exit::EXEC_FAILED) };
}
