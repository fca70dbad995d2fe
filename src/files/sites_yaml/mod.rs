//! Reads the registry of sites that Lerd writes, `sites.yaml`.
//!
//! The relevant keys are read strictly, Lerd's many other keys are ignored. An entry that cannot be used is skipped,
//! and reported with its line. [`locate`] finds the lines of keys.
//!
//! A list in the usual form is read in pieces, to save memory. If that fails, the whole is read at once if it is short
//! enough, leaving out invalid entries one after the other. If that fails too, because the text of some entry is not
//! valid YAML, each entry is read by itself.

mod locate;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};

use crate::core::parse_error::ParseError;
use crate::core::registry::{Entries, Registry, Site};
use crate::core::units::is_unit_character;
use crate::files::yaml::{self, Item, Split, refuse};
use locate::{lines_of, name_in};

/// Maximum length of a site's name, in bytes: a unit's name has at most 255, including prefix and worker.
const MAX_NAME_BYTES: usize = 200;
/// Maximum number of entries to leave out of a registry that is read at once, as each requires reading it again.
const MAX_LEFT_OUT: usize = 20;

/// Reads a `sites.yaml`. Entries that cannot be used are [skipped](Registry::skipped).
///
/// # Errors
///
/// If it is no registry, or exceeds a limit; with the place and what was expected there.
pub fn parse(bytes: &[u8]) -> Result<Registry, ParseError> {
    Registry::new(read(bytes)?)
}

/// Adds a site, with the text that it was read from if known.
fn add(entries: &mut Entries, site: Site, item: Option<&Item<'_>>) {
    let lines = item.map(|item| lines_of(item, &site.name)).unwrap_or_default();
    entries.add(site, lines);
}

/// All entries of the document.
///
/// # Errors
///
/// If it is no registry.
fn read(bytes: &[u8]) -> Result<Entries, ParseError> {
    let Some(split) = yaml::split_list(bytes, "sites") else {
        return read_whole(bytes, &[]);
    };
    if let Ok(reading) = read_pieces(&split) {
        return Ok(reading);
    }
    if !yaml::fits(bytes) {
        return read_items(&split);
    }
    let items: Vec<Item<'_>> = split.items().collect();
    // An error outside of entries has its place in the whole.
    read_whole(bytes, &items).or_else(|error| read_items(&split).map_err(|_| error))
}

/// Reads the document at once. `items` are the texts of its entries, if known.
fn read_whole(bytes: &[u8], items: &[Item<'_>]) -> Result<Entries, ParseError> {
    let mut progress = Progress::default();
    let mut broken = Vec::new();
    let sites = loop {
        match yaml::parse_seed(bytes, RegistryVisitor(&progress)) {
            Ok(sites) => break sites,
            Err(error) => {
                let again = !progress.skipped.insert(progress.at.get());
                if error.line == 0 || again || !progress.is_inside() || broken.len() >= MAX_LEFT_OUT {
                    return Err(error);
                }
                broken.push((progress.at.get(), error));
                progress.at.set(NOWHERE);
            }
        }
    };
    let hint = Some("a registry without sites is written as `sites: []`");
    let sites = sites.ok_or_else(|| ParseError::whole("the file is empty", hint))?;
    // If the numbers differ, the texts are not those of the entries, and lines stay unknown.
    let items = if items.len() == sites.len() + broken.len() { items } else { &[] };
    let mut entries = Entries::default();
    for (at, site) in sites {
        add(&mut entries, site, items.get(at));
    }
    let name = |at: usize| items.get(at).and_then(|item| name_in(item)).filter(|name| is_possible(name));
    for (at, error) in broken {
        entries.add_unusable(error, name(at));
    }
    Ok(entries)
}

/// Reads the document in pieces, all of which have to be valid.
fn read_pieces(split: &Split<'_>) -> Result<Entries, ParseError> {
    let mut entries = read_whole(&split.frame, &[])?;
    for piece in &split.pieces {
        let progress = Progress::default();
        let sites = yaml::parse_seed(piece.text, SitesVisitor(&progress))?.unwrap_or_default();
        let items: Vec<Item<'_>> = piece.items(split.column).collect();
        let items = if items.len() == sites.len() { items } else { Vec::new() };
        for (at, site) in sites {
            add(&mut entries, site, items.get(at));
        }
    }
    Ok(entries)
}

/// Reads each entry by itself. A text without any valid entry is no registry.
fn read_items(split: &Split<'_>) -> Result<Entries, ParseError> {
    let mut entries = read_whole(&split.frame, &[])?;
    let mut is_yaml = true;
    for item in split.items() {
        let progress = Progress::default();
        match yaml::parse_seed(item.text, SitesVisitor(&progress)) {
            Ok(sites) => {
                for (_, site) in sites.unwrap_or_default() {
                    add(&mut entries, site, Some(&item));
                }
            }
            Err(mut error) => {
                if error.line == 0 || error.line > item.lines() {
                    // The error is about the whole entry, which begins here.
                    (error.line, error.column) = (1, split.column + 1);
                }
                error.line += item.lines_before;
                is_yaml &= yaml::parse_seed(item.text, PhantomData::<IgnoredAny>).is_ok();
                entries.add_unusable(error, name_in(&item).filter(|name| is_possible(name)));
            }
        }
    }
    match entries.first_error() {
        Some(first) if entries.sites().is_empty() && !is_yaml => Err(first.clone()),
        _ => Ok(entries),
    }
}

/// No entry is being read.
const NOWHERE: usize = usize::MAX;

/// The progress of reading a list.
struct Progress {
    /// The index of the current entry.
    at: Cell<usize>,
    /// Indexes of entries to leave out.
    skipped: BTreeSet<usize>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { at: Cell::new(NOWHERE), skipped: BTreeSet::new() }
    }
}

impl Progress {
    fn is_inside(&self) -> bool {
        self.at.get() != NOWHERE
    }
}

/// Whether this can be part of a unit's name.
fn is_possible(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(is_unit_character)
}

/// Validates the name of a site.
fn check_name<E: Error>(name: &str) -> Result<String, E> {
    if name.is_empty() {
        return Err(refuse("the name of the site is empty", "write the name that Lerd shows"));
    }
    if let Some(wrong) = name.chars().find(|c| !is_unit_character(*c)) {
        let message = format_args!("no unit can have {wrong:?} in its name, as the site `{name}` has");
        return Err(refuse(message, "a name has letters, digits, `-`, `_`, `.`, `:`"));
    }
    if name.len() > MAX_NAME_BYTES {
        let message = format_args!("this name has {} characters", name.len());
        return Err(refuse(message, format_args!("a site's name has at most {MAX_NAME_BYTES}")));
    }
    Ok(name.to_owned())
}

/// The document: a mapping with the key `sites`.
struct RegistryVisitor<'s>(&'s Progress);

impl<'de> DeserializeSeed<'de> for RegistryVisitor<'_> {
    type Value = Vec<(usize, Site)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<(usize, Site)>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RegistryVisitor<'_> {
    type Value = Vec<(usize, Site)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a registry that begins with `sites:`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<(usize, Site)>, A::Error> {
        let mut sites = None;
        let mut keys = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "sites" {
                sites = Some(map.next_value_seed(SitesVisitor(self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
                keys.push(key);
            }
        }
        sites.ok_or_else(|| match yaml::did_you_mean("sites", keys.iter().map(String::as_str)) {
            Some(near) => refuse("the key `sites` is missing", format_args!("is `{near}` meant to be `sites`?")),
            None => refuse("the key `sites` is missing", "check that this is the sites.yaml of Lerd"),
        })
    }
}

/// The list of sites; `null` is an empty list.
struct SitesVisitor<'s>(&'s Progress);

impl<'de> DeserializeSeed<'de> for SitesVisitor<'_> {
    type Value = Vec<(usize, Site)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<(usize, Site)>, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for SitesVisitor<'_> {
    type Value = Vec<(usize, Site)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sites")
    }

    fn visit_none<E>(self) -> Result<Vec<(usize, Site)>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<(usize, Site)>, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<(usize, Site)>, A::Error> {
        let mut sites = Vec::new();
        for at in 0.. {
            self.0.at.set(at);
            if self.0.skipped.contains(&at) {
                if seq.next_element::<IgnoredAny>()?.is_none() {
                    break;
                }
                continue;
            }
            let Some(site) = seq.next_element_seed(SiteVisitor)? else { break };
            sites.push((at, site));
        }
        Ok(sites)
    }
}

/// The relevant keys of a site.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Key {
    Name,
    Path,
    Framework,
    Paused,
    Ignored,
    PausedWorkers,
    IdleSuspendedWorkers,
    WorktreeIdleSuspended,
    #[serde(other)]
    Other,
}

struct SiteVisitor;

impl<'de> DeserializeSeed<'de> for SiteVisitor {
    type Value = Site;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Site, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SiteVisitor {
    type Value = Site;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a site with `name:` and `path:`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Site, A::Error> {
        let mut site = Site::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Name => site.name = map.next_value_seed(Name)?,
                Key::Path => site.path = map.next_value::<Option<PathBuf>>()?.unwrap_or_default(),
                Key::Framework => site.framework = or_nothing(&mut map)?,
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
        Ok(site)
    }
}

/// The value, or the default for `null`.
fn or_nothing<'de, A: MapAccess<'de>, T: Deserialize<'de> + Default>(map: &mut A) -> Result<T, A::Error> {
    Ok(map.next_value::<Option<T>>()?.unwrap_or_default())
}

/// The name of a site, validated at its own place.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a site")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        check_name(name)
    }
}

#[cfg(test)]
mod tests;
