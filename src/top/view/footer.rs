//! The last lines: notices, the filter, and the keys.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::palette::{Palette, width, wrap};
use crate::top::model::{Mode, Model, Pane, Tone};

/// A key and its meaning. With little room, a letter is shown as the first letter of the word that it stands for.
type Key = (&'static str, &'static str);

const COMMANDS: [Key; 12] = [
    ("e", "explain"),
    ("h", "heal"),
    ("H", "heal all"),
    ("s", "stop"),
    ("p", "pause"),
    ("r", "resume"),
    ("l", "logs"),
    ("/", "filter"),
    ("o", "order"),
    ("f", "states"),
    ("?", "help"),
    ("q", "quit"),
];
const IN_PANE: [Key; 7] =
    [("↑↓", "scroll"), ("esc", "back"), ("e", "explain"), ("l", "logs"), ("h", "heal"), ("?", "help"), ("q", "quit")];
const IN_FILTER: [Key; 3] = [("enter", "keep"), ("esc", "undo"), ("↑↓", "select")];
const IN_QUESTION: [Key; 2] = [("y", "yes"), ("n", "no")];
const IN_MENU: [Key; 4] = [("↑↓", "how long"), ("tab", "what"), ("enter", "pause"), ("esc", "back")];

/// Maximum number of lines of a notice.
const MAX_NOTICE_LINES: usize = 2;

/// Draws the keys.
pub(super) fn keys(frame: &mut Frame, area: Rect, model: &Model, palette: Palette) {
    let keys: &[Key] = match (&model.mode, model.pane) {
        (Mode::Filter(_), _) => {
            frame.render_widget(filter(model, palette, area.width), area);
            return;
        }
        (Mode::Pause(_), _) => &IN_MENU,
        (Mode::Confirm(_), _) => &IN_QUESTION,
        (Mode::Commands, Pane::None) => &COMMANDS,
        (Mode::Commands, _) => &IN_PANE,
    };
    let fits = |line: &Line| line.width() <= usize::from(area.width) + 1;
    let mut keys = keys.to_vec();
    let mut line = spelled(&keys, palette);
    // The help shows all of them.
    while !fits(&line) && !keys.is_empty() {
        line = short(&keys, palette);
        keys.remove(keys.len().saturating_sub(3));
    }
    frame.render_widget(line, area);
}

fn spelled(keys: &[Key], palette: Palette) -> Line<'static> {
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::raw(" "));
        line.push_span(Span::styled(*key, palette.key()));
        line.push_span(Span::raw(format!(" {what} ")));
    }
    line
}

/// The key's letter stands out.
fn short(keys: &[Key], palette: Palette) -> Line<'static> {
    let stands_out = palette.key().add_modifier(Modifier::UNDERLINED);
    let mut line = Line::default();
    for (key, what) in keys {
        line.push_span(Span::raw(" "));
        let (letter, rest) = what.split_at(1);
        if letter.eq_ignore_ascii_case(key) {
            line.push_span(Span::styled(*key, stands_out));
            line.push_span(Span::raw(format!("{rest} ")));
        } else {
            let gap = if key.len() > 1 { " " } else { "" };
            line.push_span(Span::styled(*key, palette.key()));
            line.push_span(Span::raw(format!("{gap}{what} ")));
        }
    }
    line
}

fn filter(model: &Model, palette: Palette, room: u16) -> Line<'static> {
    let keys = spelled(&IN_FILTER, palette);
    let room = usize::from(room).saturating_sub(keys.width() + 12);
    // The end of a long filter is visible, where it is typed.
    let mut typed = model.filter.as_str();
    while width(typed) > room {
        let mut chars = typed.chars();
        chars.next();
        typed = chars.as_str();
    }
    let mut line = Line::from_iter([
        Span::styled(" filter: ", palette.strong()),
        Span::raw(typed.to_owned()),
        Span::styled(" ", Style::new().add_modifier(Modifier::REVERSED)),
        Span::raw("  "),
    ]);
    line.extend(keys.spans);
    line
}

/// The notice in lines that fit.
pub(super) fn notice_lines(model: &Model, room: u16) -> Vec<String> {
    let Some(notice) = &model.notice else { return Vec::new() };
    let mut lines = wrap(&notice.text, usize::from(room).saturating_sub(4));
    lines.truncate(MAX_NOTICE_LINES);
    lines
}

/// Draws the notice.
pub(super) fn notice(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette) {
    let Some(notice) = &model.notice else { return };
    if let Some(until) = notice.until {
        clock.changes_at(until);
    }
    let (sign, style) = match notice.tone {
        Tone::Busy => ("…", palette.busy()),
        Tone::Good => ("✓", palette.good()),
        Tone::Bad => ("✗", palette.bad()),
    };
    for (number, (text, row)) in notice_lines(model, area.width).into_iter().zip(area.rows()).enumerate() {
        let sign = if number == 0 { sign } else { " " };
        frame.render_widget(Line::styled(format!(" {sign} {text}"), style.add_modifier(Modifier::BOLD)), row);
    }
}
