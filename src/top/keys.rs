//! The effects of keys. Pure.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::effect::{Effect, Target};
use super::menu::{PauseMenu, Question};
use super::model::{DaemonLink, FollowedLog, Mode, Model, Pane};
use super::rows::Shown;
use crate::api::PauseKind;
use crate::core::report::{Stage, WorkerReport};

impl Model {
    /// Handles a key.
    pub fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        self.touched = true;
        if key.modifiers.contains(KeyModifiers::ALT) {
            // Terminals send Alt like Esc and a key right after it.
            self.press(KeyEvent::from(KeyCode::Esc));
            return self.press(KeyEvent { modifiers: key.modifiers - KeyModifiers::ALT, ..key });
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Effect::Quit),
                KeyCode::Char('z') => Some(Effect::Suspend),
                KeyCode::Char('l') => Some(Effect::Repaint),
                _ => None,
            };
        }
        match &self.mode {
            Mode::Filter(before) => {
                let before = before.clone();
                self.type_filter(key.code, before);
                None
            }
            Mode::Pause(menu) => {
                let menu = menu.clone();
                self.choose_pause(key.code, menu)
            }
            Mode::Confirm(question) => {
                let effect = question.effect.clone();
                self.answer_with(key.code, effect)
            }
            Mode::Commands => self.command(key.code),
        }
    }

    fn type_filter(&mut self, key: KeyCode, before: String) {
        match key {
            KeyCode::Char(c) => self.filter.push(c),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.mode = Mode::Commands,
            KeyCode::Esc => {
                self.filter = before;
                self.mode = Mode::Commands;
            }
            KeyCode::Down => self.select(1),
            KeyCode::Up => self.select(-1),
            _ => {}
        }
        self.keep_selection();
    }

    fn choose_pause(&mut self, key: KeyCode, mut menu: PauseMenu) -> Option<Effect> {
        match key {
            KeyCode::Esc | KeyCode::Char('q' | 'p') => {
                self.mode = Mode::Commands;
                return None;
            }
            KeyCode::Enter => {
                self.mode = Mode::Commands;
                let (target, time) = menu.chosen();
                return Some(Effect::Pause(target, time));
            }
            KeyCode::Down | KeyCode::Char('j') => menu.lengthen(true),
            KeyCode::Up | KeyCode::Char('k') => menu.lengthen(false),
            KeyCode::Tab | KeyCode::Right | KeyCode::Char('l') => menu.turn(true),
            KeyCode::BackTab | KeyCode::Left | KeyCode::Char('h') => menu.turn(false),
            _ => {}
        }
        self.mode = Mode::Pause(menu);
        None
    }

    /// Anything but yes is no.
    fn answer_with(&mut self, key: KeyCode, effect: Effect) -> Option<Effect> {
        self.mode = Mode::Commands;
        matches!(key, KeyCode::Char('y' | 'Y') | KeyCode::Enter).then_some(effect)
    }

    fn command(&mut self, key: KeyCode) -> Option<Effect> {
        match key {
            KeyCode::Char('q') => return Some(Effect::Quit),
            KeyCode::Esc => self.back(),
            KeyCode::Char('?') => return self.open(Pane::Help),
            KeyCode::Enter | KeyCode::Char('e') => return self.open(Pane::Explanation),
            KeyCode::Char('l') => return self.open(Pane::Log),
            KeyCode::Char('/') => {
                self.close();
                self.mode = Mode::Filter(self.filter.clone());
            }
            KeyCode::Char('o') => {
                self.order = self.order.next();
                self.top = 0;
            }
            KeyCode::Char('f') => {
                self.shown = self.shown.next();
                self.top = 0;
                self.keep_selection();
            }
            KeyCode::Char('s') => return self.ask_to_stop(),
            KeyCode::Char('h') => {
                return Some(self.at_hand().map_or_else(|why| why, |worker| Effect::Heal(Target::worker(worker))));
            }
            KeyCode::Char('H') => return self.ask_to_heal_all(),
            KeyCode::Char('p') => return self.open_pause_menu(),
            KeyCode::Char('r') => return self.ask_to_resume(),
            key => return self.go(key),
        }
        None
    }

    /// Moves the selection; in a pane, scrolls.
    fn go(&mut self, key: KeyCode) -> Option<Effect> {
        let page = isize::try_from(self.page).unwrap_or(1);
        let by = match key {
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::PageDown | KeyCode::Char(' ') => page,
            KeyCode::PageUp => -page,
            KeyCode::Home | KeyCode::Char('g') => isize::MIN,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            _ => return None,
        };
        match self.pane {
            Pane::None => self.select(by),
            Pane::Log | Pane::Explanation | Pane::Help => self.scroll_by(by),
        }
        None
    }

    /// Scrolls the pane.
    pub(super) fn scroll_by(&mut self, lines: isize) {
        // A log is scrolled from its end.
        let by = if self.pane == Pane::Log { lines.saturating_neg() } else { lines };
        self.scroll = self.scroll.saturating_add_signed(by).min(self.scroll_end);
    }

    /// Closes what is open; if nothing is, shows all workers.
    fn back(&mut self) {
        if self.pane == Pane::None {
            self.filter.clear();
            self.shown = Shown::All;
            self.keep_selection();
        }
        self.close();
    }

    fn close(&mut self) {
        (self.pane, self.scroll, self.log) = (Pane::None, 0, None);
    }

    /// Toggles a pane.
    fn open(&mut self, pane: Pane) -> Option<Effect> {
        let was = self.pane;
        self.close();
        if was == pane {
            return None;
        }
        if pane == Pane::Help {
            self.pane = pane;
            return None;
        }
        let Some(worker) = self.selected() else { return Some(nothing_selected()) };
        let unit = worker.unit.clone();
        self.pane = pane;
        if pane != Pane::Log {
            return None;
        }
        self.log = Some(FollowedLog { unit: unit.clone(), lines: VecDeque::new(), error: None });
        Some(Effect::Follow(unit))
    }

    fn open_pause_menu(&mut self) -> Option<Effect> {
        match self.at_hand().map(PauseMenu::about) {
            Ok(menu) => {
                self.mode = Mode::Pause(menu);
                None
            }
            Err(why) => Some(why),
        }
    }

    fn ask_to_stop(&mut self) -> Option<Effect> {
        match self.at_hand() {
            Ok(worker) if worker.phase == Stage::Stopped => {
                Some(Effect::Refuse(format!("{} is stopped already.", worker.name())))
            }
            Ok(worker) => {
                self.mode = Mode::Confirm(Question::stop(worker));
                None
            }
            Err(why) => Some(why),
        }
    }

    /// Asks first, as that touches many. The daemon says why there is nothing to heal.
    fn ask_to_heal_all(&mut self) -> Option<Effect> {
        if let Some(why) = self.refused() {
            return Some(why);
        }
        match self.unhealthy_count() {
            0 => Some(Effect::Heal(Target::everything())),
            count => {
                self.mode = Mode::Confirm(Question::heal_all(count));
                None
            }
        }
    }

    /// Asks first before it ends a pause of everything, of which the selected worker is only one.
    fn ask_to_resume(&mut self) -> Option<Effect> {
        match self.resume() {
            Effect::Resume(target) if target == Target::everything() => {
                self.mode = Mode::Confirm(Question::resume_all());
                None
            }
            effect => Some(effect),
        }
    }

    /// Ends the narrowest pause of the selected worker; without one, tries the worker again.
    fn resume(&self) -> Effect {
        let worker = match self.at_hand() {
            Ok(worker) => worker,
            Err(why) => return why,
        };
        Effect::Resume(match self.pause_of(worker).map(|pause| pause.kind) {
            Some(PauseKind::Everything) => Target::everything(),
            Some(PauseKind::Site) => Target::site(&worker.site),
            Some(PauseKind::Unit) => Target::worker(worker),
            None if worker.phase == Stage::GaveUp => Target::worker(worker),
            None => return Effect::Refuse(format!("{} is not paused.", worker.name())),
        })
    }

    /// The selected worker as the target of an action.
    fn at_hand(&self) -> Result<&WorkerReport, Effect> {
        match self.refused() {
            Some(why) => Err(why),
            None => self.selected().ok_or_else(nothing_selected),
        }
    }

    /// Why actions are impossible now, if they are.
    fn refused(&self) -> Option<Effect> {
        let why = "That needs the daemon, which does not answer.";
        (self.daemon != DaemonLink::Up).then(|| Effect::Refuse(why.to_owned()))
    }
}

fn nothing_selected() -> Effect {
    Effect::Refuse("No worker is selected.".to_owned())
}
