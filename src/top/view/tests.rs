//! Snapshots of the screen in each state, drawn at a fixed time.

mod usage;

use std::time::{Duration, SystemTime};

use crossterm::event::{KeyCode, KeyEvent};
use insta::{Settings, assert_snapshot};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::api::{DaemonStatus, Explained, ManagerStatus, PauseKind, PauseReport, RegistryStatus};
use crate::core::diagnosis::State;
use crate::core::event::{Event, Phase};
use crate::core::explain::{Explanation, Line as Rule, Mark};
use crate::core::last_day::LastDay;
use crate::core::report::{Stage, WorkerReport};
use crate::core::units::UnitName;
use crate::manager::Scope;
use crate::manager::log::{Author, LogLine};
use crate::top::model::{Answer, Snapshot, Tone};

/// 2026-11-25 09:41:07.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_599_667)
}

fn ago(minutes: u64) -> SystemTime {
    now() - Duration::from_secs(60 * minutes)
}

fn time_of_day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()[11..19].to_owned()
}

fn worker(site: &str, worker: &str, phase: Stage) -> WorkerReport {
    let up_since = (phase == Stage::Up).then(|| ago(185));
    WorkerReport {
        site: site.into(),
        unit: UnitName::parse(&format!("lerd-{worker}-{site}")).unwrap(),
        up_since,
        ..WorkerReport::plain(worker, phase)
    }
}

/// Five sites without problems.
fn well() -> Vec<WorkerReport> {
    let sites = ["blog", "docs", "myapp", "shop"];
    let workers = ["horizon", "queue", "scheduler", "vite"];
    let mut all: Vec<_> = sites.iter().flat_map(|site| workers.map(|it| worker(site, it, Stage::Up))).collect();
    all.push(worker("the-shop-of-a-customer-with-a-long-name", "queue", Stage::Up));
    let wide = WorkerReport { site: "商店".into(), worker: "工作队列".into(), ..worker("cn", "jobs", Stage::Up) };
    all.push(wide);
    all
}

fn status(workers: &[WorkerReport]) -> DaemonStatus {
    let mut counts = std::collections::BTreeMap::new();
    for worker in workers {
        *counts.entry(worker.phase).or_default() += 1;
    }
    DaemonStatus {
        version: "1.2.3".into(),
        pid: 1,
        uptime: Some(Duration::from_secs(3 * 3600)),
        manager: ManagerStatus { scope: Scope::User, reachable: true, error: String::new() },
        registry: RegistryStatus {
            path: String::new(),
            sites: 6,
            read: None,
            warnings: Vec::new(),
            error: String::new(),
        },
        state: crate::api::StateStatus::default(),
        config: "~/.config/workerheal/config.yaml".into(),
        config_error: String::new(),
        stop_marker: false,
        pauses: Vec::new(),
        workers: workers.len(),
        counts,
        last_day: LastDay { since: Some(ago(185)), ..LastDay::default() },
    }
}

fn event(phase: Phase, unit: &str, time: SystemTime) -> Event {
    Event { unit: UnitName::parse(unit).ok(), time: Some(time), ..Event::new(phase) }
}

/// A model with these reports.
fn model(workers: Vec<WorkerReport>, events: Vec<Event>) -> Model {
    let mut model = Model::new();
    model.found(Some(Duration::from_secs(3 * 3600)), now());
    for event in events {
        model.happened(event);
    }
    model.learn(Snapshot { at: now(), status: status(&workers), workers });
    model
}

const FAILING: &str = "lerd-queue-shop";
const ERROR: &str = "RedisException: Connection refused [tcp://127.0.0.1:6379]";

/// One worker for each kind of attention: waiting, held, given up, being healed.
fn trouble() -> Model {
    let mut workers = well();
    let mut change = |unit: &str, to: WorkerReport| {
        let worker = workers.iter_mut().find(|worker| worker.unit == unit).unwrap();
        *worker = WorkerReport {
            site: worker.site.clone(),
            worker: worker.worker.clone(),
            unit: worker.unit.clone(),
            healthy: false,
            up_since: None,
            ..to
        };
    };
    let plain = |phase| WorkerReport::plain("", phase);
    change(
        FAILING,
        WorkerReport {
            state: Some(State::Failed),
            attempts: 3,
            retry_in: Some(Duration::from_millis(11_500)),
            last_error: format!("exited right after starting: {ERROR}"),
            ..plain(Stage::Waiting)
        },
    );
    change(
        "lerd-vite-shop",
        WorkerReport {
            state: Some(State::StartLimitHit),
            attempts: 10,
            reason: "10 attempts failed".into(),
            last_error: "exit-code".into(),
            ..plain(Stage::GaveUp)
        },
    );
    change(
        "lerd-horizon-blog",
        WorkerReport {
            state: Some(State::Failed),
            on_purpose: true,
            reason: "you paused the site blog".into(),
            since: Some(ago(9)),
            retry_in: Some(Duration::from_secs(28 * 60)),
            ..plain(Stage::Held)
        },
    );
    change("lerd-scheduler-docs", WorkerReport { attempts: 1, ..plain(Stage::Starting) });
    let stopped = WorkerReport { reason: "you stopped it".into(), ..plain(Stage::Stopped) };
    change("lerd-vite-docs", stopped);
    let down = WorkerReport { reason: "nothing says that it should be up".into(), ..plain(Stage::Down) };
    change("lerd-horizon-docs", down);
    let scheduled = |attempt, error: &str, wait, time| {
        [
            Event { attempt: Some(attempt), error: error.into(), ..event(Phase::Failed, FAILING, time) },
            Event { retry_in: Some(Duration::from_secs(wait)), ..event(Phase::Scheduled, FAILING, time) },
        ]
    };
    let mut events = vec![
        event(Phase::Detected, "lerd-vite-shop", ago(48)),
        event(Phase::GaveUp, "lerd-vite-shop", ago(31)),
        event(Phase::Detected, "lerd-queue-myapp", ago(20)),
        event(Phase::Starting, "lerd-queue-myapp", ago(20)),
        event(Phase::Healed, "lerd-queue-myapp", ago(19)),
        event(Phase::Detected, "lerd-horizon-blog", ago(9)),
        event(Phase::Detected, FAILING, ago(2)),
        event(Phase::Starting, FAILING, ago(2)),
    ];
    events[1].reason = "10 attempts failed".into();
    for event in events.iter_mut().filter(|event| event.phase == Phase::Detected) {
        event.reason = "failed".into();
    }
    events.extend(scheduled(1, ERROR, 30, ago(2)));
    events.push(Event { attempt: Some(2), ..event(Phase::Starting, FAILING, ago(1)) });
    events.extend(scheduled(2, ERROR, 60, ago(1)));
    events.push(Event { reason: "failed".into(), ..event(Phase::Detected, "lerd-scheduler-docs", now()) });
    events.push(event(Phase::Starting, "lerd-scheduler-docs", now()));
    let mut model = model(workers, events);
    let last_day = &mut model.snapshot.as_mut().unwrap().status.last_day;
    (last_day.failures, last_day.healed) = (5, 1);
    last_day.median_downtime = Some(Duration::from_millis(1200));
    let pause = PauseReport {
        kind: PauseKind::Site,
        name: "blog".into(),
        ends_in: Some(Duration::from_secs(28 * 60)),
        ends_at: None,
    };
    model.snapshot.as_mut().unwrap().status.pauses.push(pause);
    model.selected = Some(UnitName::parse(FAILING).unwrap());
    model
}

fn explained() -> Answer {
    let line = |mark, says: &str, evidence: &str| Rule { mark, says: says.into(), evidence: evidence.into() };
    let explanation = Explanation {
        site: "shop".into(),
        worker: "queue".into(),
        worktree: None,
        unit: UnitName::parse(FAILING).unwrap(),
        state: Some(State::Failed),
        summary: "shop/queue has failed, and is tried again in 12s.".into(),
        chain: vec![
            line(Mark::Finding, "its unit is lerd-queue-shop", "site shop in ~/.local/share/lerd/sites.yaml:3"),
            line(Mark::Finding, "it failed 2m ago: it ended with an error", "09:39:07 UTC, Result=exit-code"),
            line(Mark::Passes, "it was not stopped on purpose", "no stop in the journal of its last run, 356518d6"),
            line(Mark::Decides, "the next attempt is due in 12s", "2 attempts have failed"),
        ],
        change: vec!["try it now, without waiting: workerheal heal shop/queue".into()],
        log: "journalctl --user -u lerd-queue-shop".into(),
    };
    let says = Explained { explanation, last_words: Some(ERROR.into()), text: String::new() };
    Answer { unit: UnitName::parse(FAILING).unwrap(), at: now() - Duration::from_secs(3), says: Ok(Box::new(says)) }
}

fn press(model: &mut Model, keys: &[KeyCode]) {
    for key in keys {
        model.press(KeyEvent::from(*key));
    }
}

/// The screen as text, and when it changes by itself.
fn screen(model: &mut Model, columns: u16, rows: u16) -> (String, Option<SystemTime>) {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    let clock = Clock::new(now(), time_of_day);
    let palette = Palette { colored: true, dimmed: false };
    terminal
        .draw(|frame| {
            settle(frame.area(), model, &clock, palette);
            draw(frame, model, &clock, palette);
        })
        .unwrap();
    (text(terminal.backend()), clock.next())
}

fn text(backend: &TestBackend) -> String {
    let buffer = backend.buffer();
    let rows = buffer.content().chunks(usize::from(buffer.area.width));
    let lines = rows.map(|cells| {
        let mut line = String::new();
        // Nothing is drawn in the cell after a wide character.
        let mut hidden = 0;
        for cell in cells {
            if hidden == 0 {
                line.push_str(cell.symbol());
            }
            hidden = palette::width(cell.symbol()).max(hidden).saturating_sub(1);
        }
        format!("{}\n", line.trim_end())
    });
    lines.collect()
}

/// Compares with the snapshot of this name.
fn see(name: &str, model: &mut Model, columns: u16, rows: u16) {
    let (text, _) = screen(model, columns, rows);
    for line in text.lines() {
        assert!(palette::width(line) <= usize::from(columns), "{name}: {line}");
    }
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(name, text));
}

#[test]
fn all_well_is_seen() {
    see("all_well_60x24", &mut model(well(), Vec::new()), 60, 24);
    see("all_well_120x30", &mut model(well(), Vec::new()), 120, 30);
    see("all_well_80x24", &mut model(well(), Vec::new()), 80, 24);
    see("all_well_200x60", &mut model(well(), Vec::new()), 200, 60);
}

#[test]
fn each_trouble_is_seen() {
    see("trouble_80x24", &mut trouble(), 80, 24);
    see("trouble_60x24", &mut trouble(), 60, 24);
    see("trouble_120x30", &mut trouble(), 120, 30);
    let mut model = trouble();
    model.explained = Some(explained());
    see("trouble_200x60", &mut model, 200, 60);
    see("trouble_160x50", &mut model, 160, 50);
    press(&mut model, &[KeyCode::Char('o')]);
    see("trouble_by_site_100x30", &mut model, 100, 30);
    see("trouble_40x10", &mut model, 40, 10);
    see("too_small", &mut model, 39, 9);
}

#[test]
fn only_workers_in_some_states_are_seen() {
    let mut model = trouble();
    press(&mut model, &[KeyCode::Char('f')]);
    see("unhealthy_60x24", &mut model, 60, 24);
    press(&mut model, &[KeyCode::Char('f')]);
    see("on_purpose_120x30", &mut model, 120, 30);
    let mut model = self::model(well(), Vec::new());
    press(&mut model, &[KeyCode::Char('f')]);
    see("none_unhealthy", &mut model, 80, 24);
}

#[test]
fn held_and_given_up_workers_show_the_reason() {
    for (name, unit) in [("held", "lerd-horizon-blog"), ("given_up", "lerd-vite-shop"), ("stopped", "lerd-vite-docs")] {
        let mut model = trouble();
        model.selected = Some(UnitName::parse(unit).unwrap());
        see(name, &mut model, 80, 24);
    }
}

#[test]
fn panes_open_instead_of_the_overview_or_beside_it() {
    let mut model = trouble();
    press(&mut model, &[KeyCode::Char('e')]);
    see("explanation_asked", &mut model, 80, 24);

    press(&mut model, &[KeyCode::Char('l')]);
    see("log_begins", &mut model, 80, 24);
    for number in 0..40 {
        let author = [Author::Worker, Author::Manager, Author::Workerheal][number % 3];
        let text = format!("line {number} of what it has logged, which may be long and is broken where it has to be");
        model.logged(LogLine { time: Some(now()), author, text });
    }
    see("log", &mut model, 80, 24);
    press(&mut model, &[KeyCode::Up, KeyCode::Up]);
    see("log_scrolled", &mut model, 80, 24);
    see("log_160x50", &mut model, 160, 50);
}

#[test]
fn panes_fit_screens_from_narrow_to_wide() {
    for (columns, rows) in [(40, 12), (60, 24), (80, 24), (120, 30), (200, 60)] {
        let mut model = trouble();
        press(&mut model, &[KeyCode::Char('e')]);
        model.explained = Some(explained());
        see(&format!("explanation_{columns}x{rows}"), &mut model, columns, rows);
        press(&mut model, &[KeyCode::Char('?')]);
        see(&format!("help_{columns}x{rows}"), &mut model, columns, rows);
    }
}

#[test]
fn input_and_selection_are_shown() {
    let mut model = trouble();
    press(&mut model, &"/queue".chars().map(KeyCode::Char).collect::<Vec<_>>());
    see("filter_is_typed", &mut model, 80, 24);
    press(&mut model, &[KeyCode::Enter]);
    see("filter", &mut model, 80, 24);
    press(&mut model, &[KeyCode::Char('p'), KeyCode::Tab, KeyCode::Down]);
    see("pause_menu", &mut model, 80, 24);
    press(&mut model, &[KeyCode::Esc, KeyCode::Char('s')]);
    see("stop_asks", &mut model, 80, 24);
    press(&mut model, &[KeyCode::Char('n'), KeyCode::Char('H')]);
    see("heal_all_asks", &mut model, 40, 12);
    press(&mut model, &[KeyCode::Char('n'), KeyCode::Char('/'), KeyCode::Char('x')]);
    see("nothing_matches", &mut model, 80, 24);
}

#[test]
fn results_of_actions_are_shown() {
    let mut model = trouble();
    model.notify(Tone::Busy, "Healing shop/queue", now());
    see("healing", &mut model, 80, 24);
    model.notify(Tone::Bad, format!("shop/queue could not be healed: exited right after starting: {ERROR}"), now());
    see("not_healed", &mut model, 80, 24);
}

#[test]
fn an_unreachable_daemon_is_shown() {
    const WHY: &str =
        "no daemon answers at /run/user/1000/workerheal/api.sock; start it with `systemctl --user start workerheal`";
    let mut model = Model::new();
    see("asking", &mut model, 80, 24);
    model.lost(WHY.into(), now());
    see("no_daemon", &mut model, 80, 24);
    let mut model = trouble();
    model.lost(WHY.into(), now());
    see("daemon_gone", &mut model, 80, 24);
    let (_, changes_at) = screen(&mut model, 80, 24);
    assert_eq!(changes_at, None, "what is old does not go on");
}

#[test]
fn global_conditions_are_shown() {
    let mut model = model(well(), Vec::new());
    let status = &mut model.snapshot.as_mut().unwrap().status;
    status.manager = ManagerStatus { scope: Scope::User, reachable: false, error: "connection refused".into() };
    status.registry.error = "line 3: mapping values are not allowed here".into();
    status.stop_marker = true;
    status.pauses.push(PauseReport { kind: PauseKind::Everything, name: String::new(), ends_in: None, ends_at: None });
    see("banners", &mut model, 80, 24);
    let mut model = self::model(well(), Vec::new());
    let path = "/home/ann/.config/workerheal/config.yaml";
    model.snapshot.as_mut().unwrap().status.config_error =
        format!("{path}:2:9: unknown key `backof`; did you mean `backoff`?");
    see("configuration_rejected", &mut model, 80, 24);
    see("no_workers", &mut self::model(Vec::new(), Vec::new()), 80, 24);
}

#[test]
fn the_screen_changes_when_something_on_it_does_and_no_sooner() {
    // The minutes of workers that have been up for three hours.
    let (_, changes_at) = screen(&mut model(well(), Vec::new()), 80, 24);
    assert_eq!(changes_at, Some(now() + Duration::from_secs(53)), "the last hour moves on with its next minute");
    // The countdown.
    let (_, changes_at) = screen(&mut trouble(), 80, 24);
    assert_eq!(changes_at, Some(now() + Duration::from_millis(500)));
    // Not the countdown of a worker that is not visible.
    let mut model = trouble();
    press(&mut model, &"/blog".chars().map(KeyCode::Char).collect::<Vec<_>>());
    let (_, changes_at) = screen(&mut model, 80, 24);
    assert!(changes_at > Some(now() + Duration::from_secs(1)), "{changes_at:?}");
}
