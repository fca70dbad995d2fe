//! The registry of sites, which Lerd keeps in `sites.yaml`. This is the value; the file is read outside of this crate.
//!
//! An entry that cannot be used is skipped and reported with its line. Its name stays claimed, so that its units are
//! not taken for those of another site. Only a file that is no registry at all is an error, never an empty registry,
//! since that would end all healing.
//!
//! [`Entries`] are what was read, [`Lines`] where it was found.

mod lines;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use super::parse_error::ParseError;
use super::text;

pub use lines::Lines;

/// Maximum number of sites.
pub const MAX_SITES: usize = 40_000;
/// Maximum number of workers in all lists of all sites together.
pub const MAX_WORKERS: usize = 150_000;
/// Maximum number of skipped entries that are reported; further ones are only counted.
const MAX_REPORTED: usize = 50;

/// All sites, in the order of the file. Two registries with the same content are equal, on whichever lines it is.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    sites: Vec<Site>,
    /// Where the keys of each site are, in the same order.
    lines: Vec<Lines>,
    /// Indexes into `sites`, by name.
    by_name: HashMap<String, usize>,
    /// Names of entries that were skipped, and the line and column of the mistake in each.
    claimed: BTreeMap<String, (usize, usize)>,
    /// The file that it was read from; empty if unknown.
    file: PathBuf,
    /// The first words of all names, up to the first hyphen.
    first_words: HashSet<String>,
    /// Normalized directories of sites, in order. Computed on first use: most registries never need it.
    checkouts: OnceLock<Vec<Box<[u8]>>>,
    skipped: Skipped,
    /// Health probes that frameworks define.
    health: Health,
}

/// Files with the addresses of workers, by framework and worker.
pub type Health = BTreeMap<String, BTreeMap<String, PathBuf>>;

impl PartialEq for Registry {
    fn eq(&self, other: &Self) -> bool {
        (&self.sites, &self.health) == (&other.sites, &other.health) && self.claimed.keys().eq(other.claimed.keys())
    }
}

impl Eq for Registry {}

/// The entries of a registry that could not be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// The errors of the first of them.
    pub reported: Vec<ParseError>,
    /// The number of all.
    pub count: usize,
}

impl Skipped {
    fn add(&mut self, error: ParseError) {
        self.count += 1;
        if self.reported.len() < MAX_REPORTED {
            self.reported.push(ParseError { message: format!("this entry is skipped: {}", error.message), ..error });
        }
    }

    /// The number of those that are not reported.
    #[must_use]
    pub fn unreported(&self) -> usize {
        self.count - self.reported.len()
    }
}

/// A site of the registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Its name, which is part of its units' names. Unique.
    pub name: String,
    /// Its directory; empty if unknown.
    pub path: PathBuf,
    /// Its framework, such as `laravel`; empty if unknown.
    pub framework: String,
    /// Whether the whole site is paused.
    pub paused: bool,
    /// Whether Lerd ignores it.
    pub ignored: bool,
    /// Paused workers.
    pub paused_workers: BTreeSet<String>,
    /// Workers that are suspended until the site is used again.
    pub idle_suspended_workers: BTreeSet<String>,
    /// Suspended workers of git worktrees, by worktree.
    pub worktree_idle_suspended: BTreeMap<String, BTreeSet<String>>,
}

/// The entries of a registry in the order of the file, as they were read.
#[derive(Debug, Default)]
pub struct Entries {
    sites: Vec<Site>,
    /// Where the keys of each site are, in the same order.
    lines: Vec<Lines>,
    /// The error of each entry that cannot be used, with its name if that can be part of a unit's name.
    unusable: Vec<(ParseError, Option<String>)>,
}

impl Entries {
    /// Adds a site, with the known lines of its keys.
    pub fn add(&mut self, site: Site, lines: Lines) {
        self.sites.push(site);
        self.lines.push(lines);
    }

    /// Adds an entry that cannot be used: its error, and its name if that can be part of a unit's name.
    pub fn add_unusable(&mut self, error: ParseError, name: Option<String>) {
        self.unusable.push((error, name));
    }

    /// The sites that can be used.
    #[must_use]
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The error of the first entry that cannot be used, if any.
    #[must_use]
    pub fn first_error(&self) -> Option<&ParseError> {
        self.unusable.first().map(|(error, _)| error)
    }
}

/// A registry that does not come from a file.
impl FromIterator<Site> for Registry {
    fn from_iter<I: IntoIterator<Item = Site>>(sites: I) -> Self {
        let mut entries = Entries::default();
        sites.into_iter().for_each(|site| entries.add(site, Lines::default()));
        Self::of(entries)
    }
}

impl Registry {
    /// A registry of these entries. Among sites with the same name the first counts; the others are
    /// [skipped](Self::skipped) like entries that cannot be used.
    ///
    /// # Errors
    ///
    /// If there are more entries than can be kept.
    pub fn new(entries: Entries) -> Result<Self, ParseError> {
        check_limits(entries.sites.len(), entries.sites.iter().map(Site::workers).sum())?;
        Ok(Self::of(entries))
    }

    fn of(Entries { sites, lines, unusable }: Entries) -> Self {
        let mut registry = Self { sites, lines, ..Self::default() };
        let mut skipped = registry.leave_out_repetitions();
        for (error, name) in unusable {
            registry.claimed.extend(name.map(|name| (name, (error.line, error.column))));
            skipped.push(error);
        }
        skipped.sort_by_key(|error| (error.line, error.column));
        for error in skipped {
            registry.skipped.add(error);
        }
        registry.index();
        registry
    }

    /// Keeps the first of several sites with the same name, and returns an error for each of the others.
    fn leave_out_repetitions(&mut self) -> Vec<ParseError> {
        let mut errors = Vec::new();
        let mut keeps = Vec::with_capacity(self.sites.len());
        for (at, site) in self.sites.iter().enumerate() {
            let first = *self.by_name.entry(site.name.clone()).or_insert(at);
            keeps.push(first == at);
            if first != at {
                errors.push(repeated(site, &self.lines[at], &self.lines[first]));
            }
        }
        if !errors.is_empty() {
            let mut kept = keeps.iter();
            self.sites.retain(|_| kept.next().is_some_and(|keeps| *keeps));
            kept = keeps.iter();
            self.lines.retain(|_| kept.next().is_some_and(|keeps| *keeps));
            self.by_name = self.sites.iter().enumerate().map(|(at, site)| (site.name.clone(), at)).collect();
        }
        self.sites.shrink_to_fit();
        self.lines.shrink_to_fit();
        errors
    }

    /// Builds the index of first words.
    fn index(&mut self) {
        let names = self.sites.iter().map(|site| &site.name).chain(self.claimed.keys());
        self.first_words = names.map(|name| first_word(name).to_owned()).collect();
    }

    /// The entries that could not be used.
    #[must_use]
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// Whether the other registry has the same content in the same lines.
    #[must_use]
    pub fn is_written_like(&self, other: &Self) -> bool {
        self == other && (&self.lines, &self.skipped) == (&other.lines, &other.skipped)
    }

    /// The lines of the keys of this site.
    #[must_use]
    pub fn lines(&self, name: &str) -> Option<&Lines> {
        self.by_name.get(name).map(|at| &self.lines[*at])
    }

    /// The site with this name.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Site> {
        self.by_name.get(name).map(|at| &self.sites[*at])
    }

    /// Adds the file that it was read from.
    #[must_use]
    pub fn in_file(self, file: &Path) -> Self {
        Self { file: file.to_owned(), ..self }
    }

    /// Adds the health probes that the sites' frameworks define.
    #[must_use]
    pub fn with_health(self, health: Health) -> Self {
        Self { health, ..self }
    }

    /// Whether some framework defines a health probe.
    #[must_use]
    pub fn has_health(&self) -> bool {
        !self.health.is_empty()
    }

    /// The file with the address of this worker, if its framework defines one.
    #[must_use]
    pub fn url_file(&self, site: &str, worker: &str) -> Option<&Path> {
        let framework = &self.site(site).filter(|_| self.has_health())?.framework;
        self.health.get(framework)?.get(worker).map(PathBuf::as_path)
    }

    /// Whether there is an entry with this name, usable or not.
    #[must_use]
    pub fn claims(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.claimed.contains_key(name)
    }

    /// The file, line and column of the mistake for which the entry with this name is skipped, if it is.
    #[must_use]
    pub fn mistake_in(&self, name: &str) -> Option<String> {
        let (line, column) = self.claimed.get(name).filter(|_| !self.by_name.contains_key(name))?;
        Some(format!("{}:{line}:{column}", text::path(&self.file)))
    }

    /// Whether this is the directory of a site, after normalization.
    #[must_use]
    pub fn is_checkout(&self, directory: &Path) -> bool {
        let checkouts = self.checkouts.get_or_init(|| {
            let paths = self.sites.iter().map(|site| &site.path).filter(|path| !path.as_os_str().is_empty());
            let mut checkouts: Vec<_> = paths.map(|path| without_detours(path)).collect();
            checkouts.sort_unstable();
            checkouts
        });
        checkouts.binary_search(&without_detours(directory)).is_ok()
    }

    /// Whether the name of some site begins with the first word of this text. A cheap test before a search for sites in
    /// a unit's name.
    #[must_use]
    pub fn has_site_beginning_like(&self, text: &str) -> bool {
        self.first_words.contains(first_word(text))
    }

    /// All sites, in the order of the file.
    #[must_use]
    pub fn sites(&self) -> impl ExactSizeIterator<Item = &Site> {
        self.sites.iter()
    }

    /// How many sites there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sites.len()
    }

    /// Whether there is no site at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sites.is_empty()
    }
}

/// A path without `.`, `..`, and repeated slashes, without touching the file system.
fn without_detours(path: &Path) -> Box<[u8]> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(clean.components().next_back(), Some(Component::Normal(_))) => {
                clean.pop();
            }
            Component::ParentDir if clean.has_root() => {}
            part => clean.push(part),
        }
    }
    clean.as_os_str().as_encoded_bytes().into()
}

fn first_word(text: &str) -> &str {
    text.split_once('-').map_or(text, |(word, _)| word)
}

impl Site {
    /// A site with a name and a directory, and nothing else.
    #[must_use]
    pub fn new(name: &str, path: impl Into<PathBuf>) -> Self {
        Self { name: name.to_owned(), path: path.into(), ..Self::default() }
    }

    /// How many workers are in its lists.
    fn workers(&self) -> usize {
        let worktrees = self.worktree_idle_suspended.values().map(|workers| workers.len() + 1);
        self.paused_workers.len() + self.idle_suspended_workers.len() + worktrees.sum::<usize>()
    }

    /// Whether this worker is paused, in the site and all its worktrees.
    #[must_use]
    pub fn is_worker_paused(&self, worker: &str) -> bool {
        self.paused_workers.contains(worker)
    }

    /// Whether this worker, of the site or of the worktree, is suspended until the site is used.
    ///
    /// The worktree is named as in a unit's name, which cannot hold all that a branch's name can: `feature-login` also
    /// matches `feature/Login`.
    #[must_use]
    pub fn is_idle_suspended(&self, worker: &str, worktree: Option<&str>) -> bool {
        let Some(worktree) = worktree else {
            return self.idle_suspended_workers.contains(worker);
        };
        if let Some(workers) = self.worktree_idle_suspended.get(worktree) {
            return workers.contains(worker);
        }
        let slug = slug(worktree);
        let mut alike = self.worktree_idle_suspended.iter().filter(|(name, _)| self::slug(name) == slug);
        alike.any(|(_, workers)| workers.contains(worker))
    }
}

/// A name reduced to letters, digits and hyphens.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// The error of an entry whose name is already taken.
fn repeated(site: &Site, lines: &Lines, first: &Lines) -> ParseError {
    let name = &site.name;
    let message = match first.line_of("name") {
        Some(line) => format!("the site `{name}` is here again, it is in line {line} already"),
        None => format!("the site `{name}` is here twice"),
    };
    let (line, column) = lines.place_of_name();
    ParseError { line, column, message, hint: Some("delete one".to_owned()) }
}

fn check_limits(sites: usize, workers: usize) -> Result<(), ParseError> {
    let too_many = |what: &str, limit: usize| ParseError::whole(what, Some(&format!("the limit is {limit}")));
    if sites > MAX_SITES {
        return Err(too_many("there are too many sites", MAX_SITES));
    }
    if workers > MAX_WORKERS {
        return Err(too_many("there are too many workers in the lists", MAX_WORKERS));
    }
    Ok(())
}
