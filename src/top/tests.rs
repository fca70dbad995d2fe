//! The effects of news and keys on the model.

mod measured;

use std::time::{Duration, Instant, SystemTime};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

use super::effect::{Effect, Target};
use super::model::{DaemonLink, Mode, Model, Pane, Snapshot};
use super::rows::{Order, Shown};
use crate::api::{DaemonStatus, ManagerStatus, PauseKind, PauseReport, RegistryStatus};
use crate::core::diagnosis::State;
use crate::core::event::{Event, Phase};
use crate::core::report::{Stage, WorkerReport};
use crate::core::units::UnitName;
use crate::manager::log::{Author, LogLine};
use crate::manager::{Scope, Usage};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-myapp";

fn snapshot(workers: Vec<WorkerReport>, pauses: Vec<PauseReport>) -> Snapshot {
    let status = DaemonStatus {
        version: String::new(),
        pid: 1,
        uptime: None,
        manager: ManagerStatus { scope: Scope::User, reachable: true, error: String::new() },
        registry: RegistryStatus {
            path: String::new(),
            sites: 1,
            read: None,
            warnings: Vec::new(),
            error: String::new(),
        },
        state: crate::api::StateStatus::default(),
        config: String::new(),
        config_error: String::new(),
        stop_marker: false,
        pauses,
        workers: workers.len(),
        counts: [].into(),
        last_day: crate::core::last_day::LastDay::default(),
    };
    Snapshot { at: NOW, status, workers }
}

/// With two workers, the first of which is selected.
fn model() -> Model {
    let mut model = Model::new();
    model.order = Order::Site;
    let workers = vec![WorkerReport::plain("queue", Stage::Up), WorkerReport::plain("vite", Stage::GaveUp)];
    model.learn(snapshot(workers, Vec::new()));
    model
}

fn press(model: &mut Model, key: KeyCode) -> Option<Effect> {
    model.press(KeyEvent::from(key))
}

fn letters(model: &mut Model, text: &str) -> Vec<Effect> {
    text.chars().filter_map(|letter| press(model, KeyCode::Char(letter))).collect()
}

fn unit(name: &str) -> Target {
    Target { name: format!("myapp/{name}"), targets: vec![format!("lerd-{name}-myapp")] }
}

#[test]
fn the_selection_stays_with_its_worker_and_within_the_list() {
    let mut model = model();
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(QUEUE));
    letters(&mut model, "kj");
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE));
    press(&mut model, KeyCode::Down);
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE));
    let mut workers = model.workers().to_vec();
    workers.insert(0, WorkerReport::plain("horizon", Stage::Up));
    model.learn(snapshot(workers, Vec::new()));
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE));
    model.learn(snapshot(vec![WorkerReport::plain("queue", Stage::Up)], Vec::new()));
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(QUEUE), "the other is gone");
    model.learn(snapshot(Vec::new(), Vec::new()));
    assert_eq!(model.selected, None);
    for key in ["j", "G", "e", "l", "h", "r", "p"] {
        letters(&mut model, key);
    }
    assert_eq!(press(&mut model, KeyCode::Char('h')), Some(Effect::Refuse("No worker is selected.".into())));
}

#[test]
fn the_first_is_selected_until_a_key_is_pressed() {
    let mut model = Model::new();
    let workers = |queue| vec![WorkerReport::plain("queue", queue), WorkerReport::plain("vite", Stage::Up)];
    model.learn(snapshot(workers(Stage::Up), Vec::new()));
    let vite_fails = vec![WorkerReport::plain("queue", Stage::Up), WorkerReport::plain("vite", Stage::GaveUp)];
    model.learn(snapshot(vite_fails, Vec::new()));
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE), "trouble is first");
    letters(&mut model, "e");
    model.learn(snapshot(workers(Stage::GaveUp), Vec::new()));
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE), "it is being read about");
}

#[test]
fn a_list_that_is_too_long_is_scrolled_so_that_the_selection_is_seen_below_its_site() {
    let mut model = Model::new();
    model.order = Order::Site;
    let workers = (0..20).map(|number| WorkerReport::plain(&format!("w{number:02}"), Stage::Up)).collect();
    model.learn(snapshot(workers, Vec::new()));
    model.settle(5, 0);
    assert_eq!(model.top, 0);
    press(&mut model, KeyCode::End);
    model.settle(5, 0);
    assert_eq!(model.top, 16, "of 21 rows the last 5");
    press(&mut model, KeyCode::PageUp);
    model.settle(5, 0);
    assert_eq!(model.top, 15);
    press(&mut model, KeyCode::Home);
    model.settle(5, 0);
    assert_eq!(model.top, 0, "the heading is seen too");
}

#[test]
fn the_selected_worker_is_healed_at_once_and_all_after_a_question() {
    let mut model = model();
    assert_eq!(letters(&mut model, "jhH"), [Effect::Heal(unit("vite")), Effect::Heal(Target::everything())]);
    let mut workers = model.workers().to_vec();
    workers[1].state = Some(State::Failed);
    model.learn(snapshot(workers, Vec::new()));
    assert_eq!(letters(&mut model, "H"), [], "it asks");
    assert_eq!(letters(&mut model, "n"), []);
    assert_eq!(model.mode, Mode::Commands);
    assert_eq!(letters(&mut model, "Hy"), [Effect::Heal(Target::everything())]);
    model.lost("it has ended".into(), NOW);
    let refused = Effect::Refuse("That needs the daemon, which does not answer.".into());
    assert_eq!(letters(&mut model, "hHprs"), vec![refused; 5]);
    assert_eq!(model.mode, Mode::Commands);
}

#[test]
fn a_worker_is_stopped_after_a_question() {
    let mut model = model();
    assert_eq!(letters(&mut model, "s"), [], "it asks");
    // Any other key means no, and nothing else.
    assert_eq!(letters(&mut model, "q"), []);
    assert_eq!(letters(&mut model, "sy"), [Effect::Stop(unit("queue"))]);
    letters(&mut model, "s");
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Effect::Stop(unit("queue"))));
    let stopped = vec![WorkerReport::plain("queue", Stage::Stopped)];
    model.learn(snapshot(stopped, Vec::new()));
    assert_eq!(letters(&mut model, "s"), [Effect::Refuse("myapp/queue is stopped already.".into())]);
}

#[test]
fn a_pause_of_everything_ends_after_a_question() {
    let mut model = model();
    let pause = PauseReport { kind: PauseKind::Everything, name: String::new(), ends_in: None, ends_at: None };
    model.learn(snapshot(model.workers().to_vec(), vec![pause]));
    assert_eq!(letters(&mut model, "r"), [], "it asks");
    assert_eq!(letters(&mut model, "n"), []);
    assert_eq!(letters(&mut model, "ry"), [Effect::Resume(Target::everything())]);
}

#[test]
fn a_click_selects_and_the_wheel_moves_the_selection_or_scrolls() {
    let mut model = model();
    model.list_at = Rect { x: 0, y: 2, width: 40, height: 8 };
    let mouse = |model: &mut Model, kind, row| {
        model.point(MouseEvent { kind, column: 3, row, modifiers: KeyModifiers::NONE });
    };
    let left = MouseEventKind::Down(MouseButton::Left);
    // The first row is the heading of the site.
    mouse(&mut model, left, 4);
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE));
    for row in [2, 5, 30] {
        mouse(&mut model, left, row);
        assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE), "there is no worker");
    }
    mouse(&mut model, MouseEventKind::ScrollUp, 4);
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(QUEUE));
    mouse(&mut model, MouseEventKind::ScrollDown, 4);
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE));

    letters(&mut model, "?");
    (model.pane_at, model.scroll_end) = (Rect { x: 0, y: 2, width: 40, height: 8 }, 20);
    mouse(&mut model, MouseEventKind::ScrollDown, 4);
    assert_eq!((model.scroll, model.selected.as_ref().map(UnitName::short)), (3, Some(VITE)));
    letters(&mut model, "?s");
    mouse(&mut model, left, 3);
    assert_eq!(model.selected.as_ref().map(UnitName::short), Some(VITE), "a question is answered with a key");
}

#[test]
fn workers_are_shown_by_their_state() {
    let mut model = model();
    letters(&mut model, "f");
    assert_eq!((model.rows().len(), model.selected.as_ref().map(UnitName::short)), (2, Some(VITE)));
    letters(&mut model, "f");
    assert_eq!((model.rows().len(), model.selected.as_ref().map(UnitName::short)), (0, None));
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.shown, model.selected.as_ref().map(UnitName::short)), (Shown::All, Some(QUEUE)));
}

#[test]
fn only_visible_workers_that_run_are_measured() {
    let mut model = model();
    assert_eq!(model.to_measure().map(UnitName::short), Some(QUEUE));
    let usage = Usage { pid: Some(42), ..Usage::default() };
    model.measure(QUEUE, usage, Instant::now());
    assert_eq!(model.usage().unwrap().words(), "PID 42");
    letters(&mut model, "e");
    assert_eq!(model.to_measure(), None, "its details are hidden");
    letters(&mut model, "ej");
    assert_eq!((model.to_measure(), model.usage()), (None, None), "it was given up");
    letters(&mut model, "k");
    model.lost("it has ended".into(), NOW);
    assert_eq!(model.to_measure(), None);
}

#[test]
fn the_target_and_duration_of_a_pause_are_chosen() {
    let mut model = model();
    letters(&mut model, "p");
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Effect::Pause(unit("queue"), None)));
    letters(&mut model, "pjj");
    press(&mut model, KeyCode::Tab);
    let hour = Some(Duration::from_secs(3600));
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Effect::Pause(Target::site("myapp"), hour)));
    letters(&mut model, "p");
    press(&mut model, KeyCode::BackTab);
    press(&mut model, KeyCode::Up);
    assert_eq!(press(&mut model, KeyCode::Enter), Some(Effect::Pause(Target::everything(), None)));
    letters(&mut model, "p");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.mode, Mode::Commands);
}

#[test]
fn resuming_ends_the_narrowest_pause_or_retries_a_given_up_worker() {
    let mut model = model();
    assert_eq!(letters(&mut model, "r"), [Effect::Refuse("myapp/queue is not paused.".into())]);
    assert_eq!(letters(&mut model, "jr"), [Effect::Resume(unit("vite"))]);
    let pause = |kind, name: &str| PauseReport { kind, name: name.into(), ends_in: None, ends_at: None };
    let mut pauses =
        vec![pause(PauseKind::Everything, ""), pause(PauseKind::Site, "myapp"), pause(PauseKind::Unit, QUEUE)];
    letters(&mut model, "k");
    for target in [unit("queue"), Target::site("myapp"), Target::everything()] {
        model.learn(snapshot(model.workers().to_vec(), pauses.clone()));
        let is_everything = target == Target::everything();
        let effects = letters(&mut model, if is_everything { "ry" } else { "r" });
        assert_eq!(effects, [Effect::Resume(target)]);
        pauses.pop();
    }
}

#[test]
fn a_filter_is_typed_kept_and_dropped() {
    let mut model = model();
    letters(&mut model, "/viq");
    press(&mut model, KeyCode::Backspace);
    assert_eq!((model.filter.as_str(), model.selected.as_ref().map(UnitName::short)), ("vi", Some(VITE)));
    press(&mut model, KeyCode::Enter);
    letters(&mut model, "/x");
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.filter.as_str(), &model.mode), ("vi", &Mode::Commands), "it is as it was before");
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.filter, "");
}

#[test]
fn panes_open_close_and_take_each_others_place() {
    let mut model = model();
    press(&mut model, KeyCode::Enter);
    assert_eq!(model.pane, Pane::Explanation);
    letters(&mut model, "e");
    assert_eq!(model.pane, Pane::None);
    assert_eq!(letters(&mut model, "el"), [Effect::Follow(UnitName::parse(QUEUE).unwrap())]);
    assert!(model.log.is_some());
    letters(&mut model, "?");
    assert_eq!((model.pane, model.log.is_some()), (Pane::Help, false));
    letters(&mut model, "/");
    assert_eq!(model.pane, Pane::None, "what is filtered is to be seen");
}

#[test]
fn a_log_is_scrolled_from_its_end_and_stands_still_while_it_is() {
    let mut model = model();
    letters(&mut model, "l");
    let line = || LogLine { time: None, author: Author::Worker, text: "a line".into() };
    (0..100).for_each(|_| model.logged(line()));
    model.settle(10, 90);
    letters(&mut model, "kk");
    model.logged(line());
    assert_eq!(model.scroll, 3);
    letters(&mut model, "g");
    assert_eq!(model.scroll, 90);
    letters(&mut model, "G");
    assert_eq!(model.scroll, 0);
    (0..2000).for_each(|_| model.logged(line()));
    assert_eq!(model.log.unwrap().lines.len(), 1000);
}

#[test]
fn keys_with_control_and_those_right_after_esc() {
    let mut model = model();
    let mut with = |modifiers, letter| model.press(KeyEvent::new(KeyCode::Char(letter), modifiers));
    assert_eq!(with(KeyModifiers::CONTROL, 'c'), Some(Effect::Quit));
    assert_eq!(with(KeyModifiers::CONTROL, 'z'), Some(Effect::Suspend));
    assert_eq!(with(KeyModifiers::CONTROL, 'l'), Some(Effect::Repaint));
    assert_eq!(with(KeyModifiers::CONTROL, 'h'), None);
    letters(&mut model, "?");
    model.press(KeyEvent::new(KeyCode::Char('o'), KeyModifiers::ALT));
    assert_eq!((model.pane, model.order), (Pane::None, Order::Uptime));
    assert_eq!(letters(&mut model, "q"), [Effect::Quit]);
}

#[test]
fn past_events_are_kept_up_to_a_limit() {
    let mut model = model();
    for _ in 0..2000 {
        model.happened(Event {
            unit: UnitName::parse("a-stranger").ok(),
            time: Some(NOW),
            ..Event::new(Phase::Healed)
        });
    }
    assert_eq!(model.events.len(), 1000);
    model.learn(snapshot(model.workers().to_vec(), Vec::new()));
    assert_eq!(model.histories.len(), 2, "strangers are forgotten");
}

#[test]
fn a_daemon_is_gone_since_it_was_first_missed() {
    let mut model = model();
    model.lost("one".into(), NOW);
    model.lost("two".into(), NOW + Duration::from_secs(1));
    assert_eq!(model.daemon, DaemonLink::Gone("two".into(), NOW));
    model.learn(snapshot(model.workers().to_vec(), Vec::new()));
    assert_eq!(model.daemon, DaemonLink::Up);
    assert_eq!(model.notice.unwrap().text, "The daemon answers again.");
}
