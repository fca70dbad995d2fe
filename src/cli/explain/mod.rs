//! `workerheal explain`: why a worker is, or is not, being healed.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use super::Status;
use super::complete::targets;
use super::term::{self, Style};
use crate::client::Access;
use crate::client::daemon::DaemonClient;
use crate::core::explain::Explanation;
use crate::setup::Options;
use crate::text::explanation::text;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// What to explain: a unit, SITE/WORKER, SITE/WORKER@WORKTREE or a site
    #[arg(value_name = "TARGET", add = ArgValueCompleter::new(targets), required = true)]
    targets: Vec<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let access = Box::pin(Access::open(options)).await?;
        let explained = Box::pin(access.explain(&self.targets)).await?;
        if self.json {
            let all: Vec<&Explanation> = explained.iter().map(|it| &it.explanation).collect();
            term::print(format!("{}\n", serde_json::to_string_pretty(&all)?))?;
            return Ok(Status::Done);
        }
        for (at, it) in explained.iter().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            term::print(format!("{gap}{}", text(&it.explanation, it.last_words.as_deref(), style, term::width())))?;
        }
        if matches!(access, Access::Standalone(_)) && DaemonClient::connect(options).await.is_err() {
            term::complain("no daemon is running, so nothing is healed automatically; see `workerheal doctor`");
        }
        Ok(Status::Done)
    }
}

#[cfg(test)]
mod tests;
