//! Turns errors of serde and of the parser into sentences for users.

use std::fmt::{self, Display, Write as _};

use super::HINT;
use crate::core::parse_error::ParseError;

/// The parser's messages, their meanings, and usual remedies.
const SYNTAX: &[(&str, &str, &str)] = &[
    (
        "mapping values are not allowed",
        "there cannot be a `:` here",
        "put text that contains `: ` in quotes, and check the indentation",
    ),
    (
        "found character that cannot start any token",
        "nothing can begin with this character",
        "indent with spaces, not tabs, and put text that begins with @ or ` in quotes",
    ),
    ("did not find expected key", "expected another key here", "begin all keys of a mapping in the same column"),
    (
        "did not find expected '-' indicator",
        "expected another `- ` here",
        "begin all items of a list in the same column",
    ),
    ("could not find expected ':'", "expected a `:` before this", "write `key: value`"),
    ("found unexpected end of stream", "the text ends in the middle", "close the quote or bracket"),
    ("did not find expected ',' or ']'", "expected a `,` or the end of the list", "close it with `]`"),
    ("did not find expected ',' or '}'", "expected a `,` or the end of the mapping", "close it with `}`"),
    ("more than one document", "there is more than one document in this file", "delete the lines `---` between them"),
    ("did not find expected <document start>", "something follows the end of the document", "check the indentation"),
    ("recursion limit exceeded", "this is nested too deeply", "check the brackets and the indentation"),
    ("repetition limit exceeded", "aliases repeat too much here", "write the values out"),
    ("unknown anchor", "nothing above has the name of this alias", "put text that begins with * in quotes"),
];

/// serde's names of types, and plain ones.
const TYPES: &[(&str, &str)] = &[
    ("a boolean", "true or false"),
    ("a string", "text"),
    ("a sequence", "a list"),
    ("a map", "a mapping"),
    ("unit", "nothing"),
    ("null", "nothing"),
    ("f64", "a number"),
    ("u32", "a whole number"),
    ("u64", "a whole number"),
    ("usize", "a whole number"),
];

/// Maximum length of a quoted beginning, in characters.
const MAX_BEGINNING_CHARS: usize = 60;

/// Turns an error of this text into a [`ParseError`]. `noted` is the first error as the innermost visitor reported it;
/// `expected` is what was expected when the parser found another type.
pub(super) fn explain(
    error: &serde_yaml::Error,
    text: &[u8],
    noted: Option<String>,
    expected: Option<String>,
) -> ParseError {
    let full = brief(error);
    let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let noted = noted.filter(|noted| *noted != full);
    let (message, hint) = match (noted, expected) {
        // Reported by us or by serde in a visitor, before path and place were added.
        (Some(noted), None) => reword(&noted),
        // Reported by the parser, which found a value of another type.
        (_, Some(expected)) => wrong_type(&full, &expected),
        // Reported by the parser, or by us at the very beginning, where neither path nor place is added.
        (None, None) => syntax(&full, text).unwrap_or_else(|| {
            let place = format!(" at line {line} column {column}");
            reword(full.split_once(&place).map_or(full.as_str(), |(message, _)| message))
        }),
    };
    ParseError { line, column, message: clean(&message), hint: hint.map(|hint| clean(&hint)) }
}

/// An error as text, without the middle if it is too long. Errors quote values, which may have megabytes.
pub(super) fn brief(error: &impl Display) -> String {
    const KEPT_BYTES: usize = 4096;
    struct Ends(Vec<u8>);
    impl fmt::Write for Ends {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let text = text.as_bytes();
            let (head, tail) = text.split_at(text.len().min(KEPT_BYTES));
            self.0.extend_from_slice(head);
            self.0.extend_from_slice(&tail[tail.len().saturating_sub(KEPT_BYTES)..]);
            if self.0.len() > 4 * KEPT_BYTES {
                self.0.drain(KEPT_BYTES..self.0.len() - KEPT_BYTES);
            }
            Ok(())
        }
    }
    let mut ends = Ends(Vec::new());
    // This fails only if the error's `Display` does.
    let _ = write!(ends, "{error}");
    String::from_utf8_lossy(&ends.0).into_owned()
}

/// The most similar of the `known` names, if it is similar enough.
#[must_use]
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase().replace('-', "_");
    let nearness = |name: &str| strsim::jaro_winkler(&typed, &name.replace('-', "_"));
    let best = known.into_iter().max_by(|a, b| nearness(a).total_cmp(&nearness(b)))?;
    // Below 0.8, usually only the beginning is similar.
    (nearness(best) >= 0.8).then_some(best)
}

/// Rewords an error of a visitor.
fn reword(error: &str) -> (String, Option<String>) {
    if let Some((message, hint)) = error.split_once(HINT) {
        return (message.to_owned(), Some(hint.to_owned()).filter(|hint| !hint.is_empty()));
    }
    if let Some(rest) = error.strip_prefix("unknown field `")
        && let Some((key, known)) = rest.rsplit_once("`, expected ")
    {
        return (format!("unknown key `{key}`"), Some(one_of(key, known)));
    }
    if let Some(key) = error.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        return (format!("the key `{key}` is missing"), Some(format!("write `{key}:` here")));
    }
    if let Some((_, expected)) = error.rsplit_once(", expected ") {
        return wrong_type(error, expected);
    }
    (error.to_owned(), None)
}

/// Suggests the similar key, or lists all known ones.
fn one_of(key: &str, known: &str) -> String {
    // In "one of `a`, `b`", every second piece is between backticks.
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    match did_you_mean(key, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known keys are {}", known.join(", ")),
    }
}

/// Parses "invalid type: integer `5`, expected a sequence", between a path and a place.
fn wrong_type(error: &str, expected: &str) -> (String, Option<String>) {
    let found = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|intro| error.split_once(intro))
        .and_then(|(_, rest)| rest.rsplit_once(&format!(", expected {expected}")))
        .map(|(found, _)| found_in_words(found));
    let expected = TYPES.iter().find(|(serde, _)| *serde == expected).map_or(expected, |(_, people)| people);
    match found {
        Some(found) => (format!("expected {expected}, found {found}"), None),
        None => (format!("expected {expected}"), None),
    }
}

/// "string \"x\"", "integer `5`", "sequence", "map", "unit value" and so on.
fn found_in_words(found: &str) -> String {
    if let Some(text) = found.strip_prefix("string \"").and_then(|rest| rest.strip_suffix('"')) {
        return format!("`{text}`");
    }
    if let Some((_, value)) = found.split_once('`') {
        return format!("`{value}");
    }
    match found {
        "sequence" => "a list".to_owned(),
        "map" => "a mapping".to_owned(),
        "unit value" | "null" => "nothing".to_owned(),
        other => other.to_owned(),
    }
}

/// Looks up an error of the parser. What is not closed may begin many lines above, so its beginning is quoted.
fn syntax(error: &str, text: &[u8]) -> Option<(String, Option<String>)> {
    let (_, message, hint) = SYNTAX.iter().find(|(theirs, ..)| error.contains(theirs))?;
    let (message, hint) = match beginning(error, text) {
        Some(beginning) if error.contains(" while scanning a quoted scalar at ") => {
            (format!("the text that begins with `{beginning}` never ends"), "close the quote")
        }
        Some(beginning) => (format!("{message} that begins with `{beginning}`"), *hint),
        None => ((*message).to_owned(), *hint),
    };
    Some((message, Some(hint.to_owned())))
}

/// The line of the bracket or quote that the parser found no end of, up to it: `heal: {`.
fn beginning(error: &str, text: &[u8]) -> Option<String> {
    let contexts = ["flow mapping", "flow sequence", "quoted scalar"];
    let place = contexts.iter().find_map(|it| Some(error.split_once(&format!(" a {it} at line "))?.1))?;
    let (line, column) = place.split_once(" column ")?;
    let (line, column) = (line.parse::<usize>().ok()?, column.parse::<usize>().ok()?);
    let line = str::from_utf8(text).ok()?.lines().nth(line.checked_sub(1)?)?;
    let skipped = column.saturating_sub(MAX_BEGINNING_CHARS);
    Some(line.chars().take(column).skip(skipped).collect::<String>().trim_start().to_owned())
}

/// A text as one safe line of limited length.
fn clean(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_CHARS).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        line.push('…');
    }
    line
}
