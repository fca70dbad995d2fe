//! `workerheal mcp`: tools for an assistant, on standard input and output.

use std::io::{self, IsTerminal};

use clap::Args;

use super::Status;
use crate::logging;
use crate::mcp;
use crate::setup::Options;

#[derive(Debug, Args)]
pub(super) struct Mcp {}

impl Mcp {
    pub async fn run(self, options: &Options, verbose: bool) -> anyhow::Result<Status> {
        if verbose {
            logging::init(logging::Format::Text, true, true);
        }
        if io::stdin().is_terminal() {
            eprintln!(
                "This talks to an assistant's program, which starts it itself, with the command `workerheal mcp`. \
                 Ctrl-D ends it."
            );
        }
        mcp::serve(options.clone()).await?;
        Ok(Status::Done)
    }
}
