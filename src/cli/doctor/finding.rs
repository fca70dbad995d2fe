//! The result of a check, and how it is shown.

use serde::Serialize;

use crate::cli::term::{self, Style};

/// The severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    /// No problem.
    Ok,
    /// Healing works, with a limitation.
    Warning,
    /// Some workers are not healed.
    Problem,
}

/// A line of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// The subject of the check, in one or two words.
    pub check: &'static str,
    pub level: Level,
    /// The finding, as a sentence without a capital letter.
    pub says: String,
    /// The remedy; a command if there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    pub fn ok(check: &'static str, says: impl Into<String>) -> Self {
        Self { check, level: Level::Ok, says: says.into(), remedy: String::new() }
    }

    pub fn warning(check: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Warning, says: says.into(), remedy: remedy.into() }
    }

    pub fn problem(check: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, level: Level::Problem, says: says.into(), remedy: remedy.into() }
    }
}

/// The width of a level.
const LEVEL_COLUMNS: usize = 7;

/// A line for each check, or several on a narrow terminal, and the conclusion.
pub(super) fn text(findings: &[Finding], style: Style, columns: Option<usize>) -> String {
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, level, says, remedy } in findings {
        let level = match level {
            Level::Ok => style.good("ok     "),
            Level::Warning => style.busy("warning"),
            Level::Problem => style.bad("problem"),
        };
        let indent = LEVEL_COLUMNS + width + 4;
        let says = if remedy.is_empty() { says.clone() } else { format!("{says}; {remedy}") };
        let is_long = columns.is_some_and(|columns| indent + says.chars().count() > columns);
        let says = match says.strip_suffix(remedy.as_str()) {
            // Remedies are commands, which are easier to read and to copy in one piece.
            Some(problem) if is_long && !remedy.is_empty() => {
                let [problem, remedy] = [problem.trim_end(), remedy].map(|text| term::hanging(text, indent, columns));
                format!("{problem}\n{:indent$}{remedy}", "")
            }
            _ => term::hanging(&says, indent, columns),
        };
        text.push_str(&format!("{level}  {check:width$}  {says}\n"));
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let counts = [(count(Level::Problem), "problem"), (count(Level::Warning), "warning")];
    let counts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }))
        .collect();
    let end = if counts.is_empty() { "All checks passed.".to_owned() } else { format!("{}.", counts.join(", ")) };
    format!("{text}{}\n", style.strong(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_line_with_its_remedy() {
        let findings = [
            Finding::ok("versions", "0.1.0"),
            Finding::warning("linger", "your services end when you log out", "to keep them: loginctl enable-linger"),
            Finding::problem("daemon", "none answers", "install it: workerheal install"),
        ];
        assert_eq!(
            text(&findings, Style::default(), None),
            "ok       versions  0.1.0\n\
             warning  linger    your services end when you log out; to keep them: loginctl enable-linger\n\
             problem  daemon    none answers; install it: workerheal install\n\
             1 problem, 1 warning.\n"
        );
        assert_eq!(text(&findings[..1], Style::default(), None), "ok       versions  0.1.0\nAll checks passed.\n");
        let narrow = text(&findings[1..2], Style::default(), Some(60));
        assert_eq!(
            narrow,
            "warning  linger  your services end when you log out;\n                 to keep them: loginctl enable-linger\n\
             1 warning.\n"
        );
        for width in [60, 80, 120, 200] {
            insta::assert_snapshot!(format!("{width}"), text(&findings, Style::default(), Some(width)));
        }
        assert_eq!(
            serde_json::to_value(&findings[1]).unwrap(),
            serde_json::json!({
                "check": "linger", "level": "warning", "says": "your services end when you log out",
                "remedy": "to keep them: loginctl enable-linger",
            })
        );
    }
}
