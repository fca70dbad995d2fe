//! Lays workers out in as many columns as there is room for.
//!
//! Where the reason of a row would have little room, columns give way one after the other: what changed when, the
//! number of tries, the state behind the phase, and at last the ends of long names.

use crate::cli::term::{self, Style};

/// One worker.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub name: String,
    pub phase: String,
    /// Empty where the phase says all.
    pub state: &'static str,
    pub tries: String,
    pub changed: String,
    pub why: String,
    pub tone: Tone,
}

/// How a row is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Busy,
    Bad,
    Faint,
}

/// The room that a reason is worth giving up a column for.
const WANTED_REASON_COLUMNS: usize = 32;
/// What is left of a reason and of a name at least.
const MIN_REASON_COLUMNS: usize = 24;
const MIN_NAME_COLUMNS: usize = 12;
const GAP_COLUMNS: usize = 2;

/// Which columns there are besides name, status and reason.
#[derive(Debug, Clone, Copy)]
struct Shown {
    changed: bool,
    tries: bool,
    state: bool,
}

const FROM_WIDE_TO_NARROW: [Shown; 4] = [
    Shown { changed: true, tries: true, state: true },
    Shown { changed: false, tries: true, state: true },
    Shown { changed: false, tries: false, state: true },
    Shown { changed: false, tries: false, state: false },
];

/// The rows below their heads; not cut where there is no width.
pub(super) fn lay_out(rows: &[Row], width: Option<usize>, style: Style) -> String {
    let head = Row {
        name: "WORKER".into(),
        phase: "STATUS".into(),
        tries: "TRIES".into(),
        changed: "CHANGED".into(),
        why: "WHY".into(),
        ..Row::default()
    };
    let all: Vec<&Row> = std::iter::once(&head).chain(rows).collect();
    let longest = |text: &dyn Fn(&Row) -> usize| all.iter().map(|row| text(row)).max().unwrap_or(0);
    let names = longest(&|row| row.name.chars().count());
    let why = longest(&|row| row.why.chars().count());
    // The width of all columns but the name's and the reason's, with the gaps.
    let others = |shown: Shown| {
        let optional =
            [(shown.tries, longest(&|row| row.tries.len())), (shown.changed, longest(&|row| row.changed.len()))];
        let optional: usize =
            optional.iter().filter(|(is_shown, _)| *is_shown).map(|(_, width)| width + GAP_COLUMNS).sum();
        longest(&|row| status(row, shown).chars().count()) + optional + 2 * GAP_COLUMNS
    };
    let fits =
        |shown: &Shown| width.is_none_or(|width| names + others(*shown) + why.min(WANTED_REASON_COLUMNS) <= width);
    let shown = FROM_WIDE_TO_NARROW.into_iter().find(fits).unwrap_or(FROM_WIDE_TO_NARROW[3]);
    let others = others(shown);
    let (names, room) = match width {
        None => (names, usize::MAX),
        Some(width) => {
            let names = names.min(width.saturating_sub(others + MIN_REASON_COLUMNS).max(MIN_NAME_COLUMNS));
            (names, width.saturating_sub(names + others))
        }
    };
    let statuses = longest(&|row| status(row, shown).chars().count());
    let (tries, changes) = (longest(&|row| row.tries.len()), longest(&|row| row.changed.len()));
    let line = |row: &Row| {
        let mut line = format!("{:names$}  ", term::fit_name(&row.name, names));
        line.push_str(&painted(row.tone, format!("{:statuses$}", status(row, shown)), style));
        if shown.tries {
            line.push_str(&format!("  {:>tries$}", row.tries));
        }
        if shown.changed {
            line.push_str(&format!("  {:changes$}", row.changed));
        }
        line.push_str(&format!("  {}", term::fit(&row.why, room)));
        line.trim_end().to_owned()
    };
    let mut table = format!("{}\n", style.strong(line(&head)));
    for row in rows {
        table.push_str(&format!("{}\n", line(row)));
    }
    table
}

fn status(row: &Row, shown: Shown) -> String {
    if shown.state && !row.state.is_empty() { format!("{} ({})", row.phase, row.state) } else { row.phase.clone() }
}

fn painted(tone: Tone, text: String, style: Style) -> String {
    match tone {
        Tone::Plain => text,
        Tone::Good => style.good(text),
        Tone::Busy => style.busy(text),
        Tone::Bad => style.bad(text),
        Tone::Faint => style.faint(text),
    }
}
