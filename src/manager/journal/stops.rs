//! Whether the last stop of a unit was requested, as far as the journal shows it.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::entry::Entry;
use super::{Journal, STOPPED, STOPPING};
use crate::core::units::{StopEvidence, StopOrder, UnitName};
use crate::manager::Scope;

/// Maximum lag of the journal to wait for.
const MAX_LAG: Duration = Duration::from_secs(10);
/// Delays between searches for the end of a run, which usually is in the journal within milliseconds.
const CATCH_UP_DELAYS: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(200)];
/// The same for the stop of another unit, which a busy manager reports later.
const NEXT_STOP_DELAYS: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(200),
    Duration::from_millis(700),
    Duration::from_secs(2),
];
/// A unit that was only being started has just the second.
const STOPS: [&str; 2] = [STOPPING, STOPPED];

/// The end of a run, as the manager reports it.
#[derive(Debug, Clone, Copy)]
pub(in crate::manager) struct End {
    /// Whether the unit is down, so that there was an end.
    pub is_over: bool,
    /// Whether it was clean.
    pub was_clean: bool,
    /// Whether the unit went down in an instant: a stop takes longer.
    pub was_sudden: bool,
    /// How long ago it was.
    pub ago: Duration,
}

impl Journal {
    /// Whether a requested stop ended the run with this invocation id. The opposite is only known once the journal has
    /// the manager's messages from the end of the run: it may lag behind.
    pub async fn stop_evidence(&self, id: &str, end: End) -> StopEvidence {
        for wait in CATCH_UP_DELAYS {
            match self.find_stop(id, end).await {
                StopEvidence::Unknown(_) => sleep(wait).await,
                known => return known,
            }
        }
        self.find_stop(id, end).await
    }

    /// Which was requested first, the stop that ended this run or that of another unit: jobs are numbered in the order in
    /// which they are created, and those of dependencies are created after the requested one. `pending` is the other
    /// unit's stop if that has not begun, which is not in the journal yet; else it is looked for at these times, in
    /// microseconds after the stop of the run. Unknown if one of them is not in the journal.
    pub async fn order_of_stop(&self, run: &str, other: &str, pending: Option<u64>, after: &[i64]) -> StopOrder {
        let Some((job, at)) = self.stop_job(&self.of_run(run), None).await else { return StopOrder::Unknown };
        let order = |other| if job < other { StopOrder::WorkerFirst } else { StopOrder::ParentFirst };
        if let Some(pending) = pending {
            return order(pending);
        }
        let stops = self.jobs(&self.by_manager(other), &["stop"]).await;
        let near = |offset: &i64| stops.iter().find(|(_, begun)| is_near(*begun, at.saturating_add_signed(*offset)));
        after.iter().find_map(near).map_or(StopOrder::Unknown, |(other, _)| order(*other))
    }

    /// Which was requested first, the last stop of a unit or that of another unit at about the same time; unknown if
    /// one of them is not in the journal. Their names identify them: a unit that the manager has unloaded has no run.
    pub async fn order_of_stops(&self, unit: &str, other: &str) -> StopOrder {
        let Some((job, at)) = self.stop_job(&self.by_manager(unit), None).await else { return StopOrder::Unknown };
        match self.written_job(&self.by_manager(other), &["stop"], Some(at), &NEXT_STOP_DELAYS).await {
            Some((other, _)) if other < job => StopOrder::ParentFirst,
            Some(_) => StopOrder::WorkerFirst,
            None => StopOrder::Unknown,
        }
    }

    /// Whether the stop that ended this run belongs to the start of another unit, which conflicts with it and is in the
    /// run `other`: it was created after that start, and a stop that was requested before would have been kept. `pending`
    /// is that start if it has not ended. A run that was started after the other one has displaced that itself.
    pub async fn was_stopped_by_start(&self, run: &str, other: &str, pending: Option<u64>) -> bool {
        let of_run = self.of_run(run);
        let Some((stop, _)) = self.stop_job(&of_run, None).await else { return false };
        let own = self.job(&of_run, &["start", "restart"], None).await.map(|(start, _)| start);
        let displaces = |start: u64| start < stop && own.is_none_or(|own| own < start);
        if let Some(pending) = pending {
            return displaces(pending);
        }
        let start = self.written_job(&self.of_run(other), &["start", "restart"], None, &CATCH_UP_DELAYS).await;
        start.is_some_and(|(start, _)| displaces(start))
    }

    /// The number and the time (microseconds since 1970) of the last stop, if one is in the journal, and near that time.
    async fn stop_job(&self, matches: &[String], near: Option<u64>) -> Option<(u64, u64)> {
        self.job(matches, &["stop"], near).await
    }

    /// The same of the last job of these kinds, which may still be on its way to the journal.
    async fn written_job(
        &self,
        matches: &[String],
        kinds: &[&str],
        near: Option<u64>,
        delays: &[Duration],
    ) -> Option<(u64, u64)> {
        for wait in delays {
            match self.job(matches, kinds, near).await {
                None if near.is_some_and(|at| is_older_than(at, MAX_LAG)) => return None,
                None => sleep(*wait).await,
                found => return found,
            }
        }
        self.job(matches, kinds, near).await
    }

    /// The same of the last job of these kinds.
    async fn job(&self, matches: &[String], kinds: &[&str], near: Option<u64>) -> Option<(u64, u64)> {
        let jobs = self.jobs(matches, kinds).await;
        jobs.into_iter().find(|(_, at)| near.is_none_or(|near| is_near(*at, near)))
    }

    /// The same of all jobs of these kinds, the last one first.
    async fn jobs(&self, matches: &[String], kinds: &[&str]) -> Vec<(u64, u64)> {
        let entries = self.search(matches, 100).await.unwrap_or_default();
        let is_one = |entry: &Entry| entry.job_type.as_deref().is_some_and(|kind| kinds.contains(&kind));
        let job = |entry: Entry| Some((entry.job_id.as_deref()?.parse().ok()?, entry.sent()));
        entries.into_iter().filter(is_one).filter_map(job).collect()
    }

    /// Matches what the manager says of a unit of any type.
    fn by_manager(&self, unit: &str) -> Vec<String> {
        let mut matches = self.about_by_manager(&[unit]);
        if self.scope == Scope::System {
            matches.push("_PID=1".to_owned());
        }
        matches
    }

    /// Matches what the manager says of a run.
    fn of_run(&self, id: &str) -> [String; 2] {
        match self.scope {
            Scope::User => [format!("USER_INVOCATION_ID={id}"), format!("_UID={}", self.uid)],
            Scope::System => [format!("INVOCATION_ID={id}"), "_PID=1".to_owned()],
        }
    }

    async fn find_stop(&self, id: &str, end: End) -> StopEvidence {
        let matches = self.of_run(id);
        let is_stop = |entry: &Entry| {
            let id = entry.message_id.as_deref();
            id.is_some_and(|id| STOPS.contains(&id)) && entry.job_type.as_deref() == Some("stop")
        };
        match self.search(&matches, 100).await {
            Ok(entries) if entries.iter().any(is_stop) => StopEvidence::Requested,
            Ok(entries) if entries.iter().any(Entry::is_end_of_run) => StopEvidence::NotRequested,
            Ok(entries) if entries.is_empty() => {
                StopEvidence::Unknown("the journal has no record of its last run".to_owned())
            }
            // A unit that is not down has no end to wait for.
            Ok(_) if !end.is_over => StopEvidence::NotRequested,
            Ok(_) if end.was_clean && self.has_caught_up(end).await => StopEvidence::NotRequested,
            Ok(_) => StopEvidence::Unknown("the journal has no record of the end of its last run yet".to_owned()),
            Err(why) => unreadable(&why),
        }
    }

    /// Whether the journal has everything that was sent before the end of a run. A user's manager logs nothing about a
    /// clean end.
    async fn has_caught_up(&self, end: End) -> bool {
        if end.was_sudden || end.ago >= MAX_LAG {
            return true;
        }
        let Some(at) = SystemTime::now().checked_sub(end.ago) else { return false };
        let Ok(at) = at.duration_since(SystemTime::UNIX_EPOCH) else { return false };
        // Messages on one connection keep their order.
        let matches = ["_TRANSPORT=journal".to_owned(), format!("--since=@{}", at.as_secs())];
        let entries = self.search(&matches, 20).await.unwrap_or_default();
        entries.iter().any(|entry| entry.source.is_some() && u128::from(entry.sent()) > at.as_micros())
    }

    /// For a unit of which the manager knows no run since it began, in microseconds since 1970: whether its last start
    /// ended because a unit that it needs did not come up, or it was stopped and has been unloaded since. `None` if
    /// neither.
    pub async fn end_of_last_job(&self, unit: &UnitName, began: u64) -> Result<Option<StopEvidence>, StopEvidence> {
        let mut matches = self.by_manager(unit.as_str());
        matches.extend(["start", "stop", "restart"].map(|kind| format!("JOB_TYPE={kind}")));
        matches.push(format!("--since=@{}", began / 1_000_000));
        let entries = self.search(&matches, 20).await.map_err(|why| unreadable(&why))?;
        let last = entries.iter().find(|entry| entry.sent() >= began && entry.job_result.is_some());
        Ok(last.and_then(|last| match (last.job_type.as_deref(), last.job_result.as_deref()) {
            (Some("stop"), Some("done")) => Some(StopEvidence::Requested),
            (Some("start" | "restart"), Some("dependency")) => Some(StopEvidence::KeptFromStarting),
            _ => None,
        }))
    }
}

/// Whether that time, in microseconds since 1970, was this long ago or longer.
fn is_older_than(at: u64, age: Duration) -> bool {
    let at = SystemTime::UNIX_EPOCH + Duration::from_micros(at);
    SystemTime::now().duration_since(at).is_ok_and(|elapsed| elapsed >= age)
}

fn unreadable(why: &str) -> StopEvidence {
    StopEvidence::Unknown(format!("the journal cannot be read: {why}"))
}

/// Whether two jobs began at about the same time, in microseconds since 1970.
fn is_near(one: u64, other: u64) -> bool {
    const TOLERANCE_MICROS: u64 = 2_000_000;
    one.abs_diff(other) <= TOLERANCE_MICROS
}
