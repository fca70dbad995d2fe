//! What holds on every service manager: one table of cases, played on systemd and on the stand-in for launchd.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::cell::Cell;
use std::net::TcpListener;

/// The program, in Perl, of a worker that [listens](Kind::Listens); its argument is the home directory.
pub const LISTENS: &str = r#"
use IO::Select;
use IO::Socket::INET;
my $home = $ARGV[0];
open(my $file, "<", "$home/port") or die;
my $port = <$file>;
my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port, ReuseAddr => 1, Listen => 64) or die;
until (-e "$home/deaf") { $server->accept if IO::Select->new($server)->can_read(0.02) }
close $server;
sleep;
"#;

/// The behaviour of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It lives until it is killed.
    Lives,
    /// It dies at once with a message while there is a file `broken` in the home directory.
    LivesUnlessBroken,
    /// The same, and the manager restarts it forever.
    KeptAlive,
    /// It ends without error, or with one if that file exists.
    Ends,
    /// It lives in the directory `work` of the home directory.
    LivesInWork,
    /// The manager cannot read its definition.
    Wrong,
    /// It listens on the port in the file `port` of the home directory until there is a file `deaf`, and continues to
    /// run.
    Listens,
}

/// An event of the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    pub phase: String,
    pub unit: String,
    pub site: String,
    pub attempt: Option<u64>,
    pub reason: String,
    pub error: String,
}

/// A service manager with workers on it, and workerheal.
pub trait Stage {
    /// With the sites `myapp` and `shop`, and a configuration with short waits.
    fn new() -> Self;
    fn cursor(&self) -> &Cell<usize>;
    fn config(&self, text: &str);
    fn sites(&self, sites: &[&str]);
    /// Creates an empty file below the home directory.
    fn touch(&self, path: &str);
    fn write(&self, path: &str, text: &str);
    /// Reads a file below the home directory; one that is missing is empty.
    fn read(&self, path: &str) -> String;
    /// Removes a file or a directory below the home directory.
    fn remove(&self, path: &str);
    /// Writes a worker's file, and makes the manager read it.
    fn define(&self, unit: &str, kind: Kind);
    /// Starts a worker as a user would.
    fn start(&self, unit: &str);
    /// Stops it as a user would.
    fn stop(&self, unit: &str);
    fn disable(&self, unit: &str);
    /// Kills it with SIGKILL.
    fn crash(&self, unit: &str);
    fn is_up(&self, unit: &str) -> bool;
    /// All properties that an action on one of these would change.
    fn picture(&self, units: &[&str]) -> String;
    fn start_daemon(&self);
    fn stop_daemon(&self);
    fn kill_daemon(&self);
    /// The daemon's events so far, in order.
    fn events(&self) -> Vec<Reported>;
    /// The output of `detect`.
    fn detect(&self) -> serde_json::Value;
    fn wait_until<T>(&self, what: &str, check: impl FnMut() -> Option<T>) -> T;

    /// Defines and starts workers that run until they are killed.
    fn workers(&self, units: &[&str]) {
        for unit in units {
            self.define(unit, Kind::Lives);
            self.start(unit);
        }
        self.wait_until("the workers to be up", || units.iter().all(|unit| self.is_up(unit)).then_some(()));
    }

    /// Kills workers that are not healed at the moment, and waits until they are down.
    fn crash_for_good(&self, units: &[&str]) {
        for unit in units {
            self.crash(unit);
        }
        self.wait_for_down(units);
    }

    fn wait_for_down(&self, units: &[&str]) {
        self.wait_until("the workers to be down", || units.iter().all(|unit| !self.is_up(unit)).then_some(()));
    }

    /// Reads up to the next event of the worker with one of these phases.
    #[track_caller]
    fn wait_any(&self, phases: &[&str], unit: &str) -> Reported {
        self.wait_until(&format!("{} of {unit}", phases.join(" or ")), || {
            let events = self.events();
            let next = events.iter().enumerate().skip(self.cursor().get());
            let mut fitting = next
                .filter(|(_, reported)| reported.unit == unit && phases.iter().any(|phase| *phase == reported.phase));
            let (at, reported) = fitting.next()?;
            self.cursor().set(at + 1);
            Some(reported.clone())
        })
    }

    #[track_caller]
    fn wait(&self, phase: &str, unit: &str) -> Reported {
        self.wait_any(&[phase], unit)
    }

    /// The phases of a worker's events so far.
    fn reported(&self, unit: &str) -> Vec<String> {
        self.events().into_iter().filter(|reported| reported.unit == unit).map(|reported| reported.phase).collect()
    }

    /// Crashes a worker that is up and waits until it is healed, twice: by then the daemon has done whatever else it
    /// was going to do.
    #[track_caller]
    fn prove_alive_with(&self, unit: &str) {
        for _ in 0..2 {
            self.crash(unit);
            self.wait("healed", unit);
        }
    }

    /// Asserts that these are left alone while another worker is healed.
    #[track_caller]
    fn untouched(&self, units: &[&str], meanwhile: impl FnOnce()) {
        let before = self.picture(units);
        meanwhile();
        assert_eq!(self.picture(units), before);
    }
}

/// The table: each is a test of its own, on each manager.
#[macro_export]
macro_rules! play_all {
    ($stage:ty) => {
        $crate::play_all!($stage:
            a_killed_worker_is_healed_and_each_step_is_reported,
            failures_without_a_daemon_are_healed_when_it_starts,
            a_crash_loop_is_retried_with_backoff_and_given_up_once,
            another_file_is_worth_new_attempts_after_giving_up,
            another_entry_in_the_registry_is_worth_new_attempts_after_giving_up,
            a_given_up_worker_that_comes_up_is_watched_again,
            a_give_up_stands_when_the_daemon_is_restarted,
            a_manual_start_that_dies_again_is_no_recovery,
            a_clean_exit_is_not_restarted,
            paused_ignored_and_suspended_workers_are_left_alone,
            other_jobs_are_never_touched,
            under_the_stop_marker_nothing_is_healed,
            a_stop_is_obeyed_and_a_start_ends_that,
            a_stop_while_the_daemon_was_down_is_obeyed,
            a_stop_while_an_attempt_is_waited_for_is_obeyed,
            a_stopped_keep_alive_job_stays_down,
            a_worker_disabled_before_its_attempt_is_left_alone,
            a_worker_that_a_person_starts_first_is_not_started_again,
            a_site_that_is_added_is_covered,
            a_crash_loop_of_the_manager_is_reported_once_and_left_to_it,
            without_its_directory_a_worker_is_shown_and_left_alone,
            an_unstartable_worker_is_given_up_at_once,
            a_worker_that_refuses_its_probe_is_restarted,
            attempts_survive_the_death_of_the_daemon,
        );
    };
    ($stage:ty: $($case:ident,)*) => {
        $(#[test]
        fn $case() {
            $crate::cases::$case(&<$stage as $crate::cases::Stage>::new());
        })*
    };
}

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";

pub fn a_killed_worker_is_healed_and_each_step_is_reported(stage: &impl Stage) {
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.crash(QUEUE);
    let detected = stage.wait("detected", QUEUE);
    assert_eq!((detected.reason.as_str(), detected.site.as_str()), ("failed", "myapp"));
    assert_eq!(stage.wait("starting", QUEUE).attempt, Some(1));
    assert_eq!(stage.wait("healed", QUEUE).attempt, Some(1));
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "healed"]);
    assert!(stage.is_up(QUEUE));
}

pub fn failures_without_a_daemon_are_healed_when_it_starts(stage: &impl Stage) {
    stage.workers(&[QUEUE, OTHER]);
    stage.define("lerd-vite-shop", Kind::LivesUnlessBroken);
    stage.touch("broken");
    stage.start("lerd-vite-shop");
    stage.wait_for_down(&["lerd-vite-shop"]);
    stage.crash_for_good(&[QUEUE]);
    let listed = stage.detect();
    let states: Vec<(&str, &str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|worker| {
            let text = |key: &str| worker[key].as_str().unwrap_or_default();
            (text("unit"), text("state"), text("last_error"))
        })
        .collect();
    let (queue, vite) = (states[0], states[1]);
    assert_eq!((queue.0, queue.1), (QUEUE, "failed"), "{listed}");
    assert_eq!(vite, ("lerd-vite-shop", "failed", "it is broken"), "{listed}");
    assert_eq!(states.len(), 2, "{listed}");
    stage.remove("broken");
    stage.start_daemon();
    stage.wait_until("both to be healed", || {
        [QUEUE, "lerd-vite-shop"]
            .iter()
            .all(|unit| stage.reported(unit) == ["detected", "starting", "healed"])
            .then_some(())
    });
}

pub fn a_crash_loop_is_retried_with_backoff_and_given_up_once(stage: &impl Stage) {
    stage.config(
        "refresh: 100ms\nheal: {stable_after: 300ms, give_up_after: 3, backoff: {initial: 100ms, factor: 2, jitter: 0}}\n",
    );
    stage.workers(&[OTHER]);
    stage.touch("broken");
    stage.define(QUEUE, Kind::LivesUnlessBroken);
    stage.start(QUEUE);
    stage.start_daemon();
    stage.wait("detected", QUEUE);
    for attempt in 1..=3 {
        assert_eq!(stage.wait("starting", QUEUE).attempt, Some(attempt));
        let failed = stage.wait("failed", QUEUE);
        assert!(failed.error.contains("it is broken"), "its last words are missing: {failed:?}");
    }
    let gave_up = stage.wait("gave-up", QUEUE);
    assert!(gave_up.reason.contains("3 attempts"), "{gave_up:?}");
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    let reported = stage.reported(QUEUE);
    assert_eq!(reported.iter().filter(|phase| *phase == "gave-up").count(), 1, "{reported:?}");
    assert_eq!(reported.last().unwrap(), "gave-up");
}

/// The daemon has given up the only worker because of the file `broken`, which is gone now.
fn given_up(stage: &impl Stage) {
    stage.config("refresh: 100ms\nheal: {stable_after: 50ms, give_up_after: 2, backoff: {initial: 20ms}}\n");
    stage.touch("broken");
    stage.define(QUEUE, Kind::LivesUnlessBroken);
    stage.start(QUEUE);
    stage.start_daemon();
    stage.wait("gave-up", QUEUE);
    stage.remove("broken");
}

pub fn another_file_is_worth_new_attempts_after_giving_up(stage: &impl Stage) {
    given_up(stage);
    stage.define(QUEUE, Kind::Lives);
    // On a manager that does not signal changes of files, a new daemon notices it at once.
    stage.stop_daemon();
    stage.start_daemon();
    stage.wait("healed", QUEUE);
}

pub fn another_entry_in_the_registry_is_worth_new_attempts_after_giving_up(stage: &impl Stage) {
    given_up(stage);
    stage.sites(&["{name: myapp, path: /elsewhere}", "{name: shop}"]);
    stage.wait("healed", QUEUE);
}

pub fn a_given_up_worker_that_comes_up_is_watched_again(stage: &impl Stage) {
    given_up(stage);
    stage.start(QUEUE);
    stage.wait("recovered", QUEUE);
    stage.crash(QUEUE);
    stage.wait("starting", QUEUE);
    stage.wait("healed", QUEUE);
}

pub fn a_give_up_stands_when_the_daemon_is_restarted(stage: &impl Stage) {
    stage.workers(&[OTHER]);
    given_up(stage);
    stage.stop_daemon();
    let before = stage.reported(QUEUE);
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    let after = stage.reported(QUEUE);
    assert!(!after.iter().skip(before.len()).any(|phase| phase == "starting"), "{after:?}");
}

pub fn a_manual_start_that_dies_again_is_no_recovery(stage: &impl Stage) {
    stage.config("refresh: 100ms\nheal: {stable_after: 5s, backoff: {initial: 2s, factor: 1, jitter: 0}}\n");
    stage.touch("broken");
    stage.define(QUEUE, Kind::LivesUnlessBroken);
    stage.start(QUEUE);
    stage.start_daemon();
    stage.wait("scheduled", QUEUE);
    stage.remove("broken");
    stage.start(QUEUE);
    stage.wait_until("the worker to be up", || stage.is_up(QUEUE).then_some(()));
    stage.touch("broken");
    stage.crash(QUEUE);
    let next = stage.wait_any(&["recovered", "healed", "scheduled", "starting", "gave-up"], QUEUE);
    assert!(matches!(next.phase.as_str(), "scheduled" | "starting"), "{next:?}");
    stage.remove("broken");
    stage.wait_any(&["recovered", "healed"], QUEUE);
}

pub fn a_clean_exit_is_not_restarted(stage: &impl Stage) {
    // A busy machine may take longer than the usual time for the exit.
    stage.config("refresh: 100ms\nheal: {stable_after: 5s, backoff: {initial: 50ms}}\n");
    stage.workers(&[OTHER]);
    stage.touch("broken");
    stage.define(QUEUE, Kind::Ends);
    stage.start(QUEUE);
    stage.wait_for_down(&[QUEUE]);
    stage.remove("broken");
    stage.start_daemon();
    stage.wait("stopped", QUEUE);
    stage.prove_alive_with(OTHER);
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "stopped"]);
}

pub fn paused_ignored_and_suspended_workers_are_left_alone(stage: &impl Stage) {
    stage.sites(&[
        "{name: shop}",
        "{name: resting, paused: true}",
        "{name: foreign, ignored: true}",
        "{name: partly, paused_workers: [queue], idle_suspended_workers: [vite]}",
    ]);
    let down = ["lerd-queue-resting", "lerd-queue-foreign", "lerd-queue-partly", "lerd-vite-partly"];
    stage.workers(&down);
    stage.workers(&[OTHER]);
    stage.crash_for_good(&down);
    stage.start_daemon();
    stage.untouched(&down, || stage.prove_alive_with(OTHER));
    for (unit, reported) in [(down[0], &["held"][..]), (down[1], &[]), (down[2], &["held"]), (down[3], &["held"])] {
        assert_eq!(stage.reported(unit), reported, "{unit}");
    }
    stage.sites(&["{name: shop}", "{name: resting}", "{name: foreign}", "{name: partly}"]);
    stage.wait_until("all to be healed", || {
        down.iter().all(|unit| stage.reported(unit).last().is_some_and(|phase| phase == "healed")).then_some(())
    });
}

pub fn other_jobs_are_never_touched(stage: &impl Stage) {
    let foreign = ["lerd-fp-myapp", "lerd-custom-myapp", "lerd-cfpm-myapp", "lerd-nginx", "lerd-queue-unknown", "bot"];
    stage.workers(&foreign);
    stage.workers(&[OTHER]);
    stage.crash_for_good(&foreign);
    stage.start_daemon();
    stage.untouched(&foreign, || stage.prove_alive_with(OTHER));
    for unit in foreign {
        assert_eq!(stage.reported(unit), [""; 0], "{unit}");
    }
}

pub fn under_the_stop_marker_nothing_is_healed(stage: &impl Stage) {
    const MARKER: &str = ".local/share/lerd/run/stopped";
    stage.workers(&[QUEUE]);
    stage.touch(MARKER);
    stage.crash_for_good(&[QUEUE]);
    stage.start_daemon();
    assert!(stage.wait("held", QUEUE).reason.contains("stop marker"));
    stage.remove(MARKER);
    stage.wait("healed", QUEUE);
}

pub fn a_stop_is_obeyed_and_a_start_ends_that(stage: &impl Stage) {
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.prove_alive_with(QUEUE);
    stage.stop(QUEUE);
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    assert!(!stage.is_up(QUEUE));
    stage.start(QUEUE);
    stage.prove_alive_with(OTHER);
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
}

pub fn a_stop_while_the_daemon_was_down_is_obeyed(stage: &impl Stage) {
    stage.workers(&[QUEUE, OTHER]);
    stage.stop(QUEUE);
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    assert_eq!(stage.reported(QUEUE), [""; 0]);
}

/// A worker waits for its second attempt, because of the file `broken`.
fn waiting_for_an_attempt(stage: &impl Stage) {
    stage.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 1s, factor: 1, jitter: 0}}\n");
    stage.workers(&[OTHER]);
    stage.touch("broken");
    stage.define(QUEUE, Kind::LivesUnlessBroken);
    stage.start(QUEUE);
    stage.start_daemon();
    stage.wait("scheduled", QUEUE);
}

pub fn a_stop_while_an_attempt_is_waited_for_is_obeyed(stage: &impl Stage) {
    waiting_for_an_attempt(stage);
    stage.stop(QUEUE);
    let next = stage.wait_any(&["stopped", "starting"], QUEUE);
    assert_eq!(next.phase, "stopped", "a stop is obeyed");
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

pub fn a_stopped_keep_alive_job_stays_down(stage: &impl Stage) {
    stage.workers(&[OTHER]);
    stage.define(QUEUE, Kind::KeptAlive);
    stage.start(QUEUE);
    stage.start_daemon();
    stage.prove_alive_with(OTHER);
    // The manager itself restarts it after a crash.
    stage.crash(QUEUE);
    stage.wait_until("the manager to start it again", || stage.is_up(QUEUE).then_some(()));
    stage.stop(QUEUE);
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    assert!(!stage.is_up(QUEUE));
    assert_eq!(stage.reported(QUEUE), [""; 0]);
}

pub fn a_worker_disabled_before_its_attempt_is_left_alone(stage: &impl Stage) {
    waiting_for_an_attempt(stage);
    stage.disable(QUEUE);
    let next = stage.wait_any(&["held", "stopped", "starting"], QUEUE);
    assert_ne!(next.phase, "starting", "a disable is obeyed");
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

pub fn a_worker_that_a_person_starts_first_is_not_started_again(stage: &impl Stage) {
    waiting_for_an_attempt(stage);
    stage.remove("broken");
    stage.start(QUEUE);
    let next = stage.wait_any(&["recovered", "starting"], QUEUE);
    assert_eq!(next.phase, "recovered");
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

pub fn a_site_that_is_added_is_covered(stage: &impl Stage) {
    stage.workers(&["lerd-queue-late", OTHER]);
    stage.crash_for_good(&["lerd-queue-late"]);
    stage.start_daemon();
    stage.prove_alive_with(OTHER);
    stage.sites(&["{name: late}", "{name: shop}"]);
    stage.wait("healed", "lerd-queue-late");
}

pub fn a_crash_loop_of_the_manager_is_reported_once_and_left_to_it(stage: &impl Stage) {
    stage.workers(&[OTHER]);
    stage.start_daemon();
    stage.touch("broken");
    stage.define(QUEUE, Kind::KeptAlive);
    stage.start(QUEUE);
    assert_eq!(stage.wait("detected", QUEUE).reason, "crash-looping");
    stage.wait("held", QUEUE);
    let listed = stage.wait_until("it to be listed", || {
        let listed = stage.detect();
        (listed != serde_json::json!([])).then_some(listed)
    });
    assert_eq!(listed[0]["state"], "crash-looping", "{listed}");
    stage.prove_alive_with(OTHER);
    assert_eq!(stage.reported(QUEUE), ["detected", "held"]);
}

pub fn without_its_directory_a_worker_is_shown_and_left_alone(stage: &impl Stage) {
    stage.workers(&[OTHER]);
    stage.touch("work/file");
    stage.define(QUEUE, Kind::LivesInWork);
    stage.start(QUEUE);
    stage.crash_for_good(&[QUEUE]);
    stage.remove("work");
    assert_eq!(stage.detect()[0]["state"], "orphaned");
    stage.start_daemon();
    stage.wait("held", QUEUE);
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

pub fn an_unstartable_worker_is_given_up_at_once(stage: &impl Stage) {
    stage.workers(&[QUEUE, OTHER]);
    stage.crash_for_good(&[QUEUE]);
    stage.define(QUEUE, Kind::Wrong);
    stage.start_daemon();
    let gave_up = stage.wait("gave-up", QUEUE);
    assert!(gave_up.reason.contains("setting"), "{gave_up:?}");
    stage.prove_alive_with(OTHER);
    assert_eq!(stage.reported(QUEUE), ["detected", "gave-up"]);
}

pub fn a_worker_that_refuses_its_probe_is_restarted(stage: &impl Stage) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    stage.config(&format!(
        "refresh: 100ms\nheal: {{stable_after: 50ms, backoff: {{initial: 50ms}}, states: [failed, unreachable]}}\n\
         probes: {{web: {{tcp: \"127.0.0.1:{port}\"}}}}\n"
    ));
    stage.write("port", &port.to_string());
    stage.define("lerd-web-myapp", Kind::Listens);
    stage.start("lerd-web-myapp");
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
    stage.wait_until("it to listen", || answers().then_some(()));
    stage.start_daemon();
    stage.touch("deaf");
    stage.wait_until("it to be deaf", || (!answers()).then_some(()));
    stage.remove("deaf");
    let detected = stage.wait("detected", "lerd-web-myapp");
    assert_eq!(detected.reason, "unreachable");
    stage.wait("healed", "lerd-web-myapp");
    assert!(answers());
}

pub fn attempts_survive_the_death_of_the_daemon(stage: &impl Stage) {
    waiting_for_an_attempt(stage);
    stage.wait_until("what has to survive to be written down", || {
        stage.read(".local/state/workerheal/state.json").contains(QUEUE).then_some(())
    });
    stage.kill_daemon();
    stage.start_daemon();
    let next = stage.wait("starting", QUEUE);
    assert!(next.attempt > Some(1), "{next:?}");
}
