//! `workerheal explain`: why a worker is, or is not, being healed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use clap::Args;

use super::term::{self, Style};
use super::{Status, target};
use crate::client::Client;
use crate::core::coverage::Worker;
use crate::core::explain::{Explanation, Line, Mark, Sources};
use crate::core::places::line_of;
use crate::manager::systemd::Systemd;
use crate::manager::{Scope, ServiceManager};
use crate::paths::read_bounded;
use crate::setup::{Options, Setup};

/// Sentences up to this width have their evidence in one column.
const WIDEST: usize = 60;

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
        let (manager, changes) = Systemd::connect(setup.scope, setup.rules.coverage.patterns()).await?;
        let client = Client::new(manager.clone(), changes, setup.rules.clone());
        let workers = client.workers().await?;
        let mut explanations = Vec::new();
        for unit in target::select(&self.targets, &workers)? {
            let worker = workers.iter().find(|(name, _)| *name == unit).map(|(_, worker)| worker);
            let sources = sources(&setup, worker);
            explanations.push((client.explain(&unit, &sources).await?, manager.last_error(&unit).await));
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
    let mut lines = BTreeMap::new();
    let site = worker.and_then(|worker| setup.rules.registry.sites().position(|site| site.name == worker.site));
    if let Some(site) = site
        && let Ok(bytes) = read_bounded(&paths.sites)
    {
        let keys = ["name", "paused", "paused_workers", "idle_suspended_workers", "worktree_idle_suspended"];
        lines.extend(keys.into_iter().filter_map(|key| Some((key, line_of(&bytes, site, key)?))));
    }
    Sources {
        sites: shown(&paths.sites),
        lines,
        config: shown(&paths.config),
        stop_marker: shown(&paths.stop_marker),
        systemctl: match setup.scope {
            Scope::User => "systemctl --user",
            Scope::System => "systemctl",
        },
        now: SystemTime::now(),
    }
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
    let Explanation { summary, chain, change, state, .. } = explanation;
    let decided = chain.iter().any(|line| line.mark == Mark::Decides);
    let summary = match (decided, state) {
        (true, _) => style.bad(summary),
        (false, Some(_)) => style.strong(summary),
        (false, None) => style.good(summary),
    };
    let mut text = format!("{summary}\n\n");
    let width = chain.iter().map(|line| line.says.chars().count()).filter(|width| *width <= WIDEST).max().unwrap_or(0);
    for Line { mark, says, evidence } in chain {
        let says = format!("{says:width$}");
        let says = match mark {
            Mark::Finding => format!("• {says}"),
            Mark::Passes => format!("{} {says}", style.good("✓")),
            Mark::Decides => style.bad(format!("✗ {says}")),
            Mark::Objects => format!("{} {says}", style.bad("✗")),
        };
        if evidence.is_empty() {
            text.push_str(&format!("  {}\n", says.trim_end()));
        } else {
            text.push_str(&format!("  {says}  {}\n", style.faint(evidence)));
        }
    }
    if !change.is_empty() {
        text.push_str("\nWhat would change that:\n");
        change.iter().for_each(|way| text.push_str(&format!("  - {way}\n")));
    }
    if let (Some(line), Some(_)) = (last_words, state) {
        text.push_str(&format!("\nIts last log line: {line}\n"));
    }
    text
}
