//! `workerheal logs`: the logs of workers, side by side.

use std::time::{Duration, SystemTime};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use futures_util::future::join_all;
use futures_util::stream::{SelectAll, StreamExt, unfold};

use super::Status;
use super::complete::targets;
use super::term::{self, Style};
use super::time::time_of_day;
use crate::client::log::{self, Author, Log, LogError, LogLine};
use crate::client::{Access, ClientError};
use crate::core::selector::Worker;
use crate::core::units::UnitName;
use crate::setup::Options;

/// Maximum number of logs to follow: each has a reader process.
const MAX_FOLLOWED_LOGS: usize = 200;
/// Maximum length of names for the alignment of lines.
const MAX_NAME_COLUMNS: usize = 32;

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Whose: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: every worker]
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets))]
    targets: Vec<String>,
    /// Go on with what is logged from now on
    #[arg(short, long)]
    follow: bool,
    /// So many of the latest lines of each worker
    #[arg(short = 'n', long = "lines", default_value_t = 20, value_name = "NUMBER")]
    count: usize,
}

/// Why logs cannot be shown.
#[derive(Debug, thiserror::Error)]
enum LogsError {
    #[error("{0} workers are too many to follow at once, at most {MAX_FOLLOWED_LOGS} are; name a site or some workers")]
    TooMany(usize),
}

impl Logs {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let access = Box::pin(Access::open(options)).await?;
        let workers = Box::pin(access.named(&self.targets)).await?;
        if workers.is_empty() {
            term::print("No workers found; see `workerheal check`.\n")?;
            return Ok(Status::Done);
        }
        let names = Names::of(&workers, term::width());
        if !self.follow {
            return self.past(options, &workers, &names, style).await;
        }
        if workers.len() > MAX_FOLLOWED_LOGS {
            return Err(LogsError::TooMany(workers.len()).into());
        }
        tokio::select! {
            end = self.followed(options, &workers, &names, style) => end,
            () = term::closed() => Ok(Status::Done),
        }
    }

    /// The latest lines of all, in the order of writing.
    async fn past(
        &self,
        options: &Options,
        workers: &[(UnitName, Worker)],
        names: &Names,
        style: Style,
    ) -> anyhow::Result<Status> {
        let mut lines: Vec<(usize, LogLine)> = Vec::new();
        // A limited number at once, as each takes a process.
        for (group, some) in workers.chunks(8).enumerate() {
            let logs = join_all(some.iter().map(|(unit, _)| log::last(options, unit, self.count))).await;
            for (at, log) in logs.into_iter().enumerate() {
                lines.extend(log?.into_iter().map(|line| (group * 8 + at, line)));
            }
        }
        // Lines without a time keep their place among those of their worker.
        lines.sort_by_key(|(at, line)| line.time.map_or((None, *at), |time| (Some(time), 0)));
        if lines.is_empty() {
            term::print("Nothing has been logged.\n")?;
        }
        let now = SystemTime::now();
        let text: String = lines.iter().map(|(at, line)| shown(names.of_worker(*at), line, now, style)).collect();
        term::print(text)?;
        Ok(Status::Done)
    }

    async fn followed(
        &self,
        options: &Options,
        workers: &[(UnitName, Worker)],
        names: &Names,
        style: Style,
    ) -> anyhow::Result<Status> {
        let logs = workers.iter().map(|(unit, _)| log::follow(options, unit, self.count));
        let mut lines: SelectAll<_> = SelectAll::new();
        for (at, log) in join_all(logs).await.into_iter().enumerate() {
            lines.push(Box::pin(unfold(log?, move |log| next(log, at))));
        }
        while let Some((at, line)) = lines.next().await {
            term::print(shown(names.of_worker(at), &line.map_err(ClientError::from)?, SystemTime::now(), style))?;
        }
        Ok(Status::Done)
    }
}

/// The next line of a log, with its worker.
async fn next(mut log: Log, at: usize) -> Option<((usize, Result<LogLine, LogError>), Log)> {
    let line = log.next().await.transpose()?;
    Some(((at, line), log))
}

/// The beginnings of lines if there are several workers.
struct Names(Vec<String>);

impl Names {
    /// Their names in a column. On a terminal of so many columns, it takes at most a quarter of them.
    fn of(workers: &[(UnitName, Worker)], terminal: Option<usize>) -> Self {
        if workers.len() < 2 {
            return Self(Vec::new());
        }
        let names: Vec<String> = workers.iter().map(|(_, worker)| worker.to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(MAX_NAME_COLUMNS);
        let Some(columns) = terminal else {
            return Self(names.into_iter().map(|name| format!("{name:width$}  ")).collect());
        };
        let width = width.min(columns / 4);
        Self(names.into_iter().map(|name| format!("{:width$}  ", term::fit(&name, width))).collect())
    }

    fn of_worker(&self, at: usize) -> &str {
        self.0.get(at).map_or("", String::as_str)
    }
}

/// A line with its time, and its author if that is not the worker.
fn shown(name: &str, line: &LogLine, now: SystemTime, style: Style) -> String {
    let time = line.time.map_or(String::new(), |time| format!("{} ", moment(time, now)));
    let (by, text) = match line.author {
        Author::Worker => ("", line.text.clone()),
        Author::Manager => ("", style.faint(&line.text)),
        Author::Workerheal => ("workerheal: ", line.text.clone()),
    };
    format!("{}{}{}{text}\n", style.faint(time), style.strong(name), style.busy(by))
}

/// The time of day; with the date if that is not today's.
fn moment(time: SystemTime, now: SystemTime) -> String {
    let is_recent = now.duration_since(time).unwrap_or_default() < Duration::from_secs(12 * 3600);
    time_of_day(time, is_recent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_labelled_if_there_are_several_workers() {
        let worker = |name: &str| {
            let worker = Worker { site: "shop".into(), name: name.into(), worktree: None };
            (UnitName::parse(&format!("lerd-{name}-shop")).unwrap(), worker)
        };
        let line = |author, text: &str| LogLine { time: None, author, text: text.into() };
        let now = SystemTime::UNIX_EPOCH;
        let names = Names::of(&[worker("queue"), worker("horizon")], None);
        let print = |at, line: &LogLine| shown(names.of_worker(at), line, now, Style::default());
        assert_eq!(print(0, &line(Author::Worker, "boom")), "shop/queue    boom\n");
        assert_eq!(print(1, &line(Author::Workerheal, "it is up")), "shop/horizon  workerheal: it is up\n");
        let alone = Names::of(&[worker("queue")], None);
        assert_eq!(shown(alone.of_worker(0), &line(Author::Manager, "exited"), now, Style::default()), "exited\n");
        let narrow = Names::of(&[worker("queue"), worker("horizon")], Some(40));
        assert_eq!(narrow.of_worker(0), "shop/queue  ");
        assert_eq!(narrow.of_worker(1), "shop/hori…  ");
    }
}
