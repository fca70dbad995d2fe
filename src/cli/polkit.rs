//! `workerheal --system polkit-rule`: the polkit rule for what the configuration covers. Units run it; people need not.

use std::path::Path;

use clap::Args;

use super::{Status, term};
use crate::install::polkit;
use crate::setup::{Options, read_config};

#[derive(Debug, Args)]
pub(super) struct PolkitRule {
    /// Write it to where polkit reads it
    #[arg(long)]
    write: bool,
}

impl PolkitRule {
    pub fn run(self, options: &Options) -> anyhow::Result<Status> {
        let config = read_config(&options.paths()?.config, options.config.is_some())?;
        let rule = polkit::rule(&config.selector);
        if !self.write {
            term::print(rule)?;
        } else if polkit::write(Path::new(polkit::RULE_FILE), &rule)? {
            term::print(format!("{} is written.\n", polkit::RULE_FILE))?;
        }
        Ok(Status::Done)
    }
}
