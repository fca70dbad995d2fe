//! Errors of the daemon's client.

use std::borrow::Cow;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

use crate::core::target::UnknownTarget;
use crate::core::text;

/// Why the daemon did not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DaemonError {
    /// No daemon is running.
    #[error("no daemon answers at {}; {remedy}", text::path(socket))]
    Absent {
        /// The path of the socket.
        socket: PathBuf,
        /// What to do about it, as a clause with the command.
        remedy: Cow<'static, str>,
    },
    /// It ended, or does not follow the protocol.
    #[error("the daemon at {} did not answer: {why}", text::path(socket))]
    Broken {
        /// The path of the socket.
        socket: PathBuf,
        /// What happened.
        why: String,
    },
    /// It refused the request; says why.
    #[error("{error}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Why, as one sentence.
        error: String,
    },
    /// A target names no covered worker.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
}

impl DaemonError {
    /// The daemon at this socket ended, or does not follow the protocol.
    pub(super) fn broken(socket: &Path, why: &dyn Display) -> Self {
        Self::Broken { socket: socket.to_owned(), why: why.to_string() }
    }

    /// Whether the daemon knows nothing of that name.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if *status == StatusCode::NOT_FOUND.as_u16())
    }

    /// Whether the daemon, or what it needs, cannot be reached, rather than the request being wrong.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => *status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            Self::Target(_) => false,
        }
    }
}
