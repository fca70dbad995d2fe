//! Output: colours, width, and closed pipes.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::Color;
pub(super) use crate::text::style::Style;
pub(super) use crate::text::wrap;

/// How to colour standard output.
pub(super) fn style(color: Color) -> Style {
    let colored = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    };
    Style { colored }
}

/// Whether standard output is a terminal with cursor control.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The width of the terminal, or `None` if output goes elsewhere and must not be cut.
pub(super) fn width() -> Option<usize> {
    is_terminal().then(|| columns_of(io::stdout())).flatten()
}

/// The width of the terminal that this is, if it is one.
fn columns_of(terminal: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// A text with its lines broken to the width of the terminal, if it goes to one.
pub(super) fn wrapped(text: &str) -> String {
    width().map_or_else(|| text.to_owned(), |columns| wrap(text, columns))
}

/// Writes to standard output. A closed pipe (`| head`) is not an error.
pub(super) fn print(text: impl Display) -> anyhow::Result<()> {
    match write!(io::stdout().lock(), "{text}").and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Delay before a message says that there is no answer yet.
const NOTICE_DELAY: Duration = Duration::from_secs(2);

/// Waits for the daemon's answer, and prints a message if that takes long.
pub(super) async fn patiently<T>(answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    if let Ok(answer) = tokio::time::timeout(NOTICE_DELAY, answer.as_mut()).await {
        return answer;
    }
    complain("the daemon does not answer yet; waiting for up to 30 s");
    answer.await
}

/// Waits until the reader of standard output is gone, as after `| head`; forever if that is unknown.
pub(super) async fn closed() {
    let (notify, notified) = tokio::sync::oneshot::channel();
    // For a pipe or a socket, this waits only for the end of its reader (poll(2)).
    let watched = std::thread::Builder::new().name("stdout".to_owned()).spawn(move || {
        let stdout = io::stdout();
        let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
        loop {
            match poll(&mut ends, None) {
                Ok(_) if ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return,
            }
        }
        let _ = notify.send(());
    });
    if watched.is_err() || notified.await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Prints an error to standard error, as one line; on a terminal, as many as it takes.
pub(super) fn complain(error: impl Display) {
    let mut line = format!("workerheal: {error}");
    if let Some(columns) = columns_of(io::stderr()) {
        line = wrap(&line, columns);
    }
    // Nothing can be done if this write fails.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Cuts a text to this many columns, marking the cut with `…`.
pub(super) fn fit(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// Cuts `SITE/WORKER` to this many columns: the site, if that leaves anything of it.
pub(super) fn fit_name(name: &str, columns: usize) -> String {
    const MIN_SITE_COLUMNS: usize = 3;
    let cut = name.rsplit_once('/').and_then(|(site, worker)| {
        let room = columns.checked_sub(worker.chars().count() + 1)?;
        (room >= MIN_SITE_COLUMNS).then(|| format!("{}/{worker}", fit(site, room)))
    });
    if name.chars().count() <= columns { name.to_owned() } else { cut.unwrap_or_else(|| fit(name, columns)) }
}

/// Breaks a text into lines of this many columns, if they are known. Further lines begin this far in, and so do the
/// columns of the first line that precede the text.
pub(super) fn hanging(text: &str, indent: usize, columns: Option<usize>) -> String {
    const MIN_COLUMNS: usize = 20;
    let Some(columns) = columns else { return text.to_owned() };
    wrap(text, columns.saturating_sub(indent).max(MIN_COLUMNS)).replace('\n', &format!("\n{:indent$}", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_name_the_site_is_cut() {
        assert_eq!(fit_name("shop/queue", 10), "shop/queue");
        assert_eq!(fit_name("the-shop-of-a-customer/queue@feat-x", 22), "the-shop…/queue@feat-x");
        assert_eq!(fit_name("the-shop/horizon-supervisor", 21), "the-shop/horizon-sup…");
        assert_eq!(fit_name("celery@a-long-queue", 10), "celery@a-…");
    }

    #[test]
    fn further_lines_are_indented() {
        assert_eq!(hanging("it has failed again and again", 2, Some(22)), "it has failed again\n  and again");
        assert_eq!(hanging("it has failed again and again", 2, None), "it has failed again and again");
    }
}
