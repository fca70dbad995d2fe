//! `workerheal install` and `workerheal uninstall`: the service of the calling user, or of the system.

use std::path::PathBuf;

use clap::Args;

use super::Status;
use super::term::{self, Style};
use crate::core::text;
use crate::install::{self, Host, Native, Step};
use crate::manager::Scope;
use crate::setup::{Options, Setup};

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Remove the configuration and all that is remembered of workers, too
    #[arg(long)]
    purge: bool,
}

impl Install {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let host = Native::connect(options).await?;
        // Errors that would keep the service from starting are reported now.
        let setup = Setup::load(options)?;
        let steps = install::to_install(&host).await?;
        let version = env!("CARGO_PKG_VERSION");
        if self.dry_run {
            return plan(&steps, "It is installed and running: there is nothing to do.", style);
        }
        perform(&host, &steps, style).await?;
        let says = match host.wait_until_up().await {
            Ok(says) => says,
            Err(error) => {
                term::complain(&error);
                return Ok(Status::Unhealthy);
            }
        };
        let done = if steps.is_empty() { "is installed already, and running" } else { "is installed and running" };
        let says = if says.is_empty() { String::new() } else { format!(": {}", lower_case(&says)) };
        term::print(format!("{} {done}{says}.\n", style.good(format!("workerheal {version}"))))?;
        term::print(format!("{}   {}\n", style.faint("Its log:"), host.log_command()))?;
        if let Some(hint) = host.hint().await {
            term::print(format!("{}      {hint}\n", style.faint("Note:")))?;
        }
        term::print(nothing_to_watch(&setup, options.scope, style))?;
        Ok(Status::Done)
    }
}

impl Uninstall {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let host = Native::connect(options).await?;
        let leftovers: Vec<PathBuf> = install::leftovers(options.scope)?.into_iter().chain(host.leftovers()).collect();
        let purged = if self.purge { leftovers.as_slice() } else { &[] };
        let steps = install::to_uninstall(&host, purged).await?;
        if self.dry_run {
            return plan(&steps, "It is not installed: there is nothing to do.", style);
        }
        perform(&host, &steps, style).await?;
        let done = if steps.is_empty() {
            "workerheal is not installed."
        } else {
            "workerheal is gone; workers that run go on running."
        };
        term::print(format!("{done}\n"))?;
        if let Some(remains) = host.remains() {
            term::print(format!("{remains}\n"))?;
        }
        if !self.purge && !leftovers.is_empty() {
            let left: Vec<String> = leftovers.iter().map(|path| at_home(&path.display().to_string())).collect();
            let (are, them) = if left.len() == 1 { ("is", "it") } else { ("are", "them") };
            let uninstall = if options.scope == Scope::System {
                "sudo workerheal --system uninstall"
            } else {
                "workerheal uninstall"
            };
            let hint = format!("{} {are} left; to remove {them} too: {uninstall} --purge", left.join(" and "));
            term::print(format!("{}\n", style.faint(hint)))?;
        }
        Ok(Status::Done)
    }
}

/// What to do if neither the registry nor the configuration has any workers.
fn nothing_to_watch(setup: &Setup, scope: Scope, style: Style) -> String {
    if !setup.context.registry.is_empty() || setup.context.selector.may_name_aliases() {
        return String::new();
    }
    let [sites, config] = [&setup.paths.sites, &setup.paths.config].map(|path| at_home(&text::path(path)));
    let init = if scope == Scope::System { "sudo workerheal --system init" } else { "workerheal init" };
    format!(
        "\n{} There are no sites in {sites}, and no units in {config}.\n\
         Choose from your units with `{init}`, or write there, with a name of yours:\n\n    \
         also_watch:\n      - \"my-bot.service\"\n\n\
         It takes effect at once.\n",
        style.busy("Nothing to watch yet.")
    )
}

fn plan(steps: &[Step], nothing: &str, style: Style) -> anyhow::Result<Status> {
    if steps.is_empty() {
        term::print(format!("{nothing}\n"))?;
    } else {
        term::print(format!("{}\n", style.strong("This would be done:")))?;
        for step in steps {
            term::print(format!("  {}\n{}", shown(step), aside(step, "  ", style)))?;
        }
    }
    Ok(Status::Done)
}

/// Performs the steps, each on a line of its own with its result.
async fn perform(host: &impl Host, steps: &[Step], style: Style) -> anyhow::Result<()> {
    let width = term::width();
    for step in steps {
        if let Some(width) = width {
            // A separate line, so that it can be cleared.
            term::print(format!("  {} {}", style.faint("·"), term::fit(&shown(step), width.saturating_sub(5))))?;
        }
        let done = install::perform(host, step).await;
        let mark = if done.is_ok() { style.good("✓") } else { style.bad("✗") };
        let back = if width.is_some() { "\r" } else { "" };
        term::print(format!("{back}  {mark} {}\n{}", shown(step), aside(step, "    ", style)))?;
        done?;
    }
    Ok(())
}

/// A step as a line.
fn shown(step: &Step) -> String {
    at_home(&step.to_string())
}

/// A further line about a step, if needed.
fn aside(step: &Step, indent: &str, style: Style) -> String {
    match step {
        Step::Write { runs, .. } => {
            let line = format!("it runs  {}", at_home(&runs.display().to_string()));
            format!("{indent}{}\n", style.faint(line))
        }
        _ => String::new(),
    }
}

/// A text with `~` for the home directory.
pub(super) fn at_home(text: &str) -> String {
    match std::env::var("HOME") {
        Ok(home) if !home.is_empty() && home != "/" => text.replace(&format!("{home}/"), "~/"),
        _ => text.to_owned(),
    }
}

fn lower_case(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
