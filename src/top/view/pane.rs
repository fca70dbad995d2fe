//! The panes beside, or instead of, the details: an explanation, a log, the help.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::detail::rule;
use super::explanation::{explanation, wrapped};
use super::list::block;
use super::palette::Palette;
use crate::manager::log::Author;
use crate::top::model::{FollowedLog, Model, Pane};
use crate::top::timeline::Mark;

/// The title of the pane.
fn name(model: &Model, clock: &Clock) -> String {
    match model.pane {
        Pane::None => String::new(),
        Pane::Help => "help".to_owned(),
        Pane::Explanation => {
            let worker = model.selected().map(crate::core::report::WorkerReport::name).unwrap_or_default();
            let as_of = model.answer().map(|answer| format!(", as of {}", clock.time_of_day(answer.at)));
            format!("why {worker} is as it is{}", as_of.unwrap_or_default())
        }
        Pane::Log => {
            let unit = model.log.as_ref().map(|log| log.unit.short()).unwrap_or_default();
            let back = match model.scroll {
                0 => String::new(),
                lines => format!(", {lines} line{} back", if lines == 1 { "" } else { "s" }),
            };
            format!("log of {unit}{back}")
        }
    }
}

/// How many lines it can be scrolled in an area of this size.
pub(super) fn scroll_end(area: Rect, model: &Model, clock: &Clock, palette: Palette) -> usize {
    lines(model, clock, palette, inner(area)).len().saturating_sub(usize::from(inner(area).height))
}

fn inner(area: Rect) -> Rect {
    Rect { x: area.x + 1, y: area.y + 1, width: area.width.saturating_sub(2), height: area.height.saturating_sub(1) }
}

/// Draws the pane that is open.
pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette) {
    let Some(head) = area.rows().next() else { return };
    rule(frame, head, &name(model, clock), palette);
    let inner = inner(area);
    let lines = lines(model, clock, palette, inner);
    let room = usize::from(inner.height);
    let first = match model.pane {
        Pane::Log => lines.len().saturating_sub(room + model.scroll),
        _ => model.scroll.min(lines.len().saturating_sub(room)),
    };
    for (line, row) in lines.into_iter().skip(first).zip(inner.rows()) {
        frame.render_widget(line, row);
    }
}

fn lines(model: &Model, clock: &Clock, palette: Palette, area: Rect) -> Vec<Line<'static>> {
    let room = usize::from(area.width);
    match model.pane {
        Pane::None => Vec::new(),
        Pane::Help => help(palette, room),
        Pane::Log => model.log.as_ref().map(|log| log_lines(log, clock, palette, room)).unwrap_or_default(),
        Pane::Explanation => match model.answer().map(|answer| &answer.says) {
            Some(Ok(explained)) => explanation(explained, palette, room),
            Some(Err(why)) => wrapped("", why, palette.bad(), room),
            None => vec![Line::styled("Asking the daemon …", palette.faint())],
        },
    }
}

fn log_lines(log: &FollowedLog, clock: &Clock, palette: Palette, room: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for line in &log.lines {
        let time = line.time.map(|time| format!("{}  ", clock.time_of_day(time))).unwrap_or_default();
        let style = match line.author {
            Author::Worker => palette.plain(),
            Author::Manager => palette.faint(),
            Author::Workerheal => palette.busy(),
        };
        lines.extend(wrapped(&time, &line.text, style, room));
    }
    match (&log.error, lines.is_empty()) {
        (Some(why), _) => lines.extend(wrapped("", why, palette.bad(), room)),
        (None, true) => lines.push(Line::styled("What it logs appears here.", palette.faint())),
        (None, false) => {}
    }
    lines
}

/// The keys and their meanings.
const KEYS: [(&str, &str); 17] = [
    ("↑ ↓  j k", "select a worker, or scroll the pane that is open"),
    ("PgUp PgDn", "the same by a page; Home and End go to the ends"),
    ("Enter  e", "explain: why the worker is, or is not, being healed"),
    ("l", "logs: follow the log of the worker"),
    ("h", "heal the worker now"),
    ("H", "heal all that is unhealthy now; asks first"),
    ("s", "stop the worker until you start it again (h); asks first"),
    ("p", "pause healing of the worker, its site or everything, for a time"),
    ("r", "resume what is paused; try again what was given up"),
    ("/", "filter: show workers with all these words in their name, unit or state"),
    ("f", "states: all workers, or only those in some states"),
    ("o", "order by trouble, site, uptime or attempts"),
    ("Esc", "back: close the pane, then show all workers"),
    ("mouse", "click to select, wheel to scroll; hold Shift to mark text"),
    ("Ctrl-L", "draw the screen again"),
    ("Ctrl-Z", "back to the shell; `fg` returns"),
    ("q", "quit"),
];

fn help(palette: Palette, room: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    for (key, what) in KEYS {
        let mut described = wrapped(&" ".repeat(11), what, palette.plain(), room);
        if let Some(first) = described.first_mut() {
            let text = first.to_string();
            let what = text.trim_start().to_owned();
            *first = Line::from_iter([
                Span::styled(format!("{key:11}"), palette.key()),
                Span::styled(what, palette.plain()),
            ]);
        }
        lines.extend(described);
    }
    lines.extend([Line::default(), Line::styled("The last hour, worst last:", palette.strong())]);
    let mut legend = Line::default();
    for (mark, word) in [
        (Mark::Unknown, "unknown"),
        (Mark::Off, "down on purpose"),
        (Mark::Up, "up"),
        (Mark::Healing, "being healed"),
        (Mark::Failed, "failed"),
    ] {
        let (glyph, style) = block(mark, palette);
        legend.push_span(Span::styled(glyph.repeat(2), style));
        legend.push_span(Span::styled(format!(" {word}   "), palette.plain()));
    }
    lines.push(legend);
    lines
}
