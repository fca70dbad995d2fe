//! From options to rules: finds the files and reads them.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::blocking;
use crate::core::context::Context;
use crate::core::pauses::Target;
use crate::core::registry::Registry;
use crate::core::saved_state::SavedState;
use crate::core::text;
use crate::files::config::Config;
use crate::files::paths::{FileError, NoHome, Overrides, Paths, read_bounded};
use crate::files::sites_yaml;
use crate::files::state_file::{Clocks, ReadError, StateFile};
use crate::frameworks;
use crate::manager::{ManagerError, Scope};

/// What a caller may choose. The default is the calling user's manager and the usual files.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whose units.
    pub scope: Scope,
    /// Instead of the usual configuration file.
    pub config: Option<PathBuf>,
    /// Instead of the usual registry.
    pub sites: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { scope: Scope::User, config: None, sites: None }
    }
}

/// What keeps workerheal from doing anything at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file has a mistake or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not known where the files are.
    #[error(transparent)]
    NoHome(#[from] NoHome),
    /// The service manager cannot be reached.
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The operating system does not let us receive signals.
    #[error("cannot receive signals: {0}")]
    Signals(io::Error),
    /// Another daemon has the socket.
    #[error("another workerheal daemon runs already: it answers at {}", text::path(.0))]
    AnotherDaemon(PathBuf),
    /// It is not known what is paused.
    #[error("cannot read {}: {why}; what is paused is not known, so nothing is healed", text::path(path))]
    State {
        /// The state file.
        path: PathBuf,
        /// Why it cannot be read.
        why: String,
    },
    /// It cannot be made sure that there is no other daemon.
    #[error("cannot make sure that no other daemon runs: {0}")]
    Lock(String),
    /// The socket cannot be made.
    #[error("cannot answer at {}: {why}", text::path(path))]
    Socket {
        /// Where.
        path: PathBuf,
        /// What stands in the way.
        why: String,
    },
}

/// Everything that was read at the start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Whose units.
    pub scope: Scope,
    /// Where the files are.
    pub paths: Paths,
    /// How often the units are listed.
    pub refresh: Duration,
    /// The command that is run when a worker was healed or given up.
    pub on_event: Vec<String>,
    /// Where metrics are served over TCP, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// What the files say.
    pub context: Context,
    /// Why it is not known what is paused, if so: then everything is, as far as the rules are concerned.
    pub state_unread: Option<String>,
}

impl Setup {
    /// What is wrong with the files, but keeps nothing from working: a line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        warnings(&self.paths.sites, &self.context.registry)
    }

    /// Reads the files that the options name.
    ///
    /// # Errors
    ///
    /// If one has a mistake or cannot be read. Both may be missing.
    pub fn load(options: &Options) -> Result<Self, SetupError> {
        Configured::load(options)?.load_rest()
    }
}

/// What is known once the configuration has been read: enough to connect to the service manager.
#[derive(Debug)]
pub struct Configured {
    scope: Scope,
    paths: Paths,
    config: Config,
}

impl Configured {
    /// Reads the configuration.
    ///
    /// # Errors
    ///
    /// If it has a mistake or cannot be read.
    pub fn load(options: &Options) -> Result<Self, SetupError> {
        let paths = options.paths()?;
        let config = read_config(&paths.config, options.config.is_some())?;
        Ok(Self { scope: options.scope, paths, config })
    }

    /// Whose units.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Of which units there is anything to be asked, as globs.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        self.config.selector.patterns()
    }

    /// Reads the rest, the registry first of all: of a long one that takes a while.
    ///
    /// # Errors
    ///
    /// If the registry has a mistake or cannot be read.
    pub fn load_rest(self) -> Result<Setup, SetupError> {
        let Self { scope, paths, config } = self;
        let registry = read_registry(&paths.sites)?;
        let (saved_state, state_unread) = match StateFile::new(paths.state.clone()).read(Clocks::at_origin()) {
            Ok(saved_state) => (saved_state, None),
            // What is wrong with it is the daemon's to complain about.
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
                saved_state,
            },
            paths,
            state_unread,
        })
    }
}

impl Options {
    /// Where the files are.
    ///
    /// # Errors
    ///
    /// If neither the options nor the environment tell.
    pub fn paths(&self) -> Result<Paths, SetupError> {
        let overrides =
            Overrides { config: self.config.clone(), sites: self.sites.clone(), system: self.scope == Scope::System };
        Ok(Paths::find(&overrides, |name| std::env::var_os(name))?)
    }
}

/// How long the first look at a file may take: a supervisor that starts the daemon again is told why it does not start.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

fn read_at_start(path: &Path) -> Result<io::Result<Vec<u8>>, FileError> {
    let file = path.to_owned();
    blocking::within(READ_TIMEOUT, move || read_bounded(&file)).map_err(|_| FileError::silent(path))
}

/// Whether there is such a file, as far as that can be found out: what cannot be looked at may be there.
fn exists(path: &Path) -> bool {
    let file = path.to_owned();
    blocking::within(READ_TIMEOUT, move || file.exists()).unwrap_or(true)
}

/// Reads the configuration; a missing one is fine, unless it was asked for by name.
///
/// # Errors
///
/// If it has a mistake or cannot be read.
pub fn read_config(path: &Path, required: bool) -> Result<Config, FileError> {
    match read_at_start(path)? {
        Ok(bytes) => Config::parse(&bytes).map_err(|error| FileError::malformed(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(Config::default()),
        Err(error) => Err(FileError::unreadable(path, &error)),
    }
}

/// Reads the registry. One that is not there yet has no sites: Lerd writes it with the first.
///
/// # Errors
///
/// If it is no registry or cannot be read.
pub fn read_registry(path: &Path) -> Result<Registry, FileError> {
    match read_at_start(path)? {
        Ok(bytes) => match sites_yaml::parse(&bytes) {
            Ok(registry) => Ok(frameworks::with_health(registry, path)),
            Err(error) => Err(FileError::malformed(path, error)),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Registry::default())
        }
        Err(error) => Err(FileError::unreadable(path, &error)),
    }
}

/// What is wrong with the entries of a registry that are skipped, a line each, as far as they are told of.
#[must_use]
pub fn warnings(path: &Path, registry: &Registry) -> Vec<String> {
    let skipped = registry.skipped();
    let mut lines: Vec<String> =
        skipped.told.iter().map(|error| FileError::malformed(path, error.clone()).to_string()).collect();
    if skipped.untold() > 0 {
        lines.push(format!("{}: {} more entries are skipped", path.display(), skipped.untold()));
    }
    lines
}
