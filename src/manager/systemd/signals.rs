//! systemd's signals as plain data.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use zbus::message::Type;
use zbus::{Message, ObjectPath, Variant};

use super::wire::{SHUTDOWN, SYSTEMD, UNIT, is_auto_restart, name_of_path, number_of_job, unit_of_path};
use crate::core::units::{ActiveState, UnitName, UnitStatus};

/// The relevant signals.
pub(super) const MATCHES: [&str; 6] = [
    "type='signal',sender='org.freedesktop.systemd1',path_namespace='/org/freedesktop/systemd1/unit',\
     interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='UnitRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobNew'",
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='Reloading'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',\
     arg0='org.freedesktop.systemd1'",
];

/// A relevant signal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// A unit's state or job changed; with the number of its job, or 0.
    Changed(UnitStatus, u32),
    /// A socket's state changed; whether it has failed.
    Socket(String, bool),
    /// A change without details.
    Invalidated,
    /// A unit was unloaded.
    Removed(String),
    /// A job was queued for a unit that shuts down the manager.
    ShuttingDown,
    /// A job was queued.
    JobNew {
        /// The job's path.
        path: String,
        /// Full name of its unit, which can be of any type.
        unit: String,
    },
    /// A job ended.
    JobRemoved {
        /// The job's number.
        id: u32,
        /// The job's path.
        path: String,
        /// Its unit, if that is a service.
        unit: Option<UnitName>,
        /// How it ended.
        result: String,
    },
    /// The manager begins (true) or has ended (false) to reload its files.
    Reloading(bool),
    /// The manager's name on the bus has a new owner, or none.
    Owner(Option<String>),
}

/// Parses a signal; `None` if it is irrelevant.
pub(super) fn parse(message: &Message) -> Option<Signal> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let header = message.header();
    let body = message.body();
    match header.member()?.as_str() {
        "PropertiesChanged" => {
            let path = header.path()?.as_str();
            let socket = socket_of_path(path);
            let unit = if socket.is_some() { None } else { Some(unit_of_path(path)?) };
            // On the private socket, signals of other interfaces arrive too; they are not parsed further.
            if body.deserialize_ignore_signature::<&str>().ok()? != UNIT {
                return None;
            }
            let (_, changed, invalidated): (&str, Changed, Vec<&str>) = body.deserialize().ok()?;
            let Changed { active: Some(active), job, auto_restart } = changed else {
                return invalidated.contains(&"ActiveState").then_some(Signal::Invalidated);
            };
            match (unit, socket) {
                (Some(name), _) => {
                    let status = UnitStatus { name, load: None, active, has_job: job != 0, auto_restart };
                    Some(Signal::Changed(status, job))
                }
                (None, Some(socket)) => Some(Signal::Socket(socket, active == ActiveState::Failed)),
                (None, None) => None,
            }
        }
        "UnitRemoved" => {
            let (name, _): (&str, ObjectPath<'_>) = body.deserialize().ok()?;
            Some(Signal::Removed(name.to_owned()))
        }
        "JobRemoved" => {
            let (id, path, unit, result): (u32, ObjectPath<'_>, &str, &str) = body.deserialize().ok()?;
            let unit = unit.ends_with(".service").then(|| UnitName::parse(unit).ok()).flatten();
            Some(Signal::JobRemoved { id, path: path.to_string(), unit, result: result.to_owned() })
        }
        "JobNew" => {
            let (_, path, unit): (u32, ObjectPath<'_>, &str) = body.deserialize().ok()?;
            if SHUTDOWN.contains(&unit) {
                return Some(Signal::ShuttingDown);
            }
            Some(Signal::JobNew { path: path.to_string(), unit: unit.to_owned() })
        }
        "Reloading" => body.deserialize().ok().map(Signal::Reloading),
        "NameOwnerChanged" => {
            let (name, _, owner): (&str, &str, &str) = body.deserialize().ok()?;
            (name == SYSTEMD).then(|| Signal::Owner((!owner.is_empty()).then(|| owner.to_owned())))
        }
        _ => None,
    }
}

/// The relevant ones of a unit's changed properties; systemd sends two dozen each time.
#[derive(Default)]
struct Changed {
    active: Option<ActiveState>,
    job: u32,
    auto_restart: bool,
}

impl zbus::Type for Changed {
    const SIGNATURE: &'static zbus::Signature = <HashMap<&str, Variant<'static>> as zbus::Type>::SIGNATURE;
}

impl<'de> Deserialize<'de> for Changed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Properties;

        impl<'de> Visitor<'de> for Properties {
            type Value = Changed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("properties")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Changed, A::Error> {
                let mut changed = Changed::default();
                while let Some((key, value)) = map.next_entry::<&str, Variant<'de>>()? {
                    match (key, &value) {
                        ("ActiveState", Variant::Str(state)) => changed.active = Some(state.as_str().into()),
                        ("SubState", Variant::Str(sub)) => changed.auto_restart = is_auto_restart(sub.as_str()),
                        ("Job", job) => changed.job = number_of_job(job),
                        _ => {}
                    }
                }
                Ok(changed)
            }
        }

        deserializer.deserialize_map(Properties)
    }
}

/// The socket unit of an object path; `None` for units of other types.
fn socket_of_path(path: &str) -> Option<String> {
    name_of_path(path, "_2esocket")
}
