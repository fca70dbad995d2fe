//! Which units are workers, and whose.
//!
//! A worker of a site is the unit `<prefix><worker>-<site>.service`, of one of its git worktrees
//! `<prefix><worker>-<site>-<worktree>.service`. Workers, sites and worktrees may all contain
//! hyphens, so names alone can be ambiguous: the longest registered site at the end of the name
//! wins, and where a registered site also stands in the middle, the unit's `WorkingDirectory=`
//! decides. The cost of a resolution grows with the hyphens in the name, not with the number of
//! sites.

use std::collections::HashSet;
use std::path::Path;

use super::registry::Registry;
use super::units::{UnitName, is_unit_character};

/// Who a unit works for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// The site, or empty for a unit that only `also_watch` covers.
    pub site: String,
    /// What it does there, for example `queue`; the unit's name where there is no site.
    pub name: String,
    /// The git worktree it serves, if not the site's main directory.
    pub worktree: Option<String>,
}

/// What a unit's name says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// It is this worker.
    Worker(Worker),
    /// The name fits more than one reading: ask again with the unit's `WorkingDirectory=`.
    NeedsDirectory,
    /// None of ours; never touched.
    NotAWorker,
}

/// The part of the configuration that says which units are covered.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    prefix: String,
    ignored: HashSet<String>,
    also: Vec<glob::Pattern>,
}

/// Why a coverage setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCoverage {
    /// An empty or impossible prefix would cover every unit, or none.
    #[error("`unit_prefix` must be the beginning of a unit name, such as `lerd-`")]
    Prefix,
    /// Not a glob over names of service units.
    #[error("{0:?} is no glob for service units ({1}), write for example \"celery@*.service\"")]
    Glob(String, String),
}

impl Coverage {
    /// Coverage of the units that begin with `prefix`, but for workers named in `ignored`, and of
    /// the units that one of the globs in `also` matches.
    ///
    /// # Errors
    ///
    /// If the prefix or a glob cannot match a service unit.
    pub fn new(
        prefix: &str,
        ignored: impl IntoIterator<Item = String>,
        also: &[String],
    ) -> Result<Self, InvalidCoverage> {
        if prefix.is_empty() || !prefix.chars().all(is_unit_character) {
            return Err(InvalidCoverage::Prefix);
        }
        let also = also.iter().map(|text| parse_glob(text)).collect::<Result<_, _>>()?;
        Ok(Self { prefix: prefix.to_owned(), ignored: ignored.into_iter().collect(), also })
    }

    /// The patterns, in the manager's own glob syntax, that all covered units match.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        std::iter::once(format!("{}*.service", self.prefix))
            .chain(self.also.iter().map(|glob| glob.as_str().to_owned()))
            .collect()
    }

    /// Whether the unit's name lets it be covered at all, whatever the registry says.
    #[must_use]
    pub fn may_cover(&self, unit: &UnitName) -> bool {
        unit.as_str().starts_with(&self.prefix) || self.also.iter().any(|glob| glob.matches(unit.as_str()))
    }

    /// Whether there is anything to do without a registry.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        self.also.is_empty()
    }

    /// What the unit's name says of it.
    #[must_use]
    pub fn resolve(&self, registry: &Registry, unit: &UnitName) -> Resolution {
        let Some(name) = unit.short().strip_prefix(&self.prefix) else {
            return self.resolve_unregistered(unit);
        };
        match (site_at_end(registry, name), inner_sites(registry, name).next()) {
            (None, None) => self.resolve_unregistered(unit),
            (Some(worker), None) => self.admit(registry, unit, worker),
            (_, Some(_)) => Resolution::NeedsDirectory,
        }
    }

    /// As [`resolve`](Self::resolve), for a unit whose `WorkingDirectory=` is known (`None`: it has
    /// none). Never answers [`Resolution::NeedsDirectory`].
    #[must_use]
    pub fn resolve_in(&self, registry: &Registry, unit: &UnitName, directory: Option<&Path>) -> Resolution {
        let Some(name) = unit.short().strip_prefix(&self.prefix) else {
            return self.resolve_unregistered(unit);
        };
        let at_end = site_at_end(registry, name);
        let lives_in = |worker: &Worker| {
            let site = registry.site(&worker.site);
            directory.zip(site).is_some_and(|(directory, site)| directory.starts_with(&site.path))
        };
        let worker = match directory {
            // A worktree has a checkout to work in, so what has none is no worktree's.
            None => at_end,
            Some(directory) => {
                let is_home = |worker: &&Worker| registry.site(&worker.site).is_some_and(|site| directory == site.path);
                let mut inner: Vec<Worker> = inner_sites(registry, name).collect();
                inner.sort_by_key(|worker| std::cmp::Reverse((lives_in(worker), worker.site.len())));
                let inner = inner.into_iter().next();
                match (at_end, inner) {
                    (Some(main), _) if is_home(&&main) => Some(main),
                    (_, Some(worktree)) if lives_in(&worktree) => Some(worktree),
                    (Some(main), _) if lives_in(&main) => Some(main),
                    // Worktrees may be checked out anywhere, a site's own workers live in the site.
                    (_, Some(worktree)) => Some(worktree),
                    (main, None) => main,
                }
            }
        };
        match worker {
            Some(worker) => self.admit(registry, unit, worker),
            None => self.resolve_unregistered(unit),
        }
    }

    /// A resolved worker, unless the configuration or the registry takes it out.
    fn admit(&self, registry: &Registry, unit: &UnitName, worker: Worker) -> Resolution {
        let site_ignored = registry.site(&worker.site).is_some_and(|site| site.ignored);
        if site_ignored || self.ignored.contains(&worker.name) {
            return self.resolve_unregistered(unit);
        }
        Resolution::Worker(worker)
    }

    fn resolve_unregistered(&self, unit: &UnitName) -> Resolution {
        if self.also.iter().any(|glob| glob.matches(unit.as_str())) {
            let worker = Worker { site: String::new(), name: unit.short().to_owned(), worktree: None };
            return Resolution::Worker(worker);
        }
        Resolution::NotAWorker
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self { prefix: "lerd-".to_owned(), ignored: ["fp", "custom"].map(str::to_owned).into(), also: Vec::new() }
    }
}

fn parse_glob(text: &str) -> Result<glob::Pattern, InvalidCoverage> {
    let refuse = |why: &str| InvalidCoverage::Glob(text.to_owned(), why.to_owned());
    let full = if text.contains('.') { text.to_owned() } else { format!("{text}.service") };
    if !full.ends_with(".service") {
        return Err(refuse("it does not end in .service"));
    }
    if let Some(wrong) = full.chars().find(|c| !is_unit_character(*c) && !"*?[]!".contains(*c)) {
        return Err(refuse(&format!("it contains {wrong:?}")));
    }
    if full.strip_suffix(".service").is_some_and(|rest| rest.chars().all(|c| c == '*')) {
        return Err(refuse("it would cover every unit there is"));
    }
    glob::Pattern::new(&full).map_err(|error| refuse(error.msg))
}

/// The longest registered site that the name ends in, with what stands before it.
fn site_at_end(registry: &Registry, name: &str) -> Option<Worker> {
    hyphens(name).find_map(|at| {
        let (worker, site) = (&name[..at], &name[at + 1..]);
        registry.site(site).map(|site| Worker { site: site.name.clone(), name: worker.to_owned(), worktree: None })
    })
}

/// Every reading of the name as worker, registered site and worktree.
fn inner_sites<'a>(registry: &'a Registry, name: &'a str) -> impl Iterator<Item = Worker> + 'a {
    hyphens(name).flat_map(move |start| {
        let rest = &name[start + 1..];
        hyphens(rest).filter_map(move |end| {
            let site = registry.site(&rest[..end])?;
            Some(Worker {
                site: site.name.clone(),
                name: name[..start].to_owned(),
                worktree: Some(rest[end + 1..].to_owned()),
            })
        })
    })
}

/// Places of the hyphens that have something on both sides.
fn hyphens(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.match_indices('-').map(|(at, _)| at).filter(|&at| at > 0 && at + 1 < text.len())
}
