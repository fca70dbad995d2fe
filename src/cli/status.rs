//! `workerheal status`: every worker as the daemon sees it.

use std::time::{Duration, SystemTime};

use clap::Args;

use super::Status as Outcome;
use super::term::{self, Style};
use crate::api::{DaemonStatus, PauseKind, PauseReport};
use crate::client::daemon::DaemonClient;
use crate::core::explain::times::{left, roughly, rounded};
use crate::core::report::{Stage, WorkerReport};
use crate::setup::Options;

/// Minimum width of the reason.
const MIN_REASON_WIDTH: usize = 16;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// Print a JSON array of the workers
    #[arg(long)]
    json: bool,
}

impl Status {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Outcome> {
        let daemon = DaemonClient::connect(options).await?;
        let workers = daemon.workers().await?;
        if self.json {
            term::print(format!("{}\n", serde_json::to_string_pretty(&workers)?))?;
        } else {
            let status = daemon.status().await?;
            let width = term::width();
            let now = SystemTime::now();
            term::print(format!("{}\n{}", head(&status, style), table(&workers, now, style, width)))?;
        }
        Ok(Outcome::Done)
    }
}

/// The daemon's status and pauses.
fn head(status: &DaemonStatus, style: Style) -> String {
    let uptime = status.uptime.map_or(String::new(), |uptime| format!(", up for {}", roughly(uptime)));
    let workers = format!("{} worker{}", status.workers, if status.workers == 1 { "" } else { "s" });
    let counts: Vec<String> = status.counts.iter().map(|(stage, count)| format!("{count} {stage}")).collect();
    let counts = if counts.is_empty() { String::new() } else { format!(": {}", counts.join(", ")) };
    let mut head = format!("{}{uptime}, {workers}{counts}\n", style.strong(format!("workerheal {}", status.version)));
    if !status.manager.reachable {
        let why = format!("The service manager cannot be reached, nothing is healed: {}", status.manager.error);
        head.push_str(&format!("{}\n", style.bad(why)));
    }
    if status.stop_marker {
        head.push_str(&format!("{}\n", style.busy("Everything was stopped on purpose, nothing is healed.")));
    }
    if !status.registry.error.is_empty() {
        let why = format!("The registry cannot be used, an earlier one is: {}", status.registry.error);
        head.push_str(&format!("{}\n", style.bad(why)));
    }
    for warning in &status.registry.warnings {
        head.push_str(&format!("{}\n", style.busy(warning)));
    }
    if !status.state.error.is_empty() {
        head.push_str(&format!("{}\n", style.bad(format!("What has to survive a restart: {}", status.state.error))));
    }
    for pause in &status.pauses {
        head.push_str(&format!("{}\n", style.busy(format!("Paused: {}", pause_line(pause)))));
    }
    head
}

/// A pause in words: `the site shop, for another 29m`.
pub(super) fn pause_line(pause: &PauseReport) -> String {
    let what = match pause.kind {
        PauseKind::Everything => "everything".to_owned(),
        PauseKind::Site => format!("the site {}", pause.name),
        PauseKind::Unit => pause.name.clone(),
    };
    format!("{what}, {}", pause.how_long())
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
    if workers.is_empty() {
        return "No worker is loaded that the configuration covers.\n".to_owned();
    }
    let rows: Vec<[String; 5]> = workers.iter().map(|worker| row(worker, now)).collect();
    let head = ["WORKER", "STATUS", "TRIES", "CHANGED", "WHY"];
    let mut columns = [0; 4];
    for (at, column) in columns.iter_mut().enumerate() {
        let longest = rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        *column = longest.max(head[at].len());
    }
    let room = width.map_or(usize::MAX, |width| {
        // Long names are cut in favour of the reason, up to a limit.
        let others: usize = columns[1..].iter().sum::<usize>() + 8;
        columns[0] = columns[0].min(width.saturating_sub(others + MIN_REASON_WIDTH).max(8));
        width.saturating_sub(columns[0] + others).max(MIN_REASON_WIDTH)
    });
    let [names, states, tries, times] = columns;
    let line = |row: &[String; 5], paint: &dyn Fn(String) -> String| {
        let [name, state, attempts, time, why] = row;
        let (name, why) = (term::fit(name, names), term::fit(why, room));
        let state = paint(format!("{state:states$}"));
        let line = format!("{name:names$}  {state}  {attempts:>tries$}  {time:times$}  {why}");
        format!("{}\n", line.trim_end())
    };
    let mut table = style.strong(line(&head.map(str::to_owned), &|text| text).trim_end());
    table.push('\n');
    for (worker, row) in workers.iter().zip(&rows) {
        table.push_str(&line(row, &|text| painted(worker, text, style)));
    }
    table
}

fn row(worker: &WorkerReport, now: SystemTime) -> [String; 5] {
    let state = match worker.state {
        Some(state) if worker.phase != Stage::Up => format!("{} ({state})", worker.phase),
        _ => worker.phase.to_string(),
    };
    let attempts = if worker.attempts > 0 { worker.attempts.to_string() } else { String::new() };
    let changed = worker.since.max(worker.up_since).map_or(String::new(), |since| ago(since, now));
    [worker.name(), state, attempts, changed, why(worker)]
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
            Some(wait) => format!("{}, for another {}", worker.reason, left(wait)),
            None => worker.reason.clone(),
        });
    }
    if !worker.last_error.is_empty() && worker.phase != Stage::Up {
        why.push(worker.last_error.clone());
    }
    why.join("; ")
}

fn painted(worker: &WorkerReport, text: String, style: Style) -> String {
    match worker.phase {
        Stage::Up if worker.reason.is_empty() => style.good(text),
        Stage::Up | Stage::Proving | Stage::Starting | Stage::Due | Stage::Waiting | Stage::Changing => {
            style.busy(text)
        }
        Stage::Held if worker.healthy => style.faint(text),
        Stage::Held => style.busy(text),
        Stage::GaveUp | Stage::Unknown => style.bad(text),
        Stage::Stopped | Stage::Down => style.faint(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::State;

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
                reason: "healing of the site myapp is paused".into(),
                retry_in: Some(Duration::from_secs(1700)),
                ..WorkerReport::plain("vite", Stage::Held)
            },
        ]
    }

    fn shown(width: Option<usize>) -> String {
        table(&workers(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000), Style::default(), width)
    }

    #[test]
    fn each_worker_has_a_line_with_what_it_waits_for() {
        assert_eq!(
            shown(None),
            "WORKER                           STATUS                     TRIES  CHANGED  WHY\n\
             myapp/queue                      up                                1m ago\n\
             myapp/a-worker-with-a-long-name  waiting (start-limit-hit)      3  4s ago   again in 12s; exit-code: boom\n\
             myapp/vite                       held                                       healing of the site myapp is paused, for another 28m\n"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [70, 80, 100, 200] {
            for line in shown(Some(width)).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
