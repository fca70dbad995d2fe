//! The layout of an explanation.

use super::style::Style;
use crate::core::explain::{Explanation, Line, Mark};

/// Maximum width of lines, where possible.
pub const MAX_COLUMNS: usize = 100;

/// The explanation as a text, with the last line that the worker has logged.
#[must_use]
pub fn text(explanation: &Explanation, last_words: Option<&str>, style: Style) -> String {
    let Explanation { summary, chain, change, state, log, .. } = explanation;
    let decided = chain.iter().any(|line| line.mark == Mark::Decides);
    let summary = match (decided, state) {
        (true, _) => style.bad(summary),
        (false, Some(_)) => style.strong(summary),
        (false, None) => style.good(summary),
    };
    let mut text = format!("{summary}\n\n");
    let width = column(chain);
    for line in chain {
        text.push_str(&as_lines(line, width, style));
    }
    if !change.is_empty() {
        let heading = match (decided, state) {
            (false, Some(_)) => "If it is not started soon:",
            _ => "What you can do:",
        };
        text.push_str(&format!("\n{heading}\n"));
        for way in change {
            text.push_str(&format!("  - {way}\n"));
        }
    }
    if state.is_some() {
        let last_words = last_words.unwrap_or("(there is none)");
        text.push_str(&format!("\nIts last log line ({log}):\n  {last_words}\n"));
    }
    text
}

/// The margin and the gap beside a sentence.
const MARGIN_COLUMNS: usize = 6;

/// The width of the column of sentences, such that the evidence fits beside as many of them as possible.
fn column(chain: &[Line]) -> usize {
    let wide = |text: &str| text.chars().count();
    // Sentences with the evidence below them need no column.
    let beside = chain.iter().map(|line| (wide(&line.says), wide(&line.evidence)));
    let beside: Vec<_> =
        beside.filter(|(says, evidence)| *evidence > 0 && MARGIN_COLUMNS + says + evidence <= MAX_COLUMNS).collect();
    let fits = |width: &usize| {
        beside
            .iter()
            .filter(|(says, _)| says <= width)
            .all(|(_, evidence)| MARGIN_COLUMNS + width + evidence <= MAX_COLUMNS)
    };
    beside.iter().map(|(says, _)| *says).filter(fits).max().unwrap_or(0)
}

/// A line of the explanation with its evidence beside it, or below it if there is no room.
fn as_lines(Line { mark, says, evidence }: &Line, width: usize, style: Style) -> String {
    let signed = match mark {
        Mark::Finding => format!("• {says}"),
        Mark::Passes => format!("{} {says}", style.good("✓")),
        Mark::Decides => style.bad(format!("✗ {says}")),
        Mark::Objects => format!("{} {says}", style.bad("✗")),
    };
    let wide = says.chars().count();
    if evidence.is_empty() {
        format!("  {signed}\n")
    } else if MARGIN_COLUMNS + width.max(wide) + evidence.chars().count() <= MAX_COLUMNS {
        format!("  {signed}{:gap$}{}\n", "", style.faint(evidence), gap = width.saturating_sub(wide) + 2)
    } else {
        format!("  {signed}\n      {}\n", style.faint(evidence))
    }
}
