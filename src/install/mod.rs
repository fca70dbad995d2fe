//! Installs workerheal as a service of the calling user, and uninstalls it.
//!
//! The steps are planned first, as a list of [`Step`]s that can be shown, and then performed through the service
//! manager's own interface. What is right already is no step, so that installing twice does nothing, and an upgrade
//! changes only what differs. The files are those of `packaging/`, with the path of the running program.
//!
//! - [`plan`]: from the current state to the steps.
//! - [`systemd`], [`launchd`]: the unit and the agent.

pub mod launchd;
mod plan;
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
pub type Native = systemd::UserUnit;
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
    /// Only services of users are installed.
    #[error(
        "install works for your own user only; for units of the system, let a unit of your own run `workerheal --system daemon`"
    )]
    System,
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
    #[error("workerheal.service is masked; to let it run: systemctl --user unmask workerheal")]
    Masked,
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
    /// The program that it runs.
    pub program: PathBuf,
}

impl Service {
    /// The state of its file.
    fn installed(&self) -> Installed {
        match fs::read_to_string(&self.file) {
            Ok(text) if text == self.text => Installed::Same,
            Ok(_) => Installed::Other,
            Err(_) => Installed::Missing,
        }
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
        Step::Remove(path) => match fs::symlink_metadata(path) {
            Ok(data) if data.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(error) => Err(error),
        }
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .map_err(|why| failed("remove", path, why)),
        Step::Reload | Step::Enable | Step::Start | Step::Restart | Step::Stop | Step::Disable => {
            host.perform(step).await
        }
    }
}

/// Existing directories of configuration and state that belong to the service.
///
/// # Errors
///
/// If their paths are unknown.
pub fn leftovers() -> Result<Vec<PathBuf>, InstallError> {
    let paths = Options::default().paths()?;
    let directories = [paths.config, paths.state].into_iter().filter_map(|path| path.parent().map(Path::to_owned));
    Ok(directories.filter(|path| path.exists()).collect())
}

/// The command line of the service: this program, with the files that the options name.
///
/// # Errors
///
/// If the options are for the system, or the path of this program is unknown.
pub fn command(options: &Options) -> Result<(PathBuf, Vec<String>), InstallError> {
    if options.scope == Scope::System {
        return Err(InstallError::System);
    }
    let program = std::env::current_exe().map_err(|error| InstallError::Program(error.to_string()))?;
    if !program.is_file() {
        return Err(InstallError::Program(format!("{} is gone", program.display())));
    }
    let mut arguments = Vec::new();
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
            Self::Write { path, .. } => write!(f, "write    {}", path.display()),
            Self::Reload => f.write_str("reload   the service manager's files"),
            Self::Enable => f.write_str("enable   workerheal, at each login"),
            Self::Start => f.write_str("start    workerheal"),
            Self::Restart => f.write_str("restart  workerheal, as what it runs is another now"),
            Self::Stop => f.write_str("stop     workerheal"),
            Self::Disable => f.write_str("disable  workerheal"),
            Self::Remove(path) => write!(f, "remove   {}", path.display()),
        }
    }
}
