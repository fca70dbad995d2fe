//! Where in `sites.yaml` the keys of an entry are, for people who want to look them up.
//!
//! The parser does not say where it has found something that it accepts. Lerd writes each entry as a
//! mapping with a line for each key, and these lines are found by their indentation.

use std::collections::BTreeMap;

use crate::document::Item;

/// The keys whose lines are of interest.
const KEYS: [&str; 5] = ["name", "paused", "paused_workers", "idle_suspended_workers", "worktree_idle_suspended"];

/// The lines on which the keys of an entry are, as far as they were found. Small, for there are many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// Of each of [`KEYS`], from 1; 0 for one that was not found.
    lines: [u32; KEYS.len()],
    /// The column of the name itself, in characters from 1.
    name_column: u32,
}

impl Lines {
    /// All that are known, by key, from 1.
    #[must_use]
    pub fn by_key(&self) -> BTreeMap<&'static str, usize> {
        let known = KEYS.into_iter().zip(self.lines).filter(|(_, line)| *line > 0);
        known.filter_map(|(key, line)| Some((key, usize::try_from(line).ok()?))).collect()
    }

    /// The line of the name.
    pub(super) fn name(&self) -> Option<usize> {
        Some(self.place_of_name().0).filter(|line| *line > 0)
    }

    /// Line and column of the name; 0 if they are not known.
    pub(super) fn place_of_name(&self) -> (usize, usize) {
        let [line, column] = [self.lines[0], self.name_column].map(|it| usize::try_from(it).unwrap_or(0));
        (line, column)
    }

    /// The lines of the keys of this entry, whose name is known.
    pub(super) fn of(item: &Item<'_>, name: &str) -> Self {
        let mut lines = Self::default();
        for Found { line, column, key, value } in keys(item) {
            let Some(at) = KEYS.iter().position(|it| *it == key).filter(|at| lines.lines[*at] == 0) else { continue };
            lines.lines[at] = u32::try_from(line).unwrap_or(0);
            if key == "name" {
                let before = &value[..value.find(name).unwrap_or_default()];
                lines.name_column = u32::try_from(column + before.chars().count()).unwrap_or(0);
            }
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
