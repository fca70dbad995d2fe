//! Names of units on launchd.
//!
//! Lerd's jobs are named `com.lerd.<unit>`; the units of other jobs have the names of their labels. So a unit has the
//! same name on each system, in events, files and JSON.

use crate::core::units::UnitName;

const LERD: &str = "com.lerd.";
/// The prefix of units of Lerd's jobs, for any configured prefix.
const LERDS: &str = "lerd-";

/// Whether the unit's job is one of Lerd's.
pub(super) fn is_lerds(unit: &UnitName) -> bool {
    unit.short().starts_with(LERDS)
}

/// The label of a unit's job.
pub(super) fn label_of(unit: &UnitName) -> String {
    let name = unit.short();
    if is_lerds(unit) { format!("{LERD}{name}") } else { name.to_owned() }
}

/// The unit of a label; `None` if it is no valid name.
pub(super) fn unit_of(label: &str) -> Option<UnitName> {
    let name = label.strip_prefix(LERD).filter(|name| name.starts_with(LERDS)).unwrap_or(label);
    // A label can end with anything, a unit's name only with `.service`.
    let unit = UnitName::parse(name).ok()?;
    (label_of(&unit) == label).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_called_the_same_on_each_system() {
        for (label, unit) in [
            ("com.lerd.lerd-queue-myapp", Some("lerd-queue-myapp")),
            ("homebrew.mxcl.redis", Some("homebrew.mxcl.redis")),
            ("com.lerd.menubar", Some("com.lerd.menubar")),
            // Another job, which is not one of Lerd's.
            ("lerd-queue-myapp", None),
            ("com.lerd.lerd-queue-myapp.service", None),
            ("application.com.apple.Safari.1 2", None),
            ("com.apple.timer", None),
        ] {
            assert_eq!(unit_of(label).map(|unit| unit.to_string()).as_deref(), unit, "{label}");
            if let Some(unit) = unit_of(label) {
                assert_eq!(label_of(&unit), label);
            }
        }
    }
}
