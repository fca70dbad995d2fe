//! The progress of a heal: one line for each worker, updated in place on a terminal, else printed when the worker is
//! done. Workers that fail for the same reason share a line, and are counted.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::term::{self, Style};
use crate::core::batch::Plan;
use crate::core::event::{Event, Failure, Phase};
use crate::core::explain::times::rounded;
use crate::core::units::UnitName;

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const FRAME_INTERVAL: Duration = Duration::from_millis(100);

/// The output format.
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
    /// Display names of workers.
    names: HashMap<UnitName, String>,
    /// Width of the longest name.
    width: usize,
    /// Workers under way, with the time of their start.
    under_way: Vec<(UnitName, Instant)>,
    /// Workers that were under way before, and since when they are waited for.
    waited_for: (Vec<UnitName>, Instant),
    frame: usize,
    /// The number of lines to redraw.
    drawn: usize,
    /// Named workers that must not be started.
    refused: Vec<Failure>,
    /// Errors so far.
    failures: Repeats,
}

impl Progress {
    /// `waited_for`: workers that were started before, whose result is all that is still to come.
    pub fn new(form: Form, style: Style, plan: &Plan, waited_for: Vec<UnitName>) -> Self {
        let workers = plan.unhealthy.iter().chain(plan.refused.iter().map(|failure| &failure.worker));
        Self {
            form,
            style,
            live: form == Form::Text && term::is_terminal(),
            width: plan.unhealthy.iter().map(|worker| worker.name().chars().count()).max().unwrap_or(0),
            names: workers.map(|worker| (worker.unit.clone(), worker.name())).collect(),
            under_way: Vec::new(),
            waited_for: (waited_for, Instant::now()),
            frame: 0,
            drawn: 0,
            refused: plan.refused.clone(),
            failures: Repeats::default(),
        }
    }

    /// Waits for the next event, and keeps the display moving.
    pub async fn run<T>(&mut self, next: impl Future<Output = T>) -> anyhow::Result<T> {
        let mut next = std::pin::pin!(next);
        loop {
            if !self.live || self.under_way.is_empty() {
                return Ok(next.await);
            }
            if let Ok(event) = tokio::time::timeout(FRAME_INTERVAL, next.as_mut()).await {
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
            Form::Text => {
                let finished = self.step(event);
                self.draw(&finished)
            }
        }
    }

    /// Prints how many further workers failed for each reason.
    pub fn end(&mut self) -> anyhow::Result<()> {
        let rest = self.failures.rest();
        if rest.is_empty() { Ok(()) } else { self.draw(&rest) }
    }

    /// Records an event; returns the lines of workers that it finishes.
    fn step(&mut self, event: &Event) -> String {
        let Some(unit) = &event.unit else { return String::new() };
        match event.phase {
            Phase::Starting if self.is_refused(unit) => String::new(),
            Phase::Failed if self.is_refused(unit) => self.refusal(unit, &event.error),
            Phase::Starting => {
                self.under_way.push((unit.clone(), Instant::now()));
                String::new()
            }
            Phase::Healed => {
                let took = self.finish(unit);
                let took = match event.downtime {
                    Some(downtime) => format!("in {:.1}s, was down for {}", took.as_secs_f64(), rounded(downtime)),
                    None => format!("in {:.1}s", took.as_secs_f64()),
                };
                let outcome = format!("{} {}", self.style.good("healed"), self.style.faint(took));
                let line = self.line(&self.style.good("✓"), unit, &outcome);
                self.failures.interrupt();
                line
            }
            Phase::Failed => {
                self.finish(unit);
                let line =
                    self.line(&self.style.bad("✗"), unit, &format!("{}: {}", self.style.bad("failed"), event.error));
                self.failures.add(&event.error, line)
            }
            _ => String::new(),
        }
    }

    fn is_refused(&self, unit: &UnitName) -> bool {
        self.refused.iter().any(|failure| failure.worker.unit == *unit)
    }

    fn refusal(&mut self, unit: &UnitName, error: &str) -> String {
        let outcome = format!("{}: {error}", self.style.bad("not healed"));
        let line = self.line(&self.style.bad("✗"), unit, &outcome);
        self.failures.add(error, line)
    }

    fn line(&self, sign: &str, unit: &UnitName, outcome: &str) -> String {
        format!("{sign} {:width$}  {outcome}\n", self.name(unit), width = self.width)
    }

    /// The display name of the worker.
    fn name<'a>(&'a self, unit: &'a UnitName) -> &'a str {
        self.names.get(unit).map_or(unit.short(), String::as_str)
    }

    /// Removes a worker from those under way; returns how long it was under way.
    fn finish(&mut self, unit: &UnitName) -> Duration {
        let begun = self.under_way.iter().position(|(name, _)| name == unit).map(|at| self.under_way.remove(at).1);
        let (waited_for, since) = &self.waited_for;
        let begun = if waited_for.contains(unit) { Some(*since) } else { begun };
        begun.map_or(Duration::ZERO, |begun| begun.elapsed())
    }

    /// Prints finished lines above those of the workers under way.
    fn draw(&mut self, finished: &str) -> anyhow::Result<()> {
        if !self.live {
            return if finished.is_empty() { Ok(()) } else { term::print(finished) };
        }
        let mut screen = String::new();
        if self.drawn > 0 {
            // Up to the first line drawn, and clear everything below.
            screen.push_str(&format!("\u{1b}[{}A\u{1b}[J", self.drawn));
        }
        screen.push_str(finished);
        let width = term::width().unwrap_or(80);
        for (unit, begun) in &self.under_way {
            let frame = FRAMES[self.frame % FRAMES.len()];
            let line = format!(
                "{frame} {:width$}  starting {:.0}s",
                self.name(unit),
                begun.elapsed().as_secs_f64(),
                width = self.width
            );
            screen.push_str(&term::fit(&line, width.saturating_sub(1)));
            screen.push('\n');
        }
        self.drawn = self.under_way.len();
        term::print(screen)
    }
}

/// Failures, printed once for each reason: fifty workers that need one dead container are one problem.
#[derive(Default)]
struct Repeats {
    /// The reasons in the order of their first failure, with the lines that were held back.
    reasons: Vec<(String, Vec<String>)>,
    /// The reason of the last line printed.
    last: Option<String>,
}

impl Repeats {
    /// Records a failure; returns its line if it is the first for this reason.
    fn add(&mut self, reason: &str, line: String) -> String {
        if let Some((_, held_back)) = self.reasons.iter_mut().find(|(known, _)| known == reason) {
            held_back.push(line);
            return String::new();
        }
        self.reasons.push((reason.to_owned(), Vec::new()));
        self.last = Some(reason.to_owned());
        line
    }

    /// Another line was printed.
    fn interrupt(&mut self) {
        self.last = None;
    }

    /// The failures that were held back, as a line for each reason. The reason is repeated unless it is right above. A
    /// single worker keeps its own line, which is no longer.
    fn rest(&mut self) -> String {
        let mut last = self.last.take();
        let mut text = String::new();
        // The reason of the line right above comes first.
        self.reasons.sort_by_key(|(reason, _)| Some(reason) != last.as_ref());
        for (reason, held_back) in std::mem::take(&mut self.reasons) {
            let is_above = last.as_ref() == Some(&reason);
            match held_back.as_slice() {
                [] => continue,
                [line] => text.push_str(line),
                more if is_above => text.push_str(&format!("  and {} more for the same reason\n", more.len())),
                more => text.push_str(&format!("  and {} more: {reason}\n", more.len())),
            }
            last = None;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: &str = "it needs redis.service, which has failed";

    fn progress() -> Progress {
        Progress { live: false, ..Progress::new(Form::Text, Style::default(), &Plan::default(), Vec::new()) }
    }

    fn failed(unit: &str, error: &str) -> Event {
        Event { unit: UnitName::parse(unit).ok(), error: error.into(), ..Event::new(Phase::Failed) }
    }

    fn healed(unit: &str) -> Event {
        Event { unit: UnitName::parse(unit).ok(), ..Event::new(Phase::Healed) }
    }

    /// Everything that is printed for these events.
    fn printed(events: &[Event]) -> String {
        let mut progress = progress();
        let lines: String = events.iter().map(|event| progress.step(event)).collect();
        lines + &progress.failures.rest()
    }

    #[test]
    fn fifty_that_need_the_same_are_one_alarm() {
        let events: Vec<Event> = (0..50).map(|at| failed(&format!("w{at}"), NEEDS)).collect();
        assert_eq!(printed(&events), format!("✗ w0  failed: {NEEDS}\n  and 49 more for the same reason\n"));
    }

    #[test]
    fn a_reason_that_stands_further_up_is_said_again() {
        let mixed = [
            failed("a", NEEDS),
            failed("b", "exit-code: boom"),
            failed("c", NEEDS),
            failed("d", "exit-code: boom"),
            failed("e", "exit-code: boom"),
            failed("f", NEEDS),
        ];
        assert_eq!(
            printed(&mixed),
            format!(
                "✗ a  failed: {NEEDS}\n✗ b  failed: exit-code: boom\n\
                 \u{20} and 2 more for the same reason\n  and 2 more: {NEEDS}\n"
            )
        );
        let healed_between = [failed("a", NEEDS), failed("b", NEEDS), failed("c", NEEDS), healed("d")];
        assert_eq!(
            printed(&healed_between),
            format!("✗ a  failed: {NEEDS}\n✓ d  healed in 0.0s\n  and 2 more: {NEEDS}\n")
        );
    }

    #[test]
    fn a_worker_that_was_started_before_took_as_long_as_it_was_waited_for() {
        let waits = UnitName::parse("a").unwrap();
        let since = Instant::now().checked_sub(Duration::from_secs(8)).unwrap();
        let mut progress = Progress { waited_for: (vec![waits.clone()], since), ..progress() };
        // Both are reported in the end.
        progress.step(&Event { unit: Some(waits), ..Event::new(Phase::Starting) });
        assert_eq!(progress.step(&healed("a")), "✓ a  healed in 8.0s\n");
    }

    #[test]
    fn two_workers_have_a_line_each() {
        let two = [failed("a", NEEDS), failed("b", NEEDS), failed("c", "timeout")];
        assert_eq!(printed(&two), format!("✗ a  failed: {NEEDS}\n✗ c  failed: timeout\n✗ b  failed: {NEEDS}\n"));
    }

    #[test]
    fn refused_workers_are_counted() {
        let mut progress = progress();
        let lines: String = ["a", "b", "c"]
            .map(|unit| progress.refusal(&UnitName::parse(unit).unwrap(), "the site shop is paused"))
            .concat();
        assert_eq!(
            lines + &progress.failures.rest(),
            "✗ a  not healed: the site shop is paused\n  and 2 more for the same reason\n"
        );
        assert_eq!(progress.failures.rest(), "", "it is said once");
    }
}
