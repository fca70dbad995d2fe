//! The first lines: the number of workers by condition, and what applies to all of them.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::clock::Clock;
use super::palette::{Palette, cut, width, wrap};
use crate::api::PauseKind;
use crate::top::model::{DaemonLink, Mode, Model, Snapshot};
use crate::top::rows::{Order, Shown, weight};

/// Draws the first line.
pub(super) fn draw(frame: &mut Frame, area: Rect, model: &Model, palette: Palette) {
    let right = choices(model);
    let wide = u16::try_from(width(&right)).unwrap_or(u16::MAX).min(area.width);
    let room = usize::from(area.width - wide);
    let versioned = summary(model, palette, true);
    let line = if versioned.width() <= room { versioned } else { summary(model, palette, false) };
    frame.render_widget(shortened(line, room), area);
    let place = Rect { x: area.right() - wide, width: wide, ..area };
    frame.render_widget(Line::styled(right, palette.strong()), place);
}

/// The number of workers by condition, those that need attention first.
fn summary(model: &Model, palette: Palette, versioned: bool) -> Line<'static> {
    let mut line = Line::from(Span::styled(" workerheal", palette.strong()));
    let Some(Snapshot { status, .. }) = &model.snapshot else { return line };
    if versioned {
        line.push_span(Span::styled(format!(" {}", status.version), palette.faint()));
    }
    line.push_span(Span::raw(format!("  {} worker{}", status.workers, if status.workers == 1 { "" } else { "s" })));
    let dimmed = Palette { dimmed: model.daemon != DaemonLink::Up, ..palette };
    let mut counts: Vec<_> = status.counts.iter().collect();
    counts.sort_by_key(|(stage, _)| weight(**stage));
    for (number, (stage, count)) in counts.into_iter().enumerate() {
        line.push_span(Span::raw(if number == 0 { ": " } else { ", " }));
        line.push_span(Span::styled(format!("{count} {stage}"), dimmed.stage(*stage)));
    }
    line
}

/// Whether the last 24 hours have figures.
pub(super) fn has_figures(model: &Model) -> bool {
    model.snapshot.as_ref().is_some_and(|snapshot| !snapshot.workers.is_empty())
}

/// Draws the last 24 hours in figures.
pub(super) fn draw_figures(frame: &mut Frame, area: Rect, model: &Model, clock: &Clock, palette: Palette) {
    let Some(Snapshot { status, workers, .. }) = &model.snapshot else { return };
    let need_you = workers.iter().filter(|worker| worker.needs_you()).count();
    let room = usize::from(area.width).saturating_sub(2);
    let line = status.last_day.line(need_you, |time| clock.minute_of_day(time), room);
    let dimmed = Palette { dimmed: model.daemon != DaemonLink::Up, ..palette };
    let spans =
        [Span::styled(format!(" {}", line.figures), palette.faint()), Span::styled(line.need_you, dimmed.bad())];
    frame.render_widget(shortened(Line::from_iter(spans), usize::from(area.width)), area);
}

/// The line cut to this width.
fn shortened(mut line: Line<'static>, room: usize) -> Line<'static> {
    if line.width() > room {
        while line.width() + 1 > room && line.spans.len() > 1 {
            line.spans.pop();
        }
        line.push_span(Span::raw("…"));
    }
    line
}

/// The filters and the order, if they are not the usual ones.
fn choices(model: &Model) -> String {
    let is_typed = matches!(model.mode, Mode::Filter(_));
    let filter = Some(&model.filter).filter(|filter| !filter.is_empty() && !is_typed);
    let filter = filter.map(|filter| format!(" filter: {} ", cut(filter, 20)));
    let shown = (model.shown != Shown::All).then(|| format!(" only {} ", model.shown.words()));
    let order = (model.order != Order::default()).then(|| format!(" by {} ", model.order.words()));
    [filter, shown, order].into_iter().flatten().collect()
}

/// Maximum number of lines of a banner.
const MAX_BANNER_LINES: usize = 3;

/// A banner across the screen.
pub(super) struct Banner {
    text: String,
    alarming: bool,
}

/// What applies to all workers, in lines that fit.
pub(super) fn banners(model: &Model, clock: &Clock, area: Rect) -> Vec<Banner> {
    let room = usize::from(area.width).saturating_sub(2);
    let lines = said(model, clock).into_iter().flat_map(|Banner { text, alarming }| {
        let lines = wrap(&text, room).into_iter().take(MAX_BANNER_LINES);
        lines.map(move |text| Banner { text, alarming })
    });
    lines.take(usize::from(area.height / 3)).collect()
}

fn said(model: &Model, clock: &Clock) -> Vec<Banner> {
    let mut banners = Vec::new();
    let mut say = |alarming, text: String| banners.push(Banner { text, alarming });
    if let DaemonLink::Gone(why, since) = &model.daemon {
        let since = clock.time_of_day(*since);
        if model.snapshot.is_some() {
            say(
                true,
                format!("The daemon has not answered since {since}, and this is what it said then. Trying again."),
            );
        }
        say(true, sentence(why));
    }
    let Some(snapshot) = &model.snapshot else { return banners };
    let status = &snapshot.status;
    if model.daemon == DaemonLink::Up && !status.manager.reachable {
        say(true, format!("The service manager cannot be reached, nothing is healed: {}", status.manager.error));
    }
    if status.stop_marker {
        say(false, "Everything was stopped on purpose, nothing is healed.".to_owned());
    }
    if !status.config_error.is_empty() {
        say(true, format!("The configuration cannot be used, an earlier one is: {}", status.config_error));
    }
    if !status.registry.error.is_empty() {
        say(true, format!("The registry cannot be used, an earlier one is: {}", status.registry.error));
    }
    if let [first, more @ ..] = status.registry.warnings.as_slice() {
        let more =
            if more.is_empty() { String::new() } else { format!(" (and {} more: workerheal check)", more.len()) };
        say(false, format!("{first}{more}"));
    }
    if let Some(pause) = status.pauses.iter().find(|pause| pause.kind == PauseKind::Everything) {
        say(
            false,
            match model.ends_at(pause) {
                Some(end) => format!("You paused everything: nothing is healed for another {}.", clock.left(end)),
                None => "You paused everything: nothing is healed until you resume it.".to_owned(),
            },
        );
    }
    banners
}

/// Adds a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first: String = chars.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// Draws the banners.
pub(super) fn draw_banners(frame: &mut Frame, area: Rect, banners: &[Banner], palette: Palette) {
    for (banner, row) in banners.iter().zip(area.rows()) {
        let style = if banner.alarming { palette.alarm() } else { palette.busy() };
        frame.buffer_mut().set_style(row, style);
        let text = cut(&banner.text, usize::from(row.width).saturating_sub(2));
        frame.render_widget(Line::styled(format!(" {text}"), style), row);
    }
}
