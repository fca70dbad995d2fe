//! Peculiarities of launchd: misleading output, races, exit statuses, and differences between Macs.

use std::fs;
use std::time::{Duration, Instant};

use super::cases::{Kind, Stage};
use super::stage::{OnLaunchd, is_table, label};

const QUEUE: &str = "lerd-queue-myapp";
const OTHER: &str = "lerd-other-shop";

#[test]
fn a_refresh_is_two_tables_and_a_print_for_each_job_that_does_not_run() {
    let stage = OnLaunchd::new();
    let many: Vec<String> = (0..20).map(|n| format!("lerd-w{n}-shop")).collect();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    stage.workers(&names);
    stage.start_daemon();
    stage.wait_for_list();
    let calls = stage.launchd.calls();
    let asked = |call: &&String| call.starts_with("print ") && call.contains("com.lerd");
    assert_eq!(calls.iter().filter(asked).count(), 0, "no job was asked for: {calls:?}");
    let tables = |domain: &str| calls.iter().filter(|call| is_table(&call.replace(domain, "gui/"))).count();
    assert!(tables("gui/").abs_diff(tables("user/") - tables("gui/")) <= 1, "{calls:?}");
    assert!(!calls.contains(&"list".to_owned()), "that shows the jobs of the session that asks");
}

#[test]
fn a_label_that_contains_another_is_another_job() {
    let stage = OnLaunchd::new();
    let (short, long) = ("lerd-queue-shop", "lerd-queue-shop-two");
    stage.sites(&["{name: shop}", "{name: shop-two}"]);
    stage.workers(&[short, long]);
    stage.start_daemon();
    stage.crash(long);
    stage.wait("healed", long);
    assert_eq!(stage.reported(short), [""; 0]);
    assert_eq!(stage.launchd.runs(&label(short)), Some(1));
    stage.crash(short);
    stage.wait("healed", short);
}

#[test]
fn the_log_of_a_job_is_the_file_that_its_plist_names() {
    let stage = OnLaunchd::new();
    stage.define(QUEUE, Kind::LivesUnlessBroken);
    stage.define(OTHER, Kind::Lives);
    let log = |unit: &str| String::from_utf8(stage.command(&["log", unit]).output().unwrap().stdout).unwrap();
    assert_eq!(log(QUEUE), "", "there is no file yet");
    stage.touch("broken");
    stage.start(QUEUE);
    stage.wait_until("its last words", || (log(QUEUE) == "it is broken\n").then_some(()));
    stage.stop(QUEUE);
    assert_eq!(log(QUEUE), "it is broken\n", "also of what is not loaded");
    assert_eq!(log(OTHER), "");
    assert_eq!(log("lerd-nothing-shop"), "");
}

#[test]
fn to_stop_a_worker_is_to_take_its_job_out_and_it_is_remembered() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.wait_for_list();
    let stop = |units: &[&str]| {
        let output = stage.command(&[&["stop"], units].concat()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    stop(&[QUEUE]);
    assert_eq!(stage.launchd.runs(&label(QUEUE)), None, "it was not waited for");
    // A job that is not loaded is no error.
    stop(&[QUEUE]);
    stage.crash(OTHER);
    stage.wait("healed", OTHER);
    assert!(!stage.is_up(QUEUE) && !stage.reported(QUEUE).contains(&"starting".to_owned()));
    assert_eq!(stage.detect(), serde_json::json!([]));
}

#[test]
fn the_forms_of_each_macos_are_understood() {
    for macos in [12, 13, 14, 15, 26] {
        let stage = OnLaunchd::new();
        stage.launchd.ways(|ways| ways.macos = macos);
        stage.workers(&[QUEUE, OTHER]);
        stage.start_daemon();
        stage.prove_alive_with(QUEUE);
        stage.disable(OTHER);
        stage.crash(OTHER);
        stage.wait("stopped", OTHER);
        stage.prove_alive_with(QUEUE);
        assert!(!stage.is_up(OTHER), "on macOS {macos}");
    }
}

#[test]
fn a_job_that_takes_its_time_to_go_is_waited_for() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| {
        ways.drains = Duration::from_millis(700);
        ways.spurious = 2;
    });
    stage.launchd.ways(|ways| ways.spurious = 0);
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.launchd.ways(|ways| ways.spurious = 2);
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert_eq!(stage.reported(QUEUE), ["detected", "starting", "healed"]);
    let calls = stage.launchd.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("bootout")).count(), 1, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("bootstrap")).count(), 3, "two failed with 5: {calls:?}");
}

#[test]
fn a_worker_that_cannot_be_brought_back_is_not_forgotten() {
    let stage = OnLaunchd::new();
    stage.config("refresh: 100ms\nheal: {stable_after: 50ms, timeout: 1s, backoff: {initial: 50ms}}\n");
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.launchd.ways(|ways| ways.spurious = 10_000);
    stage.crash(QUEUE);
    let failed = stage.wait("failed", QUEUE);
    assert!(failed.error.contains("bootstrap") && failed.error.contains('5'), "{failed:?}");
    assert_eq!(stage.launchd.runs(&label(QUEUE)), None, "it is out");
    stage.wait("failed", QUEUE);
    stage.launchd.ways(|ways| ways.spurious = 0);
    stage.wait("healed", QUEUE);
}

#[test]
fn a_daemon_that_ends_loads_the_jobs_that_it_has_unloaded() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.drains = Duration::from_millis(400));
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.crash(QUEUE);
    stage.wait("starting", QUEUE);
    let begin = Instant::now();
    stage.stop_daemon();
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
    assert!(stage.is_up(QUEUE));
}

#[test]
fn jobs_that_a_killed_daemon_had_unloaded_are_loaded_by_the_next() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.drains = Duration::from_secs(1));
    stage.workers(&[QUEUE, OTHER]);
    stage.start_daemon();
    stage.crash(QUEUE);
    stage.wait_until("it to be taken out", || {
        stage.launchd.calls().iter().any(|call| call.starts_with("bootout")).then_some(())
    });
    stage.kill_daemon();
    stage.wait_until("it to be gone", || stage.launchd.runs(&label(QUEUE)).is_none().then_some(()));
    stage.launchd.ways(|ways| ways.drains = Duration::ZERO);
    stage.start_daemon();
    stage.wait("healed", QUEUE);
    // A job that the user boots out afterwards stays out.
    stage.stop(QUEUE);
    stage.kill_daemon();
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
}

#[test]
fn a_job_that_does_not_start_when_loaded_is_kicked_even_if_that_blocks() {
    let stage = OnLaunchd::new();
    stage.launchd.ways(|ways| ways.kickstart_blocks = true);
    let spec = workerheal_launchd::Spec { run_at_load: false, ..stage.spec(QUEUE, Kind::Lives) };
    stage.write_plist(QUEUE, &spec);
    stage.start(QUEUE);
    stage.launchd.ways(|ways| ways.kickstart_blocks = false);
    stage.launchd.control(&["kickstart", &stage.target(QUEUE)]);
    stage.launchd.ways(|ways| ways.kickstart_blocks = true);
    stage.start_daemon();
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert!(stage.is_up(QUEUE));
}

#[test]
fn a_job_that_runs_at_times_is_shown_and_left_to_that_and_healed_by_hand() {
    let stage = OnLaunchd::new();
    let mut spec = workerheal_launchd::Spec { start_interval: Some(3600), ..stage.spec(QUEUE, Kind::Ends) };
    // It takes some time, so that it is seen running.
    spec.program_arguments[2].push_str("; sleep 0.3");
    stage.write_plist(QUEUE, &spec);
    stage.workers(&[OTHER]);
    stage.touch("broken");
    stage.start(QUEUE);
    stage.wait_until("it to have failed", || (!stage.is_up(QUEUE)).then_some(()));
    assert_eq!(stage.detect()[0]["state"], "failed");
    stage.remove("broken");
    stage.start_daemon();
    stage.untouched(&[QUEUE], || stage.prove_alive_with(OTHER));
    let output = stage.command(&["heal", QUEUE]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(stage.launchd.runs(&label(QUEUE)), Some(1), "it was loaded anew, and has run");
}

#[test]
fn a_removed_plist_and_a_sigterm_are_stops() {
    let stage = OnLaunchd::new();
    let (removed, reported) = ("lerd-removed-myapp", "lerd-reported-myapp");
    stage.workers(&[removed, reported, OTHER]);
    stage.start_daemon();
    stage.prove_alive_with(OTHER);
    fs::remove_file(stage.plist(removed)).unwrap();
    stage.crash(removed);
    stage.launchd.control(&["kill", "SIGTERM", &stage.target(reported)]);
    stage.wait_until("both to be reported", || {
        [removed, reported].iter().all(|unit| stage.reported(unit) == ["stopped"]).then_some(())
    });
    stage.untouched(&[removed, reported], || stage.prove_alive_with(OTHER));
}

#[test]
fn a_job_killed_by_a_signal_is_healed() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.launchd.control(&["kill", "SIGSEGV", &stage.target(QUEUE)]);
    stage.wait("healed", QUEUE);
}

#[test]
fn a_job_that_launchd_could_not_spawn_is_retried() {
    let stage = OnLaunchd::new();
    stage.config("refresh: 100ms\nheal: {stable_after: 50ms, backoff: {initial: 50ms}, give_up_after: 0}\n");
    let mut spec = stage.spec(QUEUE, Kind::Lives);
    spec.program_arguments = vec![stage.path("program").display().to_string()];
    stage.write_plist(QUEUE, &spec);
    stage.start(QUEUE);
    stage.start_daemon();
    let failed = stage.wait("failed", QUEUE);
    assert!(failed.error.contains("78"), "{failed:?}");
    stage.write("program", "#!/bin/sh\nexec sleep 1000\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(stage.path("program"), mode).unwrap();
    stage.wait("healed", QUEUE);
}

#[test]
fn unreadable_output_leads_to_no_action() {
    let decoys = [
        "",
        "Could not find service\n",
        "gui/0/x = {\n\tjob state = exited\n\tlast exit code = 1\n\tcoalition = {\n\t\tstate = not running\n\t}\n}\n",
        "gui/0/x = {\n\tstate = not running\n\tlast exit code = bad luck\n}\n",
        "gui/0/x = {\n\tstate = a state of a later macOS\n\tlast exit code = 1\n}\n",
        "gui/0/x = {\n\tstate = not running\n\tlast exit code = 1\n",
    ];
    for decoy in decoys {
        let stage = OnLaunchd::new();
        stage.workers(&[QUEUE]);
        stage.crash_for_good(&[QUEUE]);
        stage.launchd.ways(|ways| ways.prints = Some(decoy.to_owned()));
        stage.start_daemon();
        stage.wait_for_list();
        let touched =
            |call: &String| ["bootout", "enable", "bootstrap", "kickstart"].iter().any(|verb| call.starts_with(verb));
        assert!(!stage.launchd.calls().iter().any(touched), "{decoy:?}: {:?}", stage.launchd.calls());
        stage.launchd.ways(|ways| ways.prints = None);
        stage.wait("healed", QUEUE);
    }
}

#[test]
fn by_hand_a_worker_is_healed_without_a_daemon() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.crash_for_good(&[QUEUE]);
    let output = stage.command(&["heal", QUEUE]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(stage.is_up(QUEUE));
    // A job that the user booted out, too: the request is newer.
    stage.stop(QUEUE);
    let output = stage.command(&["heal", QUEUE]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(stage.is_up(QUEUE));
}

#[test]
fn a_job_that_was_not_loaded_from_a_file_is_left_alone() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE, OTHER]);
    stage.crash_for_good(&[QUEUE]);
    let printed = stage.launchd.control(&["print", &stage.target(QUEUE)]);
    let submitted = printed.replace(&stage.plist(QUEUE).display().to_string(), "(submitted by smd.370)");
    stage.launchd.ways(|ways| ways.prints = Some(submitted));
    stage.start_daemon();
    stage.wait_for_list();
    assert!(!stage.launchd.calls().iter().any(|call| call.starts_with("bootout")));
}

#[test]
fn while_launchd_does_not_answer_nothing_is_done_and_that_is_said() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.wait_for_list();
    stage.launchd.ways(|ways| ways.hangs = true);
    let log = || fs::read_to_string(stage.path("daemon.log")).unwrap();
    stage.wait_until("it to be said", || log().contains("healing pauses").then_some(()));
    stage.launchd.ways(|ways| ways.hangs = false);
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    assert!(log().contains("answers again"));
}

#[test]
fn a_log_that_was_moved_aside_goes_on_in_a_new_one() {
    let stage = OnLaunchd::new();
    stage.workers(&[QUEUE]);
    stage.start_daemon();
    stage.crash(QUEUE);
    stage.wait("healed", QUEUE);
    let (log, old) = (stage.path("daemon.log"), stage.path("daemon.log.0"));
    fs::rename(&log, &old).unwrap();
    let before = fs::read(&old).unwrap();
    stage.crash(QUEUE);
    let read = || fs::read_to_string(&log).unwrap_or_default();
    stage.wait_until("a new log", || read().contains("stayed up").then_some(()));
    assert_eq!(fs::read(&old).unwrap(), before);
}
