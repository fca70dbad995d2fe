//! The details of the selected worker, and the event log.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::explanation::explanation;
use super::palette::{Palette, cut, width, wrap};
use crate::core::report::{Stage, WorkerReport};
use crate::top::model::Model;
use crate::top::usage::Measurement;

/// A horizontal line with a title.
pub(super) fn rule(frame: &mut Frame, area: Rect, name: &str, palette: Palette) {
    let room = usize::from(area.width);
    let name = cut(name, room.saturating_sub(4));
    let rest = "─".repeat(room.saturating_sub(width(&name) + 4));
    let line = Line::from_iter([
        Span::styled("── ", palette.faint()),
        Span::styled(name, palette.strong()),
        Span::styled(format!(" {rest}"), palette.faint()),
    ]);
    frame.render_widget(line, area);
}

/// Draws the details of the selected worker; with `whole`, including the explanation.
pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette, whole: bool) {
    let mut rows = area.rows();
    let Some(head) = rows.next() else { return };
    let Some(worker) = model.selected() else {
        rule(frame, head, "no worker selected", palette);
        return;
    };
    let name = worker.name();
    let title = if worker.unit == *name { name } else { format!("{name} ({})", worker.unit) };
    rule(frame, head, &title, palette);
    let room = usize::from(area.width.saturating_sub(2));
    let inside = |row: Rect| Rect { x: row.x + 1, width: row.width.saturating_sub(1), ..row };
    for line in lines(worker, model, clock, palette, room, whole) {
        let Some(row) = rows.next() else { return };
        frame.render_widget(line, inside(row));
    }
    let Some(answer) = model.answer().filter(|_| whole) else { return };
    let (Some(_), Some(head), Ok(explained)) = (rows.next(), rows.next(), &answer.says) else { return };
    rule(frame, head, &format!("why, as of {}", clock.time_of_day(answer.at)), palette);
    for (line, row) in explanation(explained, palette, room).into_iter().zip(rows) {
        frame.render_widget(line, inside(row));
    }
}

fn lines(
    worker: &WorkerReport,
    model: &Model,
    clock: &Clock,
    palette: Palette,
    room: usize,
    whole: bool,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut say = |text: &str, style| {
        lines.extend(wrap(text, room).into_iter().map(|line| Line::styled(line, style)));
    };
    say(&state(worker, model, clock), palette.worker(worker));
    if let Some(usage) = model.usage().map(Measurement::words).filter(|words| !words.is_empty()) {
        say(&usage, palette.plain());
    }
    if !worker.last_error.is_empty() && worker.phase != Stage::Up {
        say(&format!("Last error: {}", worker.last_error), palette.plain());
    }
    // With enough room, the whole explanation stands below.
    if let Some(explained) = model.answer().and_then(|answer| answer.says.as_ref().ok()).filter(|_| !whole) {
        let last_words = explained.last_words.as_deref().unwrap_or_default();
        if explained.explanation.state.is_some() && !last_words.is_empty() && !worker.last_error.contains(last_words) {
            say(&format!("Last words: {last_words}"), palette.plain());
        }
        // During an attempt, the explanation is about to change.
        if matches!(worker.phase, Stage::Held | Stage::GaveUp | Stage::Down | Stage::Stopped | Stage::Unknown) {
            say(&explained.explanation.summary, palette.plain());
        }
        if let Some(way) = explained.explanation.change.first() {
            say(&format!("What you can do: {way}"), palette.faint());
        }
    }
    lines
}

/// The worker's condition as a sentence.
fn state(worker: &WorkerReport, model: &Model, clock: &Clock) -> String {
    let state = worker.state.filter(|_| worker.phase != Stage::Up).map(|state| format!(" ({state})"));
    let mut text = format!("{}{}", worker.phase, state.unwrap_or_default());
    match (worker.phase, worker.up_since) {
        (Stage::Up, Some(since)) => text.push_str(&format!(" for {}", clock.up_for(since))),
        (_, Some(since)) => text.push_str(&format!(", up for {}", clock.up_for(since))),
        (_, None) => {}
    }
    match worker.attempts {
        0 => {}
        // The reason says how many.
        _ if worker.phase == Stage::GaveUp => {}
        1 => text.push_str(", tried once"),
        tries => text.push_str(&format!(", tried {tries} times")),
    }
    if worker.phase == Stage::Waiting {
        match model.retry_at(worker) {
            Some(at) if at > clock.now => text.push_str(&format!(", again in {}", clock.left(at))),
            _ => text.push_str(", again now"),
        }
    }
    if !worker.reason.is_empty() {
        text.push_str(&format!("; {}", worker.reason));
        let ends = model.retry_at(worker).filter(|_| worker.phase != Stage::Waiting);
        if let Some(end) = ends {
            text.push_str(&format!(", for another {}", clock.left(end)));
        }
    }
    text
}

/// Draws the event log, the latest at the bottom.
pub(super) fn events(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette) {
    let mut rows = area.rows();
    let Some(head) = rows.next() else { return };
    rule(frame, head, "events", palette);
    let room = usize::from(area.height.saturating_sub(1));
    if model.events.is_empty() {
        if model.snapshot.is_some()
            && let Some(row) = rows.next()
        {
            frame.render_widget(Line::styled(" Nothing has happened in the last hour.", palette.faint()), row);
        }
        return;
    }
    for (event, row) in model.events.iter().skip(model.events.len().saturating_sub(room)).zip(rows) {
        let time = event.time.map(|time| clock.time_of_day(time)).unwrap_or_default();
        let sentence = model.sentence(event);
        let line = Line::from_iter([
            Span::styled(format!(" {time:8}  "), palette.faint()),
            Span::styled(format!("{:9}  ", event.phase.as_str()), palette.phase(event.phase)),
            Span::styled(cut(&sentence, usize::from(row.width).saturating_sub(22)), palette.plain()),
        ]);
        frame.render_widget(line, row);
    }
}
