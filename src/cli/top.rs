//! `workerheal top`: all workers on the screen, live.

use clap::Args;

use super::Status;
use super::term::{self, Style};
use crate::setup::Options;
use crate::top;

#[derive(Debug, Args)]
pub(super) struct Top {}

impl Top {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        anyhow::ensure!(
            term::is_terminal(),
            "top draws on a terminal, which standard output is not; `workerheal status` prints what it would show"
        );
        top::run(options, style.colored).await?;
        Ok(Status::Done)
    }
}
