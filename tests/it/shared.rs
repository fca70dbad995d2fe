//! The cases that hold on every service manager, on systemd.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::cell::Cell;
use std::fs;

use crate::cases::{Kind, LISTENS, Reported, Stage};
use crate::common::{DAEMON, SOON, World, service_of, text};

struct OnSystemd {
    world: World,
    cursor: Cell<usize>,
}

impl Stage for OnSystemd {
    fn new() -> Self {
        Self { world: World::new(), cursor: Cell::new(0) }
    }

    fn cursor(&self) -> &Cell<usize> {
        &self.cursor
    }

    fn config(&self, text: &str) {
        self.world.config(text);
    }

    fn sites(&self, sites: &[&str]) {
        self.world.sites(sites);
    }

    fn touch(&self, path: &str) {
        self.world.write_file(path, "");
    }

    fn write(&self, path: &str, text: &str) {
        self.world.write_file(path, text);
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.world.home().join(path)).unwrap_or_default()
    }

    fn remove(&self, path: &str) {
        let path = self.world.home().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    fn define(&self, unit: &str, kind: Kind) {
        let broken = "test ! -e %h/broken || { echo it is broken >&2; exit 1; }";
        let service = match kind {
            Kind::Lives => "ExecStart=sleep infinity".to_owned(),
            Kind::LivesUnlessBroken => format!("ExecStart=sh -c '{broken}; exec sleep infinity'"),
            Kind::KeptAlive => {
                format!("Restart=always\nRestartSec=50ms\nExecStart=sh -c '{broken}; exec sleep infinity'")
            }
            Kind::Ends => format!("ExecStart=sh -c '{broken}'"),
            Kind::LivesInWork => "WorkingDirectory=%h/work\nExecStart=sleep infinity".to_owned(),
            Kind::Wrong => "ExecStart=".to_owned(),
            Kind::Listens => {
                self.world.write_file("listens.pl", LISTENS);
                "ExecStart=perl %h/listens.pl %h".to_owned()
            }
        };
        let text =
            format!("[Unit]\nStartLimitIntervalSec=0\n[Service]\n{service}\n[Install]\nWantedBy=default.target\n");
        self.world.write_unit(&service_of(unit), &text);
        self.world.daemon_reload();
    }

    fn start(&self, unit: &str) {
        // systemd reports an error for a process that dies at once.
        let _ = self.world.systemctl(&["enable", "--now", unit]);
    }

    fn stop(&self, unit: &str) {
        self.world.control(&["stop", unit]);
        let _ = self.world.systemctl(&["reset-failed", unit]);
    }

    fn disable(&self, unit: &str) {
        self.world.control(&["disable", unit]);
    }

    fn crash(&self, unit: &str) {
        // A worker that is down cannot be killed.
        let _ = self.world.systemctl(&["kill", "--signal=KILL", unit]);
    }

    fn is_up(&self, unit: &str) -> bool {
        self.world.show(&service_of(unit), "ActiveState") == "active"
    }

    fn picture(&self, units: &[&str]) -> String {
        self.world.picture(units)
    }

    fn start_daemon(&self) {
        self.world.start_unit(DAEMON);
    }

    fn stop_daemon(&self) {
        self.world.stop_unit(DAEMON);
    }

    fn kill_daemon(&self) {
        self.world.kill(DAEMON, "KILL");
        self.world.wait_for_state(DAEMON, "failed", SOON);
    }

    fn events(&self) -> Vec<Reported> {
        let reported = self.world.journal(&["SYSLOG_IDENTIFIER=workerheal"]);
        let reported = reported.iter().filter(|entry| entry["WORKERHEAL_PHASE"].is_string());
        reported
            .map(|entry| Reported {
                phase: text(entry, "WORKERHEAL_PHASE"),
                unit: text(entry, "WORKERHEAL_UNIT"),
                site: text(entry, "WORKERHEAL_SITE"),
                attempt: text(entry, "WORKERHEAL_ATTEMPT").parse().ok(),
                reason: text(entry, "WORKERHEAL_REASON"),
                error: text(entry, "WORKERHEAL_ERROR"),
            })
            .collect()
    }

    fn detect(&self) -> serde_json::Value {
        self.world.run(&["detect", "--json"]).json()
    }

    fn wait_until<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T {
        self.world.wait_until(what, SOON, check)
    }
}

crate::play_all!(OnSystemd);
