//! The registry of sites that Lerd writes, `sites.yaml`.
//!
//! The keys that matter here are read strictly: a registry that is wrong is an error, never an
//! empty registry, since that would be the end of all healing. Lerd's many other keys are ignored,
//! whatever their values are.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use std::path::PathBuf;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::document::{self, Flaw, refuse};
use super::units::is_unit_character;

/// Longest name of a site, in bytes: a unit's name has at most 255, its prefix and worker included.
const MAX_NAME: usize = 200;

/// The most sites, and the most workers in all lists together: what is kept must have a limit too.
const MAX_SITES: usize = 40_000;
const MAX_WORKERS: usize = 150_000;

/// All sites, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry {
    sites: Vec<Site>,
    /// Places in `sites`, by name.
    by_name: HashMap<String, usize>,
    /// What their names begin with, up to the first hyphen.
    first_words: HashSet<String>,
}

/// What the registry says of one site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Site {
    /// Its name, part of the names of its workers' units. Unique.
    pub name: String,
    /// Its directory; empty if the registry does not say.
    pub path: PathBuf,
    /// Whether its user stopped the whole site.
    pub paused: bool,
    /// Whether Lerd is to leave it alone.
    pub ignored: bool,
    /// Workers that their user stopped.
    pub paused_workers: BTreeSet<String>,
    /// Workers that sleep until the site is used again.
    pub idle_suspended_workers: BTreeSet<String>,
    /// Workers of git worktrees that sleep, by worktree.
    pub worktree_idle_suspended: BTreeMap<String, BTreeSet<String>>,
}

impl Registry {
    /// Reads a `sites.yaml`.
    ///
    /// # Errors
    ///
    /// If it is no registry, with the place and what was expected there.
    pub fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut names = Names::default();
        let sites = match read(bytes, &mut names) {
            Ok(sites) => sites,
            Err(flaw) => return Err(with_both_places(bytes, flaw, names.twice)),
        };
        let by_name = sites.iter().enumerate().map(|(at, site)| (site.name.clone(), at)).collect();
        let first_words = sites.iter().map(|site| first_word(&site.name).to_owned()).collect();
        Ok(Self { sites, by_name, first_words })
    }

    /// The site of this name.
    #[must_use]
    pub fn site(&self, name: &str) -> Option<&Site> {
        self.by_name.get(name).map(|at| &self.sites[*at])
    }

    /// Whether the name of some site begins like this text, up to the first hyphen. Spares a search
    /// for sites in names of units most of its places.
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

fn first_word(text: &str) -> &str {
    text.split_once('-').map_or(text, |(word, _)| word)
}

impl Site {
    /// Whether its user stopped this worker, in the site and all its worktrees.
    #[must_use]
    pub fn is_worker_paused(&self, worker: &str) -> bool {
        self.paused_workers.contains(worker)
    }

    /// Whether this worker, of the site itself or of the worktree, sleeps until the site is used.
    ///
    /// The worktree is named as in a unit's name, which cannot hold all that a branch's name can:
    /// `feature-login` is also found as `feature/Login`.
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

/// A name as it looks where only letters, digits and hyphens are possible.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// The names read so far.
#[derive(Clone, Default)]
struct Names {
    seen: HashSet<String>,
    /// Workers in the lists of all sites.
    workers: usize,
    /// The name that was there already, which ended the reading.
    twice: Option<String>,
}

impl Names {
    fn admit<E: Error>(&mut self, name: &str) -> Result<String, E> {
        if name.is_empty() {
            return Err(refuse("the name of the site is empty", "write the name that Lerd shows"));
        }
        if let Some(wrong) = name.chars().find(|c| !is_unit_character(*c)) {
            let message = format_args!("a site's name cannot contain {wrong:?}");
            return Err(refuse(message, "it has to fit into the names of units: letters, digits, `-`, `_`, `.`, `:`"));
        }
        if name.len() > MAX_NAME {
            let message = format_args!("this name has {} characters", name.len());
            return Err(refuse(message, format_args!("a site's name has at most {MAX_NAME}")));
        }
        if !self.seen.insert(name.to_owned()) {
            self.twice = Some(name.to_owned());
            return Err(refuse(format_args!("the site `{name}` is here twice"), "delete one"));
        }
        if self.seen.len() > MAX_SITES {
            return Err(refuse("there are too many sites", format_args!("the limit is {MAX_SITES}")));
        }
        Ok(name.to_owned())
    }

    fn count<E: Error>(&mut self, site: &Site) -> Result<(), E> {
        let worktrees = site.worktree_idle_suspended.values().map(|workers| workers.len() + 1);
        self.workers += site.paused_workers.len() + site.idle_suspended_workers.len() + worktrees.sum::<usize>();
        if self.workers > MAX_WORKERS {
            return Err(refuse("there are too many workers in the lists", format_args!("the limit is {MAX_WORKERS}")));
        }
        Ok(())
    }
}

/// All sites of the document. In pieces if that is possible, for the sake of memory.
fn read(bytes: &[u8], names: &mut Names) -> Result<Vec<Site>, Flaw> {
    let Some(split) = document::split_list(bytes, "sites") else {
        return read_whole(bytes, names);
    };
    let before = names.clone();
    match read_pieces(&split, names) {
        Err(_) if document::fits(bytes) => {
            *names = before;
            read_whole(bytes, names)
        }
        outcome => outcome,
    }
}

fn read_whole(bytes: &[u8], names: &mut Names) -> Result<Vec<Site>, Flaw> {
    let sites = document::parse_seed(bytes, Document(names))?;
    sites.ok_or_else(|| Flaw::whole("the file is empty", Some("a registry without sites is written as `sites: []`")))
}

fn read_pieces(split: &document::Split<'_>, names: &mut Names) -> Result<Vec<Site>, Flaw> {
    let mut sites = read_whole(&split.frame, names)?;
    for (lines_before, piece) in &split.pieces {
        let more = document::parse_seed(piece, Sites(names)).map_err(|mut flaw| {
            flaw.line += if flaw.line > 0 { *lines_before } else { 0 };
            flaw
        })?;
        sites.extend(more.unwrap_or_default());
    }
    Ok(sites)
}

/// Adds to the flaw of a site that is there twice where the first one stands, by reading again as
/// far as that: places are known for what is refused only.
fn with_both_places(bytes: &[u8], mut flaw: Flaw, twice: Option<String>) -> Flaw {
    let Some(name) = twice else { return flaw };
    let mut refused = Names { seen: [name.clone()].into(), ..Names::default() };
    if let Err(first) = read(bytes, &mut refused) {
        flaw.message = format!("the site `{name}` is here again, it is in line {} already", first.line);
    }
    flaw
}

/// The document: a mapping with the key `sites`.
struct Document<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<Site>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Site>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<Site>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a registry that begins with `sites:`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Site>, A::Error> {
        let mut sites = None;
        let mut keys = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "sites" {
                sites = Some(map.next_value_seed(Sites(&mut *self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
                keys.push(key);
            }
        }
        sites.ok_or_else(|| match document::did_you_mean("sites", keys.iter().map(String::as_str)) {
            Some(near) => refuse("the key `sites` is missing", format_args!("is `{near}` meant to be `sites`?")),
            None => refuse("the key `sites` is missing", "check that this is the sites.yaml of Lerd"),
        })
    }
}

/// The list of sites; nothing is an empty list.
struct Sites<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Sites<'_> {
    type Value = Vec<Site>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Site>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Sites<'_> {
    type Value = Vec<Site>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sites")
    }

    fn visit_none<E>(self) -> Result<Vec<Site>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Site>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Site>, A::Error> {
        let mut sites = Vec::new();
        while let Some(site) = seq.next_element_seed(OneSite(&mut *self.0))? {
            sites.push(site);
        }
        Ok(sites)
    }
}

/// The keys of a site that matter.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Name,
    Path,
    Paused,
    Ignored,
    PausedWorkers,
    IdleSuspendedWorkers,
    WorktreeIdleSuspended,
    #[serde(other)]
    Other,
}

struct OneSite<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for OneSite<'_> {
    type Value = Site;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Site, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneSite<'_> {
    type Value = Site;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a site with `name:` and `path:`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Site, A::Error> {
        let mut site = Site::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Name => site.name = map.next_value_seed(Name(&mut *self.0))?,
                Key::Path => site.path = map.next_value::<Option<PathBuf>>()?.unwrap_or_default(),
                Key::Paused => site.paused = map.next_value()?,
                Key::Ignored => site.ignored = map.next_value()?,
                Key::PausedWorkers => site.paused_workers = or_nothing(&mut map)?,
                Key::IdleSuspendedWorkers => site.idle_suspended_workers = or_nothing(&mut map)?,
                Key::WorktreeIdleSuspended => {
                    let worktrees: BTreeMap<String, Option<_>> = or_nothing(&mut map)?;
                    let workers = |(name, workers): (_, Option<_>)| (name, workers.unwrap_or_default());
                    site.worktree_idle_suspended = worktrees.into_iter().map(workers).collect();
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        if site.name.is_empty() {
            return Err(de::Error::missing_field("name"));
        }
        self.0.count(&site)?;
        Ok(site)
    }
}

/// The value, or the empty one for `null`.
fn or_nothing<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

/// The name of a site, which is refused at its own place.
struct Name<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a site")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        self.0.admit(name)
    }
}

#[cfg(test)]
mod tests;
