//! Actions of the user, performed by the daemon in the background, and their results.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinSet;

use super::effect::Target;
use super::model::{Answer, Tone};
use crate::api::HealRequest;
use crate::client;
use crate::client::daemon::{DaemonClient, DaemonError};
use crate::client::log::{Log, follow};
use crate::core::batch::Plan;
use crate::core::event::Report;
use crate::core::units::UnitName;
use crate::manager::Usage;
use crate::setup::Options;

/// Number of past lines shown of a log.
const PAST_LINES: usize = 200;

/// The result of an action.
#[derive(Debug)]
pub(super) enum Done {
    /// A notice.
    Notice(Tone, String),
    /// The explanation of a worker, or an error.
    Explained(Answer),
    /// The resource usage of a unit, and when it was measured; `None` if that is unknown.
    Measured(UnitName, Option<Usage>, Instant),
    /// The resource usage of these units, and when it was measured; `None` if the daemon did not answer.
    MeasuredList(Vec<String>, Option<BTreeMap<String, Usage>>, Instant),
    /// The log of a unit was opened.
    Opened(UnitName, Result<Log, String>),
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
        self.spawn(async move |options| {
            let name = target.name;
            let request = HealRequest { targets: target.targets, ..HealRequest::default() };
            let mut healing = DaemonClient::connect(&options).await?.heal(&request).await?;
            let plan = healing.plan().clone();
            while healing.next().await?.is_some() {}
            Ok(outcome(&name, &plan, &healing.into_report()))
        });
    }

    pub fn stop(&mut self, target: Target) {
        self.spawn(async move |options| {
            let report = DaemonClient::connect(&options).await?.stop(&target.targets).await?;
            Ok(match report.failed.as_slice() {
                [] => (Tone::Good, format!("Stopped {}; it stays stopped until you start it (h).", target.name)),
                [failure, ..] => (Tone::Bad, format!("{} is not stopped: {}", failure.worker.name(), failure.error)),
            })
        });
    }

    pub fn pause(&mut self, target: Target, time: Option<Duration>) {
        self.spawn(async move |options| {
            let paused = DaemonClient::connect(&options).await?.pause(&target.targets, time).await?;
            if let Some(warning) = paused.warning() {
                return Ok((Tone::Bad, format!("You paused {}, but {warning}.", target.name)));
            }
            let how_long = match time {
                Some(time) => format!("for {}", humantime::format_duration(time)),
                None => "until you resume it".to_owned(),
            };
            Ok((Tone::Good, format!("You paused {} {how_long}.", target.name)))
        });
    }

    pub fn resume(&mut self, target: Target) {
        self.spawn(async move |options| {
            let paused = DaemonClient::connect(&options).await?.resume(&target.targets).await?;
            if let Some(warning) = paused.warning() {
                return Ok((Tone::Bad, format!("You resumed {}, but {warning}.", target.name)));
            }
            Ok((Tone::Good, format!("You resumed {}.", target.name)))
        });
    }

    pub fn explain(&mut self, unit: UnitName) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let asked = [unit.to_string()];
            let answer = async { DaemonClient::connect(&options).await?.explain(&asked).await }.await;
            let answer = match answer.map(|mut explained| explained.pop()) {
                Ok(Some(explained)) => Ok(Box::new(explained)),
                Ok(None) => Err(format!("no worker named {unit} any more")),
                Err(error) => Err(error.to_string()),
            };
            Done::Explained(Answer { unit, at: SystemTime::now(), says: answer })
        });
    }

    pub fn measure(&mut self, unit: UnitName) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let usage = async { DaemonClient::connect(&options).await?.usage(unit.short()).await }.await;
            // An earlier daemon does not know the question, and others have failed by the next one.
            Done::Measured(unit, usage.ok(), Instant::now())
        });
    }

    /// Asks for all units in one call.
    pub fn measure_list(&mut self, units: Vec<String>) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let usages = match async { DaemonClient::connect(&options).await?.usages(&units).await }.await {
                // An earlier daemon does not know the question: it knows nothing of any unit.
                Err(DaemonError::Refused { .. }) => Some(BTreeMap::new()),
                usages => usages.ok(),
            };
            Done::MeasuredList(units, usages, Instant::now())
        });
    }

    pub fn follow(&mut self, unit: UnitName) {
        let options = self.options.clone();
        self.tasks.spawn(async move {
            let log = follow(&options, &unit, PAST_LINES).await;
            let log = log.map_err(|error| client::ClientError::to_string(&error));
            Done::Opened(unit, log)
        });
    }

    fn spawn<F>(&mut self, action: impl FnOnce(Options) -> F + Send + 'static)
    where
        F: Future<Output = Result<(Tone, String), DaemonError>> + Send + 'static,
    {
        let doing = action(self.options.clone());
        self.tasks.spawn(async move {
            let (tone, text) = doing.await.unwrap_or_else(|error| (Tone::Bad, error.to_string()));
            Done::Notice(tone, text)
        });
    }
}

/// A heal's result as a notice.
fn outcome(name: &str, plan: &Plan, report: &Report) -> (Tone, String) {
    let not_healed = plan.left_alone.iter().chain(&plan.paused);
    let not_healed: Vec<String> = not_healed.map(|it| format!("{}: {}", it.worker.name(), it.reason)).collect();
    match (report.healed.as_slice(), report.failed.as_slice()) {
        ([], []) => match not_healed.as_slice() {
            [] if name == Target::everything().name => (Tone::Good, "No unhealthy workers.".to_owned()),
            [] => (Tone::Good, format!("Nothing is wrong with {name}.")),
            [only] => (Tone::Bad, format!("Not healed: {only}")),
            [first, more @ ..] => (Tone::Bad, format!("Not healed: {first} (and {} more)", more.len())),
        },
        ([], [failure]) => (Tone::Bad, format!("{} could not be healed: {}", failure.worker.name(), failure.error)),
        ([healed], []) => (Tone::Good, format!("{} is up again, and has stayed up.", healed.name())),
        (healed, []) => (Tone::Good, format!("Healed {} workers.", healed.len())),
        (healed, failed @ [first, ..]) => (
            Tone::Bad,
            format!("Healed {}, {} failed. {}: {}", healed.len(), failed.len(), first.worker.name(), first.error),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::batch::LeftAlone;
    use crate::core::diagnosis::State;
    use crate::core::event::{Failure, UnhealthyWorker};

    #[test]
    fn the_outcome_of_a_heal_is_one_sentence() {
        let worker = |worker: &str| UnhealthyWorker {
            site: "shop".into(),
            worker: worker.into(),
            worktree: None,
            unit: UnitName::parse(&format!("lerd-{worker}-shop")).unwrap(),
            state: State::Failed,
            last_error: String::new(),
        };
        let failure = Failure { worker: worker("vite"), error: "exit-code".into() };
        let said = |healed: &[&str], failed: usize| {
            let healed = healed.iter().map(|unit| worker(unit)).collect();
            outcome("everything", &Plan::default(), &Report { healed, failed: vec![failure.clone(); failed] })
        };
        assert_eq!(said(&[], 0), (Tone::Good, "No unhealthy workers.".into()));
        assert_eq!(said(&["a"], 0), (Tone::Good, "shop/a is up again, and has stayed up.".into()));
        assert_eq!(said(&["a", "b"], 0), (Tone::Good, "Healed 2 workers.".into()));
        assert_eq!(said(&[], 1), (Tone::Bad, "shop/vite could not be healed: exit-code".into()));
        assert_eq!(said(&["a"], 1), (Tone::Bad, "Healed 1, 1 failed. shop/vite: exit-code".into()));
        assert_eq!(said(&[], 2), (Tone::Bad, "Healed 0, 2 failed. shop/vite: exit-code".into()));
    }

    #[test]
    fn an_unhealed_worker_is_never_called_well() {
        let worker = UnhealthyWorker {
            site: "shop".into(),
            worker: "queue".into(),
            worktree: None,
            unit: UnitName::parse("lerd-queue-shop").unwrap(),
            state: State::Failed,
            last_error: String::new(),
        };
        let mut plan = Plan::default();
        plan.paused.push(LeftAlone { worker, reason: "you paused everything".into() });
        let report = Report::default();
        assert_eq!(
            outcome("everything", &plan, &report),
            (Tone::Bad, "Not healed: shop/queue: you paused everything".into())
        );
        plan.left_alone.clone_from(&plan.paused);
        assert_eq!(
            outcome("everything", &plan, &report),
            (Tone::Bad, "Not healed: shop/queue: you paused everything (and 1 more)".into())
        );
    }
}
