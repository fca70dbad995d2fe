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
use crate::top::rows::{Order, Row, is_ill};
use crate::top::timeline::{Mark, Scale};
use crate::top::usage::Measurement;

/// The sign and the word of a state.
const STATE_WIDTH: usize = 10;
/// Width of the reasons where there are none but short ones, and with little room.
const WHY_WIDTH: usize = 16;
const NARROW_WHY_WIDTH: usize = 10;
const MAX_WHY_WIDTH: usize = 48;
/// Minimum width of reasons beside the resource usage of workers.
const WHY_WIDTH_WITH_USAGE: usize = 30;
const ATTEMPTS_WIDTH: usize = 5;
/// Room beside a name in which attempts are shown beside long reasons.
const ROOM_WITH_ATTEMPTS: usize = 36;
/// Widths of a process id, of memory as `1023M`, and of processor time as `12800%`.
const PID_WIDTH: usize = 7;
const MEMORY_WIDTH: usize = 5;
const CPU_WIDTH: usize = 6;
const USAGE_WIDTH: usize = PID_WIDTH + 1 + MEMORY_WIDTH + 1 + CPU_WIDTH;
/// Width of names before the timeline gets any.
const NAME_WIDTH: usize = 20;
/// Width below which that is halved.
const NARROW_WIDTH: usize = 45;
/// Minimum width of a timeline, and its width beside long reasons.
const MIN_TIMELINE_WIDTH: usize = 10;
const SHORT_TIMELINE_WIDTH: usize = 12;
/// Width of a list in which the resource usage of workers displaces nothing else.
pub(super) const WIDTH_WITH_USAGE: u16 = 106;

/// The width of each column; 0 if it is left out.
struct Columns {
    name: usize,
    tries: usize,
    /// The worker's resource usage.
    usage: usize,
    why: usize,
    timeline: usize,
}

impl Columns {
    /// The best layout for this width and this longest name. Long reasons get room at the cost of the timeline.
    /// Resource usage is shown if wanted, and if reasons keep enough room.
    fn of(room: usize, longest: usize, long_reasons: bool, usage_wanted: bool) -> Self {
        // The marker, and the state with the gap before it.
        let room = room.saturating_sub(2 + 1 + STATE_WIDTH);
        let least = longest.clamp(8, if room < NARROW_WIDTH { NAME_WIDTH / 2 } else { NAME_WIDTH });
        let mut columns = Self { name: 0, tries: 0, usage: 0, why: 0, timeline: 0 };
        let mut left = room.saturating_sub(least);
        let mut take = |wide: usize, gap: usize| {
            let fits = left >= wide + gap;
            left -= if fits { wide + gap } else { 0 };
            if fits { wide } else { 0 }
        };
        columns.why = take(WHY_WIDTH, 2);
        if columns.why == 0 {
            columns.why = take(NARROW_WHY_WIDTH, 2);
        }
        // The details have the number of attempts, too.
        let needs_room = long_reasons && room.saturating_sub(least) < ROOM_WITH_ATTEMPTS;
        columns.tries = if needs_room { 0 } else { take(ATTEMPTS_WIDTH, 1) };
        let more = WHY_WIDTH_WITH_USAGE.saturating_sub(columns.why);
        if usage_wanted && columns.why > 0 && left >= USAGE_WIDTH + 1 + more {
            columns.usage = USAGE_WIDTH;
            columns.why += more;
            left -= USAGE_WIDTH + 1 + more;
        }
        if long_reasons && columns.why > 0 {
            let timeline = if left >= SHORT_TIMELINE_WIDTH + 2 && !needs_room { SHORT_TIMELINE_WIDTH + 2 } else { 0 };
            let more = (left - timeline).min(MAX_WHY_WIDTH - columns.why);
            columns.why += more;
            left -= more;
        }
        if left >= MIN_TIMELINE_WIDTH + 2 {
            columns.timeline = Scale::new(left - 2, std::time::UNIX_EPOCH).columns;
            left -= columns.timeline + 2;
        }
        columns.name = least + left;
        columns
    }
}

/// Draws the visible part of the list, below its heading.
pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette, usage: bool) {
    let rows = model.rows();
    let grouped = model.order == Order::Site;
    let name = |worker: &WorkerReport| if grouped { format!("  {}", worker.task()) } else { worker.name() };
    let short = |worker: &WorkerReport, room| if grouped { cut(&name(worker), room) } else { cut_site(worker, room) };
    let longest = rows.iter().filter_map(|row| match row {
        Row::Worker(worker) => Some(width(&name(worker))),
        Row::Site(..) => None,
    });
    let is_long = |row: &Row<'_>| matches!(row, Row::Worker(worker) if width(&reason(worker)) > WHY_WIDTH);
    let columns = Columns::of(usize::from(area.width), longest.max().unwrap_or(0), rows.iter().any(is_long), usage);
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
                let is_selected = model.selected.as_ref() == Some(&worker.unit);
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
    let mut text = format!("  {} {}", fit("WORKER", columns.name), fit("  STATE", STATE_WIDTH));
    if columns.tries > 0 {
        text.push_str(&format!(" {}", fit_right("TRIES", columns.tries)));
    }
    if columns.usage > 0 {
        text.push_str(&usage_cells(&["PID", "MEM", "CPU"]));
    }
    match columns.why {
        0 => {}
        wide @ ..WHY_WIDTH => text.push_str(&format!("  {}", fit("UP OR WHY", wide))),
        wide => text.push_str(&format!("  {}", fit("UP FOR, OR WHY", wide))),
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
            None => "  paused until you resume it".to_owned(),
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
    let state = format!(" {} {}", sign(worker), fit(worker.phase.as_str(), STATE_WIDTH - 2));
    let mut line =
        Line::from_iter([Span::styled(fit(name, columns.name), palette.plain()), Span::styled(state, style)]);
    let mut cell = |text: String, style| line.push_span(Span::styled(text, style));
    if columns.tries > 0 {
        let tries = if worker.attempts > 0 { worker.attempts.to_string() } else { String::new() };
        cell(format!(" {}", fit_right(&tries, columns.tries)), palette.plain());
    }
    if columns.usage > 0 {
        let cells = model.usage_of(worker).map(Measurement::cells).unwrap_or_default();
        cell(usage_cells(&cells.each_ref().map(String::as_str)), palette.plain());
    }
    if columns.why > 0 {
        let is_well = worker.phase == Stage::Up && worker.reason.is_empty();
        let style = if is_well { palette.plain() } else { style };
        cell(format!("  {}", fit(&why(worker, model, clock), columns.why)), style);
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

/// PID, memory and CPU, each behind a gap.
fn usage_cells(cells: &[&str; 3]) -> String {
    let [pid, memory, cpu] = cells;
    let (pid, memory, cpu) = (fit_right(pid, PID_WIDTH), fit_right(memory, MEMORY_WIDTH), fit_right(cpu, CPU_WIDTH));
    format!(" {pid} {memory} {cpu}")
}

/// The sign of a state: its shape means the same as its colour.
fn sign(worker: &WorkerReport) -> &'static str {
    match worker.phase {
        _ if worker.on_purpose => "○",
        Stage::GaveUp => "✗",
        Stage::Unknown => "?",
        Stage::Up if worker.healthy => "●",
        Stage::Held | Stage::Up | Stage::Down if is_ill(worker) => "!",
        Stage::Waiting | Stage::Due | Stage::Starting | Stage::Proving | Stage::Changing => "◐",
        Stage::Up => "●",
        Stage::Held | Stage::Down | Stage::Stopped => "○",
    }
}

/// For how long it has been up; or what happens next, and why it is not up.
fn why(worker: &WorkerReport, model: &Model, clock: &Clock) -> String {
    let mut parts = Vec::new();
    parts.extend(worker.up_since.map(|since| clock.up_for(since)));
    match worker.phase {
        Stage::Waiting => parts.push(match model.retry_at(worker) {
            Some(at) if at > clock.now => format!("again in {}", clock.left(at)),
            _ => "again now".to_owned(),
        }),
        Stage::Due => parts.push("now".to_owned()),
        Stage::Up if model.pause_of(worker).is_some() => parts.push("paused".to_owned()),
        Stage::Up if !worker.reason.is_empty() => parts.push(worker.reason.clone()),
        _ => {}
    }
    let separator = if worker.phase == Stage::Up { ", " } else { "; " };
    let reason = reason(worker);
    parts.extend((!reason.is_empty()).then_some(reason));
    parts.join(separator)
}

/// The reason and the error of a worker that is not up. Earlier events of a worker that is down on purpose do not
/// matter.
fn reason(worker: &WorkerReport) -> String {
    if worker.phase == Stage::Up {
        return String::new();
    }
    let is_meant = worker.on_purpose || matches!(worker.phase, Stage::Stopped | Stage::Down);
    let error = if is_meant { "" } else { &worker.last_error };
    let parts: Vec<&str> = [worker.reason.as_str(), error].into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("; ")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_columns_give_way_before_names_and_reasons() {
        let of = |room: u16, longest| Columns::of(usize::from(room), longest, true, true);
        let enough = of(WIDTH_WITH_USAGE, 100);
        assert_eq!((enough.name, enough.tries, enough.usage), (NAME_WIDTH, ATTEMPTS_WIDTH, USAGE_WIDTH));
        assert_eq!((enough.why, enough.timeline), (WHY_WIDTH_WITH_USAGE, SHORT_TIMELINE_WIDTH));
        for room in 0..300 {
            let columns = of(room, 100);
            assert!(columns.usage == 0 || columns.why >= WHY_WIDTH_WITH_USAGE, "{room}: {}", columns.why);
            let without = Columns::of(usize::from(room), 100, true, false);
            assert!(columns.name >= without.name.min(NAME_WIDTH), "{room}: {}", columns.name);
        }
        assert_eq!(of(WIDTH_WITH_USAGE - 20, 100).usage, 0, "the names are long");
        assert_eq!(of(WIDTH_WITH_USAGE - 20, 8).usage, USAGE_WIDTH);
        assert_eq!(Columns::of(200, 8, true, false).usage, 0, "it is not wanted");
    }
}
