//! What depends on where output goes: colours, width, and ends of pipes.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use super::Color;

/// Whether to paint standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    colored: bool,
}

impl Style {
    pub fn new(color: Color) -> Self {
        let colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self { colored }
    }

    pub fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    pub fn bad(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    pub fn faint(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    pub fn strong(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colored { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_string() }
    }
}

/// Whether standard output is a terminal that can be drawn on.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Columns of the terminal, or `None` where output goes elsewhere and is not to be cut.
pub(super) fn width() -> Option<usize> {
    let size = is_terminal().then(|| rustix::termios::tcgetwinsize(io::stdout()).ok()).flatten()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Writes to standard output. Whoever stops reading (`| head`) has seen enough: that is no error.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    match write!(io::stdout().lock(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Tells an error on standard error, as one line.
pub(super) fn complain(error: impl Display) {
    // There is nowhere left to tell that this failed.
    let _ = writeln!(io::stderr().lock(), "workerheal: {error}");
}

/// Cuts a text to so many columns, with `…` where something is missing.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
