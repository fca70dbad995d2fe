//! Colours that mean something, or none.

use std::fmt::Display;

/// Whether to paint a text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Else it stays plain.
    pub colored: bool,
}

impl Style {
    /// All is well.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// Something is wrong.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    /// Something is under way, or waits.
    #[must_use]
    pub fn busy(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    /// Of less weight.
    #[must_use]
    pub fn faint(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    /// Of more weight.
    #[must_use]
    pub fn strong(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
