//! The values of single keys, each with its limits and with the words for what is wrong with it.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

use crate::core::diagnosis::State;
use crate::core::selector::Selector;
use crate::files::yaml::{self, refuse};

const REFRESH_RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Maximum of any duration, so that sums of times cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
const MAX_CONCURRENT_RANGE: RangeInclusive<usize> = 1..=1000;
/// States that can be healed.
const HEALABLE_STATES: [State; 4] =
    [State::Failed, State::StartLimitHit, State::ExpectedButStopped, State::Unreachable];

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, Duration::ZERO..=MAX_DURATION)
}

pub(super) fn positive_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, Duration::from_millis(1)..=MAX_DURATION)
}

pub(super) fn refresh<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, REFRESH_RANGE)
}

fn duration_within<'de, D: Deserializer<'de>>(
    deserializer: D,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    yaml::text(deserializer, "a duration such as 3s or 10m", |text| {
        let hint = "write a number with its unit, such as 500ms, 3s, 10m or 90s";
        let duration = humantime::parse_duration(text.trim())
            .map_err(|_| (format!("`{text}` is not a duration"), hint.to_owned()))?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let [least, most] = [range.start(), range.end()].map(|limit| humantime::format_duration(*limit).to_string());
        let limits = match (duration < *range.start(), range.start().is_zero()) {
            (true, _) => format!("write {least} or more"),
            (false, _) if *range.end() == MAX_DURATION => "write 365d or less".to_owned(),
            (false, _) => format!("write {most} or less"),
        };
        Err((format!("`{text}` is too {}", if duration < *range.start() { "short" } else { "long" }), limits))
    })
}

pub(super) fn unit_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    yaml::text(deserializer, "the beginning of a unit name, such as lerd-", |text| match Selector::new(text, [], &[]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err((
            format!("`{text}` cannot be the beginning of a unit name"),
            "write it without blanks, such as lerd-".to_owned(),
        )),
    })
}

/// An item of `also_watch`.
struct Glob(String);

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        yaml::text(deserializer, "a glob for units, such as \"celery@*.service\"", |text| {
            match Selector::new("lerd-", [], &[text.to_owned()]) {
                Ok(_) => Ok(Self(text.to_owned())),
                Err(error) => Err((format!("this cannot be watched: {error}"), String::new())),
            }
        })
    }
}

pub(super) fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Vec::<Glob>::deserialize(deserializer)?.into_iter().map(|glob| glob.0).collect())
}

/// An item of `heal.states`.
struct Word(State);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        yaml::text(deserializer, "a state such as failed", |text| {
            let healed = HEALABLE_STATES.map(State::as_str);
            let known = || format!("what can be healed is {}", healed.join(", "));
            match text.parse::<State>() {
                Ok(state) if HEALABLE_STATES.contains(&state) => Ok(Self(state)),
                Ok(state) => Err((format!("the state `{state}` is shown, but cannot be healed"), known())),
                Err(_) => {
                    let near = yaml::did_you_mean(text, State::ALL.map(State::as_str));
                    let hint = near.map_or_else(known, |near| format!("did you mean `{near}`?"));
                    Err((format!("there is no state `{text}`"), hint))
                }
            }
        })
    }
}

pub(super) fn states<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<State>, D::Error> {
    let mut states: Vec<State> = Vec::new();
    for Word(state) in Vec::<Word>::deserialize(deserializer)? {
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

pub(super) fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Command;
    impl<'de> Visitor<'de> for Command {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a program and its arguments as a list, such as [/usr/local/bin/alert, --loud]")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut words: Vec<String> = Vec::new();
            while let Some(word) = seq.next_element::<String>()? {
                if words.is_empty() && word.is_empty() {
                    return Err(refuse("the name of the program is empty", "write for example [/usr/local/bin/alert]"));
                }
                words.push(word);
            }
            Ok(words)
        }
    }
    deserializer.deserialize_any(Command)
}

pub(super) fn give_up_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let attempts = number(deserializer, "a number of attempts, 0 for never", |n: &u32| *n <= 1_000_000)?;
    Ok((attempts > 0).then_some(attempts))
}

pub(super) fn max_concurrent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    number(deserializer, "a number from 1 to 1000", |n| MAX_CONCURRENT_RANGE.contains(n))
}

pub(super) fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, "a number from 1 to 100", |n: &f64| (1.0..=100.0).contains(n))
}

pub(super) fn jitter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, "a number from 0 to 1", |n: &f64| (0.0..=1.0).contains(n))
}

fn number<'de, D: Deserializer<'de>, T: std::str::FromStr>(
    deserializer: D,
    expected: &str,
    fits: impl FnOnce(&T) -> bool,
) -> Result<T, D::Error> {
    yaml::text(deserializer, expected, |text| match text.parse() {
        Ok(number) if fits(&number) => Ok(number),
        _ => Err((format!("expected {expected}, found `{text}`"), String::new())),
    })
}

/// An address to listen at, or none.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    struct Listen;
    impl Visitor<'_> for Listen {
        type Value = Option<SocketAddr>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an address to listen at, such as 127.0.0.1:9477, or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            let hint = "write an IP address with a port, such as 127.0.0.1:9477 or \"[::]:9477\"";
            match text.parse::<SocketAddr>() {
                Ok(address) if address.port() > 0 => Ok(Some(address)),
                Ok(_) | Err(_) => Err(refuse(format!("`{text}` is no address to listen at"), hint)),
            }
        }
    }
    deserializer.deserialize_any(Listen)
}
