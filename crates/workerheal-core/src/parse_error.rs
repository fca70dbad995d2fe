//! An error in a file that was read, with its place.

use std::fmt::{self, Display};

/// An error in a document, with its place.
///
/// Displays as `12:5: unknown key `helth`; did you mean `heal`?`, to follow the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// The column, in characters from 1; 0 if it is about the whole file.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// How to fix it, if known.
    pub hint: Option<String>,
}

impl ParseError {
    /// An error about the file as a whole.
    #[must_use]
    pub fn whole(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { line: 0, column: 0, message: message.into(), hint: hint.map(str::to_owned) }
    }

    /// An error at the byte at the offset, before which the text is valid UTF-8.
    #[must_use]
    pub fn at(text: &[u8], offset: usize, message: impl Into<String>, hint: &str) -> Self {
        let before = String::from_utf8_lossy(&text[..offset]);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        Self { line, column, message: message.into(), hint: Some(hint.to_owned()) }
    }
}

impl Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "{}:{}: ", self.line, self.column)?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ParseError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_line_and_column_in_characters_from_1() {
        let text = "sites:\n- naïve: [\n".as_bytes();
        let at = |offset| ParseError::at(text, offset, "this", "that").to_string();
        assert_eq!(at(0), "1:1: this; that");
        assert_eq!(at(4), "1:5: this; that");
        assert_eq!(at(7), "2:1: this; that");
        assert_eq!(at(text.len() - 2), "2:10: this; that");
        assert_eq!(ParseError::whole("the file is empty", None).to_string(), "the file is empty");
    }
}
