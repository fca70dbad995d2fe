//! Finds the lines of an entry's keys in `sites.yaml`.
//!
//! The parser does not report where it found an accepted value. Lerd writes each entry as a mapping with a line for
//! each key, so these lines can be found by their indentation.

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

/// The name of an invalid entry, if it seems to have one.
pub(super) fn name_in(item: &Item<'_>) -> Option<String> {
    let found = keys(item).find(|found| found.key == "name")?;
    let value = found.value.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find([' ', ',', '}', '"', '\'', '#', '\r', '\n']).unwrap_or(value.len());
    Some(value[..end].to_owned()).filter(|name| !name.is_empty())
}

/// A key: its line, the rest of that line, and the column of the rest.
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

/// The position of a key in a line, if the line may have one in the column of all keys. The first key stands after a
/// hyphen.
fn start_in_column(line: &str, column: usize, is_first: bool) -> Vec<usize> {
    let indentation = line.len() - line.trim_start_matches(' ').len();
    if is_first || indentation == column { vec![column] } else { Vec::new() }
}

/// Possible positions of keys in a line of a mapping in braces.
fn starts_in_braces(line: &str) -> Vec<usize> {
    let is_start = |at: usize| {
        let before = line[..at].trim_end_matches(' ');
        before.is_empty() || before.ends_with(['{', ','])
    };
    line.char_indices().filter(|(at, c)| *c != ' ' && is_start(*at)).map(|(at, _)| at).collect()
}
