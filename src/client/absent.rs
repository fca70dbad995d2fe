//! What to do if no daemon answers: that depends on whether one is installed.

use std::borrow::Cow;
use std::path::PathBuf;

use tokio::task::spawn_blocking;

use super::daemon::{DaemonClient, DaemonError};
use crate::core::text;
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
    let (start, install) = match scope {
        Scope::User => ("systemctl --user start workerheal", "workerheal install"),
        Scope::System => ("sudo systemctl start workerheal", "sudo workerheal --system install"),
    };
    match own_unit(scope).await {
        OwnUnit::Absent => format!("install it with `{install}`"),
        OwnUnit::WithoutProgram(program) => {
            format!("its program {} is gone, install it again with `{install}`", text::path(&program))
        }
        OwnUnit::Complete => format!("start it with `{start}`"),
    }
    .into()
}

/// What could be started.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "`install` also starts what is installed"))]
enum OwnUnit {
    /// There is no unit.
    Absent,
    /// There is one, and the program that it runs is gone.
    WithoutProgram(PathBuf),
    /// There is one.
    Complete,
}

#[cfg(target_os = "linux")]
async fn own_unit(scope: Scope) -> OwnUnit {
    use crate::core::units::UnitName;
    use crate::manager::systemd::self_unit::SelfUnit;

    let Ok(name) = UnitName::parse("workerheal") else { return OwnUnit::Absent };
    let state = async {
        let unit = SelfUnit::connect(name, scope).await?;
        tokio::try_join!(unit.state(), unit.missing_program())
    };
    match state.await {
        Ok((state, _)) if state.file.is_empty() => OwnUnit::Absent,
        Ok((_, Some(program))) => OwnUnit::WithoutProgram(program),
        // If the manager cannot be asked, installing would not help either.
        Ok((_, None)) | Err(_) => OwnUnit::Complete,
    }
}

/// `install` also starts what is installed.
#[cfg(not(target_os = "linux"))]
async fn own_unit(_: Scope) -> OwnUnit {
    OwnUnit::Absent
}
