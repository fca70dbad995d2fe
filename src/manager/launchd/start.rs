//! Starts a unit: boots its job out, waits until it is gone, loads it again, and checks that it runs.
//!
//! A job that is only started again (`kickstart`) keeps its old settings. So that is used only if launchd has put off a
//! start, or if loading alone starts nothing; it can block for minutes, and is never used with `-k`, which would end a
//! running job. The job is inspected after each step, as an accepted call says little. A job that was enabled before is
//! enabled again only if our own bootout disabled it, which one version of macOS is said to do; a later disable is
//! intended.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::answers::{End, Job};
use super::inspect::{Inspector, is_new};
use super::label::{is_lerds, label_of};
use super::launchctl::{Domain, Failure};
use super::plist::{Agent, File};
use super::records::Records;
use super::seen::is_put_off;
use crate::core::diagnosis::{Refusal, Unrecoverable};
use crate::core::healer::Outcome;
use crate::core::units::UnitName;

/// Delays between inspections: short at first.
const POLL_DELAYS: [Duration; 4] =
    [Duration::from_millis(20), Duration::from_millis(50), Duration::from_millis(100), Duration::from_millis(250)];
/// A job that should start when it is loaded, and has not after this time, is demanded.
const START_TIMEOUT: Duration = Duration::from_secs(1);
/// A demanded job that has not come up after this time is loaded again.
const KICKSTART_TIMEOUT: Duration = Duration::from_secs(5);

/// A unit to be started.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub unit: &'a UnitName,
    /// Whether to end it first if it is up.
    pub restart: bool,
    /// Whether to enable it, as it was known to be disabled when the start was decided.
    pub enable: bool,
    /// The deadline of the start.
    pub deadline: Instant,
}

/// How a start ended.
#[derive(Debug)]
pub(super) struct Start {
    pub outcome: Outcome,
    /// The job after it had come up, or finished.
    pub job: Option<Job>,
    /// Whether we have booted the job out; `None` if that is unchanged.
    pub taken_out: Option<bool>,
}

/// Starts the unit, or restarts one that is up.
pub(super) async fn start(inspector: &Inspector, records: Option<&Records>, order: Order<'_>) -> Start {
    let label = label_of(order.unit);
    let mut starter = Starter { inspector, records, order, label, domain: None, job: None, taken_out: None };
    let outcome = starter.run().await.unwrap_or_else(|outcome| outcome);
    Start { outcome, job: starter.job, taken_out: starter.taken_out }
}

struct Starter<'a> {
    inspector: &'a Inspector,
    records: Option<&'a Records>,
    order: Order<'a>,
    label: String,
    /// The domain of the job, or its domain before it was booted out.
    domain: Option<Domain>,
    job: Option<Job>,
    taken_out: Option<bool>,
}

impl Starter<'_> {
    /// The steps; an error is the outcome that ends them.
    async fn run(&mut self) -> Result<Outcome, Outcome> {
        let mut job = self.inspect().await?;
        let mut agent = self.agent(job.as_ref()).await?;
        let mut waits = Waits::until(self.order.deadline);
        while is_lerds(self.order.unit) && is_new(agent.written) && !job.as_ref().is_some_and(Job::is_up) {
            // Lerd is about to load it.
            if !waits.wait().await {
                return Err(not_started("Lerd has just written its plist, and does not load it"));
            }
            job = self.inspect().await?;
            agent = self.agent(job.as_ref()).await?;
        }
        if let Some(job) = job {
            if job.is_going() {
                let why = "it is being taken out";
                return Err(Outcome::Refused(Refusal::JobPending, why.to_owned()));
            }
            if job.is_up() && !self.order.restart {
                // Another client was faster.
                return Ok(self.done(job));
            }
            if is_put_off(&job, Some(&agent)) && !self.order.restart {
                let latest = self.order.deadline.min(Instant::now() + KICKSTART_TIMEOUT);
                match self.comes_up(&agent, Some(job.runs), latest).await {
                    // Loading it again may help.
                    Err(Outcome::NotStarted(_)) => {}
                    outcome => return outcome,
                }
            }
            self.take_out(&agent).await?;
        }
        self.load(&agent).await?;
        self.comes_up(&agent, None, self.order.deadline).await
    }

    async fn agent(&self, job: Option<&Job>) -> Result<Agent, Outcome> {
        match self.inspector.file(self.order.unit, job).await {
            File::Agent(agent) if agent.by_podman => {
                Err(not_started("podman runs it, not launchd; start it in Lerd, or with: podman start"))
            }
            File::Agent(agent) => Ok(agent),
            File::Missing => Err(Outcome::Impossible(Unrecoverable::NotFound)),
            File::Wrong => Err(Outcome::Impossible(Unrecoverable::BadSetting)),
            File::Unreadable => Err(Outcome::Impossible(Unrecoverable::Unreadable)),
            File::None => Err(not_started("it was not loaded from a file, so it cannot be loaded again")),
        }
    }

    async fn inspect(&mut self) -> Result<Option<Job>, Outcome> {
        let found = self.inspector.job(self.order.unit).await.map_err(|error| not_started(&error.to_string()))?;
        Ok(found.map(|(domain, job)| {
            self.domain = Some(domain);
            job
        }))
    }

    /// Whether it is disabled. If that is unknown, it is not.
    async fn is_disabled(&self, agent: &Agent) -> bool {
        self.inspector.is_disabled(self.order.unit, Some(agent)).await.unwrap_or(false)
    }

    async fn enable(&self, domain: Domain) -> Result<(), Outcome> {
        self.inspector.launchctl.enable(domain, &self.label).await.map_err(|failure| failed("enable", &failure))
    }

    /// Boots the job out and waits until it is gone: until then it cannot be loaded.
    async fn take_out(&mut self, agent: &Agent) -> Result<(), Outcome> {
        let Some(domain) = self.domain else { return Ok(()) };
        let was_disabled = self.is_disabled(agent).await;
        if was_disabled && !self.order.enable {
            return Err(Outcome::Refused(Refusal::Disabled, "it was disabled just now".to_owned()));
        }
        if let Some(records) = self.records {
            // A full disk must not prevent healing.
            let _ = records.add(self.order.unit);
        }
        match self.inspector.launchctl.bootout(domain, &self.label).await {
            Ok(())
            | Err(Failure::NotLoaded | Failure::Busy | Failure::Redundant | Failure::InProgress | Failure::Slow) => {}
            Err(failure) => return Err(failed("bootout", &failure)),
        }
        self.taken_out = Some(true);
        if !was_disabled && self.is_disabled(agent).await {
            // That was the bootout.
            self.enable(domain).await?;
        }
        let mut waits = Waits::until(self.order.deadline);
        while self.inspect().await?.is_some() {
            if !waits.wait().await {
                return Err(not_started("its job does not end: launchd has not taken it out in time"));
            }
        }
        Ok(())
    }

    async fn load(&mut self, agent: &Agent) -> Result<(), Outcome> {
        let mut domains = match self.domain {
            Some(domain) => vec![domain],
            None => self.inspector.launchctl.domains().to_vec(),
        }
        .into_iter();
        let mut domain = domains.next().unwrap_or(Domain::System);
        if self.order.enable && self.is_disabled(agent).await {
            self.enable(domain).await?;
        }
        // From now on it should be up, even if another client booted it out.
        self.taken_out = Some(true);
        let mut waits = Waits::until(self.order.deadline);
        loop {
            let failure = match self.inspector.launchctl.bootstrap(domain, &agent.path).await {
                Ok(()) => break,
                Err(failure) => failure,
            };
            if let Failure::NoDomain(_) = failure
                && let Some(next) = domains.next()
            {
                domain = next;
                continue;
            }
            if let Some(why) = refused_for(agent, domain, &failure) {
                return Err(Outcome::NotStarted(why));
            }
            match failure {
                Failure::Busy | Failure::Redundant | Failure::InProgress | Failure::Disabled | Failure::Slow => {
                    // It may still be loaded, or be about to be removed.
                    if self.inspect().await?.is_some_and(|job| !job.is_going()) {
                        break;
                    }
                    if self.is_disabled(agent).await {
                        self.is_wanted_out();
                        return Err(Outcome::Cancelled);
                    }
                }
                failure => return Err(failed("bootstrap", &failure)),
            }
            if !waits.wait().await {
                return Err(failed("bootstrap", &failure));
            }
        }
        self.domain = Some(domain);
        self.is_wanted_out();
        Ok(())
    }

    /// If it is booted out from now on, that is not our doing.
    fn is_wanted_out(&mut self) {
        self.taken_out = Some(false);
        if let Some(records) = self.records {
            records.remove(self.order.unit);
        }
    }

    /// Waits until the job has come up or ended, and demands it if it does not start. The start of a job that runs
    /// occasionally is done when its work is, as on systemd. `runs_before`: the number of earlier runs of a job that
    /// was not loaded again.
    async fn comes_up(
        &mut self,
        agent: &Agent,
        runs_before: Option<u32>,
        deadline: Instant,
    ) -> Result<Outcome, Outcome> {
        let has_an_end = agent.starts.trigger.is_some() && !agent.starts.is_kept_up();
        let begin = Instant::now();
        let mut kick: Option<Kick> = None;
        let mut waits = Waits::until(deadline);
        loop {
            let Some(job) = self.inspect().await? else {
                return Err(Outcome::Cancelled);
            };
            let is_up = job.is_up();
            if is_up && !has_an_end {
                return Ok(self.done(job));
            }
            if job.spawn_failed {
                return Err(Outcome::Failed("launchd cannot start its program (78: EX_CONFIG)".to_owned()));
            }
            if !is_up && job.runs > runs_before.unwrap_or(0) {
                match &job.end {
                    End::Code(0) => return Ok(self.done(job)),
                    End::Code(status) => return Err(Outcome::Failed(format!("it ended with status {status}"))),
                    End::Signal(signal) => return Err(Outcome::Failed(format!("it was ended by signal {signal}"))),
                    End::Reason(reason) => return Err(Outcome::Failed(format!("macOS ended it: {reason}"))),
                    End::Never | End::Unknown => {}
                }
            } else if job.is_idle() && kick.is_none() {
                let starts_by_itself = agent.starts.at_load && runs_before.is_none() && job.pended.is_none();
                if !starts_by_itself || begin.elapsed() >= START_TIMEOUT {
                    kick = self.domain.map(|domain| Kick::of(self.inspector, domain, &self.label));
                }
            }
            if let Some(failure) = kick.as_mut().and_then(Kick::failure) {
                return Err(failed("kickstart", &failure));
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

/// A reason that launchd does not give for rejecting a plist, if there is a visible one.
fn refused_for(agent: &Agent, domain: Domain, failure: &Failure) -> Option<String> {
    let session = domain.session()?;
    if !matches!(failure, Failure::Busy | Failure::WrongSession | Failure::BadOwner | Failure::Other(..)) {
        return None;
    }
    let path = agent.path.display();
    if agent.is_open_to_others {
        return Some(format!("others may write its plist, so launchd refuses it; to change that: chmod go-w {path}"));
    }
    (!agent.may_load_in(session)).then(|| {
        format!("its plist is for other sessions than {session} ({domain}); name that in its LimitLoadToSessionType")
    })
}

/// A running `kickstart`: it may block long after the job has come up, so its end says little.
struct Kick(Option<JoinHandle<Result<(), Failure>>>);

impl Kick {
    fn of(inspector: &Inspector, domain: Domain, label: &str) -> Self {
        let (launchctl, label) = (inspector.launchctl.clone(), label.to_owned());
        Self(Some(tokio::spawn(async move { launchctl.kickstart(domain, &label).await })))
    }

    /// Why it failed, if it has.
    fn failure(&mut self) -> Option<Failure> {
        let ended = self.0.take_if(|kick| kick.is_finished())?;
        match ended.now_or_never() {
            Some(Ok(Err(failure))) if failure != Failure::Slow => Some(failure),
            _ => None,
        }
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        if let Some(kick) = &self.0 {
            kick.abort();
        }
    }
}

fn not_started(why: &str) -> Outcome {
    Outcome::NotStarted(why.to_owned())
}

fn failed(what: &str, failure: &Failure) -> Outcome {
    Outcome::NotStarted(format!("launchctl {what}: {failure}"))
}

/// Increasing delays, up to a deadline.
pub(super) struct Waits {
    next: std::slice::Iter<'static, Duration>,
    deadline: Instant,
}

impl Waits {
    pub fn until(deadline: Instant) -> Self {
        Self { next: POLL_DELAYS.iter(), deadline }
    }

    /// Waits; returns false if the deadline has passed.
    pub async fn wait(&mut self) -> bool {
        let wait = self.next.next().copied().unwrap_or(POLL_DELAYS[POLL_DELAYS.len() - 1]);
        timeout_at(self.deadline, sleep(wait)).await.is_ok()
    }
}
