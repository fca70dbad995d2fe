//! The colours' meanings, and texts that fit.

use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::core::event::Phase;
use crate::core::report::{Stage, WorkerReport};

/// Colours with a meaning.
#[derive(Debug, Clone, Copy)]
pub(in crate::top) struct Palette {
    /// If false, only weight and inversion are used.
    pub colored: bool,
    /// Whether the values are outdated.
    pub dimmed: bool,
}

impl Palette {
    fn color(self, color: Color) -> Style {
        match self {
            Self { dimmed: true, .. } => self.faint(),
            Self { colored: true, .. } => Style::new().fg(color),
            Self { colored: false, .. } => Style::new(),
        }
    }

    pub fn plain(self) -> Style {
        if self.dimmed { self.faint() } else { Style::new() }
    }

    /// For what is well.
    pub fn good(self) -> Style {
        self.color(Color::Green)
    }

    /// For what is under way or waits.
    pub fn busy(self) -> Style {
        self.color(Color::Yellow)
    }

    /// For what is wrong.
    pub fn bad(self) -> Style {
        self.color(Color::Red)
    }

    /// For details.
    #[expect(clippy::unused_self, reason = "it belongs with the others")]
    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// For emphasis.
    pub fn strong(self) -> Style {
        self.plain().add_modifier(Modifier::BOLD)
    }

    /// For a key.
    pub fn key(self) -> Style {
        self.color(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// For an important line.
    pub fn alarm(self) -> Style {
        let style = Style::new().add_modifier(Modifier::BOLD);
        if self.colored { style.fg(Color::White).bg(Color::Red) } else { style.add_modifier(Modifier::REVERSED) }
    }

    /// The style of a worker's state, as in `status`.
    pub fn worker(self, worker: &WorkerReport) -> Style {
        match worker.phase {
            Stage::Up if worker.reason.is_empty() => self.good(),
            Stage::Up | Stage::Proving | Stage::Starting | Stage::Due | Stage::Waiting | Stage::Changing => self.busy(),
            Stage::Held if worker.healthy || worker.on_purpose => self.faint(),
            Stage::Held => self.busy(),
            Stage::GaveUp | Stage::Unknown => self.bad(),
            Stage::Stopped | Stage::Down => self.faint(),
        }
    }

    /// The style of a stage.
    pub fn stage(self, stage: Stage) -> Style {
        match stage {
            Stage::Up => self.good(),
            Stage::Proving | Stage::Starting | Stage::Due | Stage::Waiting | Stage::Changing | Stage::Held => {
                self.busy()
            }
            Stage::GaveUp | Stage::Unknown => self.bad(),
            Stage::Stopped | Stage::Down => self.faint(),
        }
    }

    /// The style of an event, as in `events`.
    pub fn phase(self, phase: Phase) -> Style {
        match phase {
            Phase::Healed | Phase::Recovered => self.good(),
            Phase::Failed | Phase::GaveUp => self.bad(),
            Phase::Detected | Phase::Held | Phase::Scheduled => self.busy(),
            Phase::Starting | Phase::Done => self.plain(),
            Phase::Stopped => self.faint(),
        }
    }
}

/// The width of a text.
pub(super) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Cuts a text to this width, marking the cut with `…`.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut taken = 0;
    for grapheme in Line::raw(text).styled_graphemes(Style::new()) {
        taken += width(grapheme.symbol);
        if taken + 1 > columns {
            break;
        }
        kept.push_str(grapheme.symbol);
    }
    if columns > 0 {
        kept.truncate(kept.trim_end().len());
        kept.push('…');
    }
    kept
}

/// Cuts a text, and pads it on the right.
pub(super) fn fit(text: &str, columns: usize) -> String {
    let mut text = cut(text, columns);
    let missing = columns.saturating_sub(width(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

/// Cuts a text, and pads it on the left.
pub(super) fn fit_right(text: &str, columns: usize) -> String {
    let text = cut(text, columns);
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// Wraps a text to this width, between words if possible.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut taken = 0;
    for word in text.split(' ') {
        let wide = width(word);
        if taken > 0 && taken + 1 + wide > columns {
            lines.push(std::mem::take(&mut line));
            taken = 0;
        }
        if taken > 0 {
            line.push(' ');
            taken += 1;
        }
        for grapheme in Line::raw(word).styled_graphemes(Style::new()) {
            let wide = width(grapheme.symbol);
            if taken + wide > columns && taken > 0 {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push_str(grapheme.symbol);
            taken += wide;
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_whole_characters() {
        assert_eq!(cut("queue", 5), "queue");
        assert_eq!(cut("queues", 5), "queu…");
        assert_eq!(cut("a queue", 3), "a…");
        assert_eq!(cut("工作队列", 5), "工作…");
        assert_eq!(cut("工作队列", 4), "工…");
        assert_eq!(fit("工作队列", 4), "工… ");
        assert_eq!(cut("queue", 0), "");
        assert_eq!(fit_right("7", 3), "  7");
    }

    #[test]
    fn texts_are_broken_between_words_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("/a/very/long/path is", 8), ["/a/very/", "long/pat", "h is"]);
        assert_eq!(wrap("工作队列", 5), ["工作", "队列"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
