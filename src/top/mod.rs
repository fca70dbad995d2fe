//! `workerheal top`: all workers on the screen, live.
//!
//! One loop owns the [`Model`]. Keys, news from the daemon ([`sync`]), results of [`actions`] and the followed log
//! change it; then it is drawn ([`view`]), and drawn again only when something on the screen changes with time.
//! [`terminal`] restores the terminal, however this ends.

mod actions;
mod effect;
mod keys;
mod measured;
mod menu;
mod model;
mod mouse;
mod rows;
mod schedule;
mod sync;
mod terminal;
mod timeline;
mod usage;
mod view;

use std::io;
use std::time::{Duration, SystemTime};

use crossterm::event::{Event as Input, EventStream, KeyEventKind};
use futures_util::StreamExt;
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use terminal::Screen;

use crate::client::log::{Log, LogLine};
use crate::core::report::WorkerReport;
use crate::deadline::reached;
use crate::setup::Options;
use actions::{Actions, Done};
use effect::Effect;
use model::{Model, Tone};
use schedule::Schedule;
use sync::News;
use view::{Clock, Palette};

/// Changes within this time are drawn together.
const FRAME_INTERVAL: Duration = Duration::from_millis(30);
/// Added to redraw times, as a text that is drawn too early would be drawn twice.
const REDRAW_MARGIN: Duration = Duration::from_millis(2);
/// How long a selection has to rest before its explanation is requested.
const EXPLAIN_DELAY: Duration = Duration::from_millis(150);
/// How often the selected worker's resource usage is asked for.
const MEASURE_INTERVAL: Duration = Duration::from_secs(2);
/// How often that of all visible workers is asked for.
const MEASURE_LIST_INTERVAL: Duration = Duration::from_secs(5);
/// How long the kernel may take to stop this process.
const STOP_TIMEOUT: Duration = Duration::from_millis(100);
/// Maximum number of unprocessed news from the daemon.
const NEWS_QUEUE: usize = 256;

/// Shows the workers until the user quits, or the terminal is gone.
///
/// # Errors
///
/// If standard input or output is no terminal, or writing fails.
pub async fn run(options: &Options, colored: bool) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // Colours are decided already.
    crossterm::style::force_color_output(colored);
    let mut screen = Screen::take()?;
    let mut app = App::new(options.clone(), colored);
    let mut keys = EventStream::new();
    loop {
        let draw_at = app.draw_at;
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            input = keys.next() => match input {
                Some(Ok(input)) => match app.input(&input) {
                    Some(Effect::Quit) => return Ok(()),
                    Some(Effect::Suspend) => {
                        terminal::give_back();
                        suspend().await?;
                        screen.come_back()?;
                    }
                    Some(Effect::Repaint) => screen.come_back()?,
                    Some(effect) => app.perform(effect),
                    None => {}
                },
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            is_changed = app.changed() => {
                if !is_changed {
                    app.plan_measurements();
                    continue;
                }
            }
            () = reached(draw_at) => {
                app.draw(&mut screen)?;
                continue;
            }
        }
        app.draw_soon();
    }
}

/// Stops this process as the terminal would, until it is continued.
async fn suspend() -> io::Result<()> {
    let mut continued = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    kill_process(getpid(), Signal::TSTP)?;
    // Without a shell to continue it, the kernel does not stop it.
    let _ = timeout(STOP_TIMEOUT, continued.recv()).await;
    Ok(())
}

/// The state of the loop.
struct App {
    model: Model,
    palette: Palette,
    news: mpsc::Receiver<News>,
    pokes: mpsc::Sender<()>,
    actions: Actions,
    log: Option<Log>,
    /// The worker whose explanation was requested, and when to request the next.
    asked: Option<WorkerReport>,
    ask_at: Option<Instant>,
    /// When the selected worker is measured, and when all visible ones are.
    selected_measured: Schedule,
    list_measured: Schedule,
    draw_at: Option<Instant>,
    drawn: Option<Instant>,
    daemon: JoinSet<()>,
}

impl App {
    fn new(options: Options, colored: bool) -> Self {
        let (sender, news) = mpsc::channel(NEWS_QUEUE);
        let (pokes, asks) = mpsc::channel(1);
        let mut daemon = JoinSet::new();
        daemon.spawn(sync::follow(options.clone(), asks, sender));
        Self {
            model: Model::new(),
            palette: Palette { colored, dimmed: false },
            news,
            pokes,
            actions: Actions::new(options),
            log: None,
            asked: None,
            ask_at: None,
            selected_measured: Schedule::default(),
            list_measured: Schedule::default(),
            draw_at: Some(Instant::now()),
            drawn: None,
            daemon,
        }
    }

    fn input(&mut self, input: &Input) -> Option<Effect> {
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.model.press(*key),
            Input::Mouse(event) => {
                self.model.point(*event);
                None
            }
            _ => None,
        }
    }

    fn perform(&mut self, effect: Effect) {
        let now = SystemTime::now();
        match effect {
            Effect::Heal(target) => {
                self.model.notify(Tone::Busy, format!("Healing {}", target.name), now);
                self.actions.heal(target);
            }
            Effect::Stop(target) => {
                self.model.notify(Tone::Busy, format!("Stopping {}", target.name), now);
                self.actions.stop(target);
            }
            Effect::Pause(target, time) => self.actions.pause(target, time),
            Effect::Resume(target) => self.actions.resume(target),
            Effect::Follow(unit) => self.actions.follow(unit),
            Effect::Refuse(why) => self.model.notify(Tone::Bad, why, now),
            // These keys are about the terminal.
            Effect::Quit | Effect::Suspend | Effect::Repaint => {}
        }
    }

    /// Waits until something has happened, and returns whether the screen may have changed.
    async fn changed(&mut self) -> bool {
        tokio::select! {
            Some(news) = self.news.recv() => self.hear(news),
            done = self.actions.next() => return self.done(done),
            // The task only ends with a panic, which is passed on.
            Some(Err(ended)) = self.daemon.join_next() => {
                if let Ok(panic) = ended.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
            }
            line = next_line(&mut self.log) => self.read(line),
            () = reached(self.ask_at) => {
                self.ask_at = None;
                if let Some(worker) = &self.asked {
                    self.actions.explain(worker.unit.clone());
                }
                return false;
            }
            () = reached(self.selected_measured.next()) => {
                self.selected_measured.cancel();
                if let Some(unit) = self.model.to_measure() {
                    self.selected_measured.ask(Instant::now());
                    self.actions.measure(unit.to_owned());
                }
                return false;
            }
            () = reached(self.list_measured.next()) => {
                self.list_measured.cancel();
                let units = self.model.to_measure_in_list();
                if !units.is_empty() {
                    self.list_measured.ask(Instant::now());
                    self.actions.measure_list(units);
                }
                return false;
            }
        }
        true
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Found(uptime, now) => self.model.found(uptime, now),
            News::Event(event) => self.model.happened(*event),
            News::Gap => self.model.missed(),
            News::Snapshot(snapshot) => self.model.learn(*snapshot),
            News::Gone(why) => {
                self.model.lost(why, SystemTime::now());
                // Another daemon may have another answer.
                self.asked = None;
            }
        }
    }

    /// Takes in the result of an action, and returns whether the screen may have changed.
    fn done(&mut self, done: Done) -> bool {
        match done {
            Done::Notice(tone, text) => {
                self.model.notify(tone, text, SystemTime::now());
                // Not every action causes an event. A pending request is enough.
                let _ = self.pokes.try_send(());
            }
            Done::Explained(answer) => self.model.explained = Some(answer),
            Done::Measured(unit, usage, at) => {
                self.selected_measured.answered();
                return usage.is_some_and(|usage| self.model.measure(unit.short(), usage, at));
            }
            Done::MeasuredList(units, usages, at) => {
                self.list_measured.answered();
                return usages.is_some_and(|usages| self.model.measure_list(&units, &usages, at));
            }
            Done::Opened(unit, log) => {
                // The pane may have been closed in the meantime.
                let Some(pane) = self.model.log.as_mut().filter(|pane| pane.unit == unit) else { return false };
                match log {
                    Ok(log) => self.log = Some(log),
                    Err(why) => pane.error = Some(why),
                }
            }
        }
        true
    }

    fn read(&mut self, line: Result<LogLine, String>) {
        match line {
            Ok(line) => self.model.logged(line),
            Err(why) => {
                self.log = None;
                if let Some(pane) = &mut self.model.log {
                    pane.error = Some(why);
                }
            }
        }
    }

    /// Redraws if needed, and requests a missing explanation.
    fn draw_soon(&mut self) {
        if self.model.log.is_none() {
            self.log = None;
        }
        let question = self.model.question();
        if question.is_some() && question != self.asked {
            self.asked = question;
            self.ask_at = Some(Instant::now() + EXPLAIN_DELAY);
        }
        let soonest = self.drawn.map_or_else(Instant::now, |drawn| drawn + FRAME_INTERVAL);
        self.draw_at = Some(self.draw_at.map_or(soonest, |at| at.min(soonest)));
    }

    /// Plans to measure what is visible.
    fn plan_measurements(&mut self) {
        let now = Instant::now();
        if self.model.to_measure().is_none() {
            self.selected_measured.cancel();
        } else {
            self.selected_measured.plan(now, EXPLAIN_DELAY, MEASURE_INTERVAL);
        }
        if self.model.to_measure_in_list().is_empty() {
            self.list_measured.cancel();
        } else {
            let lacks = self.model.lacks_measurements();
            let interval = if lacks { MEASURE_INTERVAL } else { MEASURE_LIST_INTERVAL };
            self.list_measured.plan(now, EXPLAIN_DELAY, interval);
        }
    }

    fn draw(&mut self, screen: &mut Screen) -> io::Result<()> {
        let now = SystemTime::now();
        self.model.tidy(now);
        let clock = Clock::new(now, time_of_day);
        screen.show(|frame| {
            view::settle(frame.area(), &mut self.model, &clock, self.palette);
            view::draw(frame, &self.model, &clock, self.palette);
        })?;
        let drawn = Instant::now();
        self.drawn = Some(drawn);
        let next = clock.next().map(|next| next.duration_since(now).unwrap_or_default());
        self.draw_at = next.map(|next| drawn + next + REDRAW_MARGIN);
        self.plan_measurements();
        Ok(())
    }
}

/// The next line of the followed log, or why there are no more.
async fn next_line(log: &mut Option<Log>) -> Result<LogLine, String> {
    match log {
        Some(log) => match log.next().await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => Err("The log has ended.".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        None => std::future::pending().await,
    }
}

/// In the reader's time zone.
fn time_of_day(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Local>::from(time).format("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests;
