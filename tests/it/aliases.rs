//! Units that the configuration covers by an alias (`Alias=`), and names that match no unit.

use crate::common::{QUICK, SOON, World, service_of};

const CELERY: &str = "app-celery";
const UNIT: &str = "[Unit]\nStartLimitBurst=100\n[Service]\nExecStart=sleep infinity\n\
    [Install]\nAlias=celeryd.service\nWantedBy=default.target\n";

/// A world whose configuration names `celeryd.service`, an alias of `app-celery.service`.
fn world() -> World {
    let world = World::new();
    world.config(&format!("also_watch: [celeryd.service]\n{QUICK}"));
    world.write_unit(&service_of(CELERY), UNIT);
    world
}

#[test]
fn a_worker_is_covered_by_an_alias_and_can_be_named_by_either_name() {
    let world = world();
    world.control(&["enable", "--now", CELERY]);
    world.crash_for_good([CELERY]);
    assert_eq!(world.diagnosis(CELERY).as_deref(), Some("failed"));
    for name in [CELERY, "celeryd", "celeryd.service"] {
        let ran = world.run(&["explain", name]);
        assert!(ran.status == 0 && ran.out.contains(CELERY), "{name} {ran:?}");
    }
    let ran = world.run(&["heal", "celeryd"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    world.wait_for_state(&service_of(CELERY), "active", SOON);

    let mut events = world.start_daemon();
    world.crash(CELERY);
    events.wait("healed", CELERY);
    for command in ["explain", "pause", "resume", "heal"] {
        let ran = world.run(&[command, "celeryd.service"]);
        assert_eq!(ran.status, 0, "{command} {ran:?}");
    }
    assert_ne!(world.run(&["explain", "celery"]).status, 0);
}

#[test]
fn an_alias_added_while_the_daemon_runs_takes_effect() {
    let world = world();
    let mut events = world.start_daemon();
    world.control(&["start", CELERY]);
    // This creates the link, and reloads the manager.
    world.enable(&service_of(CELERY));
    world.wait_until("it to be covered", SOON, || world.run(&["status", "--json"]).out.contains(CELERY).then_some(()));
    world.crash(CELERY);
    events.wait("healed", CELERY);
}

#[test]
fn a_name_that_matches_no_unit_causes_a_warning() {
    let world = world();
    world.enable(&service_of(CELERY));
    world.write_unit("mail@.service", "[Service]\nExecStart=sleep infinity\n");
    let fits = ["celeryd.service", "app-*.service", "mail@a.service", "mail@*.service", "dbus.service"];
    world.config(&format!("also_watch: [{}]\n", fits.join(", ").replace("app-*.service", "\"app-*.service\"")));
    let ran = world.run(&["check"]);
    assert!(ran.status == 0 && !ran.err.contains("warning"), "{ran:?}");
    world.config("also_watch: [celeryd.service, celery.service, \"nothing@*.service\"]\n");
    let ran = world.run(&["check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let warned: Vec<&str> = ran.err.lines().collect();
    assert!(warned.len() == 2 && warned[0].contains("celery.service") && warned[1].contains("nothing@"), "{ran:?}");
    assert_eq!(ran.out.lines().count(), 2, "{ran:?}");
}

#[test]
fn a_probe_of_no_worker_causes_a_warning() {
    let world = world();
    world.enable(&service_of(CELERY));
    world.write_unit("bot.service", "[Service]\nExecStart=sleep infinity\n");
    world.write_unit("unwatched.service", "[Service]\nExecStart=sleep infinity\n");
    world.workers(["lerd-vite-shop"]);
    let probes = |names: &str| {
        let probes: Vec<String> = names.split(' ').map(|name| format!("{name}: {{tcp: '127.0.0.1:1'}}")).collect();
        world.config(&format!("also_watch: [celeryd.service, bot.service]\nprobes: {{{}}}\n", probes.join(", ")));
    };
    probes(&format!("bot.service vite {CELERY}"));
    for command in ["check", "doctor"] {
        let ran = world.run(&[command]);
        assert!(!ran.err.contains("warning") && !ran.out.contains("probes"), "{ran:?}");
    }
    probes("bot-2 unwatched celeryd vit 'lerd-vite-*' queue");
    let ran = world.run(&["check"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    let warned: Vec<&str> = ran.err.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    assert_eq!(warned, ["bot-2", "celeryd", "lerd-vite-*", "queue", "unwatched", "vit"]);
    assert!(ran.err.starts_with("workerheal: warning: probes: \"bot-2\" is no worker: "), "{ran:?}");
    let ran = world.run(&["doctor"]);
    assert!(ran.out.contains("warning  probes    \"vit\" is no worker, so its probe asks nothing"), "{ran:?}");
}
