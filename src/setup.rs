//! From command line options to settings: finds the files and reads them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::blocking;
use crate::core::context::Context;
use crate::core::pauses::Target;
use crate::core::registry::Registry;
use crate::core::saved_state::{SavedState, SavedWorker};
use crate::core::text;
use crate::core::units::UnitName;
use crate::files::config::Config;
use crate::files::paths::{FileError, NoHome, Overrides, Paths, read_bounded};
use crate::files::sites_yaml;
use crate::files::state_file::{Clocks, ReadError, StateFile};
use crate::frameworks;
use crate::manager::{ManagerError, Scope};

/// The options of a caller. The default is the calling user's manager and the usual files.
#[derive(Debug, Clone)]
pub struct Options {
    /// The scope of units.
    pub scope: Scope,
    /// A configuration file other than the usual one.
    pub config: Option<PathBuf>,
    /// A registry other than the usual one.
    pub sites: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { scope: Scope::User, config: None, sites: None }
    }
}

/// Why workerheal cannot do anything.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file has an error or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The paths of the files are unknown.
    #[error(transparent)]
    NoHome(#[from] NoHome),
    /// The service manager cannot be reached.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The operating system refuses to deliver signals.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// Another daemon uses the socket.
    #[error("another workerheal daemon runs already: it answers at {}", text::path(.0))]
    AnotherDaemon(PathBuf),
    /// It is unknown what is paused.
    #[error("cannot read {}: {why}; what is paused is not known, so nothing is healed", text::path(path))]
    State {
        /// The state file.
        path: PathBuf,
        /// Why it cannot be read.
        why: String,
    },
    /// Another daemon cannot be ruled out.
    #[error("cannot make sure that no other daemon runs: {0}")]
    Lock(String),
    /// The socket cannot be created.
    #[error("cannot answer at {}: {why}", text::path(path))]
    Socket {
        /// Its path.
        path: PathBuf,
        /// The reason.
        why: String,
    },
}

/// Everything that is read at the start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The scope of units.
    pub scope: Scope,
    /// The paths of the files.
    pub paths: Paths,
    /// How often the units are listed.
    pub refresh: Duration,
    /// The command to run after a worker was healed or given up.
    pub on_event: Vec<String>,
    /// The address for metrics over TCP, if any.
    pub metrics: Option<SocketAddr>,
    /// The settings from the files, and the saved pauses.
    pub context: Context,
    /// The workers' histories, as saved.
    pub saved_workers: BTreeMap<UnitName, SavedWorker>,
    /// Why it is unknown what is paused, if so: then everything counts as paused.
    pub state_unread: Option<String>,
}

impl Setup {
    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// If one has an error or cannot be read. Both may be missing, unless an option names them.
    pub fn load(options: &Options) -> Result<Self, SetupError> {
        Configured::load(options)?.load_rest()
    }
}

/// What is known after reading the configuration: enough to connect to the service manager.
#[derive(Debug)]
pub struct Configured {
    scope: Scope,
    paths: Paths,
    /// An option names the registry.
    names_registry: bool,
    config: Config,
}

impl Configured {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// If it has an error or cannot be read.
    pub fn load(options: &Options) -> Result<Self, SetupError> {
        let paths = options.paths()?;
        let config = read_config(&paths.config, options.config.is_some())?;
        Ok(Self { scope: options.scope, paths, names_registry: options.sites.is_some(), config })
    }

    /// The scope of units.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Globs of the units to ask the manager about.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        self.config.selector.patterns()
    }

    /// Reads the other files, the registry first, as a long one takes a while.
    ///
    /// # Errors
    ///
    /// If the registry has an error or cannot be read.
    pub fn load_rest(self) -> Result<Setup, SetupError> {
        let Self { scope, paths, names_registry, config } = self;
        let registry = read_registry(&paths.sites, names_registry)?;
        let (SavedState { workers, pauses }, state_unread) =
            match StateFile::new(paths.state.clone()).read(Clocks::at_origin()) {
                Ok(saved_state) => (saved_state, None),
                // The daemon reports what is wrong with it.
                Err(ReadError::Wrong(_)) => (SavedState::default(), None),
                Err(ReadError::Unread(why)) => {
                    let mut saved_state = SavedState::default();
                    saved_state.pauses.pause(Target::Everything, None);
                    (saved_state, Some(why))
                }
            };
        Ok(Setup {
            scope,
            refresh: config.refresh,
            on_event: config.on_event,
            metrics: config.metrics,
            context: Context {
                selector: config.selector,
                policy: config.policy,
                registry: Arc::new(registry),
                stop_marker: exists(&paths.stop_marker),
                pauses,
            },
            saved_workers: workers,
            paths,
            state_unread,
        })
    }
}

impl Options {
    /// The paths of the files.
    ///
    /// # Errors
    ///
    /// If neither the options nor the environment determine them.
    pub fn paths(&self) -> Result<Paths, SetupError> {
        let overrides =
            Overrides { config: self.config.clone(), sites: self.sites.clone(), system: self.scope == Scope::System };
        Ok(Paths::find(&overrides, |name| std::env::var_os(name))?)
    }
}

/// How long reading a file at the start may take: then a supervisor that restarts the daemon logs why it does not
/// start.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

fn read_at_start(path: &Path) -> Result<io::Result<Vec<u8>>, FileError> {
    let file = path.to_owned();
    blocking::within(READ_TIMEOUT, move || read_bounded(&file)).map_err(|_| FileError::silent(path))
}

/// Whether there is such a file. If that cannot be determined, it may exist.
fn exists(path: &Path) -> bool {
    let file = path.to_owned();
    blocking::within(READ_TIMEOUT, move || file.exists()).unwrap_or(true)
}

/// Reads the configuration; it may be missing, unless an option names it.
///
/// # Errors
///
/// If it has an error or cannot be read.
pub fn read_config(path: &Path, required: bool) -> Result<Config, FileError> {
    match read_at_start(path)? {
        Ok(bytes) => Config::parse(&bytes).map_err(|error| FileError::malformed(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(Config::default()),
        Err(error) => Err(FileError::unreadable(path, &error)),
    }
}

/// Reads the registry. A missing one has no sites, unless an option names it: Lerd writes it with the first site.
///
/// # Errors
///
/// If it is no registry or cannot be read.
pub fn read_registry(path: &Path, required: bool) -> Result<Registry, FileError> {
    match read_at_start(path)? {
        Ok(bytes) => match sites_yaml::parse(&bytes) {
            Ok(registry) => Ok(frameworks::with_health(registry.in_file(path), path)),
            Err(error) => Err(FileError::malformed(path, error)),
        },
        Err(error) if !required && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Registry::default())
        }
        Err(error) => Err(FileError::unreadable(path, &error)),
    }
}

/// Errors of skipped entries of a registry, a line each.
#[must_use]
pub fn warnings(path: &Path, registry: &Registry) -> Vec<String> {
    let skipped = registry.skipped();
    let mut lines: Vec<String> =
        skipped.reported.iter().map(|error| FileError::malformed(path, error.clone()).to_string()).collect();
    if skipped.unreported() > 0 {
        lines.push(format!("{}: {} more entries are skipped", path.display(), skipped.unreported()));
    }
    lines
}
