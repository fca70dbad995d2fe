//! The environment of the benchmarks: a sandbox with as many workers as needed.
//!
//! All workers are alike: enabled, no parents, one process, five to a site of the registry.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Pid;
use workerheal_sandbox::Sandbox;

use crate::machine::{self, Staff};

/// The simplest worker there is.
pub const WORKER: &str = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";
/// Number of workers of a site.
const WORKERS_PER_SITE: usize = 5;
pub const HEALER: &str = "workerheal.service";
const PACKAGED: &str = include_str!("../../packaging/systemd/user/workerheal.service");
/// The settings of the packaged unit that determine its scheduling.
const SCHEDULING: &str = "CPUSchedulingPolicy=batch\n";
/// The configuration that users begin with.
pub const DEFAULTS: &str = "";
/// The program to measure: another one, for comparison, if `WORKERHEAL_BENCH_PROGRAM` names it.
pub fn program() -> String {
    std::env::var("WORKERHEAL_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_workerheal").to_owned())
}

/// The scheduling of workerheal's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// As packaged.
    Packaged,
    /// Without any scheduling settings, like the units of the others.
    Default,
}

/// A sandbox with workers.
pub struct Stage {
    pub sandbox: Sandbox,
    pub staff: Staff,
}

/// The name of a worker's unit. Only units that begin with `lerd` are workerheal's.
pub fn unit(prefix: &str, number: usize) -> String {
    format!("{prefix}-queue{}-site{:05}.service", number % WORKERS_PER_SITE, number / WORKERS_PER_SITE)
}

/// The names of this many workers.
pub fn units(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| unit(prefix, number)).collect()
}

impl Stage {
    /// A stage with this many workers, all up, and a registry with their sites.
    pub fn with_workers(count: usize) -> anyhow::Result<Self> {
        Self::with_room(count, 0)
    }

    /// The same, with sites in the registry for this many more workers.
    pub fn with_room(count: usize, further: usize) -> anyhow::Result<Self> {
        let sandbox = Sandbox::start()?;
        let staff = Staff::of(&sandbox)?;
        let stage = Self { sandbox, staff };
        stage.write_registry((count + further).div_ceil(WORKERS_PER_SITE))?;
        ensure!(PACKAGED.contains(SCHEDULING), "the packaged unit has another scheduling");
        stage.sandbox.write_unit(HEALER, &PACKAGED.replace("/usr/bin/workerheal", &program()));
        stage.add(&units("lerd", count), |_| WORKER.to_owned())?;
        Ok(stage)
    }

    fn write_registry(&self, sites: usize) -> anyhow::Result<()> {
        let mut text = "sites:\n".to_owned();
        // If its directory did not exist, a site's workers would be looked up one by one.
        let code = self.sandbox.home().join("Code");
        for site in 0..sites {
            fs::create_dir_all(code.join(format!("site{site:05}")))?;
            let path = code.display();
            write!(
                text,
                "    - name: site{site:05}\n      domains: [site{site:05}.test]\n      path: {path}/site{site:05}\n\
                 \x20     php_version: \"8.5\"\n      node_version: \"22\"\n      secured: true\n      framework: laravel\n"
            )?;
        }
        self.sandbox.write_file(".local/share/lerd/sites.yaml", &text);
        Ok(())
    }

    fn units_directory(&self) -> PathBuf {
        self.sandbox.home().join(".config/systemd/user")
    }

    /// Enables and starts units.
    pub fn add(&self, units: &[String], text: impl Fn(&str) -> String) -> anyhow::Result<()> {
        let directory = self.units_directory();
        let wanted = directory.join("default.target.wants");
        fs::create_dir_all(&wanted)?;
        for unit in units {
            let file = directory.join(unit);
            fs::write(&file, text(unit))?;
            std::os::unix::fs::symlink(&file, wanted.join(unit))?;
        }
        self.sandbox.daemon_reload();
        self.call("start", units)
    }

    /// Stops units, and clears their failures.
    pub fn remove(&self, units: &[String]) -> anyhow::Result<()> {
        self.call("stop", units)?;
        // Some may have no failure to clear.
        let _ = self.call("reset-failed", units);
        let directory = self.units_directory();
        for unit in units {
            fs::remove_file(directory.join("default.target.wants").join(unit))?;
            fs::remove_file(directory.join(unit))?;
        }
        self.sandbox.daemon_reload();
        Ok(())
    }

    /// One call of `systemctl` for all of the units.
    pub fn call(&self, verb: &str, units: &[String]) -> anyhow::Result<()> {
        if !units.is_empty() {
            self.sandbox.systemctl(&[verb].into_iter().chain(units.iter().map(String::as_str)).collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// The processes of units, in the same order.
    pub fn processes(&self, units: &[String]) -> anyhow::Result<Vec<Pid>> {
        let all = machine::processes(&self.sandbox)?;
        units.iter().map(|unit| all.get(unit).copied().with_context(|| format!("{unit} has no process"))).collect()
    }

    /// Sets the scheduling of workerheal's unit from its next start on.
    pub fn schedule(&self, scheduling: Scheduling) {
        let drop_in = ".config/systemd/user/workerheal.service.d/scheduling.conf";
        let text = match scheduling {
            Scheduling::Packaged => "",
            Scheduling::Default => "[Service]\nCPUSchedulingPolicy=other\n",
        };
        self.sandbox.write_file(drop_in, text);
        self.sandbox.daemon_reload();
    }

    /// Starts workerheal with its packaged unit and a configuration, without saved state.
    pub fn start_healer(&self, configuration: &str) -> anyhow::Result<Pid> {
        self.sandbox.write_file(".config/workerheal/config.yaml", configuration);
        match fs::remove_file(self.sandbox.home().join(".local/state/workerheal/state.json")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        self.sandbox.start_unit(HEALER);
        self.healer()
    }

    /// Pauses all healing, until workerheal is started again.
    pub fn pause_healer(&self) -> anyhow::Result<()> {
        let status = self.sandbox.command(program()).arg("pause").stdout(std::process::Stdio::null()).status()?;
        ensure!(status.success(), "workerheal pause failed: {status}");
        Ok(())
    }

    pub fn stop_healer(&self) -> anyhow::Result<()> {
        ensure!(self.sandbox.show(HEALER, "NRestarts") == "0", "workerheal ended in between");
        self.sandbox.stop_unit(HEALER);
        Ok(())
    }

    pub fn healer(&self) -> anyhow::Result<Pid> {
        Ok(self.processes(&[HEALER.to_owned()])?[0])
    }

    /// Timestamps of units by the manager's monotonic clock, in microseconds; 0 is never.
    pub fn timestamps<const N: usize>(&self, pattern: &str, properties: [&str; N]) -> anyhow::Result<Vec<[u64; N]>> {
        let property = format!("--property={}", properties.join(","));
        let text = self.sandbox.systemctl(&["show", &property, pattern])?;
        let of_unit = |unit: &str| {
            properties.map(|property| {
                let line = unit.lines().find_map(|line| line.strip_prefix(property)?.strip_prefix('='));
                line.and_then(|value| value.parse().ok()).unwrap_or(0)
            })
        };
        Ok(text.split("\n\n").map(of_unit).collect())
    }

    /// The events that workerheal has logged about units since it was started, as pairs of unit and phase.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = |entry: &serde_json::Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let entries = self.sandbox.journal(&[&format!("_PID={}", self.sandbox.show(HEALER, "MainPID"))]);
        let events = entries.iter().filter(|entry| entry["WORKERHEAL_UNIT"].is_string());
        events.map(|entry| (text(entry, "WORKERHEAL_UNIT"), text(entry, "WORKERHEAL_PHASE"))).collect()
    }
}

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
