//! The configuration of health probes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Unexpected, Visitor};

use crate::core::policy::DefinedProbes;
use crate::core::probe::Probe;
use crate::files::yaml::{self, refuse};

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawProbe {
    #[serde(deserialize_with = "address")]
    tcp: Option<String>,
    #[serde(deserialize_with = "path")]
    url_file: Option<PathBuf>,
}

/// The configuration of probes.
#[derive(Default)]
pub(super) struct Probes {
    pub(super) configured: BTreeMap<String, Probe>,
    pub(super) defined: DefinedProbes,
}

pub(super) fn probes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Probes, D::Error> {
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
            while let Some(key) = map.next_key::<String>()? {
                let OneProbe(probe) = map.next_value()?;
                // A worker without a site has the name of its unit.
                let worker = key.strip_suffix(".service").unwrap_or(&key).to_owned();
                if configured.contains_key(&worker) || off.contains(&worker) {
                    return Err(refuse(format_args!("the worker `{worker}` is here twice"), "delete one"));
                }
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
