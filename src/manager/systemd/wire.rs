//! systemd's D-Bus interface as plain data: names, calls and their responses. The signals are in
//! [`signals`](super::signals).
//!
//! The interface is described in org.freedesktop.systemd1(5). Only the parts that are used are here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use zbus::message::Builder;
use zbus::{Message, ObjectPath, Variant};

use crate::core::diagnosis::{Refusal, Unrecoverable};
use crate::core::healer::Outcome;
use crate::core::selector::Aliases;
use crate::core::units::{ActiveState, LoadState, UnitName, UnitStatus};

pub(super) const SYSTEMD: &str = "org.freedesktop.systemd1";
pub(super) const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const SERVICE: &str = "org.freedesktop.systemd1.Service";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit/";

/// Targets whose start ends the manager: each kind of shutdown starts the second. Every list includes them.
pub(super) const SHUTDOWN: [&str; 2] = ["exit.target", "shutdown.target"];

/// Sockets: every list includes failed ones.
pub(super) const SOCKETS: &str = "*.socket";

/// A unit in a list, as systemd sends it: name, description, load, active, sub, following, path,
/// job id, job type, job path.
type RawLine<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, ObjectPath<'a>, u32, &'a str, ObjectPath<'a>);

/// A unit of any type in a list.
#[derive(Debug)]
pub(super) struct Line {
    pub name: String,
    pub load: LoadState,
    pub active: ActiveState,
    pub auto_restart: bool,
    pub job: Option<ListedJob>,
}

/// A job that is queued or running.
#[derive(Debug)]
pub(super) struct ListedJob {
    pub kind: String,
    pub path: String,
}

impl ListedJob {
    /// The manager numbers jobs in the order in which it creates them.
    pub(super) fn number(&self) -> Option<u64> {
        self.path.rsplit('/').next()?.parse().ok()
    }
}

impl Line {
    pub(super) fn is_stopping(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.kind == "stop")
    }

    pub(super) fn is_starting(&self) -> bool {
        self.job.as_ref().is_some_and(|job| matches!(job.kind.as_str(), "start" | "restart"))
    }
}

/// A call of a manager's method.
pub(super) fn call<B>(member: &'static str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::wire::DynamicType,
{
    to_manager(member).build(body)
}

/// The words for all states but `active`, to list units by.
pub(super) fn not_active() -> Vec<&'static str> {
    ActiveState::ALL.iter().filter(|state| **state != ActiveState::Active).map(|state| state.as_str()).collect()
}

/// A call that reads one property of a unit.
pub(super) fn property_of(unit: &str, interface: &'static str, key: &'static str) -> zbus::Result<Message> {
    let path = unit_path(unit);
    Message::method_call(path, "Get").interface(PROPERTIES).destination(SYSTEMD).build(&(interface, key))
}

/// A call that reads one property of the manager.
pub(super) fn property_of_manager(key: &'static str) -> zbus::Result<Message> {
    Message::method_call(MANAGER_PATH, "Get").interface(PROPERTIES).destination(SYSTEMD).build(&(MANAGER, key))
}

/// The number in the response with a property; `None` if there is none.
pub(super) fn number_in(message: &Message) -> Option<u32> {
    let body = message.body();
    let value: Option<zbus::OwnedVariant> = body.deserialize().ok();
    value.and_then(|value| u32::try_from(value).ok())
}

/// Whether the response with a property is `true`.
pub(super) fn is_true(message: &Message) -> bool {
    let body = message.body();
    let value: Option<zbus::OwnedVariant> = body.deserialize().ok();
    value.is_some_and(|value| matches!(&*value, Variant::Bool(true)))
}

/// The names in the response with a property that is a list of names.
pub(super) fn names_in(message: &Message) -> Vec<String> {
    let body = message.body();
    let value: Option<zbus::OwnedVariant> = body.deserialize().ok();
    value.and_then(|value| Vec::<String>::try_from(value).ok()).unwrap_or_default()
}

fn to_manager(member: &'static str) -> Builder<'static> {
    Message::method_call(MANAGER_PATH, member).interface(MANAGER).destination(SYSTEMD)
}

/// The object path of a unit: every byte that is no letter or digit (nor a digit in first place) becomes `_` and its
/// hexadecimal value, as in `sd_bus_path_encode(3)`.
pub(super) fn unit_path(name: &str) -> String {
    let mut path = String::with_capacity(UNIT_PATH.len() + name.len() * 2);
    path.push_str(UNIT_PATH);
    for (index, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// The service unit of an object path; `None` for units of other types.
pub(super) fn unit_of_path(path: &str) -> Option<UnitName> {
    UnitName::parse(&name_of_path(path, "_2eservice")?).ok()
}

pub(super) fn name_of_path(path: &str, suffix: &str) -> Option<String> {
    let escaped = path.strip_prefix(UNIT_PATH)?;
    // Most signals of a busy manager are about units of other types: skip their decoding.
    if !escaped.ends_with(suffix) {
        return None;
    }
    let mut name = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'_' {
            let hex = [bytes.next()?, bytes.next()?];
            name.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            name.push(byte);
        }
    }
    String::from_utf8(name).ok()
}

/// The number in a `Job` property, `(uo)`: 0 if there is no job.
pub(super) fn number_of_job(property: &Variant<'_>) -> u32 {
    match property {
        Variant::Structure(job) => match job.fields().first() {
            Some(Variant::U32(id)) => *id,
            _ => 0,
        },
        _ => 0,
    }
}

/// Whether a service's `SubState` means that it waits for an automatic restart.
pub(super) fn is_auto_restart(sub: &str) -> bool {
    // The second one from systemd 254 on, where the restart's job is queued already.
    matches!(sub, "auto-restart" | "auto-restart-queued")
}

/// Parses the response to one of the list calls.
pub(super) fn lines(message: &Message) -> zbus::Result<Vec<Line>> {
    let body = message.body();
    let raw: Vec<RawLine<'_>> = body.deserialize()?;
    let line = |(name, _, load, active, sub, _, _, id, kind, path): RawLine<'_>| Line {
        name: name.to_owned(),
        load: LoadState::from(load),
        active: ActiveState::from(active),
        auto_restart: is_auto_restart(sub),
        job: (id != 0).then(|| ListedJob { kind: kind.to_owned(), path: path.to_string() }),
    };
    Ok(raw.into_iter().map(line).collect())
}

/// The names in the response to `ListUnitFilesByPatterns`: each file has its path and its state.
pub(super) fn unit_files(message: &Message) -> zbus::Result<Vec<String>> {
    let body = message.body();
    let files: Vec<(&str, &str)> = body.deserialize()?;
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    Ok(files.into_iter().map(|(path, _)| name(path)).collect())
}

/// Names of unit files that may be aliases, templates excluded.
pub(super) fn possible_aliases(files: Vec<String>) -> Vec<String> {
    let is_template = |name: &str| name.contains("@.");
    files.into_iter().filter(|name| !is_template(name) && UnitName::parse(name).is_ok()).collect()
}

/// The units of the names, from the response to `ListUnitsByNames` with them.
pub(super) fn aliases(names: &[String], lines: &[Line]) -> Aliases {
    let pairs = names.iter().zip(lines).filter(|(name, line)| **name != line.name && line.load != LoadState::NotFound);
    pairs.filter_map(|(name, line)| Some((UnitName::parse(name).ok()?, UnitName::parse(&line.name).ok()?))).collect()
}

/// The service units in the response to one of the list calls. Each refresh parses this, so it goes directly from the
/// message to the units, and allocates only their names.
pub(super) fn statuses(message: &Message) -> zbus::Result<Statuses> {
    message.body().deserialize()
}

/// The content of a list.
#[derive(Debug, Default)]
pub(super) struct Statuses {
    pub units: Vec<UnitStatus>,
    pub failed_sockets: Vec<String>,
    /// The jobs of units that have one.
    pub jobs: Vec<(UnitName, u32)>,
    /// Whether a job shuts down the manager.
    pub shutting_down: bool,
}

impl zbus::Type for Statuses {
    const SIGNATURE: &'static zbus::Signature = <Vec<RawLine<'static>> as zbus::Type>::SIGNATURE;
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Statuses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of units")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Statuses, A::Error> {
                /// A line whose paths are not needed, so that they are not validated.
                type Line<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, &'a str, u32, &'a str, &'a str);
                let mut statuses = Statuses::default();
                while let Some((name, _, load, active, sub, _, _, job, _, _)) = seq.next_element::<Line<'de>>()? {
                    statuses.shutting_down |= job != 0 && SHUTDOWN.contains(&name);
                    if name.ends_with(".socket") && ActiveState::from(active) == ActiveState::Failed {
                        statuses.failed_sockets.push(name.to_owned());
                    }
                    let Ok(name) = UnitName::parse(name) else { continue };
                    if job != 0 {
                        statuses.jobs.push((name.clone(), job));
                    }
                    statuses.units.push(UnitStatus {
                        name,
                        load: Some(LoadState::from(load)),
                        active: ActiveState::from(active),
                        has_job: job != 0,
                        auto_restart: is_auto_restart(sub),
                    });
                }
                Ok(statuses)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

/// The meaning of an error response to `StartUnit` for this unit. Its text names the unit that is to blame: that can be one
/// that this unit requires.
pub(super) fn refused(unit: &UnitName, error_name: &str, text: String) -> Outcome {
    // Refused by polkit, or requires a password, which a daemon does not have.
    const FORBIDDEN: [&str; 2] =
        ["org.freedesktop.DBus.Error.AccessDenied", "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"];
    if FORBIDDEN.contains(&error_name) {
        let why = text.trim_end_matches('.').to_owned();
        return Outcome::Refused(Refusal::Forbidden(why.clone()), why);
    }
    let is_named = text.split_whitespace().any(|word| word.trim_end_matches(['.', ',', ':']) == unit.as_str());
    match error_name.strip_prefix("org.freedesktop.systemd1.") {
        Some("TransactionIsDestructive" | "TransactionJobsConflicting") => Outcome::Refused(Refusal::JobPending, text),
        Some("UnitMasked" | "NoSuchUnit" | "BadUnitSetting" | "LoadFailed") if !is_named => {
            Outcome::Refused(Refusal::Declined(text.trim_end_matches('.').to_owned()), text)
        }
        Some("UnitMasked") => Outcome::Refused(Refusal::Masked, text),
        Some("NoSuchUnit") => Outcome::Impossible(Unrecoverable::NotFound),
        Some("BadUnitSetting") => Outcome::Impossible(Unrecoverable::BadSetting),
        Some("LoadFailed") => Outcome::Impossible(Unrecoverable::Unreadable),
        Some("OnlyByDependency") => Outcome::Impossible(Unrecoverable::NotByHand),
        _ => Outcome::NotStarted(text),
    }
}

/// The meaning of the result of a start job.
pub(super) fn job_result(result: &str) -> Outcome {
    match result {
        // systemd 247 calls a start skipped that `ExecCondition=` forbids; 252 and later call it done.
        "done" | "skipped" => Outcome::Done,
        "failed" => Outcome::Failed("could not be started".to_owned()),
        "timeout" => Outcome::Failed("its start took longer than its unit allows".to_owned()),
        "dependency" => Outcome::NotStarted("a unit that it depends on could not be started".to_owned()),
        "canceled" => Outcome::Cancelled,
        "assert" => Outcome::Failed("its start was refused: an assertion of the unit does not hold".to_owned()),
        other => Outcome::Failed(format!("its start ended with the result {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unit_paths_are_those_of_systemd() {
        let path = "/org/freedesktop/systemd1/unit/lerd_2dqueue_2dmy_5fapp_40x_2eservice";
        assert_eq!(unit_path("lerd-queue-my_app@x.service"), path);
        assert_eq!(unit_of_path(path), UnitName::parse("lerd-queue-my_app@x").ok());
        assert_eq!(unit_path("1.service"), "/org/freedesktop/systemd1/unit/_31_2eservice");
    }

    #[test]
    fn an_error_is_about_the_unit_that_it_names() {
        let unit = UnitName::parse("db").unwrap();
        let answer =
            |error: &str, text: &str| refused(&unit, &format!("org.freedesktop.systemd1.{error}"), text.into());
        let declined = |why: &str| Outcome::Refused(Refusal::Declined(why.into()), format!("{why}."));
        for (error, text, expected) in [
            ("NoSuchUnit", "Unit db.service not found.", Outcome::Impossible(Unrecoverable::NotFound)),
            ("NoSuchUnit", "Unit app-db.service not found.", declined("Unit app-db.service not found")),
            ("UnitMasked", "Unit db.service is masked.", {
                Outcome::Refused(Refusal::Masked, "Unit db.service is masked.".into())
            }),
            ("UnitMasked", "Unit fpm.service is masked.", declined("Unit fpm.service is masked")),
        ] {
            assert_eq!(answer(error, text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_survives_its_path(name in "[a-zA-Z0-9:_.@-]{1,60}") {
            if let Ok(unit) = UnitName::parse(&name) {
                prop_assert_eq!(unit_of_path(&unit_path(unit.as_str())), Some(unit));
            }
        }

        #[test]
        fn no_path_causes_a_panic(path in any::<String>()) {
            let _ = unit_of_path(&format!("{UNIT_PATH}{path}"));
            let _ = unit_of_path(&format!("{UNIT_PATH}{path}_2eservice"));
        }
    }
}
