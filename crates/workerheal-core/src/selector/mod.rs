//! Which units are workers, and of which site.
//!
//! A worker of a site is the unit `<prefix><worker>-<site>.service`, of one of its git worktrees
//! `<prefix><worker>-<site>-<worktree>.service`. Workers, sites and worktrees may all contain
//! hyphens, so a name alone can be ambiguous. The rules, which are those of Lerd 1.33:
//!
//! 1. A unit is a worktree's if its `WorkingDirectory=` is no site's own directory, and the last part
//!    of that directory, with its dots read as hyphens, is the tail of the unit's name. It belongs to
//!    the longest registered site that stands right before the tail.
//! 2. Any other unit belongs to the longest registered site that its name ends in.
//! 3. All other units belong to no site.
//!
//! The directory is needed only where a registered site stands in the middle of the name, because only there can rule 1
//! apply. Paused, ignored and unreadable sites take part: their units are not taken for those of another site. The cost
//! of a resolution grows with the hyphens in the name, not with the number of sites.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::registry::Registry;
use super::units::{UnitName, is_unit_character};

/// The worker that a unit runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    /// The site; empty for a unit that only `also_watch` covers.
    pub site: String,
    /// The worker's name in the site, for example `queue`; the unit's name if there is no site.
    pub name: String,
    /// The git worktree that it serves, if not the site's main checkout, as the unit's name spells it: the last part of
    /// the worktree's directory, with hyphens for dots.
    pub worktree: Option<String>,
}

impl Worker {
    /// The worker's name within its site: `WORKER` or `WORKER@WORKTREE`.
    #[must_use]
    pub fn task(&self) -> String {
        match &self.worktree {
            Some(worktree) => format!("{}@{worktree}", self.name),
            None => self.name.clone(),
        }
    }
}

/// `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or the worker alone where there is no site.
impl fmt::Display for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_name(&self.site, &self.name, self.worktree.as_deref()))
    }
}

/// The display name of a worker: `SITE/WORKER`, `SITE/WORKER@WORKTREE`, or the worker alone if there is no site.
#[must_use]
pub fn display_name(site: &str, worker: &str, worktree: Option<&str>) -> String {
    match (site, worktree) {
        ("", _) => worker.to_owned(),
        (site, None) => format!("{site}/{worker}"),
        (site, Some(worktree)) => format!("{site}/{worker}@{worktree}"),
    }
}

/// What a unit's name says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The unit is this worker.
    Worker(Worker),
    /// The name is ambiguous: resolve it again with the unit's `WorkingDirectory=`.
    NeedsDirectory,
    /// The unit is no worker, and never touched.
    NotAWorker,
}

/// The settings that select which units are covered.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    prefix: String,
    ignored: HashSet<String>,
    also: Vec<glob::Pattern>,
    /// Aliases (`Alias=`) that match one of the globs.
    aliases: Aliases,
}

/// Units by their aliases.
pub type Aliases = BTreeMap<UnitName, UnitName>;

/// Why a selector setting was rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// An empty or impossible prefix would cover every unit, or none.
    #[error("`unit_prefix` must be the beginning of a unit name, such as `lerd-`")]
    Prefix,
    /// Not a glob that can match service units.
    #[error("{0:?} is no glob for service units ({1}), write for example \"celery@*.service\"")]
    Glob(String, String),
}

impl Selector {
    /// Selects the units that begin with `prefix`, except workers named in `ignored`, and the units that match one of
    /// the globs in `also`.
    ///
    /// # Errors
    ///
    /// If the prefix or a glob cannot match a service unit.
    pub fn new(
        prefix: &str,
        ignored: impl IntoIterator<Item = String>,
        also: &[String],
    ) -> Result<Self, InvalidSelector> {
        if prefix.is_empty() || !prefix.chars().all(is_unit_character) {
            return Err(InvalidSelector::Prefix);
        }
        let also = also.iter().map(|text| parse_glob(text)).collect::<Result<_, _>>()?;
        Ok(Self { prefix: prefix.to_owned(), ignored: ignored.into_iter().collect(), also, aliases: Aliases::new() })
    }

    /// Globs in the manager's syntax that match all covered units: first that of the prefix, then those of `also_watch`,
    /// which may match aliases, too.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        std::iter::once(format!("{}*.service", self.prefix))
            .chain(self.also.iter().map(|glob| glob.as_str().to_owned()))
            .collect()
    }

    /// Globs in the manager's syntax of the units that may run a worker of this name; none if there can be no such worker.
    #[must_use]
    pub fn patterns_of(&self, worker: &str) -> Vec<String> {
        let Ok(unit) = UnitName::parse(worker) else { return Vec::new() };
        if self.aliases.contains_key(&unit) {
            // The worker has the unit's own name.
            return Vec::new();
        }
        let of_sites = (!self.ignored.contains(worker)).then(|| format!("{}{worker}-*.service", self.prefix));
        let itself = self.matches_also_watch(&unit).then(|| unit.as_str().to_owned());
        of_sites.into_iter().chain(itself).collect()
    }

    /// The globs of `also_watch`, in the manager's syntax.
    pub fn also_watched(&self) -> impl Iterator<Item = &str> {
        self.also.iter().map(glob::Pattern::as_str)
    }

    /// Whether a glob may match an alias, so that the manager has to be asked for aliases.
    #[must_use]
    pub fn may_name_aliases(&self) -> bool {
        !self.also.is_empty()
    }

    /// Replaces the known aliases. A unit is covered by an alias as by its own name. Returns whether that changes
    /// anything.
    pub fn set_aliases(&mut self, aliases: &Aliases) -> bool {
        let is_meant = |alias: &UnitName| self.also.iter().any(|glob| glob.matches(alias.as_str()));
        let meant = aliases.iter().filter(|(alias, _)| is_meant(alias));
        let meant = meant.map(|(alias, unit)| (alias.clone(), unit.clone())).collect();
        std::mem::replace(&mut self.aliases, meant) != self.aliases
    }

    /// The aliases by which units are covered.
    #[must_use]
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The targets with aliases replaced by unit names.
    #[must_use]
    pub fn by_own_names(&self, targets: &[String]) -> Vec<String> {
        targets.iter().map(|target| self.own_name(target)).collect()
    }

    /// The target, with an alias replaced by the unit's name.
    #[must_use]
    pub fn own_name(&self, target: &str) -> String {
        let unit = UnitName::parse(target).ok().and_then(|alias| self.aliases.get(&alias));
        unit.map_or(target, UnitName::short).to_owned()
    }

    /// The unit that a target may name, whether or not it is loaded: `SITE/WORKER` is that of the main checkout.
    #[must_use]
    pub fn unit_of(&self, target: &str) -> Option<UnitName> {
        let unit = match target.split_once('/') {
            Some((site, task)) => UnitName::parse(&format!("{}{task}-{site}", self.prefix)),
            None => UnitName::parse(&self.own_name(target)),
        };
        unit.ok().filter(|unit| self.may_cover(unit))
    }

    /// The site in the registry, usable or not, that a target names or whose worker it may be.
    pub(crate) fn site_of<'t>(&self, registry: &Registry, target: &'t str) -> Option<&'t str> {
        let site = match target.split_once('/') {
            Some((site, _)) => site,
            None if registry.claims(target) => target,
            None => {
                let name = target.strip_suffix(".service").unwrap_or(target).strip_prefix(&self.prefix)?;
                hyphens(name).map(|at| &name[at + 1..]).find(|site| registry.claims(site))?
            }
        };
        registry.claims(site).then_some(site)
    }

    /// Whether a glob of `also_watch` matches the unit, by its name or an alias.
    fn matches_also_watch(&self, unit: &UnitName) -> bool {
        self.also.iter().any(|glob| glob.matches(unit.as_str())) || self.aliases.values().any(|it| it == unit)
    }

    /// Whether the unit's name can be covered, without regard to the registry.
    #[must_use]
    pub fn may_cover(&self, unit: &UnitName) -> bool {
        unit.as_str().starts_with(&self.prefix) || self.matches_also_watch(unit)
    }

    /// What the unit's name says about it.
    #[must_use]
    pub fn resolve(&self, registry: &Registry, unit: &UnitName) -> Resolution {
        let Some(name) = self.body(unit) else {
            return self.resolve_unregistered(unit);
        };
        match (site_at_end(registry, name), inner_sites(registry, name).next()) {
            (None, None) => self.resolve_unregistered(unit),
            (Some(worker), None) if may_be_of_another_site(&worker) => Resolution::NeedsDirectory,
            (Some(worker), None) => self.admit(registry, unit, worker),
            (_, Some(_)) => Resolution::NeedsDirectory,
        }
    }

    /// Like [`resolve`](Self::resolve), for a unit whose `WorkingDirectory=` is known (`None` if it has none). Never
    /// returns [`Resolution::NeedsDirectory`].
    #[must_use]
    pub fn resolve_in(&self, registry: &Registry, unit: &UnitName, directory: Option<&Path>) -> Resolution {
        let Some(name) = self.body(unit) else {
            return self.resolve_unregistered(unit);
        };
        let elsewhere = directory.filter(|directory| !registry.is_checkout(directory));
        let worktree = elsewhere.and_then(|directory| worktree_in(registry, name, directory));
        let of_site = || {
            let worker = site_at_end(registry, name)?;
            let outside = directory.filter(|directory| !directory.ancestors().any(|it| registry.is_checkout(it)));
            let is_other = outside.is_some_and(|directory| {
                directory.ancestors().any(|directory| names_another_site(name, &worker.site, directory))
            });
            (!is_other).then_some(worker)
        };
        match worktree.or_else(of_site) {
            Some(worker) => self.admit(registry, unit, worker),
            None => self.resolve_unregistered(unit),
        }
    }

    /// Like [`resolve`](Self::resolve), for a unit that is a container of its own (a quadlet): covered only if the
    /// configuration names it.
    #[must_use]
    pub fn resolve_container(&self, unit: &UnitName) -> Resolution {
        self.resolve_unregistered(unit)
    }

    /// The directories of the sites that the unit's name could belong to: if the unit's own directory is one of them,
    /// it does not belong to a worktree. Empty if the name alone decides.
    #[must_use]
    pub fn rival_checkouts(&self, registry: &Registry, unit: &UnitName) -> BTreeSet<PathBuf> {
        let Some(name) = self.body(unit) else { return BTreeSet::new() };
        let mut rivals = inner_sites(registry, name).peekable();
        let at_end = site_at_end(registry, name);
        if rivals.peek().is_none() && !at_end.as_ref().is_some_and(may_be_of_another_site) {
            return BTreeSet::new();
        }
        let sites = rivals.map(|(_, site)| site.to_owned()).chain(at_end.map(|worker| worker.site));
        let paths = sites.filter_map(|site| registry.site(&site).map(|site| site.path.clone()));
        paths.filter(|path| path.is_absolute()).collect()
    }

    /// The unit's name without the prefix; `None` for units that never are a site's worker.
    fn body<'u>(&self, unit: &'u UnitName) -> Option<&'u str> {
        unit.short().strip_prefix(&self.prefix).filter(|name| !is_shared_container(name))
    }

    /// The worker, unless the configuration or the registry excludes it.
    fn admit(&self, registry: &Registry, unit: &UnitName, worker: Worker) -> Resolution {
        // Whether an unreadable entry is ignored or paused is unknown.
        let is_site = registry.site(&worker.site).is_some_and(|site| !site.ignored);
        if !is_site || self.ignored.contains(&worker.name) {
            return self.resolve_unregistered(unit);
        }
        Resolution::Worker(worker)
    }

    fn resolve_unregistered(&self, unit: &UnitName) -> Resolution {
        if self.matches_also_watch(unit) {
            let worker = Worker { site: String::new(), name: unit.short().to_owned(), worktree: None };
            return Resolution::Worker(worker);
        }
        Resolution::NotAWorker
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self {
            prefix: "lerd-".to_owned(),
            ignored: ["fp", "custom", "cfpm"].map(str::to_owned).into(),
            also: Vec::new(),
            aliases: Aliases::new(),
        }
    }
}

fn parse_glob(text: &str) -> Result<glob::Pattern, InvalidSelector> {
    let refuse = |why: &str| InvalidSelector::Glob(text.to_owned(), why.to_owned());
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

/// Whether this is a PHP-FPM container, which sites share: `php85-fpm`.
fn is_shared_container(name: &str) -> bool {
    let version = name.strip_prefix("php").and_then(|rest| rest.strip_suffix("-fpm"));
    version.is_some_and(|version| !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The longest registered site at the end of the name, and the worker before it.
fn site_at_end(registry: &Registry, name: &str) -> Option<Worker> {
    hyphens(name).find_map(|at| {
        let (worker, site) = (&name[..at], &name[at + 1..]);
        registry.claims(site).then(|| Worker { site: site.to_owned(), name: worker.to_owned(), worktree: None })
    })
}

/// What a directory is called in the names of units.
fn slug(directory: &Path) -> Option<String> {
    Some(directory.file_name()?.to_str()?.replace('.', "-")).filter(|slug| !slug.is_empty())
}

/// Whether the unit may be the worker of a site that is not registered and whose name ends like that one's.
fn may_be_of_another_site(worker: &Worker) -> bool {
    worker.name.contains('-')
}

/// Whether the directory is that of a site which is not registered: its name is the end of the unit's name, and ends
/// with that of the registered site.
fn names_another_site(name: &str, site: &str, directory: &Path) -> bool {
    let ends_with = |text: &str, end: &str| text.strip_suffix(end).is_some_and(|rest| rest.ends_with('-'));
    slug(directory).is_some_and(|slug| ends_with(name, &slug) && ends_with(&slug, site))
}

/// The worker of the worktree in this directory, if the name fits it.
fn worktree_in(registry: &Registry, name: &str, directory: &Path) -> Option<Worker> {
    let slug = slug(directory)?;
    let rest = name.strip_suffix(slug.as_str())?.strip_suffix('-')?;
    Some(Worker { worktree: Some(slug), ..site_at_end(registry, rest)? })
}

/// Every registered site inside the name, with text before and after it, and the text before it.
fn inner_sites<'a>(registry: &'a Registry, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
    let starts = hyphens(name).filter(|start| registry.has_site_beginning_like(&name[start + 1..]));
    starts.flat_map(move |start| {
        let rest = &name[start + 1..];
        hyphens(rest).map(move |end| (&name[..start], &rest[..end])).filter(|(_, site)| registry.claims(site))
    })
}

/// Positions of the hyphens that have text on both sides.
fn hyphens(text: &str) -> impl Iterator<Item = usize> + '_ {
    text.match_indices('-').map(|(at, _)| at).filter(|&at| at > 0 && at + 1 < text.len())
}

#[cfg(test)]
mod tests;
