//! Metrics for Prometheus.
//!
//! Counters are incremented as things happen; values that change by themselves are read for each scrape. The text is in
//! the classic format (version 0.0.4), which every tool reads: the encoder writes OpenMetrics, whose comments name
//! counters and infos differently.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::requests::Gauges;
use crate::core::event::{Event, Phase};
use crate::core::report::Stage;

/// The content type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Buckets for the time from failed to active, in seconds: milliseconds if all is well, minutes with a backoff.
const RECOVERY: [f64; 14] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1800.0];
/// Buckets for the time of one list of all units, in seconds.
const REFRESH: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWorker {
    site: String,
    unit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByPhase {
    phase: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Word(Stage);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        self.0.as_str().encode(encoder)
    }
}

/// All metrics.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    attempts: Family<ByWorker, Counter>,
    heals: Family<ByOutcome, Counter>,
    give_ups: Counter,
    recovery: Histogram,
    refresh: Histogram,
    reconnects: Counter,
    workers: Family<ByPhase, Gauge>,
    given_up: Family<ByWorker, Gauge>,
    pauses: Gauge,
    manager_up: Gauge,
    registry_age: Gauge<f64, AtomicU64>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("workerheal");
        let metrics = Self {
            attempts: Family::default(),
            heals: Family::default(),
            give_ups: Counter::default(),
            recovery: Histogram::new(RECOVERY),
            refresh: Histogram::new(REFRESH),
            reconnects: Counter::default(),
            workers: Family::default(),
            given_up: Family::default(),
            pauses: Gauge::default(),
            manager_up: Gauge::default(),
            registry_age: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("attempts", "Starts of workers that were down", metrics.attempts.clone());
        registry.register("heals", "Attempts by how they ended", metrics.heals.clone());
        registry.register("give_ups", "Workers that were given up", metrics.give_ups.clone());
        let what = "From the failure of a worker to the end of the start job that brought it back";
        registry.register_with_unit("recovery", what, Unit::Seconds, metrics.recovery.clone());
        let what = "From asking the service manager for all units to its answer";
        registry.register_with_unit("refresh_duration", what, Unit::Seconds, metrics.refresh.clone());
        let what = "How often the service manager was lost and found again";
        registry.register("manager_reconnects", what, metrics.reconnects.clone());
        registry.register("workers", "Covered workers by what is being done about them", metrics.workers.clone());
        registry.register("worker_given_up", "Workers that are given up now", metrics.given_up.clone());
        registry.register("pauses", "Pauses by hand that are in force", metrics.pauses.clone());
        registry.register("manager_up", "Whether the service manager answers", metrics.manager_up.clone());
        let what = "Since the registry of sites that is in force was read";
        registry.register_with_unit("registry_age", what, Unit::Seconds, metrics.registry_age.clone());
        let version = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version of this daemon", version);
        // So that they exist, with 0, before the first event.
        for outcome in ["healed", "failed"] {
            let _ = metrics.heals.get_or_create(&ByOutcome { outcome });
        }
        Self { registry, ..metrics }
    }

    /// Counts an event.
    pub fn event(&self, event: &Event) {
        match event.phase {
            Phase::Starting => {
                let worker = ByWorker { site: event.site.clone(), unit: event.unit_name().to_owned() };
                self.attempts.get_or_create(&worker).inc();
            }
            Phase::Healed => drop(self.heals.get_or_create(&ByOutcome { outcome: "healed" }).inc()),
            Phase::Failed => drop(self.heals.get_or_create(&ByOutcome { outcome: "failed" }).inc()),
            Phase::GaveUp => drop(self.give_ups.inc()),
            Phase::Detected | Phase::Scheduled | Phase::Held | Phase::Recovered | Phase::Stopped | Phase::Done => {}
        }
    }

    /// Records the time from a failure until the worker is active again.
    pub fn recovered(&self, after: Duration) {
        self.recovery.observe(after.as_secs_f64());
    }

    /// Records the time of a list of all units.
    pub fn refreshed(&self, within: Duration) {
        self.refresh.observe(within.as_secs_f64());
    }

    /// Counts a reconnection to the service manager.
    pub fn reconnected(&self) {
        self.reconnects.inc();
    }

    /// All metrics as text.
    pub fn text(&self, gauges: &Gauges) -> String {
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (stage, count) in gauges.stages {
            self.workers.get_or_create(&ByPhase { phase: Word(stage) }).set(whole(count));
        }
        self.given_up.clear();
        for (site, unit) in &gauges.given_up {
            self.given_up.get_or_create(&ByWorker { site: site.clone(), unit: unit.clone() }).set(1);
        }
        self.pauses.set(whole(gauges.pauses));
        self.manager_up.set(i64::from(gauges.reachable));
        self.registry_age.set(gauges.registry_age.unwrap_or_default().as_secs_f64());
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode_registry(&mut text, &self.registry);
        classic(&text)
    }
}

/// Converts OpenMetrics to the classic format: the comments of a counter or an info name its samples, and there are no
/// units.
fn classic(text: &str) -> String {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: HashMap<&str, &str> = types.collect();
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let comment = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        if let Some((kind, rest)) = comment {
            let (name, says) = rest.split_once(' ').unwrap_or((rest, ""));
            let (suffix, says) = match types.get(name) {
                Some(&"counter") => ("_total", says),
                Some(&"info") => ("_info", if kind == "# TYPE " { "gauge" } else { says }),
                _ => ("", says),
            };
            let _ = writeln!(lines, "{kind}{name}{suffix} {says}");
        } else if !line.starts_with('#') {
            lines.push_str(line);
            lines.push('\n');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::units::UnitName;

    #[test]
    fn the_text_is_that_of_the_classic_format() {
        let metrics = Metrics::new();
        metrics.event(&Event {
            site: "myapp".into(),
            unit: UnitName::parse("lerd-queue-myapp").ok(),
            ..Event::new(Phase::Starting)
        });
        metrics.recovered(Duration::from_millis(18));
        let stages = Stage::ALL.map(|stage| (stage, usize::from(stage == Stage::Up)));
        let given_up = vec![("shop".to_owned(), "lerd-\"x\"".to_owned())];
        let text = metrics.text(&Gauges { stages, given_up, pauses: 2, registry_age: None, reachable: true });
        for line in [
            "# TYPE workerheal_attempts_total counter",
            "workerheal_attempts_total{site=\"myapp\",unit=\"lerd-queue-myapp\"} 1",
            "workerheal_heals_total{outcome=\"healed\"} 0",
            "# TYPE workerheal_build_info gauge",
            "workerheal_workers{phase=\"up\"} 1",
            "workerheal_worker_given_up{site=\"shop\",unit=\"lerd-\\\"x\\\"\"} 1",
            "workerheal_recovery_seconds_bucket{le=\"0.02\"} 1",
            "workerheal_pauses 2",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"));
    }
    #[test]
    fn metrics_used_by_the_dashboard_and_the_rules_exist() {
        let metrics = Metrics::new();
        metrics.event(&Event { unit: UnitName::parse("x").ok(), ..Event::new(Phase::Starting) });
        metrics.recovered(Duration::from_millis(18));
        metrics.refreshed(Duration::from_millis(1));
        let stages = Stage::ALL.map(|stage| (stage, 0));
        let given_up = vec![(String::new(), "x".to_owned())];
        let text = metrics.text(&Gauges { stages, given_up, pauses: 0, registry_age: None, reachable: true });
        let is_there = |name: &str| {
            text.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        };
        let dashboard = include_str!("../../packaging/grafana/workerheal.json");
        assert!(serde_json::from_str::<serde_json::Value>(dashboard).is_ok());
        for file in [dashboard, include_str!("../../packaging/prometheus/workerheal.rules.yml")] {
            let words = file.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let names: Vec<&str> = words.filter(|word| word.starts_with("workerheal_")).collect();
            assert!(!names.is_empty());
            for name in names {
                assert!(is_there(name), "{name}\n{text}");
            }
        }
    }
}
