//! `workerheal pause` and `workerheal resume`: holds healing, and lets it go on.

use std::time::Duration;

use clap::Args;

use super::Status;
use super::status::pause_line;
use super::term::{self, Style};
use crate::api::Paused;
use crate::client::daemon::DaemonClient;
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Pause {
    /// What to pause: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: everything]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// For how long, such as 30m [default: until it is resumed]
    #[arg(long = "for", value_parser = humantime::parse_duration, value_name = "TIME")]
    time: Option<Duration>,
    /// Print what is paused as JSON
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::connect(options).await?;
        let paused = daemon.pause(&self.targets, self.time).await?;
        show(&paused, "", self.json, style)
    }
}

#[derive(Debug, Args)]
pub(super) struct Resume {
    /// What to resume: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site [default: everything]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Print what is still paused as JSON
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let daemon = DaemonClient::connect(options).await?;
        let paused = daemon.resume(&self.targets).await?;
        show(&paused, "Resumed.\n", self.json, style)
    }
}

/// The pauses in force.
fn show(paused: &Paused, done: &str, json: bool, style: Style) -> anyhow::Result<Status> {
    if json {
        term::print(format!("{}\n", serde_json::to_string_pretty(paused)?))?;
    } else {
        let lines =
            paused.pauses.iter().map(|pause| format!("{}\n", style.busy(format!("Paused: {}", pause_line(pause)))));
        term::print(format!("{done}{}", lines.collect::<String>()))?;
    }
    match paused.warning() {
        Some(warning) => {
            term::complain(warning);
            Ok(Status::Unhealthy)
        }
        None => Ok(Status::Done),
    }
}
