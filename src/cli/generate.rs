//! Generates shell completions and the manual pages.

mod settings;

use clap::{Args, CommandFactory, ValueEnum};

use super::complete::{self, Shell};
use super::{Cli, Status, term};

#[derive(Debug, Args)]
pub(super) struct Completions {
    /// For which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self) -> anyhow::Result<Status> {
        term::print(complete::script(self.shell)?)?;
        Ok(Status::Done)
    }
}

#[derive(Debug, Args)]
pub(super) struct Man {
    /// Which page: of the program, or of its configuration
    #[arg(value_enum, default_value_t = Page::Workerheal)]
    page: Page,
}

/// A manual page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Page {
    /// workerheal(1)
    Workerheal,
    /// workerheal.yaml(5)
    Config,
}

/// Sections of the manual page besides commands and their options, roff.
const SECTIONS: &str = include_str!("papers/sections.roff");

impl Man {
    pub fn run(self) -> anyhow::Result<Status> {
        if self.page == Page::Config {
            term::print(settings::page())?;
            return Ok(Status::Done);
        }
        let mut page = Vec::new();
        let mut program = Cli::command().name("workerheal");
        program.build();
        let man = clap_mangen::Man::new(program.clone());
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        man.render_synopsis_section(&mut page)?;
        man.render_description_section(&mut page)?;
        page.extend_from_slice(b".SH TARGETS\n");
        page.extend_from_slice(TARGETS.as_bytes());
        // There is only one page, so it names no others.
        page.extend_from_slice(b".SH COMMANDS\n");
        for command in program.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set()) {
            let usage = command.clone().render_usage().to_string();
            let usage = usage.trim_start_matches("Usage: ");
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            page.extend_from_slice(
                format!(".SS {}\n{}\n.PP\n{}.\n", command.get_name(), text(usage), text(&about)).as_bytes(),
            );
            for option in command.get_arguments().filter(|it| !it.is_global_set() && it.get_id() != "help") {
                page.extend_from_slice(described(option).as_bytes());
            }
        }
        man.render_options_section(&mut page)?;
        page.extend_from_slice(SECTIONS.as_bytes());
        man.render_version_section(&mut page)?;
        term::print(String::from_utf8_lossy(&page))?;
        Ok(Status::Done)
    }
}

/// The meaning of a TARGET.
const TARGETS: &str = "\
Commands about workers take TARGETs: a unit (\\fBlerd\\-queue\\-myapp\\fR), \\fBSITE/WORKER\\fR (\\fBmyapp/queue\\fR), \
\\fBSITE/WORKER@WORKTREE\\fR (\\fBmyapp/queue@feat\\-x\\fR), or a site, which is all of its workers. Only workers that \
are watched are accepted.
";

/// An argument with its help, as an item of a list.
fn described(argument: &clap::Arg) -> String {
    let values = argument.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>());
    let takes_value = argument.get_action().takes_values();
    let value = values.filter(|_| takes_value).map(|names| names.join(" ")).unwrap_or_default();
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let names: Vec<String> = short.into_iter().chain(long).collect();
    let head = match (names.is_empty(), value.is_empty()) {
        (true, _) => value,
        (false, true) => names.join(", "),
        (false, false) => format!("{} {value}", names.join(", ")),
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let default: Vec<String> =
        argument.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default =
        if default.is_empty() || !takes_value { String::new() } else { format!(" [default: {}]", default.join(" ")) };
    format!(".TP\n\\fB{}\\fR\n{}{}\n", text(&head), text(&help), text(&default))
}

/// Escapes a text for roff.
fn text(text: &str) -> String {
    let escaped = text.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
