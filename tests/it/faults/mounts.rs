//! File systems that do not answer.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::api::http::get;
use crate::common::{SOON, World};
use crate::faults::{LONGER_THAN_THE_WATCHDOG, OTHER, QUEUE, STEADY, crash_and_see_it_healed, pid, short_watchdog};

/// A mount whose file system does not answer, until this is dropped.
struct Dead(Child);

impl Dead {
    /// Mounts it over a directory.
    #[track_caller]
    fn at(world: &World, directory: &str) -> Self {
        let path = world.path(directory);
        let script = format!(
            "exec 3<>/dev/fuse && mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 none {path} && echo ok && exec cat"
        );
        let mut command: Command = world.command("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("nsenter runs");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("it says something");
        assert_eq!(line, "ok\n", "no file system can be mounted at {path}");
        Self(child)
    }
}

impl Drop for Dead {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_registry_on_a_hung_mount_blocks_nothing_and_the_last_good_one_is_kept() {
    let world = World::new();
    short_watchdog(&world);
    world.config(STEADY);
    world.workers([QUEUE, OTHER]);
    let mut events = world.start_daemon();
    let before = pid(&world);
    let dead = Dead::at(&world, ".local/share/lerd");

    let begin = Instant::now();
    while begin.elapsed() < LONGER_THAN_THE_WATCHDOG {
        crash_and_see_it_healed(&world, QUEUE);
    }
    for path in ["/v1/status", "/v1/workers", "/v1/unhealthy", &format!("/v1/workers/{QUEUE}/explain")] {
        let begin = Instant::now();
        assert_eq!(get(&world, path).status, 200, "{path}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{path} took {:?}", begin.elapsed());
    }
    events.wait_for_log(&["sites.yaml", "does not answer"]);
    // A reload ends too, and the configuration is still followed.
    world.control(&["reload", crate::common::DAEMON]);
    world.config(&format!("{STEADY}ignore_workers: [none]\n"));
    events.wait_for_log(&["new configuration"]);
    events.prove_alive_with(&world, OTHER);
    assert_eq!(pid(&world), before);

    drop(dead);
    let path = world.path(".local/share/lerd");
    crate::faults::shell(&world, &format!("umount -l {path}"));
    world.sites(&["{name: myapp}", "{name: shop, paused: true}"]);
    events.wait_for_log(&["sites.yaml changed"]);
    world.crash(OTHER);
    world.wait_until("the new registry to be in force", SOON, || {
        (world.show("lerd-queue-shop.service", "ActiveState") == "failed").then_some(())
    });
    events.prove_alive_with(&world, QUEUE);
    assert_eq!(world.show("lerd-queue-shop.service", "ActiveState"), "failed");
}

#[test]
fn working_directories_on_a_hung_mount_do_not_block_the_healing_of_others() {
    let world = World::new();
    short_watchdog(&world);
    world.config(&format!("{STEADY}probes: {{vite: {{url_file: hot}}}}\n"));
    world.workers([OTHER]);
    crate::faults::shell(&world, &format!("mkdir {}", world.path("myapp")));
    let units: Vec<String> = (0..40).map(|n| format!("lerd-vite-myapp-{n}")).collect();
    world.sites(&["{name: myapp}", "{name: shop}"]);
    for unit in &units {
        world.write_worker(unit, &format!("WorkingDirectory={}\nExecStart=sleep infinity", world.path("myapp")));
    }
    let names: Vec<&str> = units.iter().map(String::as_str).collect();
    world.control(&[&["enable", "--now"], &names[..]].concat());
    world.worker(QUEUE, &format!("WorkingDirectory={}\nExecStart=sleep infinity", world.path("myapp")));
    world.start_daemon();
    let before = pid(&world);
    let _dead = Dead::at(&world, "myapp");
    world.crash(QUEUE);
    for unit in &names {
        world.crash(unit);
    }
    let begin = Instant::now();
    while begin.elapsed() < LONGER_THAN_THE_WATCHDOG {
        crash_and_see_it_healed(&world, OTHER);
    }
    assert_eq!(get(&world, "/v1/workers").status, 200);
    assert_eq!(pid(&world), before);
    world.stop_unit(crate::common::DAEMON);
    assert_eq!(world.show(crate::common::DAEMON, "Result"), "success");
}
