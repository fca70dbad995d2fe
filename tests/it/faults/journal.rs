//! A journal that accepts nothing.

use std::time::Instant;

use crate::common::{SOON, World};
use crate::faults::{
    LONGER_THAN_THE_WATCHDOG, QUEUE, STEADY, crash_and_see_it_healed, pid, shell, short_watchdog, start_steady_daemon,
};

#[test]
fn a_blocked_journal_stops_no_healing_and_loses_no_event() {
    let world = World::new();
    let (mut events, before) = start_steady_daemon(&world);

    // The manager waits 10 s for each line of its own, which is not tested here.
    world.control(&["log-level", "emerg"]);
    shell(&world, "kill -STOP $(pidof systemd-journald)");
    let begin = Instant::now();
    let mut crashes = 1;
    // Each is three entries, of which the socket takes as few as 10.
    while crashes < 15 || begin.elapsed() < LONGER_THAN_THE_WATCHDOG {
        crash_and_see_it_healed(&world, QUEUE);
        crashes += 1;
    }
    shell(&world, "kill -CONT $(pidof systemd-journald)");
    assert_eq!(pid(&world), before, "the daemon was killed meanwhile");
    world.wait_until("all events to be written", SOON, || {
        let starts = world.reported(QUEUE).iter().filter(|phase| *phase == "starting").count();
        (starts == crashes).then_some(())
    });
    crash_and_see_it_healed(&world, QUEUE);
    events.wait("healed", QUEUE);
}

#[test]
fn blocked_standard_error_stops_no_healing() {
    let world = World::new();
    short_watchdog(&world);
    world.config(STEADY);
    // A pipe that fills up: its reader only waits.
    world.write_file("silent", "exec 2> >(sleep infinity)\nexec \"$@\"\n");
    let script = world.path("silent");
    let program = crate::common::WORKERHEAL;
    world.write_unit(
        "workerheal.service.d/pipe.conf",
        &format!("[Service]\nNotifyAccess=all\nExecStart=\nExecStart=bash {script} {program} daemon --log json -v\n"),
    );
    world.daemon_reload();
    world.workers([QUEUE]);
    world.start_unit(crate::common::DAEMON);
    crash_and_see_it_healed(&world, QUEUE);
    let before = pid(&world);
    let descriptor = format!("/proc/{before}/fd/2");
    // The pipe is made small, so that a few lines fill it.
    shell(&world, &format!("python3 -c 'import fcntl; fcntl.fcntl(open(\"{descriptor}\", \"w\"), 1031, 4096)'"));
    let begin = Instant::now();
    let mut crashes = 0;
    while crashes < 15 || begin.elapsed() < LONGER_THAN_THE_WATCHDOG {
        crash_and_see_it_healed(&world, QUEUE);
        crashes += 1;
    }
    assert_eq!(pid(&world), before, "the daemon was killed meanwhile");
}
