//! Actions of the user, performed by the daemon in the background, and their results.

use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use super::menu::Target;
use super::model::{Answer, Tone};
use crate::api::HealRequest;
use crate::client;
use crate::client::daemon::{DaemonClient, DaemonError};
use crate::client::log::{Log, follow};
use crate::core::event::Report;
use crate::core::units::UnitName;
use crate::setup::Options;

/// Number of past lines shown of a log.
const PAST_LINES: usize = 200;

/// The result of an action.
#[derive(Debug)]
pub(super) enum Done {
    /// A notice.
    Told(Tone, String),
    /// The explanation of a worker, or an error.
    Explained(Answer),
    /// The log of a unit was opened.
    Opened(String, Result<Log, String>),
}

/// Runs actions.
#[derive(Debug)]
pub(super) struct Actions {
    options: Options,
    tasks: JoinSet<Done>,
}

impl Actions {
    pub fn new(options: Options) -> Self {
        Self { options, tasks: JoinSet::new() }
    }

    /// The result of the next action that ends; waits forever if there is none.
    pub async fn next(&mut self) -> Done {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(done)) => return done,
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    pub fn heal(&mut self, target: Target) {
        self.tell(async move |options| {
            let name = target.name;
            let request = HealRequest { targets: target.targets, ..HealRequest::default() };
            let mut healing = DaemonClient::connect(&options).await?.heal(&request).await?;
            while healing.next().await?.is_some() {}
            Ok(outcome(&name, &healing.into_report()))
        });
    }

    pub fn pause(&mut self, target: Target, time: Option<Duration>) {
        self.tell(async move |options| {
            let paused = DaemonClient::connect(&options).await?.pause(&target.targets, time).await?;
            if let Some(warning) = paused.warning() {
                return Ok((Tone::Bad, format!("Healing of {} is paused, but {warning}.", target.name)));
            }
            let how_long = match time {
                Some(time) => format!("for {}", humantime::format_duration(time)),
                None => "until it is resumed".to_owned(),
            };
            Ok((Tone::Good, format!("Healing of {} is paused, {how_long}.", target.name)))
        });
    }

    pub fn resume(&mut self, target: Target) {
        self.tell(async move |options| {
            let paused = DaemonClient::connect(&options).await?.resume(&target.targets).await?;
            if let Some(warning) = paused.warning() {
                return Ok((Tone::Bad, format!("Healing of {} is resumed, but {warning}.", target.name)));
            }
            Ok((Tone::Good, format!("Healing of {} is resumed.", target.name)))
        });
    }

    pub fn explain(&mut self, unit: String) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let asked = std::slice::from_ref(&unit);
            let answer = async { DaemonClient::connect(&options).await?.explain(asked).await }.await;
            let answer = match answer.map(|mut explained| explained.pop()) {
                Ok(Some(explained)) => Ok(Box::new(explained)),
                Ok(None) => Err(format!("{unit} is no worker any more")),
                Err(error) => Err(error.to_string()),
            };
            Done::Explained(Answer { unit, at: SystemTime::now(), says: answer })
        });
    }

    pub fn follow(&mut self, unit: String) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let log = match UnitName::parse(&unit) {
                Ok(name) => {
                    follow(&options, &name, PAST_LINES).await.map_err(|error| client::ClientError::to_string(&error))
                }
                Err(error) => Err(error.to_string()),
            };
            Done::Opened(unit, log)
        });
    }

    fn tell<F>(&mut self, action: impl FnOnce(Options) -> F + Send + 'static)
    where
        F: Future<Output = Result<(Tone, String), DaemonError>> + Send + 'static,
    {
        let doing = action(self.options.clone());
        self.tasks.spawn(async move {
            let (tone, text) = doing.await.unwrap_or_else(|error| (Tone::Bad, error.to_string()));
            Done::Told(tone, text)
        });
    }
}

/// A heal's result as a notice.
fn outcome(name: &str, report: &Report) -> (Tone, String) {
    match (report.healed.as_slice(), report.failed.as_slice()) {
        ([], []) => (Tone::Good, format!("{name}: nothing is unhealthy.")),
        ([], [failure]) => (Tone::Bad, format!("{} could not be healed: {}", failure.worker.unit, failure.error)),
        ([healed], []) => (Tone::Good, format!("{} is up again, and has stayed up.", healed.unit)),
        (_, []) => (Tone::Good, report.to_string()),
        (_, [failure, ..]) => (Tone::Bad, format!("{report} {}: {}", failure.worker.unit, failure.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::diagnosis::State;
    use crate::core::event::{Failure, UnhealthyWorker};

    #[test]
    fn the_outcome_of_a_heal_is_one_sentence() {
        let worker = |unit: &str| UnhealthyWorker {
            site: "myapp".into(),
            worker: "queue".into(),
            worktree: None,
            unit: unit.into(),
            state: State::Failed,
            last_error: String::new(),
        };
        let failure = Failure { worker: worker("lerd-vite-shop"), error: "exit-code".into() };
        let said = |healed: &[&str], failed: usize| {
            let healed = healed.iter().map(|unit| worker(unit)).collect();
            outcome("everything", &Report { healed, failed: vec![failure.clone(); failed] })
        };
        assert_eq!(said(&[], 0), (Tone::Good, "everything: nothing is unhealthy.".into()));
        assert_eq!(said(&["a"], 0), (Tone::Good, "a is up again, and has stayed up.".into()));
        assert_eq!(said(&["a", "b"], 0), (Tone::Good, "Healed 2 worker(s).".into()));
        assert_eq!(said(&[], 1), (Tone::Bad, "lerd-vite-shop could not be healed: exit-code".into()));
        assert_eq!(said(&["a"], 1), (Tone::Bad, "Healed 1 worker(s), 1 failed. lerd-vite-shop: exit-code".into()));
    }
}
