//! Results as text.

use crate::api::{PauseKind, PauseReport};
use crate::client::log::{Author, LogLine};
use crate::core::batch::LeftAlone;
use crate::core::event::Report;
use crate::core::units::UnitName;

/// The result for each worker.
pub(super) fn healed(summary: &str, report: &Report, left_alone: &[LeftAlone]) -> String {
    let healed = report.healed.iter().map(|worker| format!("{} is healed.", worker.unit));
    let failed = report.failed.iter().map(|failure| format!("{} failed: {}", failure.worker.unit, failure.error));
    let others = left_alone.iter().map(|it| format!("{} is not healed: {}", it.worker.unit, it.reason));
    let lines: Vec<String> = [summary.to_owned()].into_iter().chain(healed).chain(failed).chain(others).collect();
    lines.join("\n")
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
            unit: unit.to_owned(),
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
    fn pauses_say_what_and_for_how_long() {
        let pause = |kind, name: &str, ends_in| PauseReport { kind, name: name.into(), ends_in };
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
