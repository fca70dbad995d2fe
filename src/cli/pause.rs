//! `workerheal pause` and `workerheal resume`: pauses and resumes healing.

use std::time::{Duration, SystemTime};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Status;
use super::complete::targets;
use super::term::{self, Style};
use super::time::{some_time, until};
use crate::api::{PauseKind, PauseReport, Paused};
use crate::client::daemon::DaemonClient;
use crate::core::report::{Stage, WorkerReport};
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// What to pause: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: everything]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// For how long, such as 30m [default: until it is resumed]
    #[arg(long = "for", value_parser = some_time, value_name = "TIME")]
    time: Option<Duration>,
    /// Print what is paused as JSON
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::required(options).await?;
        let workers = term::patiently(daemon.workers()).await?;
        let paused = daemon.pause(&self.targets, self.time).await?;
        show(&paused, "", &workers, self.json, style)
    }
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// What to resume: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: everything]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// Print what is still paused as JSON
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::required(options).await?;
        let workers = term::patiently(daemon.workers()).await?;
        let before = daemon.status().await?.pauses;
        let paused = daemon.resume(&self.targets).await?;
        let ended: Vec<PauseReport> = before.into_iter().filter(|it| !is_among(it, &paused.pauses)).collect();
        let retried = self.retried(&daemon, &workers).await;
        show(&paused, &resumed(&ended, &retried, &workers), &workers, self.json, style)
    }

    /// The given-up workers that are tried again.
    async fn retried(&self, daemon: &DaemonClient, workers: &[WorkerReport]) -> Vec<String> {
        let named = daemon.select(&self.targets).await.unwrap_or_default();
        let is_meant = |worker: &&WorkerReport| {
            let is_named = self.targets.is_empty() || named.contains(&worker.unit);
            worker.phase == Stage::GaveUp && is_named
        };
        workers.iter().filter(is_meant).map(WorkerReport::name).collect()
    }
}

fn is_among(pause: &PauseReport, others: &[PauseReport]) -> bool {
    others.iter().any(|other| (other.kind, &other.name) == (pause.kind, &pause.name))
}

/// What was resumed, and the consequences.
fn resumed(ended: &[PauseReport], retried: &[String], workers: &[WorkerReport]) -> String {
    let mut text = String::new();
    if ended.is_empty() && retried.is_empty() {
        text.push_str("Nothing was paused or given up.\n");
    }
    if !ended.is_empty() {
        let what: Vec<String> = ended.iter().map(|pause| subject(pause, workers)).collect();
        text.push_str(&format!("Resumed {}.\n", what.join(", ")));
    }
    if !retried.is_empty() {
        let (were, count) =
            if retried.len() == 1 { ("worker that was", 1) } else { ("workers that were", retried.len()) };
        text.push_str(&format!("Trying {count} {were} given up again: {}.\n", retried.join(", ")));
    }
    text
}

/// A pause as a line: `Paused the site shop until 14:05`.
pub(super) fn paused(pause: &PauseReport, workers: &[WorkerReport], now: SystemTime) -> String {
    // An older daemon only says how long it lasts.
    let ends_at = pause.ends_at.or_else(|| now.checked_add(pause.ends_in?));
    let until = match ends_at {
        Some(end) => until(end, now),
        None => "you resume it".to_owned(),
    };
    format!("Paused {} until {until}", subject(pause, workers))
}

/// The display name of a pause's target.
fn subject(pause: &PauseReport, workers: &[WorkerReport]) -> String {
    match pause.kind {
        PauseKind::Everything => "everything".to_owned(),
        PauseKind::Site => format!("the site {}", pause.name),
        PauseKind::Unit => {
            let worker = workers.iter().find(|worker| worker.unit == *pause.name);
            worker.map_or_else(|| pause.name.clone(), WorkerReport::name)
        }
    }
}

/// The pauses in force.
fn show(paused_now: &Paused, done: &str, workers: &[WorkerReport], json: bool, style: Style) -> anyhow::Result<Status> {
    if json {
        term::print(format!("{}\n", serde_json::to_string_pretty(paused_now)?))?;
    } else {
        let now = SystemTime::now();
        let line = |pause| format!("{}\n", style.busy(paused(pause, workers, now)));
        let lines: String = paused_now.pauses.iter().map(line).collect();
        term::print(format!("{done}{lines}"))?;
    }
    match paused_now.warning() {
        Some(warning) => {
            term::complain(warning);
            Ok(Status::Unhealthy)
        }
        None => Ok(Status::Done),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pauses::{Pause, Target};
    use crate::core::time::Timestamp;

    fn pause(kind: PauseKind, name: &str, seconds: Option<u64>) -> PauseReport {
        PauseReport { kind, name: name.into(), ends_in: seconds.map(Duration::from_secs), ends_at: None }
    }

    #[test]
    fn the_end_of_a_pause_is_the_same_whenever_it_is_shown() {
        let begin = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_599_667);
        let end = Timestamp::from_origin(Duration::from_millis(89_999));
        let pause = |now: Duration| {
            let pause = Pause { target: Target::Everything, until: Some(end) };
            let report = PauseReport::of(&pause, Timestamp::from_origin(now), begin + now);
            // As it arrives, without fractions of milliseconds, and at times a moment later.
            let arrived: PauseReport = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
            paused(&arrived, &[], begin + now + Duration::from_millis(3 * (now.as_secs() % 2)))
        };
        let first = pause(Duration::from_micros(1_000_300));
        for seconds in 2..80 {
            assert_eq!(pause(Duration::from_micros(seconds * 1_000_170)), first, "after {seconds} s");
        }
    }

    #[test]
    fn a_pause_says_whose_and_until_when() {
        let workers = [WorkerReport::plain("queue", Stage::Held)];
        let now = SystemTime::now();
        let says = |pause: &PauseReport| paused(pause, &workers, now);
        let end = until(now + Duration::from_secs(600), now);
        assert_eq!(says(&pause(PauseKind::Everything, "", None)), "Paused everything until you resume it");
        assert_eq!(
            says(&pause(PauseKind::Unit, "lerd-queue-myapp", Some(600))),
            format!("Paused myapp/queue until {end}")
        );
        assert_eq!(says(&pause(PauseKind::Site, "shop", Some(600))), format!("Paused the site shop until {end}"));
    }

    #[test]
    fn resuming_lists_resumed_pauses_and_retried_workers() {
        let workers = [WorkerReport::plain("queue", Stage::GaveUp)];
        let ended = [pause(PauseKind::Site, "shop", None), pause(PauseKind::Unit, "lerd-queue-myapp", None)];
        assert_eq!(
            resumed(&ended, &["myapp/queue".into()], &workers),
            "Resumed the site shop, myapp/queue.\nTrying 1 worker that was given up again: myapp/queue.\n"
        );
        assert_eq!(resumed(&[], &[], &workers), "Nothing was paused or given up.\n");
    }
}
