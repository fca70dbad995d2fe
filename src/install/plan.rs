//! From what there is to what there is to do.

use std::path::PathBuf;

use super::{Host, Service};

/// One thing to do. Displays as a line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The file that describes the service is written.
    Write {
        /// Where.
        path: PathBuf,
        /// The program in it.
        runs: PathBuf,
    },
    /// The manager reads its files.
    Reload,
    /// The service is started at each login from now on.
    Enable,
    /// It is started now.
    Start,
    /// It is restarted now.
    Restart,
    /// It is stopped now.
    Stop,
    /// It is started at login no longer.
    Disable,
    /// A file or a directory is removed.
    Remove(PathBuf),
}

/// The file that describes the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// There is none.
    Missing,
    /// It says what it is to say.
    Same,
    /// It says something else: it is of another version, or of a program elsewhere.
    Other,
}

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each leads to a step of its own")]
pub struct Seen {
    /// Its file.
    pub file: Installed,
    /// It is started at login.
    pub enabled: bool,
    /// It is up, or on its way.
    pub up: bool,
    /// It counts as up, but the manager does not run it.
    pub stalled: bool,
    /// It is up, as a program that has been replaced since.
    pub outdated: bool,
}

pub(super) fn install<H: Host>(seen: Seen, host: &H) -> Vec<Step> {
    let Service { file, program, .. } = host.service();
    let mut steps = Vec::new();
    let writes = seen.file != Installed::Same;
    if writes {
        steps.push(Step::Write { path: file.clone(), runs: program.clone() });
    }
    steps.extend((!seen.enabled).then_some(Step::Enable));
    // Last, as enabling makes links: until systemd reads them, it warns of units that changed on disk.
    steps.extend((H::RELOADS && (writes || !seen.enabled)).then_some(Step::Reload));
    if !seen.up || seen.stalled {
        steps.push(Step::Start);
    } else if writes || seen.outdated {
        steps.push(Step::Restart);
    }
    steps
}

pub(super) fn uninstall<H: Host>(seen: Seen, host: &H, leftovers: &[PathBuf]) -> Vec<Step> {
    let file = &host.service().file;
    let mut steps = Vec::new();
    steps.extend(seen.up.then_some(Step::Stop));
    steps.extend((seen.enabled && seen.file != Installed::Missing).then_some(Step::Disable));
    if file.exists() {
        steps.push(Step::Remove(file.clone()));
        steps.extend(H::RELOADS.then_some(Step::Reload));
    }
    steps.extend(leftovers.iter().cloned().map(Step::Remove));
    steps
}
