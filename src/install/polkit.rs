//! The polkit rule that lets the daemon for units of the system, which runs as a user of its own, start what it covers.
//!
//! polkit decides about each start, stop, restart and reset of a unit by its name and the verb (the action
//! `org.freedesktop.systemd1.manage-units`). The rule permits these for the units that the configuration names, and the
//! start of a socket of the same name. A unit that runs as root generates it from the configuration whenever the daemon
//! starts or the configuration is written: `workerheal-polkit.path`.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use crate::core::selector::Selector;

/// The file of the rule.
pub const RULE_FILE: &str = "/etc/polkit-1/rules.d/60-workerheal.rules";

/// One of these is there if polkit knows rules: since 0.106. (Other packages bring rules, and so the directory, without.)
/// Older ones, as on Debian 11, could only be told to let the daemon do anything with any unit.
const KNOW_RULES: [&str; 2] = ["/usr/share/polkit-1/rules.d/50-default.rules", "/etc/polkit-1/rules.d"];

/// Whether there is a polkit that knows rules.
#[must_use]
pub fn knows_rules() -> bool {
    KNOW_RULES.iter().any(|path| Path::new(path).exists())
}

/// How the rule that polkit has compares with what the configuration needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForce {
    /// It permits what the configuration covers.
    Same,
    /// It was made of another configuration, or by another version.
    Outdated,
    /// There is none.
    Missing,
    /// The caller may not read it, so it is not known: some distributions hide rules from users.
    Hidden,
}

/// Compares the rule in this file with the one that is needed.
#[must_use]
pub fn in_force(path: &Path, needed: &str) -> InForce {
    match std::fs::read(path) {
        Ok(there) if there == needed.as_bytes() => InForce::Same,
        Ok(_) => InForce::Outdated,
        Err(error) if error.kind() == io::ErrorKind::NotFound => InForce::Missing,
        Err(_) => InForce::Hidden,
    }
}

const BEFORE: &str = r#"// Made by workerheal of its configuration, and made again when that is changed: do not edit it.
polkit.addRule(function (action, subject) {
    if (action.id !== "org.freedesktop.systemd1.manage-units" || subject.user !== "workerheal") {
        return polkit.Result.NOT_HANDLED;
    }
    var verbs = ["start", "restart", "stop", "reset-failed"];
    var units = [
"#;
const AFTER: &str = r#"    ];
    var unit = String(action.lookup("unit")), verb = String(action.lookup("verb"));
    // A worker whose socket has failed is started after the socket.
    var worker = verb === "start" ? unit.replace(/\.socket$/, ".service") : unit;
    var isCovered = units.some(function (pattern) { return pattern.test(worker); });
    return verbs.indexOf(verb) >= 0 && isCovered ? polkit.Result.YES : polkit.Result.NO;
});
"#;

/// The rule for the units that the selector can cover.
#[must_use]
pub fn rule(selector: &Selector) -> String {
    let mut text = BEFORE.to_owned();
    for pattern in selector.patterns() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        /^{}$/,", expression(&pattern));
    }
    text.push_str(AFTER);
    text
}

/// Writes the rule, unless it is there already. Returns whether it was written.
///
/// # Errors
///
/// If the file cannot be written.
pub fn write(path: &Path, rule: &str) -> io::Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == rule) {
        return Ok(false);
    }
    // polkit reads it as another user.
    super::write(path, rule).map(|()| true)
}

/// A glob as a regular expression of JavaScript, with the meaning that the `glob` crate gives it.
fn expression(glob: &str) -> String {
    let mut expression = String::new();
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                let (class, after) = class(rest);
                expression.push_str(&class);
                rest = after;
            }
            c => push_literal(&mut expression, c),
        }
    }
    expression
}

/// The class at the beginning of a text that follows a `[`, and the rest of the text. Its first character is never its
/// end.
fn class(text: &str) -> (String, &str) {
    let (negation, body) = text.strip_prefix('!').map_or(("", text), |body| ("^", body));
    let first = body.chars().next().map_or(0, char::len_utf8);
    let end = body[first..].find(']').map_or(body.len(), |at| first + at);
    let after = body.get(end + 1..).unwrap_or_default();
    let characters: Vec<char> = body[..end].chars().collect();
    let mut class = format!("[{negation}");
    let mut left = characters.as_slice();
    while let [from, others @ ..] = left {
        match others {
            ['-', to, others @ ..] => {
                // A range that runs backwards has nothing in it, and would be an error in JavaScript.
                if from <= to {
                    push_literal(&mut class, *from);
                    class.push('-');
                    push_literal(&mut class, *to);
                }
                left = others;
            }
            others => {
                push_literal(&mut class, *from);
                left = others;
            }
        }
    }
    class.push(']');
    (class, after)
}

fn push_literal(expression: &mut String, c: char) {
    if !c.is_ascii_alphanumeric() {
        expression.push('\\');
    }
    expression.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_has_the_units_of_the_prefix_and_of_also_watch_and_is_written_once() {
        let also = ["celery@*.service", r"my\x2dbot", "web-[0-9].service"].map(str::to_owned);
        let selector = Selector::new("lerd-", [], &also).unwrap();
        let rule = rule(&selector);
        for line in [
            r"        /^lerd\-.*\.service$/,",
            r"        /^celery\@.*\.service$/,",
            r"        /^my\\x2dbot\.service$/,",
            r"        /^web\-[0-9]\.service$/,",
        ] {
            assert!(rule.lines().any(|it| it == line), "{line}\n{rule}");
        }
        assert_eq!(rule.matches("/^").count(), 4);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rules.d/60-workerheal.rules");
        assert!(write(&file, &rule).unwrap());
        assert!(!write(&file, &rule).unwrap());
        assert_eq!(std::fs::read_to_string(file).unwrap(), rule);
    }

    #[test]
    fn a_rule_that_is_missing_or_of_another_configuration_is_distinguished_from_the_right_one() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("60-workerheal.rules");
        let of = |also: &str| rule(&Selector::new("lerd-", [], &[also.to_owned()]).unwrap());
        assert_eq!(in_force(&file, &of("bot")), InForce::Missing);
        write(&file, &of("bot")).unwrap();
        assert_eq!(in_force(&file, &of("bot")), InForce::Same);
        assert_eq!(in_force(&file, &of("mailer")), InForce::Outdated);
        assert_eq!(in_force(directory.path(), &of("bot")), InForce::Hidden, "it cannot be read");
    }

    #[test]
    fn character_classes_match_as_in_a_glob() {
        for (glob, expected) in [
            ("a[!0-9]", r"a[^0-9]"),
            ("a[]x]", r"a[\]x]"),
            ("a[!]x]b", r"a[^\]x]b"),
            ("a[z-a]", r"a[]"),
            ("a[a-c-e]", r"a[a-c\-e]"),
            ("a[x-]", r"a[x\-]"),
            ("?", "."),
        ] {
            assert_eq!(expression(glob), expected, "{glob}");
            assert!(glob::Pattern::new(glob).is_ok(), "{glob}");
        }
    }
}
