//! Takes a long list out of a document, to be read a piece at a time.
//!
//! The parser needs about 10 times the size of what it reads at once. A registry is one long list
//! of sites, so that reading it by pieces of a dozen or two of sites takes next to nothing.

/// How long a piece is at least, but for the last. Short enough that the parser's memory is not grown again and
/// again: with eight times that, a command that reads 200 sites takes a tenth longer.
const MIN_PIECE_BYTES: usize = 4 * 1024;

/// A document cut up: the same document with the list left empty, and the list in pieces.
pub struct Split<'a> {
    /// The document without the items of the list.
    pub frame: Vec<u8>,
    /// Lists of one or more items each.
    pub pieces: Vec<Item<'a>>,
    /// The column, from 0, in which each item begins.
    pub column: usize,
}

impl<'a> Split<'a> {
    /// Every item of the list, as a list of one each.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> {
        self.pieces.iter().flat_map(|piece| piece.items(self.column))
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// How many lines of the document there are before it.
    pub lines_before: usize,
    /// Its text.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    /// How many lines it has.
    #[must_use]
    pub fn lines(self) -> usize {
        Lines { text: self.text, at: 0, number: 0 }.count()
    }

    /// The items in it that begin in this column.
    pub fn items(self, column: usize) -> impl Iterator<Item = Item<'a>> {
        let lines = Lines { text: self.text, at: 0, number: 0 };
        let mut starts: Vec<(usize, usize)> = lines
            .filter(|line| !is_void(line.text) && line.begins_item(column))
            .map(|line| (line.start, line.number))
            .collect();
        starts.push((self.text.len(), 0));
        (1..starts.len()).map(move |next| {
            let ((start, number), (end, _)) = (starts[next - 1], starts[next]);
            Item { lines_before: self.lines_before + number, text: &self.text[start..end] }
        })
    }
}

/// Cuts a document that has the top-level key `key` near its beginning and, in the lines below it, a list
/// whose items begin with `- ` at the same column each. `None` for all other documents, and for
/// what is too long for any.
///
/// Only the indentation is looked at, so the cuts may be wrong: inside a text in quotes or a
/// bracket that goes on over lines of less indentation than it should have. A piece then ends in
/// the middle of it, and is not well-formed. So what can be parsed in pieces means the same as the
/// whole; where a piece cannot, let the whole decide.
#[must_use]
pub fn split_list<'a>(document: &'a [u8], key: &str) -> Option<Split<'a>> {
    if document.len() > super::MAX_BYTES {
        return None;
    }
    let mut lines = Lines { text: document, at: 0, number: 0 };
    // The key, below nothing but comments, the start of the document and simple settings.
    loop {
        let line = lines.next()?;
        let text = line.text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line.text);
        if is_bare_key(text, key) {
            break;
        }
        if !is_void(text) && text.trim_ascii_end() != b"---" && !is_setting(text) {
            return None;
        }
    }
    let mut line = lines.find(|line| !is_void(line.text))?;
    let column = line.indentation();
    let (start, mut pieces) = (line.start, Vec::new());
    let (mut piece, mut before) = (line.start, line.number);
    if !line.begins_item(column) {
        return None;
    }
    let end = loop {
        let Some(next) = lines.next() else { break document.len() };
        line = next;
        if is_void(line.text) || line.indentation() > column {
            continue;
        }
        if !line.begins_item(column) {
            if ends_list(line.text) {
                break line.start;
            }
            // It belongs nowhere, and makes the item before it one that cannot be read.
            continue;
        }
        if line.start - piece >= MIN_PIECE_BYTES {
            pieces.push(Item { lines_before: before, text: &document[piece..line.start] });
            (piece, before) = (line.start, line.number);
        }
    };
    pieces.push(Item { lines_before: before, text: &document[piece..end] });
    Some(Split { frame: [&document[..start], &document[end..]].concat(), pieces, column })
}

/// Whether there is nothing in the line but blanks and a comment.
fn is_void(line: &[u8]) -> bool {
    line.trim_ascii_start().first().is_none_or(|byte| *byte == b'#')
}

/// Whether a line that is no item of the list is something else of the document: a key, or one of its marks.
fn ends_list(line: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'"' | b'\'');
    let key = line.iter().position(|byte| !is_word(byte)).unwrap_or(line.len());
    (key > 0 && line.get(key) == Some(&b':')) || line.starts_with(b"---") || line.starts_with(b"...")
}

/// Whether the line is the key without a value.
fn is_bare_key(line: &[u8], key: &str) -> bool {
    let rest = line.strip_prefix(key.as_bytes()).and_then(|rest| rest.strip_prefix(b":"));
    // A comment needs a blank before it.
    rest.is_some_and(|rest| !rest.starts_with(b"#") && is_void(rest))
}

/// Whether the line is a key with a value that surely ends where the line does.
fn is_setting(line: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    let mut parts = line.trim_ascii_end().splitn(2, |byte| *byte == b':');
    let (key, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let word = value.strip_prefix(b" ").unwrap_or_default();
    !key.is_empty() && key.iter().all(is_word) && !word.is_empty() && word.iter().all(is_word)
}

struct Line<'a> {
    text: &'a [u8],
    start: usize,
    /// How many lines there are before it.
    number: usize,
}

impl Line<'_> {
    fn indentation(&self) -> usize {
        self.text.iter().take_while(|byte| **byte == b' ').count()
    }

    fn begins_item(&self, column: usize) -> bool {
        self.indentation() == column && self.text[column..].starts_with(b"- ")
    }
}

struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    number: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let (start, number) = (self.at, self.number);
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        self.at += length;
        self.number += 1;
        Some(Line { text: &rest[..length], start, number })
    }
}
