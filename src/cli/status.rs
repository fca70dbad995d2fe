//! `workerheal status`: every worker as the daemon sees it.

mod columns;

use std::time::{Duration, SystemTime};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use self::columns::{Row, Tone};
use super::Status as Outcome;
use super::complete::{sites, targets};
use super::pause::paused;
use super::term::{self, Style};
use super::time::minute_of_day;
use crate::api::DaemonStatus;
use crate::client::daemon::DaemonClient;
use crate::core::diagnosis::State;
use crate::core::explain::times::{left, roughly, rounded};
use crate::core::report::{Stage, WorkerReport};
use crate::setup::Options;

/// The most common uses of `status`.
const EXAMPLES: &str = "\
Examples:
  workerheal status                  every worker
  workerheal status myapp shop/vite  those of a site, and one of another
  workerheal status --failed         what needs a look";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Status {
    /// Which workers: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: all]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// Only unhealthy workers, without those that are down on purpose
    #[arg(long)]
    failed: bool,
    /// Only workers of this site
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(sites))]
    site: Option<String>,
    /// Print a JSON array of the workers
    #[arg(long)]
    json: bool,
}

/// The named site has no workers.
#[derive(Debug, thiserror::Error)]
#[error("no site named {0:?} has workers; see `workerheal status`")]
struct UnknownSite(String);

impl Status {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Outcome> {
        let daemon = DaemonClient::required(options).await?;
        let all = term::patiently(daemon.workers()).await?;
        let workers = self.wanted(&daemon, &all).await?;
        if self.json {
            term::print(format!("{}\n", serde_json::to_string_pretty(&workers)?))?;
            return Ok(Outcome::Done);
        }
        let status = daemon.status().await?;
        let now = SystemTime::now();
        let table = match workers.is_empty() {
            true if self.failed && !all.is_empty() => "No unhealthy workers.\n".to_owned(),
            true => "No workers found; see `workerheal check`.\n".to_owned(),
            false => table(&workers, now, style, term::width()),
        };
        let head = head(&status, &all, now, style, term::width());
        term::print(format!("{head}\n{table}"))?;
        Ok(Outcome::Done)
    }

    async fn wanted(&self, daemon: &DaemonClient, all: &[WorkerReport]) -> anyhow::Result<Vec<WorkerReport>> {
        if let Some(site) = self.site.as_ref().filter(|site| all.iter().all(|worker| worker.site != **site)) {
            return Err(UnknownSite(site.clone()).into());
        }
        let units = daemon.select(&self.targets).await?;
        let is_wanted = |worker: &&WorkerReport| {
            let is_named = self.targets.is_empty() || units.contains(&worker.unit);
            let is_of_site = self.site.as_ref().is_none_or(|site| worker.site == *site);
            is_named && is_of_site && (!self.failed || worker.unhealthy().is_some())
        };
        Ok(all.iter().filter(is_wanted).cloned().collect())
    }
}

/// The daemon's status and pauses.
fn head(
    status: &DaemonStatus,
    workers: &[WorkerReport],
    now: SystemTime,
    style: Style,
    width: Option<usize>,
) -> String {
    let wrapped = |text: &str| term::hanging(text, 0, width);
    let uptime = status.uptime.map_or(String::new(), |uptime| format!(", up for {}", roughly(uptime)));
    let count = format!("{} worker{}", status.workers, if status.workers == 1 { "" } else { "s" });
    let counts: Vec<String> = status.counts.iter().map(|(stage, count)| format!("{count}\u{a0}{stage}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let version = format!("workerheal {}", status.version);
    // A count stays with its word where the line is broken.
    let mut head = wrapped(&format!("{version}{uptime}, {count}{counts}")).replace('\u{a0}', " ") + "\n";
    head = head.replacen(&version, &style.strong(&version), 1);
    if status.workers > 0 {
        head.push_str(&last_day(status, workers, style, width));
    }
    if !status.manager.reachable {
        let why = format!("The service manager cannot be reached, nothing is healed: {}", status.manager.error);
        head.push_str(&format!("{}\n", style.bad(wrapped(&why))));
    }
    if status.stop_marker {
        head.push_str(&format!("{}\n", style.busy("Everything was stopped on purpose, nothing is healed.")));
    }
    if !status.config_error.is_empty() {
        let why = format!("The configuration cannot be used, an earlier one is: {}", status.config_error);
        head.push_str(&format!("{}\n", style.bad(wrapped(&why))));
    }
    if !status.registry.error.is_empty() {
        let why = format!("The registry cannot be used, an earlier one is: {}", status.registry.error);
        head.push_str(&format!("{}\n", style.bad(wrapped(&why))));
    }
    for warning in &status.registry.warnings {
        head.push_str(&format!("{}\n", style.busy(wrapped(warning))));
    }
    if !status.state.error.is_empty() {
        head.push_str(&format!(
            "{}\n",
            style.bad(wrapped(&format!("What has to survive a restart: {}", status.state.error)))
        ));
    }
    for pause in &status.pauses {
        head.push_str(&format!("{}\n", style.busy(wrapped(&paused(pause, workers, now)))));
    }
    head
}

/// The last 24 hours in figures, as a line.
fn last_day(status: &DaemonStatus, workers: &[WorkerReport], style: Style, width: Option<usize>) -> String {
    let need_you = workers.iter().filter(|worker| worker.needs_you()).count();
    let line = status.last_day.line(need_you, minute_of_day, width.unwrap_or(usize::MAX));
    let need_you = if line.need_you.is_empty() { String::new() } else { style.bad(line.need_you) };
    format!("{}{need_you}\n", style.faint(line.figures))
}

/// How long ago something was: `now`, `12s ago`, `3h 5m ago`.
pub(super) fn ago(time: SystemTime, now: SystemTime) -> String {
    match now.duration_since(time).unwrap_or_default() {
        moment if moment < Duration::from_secs(1) => "now".to_owned(),
        time => format!("{} ago", roughly(time)),
    }
}

/// The workers as a table, cut to the width of the terminal if there is one.
fn table(workers: &[WorkerReport], now: SystemTime, style: Style, width: Option<usize>) -> String {
    let rows: Vec<Row> = workers.iter().map(|worker| Row::of(worker, now)).collect();
    columns::lay_out(&rows, width, style)
}

impl Row {
    fn of(worker: &WorkerReport, now: SystemTime) -> Self {
        Self {
            name: worker.name(),
            phase: worker.phase.to_string(),
            state: worker.state.filter(|_| worker.phase != Stage::Up).map_or("", State::as_str),
            tries: if worker.attempts > 0 && !is_at_rest(worker) { worker.attempts.to_string() } else { String::new() },
            changed: worker.since.max(worker.up_since).map_or(String::new(), |since| ago(since, now)),
            why: why(worker),
            tone: tone(worker),
        }
    }
}

/// Whether its earlier events do not matter: it is down on purpose, or never ran.
fn is_at_rest(worker: &WorkerReport) -> bool {
    matches!(worker.phase, Stage::Stopped | Stage::Down)
}

/// What the worker waits for, and its error.
fn why(worker: &WorkerReport) -> String {
    let mut why = Vec::new();
    match (worker.phase, worker.retry_in) {
        (Stage::Waiting, Some(wait)) if wait > Duration::ZERO => why.push(format!("again in {}", rounded(wait))),
        (Stage::Waiting, _) => why.push("again now".to_owned()),
        _ => {}
    }
    if !worker.reason.is_empty() {
        let wait = worker.retry_in.filter(|_| worker.phase != Stage::Waiting);
        why.push(match wait {
            Some(wait) => format!("{}, {} left", worker.reason, left(wait)),
            None => worker.reason.clone(),
        });
    }
    if !worker.last_error.is_empty() && worker.phase != Stage::Up && !is_at_rest(worker) {
        why.push(worker.last_error.clone());
    }
    why.join("; ")
}

fn tone(worker: &WorkerReport) -> Tone {
    match worker.phase {
        Stage::Up if worker.reason.is_empty() => Tone::Good,
        Stage::Up | Stage::Proving | Stage::Starting | Stage::Due | Stage::Waiting | Stage::Changing => Tone::Busy,
        Stage::Held if worker.healthy || worker.on_purpose => Tone::Faint,
        Stage::Held => Tone::Busy,
        Stage::GaveUp | Stage::Unknown => Tone::Bad,
        Stage::Stopped | Stage::Down => Tone::Faint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ManagerStatus, PauseKind, PauseReport, RegistryStatus, StateStatus};
    use crate::core::last_day::{DAY, LastDay};
    use crate::manager::Scope;

    fn workers() -> Vec<WorkerReport> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        vec![
            WorkerReport {
                since: Some(now - Duration::from_secs(1000)),
                up_since: Some(now - Duration::from_secs(65)),
                ..WorkerReport::plain("queue", Stage::Up)
            },
            WorkerReport {
                state: Some(State::StartLimitHit),
                attempts: 3,
                retry_in: Some(Duration::from_secs(12)),
                last_error: "exit-code: boom".into(),
                since: Some(now - Duration::from_secs(4)),
                ..WorkerReport::plain("a-worker-with-a-long-name", Stage::Waiting)
            },
            WorkerReport {
                reason: "you paused the site myapp".into(),
                retry_in: Some(Duration::from_secs(1700)),
                ..WorkerReport::plain("vite", Stage::Held)
            },
            WorkerReport {
                attempts: 2,
                reason: "you stopped it".into(),
                last_error: "exit-code: of before".into(),
                ..WorkerReport::plain("horizon", Stage::Stopped)
            },
            WorkerReport {
                reason: "nothing says that it should be up".into(),
                last_error: "exit-code: of before".into(),
                ..WorkerReport::plain("scheduler", Stage::Down)
            },
        ]
    }

    fn shown(width: Option<usize>) -> String {
        table(&workers(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000), Style::default(), width)
    }

    #[test]
    fn each_worker_has_a_line_with_its_reason() {
        assert_eq!(
            shown(None),
            "WORKER                           STATUS                     TRIES  CHANGED  WHY\n\
             myapp/queue                      up                                1m ago\n\
             myapp/a-worker-with-a-long-name  waiting (start-limit-hit)      3  4s ago   again in 12s; exit-code: boom\n\
             myapp/vite                       held                                       you paused the site myapp, 28m left\n\
             myapp/horizon                    stopped                                    you stopped it\n\
             myapp/scheduler                  down                                       nothing says that it should be up\n"
        );
    }

    #[test]
    fn columns_give_way_from_wide_to_narrow() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let paused = PauseReport { kind: PauseKind::Site, name: "myapp".into(), ends_in: None, ends_at: None };
        let status = DaemonStatus {
            version: "1.2.3".into(),
            pid: 1,
            uptime: Some(Duration::from_secs(300_000)),
            manager: ManagerStatus { scope: Scope::User, reachable: true, error: String::new() },
            registry: RegistryStatus {
                path: String::new(),
                sites: 1,
                read: None,
                warnings: Vec::new(),
                error: String::new(),
            },
            state: StateStatus::default(),
            config: String::new(),
            config_error: "/home/me/.config/workerheal/config.yaml:2:9: unknown key `backof`; did you mean `backoff`?"
                .into(),
            stop_marker: false,
            pauses: vec![paused],
            workers: 5,
            counts: [Stage::Up, Stage::Waiting, Stage::Held, Stage::Stopped, Stage::Down].map(|it| (it, 1)).into(),
            last_day: LastDay {
                failures: 12,
                healed: 11,
                median_downtime: Some(Duration::from_millis(14)),
                ..LastDay::default()
            },
        };
        let mut workers = workers();
        workers[2].state = Some(State::Failed);
        for width in [60, 80, 120, 200] {
            let head = head(&status, &workers, now, Style::default(), Some(width));
            let screen = format!("{head}\n{}", shown(Some(width)));
            assert!(screen.lines().all(|line| line.chars().count() <= width), "{screen}");
            insta::assert_snapshot!(format!("{width}"), screen);
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 40..=200 {
            for line in shown(Some(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
