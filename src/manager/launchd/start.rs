//! Starts a unit: takes its job out, waits until it is gone, and loads it anew.
//!
//! A job that is only started again (`kickstart`) keeps what it was loaded with, and that call can
//! block for minutes. Taken out, a job is disabled since macOS 13, so it is enabled before it is
//! loaded. launchd is asked what has become of it after each step: that a call was accepted says
//! little.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::answers::{End, Job};
use super::label::label_of;
use super::launchctl::Failure;
use super::look::Eyes;
use super::plist::{Agent, File};
use super::records::Records;
use crate::core::diagnosis::{Hopeless, Refusal};
use crate::core::healer::Outcome;
use crate::core::units::UnitName;

/// Waits between looks: short at first.
const WAITS: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(250)];

/// How a start ended.
#[derive(Debug)]
pub(super) struct Start {
    pub outcome: Outcome,
    /// The job as it was when it had come up, or had done its work.
    pub job: Option<Job>,
    /// Whether the job is out by our doing now; `None` is as before.
    pub taken_out: Option<bool>,
}

/// Starts the unit, or restarts one that is up. Ends by the deadline.
pub(super) async fn start(
    eyes: &Eyes,
    records: Option<&Records>,
    unit: &UnitName,
    restart: bool,
    deadline: Instant,
) -> Start {
    let mut starter = Starter { eyes, records, unit, label: label_of(unit), deadline, job: None, taken_out: None };
    let outcome = starter.run(restart).await.unwrap_or_else(|outcome| outcome);
    Start { outcome, job: starter.job, taken_out: starter.taken_out }
}

struct Starter<'a> {
    eyes: &'a Eyes,
    records: Option<&'a Records>,
    unit: &'a UnitName,
    label: String,
    deadline: Instant,
    job: Option<Job>,
    taken_out: Option<bool>,
}

impl Starter<'_> {
    /// The steps; an error is the outcome that they end with.
    async fn run(&mut self, restart: bool) -> Result<Outcome, Outcome> {
        let job = self.look().await?;
        let agent = match self.eyes.file(self.unit, job.as_ref()).await {
            File::Agent(agent) => agent,
            File::Missing => return Err(Outcome::Impossible(Hopeless::NotFound)),
            File::Wrong => return Err(Outcome::Impossible(Hopeless::BadSetting)),
            File::Unreadable => return Err(Outcome::Impossible(Hopeless::Unreadable)),
            File::None => return Err(not_started("it was not loaded from a file, so it cannot be loaded again")),
        };
        if let Some(job) = job {
            if job.is_going() {
                let why = "somebody is taking it out";
                return Err(Outcome::Refused(Refusal::JobPending, why.to_owned()));
            }
            if job.is_up() && !restart {
                // Somebody was faster.
                self.job = Some(job);
                return Ok(Outcome::Done);
            }
            self.take_out().await?;
        }
        self.load(&agent).await?;
        if !agent.starts_by_itself {
            // It may block long after the job has come up, so its end says nothing.
            let (launchctl, label) = (self.eyes.launchctl.clone(), self.label.clone());
            tokio::select! {
                answer = launchctl.kickstart(&label) => if let Err(failure) = answer && failure != Failure::Slow {
                    return Err(failed("kickstart", &failure));
                },
                came_up = self.comes_up(agent.on_demand) => return came_up,
            }
        }
        self.comes_up(agent.on_demand).await
    }

    async fn look(&self) -> Result<Option<Job>, Outcome> {
        self.eyes.job(self.unit).await.map_err(|error| not_started(&error.to_string()))
    }

    /// Takes the job out and waits until it is gone: until then it cannot be loaded.
    async fn take_out(&mut self) -> Result<(), Outcome> {
        if let Some(records) = self.records {
            // On a full disk workers are healed too.
            let _ = records.add(self.unit);
        }
        match self.eyes.launchctl.bootout(&self.label).await {
            Ok(())
            | Err(Failure::NotLoaded | Failure::Busy | Failure::Redundant | Failure::InProgress | Failure::Slow) => {}
            Err(failure) => return Err(failed("bootout", &failure)),
        }
        self.taken_out = Some(true);
        let mut waits = Waits::until(self.deadline);
        while self.look().await?.is_some() {
            if !waits.wait().await {
                return Err(not_started("its job does not end: launchd has not taken it out in time"));
            }
        }
        Ok(())
    }

    async fn load(&mut self, agent: &Agent) -> Result<(), Outcome> {
        // It is to be up from now on, whoever took it out.
        self.taken_out = Some(true);
        let mut waits = Waits::until(self.deadline);
        loop {
            self.eyes.launchctl.enable(&self.label).await.map_err(|failure| failed("enable", &failure))?;
            let failure = match self.eyes.launchctl.bootstrap(&agent.path).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            match failure {
                Failure::Busy | Failure::Redundant | Failure::InProgress | Failure::Disabled | Failure::Slow => {
                    // It may be there all the same, or be about to go.
                    if self.look().await?.is_some_and(|job| !job.is_going()) {
                        break;
                    }
                }
                failure => return Err(failed("bootstrap", &failure)),
            }
            if !waits.wait().await {
                return Err(failed("bootstrap", &failure));
            }
        }
        self.taken_out = Some(false);
        if let Some(records) = self.records {
            records.remove(self.unit);
        }
        Ok(())
    }

    /// Waits until the job has come up, or has ended. The start of one that runs at times is over when
    /// its work is, as on systemd.
    async fn comes_up(&mut self, has_an_end: bool) -> Result<Outcome, Outcome> {
        let mut waits = Waits::until(self.deadline);
        loop {
            let Some(job) = self.look().await? else {
                return Err(Outcome::Cancelled);
            };
            let is_up = job.is_up();
            match &job.end {
                _ if is_up && !has_an_end => return Ok(self.done(job)),
                _ if is_up => {}
                End::Code(0) => return Ok(self.done(job)),
                End::Code(status) => return Err(Outcome::Failed(format!("it ended with status {status}"))),
                End::Signal(signal) => return Err(Outcome::Failed(format!("it was ended by signal {signal}"))),
                End::Reason(reason) => return Err(Outcome::Failed(format!("macOS ended it: {reason}"))),
                End::Never | End::Unknown => {}
            }
            if !waits.wait().await {
                return if is_up { Ok(self.done(job)) } else { Err(not_started("its start took too long")) };
            }
        }
    }

    fn done(&mut self, job: Job) -> Outcome {
        self.job = Some(job);
        Outcome::Done
    }
}

fn not_started(why: &str) -> Outcome {
    Outcome::NotStarted(why.to_owned())
}

fn failed(what: &str, failure: &Failure) -> Outcome {
    Outcome::NotStarted(format!("launchctl {what}: {failure}"))
}

/// Ever longer waits, until a deadline.
pub(super) struct Waits {
    next: std::slice::Iter<'static, Duration>,
    deadline: Instant,
}

impl Waits {
    pub fn until(deadline: Instant) -> Self {
        Self { next: WAITS.iter(), deadline }
    }

    /// Waits; false if the deadline has passed.
    pub async fn wait(&mut self) -> bool {
        let wait = self.next.next().copied().unwrap_or(WAITS[WAITS.len() - 1]);
        timeout_at(self.deadline, sleep(wait)).await.is_ok()
    }
}
