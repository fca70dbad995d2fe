//! Adds globs to `also_watch` in the text of a configuration, and keeps everything else as it is written.

use std::collections::BTreeSet;

use crate::files::config::Config;

/// The beginning of a new configuration.
const HEADER: &str = "\
# The configuration of workerheal. A running daemon takes up changes by itself; `workerheal check` says what
# is wrong with them. All other settings have their defaults: man workerheal names where they are explained.
";

/// The line before a new list.
const COMMENT: &str = "# Units to watch, by name or glob. `workerheal init` adds more.\n";

/// The text with these globs added to its `also_watch`. `None` if that requires rewriting it, or if the text is no
/// valid configuration.
pub(super) fn with_globs(text: &str, globs: &[String]) -> Option<String> {
    let before = Config::parse(text.as_bytes()).ok()?;
    let known: BTreeSet<&str> = before.selector.also_watched().collect();
    let new: Vec<&str> = globs.iter().map(String::as_str).filter(|glob| !known.contains(glob)).collect();
    if new.is_empty() {
        return Some(text.to_owned());
    }
    let edited = insert(text, &new)?;
    let after = Config::parse(edited.as_bytes()).ok()?;
    let expected: BTreeSet<&str> = known.iter().copied().chain(new).collect();
    let same = Config { selector: before.selector.clone(), ..after.clone() } == before;
    (same && after.selector.also_watched().collect::<BTreeSet<_>>() == expected).then_some(edited)
}

/// The lines of a list of these globs.
pub(super) fn lines(globs: &[impl AsRef<str>]) -> String {
    let items: Vec<String> = globs.iter().map(|glob| format!("  - {}\n", quoted(glob.as_ref()))).collect();
    format!("also_watch:\n{}", items.concat())
}

/// Quoted, since a backslash, which unit names may contain, is only literal between single quotes.
fn quoted(glob: &str) -> String {
    if glob.contains('\\') { format!("'{glob}'") } else { format!("\"{glob}\"") }
}

fn insert(text: &str, globs: &[&str]) -> Option<String> {
    let lines_of_text: Vec<&str> = text.split_inclusive('\n').collect();
    let Some(at) = lines_of_text.iter().position(|line| line.starts_with("also_watch:")) else {
        return Some(append(text, globs));
    };
    let items: Vec<String> = globs.iter().map(|glob| quoted(glob)).collect();
    let mut lines: Vec<String> = lines_of_text.iter().map(|line| (*line).to_owned()).collect();
    let value = value_of(&lines[at]);
    match value.chars().next() {
        Some('[') => {
            let close = lines[at].rfind(']')?;
            let is_empty = value.strip_prefix('[')?.trim_start().starts_with(']');
            let separator = if is_empty { "" } else { ", " };
            lines[at].insert_str(close, &format!("{separator}{}", items.join(", ")));
        }
        Some(_) => return None,
        None => {
            let (after, indent) = end_of_items(&lines, at);
            if !lines[after - 1].ends_with('\n') {
                lines[after - 1].push('\n');
            }
            let items: Vec<String> = items.iter().map(|glob| format!("{indent}- {glob}\n")).collect();
            lines.insert(after, items.concat());
        }
    }
    Some(lines.concat())
}

/// The value after the key, without a comment.
fn value_of(line: &str) -> &str {
    let value = line.split_once(':').map_or("", |(_, value)| value);
    let value = value.trim();
    if value.starts_with('#') { "" } else { value.split(" #").next().unwrap_or_default().trim_end() }
}

/// The line after the last item of the list below this line, and how its items are indented.
fn end_of_items(lines: &[String], at: usize) -> (usize, String) {
    let (mut after, mut indent) = (at + 1, None);
    for (number, line) in lines.iter().enumerate().skip(at + 1) {
        let content = line.trim_start();
        if content.starts_with("- ") || content.trim_end() == "-" {
            indent.get_or_insert_with(|| line[..line.len() - content.len()].to_owned());
            after = number + 1;
        } else if !(content.is_empty() || content.starts_with('#')) {
            break;
        }
    }
    (after, indent.unwrap_or_else(|| "  ".to_owned()))
}

fn append(text: &str, globs: &[&str]) -> String {
    let mut text = if text.trim().is_empty() { HEADER.to_owned() } else { text.to_owned() };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    format!("{text}\n{COMMENT}{}", lines(globs))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> Option<String> {
        with_globs(text, &["celery@*.service".to_owned(), "bot.service".to_owned()])
    }

    #[test]
    fn a_missing_file_is_created_with_a_header() {
        let text = added("").unwrap();
        assert!(text.starts_with("# The configuration of workerheal."), "{text}");
        let list = "\n# Units to watch, by name or glob. `workerheal init` adds more.\nalso_watch:\n  \
                    - \"celery@*.service\"\n  - \"bot.service\"\n";
        assert!(text.ends_with(list), "{text}");
    }

    #[test]
    fn whatever_else_is_in_the_file_stays_as_it_is() {
        for (before, after) in [
            (
                "# mine\nrefresh: 5s",
                "# mine\nrefresh: 5s\n\n# Units to watch, by name or glob. `workerheal init` adds more.\nalso_watch:\n  - \"celery@*.service\"\n  - \"bot.service\"\n",
            ),
            (
                "also_watch: []  # none yet\nrefresh: 5s\n",
                "also_watch: [\"celery@*.service\", \"bot.service\"]  # none yet\nrefresh: 5s\n",
            ),
            ("also_watch: [\"a*.service\"]\n", "also_watch: [\"a*.service\", \"celery@*.service\", \"bot.service\"]\n"),
            (
                "also_watch: # mine\n- a*.service\n# why\n- b*.service\n\n# next\nrefresh: 5s\n",
                "also_watch: # mine\n- a*.service\n# why\n- b*.service\n- \"celery@*.service\"\n- \"bot.service\"\n\n# next\nrefresh: 5s\n",
            ),
            (
                "refresh: 5s\nalso_watch:\n    - a*.service",
                "refresh: 5s\nalso_watch:\n    - a*.service\n    - \"celery@*.service\"\n    - \"bot.service\"\n",
            ),
            ("also_watch: [bot.service, celery@*.service]", "also_watch: [bot.service, celery@*.service]"),
            ("also_watch: [bot.service]\n", "also_watch: [bot.service, \"celery@*.service\"]\n"),
        ] {
            assert_eq!(added(before).as_deref(), Some(after), "{before}");
        }
    }

    #[test]
    fn a_list_in_another_form_is_not_edited() {
        for text in [
            "{refresh: 5s}\n",
            "also_watch: [\n  a.service\n]\n",
            "\"also_watch\": [a.service]\n",
            "helth: {}\n",
            "refresh: 5s\n...\n",
            "x: &a [b]\nalso_watch: *a\n",
        ] {
            assert_eq!(added(text), None, "{text}");
        }
    }
}
