//! What the selected worker takes of the machine, from the last two measurements. Pure.

use std::time::{Duration, Instant};

use crate::core::units::UnitName;
use crate::manager::Usage;

const KIB: u64 = 1024;

/// A measurement of a worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measurement {
    pub unit: UnitName,
    usage: Usage,
    at: Instant,
    /// How many processors it has used on average since the measurement before, if there was one of the same run.
    processors: Option<f64>,
}

impl Measurement {
    /// The measurement that follows another one.
    pub fn after(before: Option<&Self>, unit: UnitName, usage: Usage, at: Instant) -> Self {
        let before = before.filter(|before| before.unit == unit && before.usage.pid == usage.pid);
        let processors = before.and_then(|before| {
            let used = usage.cpu?.checked_sub(before.usage.cpu?)?;
            let time = at.checked_duration_since(before.at).filter(|time| *time > Duration::ZERO)?;
            Some(used.as_secs_f64() / time.as_secs_f64())
        });
        Self { unit, usage, at, processors }
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
    const MIB: u64 = KIB * KIB;
    const GIB: u64 = KIB * MIB;
    let (unit, name) = match bytes {
        GIB.. => (GIB, "GiB"),
        MIB.. => (MIB, "MiB"),
        _ => (KIB, "KiB"),
    };
    #[expect(clippy::cast_precision_loss, reason = "at most three digits of it are shown")]
    let amount = bytes as f64 / unit as f64;
    format!("{} {name}", if unit == KIB { format!("{amount:.0}") } else { short(amount) })
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
        let first = Measurement::after(None, UnitName::parse("queue").unwrap(), usage(42, 1000), at(0));
        assert_eq!(first.words(), "PID 42, memory 45 MiB");
        let second = Measurement::after(Some(&first), UnitName::parse("queue").unwrap(), usage(42, 1046), at(2));
        assert_eq!(second.words(), "PID 42, memory 45 MiB, CPU 2.3 %");
        let busy = Measurement::after(Some(&second), UnitName::parse("queue").unwrap(), usage(42, 6046), at(4));
        assert_eq!(busy.words(), "PID 42, memory 45 MiB, CPU 250 %");
        let restarted = Measurement::after(Some(&busy), UnitName::parse("queue").unwrap(), usage(43, 7000), at(6));
        assert_eq!(restarted.words(), "PID 43, memory 45 MiB", "that was another run");
        let other = Measurement::after(Some(&restarted), UnitName::parse("vite").unwrap(), usage(43, 8000), at(8));
        assert_eq!(other.words(), "PID 43, memory 45 MiB", "that was another worker");
        assert_eq!(Measurement::after(None, UnitName::parse("queue").unwrap(), Usage::default(), at(0)).words(), "");
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
