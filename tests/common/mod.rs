//! A world for one test: a sandbox with a registry, workers, and the daemon as a real unit in it.

#![expect(clippy::expect_used, reason = "this is for tests only")]

use std::fs;
use std::ops::Deref;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use workerheal_sandbox::{Entry, Follower, Sandbox};

pub const WORKERHEAL: &str = env!("CARGO_BIN_EXE_workerheal");
pub const DAEMON: &str = "workerheal.service";
/// Timeout of waits. Long enough for the busiest machine: a condition that takes longer has failed.
pub const SOON: Duration = Duration::from_secs(20);

/// A configuration with short waits. Tests about a time set their own.
pub const QUICK: &str = "refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms}}\n";
/// Only signals are noticed: there is no refresh.
pub const BY_SIGNALS: &str = "refresh: 1h\nheal: {stable_after: 50ms, backoff: {initial: 50ms}}\n";

/// `[Service]` of a worker that lives until it is killed.
pub const LIVES: &str = "ExecStart=sleep infinity";
/// One that dies immediately while there is a file called `broken` in the home directory.
pub const LIVES_UNLESS_BROKEN: &str = "ExecStart=sh -c 'test ! -e %h/broken && exec sleep infinity'";
/// One that ends with an error when it is stopped, and is up once it can be stopped. (Its child runs its program by
/// then: before that, the child would lose the signal, and be waited for.)
pub const FAILS_WHEN_STOPPED: &str = "Type=notify\nNotifyAccess=all\n\
    ExecStart=sh -c 'trap \"exit 1\" TERM; sleep infinity & systemd-notify --ready; wait'";
/// One whose start never ends by itself, and whose stop is an error too, once it has written `~/stubborn`.
pub const NEVER_GETS_READY: &str = "Type=notify\nTimeoutStartSec=infinity\n\
    ExecStart=sh -c 'trap \"exit 1\" TERM; sleep infinity & touch %h/stubborn; wait'";

/// One that ends without error when [`World::end`] requests it.
pub const ENDS: &str = "ExecStartPre=rm -f %h/%N.end\nExecStart=sh -c 'until test -e %h/%N.end; do sleep 0.05; done'";

/// The level and the message id of each phase in the journal, which never change.
const PHASES: [(&str, &str, &str); 9] = [
    ("detected", "6", "109af6bc605a49928e34100f5b574337"),
    ("scheduled", "6", "3dedc18fb168437d8559df5eb7ae4fd9"),
    ("held", "4", "e203bd1ed2eb4e2d847cc62983be2797"),
    ("starting", "6", "9590131a1c2c4d5491ee271fdc966cd8"),
    ("healed", "6", "ad8f3a45cb9145b593d764bad4b0699c"),
    ("failed", "4", "eb837d01e35a4782b50ba23b80b037a5"),
    ("gave-up", "3", "e1d8b93c5dc7436796fd019b050034bd"),
    ("recovered", "6", "416271da243947b88fa68591baa6902f"),
    ("stopped", "6", "99f9e092c1b046ffa1535f2978488eb2"),
];

/// Dereferences to its sandbox, so that tests can write `world.kill(..)`.
pub struct World(Sandbox);

impl Deref for World {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.0
    }
}

impl World {
    /// With the sites `myapp` and `shop`, the configuration [`QUICK`], no workers, and no daemon yet.
    pub fn new() -> Self {
        let world = Self(Sandbox::start().unwrap_or_else(|error| panic!("{error}")));
        world.sites(&["{name: myapp}", "{name: shop}"]);
        world.config(QUICK);
        let unit = format!(
            "[Service]\nType=notify\nWatchdogSec=20s\nExecStart={WORKERHEAL} daemon\nExecReload=kill -HUP $MAINPID\n[Install]\nWantedBy=default.target\n"
        );
        world.write_unit(DAEMON, &unit);
        world
    }

    /// With a daemon, a failed worker `waiting` that is not tried again during the test until the file `broken` of
    /// [`LIVES_UNLESS_BROKEN`] is removed, and a healthy worker `well`.
    #[track_caller]
    pub fn with_a_waiting_worker(waiting: &str, well: &str) -> Self {
        let world = Self::new();
        world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 5m, jitter: 0}}\n");
        world.workers([well]);
        world.worker(waiting, LIVES_UNLESS_BROKEN);
        let mut events = world.start_daemon();
        world.write_file("broken", "");
        world.crash(waiting);
        events.wait("scheduled", waiting);
        drop(events);
        world
    }

    /// Replaces the configuration.
    pub fn config(&self, text: &str) {
        self.replace(".config/workerheal/config.yaml", text.as_bytes());
    }

    /// Replaces the registry. Each site is in `~/<name>` unless specified.
    pub fn sites(&self, sites: &[&str]) {
        let lines: Vec<String> = sites.iter().map(|site| format!("- {site}\n")).collect();
        self.registry(format!("sites:\n{}", lines.concat()));
    }

    /// Replaces the registry with any text.
    pub fn registry(&self, text: impl AsRef<[u8]>) {
        self.replace(".local/share/lerd/sites.yaml", text.as_ref());
    }

    /// Replaces a file below the home directory by renaming another, as Lerd and editors do.
    #[track_caller]
    pub fn replace(&self, path: &str, content: &[u8]) {
        let path = self.home().join(path);
        let new = path.with_extension("new");
        fs::create_dir_all(path.parent().expect("the path has a parent"))
            .and_then(|()| fs::write(&new, content))
            .and_then(|()| fs::rename(&new, &path))
            .unwrap_or_else(|error| panic!("cannot replace {}: {error}", path.display()));
    }

    pub fn path(&self, path: &str) -> String {
        self.home().join(path).display().to_string()
    }

    /// Writes, enables and starts workers that live until they are killed.
    pub fn workers<const N: usize>(&self, units: [&str; N]) {
        for unit in units {
            self.write_worker(unit, LIVES);
        }
        self.control(&[&["enable", "--now"], &units[..]].concat());
    }

    /// Writes, enables and starts a worker with this `[Service]` section.
    pub fn worker(&self, unit: &str, service: &str) {
        self.write_worker(unit, service);
        self.control(&["enable", "--now", unit]);
    }

    pub fn write_worker(&self, unit: &str, service: &str) {
        let text = format!("[Unit]\nStartLimitBurst=100\n[Service]\n{service}\n[Install]\nWantedBy=default.target\n");
        self.write_unit(&service_of(unit), &text);
    }

    /// Runs `systemctl --user`, which has to succeed.
    #[track_caller]
    pub fn control(&self, args: &[&str]) -> String {
        self.systemctl(args).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Kills a worker with SIGKILL.
    #[track_caller]
    pub fn crash(&self, unit: &str) {
        self.kill(&service_of(unit), "KILL");
    }

    /// Kills workers that are not healed at the moment, and waits until they have failed.
    #[track_caller]
    pub fn crash_for_good<const N: usize>(&self, units: [&str; N]) {
        for unit in units {
            self.crash(unit);
        }
        for unit in units {
            self.wait_for_state(&service_of(unit), "failed", SOON);
        }
    }

    /// Ends a worker that is up and runs [`ENDS`].
    #[track_caller]
    pub fn end(&self, unit: &str) {
        self.write_file(format!("{unit}.end"), "");
    }

    /// Starts the daemon, and follows its events from the start.
    #[track_caller]
    pub fn start_daemon(&self) -> Events<'_> {
        let events = self.events();
        self.start_unit(DAEMON);
        events
    }

    /// Hides the manager's private socket from the daemon, so that it uses the bus. Returns the runtime directory that
    /// the daemon has instead.
    #[track_caller]
    pub fn hide_private_socket(&self) -> &'static str {
        let script = "mkdir -m 700 $XDG_RUNTIME_DIR/elsewhere && ln -s ../bus $XDG_RUNTIME_DIR/elsewhere/bus";
        assert!(Ran::of(self.command("sh").args(["-c", script])).status == 0, "no other runtime directory");
        self.write_unit("workerheal.service.d/bus.conf", "[Service]\nEnvironment=XDG_RUNTIME_DIR=%t/elsewhere\n");
        self.daemon_reload();
        "/run/user/0/elsewhere"
    }

    /// Follows the daemon's events from now on.
    #[track_caller]
    pub fn events(&self) -> Events<'_> {
        Events(self.follow_journal())
    }

    /// The phases of a worker's events so far, in order.
    #[track_caller]
    pub fn reported(&self, unit: &str) -> Vec<String> {
        let entries = self.journal(&[&format!("WORKERHEAL_UNIT={unit}")]);
        entries.iter().map(|entry| text(entry, "WORKERHEAL_PHASE")).collect()
    }

    /// All properties that an action on one of these units would change.
    #[track_caller]
    pub fn picture(&self, units: &[&str]) -> String {
        let properties =
            "Id,LoadState,ActiveState,SubState,Result,InvocationID,NRestarts,StateChangeTimestampMonotonic";
        self.control(&[&["show", "--property", properties, "--"], units].concat())
    }

    /// The state that `workerheal detect` lists for a worker; `None` if it is not listed.
    #[track_caller]
    pub fn diagnosis(&self, unit: &str) -> Option<String> {
        let ran = self.run(&["detect", "--json", "--no-errors"]);
        let listed = ran.json().as_array().cloned().unwrap_or_default();
        let worker = listed.into_iter().find(|worker| worker["unit"] == unit)?;
        Some(text(&worker, "state"))
    }

    /// Waits until the daemon has reported the worker as healed, now or before.
    #[track_caller]
    pub fn wait_for_healed(&self, unit: &str) {
        self.wait_for_journal(&format!("{unit} healed"), SOON, |entry| {
            entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == unit
        });
    }

    /// When the worker last entered a state, by one of systemd's monotonic timestamps.
    #[track_caller]
    pub fn since_boot(&self, unit: &str, timestamp: &str) -> Duration {
        Duration::from_micros(self.timestamp_usec(&service_of(unit), &format!("{timestamp}Monotonic")))
    }

    /// Waits until a worker has been up this long without interruption.
    #[track_caller]
    pub fn wait_for_uptime(&self, unit: &str, uptime: Duration) {
        self.wait_until(&format!("{unit} to have been up for {uptime:?}"), SOON, || {
            let since = self.since_boot(unit, "ActiveEnterTimestamp");
            (now() > since + uptime).then_some(())
        });
    }

    /// The command `workerheal` with these arguments, as a user would run it.
    pub fn command_line(&self, args: &[&str]) -> Command {
        let mut command = self.command(WORKERHEAL);
        command.args(args).stdin(Stdio::null());
        command
    }

    /// Runs `workerheal` to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command_line(args))
    }
}

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}")).into()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).expect("workerheal prints text"),
            err: String::from_utf8(output.stderr).expect("workerheal prints text"),
        }
    }
}

/// The daemon's events, as they are logged.
pub struct Events<'a>(Follower<'a>);

impl Events<'_> {
    /// Reads up to the next event with this phase and worker.
    #[track_caller]
    pub fn wait(&mut self, phase: &str, unit: &str) -> Entry {
        self.wait_any(&[phase], unit)
    }

    /// Reads up to the next event of the worker with one of these phases.
    #[track_caller]
    pub fn wait_any(&mut self, phases: &[&str], unit: &str) -> Entry {
        let what = format!("{} of {unit}", phases.join(" or "));
        let entry = self.0.wait_for(&what, SOON, |entry| {
            entry["WORKERHEAL_UNIT"] == unit && phases.iter().any(|phase| entry["WORKERHEAL_PHASE"] == *phase)
        });
        let phase = text(&entry, "WORKERHEAL_PHASE");
        let (_, level, id) = PHASES.into_iter().find(|(name, ..)| *name == phase).expect("a known phase");
        assert_eq!(entry["PRIORITY"], level, "{entry:#}");
        assert_eq!(entry["MESSAGE_ID"], id, "{entry:#}");
        assert_eq!(entry["USER_UNIT"], format!("{unit}.service"), "{entry:#}");
        entry
    }

    /// Reads up to a log line of the daemon with all these words.
    #[track_caller]
    pub fn wait_for_log(&mut self, words: &[&str]) -> Entry {
        self.0.wait_for(&format!("a log line with {words:?}"), SOON, |entry| {
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            entry["SYSLOG_IDENTIFIER"] == "workerheal" && words.iter().all(|word| message.contains(word))
        })
    }

    /// Crashes a worker that is up, and waits until it is healed: by then the daemon has done whatever it was going to
    /// do about earlier events.
    #[track_caller]
    pub fn prove_alive_with(&mut self, world: &World, unit: &str) {
        for _ in 0..2 {
            world.crash(unit);
            self.wait("healed", unit);
        }
    }
}

/// A field of a journal entry; empty if it is missing.
pub fn text(entry: &Entry, field: &str) -> String {
    entry[field].as_str().unwrap_or_default().to_owned()
}

/// A field of a journal entry that is a number.
#[track_caller]
pub fn number(entry: &Entry, field: &str) -> u64 {
    text(entry, field).parse().unwrap_or_else(|_| panic!("{field} is no number in {entry:#}"))
}

/// When an entry was written, by the monotonic clock.
#[track_caller]
pub fn written(entry: &Entry) -> Duration {
    Duration::from_micros(number(entry, "__MONOTONIC_TIMESTAMP"))
}

/// The current monotonic time.
pub fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::try_from(now).expect("the monotonic clock is not negative")
}

pub fn service_of(unit: &str) -> String {
    if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") }
}
