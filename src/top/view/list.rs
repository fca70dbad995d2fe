//! The list of workers.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::palette::{Palette, cut, fit, fit_right, width};
use crate::api::PauseKind;
use crate::core::report::{Stage, WorkerReport};
use crate::top::model::Model;
use crate::top::rows::{Order, Row};
use crate::top::timeline::{Mark, Scale};

const STATE_WIDTH: usize = 8;
const UPTIME_WIDTH: usize = 7;
const ATTEMPTS_WIDTH: usize = 5;
const NEXT_WIDTH: usize = 10;
/// Width of names before the timeline gets any.
const NAME_WIDTH: usize = 20;
/// Width below which that is halved.
const NARROW_WIDTH: usize = 45;
/// Minimum width of a timeline.
const MIN_TIMELINE_WIDTH: usize = 10;

/// The width of each column; 0 if it is left out.
struct Columns {
    name: usize,
    up: usize,
    tries: usize,
    next: usize,
    timeline: usize,
}

impl Columns {
    /// The best layout for this width and this longest name.
    fn of(room: usize, longest: usize) -> Self {
        // The marker, and the state with the gap before it.
        let room = room.saturating_sub(2 + 1 + STATE_WIDTH);
        let least = longest.clamp(8, if room < NARROW_WIDTH { NAME_WIDTH / 2 } else { NAME_WIDTH });
        let mut columns = Self { name: 0, up: 0, tries: 0, next: 0, timeline: 0 };
        let mut left = room.saturating_sub(least);
        let mut take = |wide: usize, gap: usize| {
            let fits = left >= wide + gap;
            left -= if fits { wide + gap } else { 0 };
            if fits { wide } else { 0 }
        };
        columns.next = take(NEXT_WIDTH, 2);
        columns.up = take(UPTIME_WIDTH, 2);
        columns.tries = take(ATTEMPTS_WIDTH, 1);
        if left >= MIN_TIMELINE_WIDTH + 2 {
            columns.timeline = Scale::new(left - 2, std::time::UNIX_EPOCH).columns;
            left -= columns.timeline + 2;
        }
        columns.name = least + left;
        columns
    }
}

/// Draws the visible part of the list, below its heading.
pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette) {
    let rows = model.rows();
    let grouped = model.order == Order::Site;
    let name = |worker: &WorkerReport| if grouped { format!("  {}", worker.task()) } else { worker.name() };
    let short = |worker: &WorkerReport, room| if grouped { cut(&name(worker), room) } else { cut_site(worker, room) };
    let longest = rows.iter().filter_map(|row| match row {
        Row::Worker(worker) => Some(width(&name(worker))),
        Row::Site(..) => None,
    });
    let columns = Columns::of(usize::from(area.width), longest.max().unwrap_or(0));
    let mut lines = area.rows();
    if let Some(line) = lines.next() {
        frame.render_widget(heading(&columns).style(palette.faint()), line);
    }
    let scale = Scale::new(columns.timeline, clock.now);
    for (row, line) in rows.iter().skip(model.top).zip(lines) {
        match row {
            Row::Site(site, count) => {
                frame.render_widget(site_line(site, *count, model, clock, palette, area.width), line);
            }
            Row::Worker(worker) => {
                let named = short(worker, columns.name);
                let mut shown = worker_line(worker, &named, &columns, scale, model, clock, palette);
                let is_selected = model.selected.as_deref() == Some(&worker.unit);
                shown.spans.insert(0, Span::raw(if is_selected { "▸ " } else { "  " }));
                frame.render_widget(shown, line);
                if is_selected {
                    // The name stands out; colours stay.
                    let named = u16::try_from(columns.name + 2).unwrap_or(u16::MAX).min(line.width);
                    frame.buffer_mut().set_style(line, Modifier::BOLD);
                    frame.buffer_mut().set_style(Rect { width: named, ..line }, Modifier::REVERSED);
                }
            }
        }
    }
}

/// `SITE/WORKER` in this many columns; the worker's name is the last to be cut.
fn cut_site(worker: &WorkerReport, room: usize) -> String {
    let name = worker.name();
    let end = format!("/{}", worker.task());
    match room.checked_sub(width(&end)) {
        Some(left) if left >= 3 && width(&name) > room => format!("{}{end}", cut(&worker.site, left)),
        _ => cut(&name, room),
    }
}

fn heading(columns: &Columns) -> Line<'static> {
    let mut text = format!("  {} {}", fit("WORKER", columns.name), fit("STATE", STATE_WIDTH));
    if columns.up > 0 {
        text.push_str(&format!("  {}", fit_right("UP", columns.up)));
    }
    if columns.tries > 0 {
        text.push_str(&format!(" {}", fit_right("TRIES", columns.tries)));
    }
    if columns.next > 0 {
        text.push_str(&format!("  {}", fit("NEXT", columns.next)));
    }
    match columns.timeline {
        0 => {}
        wide @ ..15 => text.push_str(&format!("  {}", fit("LAST HOUR", wide))),
        wide => text.push_str(&format!("  {}now", fit("1h ago", wide - 3))),
    }
    Line::raw(text)
}

fn site_line(site: &str, count: usize, model: &Model, clock: &Clock, palette: Palette, room: u16) -> Line<'static> {
    let name = if site.is_empty() { "no site" } else { site };
    let name = cut(name, usize::from(room).saturating_sub(4));
    let workers = format!("  {count} worker{}", if count == 1 { "" } else { "s" });
    let mut line = Line::from_iter([Span::styled(name, palette.strong()), Span::styled(workers, palette.faint())]);
    let pauses = model.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.status.pauses);
    if let Some(pause) = pauses.iter().find(|pause| pause.kind == PauseKind::Site && pause.name == site) {
        let text = match model.ends_at(pause) {
            Some(end) => format!("  paused for another {}", clock.left(end)),
            None => "  paused until it is resumed".to_owned(),
        };
        line.push_span(Span::styled(text, palette.busy()));
    }
    line
}

fn worker_line(
    worker: &WorkerReport,
    name: &str,
    columns: &Columns,
    scale: Scale,
    model: &Model,
    clock: &Clock,
    palette: Palette,
) -> Line<'static> {
    let style = palette.worker(worker);
    let mut line = Line::from_iter([
        Span::styled(fit(name, columns.name), palette.plain()),
        Span::styled(format!(" {}", fit(worker.phase.as_str(), STATE_WIDTH)), style),
    ]);
    let mut cell = |text: String, style| line.push_span(Span::styled(text, style));
    if columns.up > 0 {
        let up = worker.up_since.map(|since| clock.up_for(since)).unwrap_or_default();
        cell(format!("  {}", fit_right(&up, columns.up)), palette.plain());
    }
    if columns.tries > 0 {
        let tries = if worker.attempts > 0 { worker.attempts.to_string() } else { String::new() };
        cell(format!(" {}", fit_right(&tries, columns.tries)), palette.plain());
    }
    if columns.next > 0 {
        cell(format!("  {}", fit(&next(worker, model, clock), columns.next)), style);
    }
    if columns.timeline > 0 {
        clock.changes_at(scale.moves_at());
        cell("  ".to_owned(), palette.plain());
        let history = model.histories.get(&worker.unit);
        let blocks = history.map(|history| history.blocks(scale, clock.now));
        for mark in blocks.unwrap_or_else(|| vec![Mark::Unknown; scale.columns]) {
            let (glyph, style) = block(mark, palette);
            cell(glyph.to_owned(), style);
        }
    }
    line
}

/// What happens next: the countdown, or the reason for holding.
fn next(worker: &WorkerReport, model: &Model, clock: &Clock) -> String {
    let pause = model.pause_of(worker);
    match worker.phase {
        Stage::Waiting => match model.retry_at(worker) {
            Some(at) if at > clock.now => format!("in {}", clock.left(at)),
            _ => "now".to_owned(),
        },
        Stage::Due => "now".to_owned(),
        Stage::Held | Stage::Up if pause.is_some() => "paused".to_owned(),
        _ => String::new(),
    }
}

/// The block of a condition: also distinguishable by its height alone.
pub(super) fn block(mark: Mark, palette: Palette) -> (&'static str, ratatui::style::Style) {
    match mark {
        Mark::Unknown => ("·", palette.faint()),
        Mark::Off => ("─", palette.faint()),
        Mark::Up => ("▂", palette.good()),
        Mark::Healing => ("▅", palette.busy()),
        Mark::Failed => ("█", palette.bad()),
    }
}
