//! What to do if no daemon answers: that depends on whether one is installed.

use std::borrow::Cow;

use tokio::task::spawn_blocking;

use super::daemon::{DaemonClient, DaemonError};
use crate::manager::Scope;
use crate::setup::{Options, Setup, SetupError};

impl DaemonClient {
    /// The daemon for these options, for operations that require one.
    ///
    /// # Errors
    ///
    /// If none answers there; says how to get one.
    pub async fn required(options: &Options) -> Result<Self, DaemonError> {
        match Self::connect(options).await {
            Err(DaemonError::Absent { socket, .. }) => {
                Err(DaemonError::Absent { socket, remedy: remedy(options).await })
            }
            answer => answer,
        }
    }
}

/// How to get a daemon that runs, as a clause with the command.
async fn remedy(options: &Options) -> Cow<'static, str> {
    let scope = options.scope;
    let of_the_daemon = Options { scope, ..Options::default() };
    let files = spawn_blocking(move || Setup::load(&of_the_daemon)).await;
    if let Ok(Err(SetupError::File(mistake))) = files {
        return format!("none can start before this is corrected: {mistake}").into();
    }
    Cow::Borrowed(match scope {
        _ if cfg!(target_os = "macos") => "install it with `workerheal install`",
        Scope::System if is_installed(scope).await => "start it with `sudo systemctl start workerheal`",
        Scope::System => "install it with `sudo workerheal --system install`",
        Scope::User if is_installed(scope).await => "start it with `systemctl --user start workerheal`",
        Scope::User => "install it with `workerheal install`",
    })
}

/// Whether there is a unit to start.
#[cfg(target_os = "linux")]
async fn is_installed(scope: Scope) -> bool {
    use crate::core::units::UnitName;
    use crate::manager::systemd::self_unit::SelfUnit;

    let Ok(name) = UnitName::parse("workerheal") else { return false };
    let state = async { SelfUnit::connect(name, scope).await?.state().await };
    // If the manager cannot be asked, installing would not help either.
    state.await.map_or(true, |state| !state.file.is_empty())
}

/// `install` also starts what is installed.
#[cfg(not(target_os = "linux"))]
async fn is_installed(_: Scope) -> bool {
    false
}
