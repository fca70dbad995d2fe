//! Reads untrusted YAML documents, and reports their errors.
//!
//! The parser keeps all events of a document in memory, follows aliases, lets the second of two equal keys win, and
//! words its errors for programmers. These modules make it suitable for a daemon: limits that are checked before it
//! runs, so that no input can exhaust memory, time or the stack (this file); rules that it lacks ([`strict`]); errors
//! for users ([`messages`]); and a way to read a long list in pieces ([`split`]).

mod messages;
mod split;
mod strict;

use std::fmt::{self, Display};
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, Visitor};

use crate::core::parse_error::ParseError;
pub use messages::did_you_mean;
pub use split::{Item, Split, split_list};
use strict::{DocumentState, Strict};

/// Maximum length of a document, in bytes. A registry of 10,000 sites has about half of it.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Maximum structure of a document, see [`structure`]. One unit costs the parser at most some 180 bytes, so this limits
/// its memory to about 36 MB.
const MAX_STRUCTURE: usize = 200_000;

/// Maximum number of open brackets. The parser looks at each of them for every token.
const MAX_OPEN_BRACKETS: usize = 500;

/// Separates message and hint while an error travels through the parser.
const HINT: char = '\u{1e}';

/// Reads the one document in `bytes`.
///
/// Besides the requirements of `T`, no mapping that `T` reads may have a duplicate key or a merge key, and aliases may
/// not multiply the document. `T` may contain structs, lists, maps with text as keys, scalars and unit enums.
///
/// # Errors
///
/// If the document is invalid. An empty file, or one with nothing but comments or `null`, is an error too: see
/// [`parse_optional`].
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ParseError> {
    parse_optional(bytes)?.ok_or_else(|| ParseError::whole("the file is empty", None))
}

/// As [`parse`], but `None` for an empty file, one with nothing but comments, and for `null`.
///
/// # Errors
///
/// If the document is not empty and invalid.
pub fn parse_optional<T: DeserializeOwned>(bytes: &[u8]) -> Result<Option<T>, ParseError> {
    parse_seed(bytes, PhantomData::<T>)
}

/// Like [`parse_optional`], for values that depend on context.
///
/// # Errors
///
/// If the document is not empty and invalid.
pub fn parse_seed<'de, S: DeserializeSeed<'de>>(bytes: &'de [u8], seed: S) -> Result<Option<S::Value>, ParseError> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    check_text(text)?;
    let units = structure(text)?;
    if units > MAX_STRUCTURE {
        return Err(ParseError::whole(
            "there is too much in this file",
            Some("write lists as lines that begin with `- `"),
        ));
    }
    let state = DocumentState::new(units, text.len());
    let document = Strict::new(serde_yaml::Deserializer::from_slice(text), &state);
    Unless::<S>(seed).deserialize(document).map_err(|error| {
        // A syntax error is often first noticed as a value of the wrong type. Then the syntax error is the better
        // explanation.
        let unparsed = IgnoredAny::deserialize(serde_yaml::Deserializer::from_slice(text)).err();
        match unparsed {
            Some(unparsed) => messages::explain(&unparsed, text, None, None),
            None => messages::explain(&error, text, state.noted.take(), state.expected.take()),
        }
    })
}

/// Whether [`parse`] accepts a document of this size and structure.
#[must_use]
pub fn fits(bytes: &[u8]) -> bool {
    bytes.len() <= MAX_BYTES && structure(bytes).is_ok_and(|units| units <= MAX_STRUCTURE)
}

/// An error for implementations of [`serde::Deserialize`], with a hint (or an empty one) for [`ParseError::hint`].
///
/// If it is raised while a scalar or a key is visited, it is reported at that place.
pub fn refuse<E: de::Error>(message: impl Display, hint: impl Display) -> E {
    E::custom(format_args!("{message}{HINT}{hint}"))
}

/// Deserializes text (or anything that can be read as text) with `read`. The error of `read` is a message and a hint,
/// which may be empty, and is reported at the text.
///
/// # Errors
///
/// If there is no text, or `read` rejects it.
pub fn text<'de, D, T, F>(deserializer: D, expected: &str, read: F) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    F: FnOnce(&str) -> Result<T, (String, String)>,
{
    struct Text<'a, F, T>(&'a str, F, PhantomData<T>);
    impl<T, F: FnOnce(&str) -> Result<T, (String, String)>> Visitor<'_> for Text<'_, F, T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.1)(text).map_err(|(message, hint)| refuse(message, hint))
        }
    }
    deserializer.deserialize_str(Text(expected, read, PhantomData))
}

/// `None` for an empty document, else the value of the seed.
struct Unless<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Unless<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Unless<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// Rejects documents that are too long, or not plain text.
fn check_text(text: &[u8]) -> Result<(), ParseError> {
    if text.len() > MAX_BYTES {
        let limit = MAX_BYTES / 1024 / 1024;
        return Err(ParseError::whole(
            format!("the file is longer than {limit} MiB"),
            Some("check that it is the right file"),
        ));
    }
    if let Err(error) = str::from_utf8(text) {
        let at = error.valid_up_to();
        return Err(ParseError::at(
            text,
            at,
            format!("the byte {:#04x} is not UTF-8", text[at]),
            "save the file as UTF-8",
        ));
    }
    // Only a newline, a tab and a carriage return are allowed.
    let is_control = |byte: &u8| (*byte < 0x20 && !matches!(byte, b'\n' | b'\t' | b'\r')) || *byte == 0x7f;
    if let Some(at) = text.iter().position(is_control) {
        let message = format!("the control character {:#04x} is not allowed", text[at]);
        return Err(ParseError::at(text, at, message, "delete it, or write it as an escape in double quotes"));
    }
    // Each tag can stand for a text of any length, and tags are not needed here.
    let mut tags = text.windows(4).enumerate().filter(|(_, window)| *window == b"%TAG");
    if let Some((at, _)) = tags.find(|(at, _)| *at == 0 || !matches!(text[at - 1], b' '..=b'~')) {
        return Err(ParseError::at(text, at, "%TAG directives are not supported", "delete this line"));
    }
    Ok(())
}

/// An upper bound of a document's structure, without parsing it: how many events (an item, a key, a value, the
/// beginning or the end of a list or mapping) it can produce, weighted by their cost.
///
/// Every event is caused by one of the indicators counted here, in any context: an entry of a flow mapping is a key and
/// a value, a `: ` in a flow list even opens and closes a mapping of its own. Indicators inside of texts and comments
/// are counted too, which does no harm.
fn structure(text: &[u8]) -> Result<usize, ParseError> {
    let is_blank = |byte: Option<&u8>| byte.is_none_or(|byte| !matches!(byte, b'!'..=b'~'));
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let (mut units, mut open) = (0, 0_usize);
    for (at, byte) in text.iter().enumerate() {
        // Most bytes are letters.
        if byte.is_ascii_alphanumeric() || *byte == b' ' {
            continue;
        }
        let before = at.checked_sub(1).map(|at| &text[at]);
        let after = text.get(at + 1);
        units += match byte {
            b',' => 2,
            // Between letters it is part of a word, as in `12:30` or `http://`.
            b':' if is_word(before) && (is_word(after) || after == Some(&b'/')) => 0,
            b'?' if is_word(before) => 0,
            // A tag or an anchor is a text of its own, and an anchor may hide a `:` after it.
            b':' | b'?' | b'&' | b'*' => 4,
            b'!' if !is_word(before) => 1,
            b'-' if is_blank(after) => 3,
            b'[' | b'{' => {
                open += 1;
                if open > MAX_OPEN_BRACKETS {
                    let message = "too many brackets are open here";
                    return Err(ParseError::at(text, at, message, "close each `[` and `{`"));
                }
                3
            }
            b']' | b'}' => {
                open = open.saturating_sub(1);
                0
            }
            _ => 0,
        };
    }
    Ok(units)
}

#[cfg(test)]
pub(super) mod tests;
