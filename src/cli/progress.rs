//! How far a heal has come: one line a worker, kept up to date on a terminal, else printed as each
//! worker is done.

use std::time::{Duration, Instant};

use super::term::{self, Style};
use crate::core::event::{Event, Failure, Phase, UnhealthyWorker};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME: Duration = Duration::from_millis(100);

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    Events,
}

/// The display of one heal.
pub(super) struct Progress {
    form: Form,
    style: Style,
    /// Redraw in place.
    live: bool,
    /// Width of the longest name.
    names: usize,
    /// Workers under way, with the time of their start.
    under_way: Vec<(String, Instant)>,
    frame: usize,
    /// Lines drawn that have to be drawn over.
    drawn: usize,
}

impl Progress {
    pub fn new(form: Form, style: Style, workers: &[UnhealthyWorker]) -> Self {
        Self {
            form,
            style,
            live: form == Form::Text && term::is_terminal(),
            names: workers.iter().map(|worker| worker.unit.chars().count()).max().unwrap_or(0),
            under_way: Vec::new(),
            frame: 0,
            drawn: 0,
        }
    }

    /// Waits for the next event, and keeps the display moving while it does.
    pub async fn run<T>(&mut self, next: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut next = std::pin::pin!(next);
        loop {
            if !self.live || self.under_way.is_empty() {
                return Ok(next.await);
            }
            if let Ok(event) = tokio::time::timeout(FRAME, next.as_mut()).await {
                return Ok(event);
            }
            self.frame += 1;
            self.draw("")?;
        }
    }

    /// Shows one step.
    pub fn show(&mut self, event: &Event) -> anyhow::Result<()> {
        match self.form {
            Form::Json => Ok(()),
            Form::Events => term::print(format!("{}\n", serde_json::to_string(event)?)),
            Form::Text => match event.phase {
                Phase::Starting => {
                    self.under_way.push((event.unit.clone(), Instant::now()));
                    self.draw("")
                }
                Phase::Healed => self.finish(&event.unit, |style, took| {
                    format!("{} {}", style.good("healed"), style.faint(format!("in {:.1}s", took.as_secs_f64())))
                }),
                Phase::Failed => {
                    self.finish(&event.unit, |style, _| format!("{} {}", style.bad("failed"), event.error))
                }
                _ => Ok(()),
            },
        }
    }

    /// Shows a worker that was named, but is not to be started.
    pub fn refused(&mut self, failure: &Failure) -> anyhow::Result<()> {
        match self.form {
            Form::Text => {
                let unit = &failure.worker.unit;
                term::print(format!(
                    "{} {unit}  {} {}\n",
                    self.style.bad("✗"),
                    self.style.bad("refused"),
                    failure.error
                ))
            }
            Form::Events => {
                let step = |phase| Event {
                    site: failure.worker.site.clone(),
                    unit: failure.worker.unit.clone(),
                    ..Event::new(phase)
                };
                // As for every other worker: begun, and ended.
                self.show(&step(Phase::Starting))?;
                self.show(&Event { error: failure.error.clone(), ..step(Phase::Failed) })
            }
            Form::Json => Ok(()),
        }
    }

    fn finish(&mut self, unit: &str, outcome: impl FnOnce(Style, Duration) -> String) -> anyhow::Result<()> {
        let begun = self.under_way.iter().position(|(name, _)| name == unit).map(|at| self.under_way.remove(at).1);
        let took = begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let outcome = outcome(self.style, took);
        let sign = if outcome.contains("healed") { self.style.good("✓") } else { self.style.bad("✗") };
        self.draw(&format!("{sign} {unit:names$}  {outcome}\n", names = self.names))
    }

    /// Prints finished lines above those of the workers under way.
    fn draw(&mut self, finished: &str) -> anyhow::Result<()> {
        if !self.live {
            return term::print(finished);
        }
        let mut screen = String::new();
        if self.drawn > 0 {
            // Up to the first line drawn, and clear from there.
            screen.push_str(&format!("\u{1b}[{}A\u{1b}[J", self.drawn));
        }
        screen.push_str(finished);
        let width = term::width().unwrap_or(80);
        for (unit, begun) in &self.under_way {
            let frame = FRAMES[self.frame % FRAMES.len()];
            let line =
                format!("{frame} {unit:names$}  starting {:.0}s", begun.elapsed().as_secs_f64(), names = self.names);
            screen.push_str(&term::fit(&line, width.saturating_sub(1)));
            screen.push('\n');
        }
        self.drawn = self.under_way.len();
        term::print(screen)
    }
}
