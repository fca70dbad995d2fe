//! Which units are workers, and whose.
//!
//! A worker of a site is the unit `<prefix><worker>-<site>.service`, of one of its git worktrees
//! `<prefix><worker>-<site>-<worktree>.service`. Workers, sites and worktrees may all contain
//! hyphens, so names alone can be ambiguous: the longest registered site at the end of the name
//! wins, and where a registered site also stands in the middle, the unit's `WorkingDirectory=`
//! decides. The cost of a resolution grows with the hyphens in the name, not with the number of
//! sites.

use std::collections::{BTreeMap, HashSet};
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
    /// Units by other names (`Alias=`) that one of the globs matches.
    aliases: Aliases,
}

/// The units that other names of theirs stand for.
pub type Aliases = BTreeMap<UnitName, UnitName>;

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
        Ok(Self { prefix: prefix.to_owned(), ignored: ignored.into_iter().collect(), also, aliases: Aliases::new() })
    }

    /// The patterns, in the manager's own glob syntax, that all covered units match.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        std::iter::once(format!("{}*.service", self.prefix))
            .chain(self.also.iter().map(|glob| glob.as_str().to_owned()))
            .collect()
    }

    /// The globs over further units, in the manager's own syntax.
    pub fn further(&self) -> impl Iterator<Item = &str> {
        self.also.iter().map(glob::Pattern::as_str)
    }

    /// Whether units may be meant by another name of theirs: the manager has to be asked.
    #[must_use]
    pub fn may_name_aliases(&self) -> bool {
        !self.also.is_empty()
    }

    /// Takes in the other names of units. A unit is covered by them as by its own. Answers whether they say anything
    /// new.
    pub fn set_aliases(&mut self, aliases: &Aliases) -> bool {
        let is_meant = |alias: &UnitName| self.also.iter().any(|glob| glob.matches(alias.as_str()));
        let meant = aliases.iter().filter(|(alias, _)| is_meant(alias));
        let meant = meant.map(|(alias, unit)| (alias.clone(), unit.clone())).collect();
        std::mem::replace(&mut self.aliases, meant) != self.aliases
    }

    /// The other names of units, as far as they are covered by them.
    #[must_use]
    pub fn aliases(&self) -> &Aliases {
        &self.aliases
    }

    /// The targets, with units called by their own names.
    #[must_use]
    pub fn by_own_names(&self, targets: &[String]) -> Vec<String> {
        targets.iter().map(|target| self.own_name(target)).collect()
    }

    /// The target, with a unit called by its own name.
    #[must_use]
    pub fn own_name(&self, target: &str) -> String {
        let unit = UnitName::parse(target).ok().and_then(|alias| self.aliases.get(&alias));
        unit.map_or(target, UnitName::short).to_owned()
    }

    /// Whether it is one of the further units, by its own name or another.
    fn is_further(&self, unit: &UnitName) -> bool {
        self.also.iter().any(|glob| glob.matches(unit.as_str())) || self.aliases.values().any(|it| it == unit)
    }

    /// Whether the unit's name lets it be covered at all, whatever the registry says.
    #[must_use]
    pub fn may_cover(&self, unit: &UnitName) -> bool {
        unit.as_str().starts_with(&self.prefix) || self.is_further(unit)
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
        if self.is_further(unit) {
            let worker = Worker { site: String::new(), name: unit.short().to_owned(), worktree: None };
            return Resolution::Worker(worker);
        }
        Resolution::NotAWorker
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self {
            prefix: "lerd-".to_owned(),
            ignored: ["fp", "custom"].map(str::to_owned).into(),
            also: Vec::new(),
            aliases: Aliases::new(),
        }
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
    let starts = hyphens(name).filter(|start| registry.has_site_beginning_like(&name[start + 1..]));
    starts.flat_map(move |start| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn registry(sites: &[&str]) -> Registry {
        let sites: Vec<String> = sites.iter().map(|name| format!("{{name: {name}, path: /srv/{name}}}")).collect();
        Registry::parse(format!("sites: [{}]", sites.join(", ")).as_bytes()).unwrap()
    }

    fn unit(name: &str) -> UnitName {
        UnitName::parse(name).unwrap()
    }

    /// `SITE/WORKER`, with `@WORKTREE` where there is one; `-` for what is not ours, `?` for what
    /// only the directory can tell.
    fn in_words(resolution: &Resolution) -> String {
        match resolution {
            Resolution::Worker(Worker { site, name, worktree: None }) => format!("{site}/{name}"),
            Resolution::Worker(Worker { site, name, worktree: Some(worktree) }) => format!("{site}/{name}@{worktree}"),
            Resolution::NeedsDirectory => "?".to_owned(),
            Resolution::NotAWorker => "-".to_owned(),
        }
    }

    fn resolved(sites: &[&str], name: &str) -> String {
        in_words(&Coverage::default().resolve(&registry(sites), &unit(name)))
    }

    fn resolved_in(sites: &[&str], name: &str, directory: Option<&str>) -> String {
        in_words(&Coverage::default().resolve_in(&registry(sites), &unit(name), directory.map(Path::new)))
    }

    #[test]
    fn the_longest_registered_site_wins() {
        assert_eq!(resolved(&["app"], "lerd-queue-app"), "app/queue");
        assert_eq!(resolved(&["app", "my-app"], "lerd-queue-my-app"), "my-app/queue");
        assert_eq!(resolved(&["app", "my-app"], "lerd-emit-events-app"), "app/emit-events");
        assert_eq!(resolved(&["app"], "lerd-queue-other"), "-");
        assert_eq!(resolved(&["app"], "lerd-app"), "-", "a site is no worker of itself");
        assert_eq!(resolved(&["app"], "queue-app"), "-", "the prefix is missing");
    }

    #[test]
    fn containers_and_global_units_are_no_workers() {
        for name in ["lerd-fp-app", "lerd-custom-app", "lerd-nginx", "lerd-php85-fpm", "lerd-dns"] {
            assert_eq!(resolved(&["app", "fpm-app"], name), "-", "{name}");
        }
    }

    #[test]
    fn an_ignored_site_keeps_its_units_from_being_taken_for_those_of_another() {
        let registry =
            Registry::parse(b"sites: [{name: app, path: /a}, {name: my-app, path: /b, ignored: true}]").unwrap();
        let resolution = Coverage::default().resolve(&registry, &unit("lerd-queue-my-app"));
        assert_eq!(resolution, Resolution::NotAWorker);
    }

    #[test]
    fn worktrees_are_told_apart_by_their_directory() {
        let sites = ["shop", "feature"];
        assert_eq!(resolved(&sites, "lerd-queue-shop-feature"), "?");
        for (directory, who) in [
            (Some("/srv/feature"), "feature/queue-shop"),
            (Some("/srv/shop/.worktrees/feature"), "shop/queue@feature"),
            (Some("/home/dev/shop-feature"), "shop/queue@feature"),
            (None, "feature/queue-shop"),
        ] {
            assert_eq!(resolved_in(&sites, "lerd-queue-shop-feature", directory), who, "{directory:?}");
        }
    }

    #[test]
    fn a_worktree_needs_no_site_of_its_name() {
        assert_eq!(resolved(&["shop"], "lerd-queue-shop-fix-7"), "?");
        assert_eq!(resolved_in(&["shop"], "lerd-queue-shop-fix-7", Some("/tmp/fix-7")), "shop/queue@fix-7");
        assert_eq!(resolved_in(&["shop"], "lerd-queue-shop-fix-7", None), "-", "without a checkout it is no worktree");
    }

    #[test]
    fn a_worktree_named_like_its_site_is_no_riddle() {
        assert_eq!(resolved_in(&["app"], "lerd-queue-app-app", Some("/srv/app")), "app/queue-app");
        assert_eq!(resolved_in(&["app"], "lerd-queue-app-app", Some("/srv/app/worktrees/app")), "app/queue@app");
    }

    #[test]
    fn further_units_are_covered_without_a_site() {
        let also = ["celery@*".to_owned(), "lerd-fp-app.service".to_owned()];
        let coverage = Coverage::new("lerd-", ["fp".to_owned()], &also).unwrap();
        let who = |name: &str| in_words(&coverage.resolve(&registry(&["app"]), &unit(name)));
        assert_eq!(who("celery@mail"), "/celery@mail");
        assert_eq!(who("lerd-queue-app"), "app/queue");
        assert_eq!(who("lerd-fp-app"), "/lerd-fp-app", "asked for by name");
        assert_eq!(who("ssh"), "-");
        assert_eq!(coverage.patterns(), ["lerd-*.service", "celery@*.service", "lerd-fp-app.service"]);
    }

    #[test]
    fn a_unit_is_covered_by_another_name_of_its_own() {
        let mut coverage = Coverage::new("lerd-", [], &["celeryd.service".to_owned()]).unwrap();
        let who = |coverage: &Coverage| in_words(&coverage.resolve(&registry(&[]), &unit("app-celery")));
        assert_eq!(who(&coverage), "-");
        let names = [("celeryd", "app-celery"), ("other", "app-other")];
        let aliases: Aliases = names.map(|(alias, real)| (unit(alias), unit(real))).into();
        assert!(coverage.set_aliases(&aliases));
        assert!(!coverage.set_aliases(&aliases), "nothing new");
        assert_eq!(who(&coverage), "/app-celery");
        assert!(coverage.may_cover(&unit("app-celery")));
        assert!(!coverage.may_cover(&unit("app-other")), "its other name is not asked for");
        let targets = ["celeryd.service", "other", "site/queue"].map(str::to_owned);
        assert_eq!(coverage.by_own_names(&targets), ["app-celery", "other", "site/queue"]);
    }

    #[test]
    fn coverage_of_everything_or_of_nothing_is_refused() {
        for prefix in ["", "a b", "lerd/*", "*"] {
            assert_eq!(Coverage::new(prefix, [], &[]), Err(InvalidCoverage::Prefix), "{prefix:?}");
        }
        for glob in ["", "*", "*.service", "**.service", "backup.timer", "a b.service", "../x", "[.service"] {
            assert!(Coverage::new("lerd-", [], &[glob.to_owned()]).is_err(), "{glob:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_site_and_its_worker_are_called_they_are_found(
            site in "[a-z]{1,5}(-[a-z]{1,5}){0,3}", worker in "w[a-z]{0,5}(-[a-z]{1,5}){0,3}", others in prop::collection::vec("[a-z]{1,3}", 0..4),
        ) {
            let mut sites: Vec<&str> = others.iter().map(String::as_str).filter(|other| **other != site).collect();
            sites.sort_unstable();
            sites.dedup();
            sites.push(&site);
            let name = format!("lerd-{worker}-{site}");
            let seen = resolved_in(&sites, &name, Some(&format!("/srv/{site}")));
            prop_assert_eq!(seen, format!("{}/{}", site, worker));
        }

        #[test]
        fn no_name_is_resolved_to_a_site_that_is_not_registered(name in "lerd-[a-z-]{1,40}") {
            if let Ok(unit) = UnitName::parse(&name) {
                let registry = registry(&["app", "my-app"]);
                for directory in [None, Some(Path::new("/srv/app/x")), Some(Path::new("/elsewhere"))] {
                    match Coverage::default().resolve_in(&registry, &unit, directory) {
                        Resolution::Worker(worker) => {
                            prop_assert!(registry.site(&worker.site).is_some());
                            prop_assert!(!worker.name.is_empty());
                            let tail = worker.worktree.map(|worktree| format!("-{worktree}")).unwrap_or_default();
                            prop_assert_eq!(unit.short(), format!("lerd-{}-{}{}", worker.name, worker.site, tail));
                        }
                        Resolution::NeedsDirectory => prop_assert!(false, "the directory was given"),
                        Resolution::NotAWorker => {}
                    }
                }
            }
        }
    }
}
