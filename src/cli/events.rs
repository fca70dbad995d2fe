//! `workerheal events`: the daemon's past and new events.

use std::collections::HashMap;
use std::time::SystemTime;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Status;
use super::complete::targets;
use super::status::ago;
use super::term::{self, Style};
use super::time::{since, time_of_day};
use crate::client::daemon::{DaemonClient, DaemonError, EventFilter, StreamItem};
use crate::core::event::{Event, Phase};
use crate::core::units::UnitName;
use crate::setup::Options;

/// How many past events are shown before those that follow.
const PAST_EVENTS_WHEN_FOLLOWING: usize = 10;

/// What `events` is used as in most cases.
const EXAMPLES: &str = "\
Examples:
  workerheal events myapp/queue          what happened to one worker
  workerheal events --since yesterday    all since midnight of the day before
  workerheal events --follow             the last ten, and what happens from now on";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Events {
    /// Of which workers: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: all]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// Go on with what happens from now on
    #[arg(short, long)]
    follow: bool,
    /// Print each event as a line of JSON
    #[arg(long)]
    json: bool,
    /// How far to go back: 2h, yesterday, 14:05, 2026-01-31 or "2026-01-31 14:05" [default: all that is kept]
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    /// The latest of them only
    #[arg(short = 'n', long, value_name = "NUMBER")]
    limit: Option<usize>,
}

impl Events {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        if !self.follow {
            return self.show_all(options, style).await;
        }
        tokio::select! {
            shown = self.show_all(options, style) => shown,
            () = term::closed() => Ok(Status::Done),
        }
    }

    async fn show_all(&self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::required(options).await?;
        let begun = SystemTime::now();
        let mut names = Names::default();
        term::patiently(names.learn(&daemon)).await?;
        let units = daemon.select(&self.targets).await?;
        let is_wanted =
            |event: &Event| self.targets.is_empty() || event.unit.as_ref().is_some_and(|unit| units.contains(unit));

        let (past, last) = self.past(&daemon).await?;
        let mut past: Vec<Event> = past.into_iter().filter(is_wanted).collect();
        past.drain(..past.len().saturating_sub(self.limit().unwrap_or(usize::MAX)));
        for event in &past {
            self.show(event, &names, style)?;
        }
        if !self.follow {
            if past.is_empty() && !self.json {
                term::print("No events.\n")?;
            }
            return Ok(Status::Done);
        }
        // If there were no events, those in the meantime must not be missed.
        let since = last.is_none().then(|| as_text(begun));
        let mut filter = EventFilter { after: last, since, limit: None, follow: true };
        loop {
            let mut events = daemon.events(&filter).await?;
            while let Some(item) = events.next().await? {
                match item {
                    StreamItem::Event { id, event } => {
                        (filter.after, filter.since) = (Some(id), None);
                        if is_wanted(&event) {
                            names.learn_of(&event, &daemon).await?;
                            self.show(&event, &names, style)?;
                        }
                    }
                    StreamItem::Gap(why) => term::complain(why),
                }
            }
            // Disconnected, or the daemon has ended: the next iteration finds out.
        }
    }

    /// Past events, and the id of the last event.
    async fn past(&self, daemon: &DaemonClient) -> anyhow::Result<(Vec<Event>, Option<String>)> {
        // For some workers, the latest events are known only after reading all.
        let limit = self.limit().filter(|_| self.targets.is_empty());
        let filter = EventFilter { after: None, since: self.since.map(as_text), limit, follow: false };
        let mut stream = daemon.events(&filter).await?;
        let (mut past, mut last) = (Vec::new(), None);
        while let Some(item) = stream.next().await? {
            match item {
                StreamItem::Event { id, event } => {
                    last = Some(id);
                    past.push(*event);
                }
                StreamItem::Gap(why) => term::complain(why),
            }
        }
        Ok((past, last))
    }

    fn limit(&self) -> Option<usize> {
        self.limit.or_else(|| (self.since.is_none() && self.follow).then_some(PAST_EVENTS_WHEN_FOLLOWING))
    }

    fn show(&self, event: &Event, names: &Names, style: Style) -> anyhow::Result<()> {
        if self.json {
            return term::print(format!("{}\n", serde_json::to_string(event)?));
        }
        term::print(line(event, names.of(event), self.follow, SystemTime::now(), style, term::width()))
    }
}

fn as_text(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// The display names of workers.
#[derive(Debug, Default)]
struct Names(HashMap<UnitName, String>);

impl Names {
    async fn learn(&mut self, daemon: &DaemonClient) -> Result<(), DaemonError> {
        self.0 = daemon.workers().await?.into_iter().map(|worker| (worker.unit.clone(), worker.name())).collect();
        Ok(())
    }

    /// Asks again if the event is about an unknown worker.
    async fn learn_of(&mut self, event: &Event, daemon: &DaemonClient) -> Result<(), DaemonError> {
        let is_new = event.unit.as_ref().is_some_and(|unit| !self.0.contains_key(unit));
        if is_new { self.learn(daemon).await } else { Ok(()) }
    }

    /// The name of the worker that the event is about; its unit's name if it is unknown.
    fn of<'a>(&'a self, event: &'a Event) -> &'a str {
        event.unit.as_ref().and_then(|unit| self.0.get(unit)).map_or_else(|| event.unit_name(), String::as_str)
    }
}

/// An event as a line, or as several on a narrow terminal. While following, lines stay on the screen, so they show the
/// time of day.
fn line(event: &Event, name: &str, follow: bool, now: SystemTime, style: Style, width: Option<usize>) -> String {
    let time = match event.time {
        None => String::new(),
        Some(time) if follow => time_of_day(time, true),
        Some(time) => ago(time, now),
    };
    // `23h 59m ago`, or a time of day.
    let ahead = if follow { 9 } else { 11 };
    let margin = ahead + 13;
    let sentence = term::hanging(&event.sentence(name), margin, width);
    let phase = format!("{:9}", event.phase.as_str());
    let phase = match event.phase {
        Phase::Healed | Phase::Recovered => style.good(phase),
        Phase::Failed | Phase::GaveUp => style.bad(phase),
        Phase::Detected | Phase::Held | Phase::Scheduled => style.busy(phase),
        Phase::Starting | Phase::Done => phase,
        Phase::Stopped => style.faint(phase),
    };
    format!("{}  {phase}  {sentence}\n", style.faint(format!("{time:>ahead$}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn sentences_are_broken_where_there_is_no_room() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(100_000);
        let event = |phase, seconds| Event {
            unit: UnitName::parse("lerd-queue-shop").ok(),
            time: Some(now - Duration::from_secs(seconds)),
            ..Event::new(phase)
        };
        let error = "exited right after starting: RedisException: Connection refused [tcp://127.0.0.1:6379]";
        let events = [
            Event { reason: "failed".into(), ..event(Phase::Detected, 8000) },
            Event { attempt: Some(1), error: error.into(), ..event(Phase::Failed, 90) },
            Event { attempt: Some(2), retry_in: Some(Duration::from_secs(60)), ..event(Phase::Scheduled, 89) },
            Event { downtime: Some(Duration::from_secs(80)), ..event(Phase::Healed, 0) },
        ];
        for width in [60, 80, 120, 200] {
            let lines: String = events
                .iter()
                .map(|event| line(event, "the-shop-of-a-customer/queue", false, now, Style::default(), Some(width)))
                .collect();
            assert!(lines.lines().all(|line| line.chars().count() <= width), "{lines}");
            insta::assert_snapshot!(format!("{width}"), lines);
        }
    }
}
