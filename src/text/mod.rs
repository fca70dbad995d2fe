//! Text for people: colours, lines, and the layout of an explanation.

pub mod explanation;
pub mod style;

/// Breaks a text between words into lines of at most this many columns.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> String {
    let (mut wrapped, mut used) = (String::new(), 0);
    for word in text.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > columns {
            wrapped.push('\n');
            used = 0;
        } else if used > 0 {
            wrapped.push(' ');
            used += 1;
        }
        wrapped.push_str(word);
        used += length;
    }
    wrapped
}
