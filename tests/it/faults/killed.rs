//! The daemon is killed at every externally visible step, and started again: before each message that it sends or
//! receives, and before each call on its files, in any thread. strace(1) kills it: the n-th call of a kind is not made,
//! and is the last.
//!
//! A sample of the points by default; all of them with `WORKERHEAL_CHAOS=all` (`make chaos`), which also prints the
//! outcome of each.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::common::{DAEMON, SOON, World, service_of};
use crate::faults::{OTHER, QUEUE, STEADY, pid};

/// The system calls at which it is killed, by kind: calls of one kind are counted for each thread.
const KINDS: [(&str, &str); 4] = [
    ("send", "sendmsg,sendto,write,writev"),
    ("receive", "recvmsg,recvfrom,read"),
    ("file", "openat,fsync,rename,renameat,unlink,unlinkat"),
    ("wait", "epoll_wait,epoll_pwait,futex"),
];
/// Maximum number of calls in a step.
const MAX_POINTS: usize = 80;
/// systemd has started a unit.
const STARTED: &str = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf";

/// The daemon under strace.
struct Doomed(Child);

impl Doomed {
    /// Kills it instead of the n-th of these calls from now on.
    #[track_caller]
    fn at(world: &World, calls: &str, n: usize) -> Self {
        let mut command = world.command("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:signal=KILL:when={n}")]);
        if calls.contains("openat") {
            // Including threads that are started later, but not programs that it runs, which have other files.
            command.args(["-f", "-p", &pid(world)]);
            for path in ["", "/state.json", "/state.json.new"] {
                command.arg("-P").arg(world.path(&format!(".local/state/workerheal{path}")));
            }
        } else {
            let threads = crate::faults::shell(world, &format!("ls /proc/{}/task", pid(world)));
            command.args(threads.split_whitespace().flat_map(|thread| ["-p", thread]));
        }
        // strace does not report when it has attached to all threads, but reports each.
        let child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("nsenter runs");
        let traced = || {
            let status =
                crate::faults::shell(world, &format!("cat /proc/{}/task/*/status 2>/dev/null || true", pid(world)));
            let tracers: Vec<&str> = status.lines().filter(|line| line.starts_with("TracerPid:")).collect();
            (!tracers.is_empty() && tracers.iter().all(|line| !line.ends_with("\t0"))).then_some(())
        };
        // It may be dead already.
        world.wait_until("strace to attach", SOON, || if is_dead(world) { Some(()) } else { traced() });
        Self(child)
    }

    fn end(mut self) {
        let _ = self.0.kill();
        let mut said = String::new();
        if let Some(errors) = self.0.stderr.take() {
            let _ = BufReader::new(errors).read_line(&mut said);
        }
        let _ = self.0.wait();
        assert!(!said.contains("Operation not permitted"), "strace: {said}");
    }
}

fn is_dead(world: &World) -> bool {
    world.show(DAEMON, "ActiveState") == "failed"
}

/// Whether it has died, where it may be about to: a living one answers.
fn died(world: &World) -> bool {
    let curl = "curl -s -m 5 --unix-socket /run/user/0/workerheal/api.sock http://localhost/v1/status || true";
    world.wait_until("the daemon to answer or to be dead", SOON, || {
        if is_dead(world) {
            Some(true)
        } else {
            crate::faults::shell(world, curl).contains("uptime_ms").then_some(false)
        }
    })
}

/// The outcomes at the points of one step.
#[derive(Default)]
struct Outcomes(BTreeMap<(&'static str, String), Vec<usize>>);

impl Outcomes {
    fn print(&self, step: &str) {
        for ((kind, outcome), points) in &self.0 {
            println!("{step:<8} {kind:<8} {:>3} points  {outcome}", points.len());
        }
    }
}

/// Goes through the points of a step: `act` performs it with the doomed daemon, and returns when it is done or the
/// daemon is dead; `check` asserts with the next daemon that everything is right, and returns its state.
fn at_every_point(
    world: &World,
    step: &str,
    stride: usize,
    mut act: impl FnMut(),
    mut check: impl FnMut(&str) -> String,
) {
    let all = std::env::var("WORKERHEAL_CHAOS").is_ok_and(|which| which == "all");
    let mut outcomes = Outcomes::default();
    let mut killed = 0;
    for (kind, calls) in KINDS {
        for n in 1..=MAX_POINTS {
            if !all && kind != "file" && n % stride != 3 % stride {
                continue;
            }
            let point = format!("{step}, call {n} of kind {kind}");
            let doomed = Doomed::at(world, calls, n);
            act();
            doomed.end();
            let died = died(world);
            if died {
                killed += 1;
                world.start_unit(DAEMON);
            }
            let outcome = check(&point);
            let outcome = if died { outcome } else { format!("not reached, {outcome}") };
            outcomes.0.entry((kind, outcome)).or_default().push(n);
            if !died {
                break;
            }
        }
    }
    outcomes.print(step);
    assert!(killed >= 3, "{step}: the daemon was killed only {killed} times");
}

fn world() -> World {
    let world = World::new();
    world.config(STEADY);
    world.write_unit("workerheal.service.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n");
    world
}

fn starts(world: &World, unit: &str) -> usize {
    world.journal(&[STARTED, &format!("USER_UNIT={}", service_of(unit))]).len()
}

fn is_up(world: &World, unit: &str) -> bool {
    world.show(&service_of(unit), "ActiveState") == "active"
}

/// Waits until the daemon is dead, or until this holds.
#[track_caller]
fn dead_or(world: &World, what: &str, mut done: impl FnMut() -> bool) {
    world.wait_until(&format!("{what}, or the daemon to be dead"), SOON, || (is_dead(world) || done()).then_some(()));
}

/// Killed during a heal, with and without a concurrent reload of the manager.
fn while_healing(step: &str, beside: impl Fn(&World)) {
    let world = world();
    world.workers([QUEUE]);
    world.start_daemon();
    let healed = |world: &World| world.reported(QUEUE).iter().filter(|phase| *phase == "healed").count();
    let mut expected = starts(&world, QUEUE);
    at_every_point(
        &world,
        step,
        8,
        || {
            let before = healed(&world);
            world.crash(QUEUE);
            beside(&world);
            dead_or(&world, "the worker to be healed", || healed(&world) > before);
        },
        |point| {
            world.wait_until(&format!("the worker to be up again ({point})"), SOON, || {
                is_up(&world, QUEUE).then_some(())
            });
            expected += 1;
            // By then it has listed the units a few times, and has done whatever it was going to do.
            let lists = Instant::now() + Duration::from_millis(300);
            world.wait_until("some refreshes", SOON, || (Instant::now() > lists).then_some(()));
            assert_eq!(
                starts(&world, QUEUE),
                expected,
                "{point}: one failure is one start\n{:?}",
                world.reported(QUEUE)
            );
            let last = world.reported(QUEUE).pop().unwrap_or_default();
            format!("up after one start; reported last: {last}")
        },
    );
}

#[test]
fn a_daemon_killed_during_a_heal_forgets_no_worker_and_starts_none_twice() {
    while_healing("heal", |_| ());
}

#[test]
fn a_daemon_killed_during_a_reload_forgets_no_worker_and_starts_none_twice() {
    while_healing("reload", |world| {
        world.control(&["daemon-reload"]);
    });
}

#[test]
fn a_daemon_killed_during_a_stop_does_not_start_the_worker_again() {
    let world = world();
    world.workers([OTHER]);
    world.worker(QUEUE, "ExecStartPre=sleep 0.4\nExecStart=sleep infinity");
    let mut events = world.start_daemon();
    let service = service_of(QUEUE);
    let meant = std::cell::Cell::new(false);
    at_every_point(
        &world,
        "stop",
        8,
        || {
            world.crash(QUEUE);
            dead_or(&world, "the worker to be started", || world.show(&service, "ActiveState") == "activating");
            // A stop of a worker that is down already leaves no trace if no daemon sees it.
            meant.set(world.show(&service, "ActiveState") == "activating");
            world.stop_unit(&service);
            dead_or(&world, "the worker to be down", || world.show(&service, "ActiveState") != "active");
        },
        |point| {
            events.prove_alive_with(&world, OTHER);
            let up = world.show(&service, "ActiveState");
            if meant.get() {
                assert!(["inactive", "failed"].contains(&up.as_str()), "{point}: {up}\n{:?}", world.reported(QUEUE));
            }
            world.start_unit(&service);
            events.prove_alive_with(&world, OTHER);
            let how = if meant.get() { "a stop that was meant stays one" } else { "dead before it started anything" };
            how.to_owned()
        },
    );
}

#[test]
fn a_daemon_killed_during_pause_and_resume_keeps_confirmed_changes() {
    let world = world();
    world.workers([QUEUE]);
    world.start_daemon();
    for (step, path, paused) in [("pause", "/v1/pause", true), ("resume", "/v1/resume", false)] {
        let confirmed = std::cell::Cell::new(false);
        at_every_point(
            &world,
            step,
            3,
            || {
                let body = r#"{"targets":["myapp"]}"#;
                let curl = format!(
                    "curl -s -m 15 -d '{body}' --unix-socket /run/user/0/workerheal/api.sock http://localhost{path} || true"
                );
                confirmed.set(crate::faults::shell(&world, &curl).contains("pauses"));
                if !confirmed.get() {
                    dead_or(&world, "nothing else", || false);
                }
            },
            |point| {
                let status = crate::api::http::get(&world, "/v1/status").json();
                let is_paused = status["pauses"].as_array().is_some_and(|pauses| !pauses.is_empty());
                assert!(!confirmed.get() || is_paused == paused, "{point}: {status:#}");
                // Restores the initial state for the next point.
                let undo = if paused { "/v1/resume" } else { "/v1/pause" };
                let undone = crate::api::http::post(&world, undo, &serde_json::json!({"targets": ["myapp"]}));
                assert_eq!(undone.status, 200, "{undone:?}");
                if confirmed.get() { "confirmed, and kept" } else { "not confirmed" }.to_owned()
            },
        );
        // Creates what the next step removes.
        crate::api::http::post(&world, "/v1/pause", &serde_json::json!({"targets": ["myapp"]}));
    }
}
