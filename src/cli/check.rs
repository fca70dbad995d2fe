//! `workerheal check`: validates the configuration and the registry.

use clap::Args;

use super::Status;
use super::install::at_home;
use super::term::{self, Style};
use crate::core::text;
use crate::files::config::Config;
use crate::manager::{Native, Scope, ServiceManager};
use crate::setup::{Options, read_config, read_registry, warnings};

#[derive(Debug, Args)]
pub(super) struct Check {}

impl Check {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let paths = options.paths()?;
        let config = read_config(&paths.config, options.config.is_some());
        let registry = read_registry(&paths.sites, options.sites.is_some());

        let [config_path, sites_path] = [&paths.config, &paths.sites].map(|path| at_home(&text::path(path)));
        match &config {
            Ok(_) if paths.config.exists() => term::print(format!("{} {config_path}\n", style.good("ok")))?,
            Ok(_) => {
                term::print(format!("{} {config_path} {}\n", style.good("ok"), style.faint("(missing: defaults)")))?;
            }
            Err(_) => {}
        }
        if let Ok(registry) = &registry {
            let away = registry.sites().filter(|site| site.paused || site.ignored).count();
            let count = match (registry.len(), away) {
                (0, _) if !paths.sites.exists() => "missing: no sites yet".to_owned(),
                (1, 0) => "1 site".to_owned(),
                (1, _) => "1 site, paused or ignored".to_owned(),
                (sites, 0) => format!("{sites} sites"),
                (sites, away) => format!("{sites} sites, {away} of them paused or ignored"),
            };
            let (verdict, skipped) = match registry.skipped().count {
                0 => (style.good("ok"), String::new()),
                1 => (style.busy("warning"), ", 1 entry is skipped".to_owned()),
                count => (style.busy("warning"), format!(", {count} entries are skipped")),
            };
            term::print(format!("{verdict} {sites_path} {}\n", style.faint(format!("({count}{skipped})"))))?;
            warnings(&paths.sites, registry).iter().for_each(term::complain);
        }
        if let Ok(config) = &config {
            let Unmatched { globs, probes } = unmatched(config, options.scope).await;
            let what = "no unit, and no file of one, has such a name";
            for glob in globs {
                term::complain(format!("warning: also_watch: {glob:?} matches nothing: {what}"));
            }
            for worker in probes {
                term::complain(format!("warning: probes: {worker:?} is no worker: {what}, or it is not watched"));
            }
        }
        if let (Ok(config), Ok(registry)) = (&config, &registry)
            && registry.is_empty()
            && !config.selector.may_name_aliases()
        {
            term::complain(
                "warning: nothing is watched, as there are no sites and also_watch is empty; choose units: workerheal init",
            );
        }
        // Both errors are reported at once.
        match (config.err(), registry.err()) {
            (None, None) => Ok(Status::Done),
            (Some(error), None) | (None, Some(error)) => Err(error.into()),
            (Some(first), Some(second)) => {
                term::complain(&first);
                Err(second.into())
            }
        }
    }
}

/// What the configuration names, and is not there. Unknown without a service manager.
#[derive(Debug, Default)]
pub(super) struct Unmatched<'a> {
    /// Globs of `also_watch` that match nothing.
    pub globs: Vec<&'a str>,
    /// Names in `probes` that no worker has.
    pub probes: Vec<&'a str>,
}

pub(super) async fn unmatched(config: &Config, scope: Scope) -> Unmatched<'_> {
    let mut unmatched = Unmatched::default();
    let named: Vec<&str> = config.policy.workers_in_probes().collect();
    if !config.selector.may_name_aliases() && named.is_empty() {
        return unmatched;
    }
    let Ok((manager, _)) = Native::connect(scope, Vec::new()).await else { return unmatched };
    for glob in config.selector.also_watched() {
        if manager.has_any(glob).await == Some(false) {
            unmatched.globs.push(glob);
        }
    }
    let mut selector = config.selector.clone();
    if let Ok(aliases) = manager.aliases().await {
        selector.set_aliases(&aliases);
    }
    for worker in named {
        let mut is_there = false;
        for pattern in selector.patterns_of(worker) {
            is_there |= manager.has_any(&pattern).await != Some(false);
        }
        if !is_there {
            unmatched.probes.push(worker);
        }
    }
    unmatched
}
