//! The states that a unit can be in, under systemd's names.

/// `LoadState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadState {
    Loaded,
    NotFound,
    BadSetting,
    Masked,
}

impl LoadState {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::NotFound => "not-found",
            Self::BadSetting => "bad-setting",
            Self::Masked => "masked",
        }
    }
}

/// `ActiveState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActiveState {
    Inactive,
    Failed,
    Activating,
    Active,
    Reloading,
    Deactivating,
}

impl ActiveState {
    /// systemd's UNIT_IS_INACTIVE_OR_FAILED.
    #[must_use]
    pub fn is_down(self) -> bool {
        matches!(self, Self::Inactive | Self::Failed)
    }

    /// systemd's UNIT_IS_ACTIVE_OR_RELOADING.
    #[must_use]
    pub fn is_up(self) -> bool {
        matches!(self, Self::Active | Self::Reloading)
    }

    pub(super) fn is_down_or_deactivating(self) -> bool {
        self.is_down() || self == Self::Deactivating
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Failed => "failed",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Reloading => "reloading",
            Self::Deactivating => "deactivating",
        }
    }
}

/// `SubState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubState {
    Dead,
    Failed,
    StartPre,
    Start,
    Running,
    Exited,
    Reload,
    /// Of a target or slice.
    Active,
    /// Of a timer.
    Waiting,
    Elapsed,
    /// Of a socket. A timer or socket whose service was triggered is [`SubState::Running`].
    Listening,
    StopSigterm,
    StopSigkill,
    AutoRestart,
}

impl SubState {
    #[must_use]
    pub fn active(self) -> ActiveState {
        match self {
            Self::Dead => ActiveState::Inactive,
            Self::Failed => ActiveState::Failed,
            Self::StartPre | Self::Start | Self::AutoRestart => ActiveState::Activating,
            Self::Running | Self::Exited | Self::Active | Self::Waiting | Self::Elapsed | Self::Listening => {
                ActiveState::Active
            }
            Self::Reload => ActiveState::Reloading,
            Self::StopSigterm | Self::StopSigkill => ActiveState::Deactivating,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Failed => "failed",
            Self::StartPre => "start-pre",
            Self::Start => "start",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Reload => "reload",
            Self::Active => "active",
            Self::Waiting => "waiting",
            Self::Elapsed => "elapsed",
            Self::Listening => "listening",
            Self::StopSigterm => "stop-sigterm",
            Self::StopSigkill => "stop-sigkill",
            Self::AutoRestart => "auto-restart",
        }
    }
}

/// `Result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceResult {
    Success,
    ExitCode,
    Signal,
    Timeout,
    StartLimitHit,
    Protocol,
    Resources,
    /// Of a socket.
    ServiceStartLimitHit,
}

impl ServiceResult {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ExitCode => "exit-code",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::StartLimitHit => "start-limit-hit",
            Self::Protocol => "protocol",
            Self::Resources => "resources",
            Self::ServiceStartLimitHit => "service-start-limit-hit",
        }
    }
}
