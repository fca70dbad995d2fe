//! The stand-in for launchd, with workers on it, and workerheal as a child of the test.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use workerheal_launchd::{KeepAlive, Launchd, SOCKET, Spec};

use super::cases::{Kind, LISTENS, Reported, Stage};

/// Timeout of waits. Long enough for the busiest machine: a condition that takes longer has failed.
const SOON: Duration = Duration::from_secs(20);
const LAUNCHCTL: &str = env!("CARGO_BIN_EXE_launchctl");
const WORKERHEAL: &str = env!("CARGO_BIN_EXE_workerheal-on-launchd");

pub struct OnLaunchd {
    pub launchd: Launchd,
    cursor: Cell<usize>,
    daemon: RefCell<Option<Child>>,
}

/// The label of a unit's job, as Lerd names it.
pub fn label(unit: &str) -> String {
    if unit.starts_with("lerd-") { format!("com.lerd.{unit}") } else { unit.to_owned() }
}

/// Whether a call lists all jobs of the domain that has them.
pub fn is_table(call: &str) -> bool {
    call.strip_prefix("print gui/").is_some_and(|rest| !rest.contains('/'))
}

pub fn set_age(path: &Path, age: Duration) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - age).unwrap();
}

impl OnLaunchd {
    pub fn path(&self, path: &str) -> PathBuf {
        self.launchd.home().join(path)
    }

    pub fn target(&self, unit: &str) -> String {
        format!("{}/{}", self.launchd.domain(), label(unit))
    }

    pub fn plist(&self, unit: &str) -> PathBuf {
        self.launchd.agents().join(format!("{unit}.plist"))
    }

    /// Writes a unit's plist with an old time: Lerd may be about to load one that was just written.
    pub fn write_plist(&self, unit: &str, spec: &Spec) {
        let path = self.plist(unit);
        spec.write(&path);
        set_age(&path, Duration::from_secs(3600));
    }

    /// Waits until the daemon has listed all jobs once more.
    pub fn wait_for_list(&self) {
        let tables = || self.launchd.calls().iter().filter(|call| is_table(call)).count();
        let before = tables();
        self.wait_until("a refresh", || (tables() >= before + 3).then_some(()));
    }

    /// The program `workerheal-on-launchd`, as a user would run it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(WORKERHEAL);
        command.arg(LAUNCHCTL).args(arguments).stdin(Stdio::null());
        command.env_clear().env("HOME", self.launchd.home()).env(SOCKET, self.launchd.socket());
        command.env("XDG_RUNTIME_DIR", self.path("run"));
        command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        command
    }

    /// The plist of a unit's job, for a test to vary.
    pub fn spec(&self, unit: &str, kind: Kind) -> Spec {
        let home = self.launchd.home().display().to_string();
        let broken = format!("test ! -e {home}/broken || {{ echo it is broken >&2; exit 1; }}");
        let script = match kind {
            Kind::Lives | Kind::LivesInWork | Kind::Wrong => "exec sleep 1000".to_owned(),
            Kind::LivesUnlessBroken | Kind::KeptAlive => format!("{broken}; exec sleep 1000"),
            Kind::Ends => broken,
            Kind::Listens => {
                self.write("listens.pl", LISTENS);
                format!("exec perl {home}/listens.pl {home}")
            }
        };
        Spec {
            label: label(unit),
            program_arguments: ["/bin/sh", "-c", &script].map(str::to_owned).into(),
            run_at_load: true,
            keep_alive: (kind == Kind::KeptAlive).then_some(KeepAlive::Always(true)),
            working_directory: (kind == Kind::LivesInWork).then(|| self.path("work")),
            standard_error_path: Some(self.path(&format!("Library/Logs/lerd/{unit}.log"))),
            environment_variables: BTreeMap::new(),
            ..Spec::default()
        }
    }

    fn replace(&self, path: &str, text: &str) {
        let path = self.path(path);
        let new = path.with_extension("new");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
    }

    fn end_daemon(&self, signal: Signal) {
        if let Some(mut daemon) = self.daemon.take() {
            kill_process(Pid::from_child(&daemon), signal).unwrap();
            daemon.wait().unwrap();
        }
    }
}

impl Drop for OnLaunchd {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.path("daemon.log")).unwrap_or_default());
            eprintln!("{:#?}", self.launchd.calls().iter().rev().take(40).rev().collect::<Vec<_>>());
        }
    }
}

impl Stage for OnLaunchd {
    fn new() -> Self {
        let stage = Self { launchd: Launchd::start(), cursor: Cell::new(0), daemon: RefCell::new(None) };
        fs::create_dir_all(stage.path("Library/Logs/lerd")).unwrap();
        // macOS has a private $TMPDIR for each user.
        fs::create_dir_all(stage.path("run")).unwrap();
        stage.launchd.set_environment("XDG_RUNTIME_DIR", &stage.path("run"));
        // For workerheal as the agent.
        stage.launchd.set_environment("LAUNCHCTL", Path::new(LAUNCHCTL));
        stage.sites(&["{name: myapp}", "{name: shop}"]);
        stage.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms}}\n");
        stage
    }

    fn cursor(&self) -> &Cell<usize> {
        &self.cursor
    }

    fn config(&self, text: &str) {
        self.replace(".config/workerheal/config.yaml", text);
    }

    fn sites(&self, sites: &[&str]) {
        let lines: Vec<String> = sites.iter().map(|site| format!("- {site}\n")).collect();
        self.replace(".local/share/lerd/sites.yaml", &format!("sites:\n{}", lines.concat()));
    }

    fn touch(&self, path: &str) {
        self.write(path, "");
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }

    fn define(&self, unit: &str, kind: Kind) {
        if kind == Kind::Wrong {
            fs::write(self.plist(unit), "<plist").unwrap();
        } else {
            self.write_plist(unit, &self.spec(unit, kind));
        }
    }

    fn start(&self, unit: &str) {
        let target = self.target(unit);
        if self.launchd.runs(&label(unit)).is_some() {
            self.launchd.control(&["kickstart", &target]);
        } else {
            self.launchd.control(&["enable", &target]);
            self.launchd.control(&["bootstrap", &self.launchd.domain(), &self.plist(unit).display().to_string()]);
        }
    }

    fn stop(&self, unit: &str) {
        self.launchd.control(&["bootout", &self.target(unit)]);
        self.wait_until("it to be gone", || self.launchd.runs(&label(unit)).is_none().then_some(()));
    }

    fn disable(&self, unit: &str) {
        self.launchd.control(&["disable", &self.target(unit)]);
    }

    fn crash(&self, unit: &str) {
        self.launchd.control(&["kill", "SIGKILL", &self.target(unit)]);
    }

    fn is_up(&self, unit: &str) -> bool {
        self.launchd.pid(&label(unit)).is_some()
    }

    fn picture(&self, units: &[&str]) -> String {
        let picture = |unit: &&str| {
            let printed = self.launchd.call(&["print", &self.target(unit)]);
            format!("{}{}", printed.out, printed.err)
        };
        units.iter().map(picture).collect()
    }

    fn start_daemon(&self) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("daemon.log")).unwrap();
        let daemon = self.command(&["daemon"]).stderr(log).spawn().unwrap();
        assert!(self.daemon.replace(Some(daemon)).is_none(), "there is a daemon already");
    }

    fn stop_daemon(&self) {
        self.end_daemon(Signal::TERM);
    }

    fn kill_daemon(&self) {
        self.end_daemon(Signal::KILL);
    }

    fn events(&self) -> Vec<Reported> {
        let log = fs::read_to_string(self.path("daemon.log")).unwrap_or_default();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let text = |line: &serde_json::Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
        lines
            .filter(|line| line["phase"].is_string())
            .map(|line| Reported {
                phase: text(&line, "phase"),
                unit: text(&line, "unit"),
                site: text(&line, "site"),
                attempt: line["attempt"].as_u64(),
                reason: text(&line, "reason"),
                error: text(&line, "error"),
            })
            .collect()
    }

    fn detect(&self) -> serde_json::Value {
        let output = self.command(&["detect"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn wait_until<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let begin = Instant::now();
        loop {
            let waited = begin.elapsed();
            if let Some(found) = check() {
                return found;
            }
            assert!(waited < SOON, "waited {waited:.1?} in vain for {what}");
            sleep(Duration::from_millis(10));
        }
    }
}
