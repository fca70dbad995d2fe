//! The resource usage of visible workers, from the last two measurements of each. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::core::report::{Stage, WorkerReport};
use crate::manager::Usage;

/// Whether a worker in this state has processes.
pub(super) fn has_processes(worker: &WorkerReport) -> bool {
    matches!(worker.phase, Stage::Up | Stage::Proving | Stage::Starting | Stage::Changing)
}

const KIB: u64 = 1024;
/// Minimum time between two measurements of a run: processor time over less says little.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The last measurement of each visible worker.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    by_unit: HashMap<String, Measurement>,
    /// Whether there was one, and whether one said anything.
    any: bool,
    any_known: bool,
}

impl Measurements {
    /// Takes in a measurement, and returns whether a text has changed. One that follows too soon is ignored.
    pub fn add(&mut self, unit: &str, usage: Usage, at: Instant) -> bool {
        let before = self.by_unit.get(unit);
        if before.is_some_and(|before| before.is_fresh(&usage, at)) {
            return false;
        }
        let measurement = Measurement::after(before, unit.to_owned(), usage, at);
        let was_counted = self.are_counted();
        let old_words = before.map(Measurement::words).unwrap_or_default();
        let is_changed = old_words != measurement.words();
        self.any = true;
        self.any_known |= usage != Usage::default();
        self.by_unit.insert(unit.to_owned(), measurement);
        is_changed || was_counted != self.are_counted()
    }

    pub fn get(&self, unit: &str) -> Option<&Measurement> {
        self.by_unit.get(unit)
    }

    /// Forgets the measurements of all other units.
    pub fn keep(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.by_unit.retain(|unit, _| is_kept(unit));
    }

    /// Whether the service manager counts what workers take, as far as is known. launchd does not.
    pub fn are_counted(&self) -> bool {
        self.any_known || !self.any
    }
}

/// A measurement of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    pub unit: String,
    usage: Usage,
    at: Instant,
    /// How many processors it has used on average since the measurement before, if there was one of the same run.
    processors: Option<f64>,
}

impl Measurement {
    /// The measurement that follows another one.
    pub fn after(before: Option<&Self>, unit: String, usage: Usage, at: Instant) -> Self {
        let before = before.filter(|before| before.unit == unit && before.usage.pid == usage.pid);
        let processors = before.and_then(|before| {
            let used = usage.cpu?.checked_sub(before.usage.cpu?)?;
            let time = at.checked_duration_since(before.at).filter(|time| *time > Duration::ZERO)?;
            Some(used.as_secs_f64() / time.as_secs_f64())
        });
        Self { unit, usage, at, processors }
    }

    /// Whether another measurement, of this time, would follow it too soon.
    fn is_fresh(&self, usage: &Usage, at: Instant) -> bool {
        self.usage.pid == usage.pid && at.saturating_duration_since(self.at) < MIN_INTERVAL
    }

    /// PID, memory and CPU as in [`words`](Self::words), for columns: `4242`, `45M`, `2.3%`. Empty if unknown.
    pub fn cells(&self) -> [String; 3] {
        let pid = self.usage.pid.map(|pid| pid.to_string());
        let memory = self.usage.memory.map(|memory| {
            let (amount, unit) = scaled(memory);
            format!("{amount}{}", &unit[..1])
        });
        let cpu = self.processors.map(|processors| format!("{}%", short(processors * 100.0)));
        [pid, memory, cpu].map(Option::unwrap_or_default)
    }

    /// `PID 4242, memory 45 MiB, CPU 2.3 %`: what is known. 100 % is one processor, as in top(1).
    pub fn words(&self) -> String {
        let pid = self.usage.pid.map(|pid| format!("PID {pid}"));
        let memory = self.usage.memory.map(|memory| format!("memory {}", size(memory)));
        let cpu = self.processors.map(|processors| format!("CPU {} %", short(processors * 100.0)));
        [pid, memory, cpu].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// `812 KiB`, `4.5 MiB`, `45 MiB`, `1.2 GiB`.
fn size(bytes: u64) -> String {
    let (amount, unit) = scaled(bytes);
    format!("{amount} {unit}")
}

/// An amount with two or three digits, and its unit.
fn scaled(bytes: u64) -> (String, &'static str) {
    const MIB: u64 = KIB * KIB;
    const GIB: u64 = KIB * MIB;
    let (unit, name) = match bytes {
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        _ => (KIB, "KiB"),
    };
    #[expect(clippy::cast_precision_loss, reason = "at most three digits of it are shown")]
    let amount = bytes as f64 / unit as f64;
    (if unit == KIB { format!("{amount:.0}") } else { short(amount) }, name)
}

/// With a decimal below ten.
fn short(amount: f64) -> String {
    // What rounds to ten needs none.
    if amount < 9.95 { format!("{amount:.1}") } else { format!("{amount:.0}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(pid: u32, cpu: u64) -> Usage {
        Usage { pid: Some(pid), memory: Some(45 * KIB * KIB), cpu: Some(Duration::from_millis(cpu)) }
    }

    #[test]
    fn the_processor_time_between_two_measurements_of_a_run_is_shown() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let first = Measurement::after(None, "queue".into(), usage(42, 1000), at(0));
        assert_eq!(first.words(), "PID 42, memory 45 MiB");
        let second = Measurement::after(Some(&first), "queue".into(), usage(42, 1046), at(2));
        assert_eq!(second.words(), "PID 42, memory 45 MiB, CPU 2.3 %");
        assert_eq!(second.cells(), ["42", "45M", "2.3%"]);
        let busy = Measurement::after(Some(&second), "queue".into(), usage(42, 6046), at(4));
        assert_eq!(busy.words(), "PID 42, memory 45 MiB, CPU 250 %");
        let restarted = Measurement::after(Some(&busy), "queue".into(), usage(43, 7000), at(6));
        assert_eq!(restarted.words(), "PID 43, memory 45 MiB", "that was another run");
        let other = Measurement::after(Some(&restarted), "vite".into(), usage(43, 8000), at(8));
        assert_eq!(other.words(), "PID 43, memory 45 MiB", "that was another worker");
        assert_eq!(Measurement::after(None, "queue".into(), Usage::default(), at(0)).words(), "");
        assert_eq!(Measurement::after(None, "queue".into(), Usage::default(), at(0)).cells(), [""; 3]);
    }

    #[test]
    fn a_measurement_says_whether_a_text_has_changed() {
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let mut all = Measurements::default();
        assert!(all.add("queue", usage(42, 1000), at(0)));
        assert!(!all.add("queue", usage(42, 1100), at(300)), "that is too soon after the first");
        assert!(all.add("queue", usage(42, 1046), at(2000)));
        assert_eq!(all.get("queue").unwrap().cells()[2], "2.3%");
        assert!(!all.add("queue", usage(42, 1092), at(4000)), "it goes on like that");
        assert!(all.add("queue", usage(43, 10), at(4100)), "another run counts at once");
        all.keep(|unit| unit != "queue");
        assert!(all.get("queue").is_none());
    }

    #[test]
    fn a_manager_counts_nothing_if_it_has_never_said_anything() {
        let now = Instant::now();
        let mut all = Measurements::default();
        assert!(all.are_counted(), "it has not been asked");
        assert!(all.add("oneshot", Usage::default(), now));
        assert!(!all.are_counted());
        assert!(all.add("queue", usage(42, 0), now));
        assert!(!all.add("oneshot", Usage::default(), now + MIN_INTERVAL));
        assert!(all.are_counted());
    }

    #[test]
    fn sizes_have_two_or_three_digits() {
        for (bytes, text) in [
            (812 * KIB, "812 KiB"),
            (4 * KIB * KIB + 512 * KIB, "4.5 MiB"),
            (KIB * KIB * 10 - 1, "10 MiB"),
            (600 * KIB * KIB, "600 MiB"),
            (1229 * KIB * KIB, "1.2 GiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
