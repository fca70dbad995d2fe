//! Workers that were stopped or paused on purpose, or are not covered, are not started.

use std::time::Duration;

use crate::common::{
    BY_SIGNALS, DAEMON, Events, FAILS_WHEN_STOPPED, LIVES, NEVER_GETS_READY, SOON, World, now, service_of, text,
    written,
};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";

#[test]
fn paused_ignored_and_suspended_workers_are_left_alone() {
    let world = World::new();
    world.sites(&[
        "{name: shop}",
        "{name: resting, paused: true}",
        "{name: foreign, ignored: true}",
        "{name: partly, paused_workers: [queue], idle_suspended_workers: [vite], \
         worktree_idle_suspended: {feature: [horizon]}}",
    ]);
    let meant_to_be_down = [
        "lerd-queue-resting",
        "lerd-queue-foreign",
        "lerd-queue-partly",
        "lerd-vite-partly",
        "lerd-horizon-partly-feature",
    ];
    world.workers(meant_to_be_down);
    world.write_file("trees/feature/README", "");
    world.worker("lerd-horizon-partly-feature", "WorkingDirectory=%h/trees/feature\nExecStart=sleep infinity");
    world.workers([OTHER]);
    world.crash_for_good(meant_to_be_down);
    let untouched = world.picture(&meant_to_be_down);

    let mut events = world.start_daemon();
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&meant_to_be_down), untouched);

    // The same for failures while the daemon runs.
    for unit in meant_to_be_down {
        world.control(&["start", unit]);
        world.crash(unit);
    }
    events.prove_alive_with(&world, OTHER);
    for unit in meant_to_be_down {
        assert_eq!(world.show(&service_of(unit), "ActiveState"), "failed", "{unit}");
        assert!(!world.reported(unit).contains(&"starting".to_owned()), "{unit}: {:?}", world.reported(unit));
    }
    for (unit, why) in [
        ("lerd-queue-resting", "the site resting is paused"),
        ("lerd-queue-partly", "queue"),
        ("lerd-vite-partly", "sleeps"),
        ("lerd-horizon-partly-feature", "sleeps"),
    ] {
        let held = world.journal(&[&format!("WORKERHEAL_UNIT={unit}"), "WORKERHEAL_PHASE=held"]);
        assert!(text(&held[0], "WORKERHEAL_REASON").contains(why), "{held:#?}");
    }

    world.sites(&["{name: shop}", "{name: resting}", "{name: foreign}", "{name: partly}"]);
    for unit in meant_to_be_down {
        world.wait_for_journal(&format!("{unit} healed"), SOON, |entry| {
            entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == unit
        });
    }
}

#[test]
fn other_jobs_are_never_touched() {
    let world = World::new();
    world.workers([OTHER]);
    // Containers, a global unit, a unit of an unregistered site, and an unrelated one.
    let foreign = ["lerd-fp-myapp", "lerd-custom-myapp", "lerd-cfpm-myapp", "lerd-nginx", "lerd-queue-unknown", "bot"];
    world.workers(foreign);
    world.crash_for_good(foreign);
    // A scheduled worker between two runs: only its timer starts it.
    world.write_unit("lerd-schedule-myapp.service", "[Service]\nType=oneshot\nExecStart=true\n");
    world.write_unit("lerd-schedule-myapp.timer", "[Timer]\nOnActiveSec=1h\n[Install]\nWantedBy=default.target\n");
    world.control(&["enable", "--now", "lerd-schedule-myapp.timer"]);
    world.start_unit("lerd-schedule-myapp.service");
    let all = [&foreign[..], &["lerd-schedule-myapp.service", "lerd-schedule-myapp.timer"]].concat();
    let untouched = world.picture(&all);
    assert!(untouched.contains("ActiveState=inactive"));

    let mut events = world.start_daemon();
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&all), untouched);
    for unit in foreign {
        assert_eq!(world.reported(unit), [""; 0], "{unit}");
    }
}

#[test]
fn under_the_stop_marker_nothing_is_healed() {
    const MARKER: &str = ".local/share/lerd/run/stopped";
    let world = World::new();
    let remove = || std::fs::remove_file(world.home().join(MARKER)).unwrap();
    world.workers([QUEUE, OTHER]);
    world.write_file(MARKER, "");
    world.crash_for_good([QUEUE]);

    // Present at the start, then removed.
    let mut events = world.start_daemon();
    let held = events.wait("held", QUEUE);
    assert!(text(&held, "WORKERHEAL_REASON").contains("stop marker"), "{held:#}");
    world.crash(OTHER);
    events.wait("held", OTHER);
    assert_eq!(world.reported(QUEUE), ["held"]);
    remove();
    events.wait("healed", QUEUE);

    // Created while the daemon runs, including its directory.
    std::fs::remove_dir(world.home().join(".local/share/lerd/run")).unwrap();
    world.wait_for_journal("the other one too", SOON, |entry| {
        entry["WORKERHEAL_PHASE"] == "healed" && entry["WORKERHEAL_UNIT"] == OTHER
    });
    world.write_file(MARKER, "");
    events.wait_for_log(&["stopped on purpose"]);
    world.crash(QUEUE);
    events.wait("held", QUEUE);
    remove();
    events.wait("healed", QUEUE);
}

#[test]
fn a_site_added_while_running_is_covered_within_half_a_second() {
    let world = World::new();
    world.config(BY_SIGNALS);
    let late = ["lerd-queue-late1", "lerd-queue-late2", "lerd-queue-late3"];
    world.workers(late);
    world.crash_for_good(late);
    let mut events = world.start_daemon();
    let mut sites = vec!["{name: myapp}".to_owned()];
    // The best of three: a busy machine may delay one of them.
    let best = late.iter().map(|unit| {
        sites.push(format!("{{name: {}}}", unit.rsplit('-').next().unwrap()));
        let list: Vec<&str> = sites.iter().map(String::as_str).collect();
        let before = now();
        world.sites(&list);
        written(&events.wait("starting", unit)).saturating_sub(before)
    });
    let best = best.min().unwrap();
    assert!(best < Duration::from_millis(500), "covered after {best:?} at best");
}

#[test]
fn a_stop_by_a_person_is_obeyed_even_if_it_ends_in_failure() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.workers([OTHER]);
    let mut events = world.start_daemon();

    world.control(&["stop", QUEUE]);
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "failed");
    events.wait("stopped", QUEUE);
    let untouched = world.picture(&[QUEUE]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE), ["stopped"]);

    // A daemon that starts later remembers it, and does not report it again.
    world.control(&["restart", DAEMON]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE), ["stopped"]);

    // A person starts it again, and from then on it is healed as before.
    world.control(&["start", QUEUE]);
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
}

/// Starts the daemon after `QUEUE` was stopped, and asserts that it reports the stop and starts nothing.
fn a_new_daemon_obeys_the_stop(world: &World) -> Events<'_> {
    let untouched = world.picture(&[QUEUE]);
    let mut events = world.start_daemon();
    events.wait("stopped", QUEUE);
    events.prove_alive_with(world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE), ["stopped"]);
    events
}

#[test]
fn a_stop_while_the_daemon_was_down_is_obeyed() {
    let world = World::new();
    world.worker(QUEUE, FAILS_WHEN_STOPPED);
    world.workers([OTHER]);
    world.control(&["stop", QUEUE]);
    a_new_daemon_obeys_the_stop(&world);
}

#[test]
fn a_stop_that_its_unit_keeps_out_of_the_journal_is_obeyed() {
    let world = World::new();
    world.worker(QUEUE, &format!("{FAILS_WHEN_STOPPED}\nLogLevelMax=notice"));
    world.workers([OTHER]);
    let mut events = world.start_daemon();
    world.control(&["stop", QUEUE]);
    events.wait("stopped", QUEUE);
    let untouched = world.picture(&[QUEUE]);
    world.control(&["restart", DAEMON]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched, "the daemon saw that stop");

    world.control(&["start", QUEUE]);
    world.control(&["stop", DAEMON, QUEUE]);
    let untouched = world.picture(&[QUEUE]);
    world.control(&["start", DAEMON]);
    let held = events.wait("held", QUEUE);
    assert!(text(&held, "WORKERHEAL_REASON").contains("LogLevelMax="), "{held:#}");
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched, "it may have been stopped on purpose");
    // What is seen needs no journal.
    world.run(&["heal", QUEUE]);
    world.kill(QUEUE, "KILL");
    events.wait("starting", QUEUE);
}

#[test]
fn a_failure_that_a_person_cleared_is_left_alone_if_the_worker_is_not_enabled() {
    let world = waiting_for_an_attempt();
    world.control(&["disable", QUEUE]);
    let mut events = world.events();
    world.control(&["reset-failed", QUEUE]);
    let next = events.wait_any(&["stopped", "starting"], QUEUE);
    assert_eq!(next["WORKERHEAL_PHASE"], "stopped", "a cleared failure is a wish to leave it down");
}

#[test]
fn a_stop_during_a_start_is_obeyed() {
    let world = World::new();
    world.workers([OTHER]);
    let clean = "lerd-clean-myapp";
    world.write_worker(clean, "Type=notify\nTimeoutStartSec=infinity\nExecStart=sleep infinity");
    world.write_worker(QUEUE, NEVER_GETS_READY);
    for unit in [clean, QUEUE] {
        world.control(&["enable", unit]);
        world.control(&["start", "--no-block", unit]);
        world.wait_for_state(&service_of(unit), "activating", SOON);
        world.crash_for_good([unit]);
    }
    let trapped = world.home().join("stubborn");
    let _ = std::fs::remove_file(&trapped);

    let mut events = world.start_daemon();
    events.wait("starting", clean);
    world.wait_for_state(&service_of(clean), "activating", SOON);
    world.control(&["stop", clean]);
    events.wait("stopped", clean);
    world.wait_until("the other one to be starting", SOON, || trapped.exists().then_some(()));
    world.control(&["stop", QUEUE]);
    events.wait("stopped", QUEUE);
    assert_eq!(world.show(&service_of(clean), "ActiveState"), "inactive");
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "failed");

    let untouched = world.picture(&[QUEUE, clean]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE, clean]), untouched);
    for unit in [clean, QUEUE] {
        assert_eq!(world.reported(unit), ["detected", "starting", "stopped"], "{unit}");
    }
}

#[test]
fn a_stop_during_a_start_while_the_daemon_was_down_is_obeyed() {
    let world = World::new();
    world.workers([OTHER]);
    world.write_worker(QUEUE, NEVER_GETS_READY);
    world.control(&["enable", QUEUE]);
    let trapped = world.home().join("stubborn");
    let start = || {
        world.control(&["start", "--no-block", QUEUE]);
        world.wait_until("it to be starting", SOON, || trapped.exists().then_some(()));
    };
    start();
    world.control(&["stop", QUEUE]);
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "failed");
    let mut events = a_new_daemon_obeys_the_stop(&world);

    // A worker that was killed at the same point is healed.
    world.stop_unit(DAEMON);
    std::fs::remove_file(&trapped).unwrap();
    start();
    world.crash_for_good([QUEUE]);
    world.start_unit(DAEMON);
    events.wait("starting", QUEUE);
}

/// A world in which a worker waits for its second attempt, because of the file `broken`.
fn waiting_for_an_attempt() -> World {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 1s, factor: 1, jitter: 0}}\n");
    world.workers([OTHER]);
    world.write_file("broken", "");
    // In a directory where it can be masked.
    let unit =
        "[Service]\nExecStart=sh -c 'test ! -e %h/broken && exec sleep infinity'\n[Install]\nWantedBy=default.target\n";
    world.write_file(".local/share/systemd/user/lerd-queue-myapp.service", unit);
    world.control(&["enable", "--now", QUEUE]);
    world.start_daemon().wait("scheduled", QUEUE);
    world
}

#[test]
fn a_site_paused_or_removed_before_an_attempt_is_left_alone() {
    for (sites, phase) in
        [(&["{name: myapp, paused: true}", "{name: shop}"][..], "held"), (&["{name: shop}"], "stopped")]
    {
        let world = waiting_for_an_attempt();
        let mut events = world.events();
        world.sites(sites);
        let next = events.wait_any(&[phase, "starting"], QUEUE);
        assert_eq!(next["WORKERHEAL_PHASE"], phase, "its site is no longer to be healed");
        let untouched = world.picture(&[QUEUE]);
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE]), untouched);
    }
}

#[test]
fn a_worker_masked_while_down_waits_for_its_unmasking() {
    let world = waiting_for_an_attempt();
    let mut events = world.events();
    world.control(&["mask", QUEUE]);
    let held = events.wait_any(&["held", "starting"], QUEUE);
    assert!(text(&held, "WORKERHEAL_REASON").contains("masked"), "{held:#}");
    let untouched = world.picture(&[QUEUE]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    std::fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["unmask", QUEUE]);
    events.wait("healed", QUEUE);
}

#[test]
fn a_worker_disabled_while_down_waits_until_it_is_enabled() {
    let world = waiting_for_an_attempt();
    let mut events = world.events();
    world.control(&["disable", QUEUE]);
    let held = events.wait_any(&["held", "starting"], QUEUE);
    assert!(text(&held, "WORKERHEAL_REASON").contains("disabled"), "{held:#}");
    let untouched = world.picture(&[QUEUE]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    std::fs::remove_file(world.home().join("broken")).unwrap();
    world.control(&["enable", QUEUE]);
    events.wait("healed", QUEUE);
}

/// A worker that requires a container, like Lerd's.
fn world_with_parent(kind: &str, service: &str) -> World {
    let world = World::new();
    world.workers([OTHER, "lerd-php85-fpm"]);
    world.write_unit(
        "lerd-queue-myapp.service",
        &format!(
            "[Unit]\n{kind}=lerd-php85-fpm.service\nAfter=lerd-php85-fpm.service\n[Service]\n{service}\n\
             [Install]\nWantedBy=default.target\n"
        ),
    );
    world.control(&["enable", "--now", QUEUE]);
    world
}

#[test]
fn a_worker_whose_parent_is_down_is_held_until_a_person_starts_the_parent() {
    for kind in ["BindsTo", "Requires"] {
        let world = world_with_parent(kind, LIVES);
        world.crash_for_good([QUEUE]);
        world.control(&["stop", "lerd-php85-fpm"]);
        let untouched = world.picture(&[QUEUE, "lerd-php85-fpm"]);

        let mut events = world.start_daemon();
        let held = events.wait("held", QUEUE);
        assert!(text(&held, "WORKERHEAL_REASON").contains("needs lerd-php85-fpm.service"), "{held:#}");
        events.prove_alive_with(&world, OTHER);
        assert_eq!(world.picture(&[QUEUE, "lerd-php85-fpm"]), untouched, "{kind}");
        assert_eq!(world.reported(QUEUE), ["detected", "held"]);

        world.control(&["start", "lerd-php85-fpm"]);
        events.wait("healed", QUEUE);
    }
}

#[test]
fn a_parent_that_is_no_worker_is_waited_for() {
    let world = World::new();
    world.workers([OTHER, "postgres"]);
    world.write_unit(
        "lerd-queue-myapp.service",
        "[Unit]\nRequires=postgres.service\n[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n",
    );
    world.control(&["enable", "--now", QUEUE]);
    world.crash_for_good([QUEUE]);
    world.control(&["stop", "postgres"]);
    let mut events = world.start_daemon();
    events.wait("held", QUEUE);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.show("postgres.service", "ActiveState"), "inactive");
    assert_eq!(world.reported(QUEUE), ["detected", "held"]);
    world.control(&["start", "postgres"]);
    events.wait("healed", QUEUE);
}

#[test]
fn a_worker_that_went_down_with_its_parent_comes_back_with_it() {
    // A person stopped the parent; the worker was stopped with it, which ended in an error.
    let world = world_with_parent("BindsTo", FAILS_WHEN_STOPPED);
    let mut events = world.start_daemon();
    world.control(&["stop", "lerd-php85-fpm"]);
    world.wait_for_state("lerd-queue-myapp.service", "failed", SOON);
    events.wait_any(&["held", "stopped"], QUEUE);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.show("lerd-php85-fpm.service", "ActiveState"), "inactive");
    assert_eq!(world.show("lerd-queue-myapp.service", "ActiveState"), "failed");
    world.control(&["start", "lerd-php85-fpm"]);
    events.wait("healed", QUEUE);
    assert!(world.reported(QUEUE).contains(&"held".to_owned()), "{:?}", world.reported(QUEUE));
}

#[test]
fn a_worker_that_a_person_stops_right_after_its_parent_stays_down() {
    let world = world_with_parent("BindsTo", FAILS_WHEN_STOPPED);
    let mut events = world.start_daemon();
    // As a script does it: a worker that was stopped with its parent is stopped again by name.
    world.control(&["stop", "lerd-php85-fpm"]);
    world.control(&["stop", QUEUE]);
    events.wait("stopped", QUEUE);
    let untouched = world.picture(&[QUEUE]);
    world.control(&["start", "lerd-php85-fpm"]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE).last().unwrap(), "stopped");
}

#[test]
fn many_workers_that_wait_for_one_parent_are_reported_together() {
    let world = World::new();
    world.workers([OTHER, "lerd-php85-fpm"]);
    let units: Vec<String> = (0..12).map(|n| format!("lerd-w{n}-myapp")).collect();
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    for unit in &units {
        world.write_unit(
            &service_of(unit),
            &format!(
                "[Unit]\nBindsTo=lerd-php85-fpm.service\nAfter=lerd-php85-fpm.service\n\
                 [Service]\n{FAILS_WHEN_STOPPED}\n[Install]\nWantedBy=default.target\n"
            ),
        );
    }
    world.control(&[&["enable", "--now"], &names[..]].concat());
    let mut events = world.start_daemon();
    world.crash_for_good(["lerd-php85-fpm"]);
    for unit in &units {
        world.wait_for_state(&service_of(unit), "failed", SOON);
    }
    let summary = events.wait_for_log(&["12 workers wait for lerd-php85-fpm.service"]);
    assert_eq!([&summary["PRIORITY"], &summary["WORKERHEAL_PHASE"]], ["4", "held"], "{summary:#}");
    assert!(summary.get("WORKERHEAL_UNIT").is_none() && summary.get("USER_UNIT").is_none(), "{summary:#}");
    events.prove_alive_with(&world, OTHER);

    // One warning for the first, before it was known that there would be more, and one for all of them.
    let held = world.journal(&["SYSLOG_IDENTIFIER=workerheal", "WORKERHEAL_PHASE=held"]);
    let (warnings, others): (Vec<_>, Vec<_>) = held.iter().partition(|entry| entry["PRIORITY"] == "4");
    assert_eq!(warnings.len(), 2, "{warnings:#?}");
    assert_eq!(warnings.iter().filter(|entry| entry.get("WORKERHEAL_UNIT").is_none()).count(), 1);
    assert_eq!(others.len(), 11);
    for entry in &others {
        assert_eq!(entry["PRIORITY"], "6", "{entry:#}");
        assert!(text(entry, "WORKERHEAL_REASON").contains("needs lerd-php85-fpm.service"), "{entry:#}");
    }
    let all = [&names[..], &["lerd-php85-fpm"]].concat();
    let states = world.control(&[&["show", "--property=ActiveState", "--value", "--"], &all[..]].concat());
    assert!(states.lines().filter(|line| !line.is_empty()).all(|state| state == "failed"), "{states}");
    for unit in &units {
        assert_eq!(world.reported(unit), ["detected", "held"], "{unit}");
    }

    world.control(&["reset-failed", "lerd-php85-fpm"]);
    world.control(&["start", "lerd-php85-fpm"]);
    for unit in &units {
        world.wait_for_healed(unit);
        assert_eq!(world.reported(unit), ["detected", "held", "starting", "healed"], "{unit}");
    }
}

#[test]
fn a_pending_job_of_another_client_is_not_cancelled() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 300ms, jitter: 0}}\n");
    world.workers([OTHER]);
    // A person starts it, which takes a while: meanwhile the worker is not started a second time.
    world.write_worker(
        QUEUE,
        "Type=notify\nNotifyAccess=all\nTimeoutStartSec=infinity\n\
        ExecStart=sh -c 'until test -e %h/go; do sleep 0.05; done; systemd-notify --ready; exec sleep infinity'",
    );
    world.control(&["enable", QUEUE]);
    world.control(&["start", "--no-block", QUEUE]);
    world.wait_for_state("lerd-queue-myapp.service", "activating", SOON);
    let mut events = world.start_daemon();
    let untouched = world.picture(&[QUEUE]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(world.picture(&[QUEUE]), untouched);
    assert_eq!(world.reported(QUEUE), [""; 0]);
    world.write_file("go", "");
    world.wait_for_state("lerd-queue-myapp.service", "active", SOON);
}

#[test]
fn units_named_by_also_watch_are_covered_without_a_site() {
    let world = World::new();
    world.config("refresh: 100ms\nheal: {stable_after: 50ms}\nalso_watch: [\"celery@*.service\", bot.service]\n");
    world.write_worker("celery@", "ExecStart=sleep infinity");
    world.control(&["enable", "--now", "celery@one", "celery@two"]);
    world.workers(["bot", "bottle"]);
    world.crash_for_good(["bottle"]);
    let untouched = world.picture(&["bottle"]);
    let mut events = world.start_daemon();
    for unit in ["celery@two", "bot"] {
        world.crash(unit);
        let healed = events.wait("healed", unit);
        assert!(healed.get("WORKERHEAL_SITE").is_none(), "{healed:#}");
    }
    assert_eq!(world.picture(&["bottle"]), untouched);

    // Removing it from the list ends its coverage, without a restart.
    world.config("refresh: 100ms\nheal: {stable_after: 50ms}\nalso_watch: [bot.service]\n");
    events.wait_for_log(&["new configuration"]);
    world.crash("celery@one");
    events.prove_alive_with(&world, "bot");
    assert_eq!(world.show("celery@one.service", "ActiveState"), "failed");
    assert_eq!(world.reported("celery@one"), [""; 0]);
}

#[test]
fn the_working_directory_determines_the_worktree() {
    let world = World::new();
    world.sites(&[
        &format!("{{name: shop, path: {}}}", world.path("shop")),
        &format!("{{name: feature, path: {}}}", world.path("feature")),
        "{name: asleep, paused: true}",
    ]);
    let unit = "lerd-queue-shop-feature";
    let asleep = "lerd-vite-asleep-shop";
    for (unit, dir) in [(unit, "trees/feature"), ("lerd-mail-shop-feature", "feature"), (asleep, "trees/shop")] {
        world.write_file(format!("{dir}/README"), "");
        world.worker(unit, &format!("WorkingDirectory=%h/{dir}\nExecStart=sleep infinity"));
    }
    let mut events = world.start_daemon();
    // A worktree `feature` of shop, and a worker `mail-shop` of the site feature.
    world.crash(unit);
    assert_eq!(events.wait("healed", unit)["WORKERHEAL_SITE"], "shop");
    world.crash("lerd-mail-shop-feature");
    assert_eq!(events.wait("healed", "lerd-mail-shop-feature")["WORKERHEAL_SITE"], "feature");
    // A worktree of a paused site whose name ends like another site's.
    world.crash(asleep);
    assert_eq!(events.wait_any(&["held", "starting"], asleep)["WORKERHEAL_PHASE"], "held");
    events.prove_alive_with(&world, unit);
    assert_eq!(world.show(&service_of(asleep), "ActiveState"), "failed");
}
