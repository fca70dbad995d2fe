//! An explanation as lines, for the pane and for the details.

use ratatui::style::Style;
use ratatui::text::Line;

use super::palette::{Palette, width, wrap};
use crate::api::Explained;
use crate::core::explain::Mark as RuleMark;

/// A text beside a sign, with a hanging indent.
pub(super) fn wrapped(sign: &str, text: &str, style: Style, room: usize) -> Vec<Line<'static>> {
    let indent = width(sign);
    let lines = wrap(text, room.saturating_sub(indent)).into_iter().enumerate();
    lines
        .map(|(number, line)| {
            let begin = if number == 0 { sign.to_owned() } else { " ".repeat(indent) };
            Line::styled(format!("{begin}{line}"), style)
        })
        .collect()
}

pub(super) fn explanation(
    Explained { explanation, last_words, .. }: &Explained,
    palette: Palette,
    room: usize,
) -> Vec<Line<'static>> {
    let decided = explanation.chain.iter().any(|line| line.mark == RuleMark::Decides);
    let style = match (decided, explanation.state) {
        (true, _) => palette.bad(),
        (false, Some(_)) => palette.strong(),
        (false, None) => palette.good(),
    };
    let mut lines = wrapped("", &explanation.summary, style, room);
    lines.push(Line::default());
    for line in &explanation.chain {
        let (sign, style) = match line.mark {
            RuleMark::Finding => ("• ", palette.plain()),
            RuleMark::Passes => ("✓ ", palette.good()),
            RuleMark::Decides => ("✗ ", palette.bad()),
            RuleMark::Objects => ("✗ ", palette.plain()),
        };
        lines.extend(wrapped(sign, &line.says, style, room));
        if !line.evidence.is_empty() {
            lines.extend(wrapped("    ", &line.evidence, palette.faint(), room));
        }
    }
    if !explanation.change.is_empty() {
        let heading =
            if !decided && explanation.state.is_some() { "If it is not started soon:" } else { "What you can do:" };
        lines.extend([Line::default(), Line::styled(heading, palette.strong())]);
        for way in &explanation.change {
            lines.extend(wrapped("- ", way, palette.plain(), room));
        }
    }
    if let Some(words) = last_words {
        lines.extend([Line::default(), Line::styled("Its last log line:", palette.strong())]);
        lines.extend(wrapped("  ", words, palette.plain(), room));
    }
    lines
}
