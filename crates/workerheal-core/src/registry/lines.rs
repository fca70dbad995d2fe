//! The lines of a registry entry's keys in its file, for explanations.

/// The keys whose lines are recorded.
const KEYS: [&str; 5] = ["name", "paused", "paused_workers", "idle_suspended_workers", "worktree_idle_suspended"];

/// The lines of an entry's keys, as far as they were found. Compact, as there are many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// One for each of [`KEYS`], from 1; 0 if the key was not found.
    lines: [u32; KEYS.len()],
    /// The column of the name, in characters from 1.
    name_column: u32,
}

impl Lines {
    /// The line of a key, from 1, if known.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<usize> {
        let line = self.lines[KEYS.iter().position(|it| *it == key)?];
        usize::try_from(line).ok().filter(|line| *line > 0)
    }

    /// Line and column of the name; 0 if unknown.
    pub(super) fn place_of_name(&self) -> (usize, usize) {
        let [line, column] = [self.lines[0], self.name_column].map(|it| usize::try_from(it).unwrap_or(0));
        (line, column)
    }

    /// Records the line of a key, from 1. Only the first occurrence of a recorded key counts. Returns whether it was
    /// recorded.
    pub fn note(&mut self, key: &str, line: usize) -> bool {
        let Some(at) = KEYS.iter().position(|it| *it == key).filter(|at| self.lines[*at] == 0) else { return false };
        self.lines[at] = u32::try_from(line).unwrap_or(0);
        true
    }

    /// Records the column of the name, in characters from 1.
    pub fn note_name_column(&mut self, column: usize) {
        self.name_column = u32::try_from(column).unwrap_or(0);
    }
}
