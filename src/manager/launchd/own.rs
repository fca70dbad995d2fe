//! The calls that concern workerheal's own job: it is installed and taken away through them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::launchctl::{Failure, Launchctl};
use super::look::Eyes;
use super::start::{Waits, start};
use super::{LABEL, label, tail};
use crate::core::healer::Outcome;
use crate::core::units::{Detail, UnitName};
use crate::manager::{ManagerError, Scope};

/// workerheal's own job.
#[derive(Debug, Clone)]
pub(crate) struct OwnJob {
    eyes: Eyes,
    unit: UnitName,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OwnState {
    /// It is loaded: launchd sees to it that it runs.
    pub up: bool,
    /// It is loaded, and its process has ended.
    pub ended: bool,
    pub disabled: bool,
    /// For how long its process has existed.
    pub age: Option<Duration>,
}

impl OwnJob {
    pub async fn connect(program: &Path, directory: PathBuf) -> Result<Self, ManagerError> {
        let launchctl = Launchctl::connect(program, Scope::User, LABEL).await?;
        let unit = label::unit_of(LABEL)
            .ok_or(ManagerError::Unexpected { what: "label", why: "it names no unit".to_owned() })?;
        Ok(Self { eyes: Eyes { launchctl, directories: [directory].into() }, unit })
    }

    pub async fn state(&self) -> Result<OwnState, ManagerError> {
        let seen = self.eyes.look(&self.unit, Detail { file: true, ..Detail::default() }).await?;
        let job = seen.job.as_ref();
        Ok(OwnState {
            up: job.is_some(),
            ended: job.is_some_and(|job| !job.is_up() && job.runs > 0),
            // Taken out, it is left disabled, so that says nothing then.
            disabled: job.is_some() && seen.disabled,
            age: seen.age,
        })
    }

    /// Loads it anew, and waits until it runs.
    pub async fn start(&self, deadline: Instant) -> Result<(), ManagerError> {
        const WHAT: &str = "the start";
        match start(&self.eyes, None, &self.unit, true, deadline).await.outcome {
            // What has become of it is for whoever waits until it is ready.
            Outcome::Done | Outcome::Failed(_) => Ok(()),
            Outcome::NotStarted(why) | Outcome::Refused(_, why) => Err(ManagerError::Refused { what: WHAT, why }),
            Outcome::Cancelled => {
                Err(ManagerError::Refused { what: WHAT, why: "somebody took it out again".to_owned() })
            }
            Outcome::Impossible(why) => Err(ManagerError::Refused { what: WHAT, why: why.to_string() }),
        }
    }

    /// Takes it out, and waits until it is gone.
    pub async fn stop(&self, deadline: Instant) -> Result<(), ManagerError> {
        match self.eyes.launchctl.bootout(LABEL).await {
            Ok(()) | Err(Failure::NotLoaded | Failure::Redundant | Failure::InProgress | Failure::Busy) => {}
            Err(failure) => return Err(("bootout", failure).into()),
        }
        let mut waits = Waits::until(deadline);
        while self.eyes.job(&self.unit).await?.is_some() {
            if !waits.wait().await {
                return Err(ManagerError::Refused { what: "bootout", why: "it does not end".to_owned() });
            }
        }
        Ok(())
    }

    pub async fn enable(&self) -> Result<(), ManagerError> {
        self.eyes.launchctl.enable(LABEL).await.map_err(|failure| ("enable", failure).into())
    }

    #[expect(clippy::unused_self, reason = "it is its log")]
    pub fn last_line(&self, log: &Path) -> Option<String> {
        tail::last_line(log)
    }
}
