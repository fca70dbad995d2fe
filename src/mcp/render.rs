//! Results as text.

use crate::api::{PauseKind, PauseReport, StopReport};
use crate::client::log::{Author, LogLine};
use crate::core::batch::{LeftAlone, Plan};
use crate::core::event::{Event, Report};
use crate::core::report::WorkerReport;
use crate::core::units::UnitName;

/// The result for each worker.
pub(super) fn healed(summary: &str, report: &Report, left_alone: &[LeftAlone]) -> String {
    let healed = report.healed.iter().map(|worker| format!("{} is healed.", worker.unit));
    let failed = report.failed.iter().map(|failure| format!("{} failed: {}", failure.worker.unit, failure.error));
    let others = left_alone.iter().map(|it| format!("{} is not healed: {}", it.worker.unit, it.reason));
    let lines: Vec<String> = [summary.to_owned()].into_iter().chain(healed).chain(failed).chain(others).collect();
    lines.join("\n")
}

/// What a heal would do, and that in one line.
pub(super) fn plan(plan: &Plan, not_healed: &[LeftAlone]) -> (String, String) {
    let summary = match plan.unhealthy.as_slice() {
        [] if not_healed.is_empty() && plan.refused.is_empty() => "No unhealthy workers.".to_owned(),
        [_] => "Would heal 1 worker.".to_owned(),
        workers => format!("Would heal {} workers.", workers.len()),
    };
    let healed = plan.unhealthy.iter().map(|worker| format!("{} would be healed ({}).", worker.unit, worker.state));
    let refused = plan.refused.iter().map(|it| (&it.worker, &it.error));
    let others = refused.chain(not_healed.iter().map(|it| (&it.worker, &it.reason)));
    let others = others.map(|(worker, why)| format!("{} would not be healed: {why}", worker.unit));
    let lines: Vec<String> = [summary.clone()].into_iter().chain(healed).chain(others).collect();
    (lines.join("\n"), summary)
}

/// A line for each worker.
pub(super) fn workers(workers: &[WorkerReport]) -> String {
    if workers.is_empty() {
        return "No workers found; see `workerheal check`.".to_owned();
    }
    let line = |worker: &WorkerReport| {
        let state = worker.state.map(|state| format!(" ({state})")).unwrap_or_default();
        let why: Vec<&str> =
            [worker.reason.as_str(), &worker.last_error].into_iter().filter(|part| !part.is_empty()).collect();
        let why = if why.is_empty() { String::new() } else { format!("; {}", why.join("; ")) };
        format!("{}: {}{state}{why}", worker.name(), worker.phase)
    };
    workers.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A line for each event, the oldest first.
pub(super) fn events(events: &[Event], left_out: usize) -> String {
    if events.is_empty() {
        return "No events.".to_owned();
    }
    let left_out = (left_out > 0).then(|| format!("({left_out} earlier events are left out)"));
    let line = |event: &Event| {
        let time = event.time.map(|time| format!("{} ", humantime::format_rfc3339_millis(time))).unwrap_or_default();
        format!("{time}{}: {event}", event.phase.as_str())
    };
    left_out.into_iter().chain(events.iter().map(line)).collect::<Vec<_>>().join("\n")
}

/// What was stopped.
pub(super) fn stopped(report: &StopReport) -> String {
    let stopped = report.stopped.iter().map(|it| format!("{} is stopped, and stays so until it is started.", it.unit));
    let failed = report.failed.iter().map(|it| format!("{} is not stopped: {}", it.worker.unit, it.error));
    stopped.chain(failed).collect::<Vec<_>>().join("\n")
}

/// The pauses in force.
pub(super) fn pauses(pauses: &[PauseReport]) -> String {
    if pauses.is_empty() {
        return "Nothing is paused.".to_owned();
    }
    let line = |pause: &PauseReport| {
        let what = match pause.kind {
            PauseKind::Everything => "Everything".to_owned(),
            PauseKind::Site => format!("The site {}", pause.name),
            PauseKind::Unit => pause.name.clone(),
        };
        format!("{what} is paused, {}.", pause.how_long())
    };
    pauses.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The lines of a log, each with its time and author.
pub(super) fn log(unit: &UnitName, lines: &[LogLine], left_out: usize) -> String {
    if lines.is_empty() {
        return format!("The log of {unit} is empty.");
    }
    let mut text = Vec::new();
    if left_out > 0 {
        text.push(format!("({left_out} earlier lines are left out, as they are too long)"));
    }
    text.extend(lines.iter().map(|line| {
        let time = line.time.map(|time| format!("{} ", humantime::format_rfc3339_millis(time))).unwrap_or_default();
        format!("{time}{}: {}", author(line.author), line.text)
    }));
    text.join("\n")
}

/// The author of a line, in one word.
pub(super) fn author(author: Author) -> &'static str {
    match author {
        Author::Worker => "worker",
        Author::Manager => "service-manager",
        Author::Workerheal => "workerheal",
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::client::log::Author;
    use crate::core::diagnosis::State;
    use crate::core::event::{Failure, UnhealthyWorker};

    fn worker(unit: &str) -> UnhealthyWorker {
        let (site, worker) = ("myapp".to_owned(), unit.to_owned());
        UnhealthyWorker {
            site,
            worker,
            worktree: None,
            unit: UnitName::parse(unit).unwrap(),
            state: State::Failed,
            last_error: String::new(),
        }
    }

    #[test]
    fn a_heal_tells_of_each_worker() {
        let report = Report {
            healed: vec![worker("a")],
            failed: vec![Failure { worker: worker("b"), error: "it fell over".into() }],
        };
        let alone = [LeftAlone { worker: worker("c"), reason: "its directory is gone".into() }];
        assert_eq!(
            healed("Healed 1 worker(s), 1 failed.", &report, &alone),
            "Healed 1 worker(s), 1 failed.\na is healed.\nb failed: it fell over\nc is not healed: its directory is gone"
        );
    }

    #[test]
    fn pauses_show_target_and_time_left() {
        let pause = |kind, name: &str, ends_in| PauseReport { kind, name: name.into(), ends_in, ends_at: None };
        assert_eq!(pauses(&[]), "Nothing is paused.");
        assert_eq!(
            pauses(&[
                pause(PauseKind::Everything, "", None),
                pause(PauseKind::Site, "shop", Some(Duration::from_millis(1_799_998))),
                pause(PauseKind::Unit, "lerd-queue-myapp", Some(Duration::from_millis(1))),
            ]),
            "Everything is paused, until it is resumed.\n\
             The site shop is paused, for another 30m.\n\
             lerd-queue-myapp is paused, for another 1s."
        );
    }

    #[test]
    fn a_log_says_when_and_who() {
        let unit = UnitName::parse("lerd-queue-myapp").unwrap();
        assert_eq!(log(&unit, &[], 0), "The log of lerd-queue-myapp is empty.");
        let line = |time, author, text: &str| LogLine { time, author, text: text.into() };
        let lines = [
            line(Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)), Author::Worker, "  at main"),
            line(None, Author::Manager, "Started."),
        ];
        assert_eq!(
            log(&unit, &lines, 3),
            "(3 earlier lines are left out, as they are too long)\n\
             1970-01-01T00:00:01.500Z worker:   at main\n\
             service-manager: Started."
        );
    }
}
