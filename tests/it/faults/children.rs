//! The environment of the daemon's children, and the log of a unit of the system.

use std::fs;

use crate::common::{DAEMON, SOON, World};
use crate::faults::QUEUE;
use crate::faults::shell;

#[test]
fn the_on_event_command_does_not_inherit_the_daemons_manager_variables() {
    let world = World::new();
    let reported = world.path("reported");
    world.config(&format!(
        "refresh: 100ms\nheal: {{stable_after: 50ms}}\non_event: [sh, -c, \"env >{reported}.new; mv {reported}.new {reported}\"]\n"
    ));
    world.workers([QUEUE]);
    world.write_unit("workerheal.service.d/env.conf", "[Service]\nEnvironment=MINE=kept MALLOC_ARENA_MAX=1\n");
    world.daemon_reload();
    world.start_daemon();
    world.crash(QUEUE);
    let environment = world.wait_until("the command to be run", SOON, || fs::read_to_string(&reported).ok());
    assert!(environment.contains("MINE=kept\n"), "{environment}");
    assert!(environment.contains("HOME="), "{environment}");
    let own = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "INVOCATION_ID", "LISTEN_FDS"];
    for name in own.into_iter().chain(["MALLOC_ARENA_MAX"]) {
        assert!(!environment.lines().any(|line| line.starts_with(&format!("{name}="))), "{name} in {environment}");
    }
}

#[test]
fn the_log_of_a_system_unit_shows_its_healing() {
    let world = World::new();
    // To the daemon, the manager in the sandbox is that of the system; it uses the same interface.
    shell(&world, "ln -s /run/user/0/systemd/private /run/systemd/private");
    world.replace("config.yaml", b"refresh: 100ms\nheal: {stable_after: 50ms}\nalso_watch: [bot.service]\n");
    world.write_unit(
        DAEMON,
        &format!(
            "[Service]\nType=notify\nExecStart={} --system --config {} --sites {} daemon\n",
            crate::common::WORKERHEAL,
            world.path("config.yaml"),
            world.path(".local/share/lerd/sites.yaml")
        ),
    );
    shell(&world, "mount -t tmpfs none /var/lib");
    world.workers(["bot"]);
    world.start_unit(DAEMON);
    world.crash("bot");
    world.wait_for_healed("bot");
    let log = world.wait_until("the healing in the unit's log", SOON, || {
        let log = shell(&world, "journalctl --sync; journalctl -u bot -o cat --directory /run/log/journal");
        log.contains("up again").then_some(log)
    });
    assert!(log.contains("bot is down"), "{log}");
}
