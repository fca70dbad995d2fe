//! What launchd says about a job, for users: in its own words, and explained where the sentences for systemd would be
//! wrong.

use super::answers::End;
use super::plist::File;
use super::seen::{Seen, is_put_off, meant};
use super::starts::Meant;
use crate::core::units::Said;

/// Describes a job.
pub(super) fn said(seen: &Seen) -> Said {
    let Some(job) = &seen.job else {
        return Said { evidence: "it is not loaded".to_owned(), ..Said::default() };
    };
    let mut evidence = vec![format!("state = {}", job.state)];
    evidence.extend(job.pended.as_ref().map(|why| format!("pended nondemand spawn = {why}")));
    evidence.extend(match &job.end {
        _ if job.is_up() => None,
        End::Never => Some("(never exited)".to_owned()),
        End::Code(code) => Some(format!("last exit code = {code}")),
        End::Signal(signal) => Some(format!("last terminating signal = {signal}")),
        End::Reason(reason) => Some(format!("last exit reason = {reason}")),
        End::Unknown => None,
    });
    let agent = seen.file.agent();
    let meant = meant(job, agent);
    let finding = if job.spawn_failed {
        Some("launchd cannot start its program any more, as after an upgrade of it; it has to be loaded anew")
    } else if is_put_off(job, agent) {
        Some("it is to run, and launchd has put off its start until it is demanded")
    } else {
        None
    };
    let left_to = match meant {
        _ if agent.is_some_and(|agent| agent.by_podman) => Some("podman runs it, not launchd".to_owned()),
        _ if seen.file == File::None => Some("an app registered it with launchd, not a file".to_owned()),
        Meant::Condition(key) if job.is_idle() => Some(format!("launchd starts it once its {key} holds")),
        Meant::Trigger(key) if job.is_idle() => Some(format!("launchd starts it for its {key}")),
        _ => None,
    };
    Said { evidence: evidence.join(", "), finding: finding.map(str::to_owned), left_to }
}
