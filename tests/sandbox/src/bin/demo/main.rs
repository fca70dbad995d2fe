//! `make demo`: six workers fail, each in its own way, and the real daemon heals them, live.
//!
//! Run as `demo PATH-TO-workerheal`. The demo waits for what it shows; pauses only give the reader time. The exit
//! status is 0 only if everything that the demo claims was seen, and systemd agrees in the end; otherwise 1, with a
//! sentence.

mod screen;

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use screen::{Screen, Worker};
use workerheal_sandbox::{Entry, Sandbox};

const INTRO: &str = "\
A background worker that has failed stays down until it is started by hand:
workerheal does. In the next 20 seconds six workers of three web sites get into
trouble, each in its own way, and the real daemon deals with it under a systemd
in a private sandbox: nothing of yours is read, started, stopped or changed.

Lines with » are what the demo does; the others are the log of the daemon.

";
const OUTRO: &str = "
All checks passed. Next:
  make test      the tests, in sandboxes like this one
  make install   installs it for you; README.md has the rest
";

/// The usual configuration, with short times.
const CONFIG: &str = "heal: {stable_after: 2s, give_up_after: 4, backoff: {jitter: 0}}\n";
const DAEMON: &str = include_str!("../../../../../packaging/systemd/user/workerheal.service");
const WORKER: &str = include_str!("worker.sh");

/// The workers, as site and kind.
const WORKERS: [(&str, &str); 6] = [
    ("myapp", "queue"),
    ("myapp", "vite"),
    ("shop", "queue"),
    ("shop", "scheduler"),
    ("shop", "reverb"),
    ("blog", "queue"),
];
// Their indexes, by what happens to them.
const KILLED: usize = 0;
const UNRECOVERABLE: usize = 1;
const LIMITED: usize = 2;
const FIXED: usize = 3;
const STOPPED: usize = 4;
const PAUSED: usize = 5;
const IN_THE_END: [&str; 6] = ["active", "failed", "active", "active", "failed", "active"];

const STEP_TIMEOUT: Duration = Duration::from_secs(15);
const FRAME: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let binary = std::env::args_os().nth(1);
    // The sandbox's helpers panic with a sentence when they fail.
    let result = catch_unwind(|| run(Path::new(&binary.ok_or("run it as: demo PATH-TO-workerheal")?)));
    match result.unwrap_or_else(|_| Err("the sandbox does not do as it should, see above".to_owned())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("\ndemo: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(binary: &Path) -> Result<(), String> {
    let binary = binary.canonicalize().map_err(|e| format!("{}: {e}", binary.display()))?;
    screen::print(INTRO);
    let sandbox = Sandbox::start().map_err(|e| e.to_string())?;
    symlink(binary, sandbox.home().join("workerheal")).map_err(|e| e.to_string())?;
    let mut demo = Demo::new(&sandbox);
    demo.set_the_stage()?;
    if let Err(why) = demo.play() {
        demo.pause(1); // what the daemon says about it
        return Err(why);
    }
    demo.screen.end(OUTRO, &demo.workers);
    Ok(())
}

struct Demo<'a> {
    sandbox: &'a Sandbox,
    begin: SystemTime,
    /// Entries of the daemon's log that have been shown.
    shown: usize,
    workers: [Worker; 6],
    screen: Screen,
}

impl<'a> Demo<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        Self {
            sandbox,
            begin: SystemTime::now(),
            shown: 0,
            workers: WORKERS.map(|(site, kind)| Worker::new(site, kind)),
            screen: Screen::new(),
        }
    }

    /// Starts the workers, and lets two of them fail before the daemon runs.
    fn set_the_stage(&mut self) -> Result<(), String> {
        self.sandbox.write_file("worker.sh", WORKER);
        self.sandbox.write_file(".config/workerheal/config.yaml", CONFIG);
        self.sandbox.write_unit("workerheal.service", &DAEMON.replace("/usr/bin/workerheal", "%h/workerheal"));
        self.write_registry(true);
        for (at, (site, kind)) in WORKERS.into_iter().enumerate() {
            let restart = if at == LIMITED { "always" } else { "no" };
            let unit = format!(
                "[Unit]\nStartLimitBurst=3\nStartLimitIntervalSec=1min\n\
                 [Service]\nWorkingDirectory=%h/code/{site}\nExecStart=sh %h/worker.sh {kind}\n\
                 Restart={restart}\nRestartSec=50ms\n[Install]\nWantedBy=default.target\n"
            );
            self.sandbox.write_unit(&unit_of(at), &unit);
            self.set_bug(at, if at == LIMITED { "SQLSTATE[HY000] [2002] Connection refused\n" } else { "" });
        }
        let units: Vec<String> = (0..WORKERS.len()).map(unit_of).collect();
        let units: Vec<&str> = units.iter().map(String::as_str).collect();
        self.systemctl("enable", &units)?;
        self.systemctl("start", &units)?;
        self.sandbox.kill(&unit_of(PAUSED), "KILL");
        self.falls(PAUSED, "killed, site is paused");
        self.falls(LIMITED, "start limit hit, unseen");
        self.set_bug(LIMITED, "");
        self.begin = SystemTime::now();
        Ok(())
    }

    fn play(&mut self) -> Result<(), String> {
        self.act(
            "start workerheal\n\
             two workers are down already: systemd gave up the queue of shop when\n\
             its database was away last night; and all of the site blog is paused",
        );
        self.systemctl("start", &["workerheal.service"])?;
        self.wait(PAUSED, "held")?;
        self.wait(LIMITED, "healed")?;
        let born = self.sandbox.timestamp_usec("workerheal.service", "ExecMainStartTimestampMonotonic");
        let took = self.usec(LIMITED, "ActiveEnterTimestampMonotonic").saturating_sub(born);
        self.outcome(LIMITED, format!("up {} after the daemon began", milliseconds(took)));
        self.pause(1);

        self.act("kill -9 the queue worker of myapp");
        self.sandbox.kill(&unit_of(KILLED), "KILL");
        self.workers[KILLED].trouble = "killed with SIGKILL";
        self.wait_until(KILLED, "started again", |it| it.attempt > 0)?;
        self.sandbox.wait_for_state(&unit_of(KILLED), "active", STEP_TIMEOUT);
        let died = self.usec(KILLED, "InactiveEnterTimestampMonotonic");
        let took = milliseconds(self.usec(KILLED, "ActiveEnterTimestampMonotonic").saturating_sub(died));
        self.act(&format!("up again: it was down for {took}, by systemd's own clock"));
        self.wait(KILLED, "healed")?;
        self.outcome(KILLED, format!("up again after {took}"));
        self.pause(1);

        self.act("deploy a bug to the scheduler of shop");
        self.workers[FIXED].trouble = "crashes until fixed";
        self.set_bug(FIXED, "Error: Class \"SendMail\" not found\n");
        self.wait_until(FIXED, "tried twice", |it| it.attempt > 2)?;
        self.act("deploy the fix");
        self.set_bug(FIXED, "");
        self.pause(1);

        self.act("delete node_modules of myapp, so that its vite can never start");
        self.workers[UNRECOVERABLE].trouble = "crashes at every start";
        self.set_bug(UNRECOVERABLE, "Error: Cannot find module 'vite'\n");
        self.wait(FIXED, "healed")?;
        self.outcome(FIXED, format!("healed at attempt {}", self.workers[FIXED].attempt));

        self.act("systemctl stop the websocket server of shop, as you would");
        self.workers[STOPPED].trouble = "you stopped it";
        self.sandbox.stop_unit(&unit_of(STOPPED));
        self.wait(STOPPED, "stopped")?;
        self.outcome(STOPPED, "left alone: you stopped it".to_owned());
        self.pause(1);

        self.expect(PAUSED, "failed")?;
        self.act("un-pause blog in sites.yaml");
        self.write_registry(false);
        self.wait(PAUSED, "healed")?;
        self.outcome(PAUSED, "left alone, healed when un-paused".to_owned());

        self.wait(UNRECOVERABLE, "gave-up")?;
        self.outcome(UNRECOVERABLE, format!("given up after {} attempts", self.workers[UNRECOVERABLE].attempt));

        IN_THE_END.into_iter().enumerate().try_for_each(|(at, state)| self.expect(at, state))
    }

    /// Checks with systemd that a worker is in the expected state.
    fn expect(&self, at: usize, expected: &str) -> Result<(), String> {
        let (name, state) = (&self.workers[at].name, self.sandbox.show(&unit_of(at), "ActiveState"));
        if state == expected { Ok(()) } else { Err(format!("{name} should be {expected}, but systemd says {state}")) }
    }

    fn write_registry(&self, blog_is_paused: bool) {
        let code = self.sandbox.home().join("code");
        let mut text = "sites:\n".to_owned();
        for (site, paused) in [("myapp", false), ("shop", false), ("blog", blog_is_paused)] {
            let _ = writeln!(text, "  - {{name: {site}, path: {}/{site}, paused: {paused}}}", code.display());
        }
        self.sandbox.write_file(".local/share/lerd/sites.yaml", &text);
    }

    /// Sets the last words with which a worker dies, now and at each start; without any it works.
    fn set_bug(&self, at: usize, words: &str) {
        self.sandbox.write_file(format!("code/{}.bug", self.workers[at].name), words);
    }

    /// Waits until a worker has failed without the daemon.
    fn falls(&mut self, at: usize, trouble: &'static str) {
        self.sandbox.wait_for_state(&unit_of(at), "failed", STEP_TIMEOUT);
        let worker = &mut self.workers[at];
        (worker.trouble, worker.phase) = (trouble, "down".to_owned());
    }

    fn systemctl(&self, verb: &str, units: &[&str]) -> Result<(), String> {
        self.sandbox.systemctl(&[&[verb], units].concat()).map(drop).map_err(|e| e.to_string())
    }

    fn usec(&self, at: usize, property: &str) -> u64 {
        self.sandbox.timestamp_usec(&unit_of(at), property)
    }

    fn outcome(&mut self, at: usize, what: String) {
        self.workers[at].outcome = what;
    }

    fn act(&mut self, text: &str) {
        self.catch_up();
        self.screen.act(self.begin.elapsed().unwrap_or_default(), text, &self.workers);
    }

    fn pause(&mut self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            self.watch();
        }
    }

    fn wait(&mut self, at: usize, phase: &str) -> Result<(), String> {
        self.wait_until(at, phase, |worker| worker.phase == phase)
    }

    fn wait_until(&mut self, at: usize, what: &str, done: impl Fn(&Worker) -> bool) -> Result<(), String> {
        let begin = Instant::now();
        while !done(&self.workers[at]) {
            if begin.elapsed() > STEP_TIMEOUT {
                return Err(format!("waited {STEP_TIMEOUT:?} in vain for {} to be {what}", self.workers[at].name));
            }
            self.watch();
        }
        Ok(())
    }

    fn watch(&mut self) {
        sleep(FRAME);
        self.catch_up();
        self.screen.draw("", &self.workers);
    }

    /// Shows what the daemon has logged since the last time.
    fn catch_up(&mut self) {
        // Following the journal would be up to half a second late, and out of order with the demo's own lines.
        let entries = self.sandbox.journal(&["SYSLOG_IDENTIFIER=workerheal"]);
        for entry in &entries[self.shown..] {
            self.show(entry);
        }
        self.shown = entries.len();
    }

    fn show(&mut self, entry: &Entry) {
        let field = |name: &str| entry[name].as_str().unwrap_or_default();
        let number = |name: &str| field(name).parse::<u64>().ok();
        let written = SystemTime::UNIX_EPOCH + Duration::from_micros(number("__REALTIME_TIMESTAMP").unwrap_or(0));
        let time = written.duration_since(self.begin).unwrap_or_default();
        let (unit, message) = (field("WORKERHEAL_UNIT"), field("MESSAGE"));
        let Some(at) = (0..WORKERS.len()).find(|at| unit_of(*at).strip_suffix(".service") == Some(unit)) else {
            let home = self.sandbox.home().to_string_lossy();
            return self.screen.remark(time, &message.replace(&*home, "~"), &self.workers);
        };
        let worker = &mut self.workers[at];
        field("WORKERHEAL_PHASE").clone_into(&mut worker.phase);
        worker.attempt = number("WORKERHEAL_ATTEMPT").unwrap_or(worker.attempt);
        worker.retry_at = number("WORKERHEAL_RETRY_IN_MS").map(|ms| Instant::now() + Duration::from_millis(ms));
        let text = match (worker.phase.as_str(), field("WORKERHEAL_ERROR").split_once(": ")) {
            // Short, so that the worker's last words are visible.
            ("failed", Some((_, words))) => format!("attempt {} failed: {words}", worker.attempt),
            _ => message.trim_start_matches(unit).trim_start().to_owned(),
        };
        self.screen.show(time, at, &text, &self.workers);
    }
}

fn unit_of(at: usize) -> String {
    let (site, kind) = WORKERS[at];
    format!("lerd-{kind}-{site}.service")
}

fn milliseconds(usec: u64) -> String {
    format!("{}.{} ms", usec / 1000, usec % 1000 / 100)
}
