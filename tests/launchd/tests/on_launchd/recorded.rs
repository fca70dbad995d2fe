//! Recorded behaviour of Macs: starts that launchd puts off, programs that it cannot spawn, two domains, errors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use workerheal_launchd::{Conditions, KeepAlive, Spec};

use super::cases::{Kind, Stage};
use super::stage::{OnLaunchd, label};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";

/// Writes a worker that launchd keeps alive under these conditions, and starts it.
fn kept_alive(stage: &OnLaunchd, kind: Kind, keep_alive: KeepAlive) {
    let spec = Spec { keep_alive: Some(keep_alive), ..stage.spec(QUEUE, kind) };
    stage.write_plist(QUEUE, &spec);
    stage.start(QUEUE);
}

fn after_an_error() -> KeepAlive {
    KeepAlive::If(Conditions { successful_exit: Some(false), ..Conditions::default() })
}

fn calls(stage: &OnLaunchd, verb: &str) -> usize {
    stage.launchd.calls().iter().filter(|call| call.split(' ').next() == Some(verb)).count()
}

#[test]
fn a_keep_alive_job_that_launchd_does_not_restart_is_kicked() {
    for signal in ["SIGKILL", "SIGTERM"] {
        let stage = OnLaunchd::new();
        kept_alive(&stage, Kind::Lives, KeepAlive::Always(true));
        stage.start_daemon();
        stage.wait_for_list();
        stage.launchd.ways(|ways| ways.pends_respawns = Some("inefficient"));
        stage.launchd.control(&["kill", signal, &stage.target(QUEUE)]);
        stage.wait("healed", QUEUE);
        assert_eq!(stage.reported(QUEUE), ["detected", "starting", "healed"], "{signal}");
        assert_eq!((calls(&stage, "kickstart"), calls(&stage, "bootout")), (1, 0), "{:?}", stage.launchd.calls());
    }
}

#[test]
fn a_keep_alive_job_that_ended_cleanly_is_unhealthy() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.pends_respawns = Some("semaphore"));
    let mut spec = Spec { keep_alive: Some(KeepAlive::Always(true)), ..stage.spec(QUEUE, Kind::Lives) };
    let home = stage.launchd.home().display().to_string();
    spec.program_arguments[2] = format!("test ! -e {home}/ends || exit 0; exec sleep 1000");
    stage.write_plist(QUEUE, &spec);
    stage.touch("ends");
    stage.start(QUEUE);
    stage.wait_for_down(&[QUEUE]);
    stage.remove("ends");
    stage.start_daemon();
    stage.wait("healed", QUEUE);
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "healed"]);
}

#[test]
fn a_loaded_job_that_never_started_is_kicked() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.pends_loads = Some("speculative"));
    stage.define(QUEUE, Kind::Lives);
    stage.start(QUEUE);
    assert_eq!(stage.launchd.runs(&label(QUEUE)), Some(0));
    stage.start_daemon();
    stage.wait("healed", QUEUE);
    assert_eq!(calls(&stage, "bootout"), 0);
}

#[test]
fn a_start_that_launchd_puts_off_after_the_load_is_demanded() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.launchd.ways(|ways| ways.pends_loads = Some("speculative"));
    stage.start_daemon();
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "healed"]);
}

#[test]
fn a_job_that_launchd_cannot_spawn_is_loaded_again() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.macos = 26);
    kept_alive(&stage, Kind::Lives, KeepAlive::Always(true));
    stage.launchd.outdate(&label(QUEUE));
    stage.crash(QUEUE);
    // launchd keeps trying without success.
    stage.wait_until("six runs", || (stage.launchd.runs(&label(QUEUE)) > Some(6)).then_some(()));
    assert_eq!(stage.detect()[0]["state"], "failed");
    stage.start_daemon();
    stage.wait("healed", QUEUE);
    assert_eq!((calls(&stage, "bootout"), calls(&stage, "bootstrap")), (1, 1));
}

#[test]
fn a_job_kept_alive_only_after_errors_is_done_after_a_clean_end() {
    let stage = OnLaunchd::new();
    stage.workers(&[OTHER]);
    stage.touch("broken");
    stage.launchd.ways(|ways| ways.pends_respawns = Some("inefficient"));
    kept_alive(&stage, Kind::Ends, after_an_error());
    stage.wait_for_down(&[QUEUE]);
    stage.remove("broken");
    stage.start_daemon();
    // It had failed, and launchd has put off its restart; started again it ends well.
    stage.wait("stopped", QUEUE);
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "stopped"]);
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

#[test]
fn a_job_that_waits_for_a_file_is_left_to_launchd() {
    let stage = OnLaunchd::new();
    stage.workers(&[OTHER]);
    let path_state = [(stage.path("wanted").display().to_string(), true)].into();
    let spec = Spec {
        run_at_load: false,
        keep_alive: Some(KeepAlive::If(Conditions { path_state, ..Conditions::default() })),
        ..stage.spec(QUEUE, Kind::Lives)
    };
    stage.write_plist(QUEUE, &spec);
    stage.touch("wanted");
    stage.start(QUEUE);
    stage.remove("wanted");
    stage.crash(QUEUE);
    stage.wait_for_down(&[QUEUE]);
    assert_eq!(stage.detect(), serde_json::json!([]));
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    assert_eq!(stage.reported(QUEUE), [""; 0]);
}

#[test]
fn a_job_that_was_loaded_over_ssh_is_healed_where_it_is() {
    let stage = OnLaunchd::new();
    let sessions = Some(vec!["Aqua".to_owned(), "Background".to_owned()]);
    let spec = Spec { limit_load_to_session_type: sessions, ..stage.spec(QUEUE, Kind::Lives) };
    stage.write_plist(QUEUE, &spec);
    let user = stage.launchd.domain().replace("gui", "user");
    stage.launchd.control(&["bootstrap", &user, &stage.plist(QUEUE).display().to_string()]);
    stage.start_daemon();
    stage.wait_for_list();
    stage.launchd.control(&["kill", "SIGKILL", &format!("{user}/{}", label(QUEUE))]);
    stage.wait("healed", QUEUE);
    let booted = stage.launchd.calls().into_iter().filter(|call| call.starts_with("bootstrap")).collect::<Vec<_>>();
    assert!(matches!(booted.as_slice(), [one] if one.contains(&user)), "{booted:?}");
}

#[test]
fn without_a_session_at_the_screen_the_users_domain_is_used() {
    for status in [112, 125] {
        let stage = OnLaunchd::new();
        stage.launchd.ways(|ways| (ways.gui, ways.no_domain) = (false, status));
        let sessions = Some(vec!["Background".to_owned()]);
        stage.write_plist(QUEUE, &Spec { limit_load_to_session_type: sessions, ..stage.spec(QUEUE, Kind::Lives) });
        stage.start(QUEUE);
        stage.start_daemon();
        stage.wait_for_list();
        stage.crash(QUEUE);
        stage.wait("healed", QUEUE);
        assert!(stage.launchd.calls().iter().any(|call| call.starts_with("bootstrap user/")), "{status}");
    }
}

#[test]
fn a_plist_that_launchd_refuses_is_reported_as_such() {
    // For a graphical session only, which no longer exists.
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.crash_for_good(&[QUEUE]);
    stage.launchd.control(&["bootout", &stage.target(QUEUE)]);
    stage.launchd.ways(|ways| ways.gui = false);
    let output = stage.command(&["heal", QUEUE]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("LimitLoadToSessionType"), "{said}");

    // Writable by others.
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.crash_for_good(&[QUEUE]);
    fs::set_permissions(stage.plist(QUEUE), fs::Permissions::from_mode(0o664)).unwrap();
    let output = stage.command(&["heal", QUEUE]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("chmod go-w"), "{said}");
}

#[test]
fn only_disabled_jobs_are_enabled() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.wait_for_list();
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert_eq!(calls(&stage, "enable"), 0);

    // If a bootout leaves its job disabled, that is undone.
    stage.launchd.ways(|ways| ways.bootout_disables = true);
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert_eq!((calls(&stage, "enable"), stage.launchd.disabled(&label(QUEUE))), (1, Some(false)));
}

#[test]
fn a_job_disabled_during_a_heal_is_not_enabled() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.drains = Duration::from_millis(600));
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.wait_for_list();
    stage.crash(QUEUE);
    stage.wait_until("it to be taken out", || (calls(&stage, "print-disabled") >= 3).then_some(()));
    stage.disable(QUEUE);
    stage.wait_any(&["stopped", "failed"], QUEUE);
    stage.launchd.ways(|ways| ways.drains = Duration::ZERO);
    stage.prove_alive_with(OTHER);
    assert!(!stage.is_up(QUEUE) && stage.launchd.disabled(&label(QUEUE)) == Some(true));
}

#[test]
fn a_load_that_fails_says_so_with_status_0() {
    let stage = OnLaunchd::new();
    stage.define(QUEUE, Kind::Lives);
    stage.disable(QUEUE);
    let reply = stage.launchd.call(&["load", &stage.plist(QUEUE).display().to_string()]);
    assert_eq!((reply.status, reply.err.contains("Load failed: 5")), (0, true), "{reply:?}");
}
