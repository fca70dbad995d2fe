//! How unhealthy workers are listed: as a table, and what is said instead while healing is paused.

use std::fmt::Write as _;

use super::term::{self, Style};
use crate::core::batch::LeftAlone;
use crate::core::event::UnhealthyWorker;

/// Columns for a log line that names are cut for, and the minimum for a name.
const MIN_TEXT_COLUMNS: usize = 24;
const MIN_NAME_COLUMNS: usize = 12;

/// The workers as a table, cut to the width of the terminal if there is one.
pub(super) fn table(workers: &[UnhealthyWorker], style: Style, width: Option<usize>) -> String {
    if workers.is_empty() {
        return "No unhealthy workers.\n".to_owned();
    }
    let longest = |column: &dyn Fn(&UnhealthyWorker) -> usize| workers.iter().map(column).max().unwrap_or(0);
    let names = longest(&|worker| worker.name().chars().count()).max("WORKER".len());
    let states = longest(&|worker| worker.state.as_str().len()).max("STATE".len());
    let (names, room) = width.map_or((names, usize::MAX), |width| {
        // Long names are cut in favour of the error, down to half of what there is.
        let both = width.saturating_sub(states + 4);
        let names = names.min(both.saturating_sub(MIN_TEXT_COLUMNS).max(both / 2).max(MIN_NAME_COLUMNS));
        (names, both.saturating_sub(names))
    });

    let mut table = style.strong(format!("{:names$}  {:states$}  LAST LOG LINE", "WORKER", "STATE"));
    table.push('\n');
    for worker in workers {
        let state = style.bad(format!("{:states$}", worker.state.as_str()));
        let error = term::fit(&worker.last_error, room);
        let line = format!("{:names$}  {state}  {error}", term::fit_name(&worker.name(), names));
        let _ = writeln!(table, "{}", line.trim_end());
    }
    table
}

/// How many workers are not healed because of a pause or the stop marker, and why.
pub(super) fn paused_line(paused: &[LeftAlone], style: Style, columns: Option<usize>) -> String {
    let Some(first) = paused.first() else { return String::new() };
    let workers = if paused.len() == 1 { "worker" } else { "workers" };
    let mut reasons: Vec<&str> = paused.iter().map(|it| it.reason.as_str()).collect();
    reasons.dedup();
    let why = match (paused, reasons.len()) {
        ([only], _) => format!("{}: {}", only.worker.name(), only.reason),
        (_, 1) => first.reason.clone(),
        _ => "see `workerheal status`".to_owned(),
    };
    let line = format!("Healing is paused ({why}): {} unhealthy {workers} not healed.", paused.len());
    format!("{}\n", style.busy(term::hanging(&line, 0, columns)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::State;
    use crate::core::units::UnitName;

    #[test]
    fn the_table_fits_the_terminal() {
        let worker = |site: &str, worker: &str, state, last_error: &str| UnhealthyWorker {
            site: site.into(),
            worker: worker.into(),
            worktree: None,
            unit: UnitName::parse(&format!("lerd-{worker}-{site}")).unwrap(),
            state,
            last_error: last_error.into(),
        };
        let error = "RedisException: Connection refused [tcp://127.0.0.1:6379], giving up after three attempts";
        let workers = [
            worker("myapp", "queue", State::Failed, error),
            worker("a-site-with-a-long-name", "horizon-supervisor", State::ExpectedButStopped, ""),
            worker("", "celery@mail", State::StartLimitHit, "boom"),
        ];
        for width in [60, 80, 120, 200] {
            let table = table(&workers, Style::default(), Some(width));
            assert!(table.lines().all(|line| line.chars().count() <= width), "{table}");
            insta::assert_snapshot!(format!("{width}"), table);
        }
    }
}
