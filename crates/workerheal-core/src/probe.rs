//! Health probes: what a worker is asked, and what the answers mean.
//!
//! Only a definite refusal speaks against a worker, three of them in a row, and not before it has
//! had time to get ready. Whatever else happens says nothing: a file that is missing or older than
//! the worker's start, a name that cannot be resolved, an answer that takes too long.

use std::path::PathBuf;
use std::time::Duration;

/// So many refusals in a row, and the worker counts as unreachable.
pub const REFUSALS: u32 = 3;

/// How to ask a worker that is up whether it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether it accepts connections at this `host:port`.
    Tcp(String),
    /// Whether it accepts connections at the URL in this file, which it writes when it starts. A
    /// path that is not absolute is one below the worker's directory.
    UrlFile(PathBuf),
    /// The same, of a file that has to be inside of the worker's directory, links included: for paths that are not
    /// the user's own words.
    UrlFileWithin(PathBuf),
}

/// What was seen when the worker was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// Its answer.
    pub answer: ProbeAnswer,
    /// For how long it had been up; `None` if that is not known, or it is not.
    pub up_for: Option<Duration>,
    /// How old the file with its address was.
    pub file_age: Option<Duration>,
}

/// What became of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// It was accepted.
    Accepted,
    /// It was refused (`ECONNREFUSED`): nobody listens. Says where.
    Refused(String),
    /// Neither, or there was nothing to connect to; says why.
    Unknown(String),
}

/// What a sighting says of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeVerdict {
    /// It is well.
    Reachable,
    /// Nobody listens, though it has had time; says where.
    Refused(String),
    /// Nothing; says why.
    Nothing(String),
}

impl ProbeResult {
    /// What this says of a worker that may take `grace` to get ready.
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
