//! The effects of the mouse: a click selects, the wheel moves the selection or scrolls the pane. Pure.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;

use super::model::{Mode, Model, Pane};
use super::rows::Row;

/// Lines of a pane for each step of the wheel.
const WHEEL_LINES: isize = 3;

impl Model {
    /// Handles a click or a step of the wheel. Questions and menus are answered with keys.
    pub fn point(&mut self, event: MouseEvent) {
        if !matches!(self.mode, Mode::Commands | Mode::Filter(_)) {
            return;
        }
        let at = Position { x: event.column, y: event.row };
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => self.click(at),
            MouseEventKind::ScrollDown => self.turn(at, 1),
            MouseEventKind::ScrollUp => self.turn(at, -1),
            _ => return,
        }
        self.touched = true;
    }

    fn click(&mut self, at: Position) {
        if self.list_at.contains(at) {
            let row = self.top + usize::from(at.y - self.list_at.y);
            let unit = self.rows().get(row).and_then(Row::unit).map(ToOwned::to_owned);
            self.selected = unit.or_else(|| self.selected.take());
        }
    }

    fn turn(&mut self, at: Position, by: isize) {
        if self.pane != Pane::None && self.pane_at.contains(at) {
            self.scroll_by(by * WHEEL_LINES);
        } else if self.list_at.contains(at) {
            self.select(by);
        }
    }
}
