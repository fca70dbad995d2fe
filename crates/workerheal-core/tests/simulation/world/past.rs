//! The log of a run, printed with a breach of a law.

use std::fmt::Write as _;

use workerheal_core::healer::Fact;

use super::World;

/// Maximum number of lines of the log.
const MAX_LOG_LINES: usize = 500_000;

impl World {
    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace {
            let mut text = String::new();
            let _ = write!(text, "{:>14.4}s  {}", self.now.as_secs_f64(), line());
            if self.past.len() == MAX_LOG_LINES {
                self.past.pop_front();
            }
            self.past.push_back(text);
        }
    }

    pub fn past(&self) -> String {
        let lines: Vec<&str> = self.past.iter().map(String::as_str).collect();
        lines.join("\n")
    }
}

pub(super) fn inspection_in_short(seen: &workerheal_core::units::Inspection) -> String {
    format!(
        "{} {} job={} fall={:?} stop={:?} run={:?} enabled={:?} began={:?} parents={:?} groups={:?} conflicts={:?}",
        seen.active,
        seen.result,
        seen.has_job,
        seen.deactivation,
        seen.stop,
        seen.run,
        seen.file.map(|file| file.enabled),
        seen.began,
        seen.parents,
        seen.stopped_groups,
        seen.conflicts
    )
}

pub(super) fn in_short(fact: &Fact) -> String {
    match fact {
        Fact::Units(list) | Fact::NotActive(list) => {
            let units: Vec<String> = list
                .iter()
                .map(|status| format!("{}={}{}", status.name, status.active, if status.has_job { "+job" } else { "" }))
                .collect();
            format!("units {}", units.join(" "))
        }
        Fact::Probed(unit, result) if result.answer == workerheal_core::probe::ProbeAnswer::Accepted => {
            format!("{unit} answers")
        }
        Fact::Changed(status) => {
            format!("{} is {}{}", status.name, status.active, if status.has_job { "+job" } else { "" })
        }
        Fact::Inspected(unit, id, result) => format!("answer to {:?} of {unit}: {}", id.purpose, result.is_ok()),
        Fact::Registry(_) => "registry".to_owned(),
        fact => format!("{fact:?}"),
    }
}
