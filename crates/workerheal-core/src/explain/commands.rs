//! Commands that a person can paste, in the words of the service manager that runs the worker.

/// The commands for one worker.
#[derive(Debug, Clone)]
pub struct Commands {
    /// To the service manager.
    pub manager: Manager,
    /// How commands to workerheal itself begin.
    pub workerheal: &'static str,
}

/// The service manager that runs a worker.
#[derive(Debug, Clone)]
pub enum Manager {
    /// systemd: how commands to it and to its journal begin.
    Systemd {
        /// To the manager.
        systemctl: &'static str,
        /// To the journal.
        journalctl: &'static str,
    },
    /// launchd: where the worker's job is.
    Launchd(LaunchdJob),
}

/// A job of launchd, for commands about it.
#[derive(Debug, Clone, Default)]
pub struct LaunchdJob {
    /// Its domain, for example `gui/501`.
    pub domain: String,
    /// Its label.
    pub label: String,
    /// Its plist.
    pub plist: String,
    /// It is loaded.
    pub loaded: bool,
    /// It is to run, and launchd has put off its start.
    pub put_off: bool,
    /// Podman runs it, as a container of the unit's name: launchd knows nothing of it.
    pub by_podman: bool,
    /// The file that it logs to, if it has one.
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

    /// Stops a unit for now.
    pub(super) fn stop(&self, unit: &str) -> String {
        self.verb("stop", unit, |job| job.control("bootout"))
    }

    /// Lets a unit be started.
    pub(super) fn enable(&self, unit: &str) -> String {
        self.verb("enable", unit, |job| job.control("enable"))
    }

    /// Lets a unit be started, and starts it: in one step, or in two.
    pub(super) fn enable_and_start(&self, unit: &str) -> Vec<String> {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => vec![format!("enable and start it: {systemctl} enable --now {unit}")],
            Manager::Launchd(_) => {
                vec![format!("enable it: {}", self.enable(unit)), format!("start it: {}", self.start(unit))]
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

    /// Keeps a unit from being started.
    pub(super) fn disable(&self, unit: &str) -> String {
        self.verb("disable", unit, |job| job.control("disable"))
    }

    /// Undoes a mask. launchd has none.
    pub(super) fn unmask(&self, unit: &str) -> String {
        self.verb("unmask", unit, |job| job.control("enable"))
    }

    /// Shows what the manager knows of a unit.
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

    /// Has the manager forget a failure; `None` if it remembers none.
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

    /// What to do where the unit has no file.
    pub(super) fn write_the_file_again(&self) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => {
                format!("write its unit's file again, then: {systemctl} daemon-reload")
            }
            Manager::Launchd(_) => "write its plist again: it is then tried again".to_owned(),
        }
    }

    /// What to do where the unit's file is wrong, in two steps.
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

    /// Shows when a trigger starts a unit. launchd's are keys of the job itself.
    pub(super) fn status_of_the_trigger(&self, trigger: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => format!("{systemctl} status {trigger}"),
            Manager::Launchd(job) => job.control("print"),
        }
    }

    /// What to do for the manager to restart a unit that failed.
    pub(super) fn restart_on_failure(&self, unit: &str) -> String {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => {
                format!("add Restart=on-failure to its unit: {systemctl} edit {unit}")
            }
            Manager::Launchd(job) => format!("add KeepAlive to its plist, {}", path(&job.plist)),
        }
    }

    /// Ends a unit's processes the hard way.
    pub(super) fn kill(&self, unit: &str) -> String {
        self.verb("kill --signal=KILL", unit, |job| job.control("kill KILL"))
    }

    /// What to do where the manager starts a unit only for the sake of others: a choice.
    pub(super) fn start_by_others(&self, unit: &str) -> Vec<String> {
        match &self.manager {
            Manager::Systemd { systemctl, .. } => vec![
                format!("start what brings it up: {systemctl} list-dependencies --reverse {unit}"),
                format!("remove RefuseManualStart= from its unit: {systemctl} edit {unit}"),
            ],
            // launchd has nothing of the kind.
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

/// A path fit to be pasted, with the home directory as people write it.
fn path(path: &str) -> String {
    match path.strip_prefix("~/") {
        Some(below) => format!("~/{}", quoted(below)),
        None => quoted(path),
    }
}

/// A name fit to be pasted into a shell: names of units may have backslashes.
#[must_use]
pub fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '@' | '/');
    if name.chars().all(plain) { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) }
}
