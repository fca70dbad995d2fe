//! The configuration: a YAML file turned into valid settings.
//!
//! `config/workerheal.yaml` documents every key. Errors are reported at their place in the file, so each value is
//! checked where it is read, as far as possible.

mod probes;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use crate::core::backoff::Backoff;
use crate::core::diagnosis::State;
use crate::core::parse_error::ParseError;
use crate::core::policy::Policy;
use crate::core::selector::Selector;
use crate::files::yaml;
use probes::{Probes, probes};
use values::{
    command, duration, factor, give_up_after, globs, jitter, listen, max_concurrent, positive_duration, refresh,
    states, unit_prefix,
};
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
        of::<probes::RawProbe>("probes."),
        of::<RawMetrics>("metrics."),
    ]
    .concat()
}

#[cfg(test)]
mod tests;
