//! The configuration: a YAML file turned into valid settings.
//!
//! `config/workerheal.yaml` documents every key. Errors are reported at their place in the file, so each value is
//! checked where it is read, as far as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::core::backoff::Backoff;
use crate::core::diagnosis::State;
use crate::core::parse_error::ParseError;
use crate::core::policy::{DefinedProbes, Policy};
use crate::core::probe::Probe;
use crate::core::selector::Selector;
use crate::files::yaml::{self, refuse};

const REFRESH_RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Maximum of any duration, so that sums of times cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);
const MAX_CONCURRENT_RANGE: RangeInclusive<usize> = 1..=1000;
/// States that can be healed.
const HEALABLE_STATES: [State; 4] =
    [State::Failed, State::StartLimitHit, State::ExpectedButStopped, State::Unreachable];

/// The validated configuration. The defaults are the documented ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How often all units are listed.
    pub refresh: Duration,
    /// Which units are covered.
    pub selector: Selector,
    /// How workers are healed.
    pub policy: Policy,
    /// The command to run after a worker was healed or given up: a program and its arguments. Empty if there is none.
    pub on_event: Vec<String>,
    /// The address for metrics over TCP, if any.
    pub metrics: Option<SocketAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(3),
            selector: Selector::default(),
            policy: Policy::default(),
            on_event: Vec::new(),
            metrics: None,
        }
    }
}

impl Config {
    /// Parses a `config.yaml`. An empty one gives the defaults.
    ///
    /// # Errors
    ///
    /// If a key is unknown or a value is invalid, with the place and what was expected there.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let raw: RawConfig = yaml::parse_optional(bytes)?.unwrap_or_default();
        let selector = Selector::new(&raw.unit_prefix, raw.ignore_workers, &raw.also_watch)
            // Each part was validated where it was read.
            .map_err(|error| ParseError::whole(error.to_string(), None))?;
        let policy = raw.heal.into_policy(raw.probes);
        Ok(Self { refresh: raw.refresh, selector, policy, on_event: raw.on_event, metrics: raw.metrics.listen })
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings, such as `refresh: 3s`")]
struct RawConfig {
    #[serde(deserialize_with = "refresh")]
    refresh: Duration,
    #[serde(deserialize_with = "unit_prefix")]
    unit_prefix: String,
    ignore_workers: Vec<String>,
    #[serde(deserialize_with = "globs")]
    also_watch: Vec<String>,
    heal: RawHeal,
    #[serde(deserialize_with = "probes")]
    probes: Probes,
    #[serde(deserialize_with = "command")]
    on_event: Vec<String>,
    metrics: RawMetrics,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings, such as `give_up_after: 10`")]
struct RawHeal {
    #[serde(deserialize_with = "states")]
    states: Vec<State>,
    #[serde(deserialize_with = "backoff")]
    backoff: Backoff,
    #[serde(deserialize_with = "duration")]
    stable_after: Duration,
    #[serde(deserialize_with = "duration")]
    reset_after: Duration,
    #[serde(deserialize_with = "give_up_after")]
    give_up_after: Option<u32>,
    #[serde(deserialize_with = "positive_duration")]
    timeout: Duration,
    #[serde(deserialize_with = "max_concurrent")]
    max_concurrent: usize,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping such as `{initial: 1s, factor: 2, max: 5m, jitter: 0.1}`")]
struct RawBackoff {
    #[serde(deserialize_with = "positive_duration")]
    initial: Duration,
    #[serde(deserialize_with = "factor")]
    factor: f64,
    #[serde(deserialize_with = "positive_duration")]
    max: Duration,
    #[serde(deserialize_with = "jitter")]
    jitter: f64,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping such as `{listen: null}`")]
struct RawMetrics {
    #[serde(deserialize_with = "listen")]
    listen: Option<SocketAddr>,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            refresh: Config::default().refresh,
            unit_prefix: "lerd-".to_owned(),
            ignore_workers: ["fp", "custom", "cfpm"].map(str::to_owned).into(),
            also_watch: Vec::new(),
            heal: RawHeal::default(),
            probes: Probes::default(),
            on_event: Vec::new(),
            metrics: RawMetrics::default(),
        }
    }
}

impl Default for RawHeal {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            states: policy.states,
            backoff: policy.backoff,
            stable_after: policy.stable_after,
            reset_after: policy.reset_after,
            give_up_after: policy.give_up_after,
            timeout: policy.timeout,
            max_concurrent: policy.max_concurrent,
        }
    }
}

impl RawHeal {
    fn into_policy(self, Probes { configured, defined }: Probes) -> Policy {
        Policy {
            states: self.states,
            backoff: self.backoff,
            stable_after: self.stable_after,
            reset_after: self.reset_after,
            give_up_after: self.give_up_after,
            timeout: self.timeout,
            max_concurrent: self.max_concurrent,
            probes: configured,
            defined_probes: defined,
        }
    }
}

impl Default for RawBackoff {
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), factor: 2.0, max: Duration::from_secs(300), jitter: 0.1 }
    }
}

fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, Duration::ZERO..=MAX_DURATION)
}

fn positive_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration_within(deserializer, Duration::from_millis(1)..=MAX_DURATION)
}

fn refresh<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
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

fn unit_prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
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

fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
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

fn states<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<State>, D::Error> {
    let mut states: Vec<State> = Vec::new();
    for Word(state) in Vec::<Word>::deserialize(deserializer)? {
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawProbe {
    #[serde(deserialize_with = "address")]
    tcp: Option<String>,
    #[serde(deserialize_with = "path")]
    url_file: Option<PathBuf>,
}

/// The configuration of probes.
#[derive(Default)]
struct Probes {
    configured: BTreeMap<String, Probe>,
    defined: DefinedProbes,
}

fn probes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Probes, D::Error> {
    struct All;
    impl<'de> Visitor<'de> for All {
        type Value = Probes;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping of workers to probes, such as `vite: {url_file: public/hot}`, or off")
        }

        fn visit_unit<E>(self) -> Result<Probes, E> {
            Ok(Probes::default())
        }

        fn visit_bool<E: Error>(self, on: bool) -> Result<Probes, E> {
            self.visit_str(if on { "true" } else { "off" })
        }

        fn visit_str<E: Error>(self, word: &str) -> Result<Probes, E> {
            match word {
                "off" => Ok(Probes { defined: DefinedProbes::Off, ..Probes::default() }),
                _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Probes, A::Error> {
            let (mut configured, mut off) = (BTreeMap::new(), BTreeSet::new());
            while let Some(worker) = map.next_key::<String>()? {
                let OneProbe(probe) = map.next_value()?;
                match probe {
                    Some(probe) => drop(configured.insert(worker, probe)),
                    None => drop(off.insert(worker)),
                }
            }
            Ok(Probes { configured, defined: DefinedProbes::AllBut(off) })
        }
    }
    deserializer.deserialize_any(All)
}

/// The probe of one worker: a mapping with one key, or `off`.
struct OneProbe(Option<Probe>);

impl<'de> Deserialize<'de> for OneProbe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = OneProbe;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a probe such as `{tcp: \"127.0.0.1:6001\"}` or `{url_file: public/hot}`, or off")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<OneProbe, E> {
                self.visit_str(if on { "true" } else { "off" })
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<OneProbe, E> {
                match word {
                    "off" => Ok(OneProbe(None)),
                    _ => Err(E::invalid_value(Unexpected::Str(word), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<OneProbe, A::Error> {
                let raw = RawProbe::deserialize(MapAccessDeserializer::new(map))?;
                match (raw.tcp, raw.url_file) {
                    (Some(address), None) => Ok(OneProbe(Some(Probe::Tcp(address)))),
                    (None, Some(path)) => Ok(OneProbe(Some(Probe::UrlFile(path)))),
                    (None, None) => Err(refuse("this probe asks nothing", "write tcp: or url_file:")),
                    (Some(_), Some(_)) => Err(refuse("this probe asks two things", "keep one of tcp: and url_file:")),
                }
            }
        }
        deserializer.deserialize_any(One)
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    yaml::text(deserializer, "an address such as \"127.0.0.1:6001\"", |text| {
        let (host, port) = text.rsplit_once(':').unwrap_or_default();
        let fits = !host.is_empty()
            && !host.contains([' ', '/', '\t'])
            && (host.starts_with('[') == host.ends_with(']') && (host.starts_with('[') || !host.contains(':')))
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        let hint = "write host:port, such as \"127.0.0.1:6001\" or \"[::1]:6001\"";
        if fits { Ok(Some(text.to_owned())) } else { Err((format!("`{text}` is no address"), hint.to_owned())) }
    })
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    yaml::text(deserializer, "a file such as public/hot", |text| match text {
        "" => Err(("the name of the file is empty".to_owned(), "write for example public/hot".to_owned())),
        text => Ok(Some(PathBuf::from(text))),
    })
}

fn command<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
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

fn give_up_after<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let attempts = number(deserializer, "a number of attempts, 0 for never", |n: &u32| *n <= 1_000_000)?;
    Ok((attempts > 0).then_some(attempts))
}

fn max_concurrent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    number(deserializer, "a number from 1 to 1000", |n| MAX_CONCURRENT_RANGE.contains(n))
}

fn factor<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, "a number from 1 to 100", |n: &f64| (1.0..=100.0).contains(n))
}

fn jitter<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
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

/// A backoff whose parts fit together. That is checked while its mapping is visited, so that the error is reported
/// there.
fn backoff<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Backoff, D::Error> {
    struct Parts;
    impl<'de> Visitor<'de> for Parts {
        type Value = Backoff;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a mapping such as `{initial: 1s, factor: 2, max: 5m, jitter: 0.1}`")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Backoff, A::Error> {
            let raw = RawBackoff::deserialize(MapAccessDeserializer::new(map))?;
            Backoff::new(raw.initial, raw.factor, raw.max, raw.jitter).map_err(A::Error::custom)
        }
    }
    deserializer.deserialize_map(Parts)
}

/// An address to listen at, or none.
fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
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

/// Every key that can be written, with the keys that it is under: `heal.states`.
#[cfg(test)]
pub(crate) fn known_keys() -> Vec<String> {
    fn of<T: serde::de::DeserializeOwned>(parent: &str) -> Vec<String> {
        // Only the refusal of a key that does not exist lists those that do.
        let refusal = serde_yaml::from_str::<T>("no_such_key: 1").err().expect("it is unknown").to_string();
        let known = refusal.split('`').skip(3).step_by(2).map(|key| format!("{parent}{key}")).collect::<Vec<_>>();
        assert!(!known.is_empty(), "{refusal}");
        known
    }
    [
        of::<RawConfig>(""),
        of::<RawHeal>("heal."),
        of::<RawBackoff>("heal.backoff."),
        of::<RawProbe>("probes."),
        of::<RawMetrics>("metrics."),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
