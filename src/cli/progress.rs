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

/// Maximum length of a name on a terminal of this width.
fn longest_name(columns: Option<usize>) -> usize {
    columns.map_or(usize::MAX, |columns| (columns / 2).saturating_sub(4))
}

/// The display of one heal.
pub(super) struct Progress {
    form: Form,
    style: Style,
    /// Redraw in place.
    live: bool,
    /// The width of the terminal, if output goes to one.
    columns: Option<usize>,
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
    pub fn new(form: Form, style: Style, plan: &Plan, waited_for: Vec<UnitName>, columns: Option<usize>) -> Self {
        let workers = plan.unhealthy.iter().chain(plan.refused.iter().map(|failure| &failure.worker));
        let names: HashMap<_, _> = workers.map(|worker| (worker.unit.clone(), worker.name())).collect();
        Self {
            form,
            style,
            live: form == Form::Text && term::is_terminal(),
            columns,
            width: names.values().map(|name| name.chars().count()).max().unwrap_or(0).min(longest_name(columns)),
            names,
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
        let rest = self.failures.rest(self.columns);
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
                let took = format!("in {:.1}s", self.finish(unit).as_secs_f64());
                let took = match event.downtime {
                    Some(downtime) => format!("{took}, was down for {}", rounded(downtime)),
                    None => took,
                };
                let line = self.line(&self.style.good("✓"), unit, (&self.style.good("healed"), "healed"), &took);
                self.failures.interrupt();
                line
            }
            Phase::Failed => {
                self.finish(unit);
                let line = self.failure(unit, "failed", &event.error);
                self.failures.add(&event.error, line)
            }
            _ => String::new(),
        }
    }

    fn is_refused(&self, unit: &UnitName) -> bool {
        self.refused.iter().any(|failure| failure.worker.unit == *unit)
    }

    fn refusal(&mut self, unit: &UnitName, error: &str) -> String {
        let line = self.failure(unit, "not healed", error);
        self.failures.add(error, line)
    }

    fn failure(&self, unit: &UnitName, word: &str, error: &str) -> String {
        let marked = (&*format!("{}:", self.style.bad(word)), &*format!("{word}:"));
        self.line(&self.style.bad("✗"), unit, marked, error)
    }

    /// A line, or several on a narrow terminal. The outcome is a word, as it is shown and plain, and what follows it.
    fn line(&self, sign: &str, unit: &UnitName, (shown, word): (&str, &str), rest: &str) -> String {
        let name = self.name(unit);
        let indent = self.width.max(name.chars().count()) + 4;
        let outcome = term::hanging(&format!("{word} {rest}"), indent, self.columns).replacen(word, shown, 1);
        format!("{sign} {name:width$}  {outcome}\n", width = self.width)
    }

    /// The display name of the worker, which leaves half of the line to the outcome.
    fn name(&self, unit: &UnitName) -> String {
        let name = self.names.get(unit).map_or(unit.short(), String::as_str);
        term::fit_name(name, longest_name(self.columns))
    }

    /// Removes a worker from those under way; returns how long it was under way.
    fn finish(&mut self, unit: &UnitName) -> Duration {
        let begun = self.under_way.iter().position(|(name, _)| name == unit).map(|at| self.under_way.remove(at).1);
        let (waited_for, since) = &self.waited_for;
        // One that the manager restarted is waited for as well.
        let begun = begun.filter(|_| !waited_for.contains(unit)).unwrap_or(*since);
        begun.elapsed()
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
        let width = self.columns.unwrap_or(80);
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
    fn rest(&mut self, columns: Option<usize>) -> String {
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
                more => {
                    let line = format!("and {} more: {reason}", more.len());
                    text.push_str(&format!("  {}\n", term::hanging(&line, 2, columns)));
                }
            }
            last = None;
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::State;
    use crate::core::event::UnhealthyWorker;

    const NEEDS: &str = "it needs redis.service, which has failed";

    fn progress() -> Progress {
        Progress { live: false, ..Progress::new(Form::Text, Style::default(), &Plan::default(), Vec::new(), None) }
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
        lines + &progress.failures.rest(None)
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
    fn outcomes_are_broken_where_there_is_no_room() {
        for width in [60, 80, 120, 200] {
            let worker = |site: &str, worker: &str| UnhealthyWorker {
                site: site.into(),
                worker: worker.into(),
                worktree: None,
                unit: UnitName::parse(&format!("lerd-{worker}-{site}")).unwrap(),
                state: State::Failed,
                last_error: String::new(),
            };
            let refused = Failure { worker: worker("shop", "mail"), error: "the site shop is paused".into() };
            let unhealthy = vec![worker("the-shop-of-a-customer", "horizon"), worker("shop", "queue")];
            let plan = Plan { unhealthy, refused: vec![refused.clone()], ..Plan::default() };
            let mut progress = Progress::new(Form::Text, Style::default(), &plan, Vec::new(), Some(width));
            let error = "exited right after starting: RedisException: Connection refused [tcp://127.0.0.1:6379]";
            let mut events = vec![
                Event { downtime: Some(Duration::from_secs(80)), ..healed("lerd-horizon-the-shop-of-a-customer") },
                failed("lerd-queue-shop", error),
                healed("lerd-vite-shop"),
            ];
            events.extend(["a", "b"].map(|unit| failed(unit, error)));
            let mut text: String = events.iter().map(|event| progress.step(event)).collect();
            text += &progress.refusal(&refused.worker.unit, &refused.error);
            text += &progress.failures.rest(Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
            insta::assert_snapshot!(format!("{width}"), text);
        }
    }

    #[test]
    fn a_worker_that_was_started_before_took_as_long_as_it_was_waited_for() {
        let waits = UnitName::parse("a").unwrap();
        let since = Instant::now().checked_sub(Duration::from_secs(8)).unwrap();
        let mut progress = Progress { waited_for: (vec![waits.clone()], since), ..progress() };
        // Both are reported in the end.
        progress.step(&Event { unit: Some(waits), ..Event::new(Phase::Starting) });
        assert_eq!(progress.step(&healed("a")), "✓ a  healed in 8.0s\n");
        // As did one that the manager itself restarted meanwhile.
        assert_eq!(progress.step(&healed("b")), "✓ b  healed in 8.0s\n");
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
            lines + &progress.failures.rest(None),
            "✗ a  not healed: the site shop is paused\n  and 2 more for the same reason\n"
        );
        assert_eq!(progress.failures.rest(None), "", "it is said once");
    }
}
