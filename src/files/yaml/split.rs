//! Splits a long list in a document into pieces.
//!
//! The parser needs about 10 times the memory of its input. A registry is one long list of sites, so reading it in
//! pieces of a dozen or two of sites needs very little.

/// Minimum length of a piece, except for the last. Short, so that the parser's memory does not grow again and again:
/// with eight times that, a command that reads 200 sites takes a tenth longer.
const MIN_PIECE_BYTES: usize = 4 * 1024;

/// A split document: the document with an empty list, and the list in pieces.
pub struct Split<'a> {
    /// The document without the items of the list.
    pub frame: Vec<u8>,
    /// Lists of one or more items each.
    pub pieces: Vec<Item<'a>>,
    /// The column, from 0, in which each item begins.
    pub column: usize,
}

impl<'a> Split<'a> {
    /// All items of the list, each as a list of one item.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> {
        self.pieces.iter().flat_map(|piece| piece.items(self.column))
    }
}

/// A part of a list.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// Number of lines of the document before it.
    pub lines_before: usize,
    /// Its text.
    pub text: &'a [u8],
}

impl<'a> Item<'a> {
    /// The number of its lines.
    #[must_use]
    pub fn lines(self) -> usize {
        Lines { text: self.text, at: 0, number: 0 }.count()
    }

    /// Its items, which begin in this column.
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

/// Splits a document that has the top-level key `key` near its beginning and, in the lines below it, a list whose items
/// begin with `- ` in the same column. `None` for all other documents, and for those that are too long.
///
/// This looks only at the indentation, so the cuts may be wrong: inside of a quoted text or a bracket that continues in
/// lines with too little indentation. Such a piece is not well-formed. So if all pieces can be parsed, they mean the
/// same as the whole; if not, the whole decides.
#[must_use]
pub fn split_list<'a>(document: &'a [u8], key: &str) -> Option<Split<'a>> {
    if document.len() > super::MAX_BYTES {
        return None;
    }
    let mut lines = Lines { text: document, at: 0, number: 0 };
    // Before the key, there may only be comments, the start of the document and simple settings.
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
            // Such a line makes the item before it invalid.
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

/// Whether the line has only blanks and a comment.
fn is_void(line: &[u8]) -> bool {
    line.trim_ascii_start().first().is_none_or(|byte| *byte == b'#')
}

/// Whether a line that begins no item belongs to the rest of the document: a key, or a document marker.
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

/// Whether the line is a key with a value that certainly ends in this line.
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
    /// Number of lines before it.
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
