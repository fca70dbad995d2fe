//! How a worker that is held gets another inspection: with a reload, or from time to time.

use crate::diagnosis::Refusal;

impl Refusal {
    /// Whether a reload of the manager's files may have removed the reason.
    pub(super) fn may_pass_with_a_reload(&self) -> bool {
        match self {
            Self::Disabled
            | Self::Masked
            | Self::ParentDown(_)
            | Self::ConflictUp(_)
            | Self::LeftToTrigger(_)
            | Self::OneshotEnded
            | Self::JobPending
            | Self::Declined(_)
            | Self::Forbidden(_)
            | Self::Unreadable(_) => true,
            Self::StopMarker
            | Self::Paused(_)
            | Self::SitePaused(_)
            | Self::WorkerPaused(_)
            | Self::IdleSuspended(_)
            | Self::Stuck(..)
            | Self::StopUnknown(_)
            | Self::CrashLooping(_)
            | Self::DirectoryGone(_)
            | Self::StateNotHealed(_) => false,
        }
    }

    /// Whether no signal or list shows that the reason is gone, so that the worker is inspected from time to time.
    pub(super) fn needs_rechecks(&self) -> bool {
        match self {
            Self::Disabled | Self::DirectoryGone(_) | Self::LeftToTrigger(_) => true,
            Self::StopMarker
            | Self::Paused(_)
            | Self::SitePaused(_)
            | Self::WorkerPaused(_)
            | Self::IdleSuspended(_)
            | Self::Masked
            | Self::JobPending
            | Self::ParentDown(_)
            | Self::ConflictUp(_)
            | Self::OneshotEnded
            | Self::Stuck(..)
            | Self::StopUnknown(_)
            | Self::CrashLooping(_)
            | Self::StateNotHealed(_)
            | Self::Declined(_)
            | Self::Forbidden(_)
            | Self::Unreadable(_) => false,
        }
    }
}
