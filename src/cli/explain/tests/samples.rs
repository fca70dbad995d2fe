//! One worker for each reason that an explanation can give.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::core::context::Context;
use crate::core::diagnosis::{State, Trigger, Unrecoverable};
use crate::core::explain::{Commands, References};
use crate::core::pauses::Target;
use crate::core::policy::Policy;
use crate::core::rules::{Case, ClearedBy, GivenUp, History};
use crate::core::selector::Worker;
use crate::core::time::Timestamp;
use crate::core::units::{
    ActiveState, Deactivation, Inspection, LoadState, Parent, RestartPolicy, Restarts, ServiceResult, StopEvidence,
    StoppedGroup, Transition, TriggerUnit, UnitFile, UnitName,
};
use crate::files::sites_yaml;

/// 2026-11-24 03:02:05 UTC.
const NOW: Duration = Duration::from_secs(1_795_489_325);
/// The same by the clock of pauses.
const CLOCK: Duration = Duration::from_secs(5_000);
const RUN: &str = "0f3a9c52d1e84b7fa6c3e2b1908d7f65";

const ENABLED: UnitFile = UnitFile { enabled: true, on_demand: false, waits_with_targets: false, definition: 1 };
const DISABLED: UnitFile = UnitFile { enabled: false, ..ENABLED };

/// A worker, and everything that a decision about it rests on.
pub struct Sample {
    /// The name of its snapshot.
    pub name: &'static str,
    /// What the case is, as a sentence.
    pub what: &'static str,
    registry: String,
    /// The settings, except for the registry.
    context: Context,
    pub commands: Commands,
    daemon_runs: bool,
    unit: UnitName,
    worker: Worker,
    seen: Inspection,
    history: History<'static>,
    given_up: Option<GivenUp>,
}

impl Sample {
    /// The queue of myapp, which ended with an error 3 minutes ago, and nothing speaks against healing it.
    pub fn new(name: &'static str, what: &'static str) -> Self {
        Self {
            name,
            what,
            registry: "sites:\n- name: shop\n  path: /home/me/shop\n- name: myapp\n  path: /home/me/myapp\n".to_owned(),
            context: Context::default(),
            commands: Commands::USER,
            daemon_runs: true,
            unit: UnitName::parse("lerd-queue-myapp").unwrap(),
            worker: Worker { site: "myapp".into(), name: "queue".into(), worktree: None },
            seen: Inspection {
                since: Some(SystemTime::UNIX_EPOCH + NOW - Duration::from_secs(192)),
                run: Some(RUN.to_owned()),
                file: Some(ENABLED),
                stop: Some(StopEvidence::NotRequested),
                working_directory: Some("/home/me/myapp".into()),
                ..Inspection::crashed()
            },
            history: History { at_failure: Some(ENABLED), ..History::default() },
            given_up: None,
        }
    }

    /// The same worker, down without having failed.
    pub fn inactive(name: &'static str, what: &'static str) -> Self {
        Self::new(name, what).seen(|seen| {
            seen.active = ActiveState::Inactive;
            seen.result = ServiceResult::Success;
        })
    }

    /// The same worker, up since an hour.
    pub fn up(name: &'static str, what: &'static str) -> Self {
        Self::new(name, what).seen(|seen| {
            seen.active = ActiveState::Active;
            seen.up_for = Some(Duration::from_secs(11_100));
            seen.result = ServiceResult::Success;
            seen.stop = None;
        })
    }

    /// The same worker, restarted by the manager again and again.
    pub fn restarting(name: &'static str, what: &'static str, count: u32) -> Self {
        Self::new(name, what).seen(|seen| {
            seen.active = ActiveState::Activating;
            seen.auto_restart = true;
            seen.has_job = true;
            seen.restart = RestartPolicy::Always;
            seen.restarts =
                Some(Restarts { count, last_run: Some(Duration::from_millis(2_300)), delay: None, status: 1 });
            seen.since = Some(SystemTime::UNIX_EPOCH + NOW - Duration::from_secs(1));
            seen.stop = None;
        })
    }

    pub fn seen(mut self, change: impl FnOnce(&mut Inspection)) -> Self {
        change(&mut self.seen);
        self
    }

    pub fn remembers(mut self, change: impl FnOnce(&mut History<'static>)) -> Self {
        change(&mut self.history);
        self
    }

    pub fn given_up(mut self, reason: &str) -> Self {
        let definition = Inspection { file: Some(ENABLED), ..self.seen.clone() }.definition();
        self.given_up = Some(GivenUp { reason: reason.into(), definition, run: Some(RUN.into()) });
        self
    }

    fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.context.policy);
        self
    }

    /// What the registry says of myapp beyond its name and path.
    fn registered(mut self, lines: &str) -> Self {
        lines.lines().for_each(|line| self.registry.push_str(&format!("  {line}\n")));
        self
    }

    fn paused(mut self, target: Target, minutes: Option<u64>) -> Self {
        let end = minutes.map(|minutes| Timestamp::from_origin(CLOCK + Duration::from_secs(minutes * 60)));
        self.context.pauses.pause(target, end);
        self
    }

    fn stop(self, stop: StopEvidence) -> Self {
        self.seen(|seen| seen.stop = Some(stop))
    }

    fn load(self, load: LoadState) -> Self {
        self.seen(|seen| seen.load = load)
    }

    fn parent(self, name: &str, active: ActiveState, stopping: bool) -> Self {
        let left = (!active.is_up()).then(|| Duration::from_secs(59));
        self.seen(|seen| seen.parents.push(Parent { name: name.into(), active, stopping, left, ..Parent::default() }))
    }

    fn of_worktree(mut self) -> Self {
        self.unit = UnitName::parse("lerd-queue-myapp-login").unwrap();
        self.worker.worktree = Some("login".into());
        self
    }

    fn without_site(mut self, unit: &str) -> Self {
        self.unit = UnitName::parse(unit).unwrap();
        self.worker = Worker { site: String::new(), name: self.unit.short().into(), worktree: None };
        self
    }

    pub fn with_case<T>(&self, look: impl FnOnce(&Case) -> T) -> T {
        let registry = sites_yaml::parse(self.registry.as_bytes()).unwrap();
        let context = Context { registry: Arc::new(registry), ..self.context.clone() };
        let history = History { given_up: self.given_up.as_ref(), ..self.history };
        look(&Case { context: &context, unit: &self.unit, worker: &self.worker, seen: &self.seen, history })
    }

    pub fn references(&self) -> References {
        References {
            sites: "~/.local/share/lerd/sites.yaml".into(),
            config: "~/.config/workerheal/config.yaml".into(),
            stop_marker: "~/.local/share/lerd/run/stopped".into(),
            commands: self.commands.clone(),
            daemon_runs: self.daemon_runs,
            now: SystemTime::UNIX_EPOCH + NOW,
            clock: Timestamp::from_origin(CLOCK),
        }
    }
}

/// The case as `workerheal heal` judges it.
pub fn by_hand<'a>(case: &Case<'a>) -> Case<'a> {
    let history = History { trigger: Trigger::Request, refuses: case.history.refuses, ..History::default() };
    Case { history, ..*case }
}

/// Samples of workers on systemd.
pub fn on_systemd() -> Vec<Sample> {
    [well(), unhealthy(), stopped(), paused(), files(), elsewhere(), attempts(), together()]
        .into_iter()
        .flatten()
        .collect()
}

fn well() -> Vec<Sample> {
    vec![
        Sample::up("up", "It is up."),
        Sample::restarting("restarting", "It has ended, and systemd restarts it for the second time.", 2),
        Sample::restarting("restarting_later", "It has ended, and its unit has RestartSec=1h.", 1).seen(|seen| {
            seen.began = Some(Duration::from_secs(60));
            seen.restarts.as_mut().unwrap().delay = Some(Duration::from_secs(3600));
        }),
        Sample::new("starting", "It is on its way up.").seen(|seen| seen.active = ActiveState::Activating),
        Sample::new("stopping", "It is on its way down.").seen(|seen| seen.active = ActiveState::Deactivating),
        Sample::inactive("inactive_queued", "Its start waits for its container.")
            .seen(|seen| seen.has_job = true)
            .parent("lerd-php85-fpm.service", ActiveState::Activating, false),
        Sample::inactive("inactive_not_enabled", "It is down and not enabled.").seen(|seen| seen.file = Some(DISABLED)),
        Sample::inactive("inactive_not_enabled_stopped", "It is not enabled, and was stopped.")
            .seen(|seen| seen.file = Some(DISABLED))
            .stop(StopEvidence::Requested),
        Sample::inactive("inactive_unloaded_stopped", "It was stopped, and systemd has unloaded it.")
            .seen(|seen| (seen.file, seen.run) = (Some(DISABLED), Some(String::new())))
            .stop(StopEvidence::Requested),
        Sample::inactive("inactive_on_demand", "It is down, and a timer starts it.").seen(|seen| {
            seen.file = Some(UnitFile { on_demand: true, ..DISABLED });
            seen.triggers = vec![timer(ActiveState::Active)];
        }),
        Sample::inactive("inactive_timer_stopped", "It is down, and so is the timer that starts it.").seen(|seen| {
            seen.file = Some(UnitFile { on_demand: true, ..DISABLED });
            seen.triggers = vec![timer(ActiveState::Inactive)];
        }),
        Sample::inactive("inactive_condition", "It is down, and its condition does not hold.")
            .seen(|seen| seen.file = Some(UnitFile { on_demand: true, ..ENABLED })),
        Sample::inactive("inactive_target_down", "The target of its project was not started.").seen(|seen| {
            seen.file = Some(UnitFile { waits_with_targets: true, ..ENABLED });
            (seen.run, seen.deactivation) = (Some(String::new()), None);
        }),
        Sample::inactive("inactive_oneshot", "It is down, since its work is done.").seen(|seen| seen.oneshot = true),
        Sample::inactive("inactive_stop_unknown", "It is down, and the journal has forgotten why.")
            .stop(StopEvidence::Unknown("the journal has no record of its last run".into())),
        Sample::inactive("inactive_files_unknown", "It is down, and its unit files were not inspected.")
            .seen(|seen| seen.file = None),
        Sample::inactive("inactive_masked", "It is down and masked.")
            .load(LoadState::Masked)
            .seen(|seen| seen.file = Some(DISABLED)),
        Sample::inactive("inactive_no_file", "It is down, and its file is gone.")
            .load(LoadState::NotFound)
            .seen(|seen| seen.file = Some(DISABLED)),
        Sample::inactive("inactive_site_paused", "Lerd has paused its site, and so disabled and stopped it.")
            .seen(|seen| seen.file = Some(DISABLED))
            .registered("paused: true"),
        Sample::new("alias", "Its name is only another name of a unit.").load(LoadState::Merged),
        Sample::new("state_of_a_later_systemd", "systemd has a new word for its state.")
            .seen(|seen| seen.active = ActiveState::Unknown),
    ]
}

fn unhealthy() -> Vec<Sample> {
    vec![
        Sample::new("failed", "It ended with an error, and is about to be started."),
        Sample::new("failed_killed", "It was killed; how is known from its times, not from the journal.").seen(
            |seen| {
                seen.result = ServiceResult::Signal;
                seen.stop = None;
                seen.deactivation = Some(Deactivation { left: Duration::from_secs(60), down: Duration::from_secs(60) });
            },
        ),
        Sample::new("failed_again", "Three attempts have failed, and the next is due.").remembers(|it| it.attempts = 3),
        Sample::new("never_given_up", "The configuration never gives up.")
            .policy(|policy| policy.give_up_after = None)
            .remembers(|it| it.attempts = 31),
        Sample::new("cleared_by_us", "We have cleared its failure, and it has not come up yet.")
            .seen(|seen| seen.active = ActiveState::Inactive)
            .remembers(|it| it.cleared = Some(ClearedBy::Us)),
        Sample::new("start_limit_hit", "systemd has restarted it until that was too often.").seen(|seen| {
            seen.restart = RestartPolicy::Always;
        }),
        Sample::inactive("restart_skipped", "systemd skipped its restart because of a condition.").seen(|seen| {
            seen.result = ServiceResult::Signal;
            seen.restart = RestartPolicy::Always;
            seen.restarts = Some(Restarts { count: 1, last_run: None, delay: None, status: 9 });
            seen.skipped = Some(Duration::from_secs(60));
        }),
        Sample::inactive("expected_but_stopped", "It is enabled and down, which is configured to be healed.")
            .policy(|policy| policy.states.push(State::ExpectedButStopped)),
        Sample::up("unreachable", "It is up but refuses its health probe.")
            .remembers(|it| it.refuses = Some("127.0.0.1:6001")),
        Sample::restarting("crash_looping", "systemd restarts it for ever.", 12),
        Sample::new("stuck_starting", "It has been starting for longer than may be.").seen(|seen| {
            seen.active = ActiveState::Activating;
            seen.has_job = true;
            seen.stop = None;
            seen.transition = Some(Transition { lasts: Duration::from_secs(600), limit: None });
        }),
        Sample::new("stuck_starting_not_enabled", "It hangs on its way up, and is not enabled.")
            .seen(|seen| {
                (seen.active, seen.stop, seen.file) = (ActiveState::Activating, None, Some(DISABLED));
                seen.transition = Some(Transition { lasts: Duration::from_secs(600), limit: None });
            })
            .remembers(|it| it.at_failure = Some(DISABLED)),
        Sample::new("stuck_stopping", "A process of it does not end.").seen(|seen| {
            seen.active = ActiveState::Deactivating;
            seen.stop = None;
            let limit = Some(Duration::from_secs(270));
            seen.transition = Some(Transition { lasts: Duration::from_secs(600), limit });
        }),
        Sample::up("socket_failed", "It is up, and its socket has failed.").seen(|seen| {
            let name = "lerd-queue-myapp.socket".into();
            seen.triggers = vec![TriggerUnit { name, active: ActiveState::Failed }];
        }),
        Sample::new("conflict_up", "Maintenance is under way, with which it conflicts.")
            .seen(|seen| seen.conflicts = vec!["maintenance.service".into()]),
        Sample::new("its_own_start_waits", "Its start is ordered after another unit, which is on its way up.")
            .seen(|seen| seen.has_job = true)
            .remembers(|it| it.starting = true),
        Sample::new("left_to_its_timer", "It is a job that a timer runs.").seen(|seen| {
            seen.oneshot = true;
            seen.triggers = vec![timer(ActiveState::Active)];
        }),
        Sample::new("left_to_a_failed_timer", "It is a job that a timer runs, which has failed.").seen(|seen| {
            seen.oneshot = true;
            seen.triggers = vec![timer(ActiveState::Failed)];
        }),
        Sample::new("oneshot", "It runs once, and has failed.").seen(|seen| seen.oneshot = true),
        Sample::new("restart_prevented", "It ended in a way that its unit excludes from restarts.").seen(|seen| {
            seen.restart = RestartPolicy::Always;
            seen.restart_prevented = Some("status 78".into());
        }),
        Sample::new("cleared", "Its failure was cleared, and it is enabled.")
            .seen(|seen| seen.active = ActiveState::Inactive)
            .remembers(|it| it.cleared = Some(ClearedBy::Person)),
        Sample::new("orphaned", "Its directory is gone.").seen(|seen| seen.directory_gone = true),
        Sample::up("orphaned_up", "Its directory is gone, and it still runs.").seen(|seen| seen.directory_gone = true),
        Sample::inactive("orphaned_inactive", "Its directory was gone when it was to be started.")
            .seen(|seen| seen.directory_gone = true),
    ]
}

fn timer(active: ActiveState) -> TriggerUnit {
    TriggerUnit { name: "lerd-queue-myapp.timer".to_owned(), active }
}

fn stopped() -> Vec<Sample> {
    vec![
        Sample::inactive("stopped", "You stopped it, as the journal shows.").stop(StopEvidence::Requested),
        Sample::new("stopped_and_failed", "You stopped it, which ended in failed.").stop(StopEvidence::Requested),
        Sample::new("stopped_seen_live", "The stop was seen under way.")
            .seen(|seen| seen.stop = None)
            .remembers(|it| it.stop_seen = true),
        Sample::new("stopped_while_down", "You stopped it while it was down already.")
            .remembers(|it| it.stays_stopped = true),
        Sample::new("stopped_with_its_parent", "Redis was stopped, and took it along.")
            .stop(StopEvidence::Requested)
            .parent("lerd-redis.service", ActiveState::Inactive, false),
        Sample::new("taken_along_and_back", "Redis took it along, and is up again.")
            .stop(StopEvidence::Requested)
            .remembers(|it| it.taken_along = true)
            .parent("lerd-redis.service", ActiveState::Active, false),
        Sample::new("asked_for_by_name", "You stopped it, and then asked for it by name.")
            .stop(StopEvidence::Requested)
            .seen(|seen| seen.file = Some(DISABLED))
            .policy(|policy| policy.states.clear())
            .remembers(|it| (it.trigger, it.at_failure) = (Trigger::Request, Some(DISABLED))),
        Sample::new("group_stopped", "The target that it is part of was stopped while it waited.").seen(|seen| {
            let left = Some(Duration::from_secs(70));
            seen.began = Some(Duration::from_secs(50));
            seen.at = Duration::from_secs(100);
            seen.stopped_groups = vec![StoppedGroup { name: "app.target".into(), left }];
        }),
        Sample::new("stop_unknown", "The journal has forgotten its last run.")
            .stop(StopEvidence::Unknown("the journal has no record of its last run".into())),
    ]
}

fn paused() -> Vec<Sample> {
    let site = || Target::Site("myapp".into());
    let unit = || Target::Unit(UnitName::parse("lerd-queue-myapp").unwrap());
    let mut marked = Sample::new("stop_marker", "Lerd was stopped on purpose.");
    marked.context.stop_marker = true;
    vec![
        marked,
        Sample::new("paused_everything", "All healing is paused.").paused(Target::Everything, None),
        Sample::new("paused_everything_until", "All healing is paused for a time.")
            .paused(Target::Everything, Some(22)),
        Sample::new("paused_site_by_hand", "Healing of its site is paused.").paused(site(), None),
        Sample::new("paused_site_by_hand_until", "Healing of its site is paused for a time.")
            .paused(site(), Some(1500)),
        Sample::up("up_paused", "It is up, and healing of it is paused for a time.").paused(unit(), Some(22)),
        Sample::up("up_site_paused", "It is up, and Lerd has paused its site.").registered("paused: true"),
        Sample::new("paused_unit", "Healing of it is paused.").paused(unit(), None),
        Sample::new("paused_unit_until", "Healing of it is paused for a time.").paused(unit(), Some(22)),
        Sample::new("paused_twice", "Healing of it and of its site is paused.")
            .paused(site(), Some(22))
            .paused(unit(), None),
        Sample::new("site_paused", "Lerd has paused its site.").registered("paused: true"),
        Sample::new("worker_paused", "Lerd has paused it.").registered("paused_workers:\n- queue"),
        Sample::new("idle", "It sleeps until its site is used.").registered("idle_suspended_workers: [queue]"),
        Sample::new("idle_worktree", "It sleeps, in a worktree.")
            .of_worktree()
            .registered("worktree_idle_suspended:\n  login: [queue]"),
    ]
}

fn files() -> Vec<Sample> {
    vec![
        Sample::new("masked", "Its unit is masked.").load(LoadState::Masked),
        Sample::new("no_file", "Its unit has no file any more.").load(LoadState::NotFound),
        Sample::new("bad_setting", "Its unit's file has a mistake.").load(LoadState::BadSetting),
        Sample::new("unreadable_file", "Its unit's file cannot be read.").load(LoadState::Error),
        Sample::new("disabled", "It was disabled while it was down.").seen(|seen| seen.file = Some(DISABLED)),
        Sample::new("never_enabled", "It is not enabled, and never was.")
            .seen(|seen| seen.file = Some(DISABLED))
            .remembers(|it| it.at_failure = Some(DISABLED)),
    ]
}

fn elsewhere() -> Vec<Sample> {
    let redis = "lerd-redis.service";
    vec![
        Sample::new("foreign_job", "Another client has a job for it.").seen(|seen| seen.has_job = true),
        Sample::new("parent_failed", "What it needs has failed.").parent(redis, ActiveState::Failed, false),
        Sample::new("parent_inactive", "What it needs is down.").parent(redis, ActiveState::Inactive, false),
        Sample::new("parent_without_a_file", "What it needs is down, and has no file.")
            .parent(redis, ActiveState::Inactive, false)
            .seen(|seen| seen.parents[0].load = LoadState::NotFound),
        Sample::new("parent_masked", "What it needs is down, and masked.")
            .parent(redis, ActiveState::Inactive, false)
            .seen(|seen| seen.parents[0].load = LoadState::Masked),
        Sample::new("parent_activating", "What it needs is on its way up.").parent(
            redis,
            ActiveState::Activating,
            false,
        ),
        Sample::new("parent_being_stopped", "What it needs is about to be stopped.").parent(
            redis,
            ActiveState::Active,
            true,
        ),
        Sample::new("parents_down", "Two of the three units that it needs are down.")
            .parent(redis, ActiveState::Failed, false)
            .parent("lerd-mysql.service", ActiveState::Active, false)
            .parent("srv-data.mount", ActiveState::Inactive, false),
        Sample::new("state_not_configured", "Its state is none that is healed.").policy(|policy| policy.states.clear()),
        Sample::inactive("expected_but_stopped_not_configured", "It is down though enabled, which is not healed."),
        Sample::new("without_site", "Only also_watch covers it.").without_site("celery@mail"),
        Sample::new("name_with_a_backslash", "Its name has to be quoted in a shell.")
            .without_site(r"backup-dev\x2dsda")
            .seen(|seen| seen.file = Some(DISABLED)),
        Sample::new("worktree", "It works for a worktree of the site.").of_worktree(),
    ]
}

fn attempts() -> Vec<Sample> {
    let system = |mut sample: Sample| {
        sample.commands = Commands::SYSTEM;
        sample
    };
    let alone = |mut sample: Sample| {
        sample.daemon_runs = false;
        sample
    };
    vec![
        alone(Sample::new("failed_without_a_daemon", "It ended with an error, and no daemon is running.")),
        alone(Sample::new("waiting_without_a_daemon", "Three attempts have failed, and the daemon has ended."))
            .remembers(|it| {
                it.attempts = 3;
                it.wait = Duration::from_millis(256_400);
            }),
        Sample::new("waiting", "Three attempts have failed, and the next is due later.").remembers(|it| {
            it.attempts = 3;
            it.wait = Duration::from_millis(256_400);
        }),
        Sample::new("attempts_exhausted", "As many attempts as are allowed have failed.")
            .remembers(|it| it.attempts = 10),
        Sample::new("given_up", "It was given up after ten attempts.")
            .given_up("10 attempts failed")
            .remembers(|it| it.attempts = 10),
        Sample::new("given_up_without_a_file", "It was given up, since its file is gone.")
            .load(LoadState::NotFound)
            .given_up("the unit has no file any more"),
        Sample::new("given_up_without_a_file_enabled_before", "Its file is gone, and with that its being enabled.")
            .load(LoadState::NotFound)
            .given_up("the unit has no file any more")
            .seen(|seen| seen.file = Some(UnitFile { enabled: false, ..ENABLED })),
        Sample::new("given_up_not_by_hand", "It was given up, since only other units may start it.")
            .given_up(&Unrecoverable::NotByHand.to_string()),
        Sample::new("given_up_but_changed", "It was given up, and its unit has changed since.")
            .given_up("10 attempts failed")
            .seen(|seen| seen.file = Some(UnitFile { definition: 2, ..ENABLED }))
            .remembers(|it| it.attempts = 10),
        Sample::new("forbidden_user", "The manager of a user refuses to start it.")
            .remembers(|it| it.forbidden = Some("Access denied")),
        system(Sample::new("forbidden", "polkit does not permit its start.").without_site("celery@mail"))
            .remembers(|it| it.forbidden = Some("Interactive authentication required.")),
        system(Sample::new("system_unit", "It is a unit of the system, not of a user.").without_site("celery@mail"))
            .given_up("10 attempts failed")
            .remembers(|it| it.attempts = 10),
    ]
}

/// More than one thing against it.
fn together() -> Vec<Sample> {
    vec![
        Sample::new("site_paused_and_stopped", "You stopped it, and then paused the site.")
            .stop(StopEvidence::Requested)
            .registered("paused: true"),
        Sample::new("given_up_and_parent_down", "It was given up, and what it needs is down.")
            .given_up("10 attempts failed")
            .remembers(|it| it.attempts = 10)
            .parent("lerd-redis.service", ActiveState::Failed, false),
        Sample::new("waiting_and_parent_down", "Its next attempt is not due, and what it needs is down.")
            .remembers(|it| {
                it.attempts = 3;
                it.wait = Duration::from_secs(32);
            })
            .parent("lerd-redis.service", ActiveState::Failed, false),
        Sample::new("disabled_and_stop_unknown", "It was disabled, and perhaps stopped.")
            .seen(|seen| seen.file = Some(DISABLED))
            .stop(StopEvidence::Unknown("the journal cannot be read: permission denied".into())),
        Sample::new("everything_at_once", "As much as possible speaks against it.")
            .load(LoadState::Masked)
            .stop(StopEvidence::Requested)
            .registered("paused: true")
            .paused(Target::Everything, None)
            .seen(|seen| {
                seen.has_job = true;
                seen.file = Some(DISABLED);
            })
            .remembers(|it| it.wait = Duration::from_secs(3)),
    ]
}
