//! Why the daemon did not do something.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use hyper::StatusCode;

use crate::core::target::UnknownTarget;
use crate::core::text;

/// Why the daemon did not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DaemonError {
    /// There is none.
    #[error("no daemon answers at {}; start it with `{start}`", text::path(socket))]
    Absent {
        /// Where it was looked for.
        socket: PathBuf,
        /// How to start it.
        start: &'static str,
    },
    /// It ended, or does not keep to what was agreed.
    #[error("the daemon at {} did not answer: {why}", text::path(socket))]
    Broken {
        /// Where it was asked.
        socket: PathBuf,
        /// What happened.
        why: String,
    },
    /// It refused; says why.
    #[error("{error}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Why, as one sentence.
        error: String,
    },
    /// No covered worker was named.
    #[error(transparent)]
    Target(#[from] UnknownTarget),
}

impl DaemonError {
    /// The daemon at this socket ended, or does not keep to the protocol.
    pub(super) fn broken(socket: &Path, why: &dyn Display) -> Self {
        Self::Broken { socket: socket.to_owned(), why: why.to_string() }
    }

    /// Whether it is the daemon, or what it needs, that cannot be reached, rather than the question
    /// that is wrong.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Absent { .. } | Self::Broken { .. } => true,
            Self::Refused { status, .. } => *status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
            Self::Target(_) => false,
        }
    }
}
