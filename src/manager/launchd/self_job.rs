//! workerheal's own job, for installing and uninstalling it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::answers::Job;
use super::inspect::Inspector;
use super::launchctl::{Domain, Failure, Launchctl, target};
use super::start::{Order, Waits, start};
use super::{LABEL, label, tail};
use crate::core::healer::Outcome;
use crate::core::units::{Detail, UnitName};
use crate::manager::{ManagerError, Scope};

/// workerheal's own job.
#[derive(Debug, Clone)]
pub(crate) struct SelfJob {
    inspector: Inspector,
    unit: UnitName,
}

/// The state of the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SelfState {
    /// Whether it is loaded: launchd keeps it running, unless there is trouble.
    pub up: bool,
    /// Whether it is loaded, and its process has ended.
    pub ended: bool,
    pub disabled: bool,
    /// How long its process has existed.
    pub age: Option<Duration>,
    /// What keeps launchd from running it, with a remedy.
    pub trouble: Option<Trouble>,
}

/// What keeps launchd from running a loaded job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The reason, as a sentence.
    pub what: String,
    /// A command that helps.
    pub remedy: String,
}

impl SelfJob {
    pub async fn connect(program: &Path, directory: PathBuf) -> Result<Self, ManagerError> {
        let launchctl = Launchctl::connect(program, Scope::User, LABEL).await?;
        let unit = label::unit_of(LABEL)
            .ok_or(ManagerError::Unexpected { what: "label", why: "it names no unit".to_owned() })?;
        Ok(Self { inspector: Inspector { launchctl, directories: [directory].into() }, unit })
    }

    pub async fn state(&self) -> Result<SelfState, ManagerError> {
        let seen = self.inspector.inspect(&self.unit, Detail { file: true, ..Detail::default() }).await?;
        let job = seen.job.as_ref();
        let trouble = seen.domain.zip(job).and_then(|(domain, job)| trouble(domain, job));
        Ok(SelfState {
            up: job.is_some(),
            ended: job.is_some_and(|job| !job.is_up() && job.runs > 0),
            disabled: seen.disabled,
            age: seen.age,
            trouble,
        })
    }

    /// Loads it again, and waits until it runs, even if it was disabled.
    pub async fn start(&self, deadline: Instant) -> Result<(), ManagerError> {
        const WHAT: &str = "the start";
        let order = Order { unit: &self.unit, restart: true, enable: true, deadline };
        match start(&self.inspector, None, order).await.outcome {
            // The caller waits until it is ready, and checks the result.
            Outcome::Done | Outcome::Failed(_) => Ok(()),
            Outcome::NotStarted(why) | Outcome::Refused(_, why) => Err(ManagerError::Refused { what: WHAT, why }),
            Outcome::Cancelled => {
                Err(ManagerError::Refused { what: WHAT, why: "it was taken out again meanwhile".to_owned() })
            }
            Outcome::Impossible(why) => Err(ManagerError::Refused { what: WHAT, why: why.to_string() }),
        }
    }

    /// Boots it out, and waits until it is gone.
    pub async fn stop(&self, deadline: Instant) -> Result<(), ManagerError> {
        for domain in self.inspector.launchctl.domains() {
            match self.inspector.launchctl.bootout(*domain, LABEL).await {
                Ok(())
                | Err(
                    Failure::NotLoaded
                    | Failure::NoDomain(_)
                    | Failure::Redundant
                    | Failure::InProgress
                    | Failure::Busy,
                ) => {}
                Err(failure) => return Err(("bootout", failure).into()),
            }
        }
        let mut waits = Waits::until(deadline);
        while self.inspector.job(&self.unit).await?.is_some() {
            if !waits.wait().await {
                return Err(ManagerError::Refused { what: "bootout", why: "it does not end".to_owned() });
            }
        }
        Ok(())
    }

    pub async fn enable(&self) -> Result<(), ManagerError> {
        // There is one such list for all domains of a user.
        let domain = self.inspector.launchctl.domains().last().copied().unwrap_or(Domain::System);
        self.inspector.launchctl.enable(domain, LABEL).await.map_err(|failure| ("enable", failure).into())
    }

    #[expect(clippy::unused_self, reason = "it is its log")]
    pub fn last_line(&self, log: &Path) -> Option<String> {
        tail::last_line(log)
    }
}

/// Why launchd puts off this job's start, or cannot start it.
fn trouble(domain: Domain, job: &Job) -> Option<Trouble> {
    let target = target(domain, LABEL);
    if job.spawn_failed {
        return Some(Trouble {
            what: "launchd cannot start its program any more (78: EX_CONFIG), as after an upgrade of it".to_owned(),
            remedy: "workerheal install".to_owned(),
        });
    }
    // It is kept alive, so it always should be up.
    job.is_idle().then(|| Trouble {
        what: match &job.pended {
            Some(why) => format!("launchd has put off its start until it is demanded (pended: {why})"),
            None => "launchd has not started it".to_owned(),
        },
        remedy: format!("launchctl kickstart {target}"),
    })
}
