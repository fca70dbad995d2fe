//! Generates shell completions and the man page.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::term;
use super::{Cli, Status};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> anyhow::Result<Status> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "workerheal", &mut script);
        term::print(String::from_utf8_lossy(&script))?;
        Ok(Status::Done)
    }
}

#[derive(Debug, Args)]
pub(super) struct Man {}

impl Man {
    #[expect(clippy::unused_self, reason = "all commands are run alike")]
    pub fn run(self) -> anyhow::Result<Status> {
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        for command in Cli::command().get_subcommands() {
            // One page for all: each command is a section, with its options.
            let name = command.get_name().to_owned();
            let man = clap_mangen::Man::new(command.clone());
            page.extend_from_slice(format!(".SH \"WORKERHEAL {}\"\n", name.to_uppercase()).as_bytes());
            man.render_description_section(&mut page)?;
            man.render_options_section(&mut page)?;
        }
        term::print(String::from_utf8_lossy(&page))?;
        Ok(Status::Done)
    }
}
