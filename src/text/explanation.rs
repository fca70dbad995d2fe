//! The layout of an explanation.

use super::style::Style;
use super::wrap;
use crate::core::explain::{Explanation, Line, Mark};

/// Maximum width of lines, where possible.
pub const MAX_COLUMNS: usize = 100;

/// The explanation as a text, with the last line that the worker has logged, for a terminal of this many columns;
/// elsewhere lines are not broken.
#[must_use]
pub fn text(explanation: &Explanation, last_words: Option<&str>, style: Style, terminal: Option<usize>) -> String {
    let Explanation { summary, chain, change, state, log, .. } = explanation;
    let layout = Layout::new(chain, style, terminal);
    let decided = chain.iter().any(|line| line.mark == Mark::Decides);
    let summary = layout.wrapped(summary, 0);
    let summary = match (decided, state) {
        (true, _) => style.bad(summary),
        (false, Some(_)) => style.strong(summary),
        (false, None) => style.good(summary),
    };
    let mut text = format!("{summary}\n\n");
    for line in chain {
        text.push_str(&layout.lines(line));
    }
    if !change.is_empty() {
        let heading = match (decided, state) {
            (false, Some(_)) => "If it is not started soon:",
            _ => "What you can do:",
        };
        text.push_str(&format!("\n{heading}\n"));
        for way in change {
            text.push_str(&format!("  - {}\n", layout.wrapped(way, 4)));
        }
    }
    if state.is_some() {
        let last_words = last_words.unwrap_or("(there is none)");
        let heading = layout.wrapped(&format!("Its last log line ({log}):"), 0);
        text.push_str(&format!("\n{heading}\n  {}\n", layout.wrapped(last_words, 2)));
    }
    text
}

/// The margin and the gap beside a sentence.
const MARGIN_COLUMNS: usize = 6;

/// Where the parts of an explanation are.
struct Layout {
    style: Style,
    /// The longest line with evidence beside a sentence.
    columns: usize,
    /// The width of the column of sentences.
    sentences: usize,
    /// Where lines are broken.
    terminal: Option<usize>,
}

impl Layout {
    fn new(chain: &[Line], style: Style, terminal: Option<usize>) -> Self {
        let columns = terminal.map_or(MAX_COLUMNS, |columns| columns.min(MAX_COLUMNS));
        Self { style, columns, sentences: column(chain, columns), terminal }
    }

    /// A text that begins this far in, as are its further lines.
    fn wrapped(&self, text: &str, indent: usize) -> String {
        let Some(columns) = self.terminal else { return text.to_owned() };
        wrap(text, columns.saturating_sub(indent)).replace('\n', &format!("\n{:indent$}", ""))
    }

    /// A line of the explanation with its evidence beside it, or below it if there is no room.
    fn lines(&self, Line { mark, says, evidence }: &Line) -> String {
        let style = self.style;
        let wide = says.chars().count();
        let says = self.wrapped(says, 4);
        let signed = match mark {
            Mark::Finding => format!("• {says}"),
            Mark::Passes => format!("{} {says}", style.good("✓")),
            Mark::Decides => style.bad(format!("✗ {says}")),
            Mark::Objects => format!("{} {says}", style.bad("✗")),
        };
        if evidence.is_empty() {
            format!("  {signed}\n")
        } else if MARGIN_COLUMNS + self.sentences.max(wide) + evidence.chars().count() <= self.columns {
            let gap = self.sentences.saturating_sub(wide) + 2;
            format!("  {signed}{:gap$}{}\n", "", style.faint(evidence))
        } else {
            format!("  {signed}\n      {}\n", style.faint(self.wrapped(evidence, 6)))
        }
    }
}

/// The width of the column of sentences, such that the evidence fits beside as many of them as possible.
fn column(chain: &[Line], columns: usize) -> usize {
    let wide = |text: &str| text.chars().count();
    // Sentences with the evidence below them need no column.
    let beside = chain.iter().map(|line| (wide(&line.says), wide(&line.evidence)));
    let beside: Vec<_> =
        beside.filter(|(says, evidence)| *evidence > 0 && MARGIN_COLUMNS + says + evidence <= columns).collect();
    let fits = |width: &usize| {
        beside
            .iter()
            .filter(|(says, _)| says <= width)
            .all(|(_, evidence)| MARGIN_COLUMNS + width + evidence <= columns)
    };
    beside.iter().map(|(says, _)| *says).filter(fits).max().unwrap_or(0)
}
