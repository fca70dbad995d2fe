//! The paths of the files that workerheal uses, and a safe way to read a file.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::core::parse_error::ParseError;
use crate::core::text;
use crate::files::yaml::MAX_BYTES;

/// The directory of the socket for units of the system.
pub const SYSTEM_RUNTIME: &str = "/run/workerheal";

/// Paths from the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--sites`
    pub sites: Option<PathBuf>,
    /// `--system`
    pub system: bool,
}

/// The files that workerheal uses. None of them has to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The configuration.
    pub config: PathBuf,
    /// The registry of sites.
    pub sites: PathBuf,
    /// The stop marker: while it exists, nothing is healed.
    pub stop_marker: PathBuf,
    /// The saved state.
    pub state: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
}

/// Neither the XDG variables nor `$HOME` determine the user's directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot tell where your files are, as neither ${0} nor $HOME is set; set $HOME, or name files with --config and --sites"
)]
pub struct NoHome(&'static str);

impl Paths {
    /// The paths by the XDG base directory specification, on macOS too, unless the command line says otherwise.
    /// `environment` looks up a variable.
    ///
    /// # Errors
    ///
    /// If a path is below `$HOME` and there is none.
    pub fn find(overrides: &Overrides, environment: impl Fn(&str) -> Option<OsString>) -> Result<Self, NoHome> {
        // The specification says to ignore relative paths.
        let absolute = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |name, fallback| match absolute(name) {
            Some(path) => Ok(path),
            None => absolute("HOME").map(|home| home.join(fallback)).ok_or(NoHome(name)),
        };
        let config = match (&overrides.config, overrides.system) {
            (Some(path), _) => path.clone(),
            (None, true) => PathBuf::from("/etc/workerheal/config.yaml"),
            (None, false) => below("XDG_CONFIG_HOME", ".config")?.join("workerheal/config.yaml"),
        };
        let sites = match (&overrides.sites, overrides.system) {
            (Some(path), _) => path.clone(),
            (None, true) => PathBuf::from("/var/lib/lerd/sites.yaml"),
            (None, false) => below("XDG_DATA_HOME", ".local/share")?.join("lerd/sites.yaml"),
        };
        let stop_marker = sites.with_file_name("run").join("stopped");
        let state = if overrides.system {
            PathBuf::from("/var/lib/workerheal/state.json")
        } else {
            below("XDG_STATE_HOME", ".local/state")?.join("workerheal/state.json")
        };
        let socket = if overrides.system {
            Path::new(SYSTEM_RUNTIME).join("api.sock")
        } else {
            runtime_directory(absolute).join("workerheal/api.sock")
        };
        Ok(Self { config, sites, stop_marker, state, socket })
    }

    /// The socket that serves only calls that change nothing. There is one for units of the system.
    #[must_use]
    pub fn reading_socket(&self) -> PathBuf {
        self.socket.with_file_name("read.sock")
    }
}

/// The directory for the user's sockets: macOS has `$TMPDIR` for that, which is private to the user too.
fn runtime_directory(absolute: impl Fn(&'static str) -> Option<PathBuf>) -> PathBuf {
    let fallback = || match cfg!(target_os = "macos").then(|| absolute("TMPDIR")).flatten() {
        Some(directory) => directory,
        None => PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())),
    };
    absolute("XDG_RUNTIME_DIR").unwrap_or_else(fallback)
}

/// Reads a regular file (or a link to one), up to the maximum length of a document.
///
/// # Errors
///
/// If there is no such file, it cannot be read, it is too long, or it is not a regular file: a pipe would block and a
/// device would never end.
pub fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    // Opening alone can have an effect on a device, so the type is checked before, and again on the opened file, which
    // is opened without blocking in case it is a pipe.
    if !fs::metadata(path)?.is_file() {
        return refuse("it is not a regular file".to_owned());
    }
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return refuse("it is not a regular file".to_owned());
    }
    let limit = MAX_BYTES as u64;
    let mut bytes = Vec::new();
    if metadata.len() <= limit {
        // One byte more, to see the end: otherwise the first reads are small.
        bytes.reserve(usize::try_from(metadata.len()).unwrap_or(0) + 1);
        // The length may be wrong, as below /proc, or grow.
        file.take(limit + 1).read_to_end(&mut bytes)?;
    }
    if metadata.len() > limit || bytes.len() > MAX_BYTES {
        return refuse(format!("it is longer than {} MiB", MAX_BYTES / 1024 / 1024));
    }
    Ok(bytes)
}

/// An error of a file, as one line.
///
/// Displays as `/path/config.yaml:12:5: unknown key `helth`; did you mean `heal`?` or
/// `cannot read /path/sites.yaml: Permission denied; ...`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The reason, and what to do about it.
        why: String,
    },
    /// Its content is invalid.
    Flawed {
        /// The file.
        path: PathBuf,
        /// The error, with its place.
        error: ParseError,
    },
}

impl FileError {
    /// The file cannot be read.
    #[must_use]
    pub fn unreadable(path: &Path, error: &io::Error) -> Self {
        let text = error.to_string();
        // The number of the error is of no use to the reader.
        let why = text.split_once(" (os error").map_or(text.as_str(), |(why, _)| why);
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Self::missing(path),
            io::ErrorKind::PermissionDenied => "; make it readable for the user that workerheal runs as",
            io::ErrorKind::InvalidInput => "; check that it is the right file",
            _ => "",
        };
        Self::Unreadable { path: path.to_owned(), why: format!("{why}{hint}") }
    }

    /// Its file system does not answer.
    #[must_use]
    pub fn silent(path: &Path) -> Self {
        let why = "its file system does not answer; see what is mounted there";
        Self::Unreadable { path: path.to_owned(), why: why.to_owned() }
    }

    /// There is no such file.
    #[must_use]
    pub fn missing(path: &Path) -> Self {
        let why = "there is no such file; check the path, or name another file with --config or --sites";
        Self::Unreadable { path: path.to_owned(), why: why.to_owned() }
    }

    /// The file can be read, and is invalid.
    #[must_use]
    pub fn malformed(path: &Path, error: ParseError) -> Self {
        let ParseError { line, column, message, hint } = error;
        let error = ParseError { line, column, message: text::plain(&message), hint: hint.as_deref().map(text::plain) };
        Self::Flawed { path: path.to_owned(), error }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, why } => write!(f, "cannot read {}: {why}", text::path(path)),
            Self::Flawed { path, error } if error.line == 0 => write!(f, "{}: {error}", text::path(path)),
            Self::Flawed { path, error } => write!(f, "{}:{error}", text::path(path)),
        }
    }
}

impl std::error::Error for FileError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(overrides: &Overrides, variables: &[(&str, &str)]) -> Result<[String; 4], NoHome> {
        let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
        let paths = Paths::find(overrides, lookup)?;
        Ok([paths.config, paths.sites, paths.stop_marker, paths.state].map(|path| path.display().to_string()))
    }

    #[test]
    fn files_are_where_the_specification_says() {
        let none = Overrides::default();
        let home = [
            "/home/me/.config/workerheal/config.yaml",
            "/home/me/.local/share/lerd/sites.yaml",
            "/home/me/.local/share/lerd/run/stopped",
            "/home/me/.local/state/workerheal/state.json",
        ];
        assert_eq!(find(&none, &[("HOME", "/home/me")]), Ok(home.map(str::to_owned)));
        let ignored = [("HOME", "/home/me"), ("XDG_CONFIG_HOME", ""), ("XDG_DATA_HOME", "relative/data")];
        assert_eq!(find(&none, &ignored), Ok(home.map(str::to_owned)));
        let xdg =
            ["/c/workerheal/config.yaml", "/d/lerd/sites.yaml", "/d/lerd/run/stopped", "/s/workerheal/state.json"];
        let variables = [("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "/d"), ("XDG_STATE_HOME", "/s")];
        assert_eq!(find(&none, &variables), Ok(xdg.map(str::to_owned)));
        assert_eq!(find(&none, &variables[..1]), Err(NoHome("XDG_DATA_HOME")));
        assert_eq!(find(&none, &[("HOME", "")]), Err(NoHome("XDG_CONFIG_HOME")));
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let system = Overrides { system: true, ..Overrides::default() };
        let state = "/var/lib/workerheal/state.json";
        let expected = ["/etc/workerheal/config.yaml", "/var/lib/lerd/sites.yaml", "/var/lib/lerd/run/stopped", state];
        assert_eq!(find(&system, &[("HOME", "/root")]), Ok(expected.map(str::to_owned)));
        let both = Overrides { config: Some("c.yaml".into()), sites: Some("x/s.yaml".into()), system: true };
        assert_eq!(find(&both, &[]), Ok(["c.yaml", "x/s.yaml", "x/run/stopped", state].map(str::to_owned)));
        let bare = Overrides { sites: Some("s.yaml".into()), ..both };
        assert_eq!(find(&bare, &[]).unwrap()[2], "run/stopped");
    }

    #[test]
    fn only_files_of_reasonable_length_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name);
        let why = |name| {
            let error = read_bounded(&at(name)).unwrap_err();
            FileError::unreadable(Path::new("f"), &error).to_string()
        };
        fs::write(at("good"), "sites: []").unwrap();
        std::os::unix::fs::symlink("good", at("link")).unwrap();
        assert_eq!(read_bounded(&at("link")).unwrap(), b"sites: []");
        fs::File::create(at("long")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(why("long"), "cannot read f: it is longer than 8 MiB; check that it is the right file");
        let nowhere =
            "cannot read f: there is no such file; check the path, or name another file with --config or --sites";
        assert_eq!(why("nowhere"), nowhere);
        let not_a_file = "cannot read f: it is not a regular file; check that it is the right file";
        std::os::unix::fs::symlink("/dev/zero", at("device")).unwrap();
        assert_eq!(why("device"), not_a_file);
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        assert_eq!(why("pipe"), not_a_file);
        assert_eq!(why("."), not_a_file);
    }

    #[test]
    fn an_error_is_shown_behind_its_file() {
        let mut error = ParseError::whole("the file is empty", None);
        let show = |error: &ParseError| FileError::malformed(Path::new("/c.yaml"), error.clone()).to_string();
        assert_eq!(show(&error), "/c.yaml: the file is empty");
        (error.line, error.column, error.hint) = (12, 5, Some("fill it".to_owned()));
        assert_eq!(show(&error), "/c.yaml:12:5: the file is empty; fill it");
    }
}
