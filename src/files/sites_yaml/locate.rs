//! Where in `sites.yaml` the keys of an entry are.
//!
//! The parser does not say where it has found something that it accepts. Lerd writes each entry as a
//! mapping with a line for each key, and these lines are found by their indentation.

use crate::core::registry::Lines;
use crate::files::yaml::Item;

/// The lines of the keys of this entry, whose name is known.
pub(super) fn lines_of(item: &Item<'_>, name: &str) -> Lines {
    let mut lines = Lines::default();
    for Found { line, column, key, value } in keys(item) {
        if lines.note(key, line) && key == "name" {
            let before = &value[..value.find(name).unwrap_or_default()];
            lines.note_name_column(column + before.chars().count());
        }
    }
    lines
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
