//! From the current state to the steps.

use std::path::PathBuf;

use super::{Host, Service};

/// A step. Displays as a line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy the file that describes the service, before it is overwritten or removed.
    Keep {
        /// Its path.
        path: PathBuf,
        /// The path of the copy.
        copy: PathBuf,
    },
    /// Write the file that describes the service.
    Write {
        /// Its path.
        path: PathBuf,
        /// The program in it.
        runs: PathBuf,
    },
    /// Write one of the further files of the service.
    WriteMore(PathBuf),
    /// Create the accounts that it needs.
    Accounts,
    /// Make the manager read its files.
    Reload,
    /// Start the service from now on; says when.
    Enable(&'static str),
    /// Start it now.
    Start,
    /// Restart it now.
    Restart,
    /// Stop it now.
    Stop,
    /// No longer start it at login.
    Disable,
    /// Remove a file or a directory.
    Remove(PathBuf),
}

/// The state of the service's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// There is none.
    Missing,
    /// It has the intended content.
    Same,
    /// It has other content: of another version, or for another program.
    Other,
    /// `install` has not written it.
    Foreign,
}

/// The current state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each leads to a step of its own")]
pub struct Seen {
    /// Its file.
    pub file: Installed,
    /// Whether it is started at login.
    pub enabled: bool,
    /// Whether it is up, or coming up.
    pub up: bool,
    /// Whether it counts as up although the manager does not run it.
    pub stalled: bool,
    /// Whether it runs a program that has been replaced since.
    pub outdated: bool,
}

pub(super) fn install<H: Host>(seen: Seen, host: &H) -> Vec<Step> {
    let Service { file, program, .. } = host.service();
    let mut steps = Vec::new();
    let more: Vec<Step> = host.service().outdated().cloned().map(Step::WriteMore).collect();
    let writes_unit = seen.file != Installed::Same;
    let writes = writes_unit || !more.is_empty();
    steps.extend(keep(seen, host));
    if writes_unit {
        steps.push(Step::Write { path: file.clone(), runs: program.clone() });
    }
    steps.extend(more);
    steps.extend(host.lacks_accounts().then_some(Step::Accounts));
    steps.extend((!seen.enabled).then_some(Step::Enable(host.starts())));
    // Last, as enabling creates links: until systemd reads them, it warns about units that changed on disk.
    steps.extend((H::RELOADS && (writes || !seen.enabled)).then_some(Step::Reload));
    if !seen.up || seen.stalled {
        steps.push(Step::Start);
    } else if writes || seen.outdated {
        steps.push(Step::Restart);
    }
    steps
}

pub(super) fn uninstall<H: Host>(seen: Seen, host: &H, leftovers: &[PathBuf]) -> Vec<Step> {
    let Service { file, more, .. } = host.service();
    let mut steps = Vec::new();
    steps.extend(seen.up.then_some(Step::Stop));
    steps.extend((seen.enabled && seen.file != Installed::Missing).then_some(Step::Disable));
    steps.extend(keep(seen, host));
    let files = std::iter::once(file).chain(more.iter().map(|(path, _)| path)).filter(|path| path.exists());
    let removals: Vec<Step> = files.cloned().map(Step::Remove).collect();
    if !removals.is_empty() {
        steps.extend(removals);
        steps.extend(H::RELOADS.then_some(Step::Reload));
    }
    steps.extend(leftovers.iter().cloned().map(Step::Remove));
    steps
}

/// The step that saves a file which `install` has not written.
fn keep<H: Host>(seen: Seen, host: &H) -> Option<Step> {
    let Service { file, .. } = host.service();
    let copy = || Step::Keep { path: file.clone(), copy: host.service().copy() };
    (seen.file == Installed::Foreign).then(copy)
}
