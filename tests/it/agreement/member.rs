//! A member of a family: its unit file, and how its processes behave.
//!
//! A process is a shell that runs `~/life/UNIT`, which determines its behaviour and is replaced to change that of the
//! next run. Each run adds a line to `~/runs/UNIT` once it can be stopped or killed as in the model, and writes the
//! action of `ExecReload=` to `~/reload/UNIT`. `ExecStartPre=` runs `~/pre/UNIT`, and adds the line if it fails.

use std::time::Duration;

use fastrand::Rng;

use crate::agreement::model::{Bond, Dependency, Elapses, Exit, File, Life, ProcessSignal, Restart, Spec, Type};

/// A timer of this length does not elapse during the test.
const LONG: Duration = Duration::from_secs(3600);
/// A timer of this length elapses in each round.
const SHORT: Duration = Duration::from_millis(50);
/// A duration for operations that never end by themselves. A busy machine has to finish all other work for the unit in
/// this time.
pub const TIMEOUT: Duration = Duration::from_millis(400);
/// The reaction of a process to SIGTERM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnTerm {
    Dies,
    Exits(u8),
    Ignores,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Lives,
    Ends(Exit),
}

/// The effect of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnReload {
    LivesOn,
    /// It ends before `ExecReload=` does.
    Exits(u8),
    /// It ends after `ExecReload=`.
    ExitsLater(u8),
}

/// For the latter.
const LATER: Duration = Duration::from_millis(300);

/// The behaviour of the next runs of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behaviour {
    on_term: OnTerm,
    is_ready: bool,
    then: Then,
    /// How `ExecStartPre=` ends, if there is one: 0, or a status that is not in `SuccessExitStatus=`.
    pre: Option<u8>,
    on_reload: OnReload,
}

impl Behaviour {
    /// Everything takes this time, except that stops are quicker.
    pub fn life(self, latency: Duration) -> Life {
        let (lives_for, exit) = match self.then {
            Then::Lives => (None, Exit::Code(0)),
            Then::Ends(exit) => (Some(latency), exit),
        };
        let (stop_takes, stop_exit) = match self.on_term {
            OnTerm::Dies => (Some(Self::stop_takes(latency)), Exit::Signal(ProcessSignal::Term)),
            OnTerm::Exits(code) => (Some(Self::stop_takes(latency)), Exit::Code(code)),
            OnTerm::Ignores => (None, Exit::Code(0)),
        };
        let reload_exit = match self.on_reload {
            OnReload::LivesOn => None,
            OnReload::Exits(code) => Some((latency, Exit::Code(code))),
            OnReload::ExitsLater(code) => Some((latency + LATER, Exit::Code(code))),
        };
        Life {
            ready_after: self.is_ready.then_some(latency),
            lives_for,
            exit,
            stop_takes,
            stop_exit,
            pre: self.pre.map(|code| (latency, Exit::Code(code))),
            reload_takes: latency,
            reload_exit,
            leaves_child: false,
            accepts: false,
        }
    }

    /// The duration of a stop that does end.
    pub fn stop_takes(latency: Duration) -> Duration {
        latency / 4
    }

    pub fn script(self, unit: &str) -> String {
        let trap = match self.on_term {
            OnTerm::Dies => String::new(),
            OnTerm::Exits(code) => format!("trap 'exit {code}' TERM\n"),
            OnTerm::Ignores => "trap '' TERM\n".to_owned(),
        };
        let ready = if self.is_ready { "systemd-notify --ready\n" } else { "" };
        let then = match self.then {
            // Nothing is ever written there.
            Then::Lives => "read -r nothing <>\"$HOME/silence\"\n".to_owned(),
            Then::Ends(Exit::Code(code)) => format!("exit {code}\n"),
            Then::Ends(Exit::Signal(signal)) => format!("trap - TERM\nkill -{} $$\n", signal_name(signal)),
        };
        let reload = match self.on_reload {
            OnReload::LivesOn => "trap '' HUP\n".to_owned(),
            OnReload::Exits(code) => format!("trap 'exit {code}' HUP\n"),
            OnReload::ExitsLater(code) => format!("trap 'sleep 0.{}; exit {code}' HUP\n", LATER.as_millis() / 100),
        };
        let on_reload = self.reload_script();
        let writes = format!("echo '{on_reload}' >\"$HOME/reload/{unit}\"\n");
        format!("{trap}{reload}{writes}echo >>\"$HOME/runs/{unit}\"\n{ready}{then}")
    }

    /// The script of `ExecStartPre=`.
    pub fn pre_script(self, unit: &str) -> String {
        match self.pre {
            None | Some(0) => String::new(),
            Some(code) => format!("echo >>\"$HOME/runs/{unit}\"\nexit {code}\n"),
        }
    }

    /// The script of `ExecReload=`, with the main process as its argument. It exists until the manager has noticed.
    fn reload_script(self) -> &'static str {
        match self.on_reload {
            OnReload::Exits(_) => "kill -HUP $1 || exit; while kill -0 $1 2>/dev/null; do sleep 0.01; done",
            _ => "kill -HUP $1",
        }
    }
}

pub fn signal_name(signal: ProcessSignal) -> &'static str {
    match signal {
        ProcessSignal::Hup => "HUP",
        ProcessSignal::Int => "INT",
        ProcessSignal::Kill => "KILL",
        ProcessSignal::Segv => "SEGV",
        ProcessSignal::Pipe => "PIPE",
        ProcessSignal::Term => "TERM",
    }
}

/// One unit of a family, apart from its state.
#[expect(clippy::struct_excessive_bools, reason = "each is true, or not, by itself")]
#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub file: File,
    pub behaviour: Behaviour,
    pub is_enabled: bool,
    /// Keeps the unit loaded.
    pub was_always_enabled: bool,
    kind: Type,
    has_pre: bool,
    can_reload: bool,
    stop_when_unneeded: bool,
    elapses: Elapses,
    parents: Vec<Dependency>,
    /// Timeouts of start, stop and job. They do not change: it would be a race whether they have already elapsed.
    timeouts: [Option<Duration>; 3],
    /// It ignores all stops. Only these time out: the duration of others is unknown.
    is_stubborn: bool,
    /// It never becomes ready. Only then does a start time out.
    is_never_ready: bool,
}

impl Member {
    /// With a timeout for jobs there are no others: it would be a race which of them elapses first.
    pub fn generate(
        name: String,
        parents: Vec<Dependency>,
        is_enabled: bool,
        job_timeout: Option<Duration>,
        may_be_unneeded: bool,
        rng: &mut Rng,
    ) -> Self {
        let kinds = [Type::Simple, Type::Simple, Type::Notify, Type::Oneshot];
        let kind = match name.rsplit_once('.') {
            Some((_, "target")) => Type::Target,
            Some((_, "timer")) => Type::Timer,
            Some((_, "socket")) => Type::Socket,
            _ => *one_of(&kinds, rng),
        };
        let is_service = kind.is_service();
        let is_stubborn = is_service && rng.u8(0..6) == 0;
        let is_never_ready = kind == Type::Notify && rng.u8(0..3) == 0;
        let timeouts = if let Some(timeout) = job_timeout {
            [None, None, (is_stubborn || is_never_ready).then_some(timeout)]
        } else {
            let mut one = |never_ends: bool| (never_ends && rng.bool()).then_some(TIMEOUT);
            [one(is_never_ready), one(is_stubborn), None]
        };
        let on_reload = OnReload::LivesOn;
        let mut member = Self {
            name,
            file: File::Missing,
            behaviour: Behaviour { on_term: OnTerm::Ignores, is_ready: false, then: Then::Lives, pre: None, on_reload },
            is_enabled,
            was_always_enabled: is_enabled,
            kind,
            has_pre: is_service && rng.u8(0..4) == 0,
            can_reload: is_service && rng.u8(0..4) == 0,
            stop_when_unneeded: may_be_unneeded && rng.u8(0..4) == 0,
            elapses: Elapses::Once(if rng.bool() { SHORT } else { LONG }),
            parents,
            timeouts,
            is_stubborn,
            is_never_ready,
        };
        member.file = File::Good(member.spec(rng));
        member.behaviour = member.behaviour(rng);
        member
    }

    /// Only services need a setting.
    pub fn can_be_spoilt(&self) -> bool {
        self.kind.is_service()
    }

    pub fn is_trigger(&self) -> bool {
        matches!(self.kind, Type::Timer | Type::Socket)
    }

    pub fn can_reload(&self) -> bool {
        self.can_reload
    }

    /// New settings for it. Its type and dependencies do not change.
    pub fn spec(&self, rng: &mut Rng) -> Spec {
        // The last three are refused for a oneshot.
        let policies = [
            Restart::No,
            Restart::No,
            Restart::OnFailure,
            Restart::OnFailure,
            Restart::OnAbnormal,
            Restart::OnAbort,
            Restart::OnWatchdog,
            Restart::Always,
            Restart::Always,
            Restart::OnSuccess,
        ];
        let policies = if self.kind == Type::Oneshot { &policies[..7] } else { &policies[..] };
        Spec {
            kind: self.kind,
            restart: *one_of(policies, rng),
            restart_delay: if rng.bool() { SHORT } else { LONG },
            timeout_start: self.timeouts[0],
            timeout_stop: self.timeouts[1],
            job_timeout: self.timeouts[2],
            start_limit_interval: LONG,
            start_limit_burst: rng.u32(2..=4),
            success_exit: if rng.u8(0..3) == 0 { vec![Exit::Code(1)] } else { Vec::new() },
            restart_prevent: if rng.bool() { vec![Exit::Code(2)] } else { Vec::new() },
            remain_after_exit: rng.u8(0..if self.kind == Type::Oneshot { 2 } else { 8 }) == 0,
            stop_when_unneeded: self.stop_when_unneeded,
            wanted_elsewhere: false,
            refuse_manual_start: rng.u8(0..16) == 0,
            can_reload: self.can_reload,
            elapses: self.elapses,
            parents: self.parents.clone(),
        }
    }

    pub fn behaviour(&self, rng: &mut Rng) -> Behaviour {
        use Exit::{Code, Signal};
        let ends = [Code(0), Code(1), Code(2), Code(2), Signal(ProcessSignal::Kill), Signal(ProcessSignal::Term)];
        let on_reload = [
            OnReload::LivesOn,
            OnReload::Exits(0),
            OnReload::Exits(1),
            OnReload::ExitsLater(0),
            OnReload::ExitsLater(1),
        ];
        let on_term = [OnTerm::Dies, OnTerm::Exits(0), OnTerm::Exits(1), OnTerm::Exits(2)];
        Behaviour {
            on_term: if self.is_stubborn { OnTerm::Ignores } else { *one_of(&on_term, rng) },
            is_ready: self.kind == Type::Notify && !self.is_never_ready && rng.u8(0..4) > 0,
            then: if rng.bool() { Then::Lives } else { Then::Ends(*one_of(&ends, rng)) },
            pre: self.has_pre.then(|| *one_of(&[0, 0, 3], rng)),
            on_reload: *one_of(&on_reload, rng),
        }
    }

    /// The text of its unit file, if it has one.
    pub fn unit_file(&self, names: &[&str]) -> Option<String> {
        match &self.file {
            File::Missing => None,
            // No ExecStart=.
            File::Bad => Some("[Service]\nType=simple\n".to_owned()),
            File::Good(spec) => Some(unit_file(&self.name, spec, self.has_pre, names)),
        }
    }
}

/// `names` are those of the units that the dependencies mean by their numbers.
fn unit_file(name: &str, spec: &Spec, has_pre: bool, names: &[&str]) -> String {
    let mut lines = vec!["[Unit]".to_owned()];
    for dependency in &spec.parents {
        let parent = names[dependency.parent.0];
        let bond = match dependency.bond {
            Bond::Requires => "Requires",
            Bond::BindsTo => "BindsTo",
            Bond::Requisite => "Requisite",
            Bond::Wants => "Wants",
            Bond::PartOf => "PartOf",
            Bond::Conflicts => "Conflicts",
            Bond::Triggers => continue,
        };
        lines.push(format!("{bond}={parent}"));
        if dependency.after {
            lines.push(format!("After={parent}"));
        }
    }
    lines.extend([
        format!("StartLimitIntervalSec={}", milliseconds(spec.start_limit_interval)),
        format!("StartLimitBurst={}", spec.start_limit_burst),
        format!("JobTimeoutSec={}", timeout(spec.job_timeout)),
        format!("StopWhenUnneeded={}", yes(spec.stop_when_unneeded)),
        format!("RefuseManualStart={}", yes(spec.refuse_manual_start)),
    ]);
    if !spec.kind.is_service() {
        lines.push("DefaultDependencies=no".to_owned());
    }
    let triggered = spec.parents.first().map_or("", |it| names[it.parent.0]);
    match (spec.kind, spec.elapses) {
        (Type::Target, _) => {}
        (Type::Timer, Elapses::Once(after)) => lines.extend([
            "[Timer]".to_owned(),
            format!("Unit={triggered}"),
            format!("OnActiveSec={}", milliseconds(after)),
            "AccuracySec=1ms".to_owned(),
        ]),
        (Type::Timer, Elapses::Every(_)) => unreachable!("it would take too long"),
        (Type::Socket, _) => {
            lines.extend(["[Socket]".to_owned(), format!("Service={triggered}"), format!("ListenStream=%t/{name}")]);
        }
        (Type::Simple | Type::Notify | Type::Oneshot, _) => lines.extend(service_section(spec, has_pre)),
    }
    lines.join("\n") + "\n"
}

fn milliseconds(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}

fn timeout(time: Option<Duration>) -> String {
    time.map_or("infinity".to_owned(), milliseconds)
}

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

fn service_section(spec: &Spec, has_pre: bool) -> Vec<String> {
    let exit = |exit: &Exit| match exit {
        Exit::Code(code) => code.to_string(),
        Exit::Signal(signal) => format!("SIG{}", signal_name(*signal)),
    };
    let exits = |exits: &[Exit]| exits.iter().map(exit).collect::<Vec<_>>().join(" ");
    let kind = match spec.kind {
        Type::Simple => "simple",
        Type::Notify => "notify",
        Type::Oneshot => "oneshot",
        Type::Target | Type::Timer | Type::Socket => unreachable!("it has no such section"),
    };
    let restart = match spec.restart {
        Restart::No => "no",
        Restart::OnSuccess => "on-success",
        Restart::OnFailure => "on-failure",
        Restart::OnAbnormal => "on-abnormal",
        Restart::OnAbort => "on-abort",
        Restart::OnWatchdog => "on-watchdog",
        Restart::Always => "always",
    };
    let mut lines = vec![
        "[Service]".to_owned(),
        format!("Type={kind}"),
        "NotifyAccess=all".to_owned(),
        "ExecStart=/bin/sh %h/life/%n".to_owned(),
        format!("Restart={restart}"),
        format!("RestartSec={}", milliseconds(spec.restart_delay)),
        format!("TimeoutStartSec={}", timeout(spec.timeout_start)),
        format!("TimeoutStopSec={}", timeout(spec.timeout_stop)),
        format!("SuccessExitStatus={}", exits(&spec.success_exit)),
        format!("RestartPreventExitStatus={}", exits(&spec.restart_prevent)),
        format!("RemainAfterExit={}", yes(spec.remain_after_exit)),
    ];
    if has_pre {
        lines.push("ExecStartPre=/bin/sh %h/pre/%n".to_owned());
    }
    if spec.can_reload {
        lines.push("ExecReload=/bin/sh %h/reload/%n $MAINPID".to_owned());
    }
    lines
}

pub fn one_of<'a, T>(choices: &'a [T], rng: &mut Rng) -> &'a T {
    &choices[rng.usize(0..choices.len())]
}
