//! Where in `sites.yaml` the keys of an entry are, for people who want to look them up.
//!
//! The parser does not say where it has found something that it accepts. Lerd writes each entry as a
//! mapping with a line for each key, and these lines are found by their indentation.

use std::collections::BTreeMap;

use crate::core::document::Item;

/// The lines, from 1, on which the keys of an entry are; `None` for a key that it does not have, or
/// that was not found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// `name`.
    pub name: Option<usize>,
    /// The column, in characters from 1, of the name itself.
    pub(super) name_column: usize,
    /// `paused`.
    pub paused: Option<usize>,
    /// `paused_workers`.
    pub paused_workers: Option<usize>,
    /// `idle_suspended_workers`.
    pub idle_suspended_workers: Option<usize>,
    /// `worktree_idle_suspended`.
    pub worktree_idle_suspended: Option<usize>,
}

impl Lines {
    /// All that are known, by key.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<&'static str, usize> {
        let keys = [
            ("name", self.name),
            ("paused", self.paused),
            ("paused_workers", self.paused_workers),
            ("idle_suspended_workers", self.idle_suspended_workers),
            ("worktree_idle_suspended", self.worktree_idle_suspended),
        ];
        keys.into_iter().filter_map(|(key, line)| Some((key, line?))).collect()
    }

    /// The lines of the keys of this entry, whose name is known.
    pub(super) fn of(item: &Item<'_>, name: &str) -> Self {
        let mut lines = Self::default();
        for Found { line, column, key, value } in keys(item) {
            let place = match key {
                "name" => {
                    let at = value.find(name).unwrap_or_default();
                    lines.name_column = column + value[..at].chars().count();
                    &mut lines.name
                }
                "paused" => &mut lines.paused,
                "paused_workers" => &mut lines.paused_workers,
                "idle_suspended_workers" => &mut lines.idle_suspended_workers,
                "worktree_idle_suspended" => &mut lines.worktree_idle_suspended,
                _ => continue,
            };
            place.get_or_insert(line);
        }
        lines
    }
}

/// The name in an entry that cannot be read, if there seems to be one.
pub(super) fn name_in(item: &Item<'_>) -> Option<String> {
    let found = keys(item).find(|found| found.key == "name")?;
    let value = found.value.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find([' ', ',', '}', '"', '\'', '#', '\r', '\n']).unwrap_or(value.len());
    Some(value[..end].to_owned()).filter(|name| !name.is_empty())
}

/// A key that was found: its line, what follows it in that line, and the column of that.
struct Found<'i> {
    line: usize,
    column: usize,
    key: &'i str,
    value: &'i str,
}

/// The keys of an entry.
fn keys<'i>(item: &Item<'i>) -> impl Iterator<Item = Found<'i>> {
    let text = str::from_utf8(item.text).unwrap_or_default();
    let first = text.trim_start_matches(' ').strip_prefix('-').unwrap_or_default().trim_start_matches(' ');
    let (column, in_braces) = (text.len() - first.len(), first.starts_with('{'));
    let first_line = item.lines_before + 1;
    text.lines().enumerate().flat_map(move |(number, line)| {
        let starts = if in_braces { starts_in_braces(line) } else { start_in_column(line, column, number == 0) };
        starts.into_iter().filter_map(move |at| {
            let (key, value) = line.get(at..)?.split_once(':')?;
            let column = line[..line.len() - value.len()].chars().count() + 1;
            Some(Found { line: first_line + number, column, key: key.trim_matches(['"', '\'']), value })
        })
    })
}

/// Where a key begins in a line that may have one, in the column of all keys. Before the first there is a hyphen.
fn start_in_column(line: &str, column: usize, is_first: bool) -> Vec<usize> {
    let indentation = line.len() - line.trim_start_matches(' ').len();
    if is_first || indentation == column { vec![column] } else { Vec::new() }
}

/// Where keys may begin in a line of a mapping in braces.
fn starts_in_braces(line: &str) -> Vec<usize> {
    let is_start = |at: usize| {
        let before = line[..at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['{', ','])
    };
    line.char_indices().filter(|(at, c)| *c != ' ' && is_start(*at)).map(|(at, _)| at).collect()
}
