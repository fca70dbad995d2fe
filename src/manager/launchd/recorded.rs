//! Recorded output of Macs, macOS 10.11 to 27, each with its correct interpretation.
//!
//! The outputs in `recorded/` are from public reports, anonymised and without irrelevant lines; a name begins with the
//! version of macOS that printed it.

use super::answers::{self, End};
use super::job::{Watched, status};
use super::launchctl::Failure;
use super::plist::{Agent, File};
use super::seen::Seen;
use super::starts::Starts;
use super::tables;
use crate::core::units::{
    ActiveState::{self, Activating, Active, Deactivating, Failed, Inactive},
    UnitName,
};

macro_rules! recorded {
    ($name:literal) => {
        ($name, include_str!(concat!("recorded/", $name, ".txt")))
    };
}

/// The keys of a plist that determine what starts the job.
const KEEP_ALIVE: &str = "<key>KeepAlive</key><true/>";
const AFTER_ERRORS: &str =
    "<key>KeepAlive</key><dict><key>SuccessfulExit</key><false/><key>Crashed</key><true/></dict>";
const PATH_STATE: &str = "<key>KeepAlive</key><dict><key>PathState</key><dict><key>/x</key><true/></dict></dict>";
const AT_LOAD: &str = "<key>RunAtLoad</key><true/>";
const INTERVAL: &str = "<key>StartInterval</key><integer>3600</integer>";

fn agent(keys: &str) -> Agent {
    let text = format!("<plist version=\"1.0\"><dict>{keys}</dict></plist>");
    Agent::that_starts(Starts::of(&plist::from_bytes(text.as_bytes()).unwrap()))
}

/// The state of a job, whether launchd restarts it, why its start is put off, and whether it can be spawned.
type Reading = (ActiveState, bool, Option<&'static str>, bool);

#[test]
fn every_recorded_job_is_interpreted_correctly() {
    let up = (Active, false, None, false);
    let rows: [((&str, &str), &str, Reading, End); 21] = [
        (recorded!("15-keepalive-dictionary-running"), AFTER_ERRORS, up, End::Signal(15)),
        (recorded!("26-keepalive-running"), KEEP_ALIVE, up, End::Code(0)),
        (recorded!("26-nothing-pended"), KEEP_ALIVE, up, End::Never),
        (recorded!("26-block-ends-behind-a-line"), KEEP_ALIVE, up, End::Never),
        (recorded!("10.12-header-without-a-domain"), AT_LOAD, up, End::Never),
        (recorded!("26-start-interval-between-runs"), INTERVAL, (Inactive, false, None, false), End::Code(0)),
        (recorded!("26-path-state-never-run"), PATH_STATE, (Inactive, false, None, false), End::Never),
        (recorded!("27-smappservice-spawn-failed"), KEEP_ALIVE, (Failed, false, None, true), End::Code(78)),
        (
            recorded!("27-spawn-failed-after-an-upgrade"),
            KEEP_ALIVE,
            (Failed, false, None, true),
            End::Reason("OS_REASON_CODESIGNING".into()),
        ),
        (recorded!("26-spawn-failed-without-saying-so"), KEEP_ALIVE, (Failed, false, None, true), End::Code(78)),
        (recorded!("27-crash-loop"), KEEP_ALIVE, (Activating, true, None, false), End::Code(1)),
        (recorded!("26-pended-after-load"), AT_LOAD, (Failed, false, Some("speculative"), false), End::Never),
        (recorded!("26-pended-respawn"), KEEP_ALIVE, (Failed, false, Some("inefficient"), false), End::Code(75)),
        (
            recorded!("26-pended-respawn-after-exit-0"),
            KEEP_ALIVE,
            (Failed, false, Some("semaphore"), false),
            End::Code(0),
        ),
        (
            recorded!("15-pended-respawn-after-sigterm"),
            KEEP_ALIVE,
            (Failed, false, Some("inefficient"), false),
            End::Signal(15),
        ),
        // The interval starts it.
        (recorded!("26-pended-interval"), INTERVAL, (Inactive, false, Some("interval"), false), End::Code(0)),
        (recorded!("26-xpcproxy"), KEEP_ALIVE, (Activating, false, None, false), End::Signal(1)),
        (recorded!("26-sigtermed-after-bootout"), KEEP_ALIVE, (Deactivating, false, None, false), End::Never),
        (recorded!("15-dyld"), AT_LOAD, (Failed, false, None, false), End::Reason("OS_REASON_DYLD".into())),
        (recorded!("12-exec"), AT_LOAD, (Failed, false, None, false), End::Reason("OS_REASON_EXEC".into())),
        (
            recorded!("26-endpoint-security"),
            AT_LOAD,
            (Failed, false, None, false),
            End::Reason("OS_REASON_ENDPOINTSECURITY".into()),
        ),
    ];
    for ((name, text), keys, (active, auto_restart, pended, spawn_failed), end) in rows {
        let job = answers::job(text).unwrap_or_else(|| panic!("{name} is not read"));
        assert_eq!((&job.end, job.pended.as_deref(), job.spawn_failed), (&end, pended, spawn_failed), "{name}");
        let is_submitted = text.contains("submitted by");
        assert_eq!(job.plist.is_none(), is_submitted, "{name}");
        let seen = Seen { job: Some(job), file: File::Agent(agent(keys)), ..Seen::default() };
        let status = status(UnitName::parse("x").unwrap(), &seen, Watched::default());
        assert_eq!((status.active, status.auto_restart), (active, auto_restart), "{name}");
    }
}

#[test]
fn a_job_of_2016_is_read_by_its_plist() {
    let (_, text) = recorded!("10.11-properties-as-a-block");
    let job = answers::job(text).unwrap();
    assert!(!job.keep_alive, "the block is none of the words that there are since 10.13");
    let seen = Seen { job: Some(job), file: File::Agent(agent(KEEP_ALIVE)), ..Seen::default() };
    let status = status(UnitName::parse("x").unwrap(), &seen, Watched::default());
    assert_eq!((status.active, status.auto_restart), (Activating, true));
}

#[test]
fn an_argument_that_looks_like_the_job_makes_it_unknown() {
    let (_, text) = recorded!("26-argument-that-ends-its-block");
    assert_eq!(answers::job(text), None);
}

#[test]
fn every_recorded_end_is_distinguished() {
    for (line, end) in [
        ("last exit code = 0", End::Code(0)),
        ("last exit code = 1", End::Code(1)),
        ("last exit code = 75", End::Code(75)),
        ("last exit code = 78: EX_CONFIG", End::Code(78)),
        ("last exit code = 3: No such process", End::Code(3)),
        ("last exit code = 1: Operation not permitted", End::Code(1)),
        ("last exit code = (never exited)", End::Never),
        ("last terminating signal = Killed: 9", End::Signal(9)),
        ("last terminating signal = Terminated: 15", End::Signal(15)),
        ("last terminating signal = Hangup: 1", End::Signal(1)),
        ("last terminating signal = Bus error: 10", End::Signal(10)),
        ("last terminating signal = Illegal instruction: 4", End::Signal(4)),
        ("last terminating signal = Segmentation fault: 11", End::Signal(11)),
    ] {
        let text = format!("gui/501/x = {{\n\tstate = not running\n\truns = 1\n\t{line}\n}}\n");
        assert_eq!(answers::job(&text).unwrap().end, end, "{line}");
    }
}

#[test]
fn recorded_tables_are_read_and_outdated_responses_are_refused() {
    let (_, domain) = recorded!("15-domain");
    let services = tables::services(domain).unwrap();
    let running: Vec<&str> = services.iter().filter(|job| job.pid.is_some()).map(|job| job.label.as_str()).collect();
    assert_eq!(
        running,
        [
            "com.apple.x",
            "com.apple.WindowServer",
            "UIKitApplication:com.apple.InCallService[0x287]",
            "com.apple.mdworker.shared.04000000-0000-0000-0000-000000000000"
        ]
    );
    assert_eq!(services.len(), 6);
    let (_, empty) = recorded!("26-domain-after-bootout");
    assert_eq!(tables::services(empty), Some(vec![]));
    for (name, text) in [recorded!("10.11-list"), recorded!("26-list-of-one")] {
        assert_eq!((tables::services(text), answers::job(text)), (None, None), "{name}");
    }
    for (name, text) in [recorded!("12-print-disabled"), recorded!("26-print-disabled")] {
        let labels = tables::disabled(text).unwrap_or_else(|| panic!("{name} is not read"));
        let of = |label: &str| labels.get(label).copied();
        assert_eq!((of("com.openssh.sshd"), of("com.example.worker"), labels.len()), (Some(false), Some(true), 2));
    }
}

#[test]
fn every_recorded_error_is_known_by_its_status() {
    let rows = [
        // print gui/99999/x, macOS 15 and 26
        (112, "Bad request.\nCould not find domain for user gui: 99999", Failure::NoDomain(112)),
        // print gui/UID/x over SSH, macOS 26.5; bootout and bootstrap there
        (125, "Domain does not support specified action", Failure::NoDomain(125)),
        (124, "", Failure::NoDomain(124)),
        (113, "Bad request.\nCould not find service \"x\" in domain for user gui: 501", Failure::NotLoaded),
        (3, "Boot-out failed: 3: No such process", Failure::NotLoaded),
        (
            1,
            "Boot-out failed: 1: Operation not permitted",
            Failure::Other(1, "Boot-out failed: 1: Operation not permitted".into()),
        ),
        // bootstrap of a job that is loaded, disabled, draining, for another session, or writable by others
        (5, "Bootstrap failed: 5: Input/output error", Failure::Busy),
        (119, "Bootstrap failed: 119: Service is disabled", Failure::Disabled),
        (134, "Bootstrap failed: 134: Service cannot load in requested session", Failure::WrongSession),
        (37, "Could not kickstart service: 37: Operation already in progress", Failure::InProgress),
        (122, "Path had bad ownership/permissions", Failure::BadOwner),
    ];
    for (status, text, failure) in rows {
        assert_eq!(Failure::of(status, text), failure, "{status} {text}");
    }
}
