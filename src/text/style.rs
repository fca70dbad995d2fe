//! Colours with a meaning.

use std::fmt::Display;

/// Whether to colour text.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// If false, text stays plain.
    pub colored: bool,
}

impl Style {
    /// For what is well.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// For what is wrong.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    /// For what is under way or waits.
    #[must_use]
    pub fn busy(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    /// For details.
    #[must_use]
    pub fn faint(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    /// For emphasis.
    #[must_use]
    pub fn strong(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}
