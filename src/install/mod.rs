//! Installs workerheal as a service of the calling user, or of the system, and uninstalls it.
//!
//! The steps are planned first, as a list of [`Step`]s that can be shown, and then performed through the service
//! manager's own interface. What is right already is no step, so that installing twice does nothing, and an upgrade
//! changes only what differs. The files are those of `packaging/`, with the path of the running program.
//!
//! - [`plan`]: from the current state to the steps.
//! - [`systemd`], [`launchd`]: the unit and the agent.
//! - [`polkit`]: the rule that lets the service of the system start units.

pub mod launchd;
mod plan;
pub mod polkit;
#[cfg(target_os = "linux")]
pub mod systemd;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::manager::{ManagerError, Scope};
use crate::setup::{self, Options};

pub use plan::{Installed, Seen, Step};

/// How long the service may take to come up.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How often it is checked meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The host of this platform.
#[cfg(target_os = "linux")]
pub type Native = systemd::ServiceUnit;
/// The host of this platform.
#[cfg(not(target_os = "linux"))]
pub type Native = launchd::Agent;

/// Why it cannot be installed or uninstalled.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The configuration it would run with has an error.
    #[error(transparent)]
    Setup(#[from] setup::SetupError),
    /// The service manager cannot be reached, or refuses a step.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// Where launchd manages services, only those of users are installed.
    #[error("install works for your own user only")]
    System,
    /// A service of the system is for root to install.
    #[error("a service of the system is installed and uninstalled by root: sudo workerheal --system ...")]
    NotRoot,
    /// The service of the system runs as a user of its own, and its program belongs to root.
    #[error(
        "the service of the system cannot run {program}: {why}; copy it first: sudo install -m 755 {program} \
         /usr/local/bin/workerheal, and let that install it"
    )]
    Private {
        /// The program.
        program: String,
        /// What is wrong with its place.
        why: String,
    },
    /// The accounts of the service cannot be created.
    #[error("cannot create the user workerheal and its groups: {0}")]
    Accounts(String),
    /// The path of the service's file is unknown.
    #[error("cannot tell where your files are; set $HOME")]
    NoHome,
    /// The path of the running program is unknown, or unusable for a service.
    #[error("cannot tell which program to run as the service: {0}")]
    Program(String),
    /// The file is a link, so it is managed elsewhere.
    #[error("{} is a link, so it is managed elsewhere; change what it points to, or remove it", .0.display())]
    Link(PathBuf),
    /// The user has masked it.
    #[error("workerheal.service is masked; to let it run: {0}")]
    Masked(&'static str),
    /// A file cannot be written or removed.
    #[error("cannot {what} {}: {why}", path.display())]
    File {
        /// The operation that failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        why: io::Error,
    },
    /// It was started, but is not up.
    #[error("it did not come up: {why}; its log: {log}")]
    Down {
        /// Its last log line.
        why: String,
        /// The command that shows its log.
        log: String,
    },
}

/// The service to install.
#[derive(Debug)]
pub struct Service {
    /// The file that describes it.
    pub file: PathBuf,
    /// The content of that file.
    pub text: String,
    /// What is in such a file of every version, and hardly in one that a person wrote.
    pub mark: &'static str,
    /// The program that it runs.
    pub program: PathBuf,
    /// Further files that it needs, with their content.
    pub more: Vec<(PathBuf, String)>,
}

impl Service {
    /// The state of its file.
    fn installed(&self) -> Installed {
        match fs::read(&self.file) {
            Ok(text) if text == self.text.as_bytes() => Installed::Same,
            Ok(text) if String::from_utf8_lossy(&text).contains(self.mark) => Installed::Other,
            Ok(_) => Installed::Foreign,
            Err(_) => Installed::Missing,
        }
    }

    /// The name of a copy of the file that does not exist yet.
    fn copy(&self) -> PathBuf {
        let with = |suffix: &str| {
            let mut path = self.file.clone().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        let (mut path, mut number) = (with(".bak"), 1);
        while fs::symlink_metadata(&path).is_ok() {
            number += 1;
            path = with(&format!(".bak{number}"));
        }
        path
    }

    /// Further files that are missing, or have other content.
    fn outdated(&self) -> impl Iterator<Item = &PathBuf> {
        let differs = |(path, text): &&(PathBuf, String)| fs::read_to_string(path).ok().as_ref() != Some(text);
        self.more.iter().filter(differs).map(|(path, _)| path)
    }
}

/// The service manager's operations for one service.
pub trait Host {
    /// The current state, compared to the intended one.
    fn inspect(&self) -> impl Future<Output = Result<Seen, InstallError>>;

    /// The service to install.
    fn service(&self) -> &Service;

    /// Whether the manager has to be told about changed files.
    const RELOADS: bool;

    /// Performs one of the manager's own steps: no files are written here.
    fn perform(&self, step: &Step) -> impl Future<Output = Result<(), InstallError>>;

    /// Waits until it is up, and returns its status.
    fn wait_until_up(&self) -> impl Future<Output = Result<String, InstallError>>;

    /// When it is started, once it is enabled.
    fn starts(&self) -> &'static str {
        "at each login"
    }

    /// Whether accounts that it needs are missing.
    fn lacks_accounts(&self) -> bool {
        false
    }

    /// The command that shows its log.
    fn log_command(&self) -> String;

    /// Further existing files of the service: its logs.
    fn leftovers(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What remains in any case, and how to remove it, if anything.
    fn remains(&self) -> Option<String> {
        None
    }

    /// A note for the user, if any.
    fn hint(&self) -> impl Future<Output = Option<String>>;
}

/// The steps to install it; none if it is installed.
///
/// # Errors
///
/// If the service manager cannot be reached, or something prevents it.
pub async fn to_install(host: &impl Host) -> Result<Vec<Step>, InstallError> {
    let seen = host.inspect().await?;
    let file = &host.service().file;
    let is_link = fs::symlink_metadata(file).is_ok_and(|data| data.is_symlink());
    if is_link && seen.file != Installed::Same {
        return Err(InstallError::Link(file.clone()));
    }
    Ok(plan::install(seen, host))
}

/// The steps to uninstall it; none if it is not installed. `leftovers` are removed too.
///
/// # Errors
///
/// If the service manager cannot be reached.
pub async fn to_uninstall(host: &impl Host, leftovers: &[PathBuf]) -> Result<Vec<Step>, InstallError> {
    Ok(plan::uninstall(host.inspect().await?, host, leftovers))
}

/// Performs a step.
///
/// # Errors
///
/// If it fails.
pub async fn perform(host: &impl Host, step: &Step) -> Result<(), InstallError> {
    match step {
        Step::Write { path, .. } => write(path, &host.service().text).map_err(|why| failed("write", path, why)),
        Step::Keep { path, copy } => fs::copy(path, copy).map(drop).map_err(|why| failed("copy", path, why)),
        Step::WriteMore(path) => {
            let text = host.service().more.iter().find(|(file, _)| file == path).map_or("", |(_, text)| text);
            write(path, text).map_err(|why| failed("write", path, why))
        }
        Step::Remove(path) => match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        }
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .map_err(|why| failed("remove", path, why)),
        Step::Accounts | Step::Reload | Step::Enable(_) | Step::Start | Step::Restart | Step::Stop | Step::Disable => {
            host.perform(step).await
        }
    }
}

/// Existing directories of configuration and state that belong to the service.
///
/// # Errors
///
/// If their paths are unknown.
pub fn leftovers(scope: Scope) -> Result<Vec<PathBuf>, InstallError> {
    let paths = Options { scope, ..Options::default() }.paths()?;
    let directories = [paths.config, paths.state].into_iter().filter_map(|path| path.parent().map(Path::to_owned));
    Ok(directories.filter(|path| path.exists()).collect())
}

/// The command line of the service: this program, with the files that the options name.
///
/// # Errors
///
/// If the path of this program is unknown.
pub fn command(options: &Options) -> Result<(PathBuf, Vec<String>), InstallError> {
    let program = std::env::current_exe().map_err(|error| InstallError::Program(error.to_string()))?;
    if !program.is_file() {
        return Err(InstallError::Program(format!("{} is gone", program.display())));
    }
    let mut arguments = Vec::new();
    if options.scope == Scope::System {
        arguments.push("--system".to_owned());
    }
    for (name, path) in [("--config", &options.config), ("--sites", &options.sites)] {
        let Some(path) = path else { continue };
        let path = std::path::absolute(path).map_err(|why| failed("find", path, why))?;
        arguments.extend([name.to_owned(), as_text(path.into())?]);
    }
    as_text(program.clone().into())?;
    Ok((program, arguments))
}

/// Arguments in the file have to be text of one line.
fn as_text(path: OsString) -> Result<String, InstallError> {
    let text = path.into_string().map_err(|path| InstallError::Program(format!("{} is no text", path.display())))?;
    if text.chars().any(char::is_control) {
        return Err(InstallError::Program(format!("{text:?} has control characters")));
    }
    Ok(text)
}

/// Writes the whole file, or nothing.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })
}

fn failed(what: &'static str, path: &Path, why: io::Error) -> InstallError {
    InstallError::File { what, path: path.to_owned(), why }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, .. } | Self::WriteMore(path) => write!(f, "write    {}", path.display()),
            Self::Keep { path, copy } => {
                let name = copy.file_name().unwrap_or_default().display();
                write!(f, "keep     {} as {name}, as it is not of workerheal's making", path.display())
            }
            Self::Accounts => {
                f.write_str("create   the user workerheal, the groups workerheal and workerheal-operators")
            }
            Self::Reload => f.write_str("reload   the service manager's files"),
            Self::Enable(when) => write!(f, "enable   workerheal, {when}"),
            Self::Start => f.write_str("start    workerheal"),
            Self::Restart => f.write_str("restart  workerheal, as what it runs is another now"),
            Self::Stop => f.write_str("stop     workerheal"),
            Self::Disable => f.write_str("disable  workerheal"),
            Self::Remove(path) => write!(f, "remove   {}", path.display()),
        }
    }
}
