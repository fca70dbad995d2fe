//! Workers on launchd, for each sentence that differs there.

use super::samples::Sample;
use crate::core::explain::{LaunchdJob, Manager};
use crate::core::units::{ActiveState, LoadState, Said, ServiceResult, StopEvidence, TriggerUnit, UnitFile};

/// A sample in which launchd has the job, with launchd's description.
fn on_launchd(sample: Sample, evidence: &str, change: impl FnOnce(&mut LaunchdJob)) -> Sample {
    let mut job = LaunchdJob {
        domain: "gui/501".into(),
        label: "com.lerd.lerd-queue-myapp".into(),
        plist: "~/Library/LaunchAgents/lerd-queue-myapp.plist".into(),
        loaded: true,
        put_off: false,
        by_podman: false,
        log: Some("~/Library/Logs/lerd/lerd-queue-myapp.log".into()),
    };
    change(&mut job);
    let mut sample = sample.seen(|seen| {
        seen.said = Some(Box::new(Said { evidence: evidence.to_owned(), ..Said::default() }));
        (seen.since, seen.deactivation) = (None, None);
    });
    sample.commands.manager = Manager::Launchd(job);
    sample
}

fn finding(sample: Sample, finding: &str) -> Sample {
    sample.seen(|seen| {
        if let Some(said) = &mut seen.said {
            said.finding = Some(finding.to_owned());
        }
    })
}

fn left_to(sample: Sample, left_to: &str) -> Sample {
    sample.seen(|seen| {
        if let Some(said) = &mut seen.said {
            said.left_to = Some(left_to.to_owned());
        }
    })
}

/// All of them.
pub fn samples() -> Vec<Sample> {
    let failed = "state = not running, last exit code = 1";
    let put_off = "state = not running, pended nondemand spawn = inefficient, last exit code = 0";
    let waits = "launchd starts it for its StartInterval";
    let same = |_: &mut LaunchdJob| {};
    vec![
        on_launchd(Sample::new("launchd_failed", "It failed, on launchd."), failed, same),
        finding(
            on_launchd(
                Sample::new("launchd_put_off", "launchd keeps it alive, and does not start it."),
                put_off,
                |job| {
                    job.put_off = true;
                },
            ),
            "it is to run, and launchd has put off its start until it is demanded",
        )
        .seen(|seen| seen.result = ServiceResult::Success),
        on_launchd(
            Sample::new("launchd_given_up", "Ten attempts failed, on launchd.")
                .remembers(|it| it.attempts = 10)
                .given_up("10 attempts failed"),
            failed,
            same,
        ),
        on_launchd(
            Sample::inactive("launchd_out", "It was taken out and disabled.").seen(|seen| {
                seen.file =
                    Some(UnitFile { enabled: false, on_demand: false, waits_with_targets: false, definition: 1 });
                seen.stop = Some(StopEvidence::Requested);
            }),
            "it is not loaded",
            |job| job.loaded = false,
        ),
        on_launchd(
            Sample::new("launchd_told_to_end", "It was sent SIGTERM.").seen(|seen| {
                seen.stop = Some(StopEvidence::Requested);
                seen.result = ServiceResult::Signal;
            }),
            "state = not running, last terminating signal = 15",
            same,
        ),
        left_to(
            on_launchd(
                Sample::new("launchd_trigger", "It failed, and runs at times.").seen(|seen| {
                    seen.oneshot = true;
                    seen.triggers = vec![TriggerUnit { name: "StartInterval".into(), active: ActiveState::Active }];
                }),
                failed,
                same,
            ),
            waits,
        ),
        left_to(
            on_launchd(
                Sample::inactive("launchd_podman", "Podman runs it.").seen(|seen| {
                    seen.file =
                        Some(UnitFile { enabled: true, on_demand: true, waits_with_targets: false, definition: 1 });
                }),
                "state = not running, (never exited)",
                |job| (job.by_podman, job.log) = (true, None),
            ),
            "podman runs it, not launchd",
        ),
        on_launchd(
            Sample::new("launchd_bad_plist", "Its plist is broken.")
                .seen(|seen| (seen.load, seen.file) = (LoadState::BadSetting, None)),
            failed,
            same,
        ),
        on_launchd(
            Sample::new("launchd_no_plist", "Its plist is gone, and a person asked for it.")
                .seen(|seen| (seen.load, seen.file) = (LoadState::NotFound, None)),
            failed,
            same,
        ),
        on_launchd(
            Sample::restarting("launchd_crash_looping", "launchd restarts it for ever.", 12)
                .seen(|seen| seen.has_job = false),
            "state = spawn scheduled, last exit code = 1",
            same,
        ),
        on_launchd(
            Sample::new("launchd_orphaned", "The directory that Lerd's script goes into is gone.")
                .seen(|seen| seen.directory_gone = true),
            "state = spawn scheduled, last exit code = 1",
            same,
        ),
        on_launchd(
            Sample::up("launchd_up", "It is up, on launchd.").seen(|seen| seen.active = ActiveState::Active),
            "state = running",
            same,
        ),
    ]
}
