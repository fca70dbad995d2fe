//! Text for people: colours, lines, and the layout of an explanation.

pub mod explanation;
pub mod style;

/// Breaks a text into lines of at most this many columns: between words, and within those that are longer than a line.
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
        for c in word.chars() {
            if used > 0 && used == columns {
                wrapped.push('\n');
                used = 0;
            }
            wrapped.push(c);
            used += 1;
        }
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_are_broken_between_words_and_within_long_ones() {
        assert_eq!(wrap("in /vendor/predis/src: no", 10), "in\n/vendor/pr\nedis/src:\nno");
        assert_eq!(wrap("it is up", 8), "it is up");
        assert_eq!(wrap("", 8), "");
    }
}
