//! Draws a [`Model`]. Pure: the result depends on nothing else but the time.

mod clock;
mod detail;
mod explanation;
mod footer;
mod list;
mod menu;
mod palette;
mod pane;
mod title;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Text};

pub(super) use clock::Clock;
pub(super) use palette::Palette;

use super::model::{DaemonLink, Mode, Model, Pane};

/// Minimum size of the screen.
const MIN_SIZE: (u16, u16) = (40, 10);
/// Width from which on the details are beside the list.
const WIDE_COLUMNS: u16 = 120;
/// Width from which on the list shows the resource usage of each worker.
const WIDE_WITH_USAGE_COLUMNS: u16 = 160;

/// Height from which on the last 24 hours have a line.
const MIN_ROWS_WITH_FIGURES: u16 = 16;

/// The areas of the screen.
struct Places {
    title: Rect,
    last_day: Rect,
    banners: Rect,
    list: Rect,
    detail: Rect,
    events: Rect,
    pane: Rect,
    notice: Rect,
    keys: Rect,
}

impl Places {
    fn of(area: Rect, banners: usize, model: &Model) -> Self {
        let banners = u16::try_from(banners).unwrap_or(0);
        let notice = footer::notice_lines(model, area.width).len();
        let notice = u16::try_from(notice).unwrap_or(0);
        let last_day = u16::from(area.height >= MIN_ROWS_WITH_FIGURES && title::has_figures(model));
        let [title, last_day, banners, body, notice, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(last_day),
            Constraint::Length(banners),
            Constraint::Fill(1),
            Constraint::Length(notice),
            Constraint::Length(1),
        ])
        .areas(area);
        let nowhere = Rect { width: 0, height: 0, ..body };
        let places = Self {
            title,
            last_day,
            banners,
            list: body,
            detail: nowhere,
            events: nowhere,
            pane: nowhere,
            notice,
            keys,
        };
        let is_open = model.pane != Pane::None;
        // The lines of a log are long.
        if body.width >= WIDE_COLUMNS && model.pane != Pane::Log {
            let right = body.width * 2 / 5;
            let right = if lists_usage(body.width, model) {
                right.min(body.width.saturating_sub(list::WIDTH_WITH_USAGE + 2))
            } else {
                right
            };
            let [list, _, right] =
                Layout::horizontal([Constraint::Fill(1), Constraint::Length(2), Constraint::Length(right)]).areas(body);
            // The events get the rows that a short list leaves.
            let rows = u16::try_from(model.rows().len()).unwrap_or(u16::MAX);
            let most = list.height - list.height.saturating_sub(8).min(list.height / 4);
            let wanted = rows.saturating_add(2).clamp(3, most.max(3));
            let [list, events] = Layout::vertical([Constraint::Length(wanted), Constraint::Fill(1)]).areas(list);
            return if is_open {
                Self { list, events, pane: right, ..places }
            } else {
                Self { list, events, detail: right, ..places }
            };
        }
        if is_open {
            return Self { list: nowhere, pane: body, ..places };
        }
        // As without a notice, so that the list does not move.
        let height = body.height + notice.height;
        let (detail, events) = match height {
            ..10 => (0, 0),
            10..16 => (4, 0),
            16..30 => (5, 5),
            _ => (6, height / 4),
        };
        let [list, detail, events] = Layout::vertical([
            Constraint::Length(height - detail - events),
            Constraint::Length(detail),
            Constraint::Fill(1),
        ])
        .areas(body);
        Self { list, detail, events, ..places }
    }
}

/// Whether the list shows the resource usage of each worker, on a screen of this width.
fn lists_usage(width: u16, model: &Model) -> bool {
    width >= WIDE_WITH_USAGE_COLUMNS && model.measured.are_counted()
}

/// Fits the model to a screen of this size, so that the selection is visible.
pub(super) fn settle(area: Rect, model: &mut Model, clock: &Clock, palette: Palette) {
    let places = Places::of(area, title::banners(model, clock, area).len(), model);
    let page = match model.pane {
        Pane::None => places.list.height.saturating_sub(1),
        _ if places.list.height > 0 => places.list.height.saturating_sub(1),
        _ => places.pane.height.saturating_sub(1),
    };
    let scroll_end = pane::scroll_end(places.pane, model, clock, palette);
    let Rect { y, height, .. } = places.list;
    model.list_at = Rect { y: y.saturating_add(1), height: height.saturating_sub(1), ..places.list };
    model.pane_at = places.pane;
    model.measures_list = area.width >= WIDE_WITH_USAGE_COLUMNS && model.list_at.height > 0;
    model.settle(usize::from(page), scroll_end);
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame, model: &Model, clock: &Clock, palette: Palette) {
    let area = frame.area();
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        let text =
            format!("{}x{} is too small: make it at least {}x{}", area.width, area.height, MIN_SIZE.0, MIN_SIZE.1);
        let lines: Vec<Line> = palette::wrap(&text, usize::from(area.width)).into_iter().map(Line::raw).collect();
        frame.render_widget(Text::from(lines), area);
        return;
    }
    let banners = title::banners(model, clock, area);
    let places = Places::of(area, banners.len(), model);
    title::draw(frame, places.title, model, palette);
    title::draw_figures(frame, places.last_day, model, clock, palette);
    title::draw_banners(frame, places.banners, &banners, palette);
    let old = Palette { dimmed: model.daemon != DaemonLink::Up, ..palette };
    // Outdated values do not change with time.
    let stopped = match model.daemon {
        DaemonLink::Gone(_, since) => Some(clock.stopped_at(since)),
        DaemonLink::Trying | DaemonLink::Up => None,
    };
    let then = stopped.as_ref().unwrap_or(clock);
    if model.rows().is_empty() {
        nothing(frame, places.list, model, palette);
    } else {
        list::draw(frame, places.list, model, then, old, lists_usage(area.width, model));
    }
    detail::draw(frame, places.detail, model, then, old, area.width >= WIDE_COLUMNS);
    detail::events(frame, places.events, model, clock, old);
    pane::draw(frame, places.pane, model, clock, palette);
    footer::notice(frame, places.notice, model, clock, palette);
    footer::keys(frame, places.keys, model, palette);
    match &model.mode {
        Mode::Pause(choice) => menu::draw(frame, area, choice, palette),
        Mode::Confirm(question) => menu::draw_question(frame, area, question, palette),
        Mode::Commands | Mode::Filter(_) => {}
    }
}

/// Says why there is no list.
fn nothing(frame: &mut Frame, area: Rect, model: &Model, palette: Palette) {
    let text = match (&model.snapshot, &model.daemon) {
        (None, DaemonLink::Trying | DaemonLink::Up) => "Asking the daemon …".to_owned(),
        (None, DaemonLink::Gone(..)) => "Trying again; the workers appear here as soon as it answers.".to_owned(),
        (Some(snapshot), _) if snapshot.workers.is_empty() => {
            format!("No workers found in {}; see `workerheal check`.", snapshot.status.config)
        }
        (Some(_), _) if model.filter.is_empty() => format!("No worker is {}; Esc shows all.", model.shown.words()),
        (Some(_), _) => format!("No worker matches \"{}\"; Esc shows all.", model.filter),
    };
    let lines = palette::wrap(&text, usize::from(area.width.saturating_sub(4)));
    for (line, row) in lines.into_iter().zip(area.rows().skip(1)) {
        frame.render_widget(Line::styled(format!("  {line}"), palette.faint()), row);
    }
}

#[cfg(test)]
mod tests;
