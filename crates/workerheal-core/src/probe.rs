//! Health probes: what they ask, and what the answers mean.
//!
//! Only a definite refusal counts against a worker: three in a row, and not before it has had time to get ready.
//! Everything else is inconclusive: a file that is missing or older than the worker's start, a name that cannot be
//! resolved, a timeout.

use std::path::PathBuf;
use std::time::Duration;

/// Number of refusals in a row after which a worker counts as unreachable.
pub const REFUSALS: u32 = 3;

/// How to probe a worker that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Connect to this `host:port`.
    Tcp(String),
    /// Connect to the URL in this file, which the worker writes when it starts. A relative path is below the worker's
    /// directory.
    UrlFile(PathBuf),
    /// The same, with a file that must be inside the worker's directory, links resolved: for paths that the user did
    /// not configure.
    UrlFileWithin(PathBuf),
}

/// The result of a health probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// What became of the connection.
    pub answer: ProbeAnswer,
    /// How long the worker had been up; `None` if that is unknown, or it is down.
    pub up_for: Option<Duration>,
    /// The age of the file with the address.
    pub file_age: Option<Duration>,
}

/// The outcome of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// Accepted.
    Accepted,
    /// Refused (`ECONNREFUSED`) at this address.
    Refused(String),
    /// Neither, or there was no address to connect to; says why.
    Unknown(String),
}

/// What the result of a probe means for the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// It is healthy.
    Reachable,
    /// It refuses connections at this address, although it has had time to get ready.
    Refused(String),
    /// Inconclusive; says why.
    Nothing(String),
}

impl ProbeResult {
    /// What this means for a worker that may take `grace` to get ready.
    #[must_use]
    pub fn verdict(&self, grace: Duration) -> ProbeVerdict {
        match (&self.answer, self.up_for) {
            (ProbeAnswer::Accepted, _) => ProbeVerdict::Reachable,
            (ProbeAnswer::Unknown(why), _) => ProbeVerdict::Nothing(why.clone()),
            (ProbeAnswer::Refused(_), None) => {
                ProbeVerdict::Nothing("it is not known for how long it has been up".to_owned())
            }
            (ProbeAnswer::Refused(_), Some(up_for)) if up_for < grace => {
                ProbeVerdict::Nothing("it has only just come up".to_owned())
            }
            (ProbeAnswer::Refused(_), Some(up_for)) if self.file_age.is_some_and(|age| age > up_for) => {
                ProbeVerdict::Nothing("the file with its address is older than its start".to_owned())
            }
            (ProbeAnswer::Refused(place), Some(_)) => ProbeVerdict::Refused(place.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_after_the_time_to_get_ready_and_of_its_own_address_counts() {
        let second = Duration::from_secs(1);
        let refused =
            ProbeResult { answer: ProbeAnswer::Refused("x:1".into()), up_for: Some(60 * second), file_age: None };
        assert_eq!(refused.verdict(10 * second), ProbeVerdict::Refused("x:1".into()));
        for nothing in [
            ProbeResult { up_for: Some(9 * second), ..refused.clone() },
            ProbeResult { up_for: None, ..refused.clone() },
            ProbeResult { file_age: Some(61 * second), ..refused.clone() },
            ProbeResult { answer: ProbeAnswer::Unknown("?".into()), ..refused.clone() },
        ] {
            assert!(matches!(nothing.verdict(10 * second), ProbeVerdict::Nothing(_)), "{nothing:?}");
        }
        let fresh = ProbeResult { file_age: Some(59 * second), ..refused.clone() };
        assert!(matches!(fresh.verdict(10 * second), ProbeVerdict::Refused(_)));
        assert_eq!(
            ProbeResult { answer: ProbeAnswer::Accepted, ..refused }.verdict(10 * second),
            ProbeVerdict::Reachable
        );
    }
}
