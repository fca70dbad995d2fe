//! Jobs: the ends of ours, and what those of other clients say about the intent for a unit.

use std::collections::HashSet;

use tokio::time::Instant;
use zbus::Message;
use zbus::message::Type;

use super::super::wire::{self, Line};
use super::starts::Starting;
use super::{Call, Following, Session};
use crate::core::healer::Outcome;
use crate::core::units::{ActiveState, UnitName};
use crate::manager::Change;

impl Following {
    /// Handles a queued job. When a target is isolated, its job comes together with the stops of everything else, in
    /// any order.
    pub(super) async fn job_queued(&mut self, session: &Session, path: String, unit: &str) -> zbus::Result<()> {
        match self.isolation.queued(path, unit, Instant::now()) {
            Some(target_job) => {
                self.lists.doubt();
                let _ = session.changes.send(Change::Reloading);
                let question = wire::property_of(unit, wire::UNIT, "AllowIsolate")?;
                self.calls.insert(question.primary_header().serial_num(), Call::AllowIsolate(target_job));
                self.connection.send_all(&[question]).await
            }
            None => Ok(()),
        }
    }

    pub(super) async fn isolation_ended(&mut self, session: &Session, has_ended: bool) -> zbus::Result<()> {
        if has_ended { self.list_all(session).await } else { Ok(()) }
    }

    /// Handles the end of a job, ours or another client's.
    pub(super) async fn job_ended(
        &mut self,
        session: &Session,
        id: u32,
        path: &str,
        unit: Option<UnitName>,
        result: &str,
    ) -> zbus::Result<()> {
        let ended = self.isolation.job_ended(path);
        self.isolation_ended(session, ended).await?;
        if let Some(starting) = self.jobs.remove(path) {
            return match starting.next(result) {
                Ok(next) => self.start(next).await,
                Err(ended) => {
                    session.finished(ended.unit().clone(), wire::job_result(result));
                    Ok(())
                }
            };
        }
        let Some(unit) = unit else { return Ok(()) };
        // A job without effect, such as a `try-restart` of a unit that is down, is never shown by the unit itself.
        let was_reported = self.reported_jobs.get(&unit) == Some(&id);
        if was_reported {
            self.reported_jobs.remove(&unit);
        }
        let change = match result {
            "done" if was_reported => Change::JobDone(unit),
            "canceled" if self.is_being_overridden(&unit) => Change::StopOverridden(unit),
            "canceled" => Change::JobCancelled(unit),
            "dependency" => Change::KeptFromStarting(unit),
            _ => return Ok(()),
        };
        let _ = session.changes.send(change);
        Ok(())
    }

    /// Whether a start of ours that replaces other jobs is being queued.
    pub(super) fn is_being_overridden(&self, unit: &UnitName) -> bool {
        let is_it =
            |call: &Call| matches!(call, Call::Start(starting) if starting.unit() == unit && starting.overrides_jobs());
        self.calls.values().any(is_it)
    }

    /// Whether a start of ours may have ended without its signal: its job is not listed.
    pub(super) fn has_missed_ends(&self, lines: &[Line]) -> bool {
        let is_listed = |path: &String| lines.iter().any(|line| line.job.as_ref().is_some_and(|job| job.path == *path));
        !self.jobs.keys().all(is_listed)
    }

    /// Ends of starts whose signal was lost: their job is no longer listed.
    pub(super) fn missed_ends(&mut self, session: &Session, lines: &[Line]) {
        let listed: HashSet<&str> =
            lines.iter().filter_map(|line| line.job.as_ref()).map(|job| job.path.as_str()).collect();
        for (_, job) in self.jobs.extract_if(|path, _| !listed.contains(path.as_str())) {
            let active = lines.iter().find(|line| line.name == job.unit().as_str()).map(|line| line.active);
            let outcome = match active {
                Some(ActiveState::Failed) => wire::job_result("failed"),
                Some(_) => Outcome::Done,
                None => Outcome::NotStarted("was unloaded while it was being started".to_owned()),
            };
            session.finished(job.unit().clone(), outcome);
        }
    }

    /// Handles the response to the call of a step: the job's path, or an error.
    pub(super) fn queued(&mut self, session: &Session, message: &Message, starting: Starting) {
        if message.message_type() == Type::Error {
            let header = message.header();
            let name = header.error_name().map(zbus::names::ErrorName::as_str).unwrap_or_default();
            let text = message.body().deserialize::<&str>().unwrap_or("no reason given").to_owned();
            session.finished(starting.unit().clone(), wire::refused(starting.unit(), name, text));
            return;
        }
        match message.body().deserialize::<zbus::ObjectPath<'_>>() {
            Ok(path) => {
                self.jobs.insert(path.to_string(), starting);
            }
            Err(error) => session.finished(starting.unit().clone(), Outcome::NotStarted(error.to_string())),
        }
    }
}
