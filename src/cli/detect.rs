//! `workerheal detect`: lists unhealthy workers.

use clap::Args;

use super::Status;
use super::term::{self, Style};
use super::unhealthy::{paused_line, table};
use crate::client::Access;
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Detect {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Leave out the last log lines, which takes less time
    #[arg(long)]
    no_errors: bool,
    /// Exit with status 1 if a worker is unhealthy
    #[arg(long)]
    exit_code: bool,
}

impl Detect {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let access = Box::pin(Access::open(options)).await?;
        access.warnings().iter().for_each(term::complain);
        let workers = Box::pin(access.detect(!self.no_errors)).await?;
        if self.json {
            term::print(format!("{}\n", serde_json::to_string_pretty(&workers)?))?;
        } else {
            let paused = if workers.is_empty() { Box::pin(access.paused()).await? } else { Vec::new() };
            term::print(match paused.as_slice() {
                [] => table(&workers, style, term::width()),
                paused => paused_line(paused, style, term::width()),
            })?;
        }
        Ok(if self.exit_code && !workers.is_empty() { Status::Unhealthy } else { Status::Done })
    }
}
