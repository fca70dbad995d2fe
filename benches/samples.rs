//! Samples for the small benchmarks: registries, units, messages as systemd sends them.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use workerheal::core::context::Context;
use workerheal::core::healer::{Action, Fact, Healer, Mode, Outcome, Timestamp};
use workerheal::core::registry::Registry;
use workerheal::core::units::{ActiveState, Inspection, LoadState, ServiceResult, UnitName, UnitStatus};
use workerheal::files::sites_yaml;
use zbus::{Message, ObjectPath, Variant};

/// The text of a registry with this many sites, as Lerd writes it.
pub fn registry(sites: usize) -> String {
    let mut text = "sites:\n".to_owned();
    for site in 0..sites {
        let _ = write!(
            text,
            "    - name: site{site:05}\n      domains: [site{site:05}.test]\n      path: /home/dev/Code/site{site:05}\n\
             \x20     php_version: \"8.5\"\n      node_version: \"22\"\n      secured: true\n      framework: laravel\n"
        );
    }
    text
}

pub fn sites(count: usize) -> Registry {
    sites_yaml::parse(registry(count).as_bytes()).unwrap_or_default()
}

/// This many healthy workers, each of a site of its own.
pub fn units(count: usize) -> Vec<UnitStatus> {
    let name = |site: usize| UnitName::parse(&format!("lerd-queue-site{site:05}")).ok();
    let status = |name: UnitName| UnitStatus {
        name,
        load: Some(LoadState::Loaded),
        active: ActiveState::Active,
        has_job: false,
        auto_restart: false,
    };
    (0..count).filter_map(name).map(status).collect()
}

pub fn healer(registry: &Arc<Registry>) -> Healer {
    let random = fastrand::Rng::with_seed(1);
    Healer::new(Mode::Automatic, Context { registry: Arc::clone(registry), ..Context::default() }, random)
}

/// The answer to `ListUnitsByPatterns`.
#[expect(clippy::expect_used, reason = "nothing can be measured without it")]
pub fn list(count: usize) -> Message {
    let call = Message::method_call("/", "ListUnitsByPatterns").build(&()).expect("a call");
    let names: Vec<String> = units(count).iter().map(|unit| unit.name.as_str().to_owned()).collect();
    let path = |name: &str| {
        let escaped = name.replace('-', "_2d").replace('.', "_2e");
        ObjectPath::try_from(format!("/org/freedesktop/systemd1/unit/{escaped}")).expect("a path")
    };
    let none = || ObjectPath::try_from("/").expect("a path");
    let lines: Vec<_> = names
        .iter()
        .map(|name| {
            let name = name.as_str();
            (name, name, "loaded", "active", "running", "", path(name), 0_u32, "", none())
        })
        .collect();
    Message::method_return(&call.header()).build(&lines).expect("an answer")
}

/// A signal about a unit that is up, with the properties that systemd 252 puts into it.
#[expect(clippy::expect_used, reason = "nothing can be measured without it")]
pub fn signal(unit: &UnitName) -> Message {
    let escaped = unit.as_str().replace('-', "_2d").replace('.', "_2e");
    let no_job = ObjectPath::try_from("/").expect("a path");
    let mut properties: HashMap<&str, Variant<'_>> = HashMap::from([
        ("ActiveState", Variant::from("active")),
        ("FreezerState", Variant::from("running")),
        ("SubState", Variant::from("running")),
        ("Job", Variant::from((0_u32, no_job))),
        ("ConditionResult", Variant::from(true)),
        ("AssertResult", Variant::from(true)),
        ("InvocationID", Variant::from(vec![7_u8; 16])),
    ]);
    for moment in ["StateChange", "InactiveExit", "ActiveEnter", "ActiveExit", "InactiveEnter", "Condition", "Assert"] {
        for (kind, value) in [("Timestamp", 1_764_000_000_000_000_u64), ("TimestampMonotonic", 12_345_678_901)] {
            properties.insert(Box::leak(format!("{moment}{kind}").into_boxed_str()), Variant::from(value));
        }
    }
    let path = format!("/org/freedesktop/systemd1/unit/{escaped}");
    Message::signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged")
        .build(&("org.freedesktop.systemd1.Unit", properties, Vec::<&str>::new()))
        .expect("a signal")
}

/// The inspection of a crashed worker, or of one that is up.
fn seen(active: ActiveState) -> Inspection {
    use std::time::Duration;
    Inspection {
        active,
        up_for: active.is_up().then_some(Duration::from_secs(11)),
        down_for: (!active.is_up()).then_some(Duration::from_secs(1)),
        result: ServiceResult::Signal,
        ..Inspection::crashed()
    }
}

/// Takes a worker through an incident. Returns the number of events.
pub fn heal(healer: &mut Healer, unit: &UnitName) -> usize {
    let status = |active| {
        Fact::Changed(UnitStatus { name: unit.clone(), load: None, active, has_job: false, auto_restart: false })
    };
    let second = |second| Timestamp::from_origin(std::time::Duration::from_secs(second));
    let mut events = 0;
    let mut active = ActiveState::Failed;
    let mut pending = vec![(second(1), status(active))];
    while let Some((now, fact)) = pending.pop() {
        for action in healer.observe(now, fact) {
            match action {
                Action::Inspect { unit, id, .. } => {
                    pending.push((now, Fact::Inspected(unit, id, Ok(seen(active)))));
                }
                Action::Start(start) => {
                    active = ActiveState::Active;
                    pending.push((second(20), Fact::Deadline));
                    pending.push((second(2), Fact::Finished(start.unit, Outcome::Done)));
                    pending.push((second(2), status(active)));
                }
                Action::Emit(_) => events += 1,
                Action::Stop(_) | Action::Probe { .. } | Action::ListAll => {}
            }
        }
    }
    events
}
