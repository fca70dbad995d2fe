//! The tools' implementations.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::arguments::{Arguments, Wrong, required};
use super::render;
use crate::api::{HealRequest, Paused};
use crate::client::daemon::{DaemonClient, DaemonError, EventFilter, StreamItem};
use crate::client::log::{self, LogLine};
use crate::client::{self, Access};
use crate::core::batch::{LeftAlone, Plan, summary};
use crate::core::units::UnitName;
use crate::setup::{Options, SetupError};

/// How long a worker has to stay up to count as healed, as with `workerheal heal`.
const PROVING_TIME: &str = "1s";
/// Range and default of the number of log lines.
pub(super) const LOG_LINES_RANGE: RangeInclusive<usize> = 1..=500;
pub(super) const DEFAULT_LOG_LINES: usize = 50;
/// Range and default of the number of events, and how far back they go by default.
pub(super) const EVENTS_RANGE: RangeInclusive<usize> = 1..=500;
pub(super) const DEFAULT_EVENTS: usize = 50;
const DEFAULT_EVENTS_SINCE: Duration = Duration::from_secs(24 * 3600);
/// Maximum length of a returned log, in characters: more would fill an assistant's context.
const MAX_LOG_CHARS: usize = 40_000;

/// The result of a tool.
#[derive(Debug)]
pub(super) struct Answer {
    /// As text.
    pub text: String,
    /// As an object that follows the tool's schema.
    pub facts: Value,
}

/// A step of a call, and the number of all steps.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub number: u32,
    pub of: u32,
    pub message: String,
}

/// Why a tool failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("there is no such tool")]
    NoSuchTool,
    #[error(transparent)]
    Argument(#[from] Wrong),
    #[error(transparent)]
    Standalone(#[from] client::ClientError),
    #[error("{target:?} names {} workers, and this tool reads one: {}", units.len(), list_of(units))]
    Several { target: String, units: Vec<UnitName> },
}

impl From<DaemonError> for CallError {
    fn from(error: DaemonError) -> Self {
        Self::Standalone(error.into())
    }
}

impl From<SetupError> for CallError {
    fn from(error: SetupError) -> Self {
        Self::Standalone(error.into())
    }
}

/// As in `workerheal detect --json`, with or without a daemon.
pub(super) async fn health(options: &Options, arguments: Arguments) -> Result<Answer, CallError> {
    arguments.end()?;
    let workers = Access::open(options).await?.detect(true).await?;
    // Strings never fail.
    let text = serde_json::to_string_pretty(&workers).unwrap_or_default();
    Ok(Answer { text, facts: json!({ "workers": workers }) })
}

/// As in `workerheal status --json`.
pub(super) async fn list(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let targets: Vec<String> = arguments.target()?.into_iter().collect();
    arguments.end()?;
    let daemon = DaemonClient::connect(options).await?;
    let units = daemon.select(&targets).await?;
    let mut workers = daemon.workers().await?;
    workers.retain(|worker| targets.is_empty() || units.contains(&worker.unit));
    Ok(Answer { text: render::workers(&workers), facts: json!({ "workers": workers }) })
}

/// As in `workerheal events --json`.
pub(super) async fn events(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let targets: Vec<String> = arguments.target()?.into_iter().collect();
    let since = arguments.duration("since")?.unwrap_or(DEFAULT_EVENTS_SINCE);
    let count = arguments.number("limit", &EVENTS_RANGE)?.unwrap_or(DEFAULT_EVENTS);
    arguments.end()?;
    let daemon = DaemonClient::connect(options).await?;
    let units = daemon.select(&targets).await?;
    let since = Some(humantime::format_duration(since).to_string());
    let mut stream = daemon.events(&EventFilter { since, follow: false, ..EventFilter::default() }).await?;
    let mut events = Vec::new();
    while let Some(item) = stream.next().await? {
        let StreamItem::Event { event, .. } = item else { continue };
        if targets.is_empty() || event.unit.as_ref().is_some_and(|unit| units.contains(unit)) {
            events.push(*event);
        }
    }
    let left_out = events.len().saturating_sub(count);
    let events = events.split_off(left_out);
    let mut facts = json!({ "events": events });
    if left_out > 0 {
        facts["left_out"] = left_out.into();
    }
    Ok(Answer { text: render::events(&events, left_out), facts })
}

pub(super) async fn heal(
    options: &Options,
    mut arguments: Arguments,
    steps: mpsc::UnboundedSender<Step>,
) -> Result<Answer, CallError> {
    let targets: Vec<String> = arguments.target()?.into_iter().collect();
    let dry_run = arguments.flag("dry_run")?;
    arguments.end()?;
    let mut access = Access::open(options).await?;
    if dry_run {
        return Ok(planned(&access.plan(&targets).await?));
    }
    let request = HealRequest { targets, prove: Some(PROVING_TIME.to_owned()), dry_run: false };
    let mut heal = access.heal(&request).await?;
    let plan = heal.plan().clone();
    // Two steps for each worker: begin and end.
    let of = u32::try_from(2 * (plan.unhealthy.len() + plan.refused.len())).unwrap_or(u32::MAX);
    let mut number = 0;
    while let Some(event) = heal.next().await? {
        // The end of the call is its result.
        if event.unit.is_none() {
            continue;
        }
        number += 1;
        // The receiver may be gone.
        let _ = steps.send(Step { number, of, message: event.to_string() });
    }
    let report = heal.into_report();
    let not_healed = not_healed(&plan);
    let summary = summary(&report, &not_healed);
    let text = render::healed(&summary, &report, &not_healed);
    let mut facts = json!({ "summary": summary, "healed": report.healed, "failed": report.failed });
    add_not_healed(&mut facts, &plan);
    Ok(Answer { text, facts })
}

/// What a heal would do.
fn planned(plan: &Plan) -> Answer {
    let (text, summary) = render::plan(plan, &not_healed(plan));
    let mut facts = json!({ "summary": summary, "would_heal": plan.unhealthy, "healed": [], "failed": plan.refused });
    add_not_healed(&mut facts, plan);
    Answer { text, facts }
}

fn not_healed(plan: &Plan) -> Vec<LeftAlone> {
    plan.left_alone.iter().chain(&plan.paused).cloned().collect()
}

fn add_not_healed(facts: &mut Value, plan: &Plan) {
    for (name, workers) in [("left_alone", &plan.left_alone), ("paused", &plan.paused)] {
        if !workers.is_empty() {
            facts[name] = json!(workers);
        }
    }
}

pub(super) async fn stop(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let target = required("target", arguments.target()?)?;
    arguments.end()?;
    let report = Access::open(options).await?.stop(options, &[target]).await?;
    Ok(Answer { text: render::stopped(&report), facts: json!(report) })
}

pub(super) async fn explain(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let target = required("target", arguments.target()?)?;
    arguments.end()?;
    let explained = Access::open(options).await?.explain(&[target]).await?;
    let texts: Vec<&str> = explained.iter().map(|it| it.text.trim_end()).collect();
    Ok(Answer { text: texts.join("\n\n"), facts: json!({ "workers": explained }) })
}

pub(super) async fn pause(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let targets: Vec<String> = arguments.target()?.into_iter().collect();
    let time = arguments.duration("duration")?;
    arguments.end()?;
    Ok(paused(&DaemonClient::connect(options).await?.pause(&targets, time).await?))
}

pub(super) async fn resume(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let targets: Vec<String> = arguments.target()?.into_iter().collect();
    arguments.end()?;
    Ok(paused(&DaemonClient::connect(options).await?.resume(&targets).await?))
}

fn paused(paused: &Paused) -> Answer {
    let warning = paused.warning().map(|warning| format!("\nBut {warning}.")).unwrap_or_default();
    Answer { text: render::pauses(&paused.pauses) + &warning, facts: json!({ "pauses": paused.pauses }) }
}

pub(super) async fn logs(options: &Options, mut arguments: Arguments) -> Result<Answer, CallError> {
    let target = required("target", arguments.target()?)?;
    let count = arguments.number("lines", &LOG_LINES_RANGE)?.unwrap_or(DEFAULT_LOG_LINES);
    arguments.end()?;
    // Only covered workers are selected.
    let mut units = Access::open(options).await?.select(std::slice::from_ref(&target)).await?;
    let unit = match units.pop() {
        Some(unit) if units.is_empty() => unit,
        last => {
            units.extend(last);
            return Err(CallError::Several { target, units });
        }
    };
    let lines = log::last(options, &unit, count).await?;
    let (lines, left_out) = latest(&lines);
    let shown: Vec<Value> = lines.iter().map(line).collect();
    let mut facts = json!({ "unit": unit, "lines": shown });
    if left_out > 0 {
        facts["left_out"] = left_out.into();
    }
    Ok(Answer { text: render::log(&unit, lines, left_out), facts })
}

/// The latest lines that fit, and how many are left out.
fn latest(lines: &[LogLine]) -> (&[LogLine], usize) {
    let mut room = MAX_LOG_CHARS;
    let fit = lines.iter().rev().take_while(|line| {
        let length = line.text.chars().count();
        let fits = length <= room;
        room = room.saturating_sub(length);
        fits
    });
    let left_out = lines.len() - fit.count();
    (&lines[left_out..], left_out)
}

fn line(line: &LogLine) -> Value {
    let mut fields = json!({ "from": render::author(line.author), "text": line.text });
    if let Some(time) = line.time {
        fields["time"] = humantime::format_rfc3339_millis(time).to_string().into();
    }
    fields
}

/// The first units, and that there are more.
fn list_of(units: &[UnitName]) -> String {
    const MAX_UNITS_SHOWN: usize = 10;
    let mut names: Vec<&str> = units.iter().take(MAX_UNITS_SHOWN).map(UnitName::short).collect();
    if units.len() > MAX_UNITS_SHOWN {
        names.push("…");
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::log::Author;

    #[test]
    fn the_latest_lines_are_answered_as_far_as_there_is_room() {
        let line = |length| LogLine { time: None, author: Author::Worker, text: "é".repeat(length) };
        assert_eq!(latest(&[]), (&[][..], 0));
        let lines = [line(1), line(MAX_LOG_CHARS - 1), line(1)];
        assert_eq!(latest(&lines), (&lines[1..], 1));
        assert_eq!(latest(&lines[..2]), (&lines[..2], 0));
    }

    #[test]
    fn a_name_of_many_says_which() {
        let units = (0..12).map(|n| UnitName::parse(&format!("w{n}")).unwrap()).collect();
        let error = CallError::Several { target: "myapp".into(), units };
        assert_eq!(
            error.to_string(),
            "\"myapp\" names 12 workers, and this tool reads one: w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, …"
        );
    }
}
