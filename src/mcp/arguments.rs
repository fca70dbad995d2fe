//! Reads the arguments of a call, with errors that help an assistant to correct it.

use std::ops::RangeInclusive;
use std::time::Duration;

use rmcp::model::JsonObject;
use serde_json::Value;

/// Maximum length of an argument's value in an error, in characters.
const MAX_QUOTED_CHARS: usize = 60;

/// The arguments that were not read yet.
#[derive(Debug)]
pub(super) struct Arguments {
    left: JsonObject,
    known: Vec<&'static str>,
}

/// The error of an argument, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Wrong(String);

impl Arguments {
    pub fn new(mut arguments: JsonObject) -> Self {
        // `null` stands for a missing argument.
        arguments.retain(|_, value| !value.is_null());
        Self { left: arguments, known: Vec::new() }
    }

    /// The name of a worker: `target`, or `unit` as earlier versions called it.
    pub fn target(&mut self) -> Result<Option<String>, Wrong> {
        self.known.push("target");
        let Some(value) = self.left.remove("target").or_else(|| self.left.remove("unit")) else { return Ok(None) };
        match value {
            Value::String(text) => Ok(Some(text)),
            other => Err(wrong("target", "the name of a worker, such as \"myapp/queue\"", &other)),
        }
    }

    /// Yes or no; no if it is missing.
    pub fn flag(&mut self, name: &'static str) -> Result<bool, Wrong> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong(name, "true or false", &other)),
        }
    }

    /// A duration, such as `30m`.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, Wrong> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let time = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        match time {
            Some(time) if !time.is_zero() => Ok(Some(time)),
            _ => Err(wrong(name, "a duration: a number with its unit, such as \"30m\", \"2h\" or \"1h 30m\"", &value)),
        }
    }

    /// A whole number.
    pub fn number(&mut self, name: &'static str, range: &RangeInclusive<usize>) -> Result<Option<usize>, Wrong> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        let Some(number) = number.filter(|number| range.contains(number)) else {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            return Err(wrong(name, &wanted, &value));
        };
        Ok(Some(number))
    }

    /// Rejects further arguments. An unknown argument may be a mistake, so nothing is done.
    pub fn end(self) -> Result<(), Wrong> {
        let Some(name) = self.left.keys().next() else { return Ok(()) };
        let known: Vec<String> = self.known.iter().map(|name| format!("`{name}`")).collect();
        let known = match known.as_slice() {
            [] => "it takes none".to_owned(),
            known => format!("it takes {}", known.join(" and ")),
        };
        Err(Wrong(format!("this tool has no argument {}; {known}", shown(&Value::from(name.as_str())))))
    }

    fn take(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.left.remove(name)
    }
}

/// A required argument.
pub(super) fn required<T>(name: &str, argument: Option<T>) -> Result<T, Wrong> {
    argument.ok_or_else(|| Wrong(format!("`{name}` is missing: name a unit, SITE/WORKER or a site")))
}

fn wrong(name: &str, wanted: &str, value: &Value) -> Wrong {
    Wrong(format!("`{name}` has to be {wanted}, not {}", shown(value)))
}

/// A value as it was written, cut if it is too long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MAX_QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(value: Value) -> Arguments {
        Arguments::new(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn valid_arguments_are_read_and_missing_ones_are_absent() {
        let mut it = arguments(json!({"unit": "myapp", "for": "1h 30m", "lines": 5, "dry_run": true, "other": null}));
        assert_eq!(it.target().unwrap().as_deref(), Some("myapp"), "the earlier name is understood");
        assert_eq!(it.duration("for").unwrap(), Some(Duration::from_secs(5400)));
        assert_eq!(it.number("lines", &(1..=10)).unwrap(), Some(5));
        assert_eq!(it.number("more", &(1..=10)).unwrap(), None);
        assert_eq!((it.flag("dry_run").unwrap(), it.flag("other").unwrap()), (true, false));
        it.end().unwrap();
    }

    #[test]
    fn invalid_arguments_are_refused_in_one_sentence() {
        let mut it =
            arguments(json!({"unit": ["a"], "for": "soon", "lines": -1, "many": 11, "zero": "0s", "dry_run": "yes"}));
        let sentences = [
            it.target().unwrap_err(),
            it.duration("for").unwrap_err(),
            it.duration("zero").unwrap_err(),
            it.number("lines", &(1..=10)).unwrap_err(),
            it.number("many", &(1..=10)).unwrap_err(),
            it.flag("dry_run").unwrap_err(),
            required("target", None::<String>).unwrap_err(),
        ];
        assert_eq!(
            sentences.map(|wrong| wrong.to_string()),
            [
                r#"`target` has to be the name of a worker, such as "myapp/queue", not ["a"]"#,
                r#"`for` has to be a duration: a number with its unit, such as "30m", "2h" or "1h 30m", not "soon""#,
                r#"`zero` has to be a duration: a number with its unit, such as "30m", "2h" or "1h 30m", not "0s""#,
                "`lines` has to be a whole number from 1 to 10, not -1",
                "`many` has to be a whole number from 1 to 10, not 11",
                "`dry_run` has to be true or false, not \"yes\"",
                "`target` is missing: name a unit, SITE/WORKER or a site",
            ]
        );
        let mut it = arguments(json!({"worker": "queue"}));
        it.target().unwrap();
        it.number("lines", &(1..=10)).unwrap();
        assert_eq!(
            it.end().unwrap_err().to_string(),
            r#"this tool has no argument "worker"; it takes `target` and `lines`"#
        );
        let long = arguments(json!({"é".repeat(500): 1})).end().unwrap_err().to_string();
        assert!(long.chars().count() < 120, "{long}");
    }
}
