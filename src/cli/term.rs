//! What depends on where output goes: colours, width, and ends of pipes.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use super::Color;
pub(super) use crate::core::style::Style;

/// How to paint standard output.
pub(super) fn style(color: Color) -> Style {
    let colored = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    Style { colored }
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
