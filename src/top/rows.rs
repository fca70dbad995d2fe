//! The list of workers: filter, order, and headings. Pure.

use crate::core::report::{Stage, WorkerReport};
use crate::core::units::UnitName;

/// The order of workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Order {
    /// Workers that need attention first.
    #[default]
    Trouble,
    /// By site, below headings.
    Site,
    /// The most recently started first.
    Uptime,
    /// The most attempts first.
    Attempts,
}

impl Order {
    pub fn next(self) -> Self {
        match self {
            Self::Trouble => Self::Site,
            Self::Site => Self::Uptime,
            Self::Uptime => Self::Attempts,
            Self::Attempts => Self::Trouble,
        }
    }

    /// To follow "ordered by".
    pub fn words(self) -> &'static str {
        match self {
            Self::Trouble => "trouble",
            Self::Site => "site",
            Self::Uptime => "uptime",
            Self::Attempts => "attempts",
        }
    }
}

/// Which workers are shown, by their state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Shown {
    #[default]
    All,
    /// Those that need attention, or are being healed.
    Unhealthy,
    /// Those that are down as they should be.
    OnPurpose,
    Up,
}

impl Shown {
    pub fn next(self) -> Self {
        match self {
            Self::All => Self::Unhealthy,
            Self::Unhealthy => Self::OnPurpose,
            Self::OnPurpose => Self::Up,
            Self::Up => Self::All,
        }
    }

    /// To follow "workers that are".
    pub fn words(self) -> &'static str {
        match self {
            Self::All => "anything",
            Self::Unhealthy => "unhealthy",
            Self::OnPurpose => "down on purpose",
            Self::Up => "up",
        }
    }

    fn includes(self, worker: &WorkerReport) -> bool {
        let is_down = matches!(worker.phase, Stage::Held | Stage::Stopped | Stage::Down);
        let is_unhealthy = trouble(worker) < HELD_ON_PURPOSE;
        match self {
            Self::All => true,
            Self::Unhealthy => is_unhealthy,
            Self::OnPurpose => is_down && !is_unhealthy,
            Self::Up => worker.phase == Stage::Up,
        }
    }
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row<'a> {
    /// A site, and the number of its visible workers.
    Site(&'a str, usize),
    Worker(&'a WorkerReport),
}

impl<'a> Row<'a> {
    /// The unit, if the line is a worker.
    pub fn unit(&self) -> Option<&'a UnitName> {
        match self {
            Self::Site(..) => None,
            Self::Worker(worker) => Some(&worker.unit),
        }
    }
}

/// The list from top to bottom.
pub(super) fn rows<'a>(workers: &'a [WorkerReport], filter: &str, shown: Shown, order: Order) -> Vec<Row<'a>> {
    let is_shown = |worker: &&WorkerReport| shown.includes(worker) && matches(worker, filter);
    let mut shown: Vec<&WorkerReport> = workers.iter().filter(is_shown).collect();
    match order {
        Order::Site => {}
        Order::Trouble => shown.sort_by_key(|worker| trouble(worker)),
        Order::Uptime => shown.sort_by_key(|worker| (worker.up_since.is_none(), std::cmp::Reverse(worker.up_since))),
        Order::Attempts => shown.sort_by_key(|worker| std::cmp::Reverse(worker.attempts)),
    }
    if order != Order::Site {
        return shown.into_iter().map(Row::Worker).collect();
    }
    let mut rows = Vec::with_capacity(shown.len());
    for workers in shown.chunk_by(|a, b| a.site == b.site) {
        rows.push(Row::Site(&workers[0].site, workers.len()));
        rows.extend(workers.iter().copied().map(Row::Worker));
    }
    rows
}

/// Whether each word of the filter occurs in the worker's visible texts.
fn matches(worker: &WorkerReport, filter: &str) -> bool {
    let state = worker.state.map(|state| state.to_string()).unwrap_or_default();
    let seen = format!("{} {} {} {state}", worker.name(), worker.unit, worker.phase).to_lowercase();
    filter.to_lowercase().split_whitespace().all(|word| seen.contains(word))
}

/// Whether something is wrong with a worker, and not on purpose.
pub(super) fn is_ill(worker: &WorkerReport) -> bool {
    worker.state.is_some() && !worker.healthy && !worker.on_purpose
}

/// The urgency of what is held on purpose: below it is what is unhealthy.
const HELD_ON_PURPOSE: u8 = 8;

/// The urgency of a worker; the lowest value comes first: what needs a person, what is being healed, what is held on
/// purpose, what is well.
fn trouble(worker: &WorkerReport) -> u8 {
    match worker.phase {
        Stage::Held if worker.on_purpose || worker.healthy => HELD_ON_PURPOSE,
        Stage::Up | Stage::Down if is_ill(worker) => weight(Stage::Held),
        // A paused worker that is up comes before other workers that are up.
        Stage::Up if !worker.reason.is_empty() => weight(Stage::Up) - 1,
        phase => weight(phase),
    }
}

/// The urgency of a stage.
pub(super) fn weight(stage: Stage) -> u8 {
    match stage {
        Stage::GaveUp => 0,
        Stage::Unknown => 1,
        Stage::Held => 2,
        Stage::Waiting => 3,
        Stage::Due => 4,
        Stage::Starting => 5,
        Stage::Proving => 6,
        Stage::Changing => 7,
        Stage::Up => 10,
        Stage::Down => 11,
        Stage::Stopped => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Vec<WorkerReport> {
        vec![
            WorkerReport::plain("queue", Stage::Up),
            WorkerReport { attempts: 2, ..WorkerReport::plain("vite", Stage::Waiting) },
            WorkerReport { site: "shop".into(), ..WorkerReport::plain("queue", Stage::GaveUp) },
        ]
    }

    fn listed(filter: &str, order: Order) -> Vec<String> {
        let workers = workers();
        let line = |row: Row<'_>| match row {
            Row::Site(site, count) => format!("{site}: {count}"),
            Row::Worker(worker) => worker.name(),
        };
        rows(&workers, filter, Shown::All, order).into_iter().map(line).collect()
    }

    #[test]
    fn workers_are_below_the_heading_of_their_site_or_in_one_list() {
        assert_eq!(listed("", Order::Site), ["myapp: 2", "myapp/queue", "myapp/vite", "shop: 1", "shop/queue"]);
        assert_eq!(listed("", Order::Trouble), ["shop/queue", "myapp/vite", "myapp/queue"]);
        assert_eq!(listed("", Order::Attempts), ["myapp/vite", "myapp/queue", "shop/queue"]);
    }

    #[test]
    fn trouble_is_sorted_before_waiting_and_held_before_healthy() {
        let held = |name: &str, on_purpose| WorkerReport {
            state: Some(crate::core::diagnosis::State::Failed),
            on_purpose,
            ..WorkerReport::plain(name, Stage::Held)
        };
        let ill_but_up = WorkerReport {
            state: Some(crate::core::diagnosis::State::Unreachable),
            healthy: false,
            ..WorkerReport::plain("unreachable", Stage::Up)
        };
        let workers = [
            WorkerReport::plain("stopped", Stage::Stopped),
            WorkerReport::plain("up", Stage::Up),
            held("paused", true),
            WorkerReport { reason: "you paused it".into(), ..WorkerReport::plain("up-but-paused", Stage::Up) },
            WorkerReport::plain("waiting", Stage::Waiting),
            held("stuck", false),
            ill_but_up,
            WorkerReport::plain("given-up", Stage::GaveUp),
        ];
        let rows = super::rows(&workers, "", Shown::All, Order::default());
        let names: Vec<String> = rows
            .iter()
            .filter_map(Row::unit)
            .map(|unit| unit.short().replace("lerd-", "").replace("-myapp", ""))
            .collect();
        assert_eq!(names, ["given-up", "stuck", "unreachable", "waiting", "paused", "up-but-paused", "up", "stopped"]);
    }

    #[test]
    fn the_one_that_came_up_last_is_first_and_those_that_are_down_are_last() {
        let mut workers = workers();
        let epoch = std::time::SystemTime::UNIX_EPOCH;
        workers[0].up_since = Some(epoch);
        workers[2].up_since = Some(epoch + std::time::Duration::from_secs(1));
        let names: Vec<_> = rows(&workers, "", Shown::All, Order::Uptime).iter().filter_map(Row::unit).collect();
        assert_eq!(names, ["lerd-queue-myapp", "lerd-queue-myapp", "lerd-vite-myapp"]);
        assert_eq!(rows(&workers, "", Shown::All, Order::Uptime)[0], Row::Worker(&workers[2]));
    }

    #[test]
    fn a_filter_matches_if_all_its_words_are_visible() {
        assert_eq!(listed("QUE", Order::Site), ["myapp: 1", "myapp/queue", "shop: 1", "shop/queue"]);
        assert_eq!(listed("shop que", Order::Site), ["shop: 1", "shop/queue"]);
        assert_eq!(listed("waiting", Order::Trouble), ["myapp/vite"]);
        assert_eq!(listed("nothing", Order::Site), [""; 0]);
    }

    #[test]
    fn a_choice_of_states_comes_round_and_leaves_no_worker_out() {
        let stopped = WorkerReport::plain("stopped", Stage::Stopped);
        let paused = WorkerReport { on_purpose: true, ..WorkerReport::plain("paused", Stage::Held) };
        let stuck = WorkerReport::plain("stuck", Stage::Held);
        let workers = [vec![stopped, paused, stuck], workers()].concat();
        let mut shown = Shown::All;
        let mut seen = Vec::new();
        for _ in 0..3 {
            shown = shown.next();
            let rows = rows(&workers, "", shown, Order::default());
            seen.push(rows.iter().filter_map(Row::unit).map(ToOwned::to_owned).collect::<Vec<_>>());
        }
        assert_eq!(shown.next(), Shown::All);
        assert_eq!(
            seen,
            [
                vec!["lerd-queue-myapp", "lerd-stuck-myapp", "lerd-vite-myapp"],
                vec!["lerd-paused-myapp", "lerd-stopped-myapp"],
                vec!["lerd-queue-myapp"]
            ]
        );
    }

    #[test]
    fn sorting_comes_round() {
        let orders = [Order::Site; 4].into_iter().enumerate();
        let end = orders.fold(Order::Site, |order, _| order.next());
        assert_eq!(end, Order::Site);
    }
}
