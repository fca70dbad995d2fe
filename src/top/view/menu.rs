//! The menu for pausing, and questions, as a box in the middle.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear};

use super::palette::{Palette, cut, fit, width, wrap};
use crate::top::menu::{PAUSE_TIMES, PauseMenu, Question};

/// Maximum width of a question.
const QUESTION_WIDTH: u16 = 50;

/// Draws a question.
pub(super) fn draw_question(frame: &mut Frame, area: Rect, question: &Question, palette: Palette) {
    let wide = QUESTION_WIDTH.min(area.width);
    let lines = wrap(&question.text, usize::from(wide.saturating_sub(4)));
    let high = u16::try_from(lines.len() + 4).unwrap_or(u16::MAX).min(area.height);
    let inner = boxed(frame, area, question.title, (wide, high), palette);
    let mut answers = Line::raw(" ");
    for (key, what) in [("y", question.yes), ("n", "no")] {
        answers.push_span(Span::styled(key, palette.key()));
        answers.push_span(Span::raw(format!(" {what}   ")));
    }
    let lines = lines.into_iter().map(|line| Line::raw(format!(" {line}")));
    for (line, row) in lines.chain([Line::default(), answers]).zip(inner.rows()) {
        frame.render_widget(line, row);
    }
}

/// An empty box in the middle, and the area inside.
fn boxed(frame: &mut Frame, area: Rect, title: &str, size: (u16, u16), palette: Palette) -> Rect {
    let place = Rect {
        x: area.x + (area.width - size.0) / 2,
        y: area.y + (area.height - size.1) / 2,
        width: size.0,
        height: size.1,
    };
    let block = Block::bordered().title(Line::styled(format!(" {title} "), palette.strong()));
    let inner = block.inner(place);
    frame.render_widget(Clear, place);
    frame.render_widget(block, place);
    inner
}

/// Draws the menu.
pub(super) fn draw(frame: &mut Frame, area: Rect, menu: &PauseMenu, palette: Palette) {
    let inside = menu.targets.iter().map(|target| width(&target.name)).max().unwrap_or(0).clamp(28, 60) + 6;
    let size = (u16::try_from(inside + 2).unwrap_or(40).min(area.width), 10.min(area.height));
    let inner = boxed(frame, area, "Pause healing", size, palette);
    let room = usize::from(inner.width);
    let reversed = palette.plain().add_modifier(Modifier::REVERSED);
    let mut lines = Vec::new();
    for (number, target) in menu.targets.iter().enumerate() {
        let is_chosen = number == menu.target;
        let sign = if is_chosen { "●" } else { "○" };
        let style = if is_chosen { palette.strong() } else { palette.faint() };
        let first = if number == 0 { "of " } else { "   " };
        let name = cut(&target.name, room.saturating_sub(6));
        lines.push(Line::from_iter([Span::raw(format!(" {first}")), Span::styled(format!("{sign} {name}"), style)]));
    }
    let left = usize::from(inner.height).saturating_sub(lines.len());
    // With little room, the times around the selected one are shown.
    let skipped = (menu.time + 1).saturating_sub(left);
    for (number, (name, _)) in PAUSE_TIMES.iter().enumerate().skip(skipped) {
        let style = if number == menu.time { reversed } else { palette.plain() };
        let first = if number == skipped { " for " } else { "     " };
        lines.push(Line::from_iter([Span::raw(first), Span::styled(fit(name, room.saturating_sub(6)), style)]));
    }
    for (line, row) in lines.into_iter().zip(inner.rows()) {
        frame.render_widget(line, row);
    }
}
