//! The task that owns the knowledge about launchd's jobs.
//!
//! launchd sends no signals, so everything is polled: lists are made on request, one at a time, and inspections and
//! starts run beside them as tasks. All results pass through here, in one order: a list that was begun before a start
//! ended may be outdated, so it is made again before it is passed on.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::inspect::{Inspector, ListedState};
use super::job::{self, Watched};
use super::records::Records;
use super::seen::Seen;
use super::start::{Order, Start, start};
use super::watched::JobHistory;
use crate::core::units::{Detail, Inspection, UnitName, UnitStatus};
use crate::manager::{Change, ManagerError};

/// The answer to a request.
type Answer<T> = oneshot::Sender<Result<T, ManagerError>>;

/// Requests of the handles to the task.
#[derive(Debug)]
pub(super) enum Request {
    Refresh,
    Cover(Vec<String>),
    List(Answer<Vec<UnitStatus>>),
    Inspect(UnitName, Detail, Answer<Inspection>),
    Start { unit: UnitName, restart: bool, timeout: Duration },
}

/// The result of a task.
enum Found {
    List(Result<Vec<(UnitName, ListedState)>, ManagerError>),
    Inspected(UnitName, Detail, Answer<Inspection>, Result<Seen, ManagerError>),
    Start(UnitName, Start),
}

pub(super) struct Session {
    inspector: Inspector,
    records: Option<Records>,
    covered: Vec<glob::Pattern>,
    requests: mpsc::UnboundedReceiver<Request>,
    changes: mpsc::UnboundedSender<Change>,
    tasks: JoinSet<Found>,
    history: JobHistory,
    /// Units that are being started.
    starting: HashSet<UnitName>,
    /// The number of those.
    under_way: watch::Sender<usize>,
    /// Whether a list is under way.
    listing: bool,
    /// Whether it may be outdated already.
    outdated: bool,
    /// Whether to report the next list as a change.
    report_next_list: bool,
    waiting: Vec<Answer<Vec<UnitStatus>>>,
}

impl Session {
    pub fn new(
        inspector: Inspector,
        records: Option<Records>,
        patterns: &[String],
        requests: mpsc::UnboundedReceiver<Request>,
        changes: mpsc::UnboundedSender<Change>,
        under_way: watch::Sender<usize>,
    ) -> Self {
        let mut history = JobHistory::default();
        for unit in records.iter().flat_map(Records::read) {
            history.set_taken_out(&unit, true);
        }
        Self {
            inspector,
            records,
            covered: globs(patterns),
            requests,
            changes,
            tasks: JoinSet::new(),
            history,
            starting: HashSet::new(),
            under_way,
            listing: false,
            outdated: false,
            report_next_list: false,
            waiting: Vec::new(),
        }
    }

    /// Serves requests for as long as there is a handle, and completes what it has begun.
    pub async fn run(mut self) {
        self.report_next_list = true;
        self.list();
        let mut open = true;
        while open || !self.starting.is_empty() {
            tokio::select! {
                request = self.requests.recv(), if open => match request {
                    Some(request) => self.perform(request),
                    None => open = false,
                },
                Some(found) = self.tasks.join_next() => {
                    // Only a panic ends a task without a result, and that has ended the process.
                    let Ok(found) = found else { continue };
                    self.found(found);
                }
            }
        }
    }

    fn perform(&mut self, request: Request) {
        let inspector = self.inspector.clone();
        match request {
            Request::Refresh => {
                self.report_next_list = true;
                self.list();
            }
            Request::Cover(patterns) => {
                self.covered = globs(&patterns);
                self.list_anew();
            }
            Request::List(answer) => {
                self.waiting.push(answer);
                self.list();
            }
            Request::Inspect(unit, detail, answer) => {
                self.tasks.spawn(async move {
                    let seen = inspector.inspect(&unit, detail).await;
                    Found::Inspected(unit, detail, answer, seen)
                });
            }
            Request::Start { unit, restart, timeout } => {
                self.starting.insert(unit.clone());
                self.under_way.send_replace(self.starting.len());
                let (records, deadline) = (self.records.clone(), Instant::now() + timeout);
                let enable = self.history.was_disabled(&unit);
                self.tasks.spawn(async move {
                    let order = Order { unit: &unit, restart, enable, deadline };
                    let ended = start(&inspector, records.as_ref(), order).await;
                    Found::Start(unit, ended)
                });
            }
        }
    }

    /// Reports a list that is begun from now on.
    fn list_anew(&mut self) {
        self.report_next_list = true;
        self.outdated = self.listing;
        self.list();
    }

    /// Begins a list, unless one is under way.
    fn list(&mut self) {
        if std::mem::replace(&mut self.listing, true) {
            return;
        }
        let (inspector, covered) = (self.inspector.clone(), self.covered.clone());
        self.tasks.spawn(async move { Found::List(inspector.list(&covered).await) });
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::List(result) => self.listed(result),
            Found::Inspected(unit, detail, answer, seen) => {
                let seen = seen.map(|seen| self.inspected(&unit, &seen, detail));
                // The requester may be gone.
                let _ = answer.send(seen);
            }
            Found::Start(unit, ended) => self.started(unit, ended),
        }
    }

    fn listed(&mut self, result: Result<Vec<(UnitName, ListedState)>, ManagerError>) {
        self.listing = false;
        if std::mem::take(&mut self.outdated) {
            return self.list();
        }
        let result = result.map(|states| self.statuses(states));
        if std::mem::take(&mut self.report_next_list) {
            let change = match &result {
                Ok(list) => Change::Units(list.clone()),
                Err(error) => Change::Lost(error.to_string()),
            };
            let _ = self.changes.send(change);
        }
        for answer in self.waiting.drain(..) {
            let _ = answer.send(result.clone());
        }
    }

    fn statuses(&mut self, states: Vec<(UnitName, ListedState)>) -> Vec<UnitStatus> {
        let now = Instant::now();
        let mut statuses = Vec::with_capacity(states.len());
        for (unit, state) in states {
            if self.starting.contains(&unit) {
                continue;
            }
            if !matches!(state, ListedState::Out { .. }) && self.history.of(&unit, now).taken_out {
                // Another client was faster.
                self.history.set_taken_out(&unit, false);
                self.records.iter().for_each(|records| records.remove(&unit));
            }
            statuses.push(match state {
                ListedState::Out { is_new } => {
                    self.history.gone(&unit);
                    job::out(unit.clone(), self.history.of(&unit, now), is_new)
                }
                ListedState::Running(pid) => {
                    self.history.saw(&unit, Some(pid), None, now);
                    job::running(unit)
                }
                ListedState::Down(seen) => {
                    if let Some(job) = &seen.job {
                        self.history.saw(&unit, job.pid, Some(job.runs), now);
                    }
                    job::status(unit, &seen, Watched::default())
                }
                ListedState::Unknown => job::unknown(unit),
            });
        }
        statuses.extend(self.starting.iter().cloned().map(job::starting));
        statuses
    }

    fn inspected(&mut self, unit: &UnitName, seen: &Seen, detail: Detail) -> Inspection {
        let now = Instant::now();
        match &seen.job {
            Some(job) => self.history.saw(unit, job.pid.filter(|_| job.is_up()), Some(job.runs), now),
            None => self.history.gone(unit),
        }
        if detail.stop || detail.file {
            self.history.set_disabled(unit, seen.disabled);
        }
        let watched = self.history.of(unit, now);
        job::inspection(seen, watched, detail)
    }

    fn started(&mut self, unit: UnitName, ended: Start) {
        self.starting.remove(&unit);
        if let Some(taken_out) = ended.taken_out {
            self.history.set_taken_out(&unit, taken_out);
        }
        if let Some(job) = &ended.job {
            self.history.saw(&unit, job.pid.filter(|_| job.is_up()), Some(job.runs), Instant::now());
            // Its last known state was down.
            let seen = Seen { job: Some(job.clone()), ..Seen::default() };
            let _ = self.changes.send(Change::Unit(job::status(unit.clone(), &seen, Watched::default())));
        }
        let _ = self.changes.send(Change::Finished(unit, ended.outcome));
        self.under_way.send_replace(self.starting.len());
        self.list_anew();
    }
}

fn globs(patterns: &[String]) -> Vec<glob::Pattern> {
    patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()).collect()
}
