//! Installs workerheal as a service of the calling user, and takes it away again.
//!
//! What there is to do is worked out first, as a list of [`Step`]s that can be shown; then each is done,
//! through the service manager's own interface. What is as it should be is no step, so to install twice
//! does nothing, and to install a newer workerheal over an older one does just what differs. The files
//! that are written are those of `packaging/`, with the path of the running program.
//!
//! - [`plan`]: from what there is to what there is to do.
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
/// How often it is looked at meanwhile.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The host of this platform.
#[cfg(target_os = "linux")]
pub type Native = systemd::UserUnit;
/// The host of this platform.
#[cfg(not(target_os = "linux"))]
pub type Native = launchd::Agent;

/// Why it cannot be installed, or taken away.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What it would run with is wrong already.
    #[error(transparent)]
    Setup(#[from] setup::SetupError),
    /// The service manager cannot be reached, or refuses something.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// Only users' services are installed.
    #[error(
        "install works for your own user only; for units of the system, let a unit of your own run `workerheal --system daemon`"
    )]
    System,
    /// It is not known where the file belongs.
    #[error("cannot tell where your files are; set $HOME")]
    NoHome,
    /// The path of the running program is not known, or none that a service can run.
    #[error("cannot tell which program to run as the service: {0}")]
    Program(String),
    /// Somebody else decides what is in the file.
    #[error("{} is a link, so somebody else takes care of it; change what it points to, or remove it", .0.display())]
    Link(PathBuf),
    /// The user has masked it.
    #[error("workerheal.service is masked; to let it run: systemctl --user unmask workerheal")]
    Masked,
    /// A file cannot be written or removed.
    #[error("cannot {what} {}: {why}", path.display())]
    File {
        /// What was to be done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// It was started, and is not up.
    #[error("it did not come up: {why}; its log: {log}")]
    Down {
        /// Its last words.
        why: String,
        /// The command that shows its log.
        log: String,
    },
}

/// A service as it is to be.
#[derive(Debug)]
pub struct Service {
    /// The file that describes it.
    pub file: PathBuf,
    /// What that is to say.
    pub text: String,
    /// The program that it runs.
    pub program: PathBuf,
}

impl Service {
    /// How its file is.
    fn installed(&self) -> Installed {
        match fs::read_to_string(&self.file) {
            Ok(text) if text == self.text => Installed::Same,
            Ok(_) => Installed::Other,
            Err(_) => Installed::Missing,
        }
    }
}

/// The service manager, as far as one service is concerned.
pub trait Host {
    /// What there is now, compared to what there is to be.
    fn inspect(&self) -> impl Future<Output = Result<Seen, InstallError>>;

    /// The service as it is to be.
    fn service(&self) -> &Service;

    /// Whether the manager has to be told that a file has changed.
    const RELOADS: bool;

    /// Has the manager do a step that is its own: no files are written here.
    fn perform(&self, step: &Step) -> impl Future<Output = Result<(), InstallError>>;

    /// Waits until it is up, and returns what it says of itself.
    fn wait_until_up(&self) -> impl Future<Output = Result<String, InstallError>>;

    /// The command that shows its log.
    fn log_command(&self) -> String;

    /// What it has written besides, as far as that exists: its logs.
    fn leftovers(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What stays behind in any case, and how it is removed, if there is such a thing.
    fn remains(&self) -> Option<String> {
        None
    }

    /// What its user may want to know, if anything.
    fn hint(&self) -> impl Future<Output = Option<String>>;
}

/// What there is to do to have it installed; nothing if it is.
///
/// # Errors
///
/// If the service manager cannot be reached, or something stands in the way.
pub async fn to_install(host: &impl Host) -> Result<Vec<Step>, InstallError> {
    let seen = host.inspect().await?;
    let file = &host.service().file;
    let is_link = fs::symlink_metadata(file).is_ok_and(|data| data.is_symlink());
    if is_link && seen.file != Installed::Same {
        return Err(InstallError::Link(file.clone()));
    }
    Ok(plan::install(seen, host))
}

/// What there is to do to have it gone; nothing if it is. `leftovers` are removed too.
///
/// # Errors
///
/// If the service manager cannot be reached.
pub async fn to_uninstall(host: &impl Host, leftovers: &[PathBuf]) -> Result<Vec<Step>, InstallError> {
    Ok(plan::uninstall(host.inspect().await?, host, leftovers))
}

/// Does one step.
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

/// The directories of configuration and state that are the service's own, as far as they exist.
///
/// # Errors
///
/// If it is not known where they are.
pub fn leftovers() -> Result<Vec<PathBuf>, InstallError> {
    let paths = Options::default().paths()?;
    let directories = [paths.config, paths.state].into_iter().filter_map(|path| path.parent().map(Path::to_owned));
    Ok(directories.filter(|path| path.exists()).collect())
}

/// What the service runs: this program, with the files that the options name.
///
/// # Errors
///
/// If the options are for the system, or the path of this program is not known.
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

/// What goes into a file of words has to be text of one line.
fn as_text(path: OsString) -> Result<String, InstallError> {
    let text = path.into_string().map_err(|path| InstallError::Program(format!("{} is no text", path.display())))?;
    if text.chars().any(char::is_control) {
        return Err(InstallError::Program(format!("{text:?} has control characters")));
    }
    Ok(text)
}

/// Writes the whole file, or nothing of it.
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
