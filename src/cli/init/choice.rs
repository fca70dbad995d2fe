//! The units that can be chosen, as a list, and the chosen ones.

use std::collections::BTreeMap;

use crate::cli::term::Style;
use crate::core::selector::Selector;
use crate::core::text::plain;
use crate::core::units::{ActiveState, UnitName};

/// A unit that could be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub unit: UnitName,
    pub active: ActiveState,
}

/// A line of the list: a unit, or the instances of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// The text for the configuration.
    pub glob: String,
    units: Vec<Candidate>,
}

/// The list: instances of one template are one choice, and failed units come first.
pub(super) fn choices(candidates: Vec<Candidate>) -> Vec<Choice> {
    let mut by_glob: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        let name = candidate.unit.short();
        let glob = match name.split_once('@') {
            Some((template, _)) => format!("{template}@*.service"),
            None => candidate.unit.as_str().to_owned(),
        };
        by_glob.entry(glob).or_default().push(candidate);
    }
    let choice = |(glob, units): (String, Vec<Candidate>)| match units.as_slice() {
        // For a single instance it is unknown whether the others are meant too.
        [only] => Choice { glob: only.unit.as_str().to_owned(), units },
        _ => Choice { glob, units },
    };
    let mut choices: Vec<Choice> = by_glob.into_iter().map(choice).collect();
    choices.sort_by_key(|choice| choice.failed() == 0);
    choices
}

impl Choice {
    fn failed(&self) -> usize {
        self.units.iter().filter(|unit| unit.active == ActiveState::Failed).count()
    }

    /// The state of its units: `failed`, `active`, or `3 units, 1 failed`.
    fn state(&self) -> String {
        match self.units.as_slice() {
            [only] => only.active.to_string(),
            units => {
                let failed = match self.failed() {
                    0 => String::new(),
                    failed => format!(", {failed} failed"),
                };
                format!("{} units{failed}", units.len())
            }
        }
    }
}

/// The choices as a numbered list.
pub(super) fn list(choices: &[Choice], style: Style) -> String {
    let names = choices.iter().map(|choice| choice.glob.chars().count()).max().unwrap_or(0);
    let digits = choices.len().to_string().len();
    let mut list = String::new();
    for (number, choice) in (1..).zip(choices) {
        let state = choice.state();
        let state = if choice.failed() > 0 { style.bad(state) } else { style.faint(state) };
        list.push_str(&format!("  {number:>digits$}  {:names$}  {state}\n", choice.glob));
    }
    list
}

/// The globs that an answer names: numbers and ranges of the list, names, globs, or `all`.
///
/// # Errors
///
/// If a word is none of these, as a sentence.
pub(super) fn chosen(answer: &str, choices: &[Choice]) -> Result<Vec<String>, String> {
    let mut globs: Vec<String> = Vec::new();
    for word in answer.split([' ', ',', '\t', '\n', '\r']).filter(|word| !word.is_empty()) {
        let named = match (word, numbers(word)) {
            ("all", _) => choices.iter().map(|choice| choice.glob.clone()).collect(),
            (_, Some((first, last))) if (1..=last).contains(&first) && last <= choices.len() => {
                choices[first - 1..last].iter().map(|choice| choice.glob.clone()).collect()
            }
            (_, Some(_)) => return Err(format!("{word} is not on the list, which ends at {}", choices.len())),
            (name, None) => vec![glob(name)?],
        };
        globs.extend(named);
    }
    let mut seen = std::collections::HashSet::new();
    globs.retain(|glob| seen.insert(glob.clone()));
    Ok(globs)
}

/// `3` or `2-5`.
fn numbers(word: &str) -> Option<(usize, usize)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// A name or glob as written in the configuration.
///
/// # Errors
///
/// If it cannot name service units, as a sentence.
pub(super) fn glob(name: &str) -> Result<String, String> {
    let full = if name.ends_with(".service") { name.to_owned() } else { format!("{name}.service") };
    let refused = |error: String| format!("{:?} cannot be watched: {error}", plain(name));
    Selector::new("lerd-", [], std::slice::from_ref(&full)).map_err(|error| refused(error.to_string()))?;
    Ok(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(units: &[(&str, ActiveState)]) -> Vec<Choice> {
        let candidate =
            |(name, active): &(&str, ActiveState)| Candidate { unit: UnitName::parse(name).unwrap(), active: *active };
        choices(units.iter().map(candidate).collect())
    }

    fn some() -> Vec<Choice> {
        of(&[
            ("bot", ActiveState::Active),
            ("celery@a", ActiveState::Active),
            ("celery@b", ActiveState::Failed),
            ("mail@1", ActiveState::Active),
        ])
    }

    #[test]
    fn instances_are_one_choice_and_failed_units_come_first() {
        assert_eq!(
            list(&some(), Style::default()),
            "  1  celery@*.service  2 units, 1 failed\n  2  bot.service       active\n  3  mail@1.service    active\n"
        );
    }

    #[test]
    fn an_answer_names_numbers_ranges_names_and_globs() {
        for (answer, globs) in [
            ("", &[][..]),
            ("1", &["celery@*.service"]),
            ("2-3, 2", &["bot.service", "mail@1.service"]),
            ("all", &["celery@*.service", "bot.service", "mail@1.service"]),
            ("bot web-*.service", &["bot.service", "web-*.service"]),
        ] {
            assert_eq!(chosen(answer, &some()).unwrap(), globs, "{answer}");
        }
        for (answer, says) in [
            ("4", "4 is not on the list, which ends at 3"),
            ("0", "0 is not on the list, which ends at 3"),
            ("3-1", "3-1 is not on the list"),
            ("bot;rm", "cannot be watched"),
            ("*", "it would cover every unit there is"),
        ] {
            let error = chosen(answer, &some()).unwrap_err();
            assert!(error.contains(says), "{answer}: {error}");
        }
    }
}
