//! Commands to paste into a shell, for the service manager that runs the worker.

/// The commands for one worker.
#[derive(Debug, Clone)]
pub struct Commands {
    /// Commands to the service manager.
    pub manager: Manager,
    /// The beginning of commands to workerheal itself.
    pub workerheal: &'static str,
}

/// The service manager that runs a worker.
#[derive(Debug, Clone)]
pub enum Manager {
    /// systemd: the beginning of commands to it and to its journal.
    Systemd {
        /// For `systemctl`.
        systemctl: &'static str,
        /// For `journalctl`.
        journalctl: &'static str,
    },
    /// launchd: the worker's job.
    Launchd(LaunchdJob),
}

/// A launchd job, for commands.
#[derive(Debug, Clone, Default)]
pub struct LaunchdJob {
    /// Its domain, for example `gui/501`.
    pub domain: String,
    /// Its label.
    pub label: String,
    /// Its plist.
    pub plist: String,
    /// Whether it is loaded.
    pub loaded: bool,
    /// Whether launchd has put off its start although it should run.
    pub put_off: bool,
    /// Whether Podman runs it, as a container with the unit's name: then launchd knows nothing about it.
    pub by_podman: bool,
    /// Its log file, if any.
    pub log: Option<String>,
}

impl Commands {
    /// For the units of the calling user.
    pub const USER: Self = Self {
        manager: Manager::Systemd { systemctl: "systemctl --user", journalctl: "journalctl --user" },
        workerheal: "workerheal",
    };
    /// For the units of the system.
    pub const SYSTEM: Self = Self {
        manager: Manager::Systemd { systemctl: "systemctl", journalctl: "journalctl" },
        workerheal: "workerheal --system",
    };

    /// Starts a unit.
    pub(super) fn start(&self, unit: &str) -> String {
        self.verb("start", unit, |job| {
            if job.loaded {
                job.control("kickstart")
            } else {
                format!("launchctl bootstrap {} {}", job.domain, path(&job.plist))
            }
        })
    }

    /// Starts a unit that waits for an automatic restart. A start would wait for that (systemd.service(5), `RestartSec=`).
    pub(super) fn restart(&self, unit: &str) -> Option<String> {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => Some(format!("{systemctl} restart {unit}")),
            Manager::Launchd(_) => None,
        }
    }

    /// Stops a unit for now.
    pub(super) fn stop(&self, unit: &str) -> String {
        self.verb("stop", unit, |job| job.control("bootout"))
    }

    /// Enables a unit.
    pub(super) fn enable(&self, unit: &str) -> String {
        self.verb("enable", unit, |job| job.control("enable"))
    }

    /// Whether they are for units of the system.
    pub(super) fn are_of_the_system(&self) -> bool {
        matches!(&self.manager, Manager::Systemd { systemctl, .. } if !systemctl.contains("--user"))
    }

    /// Steps to start a unit that is not enabled, if it has to be enabled for that.
    pub(super) fn enable_and_start(&self, unit: &str) -> Option<[String; 2]> {
        match &self.manager {
            Manager::Systemd { .. } => None,
            Manager::Launchd(_) => {
                Some([format!("enable it: {}", self.enable(unit)), format!("start it: {}", self.start(unit))])
            }
        }
    }

    /// Demands the start of a unit that the manager has put off, if it has.
    pub(super) fn demand(&self) -> Option<String> {
        match &self.manager {
            Manager::Launchd(job) if job.put_off => Some(job.control("kickstart")),
            _ => None,
        }
    }

    /// Disables a unit.
    pub(super) fn disable(&self, unit: &str) -> String {
        self.verb("disable", unit, |job| job.control("disable"))
    }

    /// Undoes a mask. launchd has none.
    pub(super) fn unmask(&self, unit: &str) -> String {
        self.verb("unmask", unit, |job| job.control("enable"))
    }

    /// Shows what the manager knows about a unit.
    pub(super) fn status(&self, unit: &str) -> String {
        match &self.manager {
            Manager::Launchd(LaunchdJob { by_podman: true, .. }) => format!("podman ps --all --filter name={unit}"),
            _ => self.verb("status", unit, |job| job.control("print")),
        }
    }

    /// Shows whether workerheal's own service runs.
    pub(super) fn status_of_the_daemon(&self) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{systemctl} status workerheal"),
            Manager::Launchd(job) => format!("launchctl print {}/dev.workerheal", job.domain),
        }
    }

    /// Shows the jobs that are under way.
    pub(super) fn jobs(&self, unit: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{systemctl} list-jobs"),
            Manager::Launchd(_) => self.status(unit),
        }
    }

    /// Makes the manager forget a failure; `None` if it remembers none.
    pub(super) fn reset_failed(&self, unit: &str) -> Option<String> {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => Some(format!("{systemctl} reset-failed {unit}")),
            Manager::Launchd(_) => None,
        }
    }

    /// Shows the worker's log.
    pub(super) fn log(&self, unit: &str) -> String {
        match &self.manager {
            Manager::Systemd { journalctl, .. } => format!("{journalctl} -u {unit}"),
            Manager::Launchd(LaunchdJob { by_podman: true, .. }) => format!("podman logs {unit}"),
            Manager::Launchd(LaunchdJob { log: Some(log), .. }) => format!("tail {}", path(log)),
            Manager::Launchd(_) => "its plist names no log file".to_owned(),
        }
    }

    /// Steps for a unit without a file.
    pub(super) fn write_the_file_again(&self) -> String {
        match &self.manager {
            Manager::Systemd { .. } => self.reload_after("write its unit's file again"),
            Manager::Launchd(_) => "write its plist again: it is then tried again".to_owned(),
        }
    }

    /// A step that changes unit files. A job of launchd needs no others, so this is about systemd only.
    pub(super) fn reload_after(&self, step: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{step}, then: {systemctl} daemon-reload"),
            Manager::Launchd(_) => step.to_owned(),
        }
    }

    /// Steps for a unit with an invalid file.
    pub(super) fn mend_the_file(&self, unit: &str) -> [String; 2] {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => [
                format!("see what is wrong with its unit's file: {}", self.status(unit)),
                format!("and correct it, then: {systemctl} daemon-reload"),
            ],
            Manager::Launchd(job) => [
                format!("see what is wrong with its plist: plutil -lint {}", path(&job.plist)),
                "and correct it: it is then tried again".to_owned(),
            ],
        }
    }

    /// Shows when a trigger starts a unit. In launchd, triggers are keys of the job itself.
    pub(super) fn status_of_the_trigger(&self, trigger: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{systemctl} status {trigger}"),
            Manager::Launchd(job) => job.control("print"),
        }
    }

    /// Steps that make the manager restart a failed unit.
    pub(super) fn restart_on_failure(&self, unit: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => {
                format!("add Restart=on-failure to its unit: {systemctl} edit {unit}")
            }
            Manager::Launchd(job) => format!("add KeepAlive to its plist, {}", path(&job.plist)),
        }
    }

    /// Kills a unit's processes.
    pub(super) fn kill(&self, unit: &str) -> String {
        self.verb("kill --signal=KILL", unit, |job| job.control("kill KILL"))
    }

    /// Choices for a unit that the manager starts only as a dependency of others.
    pub(super) fn start_by_others(&self, unit: &str) -> Vec<String> {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => vec![
                format!("start what brings it up: {systemctl} list-dependencies --reverse {unit}"),
                format!("remove RefuseManualStart= from its unit: {systemctl} edit {unit}"),
            ],
            // launchd has no equivalent.
            Manager::Launchd(_) => Vec::new(),
        }
    }

    fn verb(&self, verb: &str, unit: &str, of_job: impl FnOnce(&LaunchdJob) -> String) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{systemctl} {verb} {unit}"),
            Manager::Launchd(LaunchdJob { by_podman: true, .. }) => {
                format!(
                    "podman {} {unit}",
                    if matches!(verb, "start" | "enable" | "unmask") { "start" } else { "stop" }
                )
            }
            Manager::Launchd(job) => of_job(job),
        }
    }
}

impl LaunchdJob {
    fn control(&self, verb: &str) -> String {
        format!("launchctl {verb} {}", quoted(&format!("{}/{}", self.domain, self.label)))
    }
}

/// A path to paste, with `~` for the home directory.
fn path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(below) => format!("~/{}", quoted(below)),
        None => quoted(path),
    }
}

/// A name to paste into a shell: unit names may contain backslashes.
#[must_use]
pub fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '/');
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}
