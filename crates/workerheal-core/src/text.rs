//! Makes text from outside safe to show: it cannot control a terminal, hide part of itself, or pass for several lines.
//!
//! Log lines, paths, errors of other programs and contents of files go through [`plain`] or [`path`] once, where they
//! enter. Unit names need no cleaning: they are ASCII by definition.

use std::path::Path;

/// The text on one line, without control characters, escape sequences, and characters that have no width or change the
/// text direction. Tabs and line breaks become spaces.
#[must_use]
pub fn plain(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            // The same introducers as one character each (ECMA-48, 5.3).
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_control_string(&mut rest),
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => kept.push(' '),
            c if c.is_control() || is_invisible(c) => {}
            c => kept.push(c),
        }
    }
    kept
}

/// A path as text that is safe to show.
#[must_use]
pub fn path(path: &Path) -> String {
    plain(&path.to_string_lossy())
}

/// Skips what follows an ESC.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            skip_control_sequence(rest);
        }
        Some('P' | 'X' | ']' | '^' | '_') => {
            *rest = ahead;
            skip_control_string(rest);
        }
        // Intermediate bytes and a final one, such as `ESC ( B` (ECMA-35, 13.2).
        Some(_) => {
            let mut ahead = rest.clone();
            let last = ahead.find(|c| !(' '..='/').contains(c));
            if last.is_some_and(|last| ('0'..='~').contains(&last)) {
                *rest = ahead;
            }
        }
        None => {}
    }
}

/// Skips the parameters of a control sequence and its final byte (ECMA-48, 5.4).
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    let last = ahead.find(|c| !(' '..='?').contains(c));
    if last.is_some_and(|last| ('@'..='~').contains(&last)) {
        *rest = ahead;
    }
}

/// Skips a control string, such as a window title, up to its end (ECMA-48, 5.6; terminals also accept BEL). An
/// unterminated one is shown: its text must not vanish.
fn skip_control_string(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    while let Some(c) = ahead.next() {
        let ends = match c {
            '\u{7}' | '\u{9c}' => true,
            '\u{1b}' => {
                let mut after = ahead.clone();
                let ends = after.next() == Some('\\');
                if ends {
                    ahead = after;
                }
                ends
            }
            _ => false,
        };
        if ends {
            *rest = ahead;
            return;
        }
    }
}

/// Format characters of Unicode: marks, embeddings, overrides and isolates of direction, what has no width, tags.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Maximum length of an excerpt of a log line, in characters.
const MAX_EXCERPT_CHARS: usize = 220;
/// Maximum length of a line of a log, in characters.
const MAX_LOG_LINE_CHARS: usize = 1000;

/// The last non-empty line of a log entry, without control characters and terminal escapes, cut to 220 characters and
/// `…`.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let lines = text.lines().rev().map(|line| plain(line).trim().to_owned());
    let line = lines.into_iter().find(|line| !line.is_empty()).unwrap_or_default();
    cut(line, MAX_EXCERPT_CHARS)
}

/// The non-empty lines of a log entry, without control characters and terminal escapes, each cut to 1000 characters and
/// `…`. Indentation is kept.
pub fn log_lines(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines().map(|line| plain(line).trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).map(|line| cut(line, MAX_LOG_LINE_CHARS))
}

fn cut(line: String, length: usize) -> String {
    match line.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sequences_are_removed_as_a_whole_and_text_is_kept() {
        for (text, shown) in [
            ("a\u{1b}[1;31mred\u{1b}[0m\tb\u{7}", "ared b"),
            ("a\u{1b}]0;title\u{7}b", "ab"),
            ("a\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\b", "alinkb"),
            ("a\u{1b}Pq#0\u{9c}b\u{1b}_x\u{1b}\\c", "abc"),
            ("a\u{9b}2Jb\u{9d}0;t\u{7}c", "abc"),
            ("a\u{1b}(Bb\u{1b}cc\u{1b}", "abc"),
            ("a\u{1b}]0;no end", "a0;no end"),
            ("a\u{1b}[no\u{1b}[é\u{1b}\u{1b}[0mb", "aoéb"),
            ("user\u{202e}txt\u{2066}.exe\u{200b}\u{feff}\u{e0041}", "usertxt.exe"),
            ("one\u{2028}two\u{85}three\r\nfour", "one two three  four"),
            ("plain – 日本 🦀", "plain – 日本 🦀"),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
        assert_eq!(path(Path::new("/a\u{1b}]0;x\u{7}/b\u{202e}")), "/a/b");
    }

    #[test]
    fn an_excerpt_is_one_clean_line() {
        assert_eq!(excerpt("first\nlast\n\n"), "last");
        assert_eq!(excerpt("\u{1b}[1;31mred\u{1b}[0m\talert\u{7}"), "red alert");
        let long = "é".repeat(221);
        assert_eq!(excerpt(&long), format!("{}…", "é".repeat(220)));
        assert_eq!(excerpt(&"é".repeat(220)), "é".repeat(220));
    }

    #[test]
    fn a_log_entry_becomes_clean_lines_with_their_indents() {
        let lines = |text: &str| log_lines(text).collect::<Vec<_>>();
        assert_eq!(lines("trace:\r\n\n  at \u{1b}[31mmain\u{1b}[0m  \n\u{1b}[K\n"), ["trace:", "  at main"]);
        assert_eq!(lines(&"é".repeat(1001)), [format!("{}…", "é".repeat(1000))]);
        assert_eq!(lines("\0\u{7}\n \n"), [""; 0]);
    }

    proptest! {
        #[test]
        fn harmful_characters_are_removed_and_plain_text_is_unchanged(text in "[a\u{1b}\\[\\]\u{9b}\u{9d}\u{7}\\\\m;\u{202e}\u{200b}\u{2028}\\PC\\p{C}]*") {
            let shown = plain(&text);
            let harmful = |c: char| c.is_control() || is_invisible(c) || ['\u{2028}', '\u{2029}'].contains(&c);
            prop_assert_eq!(shown.chars().find(|c| harmful(*c)), None);
            prop_assert_eq!(plain(&shown), shown);
        }

        #[test]
        fn an_excerpt_is_always_short_and_clean(text in any::<String>()) {
            let line = excerpt(&text);
            prop_assert!(line.chars().count() <= MAX_EXCERPT_CHARS + 1);
            prop_assert!(!line.chars().any(char::is_control));
        }
    }
}
