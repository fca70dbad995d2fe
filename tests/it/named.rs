//! Workers that are named by a person: not enabled, unloaded, transient, or in a crash loop.

use crate::common::{DAEMON, LIVES, Ran, SOON, World};

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-myapp";

#[track_caller]
fn heals(world: &World, target: &str) -> Ran {
    let ran = world.run(&["heal", target, "--prove", "50ms"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 1 worker(s).")), "{target}: {ran:?}");
    ran
}

/// A heal of the worker by its name fails for this reason, with the daemon and without it.
#[track_caller]
fn refuses(world: &World, reason: &str) {
    for daemon in [true, false] {
        if !daemon {
            world.control(&["stop", DAEMON]);
        }
        let ran = world.run(&["heal", "myapp/queue"]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(ran.out.contains(reason), "{ran:?}");
        assert_eq!(ran.out.lines().last(), Some("Healed 0 worker(s), 1 failed."), "{ran:?}");
    }
}

/// A worker that is up, and not enabled.
fn start_without_enabling(world: &World, unit: &str) {
    world.write_worker(unit, LIVES);
    world.daemon_reload();
    world.control(&["start", unit]);
}

#[test]
fn a_stopped_worker_that_is_not_enabled_can_be_healed_by_name() {
    let world = World::new();
    start_without_enabling(&world, QUEUE);
    // It was never started, so naming its site does not include it.
    world.write_worker(VITE, LIVES);
    world.daemon_reload();
    let daemon = world.start_daemon();
    let ran = world.run(&["stop", "myapp/queue"]);
    assert_eq!(ran.out, "Stopped myapp/queue; it stays stopped until you start it: workerheal heal myapp/queue\n");
    heals(&world, "myapp/queue");

    // Its site's name includes it in a stop; but a heal of the site would not start a worker that was never up.
    let ran = world.run(&["stop", "myapp"]);
    assert_eq!(ran.out, "Stopped myapp/queue; it stays stopped until you start it: workerheal heal myapp/queue\n");
    assert_eq!(world.run(&["heal", "myapp"]).out, "No unhealthy workers.\n");
    heals(&world, "myapp/queue");
    world.control(&["stop", QUEUE]);
    heals(&world, "myapp/queue");
    assert_eq!(world.show(&format!("{VITE}.service"), "ActiveState"), "inactive");

    // The daemon remembers it when the manager has unloaded it.
    assert_eq!(world.run(&["stop", "myapp/queue"]).status, 0);
    drop(daemon);
    world.control(&["restart", DAEMON]);
    let ran = world.run(&["explain", "myapp/queue"]);
    assert!(ran.status == 0 && ran.out.contains("start it: workerheal heal myapp/queue"), "{ran:?}");
    assert_eq!(world.run(&["logs", QUEUE]).status, 0);
    heals(&world, QUEUE);

    // And without a daemon.
    world.control(&["stop", DAEMON, QUEUE]);
    let ran = world.run(&["explain", QUEUE]);
    assert!(ran.status == 0 && ran.out.contains("myapp/queue is down"), "{ran:?}");
    heals(&world, "myapp/queue");
    assert_eq!(world.run(&["stop", QUEUE]).status, 0);
    heals(&world, QUEUE);
    let ran = world.run(&["heal", "lerd-other-myapp"]);
    assert!(ran.status == 2 && ran.err.contains("no worker named"), "{ran:?}");
}

#[test]
fn a_transient_worker_is_gone_once_it_is_stopped() {
    let world = World::new();
    let _events = world.start_daemon();
    let ran = Ran::of(world.command("systemd-run").args(["--user", "--unit", QUEUE, "sleep", "infinity"]));
    assert_eq!(ran.status, 0, "{ran:?}");
    world.wait_until("it is known", SOON, || world.run(&["status", QUEUE]).out.contains("up").then_some(()));
    let ran = world.run(&["stop", QUEUE]);
    assert_eq!(
        ran.out,
        "Stopped myapp/queue; its unit was transient and is gone, so start it again as you did before\n"
    );
    world.wait_until("it is forgotten", SOON, || (world.run(&["explain", QUEUE]).status == 2).then_some(()));
    for command in ["heal", "stop", "explain", "logs"] {
        let ran = world.run(&[command, QUEUE]);
        assert!(ran.status == 2 && ran.err.contains("no worker named"), "{command}: {ran:?}");
    }
}

#[test]
fn a_worker_in_a_crash_loop_is_refused_by_name_with_the_reason() {
    let world = World::new();
    world.write_unit(
        &format!("{QUEUE}.service"),
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestart=always\nRestartSec=20ms\nExecStart=false\n[Install]\nWantedBy=default.target\n",
    );
    let _events = world.start_daemon();
    world.control(&["enable", "--now", "--no-block", QUEUE]);
    world.wait_until("the crash loop", SOON, || {
        world.run(&["status"]).out.contains("the service manager itself restarts it").then_some(())
    });
    refuses(&world, "the service manager itself restarts it");
}

#[test]
fn a_worker_that_the_manager_restarts_much_later_is_refused_by_name_and_may_be_restarted_by_hand() {
    let world = World::new();
    world.write_unit(
        &format!("{QUEUE}.service"),
        "[Service]\nRestart=always\nRestartSec=5min\nExecStart=false\n[Install]\nWantedBy=default.target\n",
    );
    let _events = world.start_daemon();
    world.control(&["enable", "--now", "--no-block", QUEUE]);
    let waits = || (world.show(&format!("{QUEUE}.service"), "SubState") == "auto-restart").then_some(());
    world.wait_until("the wait for its restart", SOON, waits);
    refuses(&world, "the service manager restarts it in ");
    let ran = world.run(&["explain", "myapp/queue"]);
    assert!(ran.out.contains(&format!("restart it now: systemctl --user restart {QUEUE}")), "{ran:?}");
    let run = || world.show(&format!("{QUEUE}.service"), "InvocationID");
    let before = run();
    world.control(&["restart", "--no-block", QUEUE]);
    world.wait_until("another run", SOON, || (run() != before).then_some(()));
}

#[test]
fn a_worker_that_is_being_stopped_is_refused_by_name_with_that_reason() {
    let world = World::new();
    let slow = "ExecStart=bash -c 'trap \"\" TERM; while :; do sleep 0.05; done'\nTimeoutStopSec=60";
    world.worker(QUEUE, slow);
    let _events = world.start_daemon();
    world.control(&["stop", "--no-block", QUEUE]);
    let state = || world.show(&format!("{QUEUE}.service"), "ActiveState");
    world.wait_until("its stop", SOON, || (state() == "deactivating").then_some(()));
    refuses(&world, "it is being stopped");
    world.kill(QUEUE, "KILL");
}
