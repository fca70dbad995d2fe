//! Which worker a unit is, on a real service manager: sites whose names end alike, worktrees, containers, and
//! directories that vanish.

#![expect(clippy::unwrap_used, reason = "this is for tests only")]

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use crate::common::{LIVES, World, service_of};
use serde_json::Value;

const QUEUE: &str = "lerd-queue-myapp";
const SOON: Duration = Duration::from_secs(10);

/// The names of all workers that the daemon knows, with their states.
fn status(world: &World) -> Vec<String> {
    let line = |worker: &Value| {
        let part = |key: &str| worker[key].as_str().unwrap_or_default().to_owned();
        let worktree = worker.get("worktree").map(|it| format!("@{}", it.as_str().unwrap())).unwrap_or_default();
        format!("{}/{}{worktree} {} {}", part("site"), part("worker"), part("phase"), part("state"))
            .trim_end()
            .to_owned()
    };
    world.run(&["status", "--json"]).json().as_array().unwrap().iter().map(line).collect()
}

/// What `detect` lists.
fn detected(world: &World) -> Vec<String> {
    let line = |worker: &Value| format!("{} {}", worker["unit"].as_str().unwrap(), worker["state"].as_str().unwrap());
    world.run(&["detect", "--json"]).json().as_array().unwrap().iter().map(line).collect()
}

#[test]
fn a_worker_without_a_directory_belongs_to_the_longest_site_at_the_end_of_its_name() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: shop}", "{name: shop-admin, paused: true}", "{name: app}"]);
    let (paused, ownerless) = ("lerd-queue-shop-admin", "lerd-queue-app-old");
    world.workers([QUEUE, paused, ownerless]);
    world.crash_for_good([paused, ownerless]);
    assert!(world.show(&service_of(paused), "WorkingDirectory").starts_with('!'));
    let untouched = world.picture(&[paused, ownerless]);
    let mut events = world.start_daemon();
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.picture(&[paused, ownerless]), untouched);
    let ran = world.run(&["heal", "shop-admin/queue"]);
    assert!(ran.status == 1 && ran.out.contains("the site shop-admin is paused"), "{ran:?}");
    assert_eq!(world.run(&["heal", ownerless]).status, 2);
    assert_eq!(status(&world), ["myapp/queue up", "shop-admin/queue held failed"]);
    assert_eq!(detected(&world), [""; 0]);
}

#[test]
fn a_worktree_is_recognized_by_the_last_part_of_its_directory() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: ws, paused: true}", "{name: feat}"]);
    let (healthy, paused) = ("lerd-queue-myapp-feat-x", "lerd-vite-ws-feat-x");
    for (unit, directory) in [(healthy, "wt/feat.x"), (paused, "wt/feat-x")] {
        world.write_file(format!("{directory}/README"), "");
        world.worker(unit, &format!("WorkingDirectory=%h/{directory}\n{LIVES}"));
    }
    world.workers([QUEUE]);
    world.crash_for_good([paused]);
    let mut events = world.start_daemon();
    // From the start, and while it is healthy.
    let expected = ["myapp/queue up", "myapp/queue@feat-x up", "ws/vite@feat-x held failed"];
    // Until the first inspection has shown the problem, it is due for one.
    world.wait_until("the first inspection", SOON, || (status(&world) == expected).then_some(()));
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.show(&service_of(paused), "ActiveState"), "failed");

    // Pausing one of the two does not pause the other.
    let ran = world.run(&["pause", "myapp/queue"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    world.crash(QUEUE);
    world.crash(healthy);
    events.wait("healed", healthy);
    assert_eq!(world.show(&service_of(QUEUE), "ActiveState"), "failed");
    world.run(&["resume"]);
    events.wait("healed", QUEUE);
    world.run(&["pause", "myapp/queue@feat.x"]);
    world.crash(healthy);
    events.wait("held", healthy);
    world.crash(QUEUE);
    events.wait("healed", QUEUE);
    let table = world.run(&["status"]);
    assert!(
        table.out.contains("myapp/queue@feat-x") && table.out.contains("Paused myapp/queue@feat-x until"),
        "{table:?}"
    );
    // Without the daemon, too.
    world.run(&["resume"]);
    events.wait("healed", healthy);
    world.stop_unit(crate::common::DAEMON);
    world.crash_for_good([healthy]);
    let unhealthy = world.run(&["detect", "--json"]).json();
    assert_eq!(unhealthy[0]["worktree"], "feat-x", "{unhealthy}");
    assert!(world.run(&["detect"]).out.contains("myapp/queue@feat-x"));
    let ran = world.run(&["heal", "myapp/queue@feat-x", "--prove", "50ms"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(world.run(&["heal", "myapp/queue@feat-y"]).err.contains("myapp/queue@feat-x"));
}

#[test]
fn a_site_is_recognized_by_any_path_to_its_directory() {
    let world = World::new();
    fs::create_dir_all(world.home().join("code/shop")).unwrap();
    symlink(world.home().join("code"), world.home().join("link")).unwrap();
    world.sites(&["{name: myapp}", &format!("{{name: shop, path: {}}}", world.path("link/shop"))]);
    // By its name it could belong to a worktree `shop` of myapp, whose directory has that name as well.
    let unit = "lerd-queue-myapp-shop";
    world.worker(unit, &format!("WorkingDirectory=%h/code/shop\n{LIVES}"));
    let _events = world.start_daemon();
    assert_eq!(status(&world), ["shop/queue-myapp up"]);
    world.stop_unit(crate::common::DAEMON);
    world.crash_for_good([unit]);
    assert_eq!(world.run(&["detect", "--json"]).json()[0]["site"], "shop");
}

#[test]
fn containers_are_no_workers_but_workers_in_containers_are_recognized() {
    let world = World::new();
    world.sites(&["{name: myapp}", "{name: express}", "{name: fpm}"]);
    let containers = ["lerd-mongo-express", "lerd-cfpm-myapp", "lerd-php85-fpm"];
    world.write_file("podman", "#!/bin/sh\nexec sleep infinity\n");
    world.control(&["daemon-reload"]);
    let podman = world.home().join("podman");
    fs::set_permissions(&podman, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    world.workers(["lerd-cfpm-myapp", "lerd-php85-fpm", QUEUE]);
    let quadlet =
        format!("[Unit]\nSourcePath=%h/.config/containers/systemd/lerd-mongo-express.container\n[Service]\n{LIVES}\n");
    world.write_unit("lerd-mongo-express.service", &quadlet);
    world.daemon_reload();
    world.start_unit("lerd-mongo-express.service");
    let in_container = "lerd-horizon-myapp-feat";
    world.worker(
        in_container,
        "ExecStart=%h/podman exec -w /srv/trees/feat --env=A=b lerd-php85-fpm php artisan horizon",
    );
    world.crash_for_good(containers);
    let untouched = world.picture(&containers);
    let mut events = world.start_daemon();
    assert_eq!(status(&world), ["myapp/horizon@feat up", "myapp/queue up"]);
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.picture(&containers), untouched);
    // The directory is one in the container: its absence here means nothing.
    world.crash(in_container);
    events.wait("healed", in_container);
    world.stop_unit(crate::common::DAEMON);
    assert_eq!(detected(&world), [""; 0]);
}

#[test]
fn a_worker_whose_checkout_is_removed_is_orphaned_whatever_the_manager_does_with_it() {
    let world = World::new();
    world.workers([QUEUE]);
    let units = ["lerd-active-myapp-feat", "lerd-loops-myapp-feat", "lerd-down-myapp-feat", "lerd-failed-myapp-feat"];
    world.write_file("wt/feat/README", "");
    for unit in units {
        let restart = if unit.contains("loops") { "Restart=always\nRestartSec=500ms\n" } else { "" };
        world.worker(unit, &format!("WorkingDirectory=%h/wt/feat\n{restart}{LIVES}"));
    }
    world.end("lerd-down-myapp-feat");
    let mut events = world.start_daemon();
    fs::remove_dir_all(world.home().join("wt")).unwrap();
    world.crash("lerd-loops-myapp-feat");
    world.crash("lerd-failed-myapp-feat");
    let orphaned = |units: &[&str]| {
        let mut lines: Vec<String> = units.iter().map(|unit| format!("{unit} orphaned")).collect();
        lines.sort_unstable();
        lines
    };
    // A worker that is restarted or has failed is noticed at once.
    for unit in ["lerd-loops-myapp-feat", "lerd-failed-myapp-feat"] {
        events.wait("held", unit);
    }
    // A worker that continues to run, or is down, is noticed within a minute; by `detect` at once.
    world.stop_unit(crate::common::DAEMON);
    assert_eq!(detected(&world), orphaned(&units));
    let mut events = world.start_daemon();
    world.wait_until("all are known", SOON, || (detected(&world) == orphaned(&units)).then_some(()));
    events.prove_alive_with(&world, QUEUE);
    let ran = world.run(&["heal"]);
    assert_eq!((ran.status, ran.out.lines().last()), (0, Some("Healed 0 worker(s).")), "{ran:?}");
    assert_eq!(detected(&world), orphaned(&units));
    // A file in its place is no directory either.
    world.write_file("wt", "");
    assert_eq!(detected(&world), orphaned(&units));
    fs::remove_file(world.home().join("wt")).unwrap();
    // Once the directories are back, the workers are what they were.
    world.write_file("wt/feat/README", "");
    world.control(&["restart", crate::common::DAEMON]);
    events.wait("healed", "lerd-failed-myapp-feat");
}

#[test]
fn the_saved_state_counts_without_a_daemon() {
    let world = World::new();
    world.workers([QUEUE]);
    let mut events = world.start_daemon();
    // Its stop ends in a failure; only the daemon's saved state shows that it was requested.
    world.worker("lerd-stubborn-myapp", "ExecStart=sh -c 'trap \"exit 7\" TERM; while :; do sleep 0.05; done'");
    world.stop_unit("lerd-stubborn-myapp.service");
    world.wait_for_state("lerd-stubborn-myapp.service", "failed", SOON);
    events.wait("stopped", "lerd-stubborn-myapp");
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(detected(&world), [""; 0]);
    world.stop_unit(crate::common::DAEMON);
    assert_eq!(detected(&world), [""; 0]);
    let ran = world.run(&["heal"]);
    assert_eq!((ran.status, ran.out.as_str()), (0, "No unhealthy workers.\n"), "{ran:?}");
    // A worker that ended cleanly has no error.
    world.worker("lerd-ends-myapp", crate::common::ENDS);
    world.end("lerd-ends-myapp");
    world.wait_for_state("lerd-ends-myapp.service", "inactive", SOON);
    let unhealthy = world.run(&["detect", "--json"]).json();
    assert_eq!(unhealthy[0]["state"], "expected-but-stopped", "{unhealthy}");
    assert_eq!(unhealthy[0].get("last_error"), None, "{unhealthy}");
}

#[test]
fn a_worker_is_probed_as_its_framework_defines_unless_switched_off() {
    let world = World::new();
    let site = world.home().join("myapp");
    fs::create_dir_all(site.join("public")).unwrap();
    world.sites(&[&format!("{{name: myapp, path: {}, framework: laravel}}", site.display())]);
    world.write_file(
        ".local/share/lerd/frameworks/laravel@13.yaml",
        "name: laravel\nworkers:\n  vite:\n    command: npm run dev\n    health:\n      url_file: public/hot\n",
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // It publishes an address where it does not listen.
    world.worker(
        "lerd-vite-myapp",
        &format!("ExecStart=sh -c 'sleep 0.1; echo http://127.0.0.1:{port} >%h/myapp/public/hot; exec sleep infinity'"),
    );
    world.wait_for_uptime("lerd-vite-myapp", Duration::from_millis(400));
    assert_eq!(detected(&world), ["lerd-vite-myapp unreachable"]);
    world.config("probes: {vite: off}\nheal: {stable_after: 50ms}\n");
    assert_eq!(detected(&world), [""; 0]);
    world.config(crate::common::QUICK);
    // A link out of the site is not followed.
    fs::rename(site.join("public/hot"), world.home().join("hot")).unwrap();
    symlink(world.home().join("hot"), site.join("public/hot")).unwrap();
    assert_eq!(detected(&world), [""; 0]);
    fs::remove_file(site.join("public/hot")).unwrap();
    let mut events = world.start_daemon();
    world.control(&["restart", "lerd-vite-myapp.service"]);
    let detected = events.wait("detected", "lerd-vite-myapp");
    assert_eq!(detected["WORKERHEAL_REASON"], "unreachable");
}
