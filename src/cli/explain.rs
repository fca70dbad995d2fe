//! `workerheal explain`: why a worker is, or is not, being healed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use clap::Args;

use super::term::{self, Style};
use super::{Status, target};
use crate::client::Client;
use crate::core::coverage::Worker;
use crate::core::explain::{Commands, Explanation, Line, Mark, Sources};
use crate::core::places::line_of;
use crate::core::time::Timestamp;
use crate::manager::Native;
use crate::manager::{Scope, ServiceManager};
use crate::paths::read_bounded;
use crate::setup::{Options, Setup};

/// The width that lines keep to where they can.
const COLUMNS: usize = 100;

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// What to explain: a unit, SITE/WORKER or a site
    #[arg(value_name = "TARGET", required = true)]
    targets: Vec<String>,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let setup = Setup::load(options)?;
        let (manager, changes) = Native::connect(setup.scope, setup.rules.coverage.patterns()).await?;
        let client = Client::new(manager.clone(), changes, setup.rules.clone());
        let workers = Box::pin(client.workers()).await?;
        let mut explanations = Vec::new();
        for unit in target::select(&self.targets, &workers)? {
            let worker = workers.iter().find(|(name, _)| *name == unit).map(|(_, worker)| worker);
            let sources = sources(&setup, worker);
            let explanation = Box::pin(client.explain(&unit, &sources)).await?;
            explanations.push((explanation, manager.last_error(&unit).await));
        }
        if self.json {
            let all: Vec<&Explanation> = explanations.iter().map(|(explanation, _)| explanation).collect();
            term::print(format!("{}\n", serde_json::to_string_pretty(&all)?))?;
            return Ok(Status::Done);
        }
        for (at, (explanation, last_words)) in explanations.iter().enumerate() {
            let gap = if at > 0 { "\n" } else { "" };
            term::print(format!("{gap}{}", text(explanation, last_words.as_deref(), style)))?;
        }
        Ok(Status::Done)
    }
}

/// Where the things stand that an explanation of this worker points to.
fn sources(setup: &Setup, worker: Option<&Worker>) -> Sources {
    let paths = &setup.paths;
    let site = worker.and_then(|worker| setup.rules.registry.sites().position(|site| site.name == worker.site));
    let lines = match (site, read_bounded(&paths.sites)) {
        (Some(site), Ok(bytes)) => lines_of(&bytes, site),
        _ => BTreeMap::new(),
    };
    Sources {
        sites: shown(&paths.sites),
        lines,
        config: shown(&paths.config),
        stop_marker: shown(&paths.stop_marker),
        commands: match setup.scope {
            Scope::User => Commands::USER,
            Scope::System => Commands::SYSTEM,
        },
        now: SystemTime::now(),
        // What the daemon has written down was read as of the origin.
        clock: Timestamp::default(),
    }
}

/// Where the registry says of a site what an explanation points to.
fn lines_of(registry: &[u8], site: usize) -> BTreeMap<&'static str, usize> {
    let keys = ["name", "paused", "paused_workers", "idle_suspended_workers", "worktree_idle_suspended"];
    keys.into_iter().filter_map(|key| Some((key, line_of(registry, site, key)?))).collect()
}

/// A path as its user writes it.
fn shown(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    match home.and_then(|home| path.strip_prefix(home).ok().map(Path::to_owned)) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// The explanation as a text, with the last line that the worker has logged.
fn text(explanation: &Explanation, last_words: Option<&str>, style: Style) -> String {
    let Explanation { summary, chain, change, state, log, .. } = explanation;
    let decided = chain.iter().any(|line| line.mark == Mark::Decides);
    let summary = match (decided, state) {
        (true, _) => style.bad(summary),
        (false, Some(_)) => style.strong(summary),
        (false, None) => style.good(summary),
    };
    let mut text = format!("{summary}\n\n");
    let width = column(chain);
    for line in chain {
        text.push_str(&as_lines(line, width, style));
    }
    if !change.is_empty() {
        let heading = match (decided, state) {
            (false, Some(_)) => "If it is not started soon:",
            _ => "What would change that:",
        };
        text.push_str(&format!("\n{heading}\n"));
        for way in change {
            text.push_str(&format!("  - {way}\n"));
        }
    }
    if state.is_some() {
        let last_words = last_words.unwrap_or("(there is none)");
        text.push_str(&format!("\nIts last log line ({log}):\n  {last_words}\n"));
    }
    text
}

/// What stands before a sentence, and the gap behind it.
const AROUND: usize = 6;

/// The widest column of sentences that leaves room for the evidence of all that fit in it.
fn column(chain: &[Line]) -> usize {
    let wide = |text: &str| text.chars().count();
    // Whose evidence stands below them need no column.
    let beside = chain.iter().map(|line| (wide(&line.says), wide(&line.evidence)));
    let beside: Vec<_> =
        beside.filter(|(says, evidence)| *evidence > 0 && AROUND + says + evidence <= COLUMNS).collect();
    let fits = |width: &usize| {
        beside.iter().filter(|(says, _)| says <= width).all(|(_, evidence)| AROUND + width + evidence <= COLUMNS)
    };
    beside.iter().map(|(says, _)| *says).filter(fits).max().unwrap_or(0)
}

/// What is found or ruled, and beside it what that is known from; below it where there is no room.
fn as_lines(Line { mark, says, evidence }: &Line, width: usize, style: Style) -> String {
    let signed = match mark {
        Mark::Finding => format!("• {says}"),
        Mark::Passes => format!("{} {says}", style.good("✓")),
        Mark::Decides => style.bad(format!("✗ {says}")),
        Mark::Objects => format!("{} {says}", style.bad("✗")),
    };
    let wide = says.chars().count();
    if evidence.is_empty() {
        format!("  {signed}\n")
    } else if AROUND + width.max(wide) + evidence.chars().count() <= COLUMNS {
        format!("  {signed}{:gap$}{}\n", "", style.faint(evidence), gap = width.saturating_sub(wide) + 2)
    } else {
        format!("  {signed}\n      {}\n", style.faint(evidence))
    }
}

#[cfg(test)]
mod tests;
