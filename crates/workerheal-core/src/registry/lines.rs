//! Where in the registry's file the keys of an entry are, for people who want to look them up.

use std::collections::BTreeMap;

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
    #[must_use]
    pub fn name(&self) -> Option<usize> {
        Some(self.place_of_name().0).filter(|line| *line > 0)
    }

    /// Line and column of the name; 0 if they are not known.
    pub(super) fn place_of_name(&self) -> (usize, usize) {
        let [line, column] = [self.lines[0], self.name_column].map(|it| usize::try_from(it).unwrap_or(0));
        (line, column)
    }

    /// Notes the line of a key, from 1. Only the first counts; keys that are of no interest are not noted. Returns
    /// whether it was noted.
    pub fn note(&mut self, key: &str, line: usize) -> bool {
        let Some(at) = KEYS.iter().position(|it| *it == key).filter(|at| self.lines[*at] == 0) else { return false };
        self.lines[at] = u32::try_from(line).unwrap_or(0);
        true
    }

    /// Notes the column of the name itself, in characters from 1.
    pub fn note_name_column(&mut self, column: usize) {
        self.name_column = u32::try_from(column).unwrap_or(0);
    }
}
