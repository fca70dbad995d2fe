//! The file of the saved state, `state.json`.
//!
//! The file is replaced as a whole, by renaming, so that it is always complete, and only when the state has changed. A
//! file of another program is set aside, never overwritten; one that cannot be read at the moment, or that a newer
//! version has written, is kept, as pauses and give-ups may be in it. Its times are those of the wall clock, which may
//! have been changed: no wait or pause becomes longer because of that.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::blocking;
use crate::core::diagnosis::State;
use crate::core::pauses::{Pause, Target};
use crate::core::saved_state::{SavedPhase, SavedState, SavedWorker};
use crate::core::text;
use crate::core::time::Timestamp;
use crate::core::units::{Deactivation, UnitFile, UnitName};
use crate::files::paths::read_bounded;

/// Identifies the file's format.
const FORMAT: &str = "workerheal-state";
/// To be increased with every change that an earlier version cannot read, including a new key: an earlier version then
/// keeps the file, and heals nothing that the file may forbid.
const VERSION: u32 = 1;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateDocument {
    format: String,
    version: u32,
    #[serde(default)]
    pauses: Vec<PauseRecord>,
    #[serde(default)]
    workers: BTreeMap<UnitName, SavedWorkerRecord>,
}

/// A pause in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseRecord {
    target: TargetRecord,
    /// Its end in milliseconds since 1970; absent if it lasts until it is resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    /// Its remaining milliseconds when this was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<u64>,
}

/// What is paused.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TargetRecord {
    Everything,
    Site(String),
    Unit(UnitName),
}

/// A worker in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedWorkerRecord {
    attempts: u32,
    /// The earliest time of the next attempt: milliseconds since 1970, and remaining milliseconds when this was
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<(u64, u64)>,
    #[serde(rename = "standing")]
    phase: SavedPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    suspected: Option<State>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    last_failure: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    came_up: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at_failure: Option<UnitFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    taken_along: Option<Deactivation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped_after: Option<String>,
}

/// Both clocks at one moment, to convert times.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// By the clock of the core.
    pub now: Timestamp,
    /// By the wall clock.
    pub wall: SystemTime,
}

impl Clocks {
    /// The current time, as the origin of the core's clock.
    #[must_use]
    pub fn at_origin() -> Self {
        Self { now: Timestamp::default(), wall: SystemTime::now() }
    }

    fn wall_ms(self) -> u64 {
        milliseconds(self.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
    }

    fn written(self, at: Timestamp) -> Option<(u64, u64)> {
        let left = milliseconds(at.from_now(self.now));
        (left > 0).then(|| (self.wall_ms().saturating_add(left), left))
    }

    /// The time of an end that was at `until`, with `left` remaining, when it was written.
    fn read(self, until: u64, left: u64) -> Timestamp {
        self.now + Duration::from_millis(until.saturating_sub(self.wall_ms()).min(left))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The file of the saved state. It only reads and writes; its owner decides when.
#[derive(Debug, Clone)]
pub struct StateFile {
    path: PathBuf,
}

/// The result of loading the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The saved state; the default if there is no file.
    Known(SavedState),
    /// The content of the file is unusable, and the state is empty: the error, and the file's new path, as a sentence.
    SetAside(String),
    /// The file cannot be read at the moment, says why: its content is unknown, and it is still there.
    Unread(String),
}

/// Why the file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It cannot be read now, or not by this version.
    #[error("{0}")]
    Unread(String),
    /// This version cannot parse it.
    #[error("{0}")]
    Wrong(String),
}

/// How long reading the file may take.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl StateFile {
    /// The file at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Reads the saved state, without changing the file.
    ///
    /// # Errors
    ///
    /// If there is a file that cannot be read, or that this version cannot parse; says why, with the place.
    pub fn read(&self, clocks: Clocks) -> Result<SavedState, ReadError> {
        let path = self.path.clone();
        let read = blocking::within(READ_TIMEOUT, move || read_bounded(&path));
        match read.map_err(|silent| ReadError::Unread(silent.to_string()))? {
            Ok(bytes) => parse(&bytes, clocks),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(SavedState::default())
            }
            // It is no regular file, or too long.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(ReadError::Wrong(error.to_string())),
            Err(error) => Err(ReadError::Unread(error.to_string())),
        }
    }

    /// Reads the saved state; a file with other content is set aside.
    #[must_use]
    pub fn load(&self, clocks: Clocks) -> LoadOutcome {
        let why = match self.read(clocks) {
            Ok(saved_state) => return LoadOutcome::Known(saved_state),
            Err(ReadError::Unread(why)) => {
                return LoadOutcome::Unread(format!("{} cannot be read: {why}", text::path(&self.path)));
            }
            Err(ReadError::Wrong(why)) => why,
        };
        let path = text::path(&self.path);
        let aside = self.path.with_extension("json.bad");
        let where_to = match fs::rename(&self.path, &aside) {
            Ok(()) => format!("it is now {}", text::path(&aside)),
            Err(error) => format!("nor can it be set aside: {error}"),
        };
        LoadOutcome::SetAside(format!("{path}: {why}; earlier attempts and pauses are forgotten, {where_to}"))
    }

    /// Replaces the file.
    ///
    /// # Errors
    ///
    /// If that fails; then the old file still exists.
    pub fn write(&self, saved_state: &SavedState, clocks: Clocks) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        let new = self.path.with_extension("json.new");
        // Never through a link that another program may have created.
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let mut text = serde_json::to_vec_pretty(&StateDocument::of(saved_state, clocks))?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        File::open(directory)?.sync_all()
    }
}

impl StateDocument {
    fn of(saved_state: &SavedState, clocks: Clocks) -> Self {
        let pauses = saved_state.pauses.iter().map(|pause| {
            let times = pause.until.map(|until| (until, milliseconds(until.from_now(clocks.now))));
            PauseRecord {
                target: match pause.target {
                    Target::Everything => TargetRecord::Everything,
                    Target::Site(site) => TargetRecord::Site(site),
                    Target::Unit(unit) => TargetRecord::Unit(unit),
                },
                until: times.map(|(_, left)| clocks.wall_ms().saturating_add(left)),
                left: times.map(|(_, left)| left),
            }
        });
        let workers = saved_state.workers.iter().map(|(name, it)| {
            let written = SavedWorkerRecord {
                attempts: it.attempts,
                not_before: clocks.written(it.not_before),
                phase: it.phase.clone(),
                suspected: it.suspected,
                last_failure: it.last_failure.clone(),
                came_up: it.came_up,
                at_failure: it.at_failure,
                taken_along: it.taken_along,
                stopped_after: it.stopped_after.clone(),
            };
            (name.clone(), written)
        });
        Self { format: FORMAT.to_owned(), version: VERSION, pauses: pauses.collect(), workers: workers.collect() }
    }
}

fn parse(bytes: &[u8], clocks: Clocks) -> Result<SavedState, ReadError> {
    /// The part that identifies the format.
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: u32,
    }
    let wrong = |why: &str| ReadError::Wrong(text::plain(why));
    let head: Head =
        serde_json::from_slice(bytes).map_err(|error| wrong(&format!("this is no state of workerheal ({error})")))?;
    if head.format != FORMAT {
        return Err(wrong("this is no state of workerheal"));
    }
    if head.version > VERSION {
        let why = format!(
            "a newer version of workerheal wrote it (format {}; this is {}, which reads format {VERSION}); install the \
             newer version, or move the file away, which forgets its pauses, stops and attempts",
            head.version,
            env!("CARGO_PKG_VERSION"),
        );
        return Err(ReadError::Unread(why));
    }
    if head.version < VERSION {
        return Err(wrong(&format!("no version of workerheal has written this (format {})", head.version)));
    }
    let document: StateDocument = serde_json::from_slice(bytes).map_err(|error| wrong(&error.to_string()))?;
    let mut saved_state = SavedState::default();
    for written in document.pauses {
        let target = match written.target {
            TargetRecord::Everything => Target::Everything,
            TargetRecord::Site(site) => Target::Site(site),
            TargetRecord::Unit(unit) => Target::Unit(unit),
        };
        let until = written.until.zip(written.left).map(|(until, left)| clocks.read(until, left));
        saved_state.pauses.pause(target, until);
    }
    for (unit, it) in document.workers {
        let remembered = SavedWorker {
            attempts: it.attempts,
            not_before: it.not_before.map_or(clocks.now, |(until, left)| clocks.read(until, left)),
            phase: it.phase,
            suspected: it.suspected,
            last_failure: it.last_failure,
            came_up: it.came_up,
            at_failure: it.at_failure,
            taken_along: it.taken_along,
            stopped_after: it.stopped_after,
        };
        saved_state.workers.insert(unit, remembered);
    }
    saved_state.pauses =
        saved_state.pauses.iter().filter(|Pause { until, .. }| until.is_none_or(|at| at > clocks.now)).collect();
    Ok(saved_state)
}

/// Fuzz target, see [`fuzz`](crate::fuzz).
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    let clocks = Clocks { now: Timestamp::default(), wall: SystemTime::UNIX_EPOCH };
    if let Ok(saved_state) = parse(data, clocks) {
        let written = serde_json::to_vec(&StateDocument::of(&saved_state, clocks)).unwrap_or_default();
        assert_eq!(parse(&written, clocks), Ok(saved_state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::pauses::Pauses;
    use crate::core::rules::GivenUp;
    use std::os::unix::fs::PermissionsExt;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(elapsed: Duration) -> Timestamp {
        Timestamp::from_origin(elapsed)
    }

    fn unit(name: &str) -> UnitName {
        UnitName::parse(name).unwrap()
    }

    /// A state with an entry of each kind, an hour after the clock's origin.
    fn saved_state() -> SavedState {
        let remembered = |phase| SavedWorker {
            attempts: 3,
            not_before: at(62 * MINUTE),
            phase,
            suspected: Some(State::Unreachable),
            last_failure: "boom".to_owned(),
            came_up: true,
            at_failure: Some(UnitFile {
                enabled: true,
                on_demand: false,
                waits_with_targets: false,
                definition: u64::MAX,
            }),
            taken_along: Some(Deactivation { left: MINUTE, down: 2 * MINUTE }),
            stopped_after: Some("run-1".to_owned()),
        };
        let given_up = GivenUp { reason: "tired".to_owned(), definition: Some(7), run: Some("a".to_owned()) };
        let standings = [
            SavedPhase::Open,
            SavedPhase::Attempt,
            SavedPhase::GivenUp(given_up),
            SavedPhase::Stopped { run: None, certain: true },
        ];
        let workers = standings.into_iter().enumerate();
        let mut pauses = Pauses::default();
        pauses.pause(Target::Everything, Some(at(65 * MINUTE)));
        pauses.pause(Target::Site("myapp".to_owned()), None);
        pauses.pause(Target::Unit(unit("lerd-queue-shop")), None);
        SavedState {
            workers: workers.map(|(n, phase)| (unit(&format!("lerd-w{n}-a")), remembered(phase))).collect(),
            pauses,
        }
    }

    /// The state as read by a daemon that starts when the wall clock shows `later` than at the time of writing.
    fn read_later(store: &StateFile, written: SystemTime, later: Duration) -> SavedState {
        store.read(Clocks { now: Timestamp::default(), wall: written + later }).unwrap()
    }

    #[test]
    fn written_state_is_read_back_and_waits_continue() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateFile::new(directory.path().join("deep/state.json"));
        let wall = SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE;
        store.write(&saved_state(), Clocks { now: at(60 * MINUTE), wall }).unwrap();
        let modes = ["deep", "deep/state.json"]
            .map(|path| fs::metadata(directory.path().join(path)).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o700, 0o600]);

        let read = read_later(&store, wall, MINUTE);
        let mut expected = saved_state();
        expected.workers.values_mut().for_each(|it| it.not_before = at(MINUTE));
        expected.pauses.pause(Target::Everything, Some(at(4 * MINUTE)));
        assert_eq!(read, expected);

        // Much later, waits are over, and so is the pause with an end.
        let read = read_later(&store, wall, 10 * MINUTE);
        assert!(read.workers.values().all(|it| it.not_before == Timestamp::default()));
        assert_eq!(read.pauses.iter().count(), 2);
    }

    #[test]
    fn a_clock_that_was_turned_back_makes_no_wait_longer() {
        let directory = tempfile::tempdir().unwrap();
        let store = StateFile::new(directory.path().join("state.json"));
        let wall = SystemTime::UNIX_EPOCH + 1_000_000 * MINUTE;
        store.write(&saved_state(), Clocks { now: at(60 * MINUTE), wall }).unwrap();
        let read = store.read(Clocks { now: Timestamp::default(), wall: wall - 600 * MINUTE }).unwrap();
        assert!(read.workers.values().all(|it| it.not_before == at(2 * MINUTE)));
        assert_eq!(read.pauses.next_end(), Some(at(5 * MINUTE)));
    }

    #[test]
    fn an_unusable_file_is_set_aside_and_never_overwritten() {
        for (text, why) in [
            ("", "this is no state of workerheal"),
            ("{", "this is no state of workerheal"),
            ("[]", "this is no state of workerheal"),
            (r#"{"format": "other", "version": 1}"#, "this is no state of workerheal"),
            (r#"{"format": "workerheal-state", "version": 0}"#, "no version of workerheal"),
            (r#"{"format": "workerheal-state", "version": 1, "workers": {"../x": {}}}"#, "cannot contain"),
            (r#"{"format": "workerheal-state", "version": 1, "surprise": 1}"#, "surprise"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("state.json");
            fs::write(&path, text).unwrap();
            let store = StateFile::new(path.clone());
            let LoadOutcome::SetAside(warning) = store.load(Clocks::at_origin()) else { panic!("{text} is used") };
            assert!(warning.contains(why) && warning.contains("state.json.bad"), "{text}: {warning}");
            assert!(!path.exists());
            assert_eq!(fs::read_to_string(path.with_extension("json.bad")).unwrap(), text);
        }
        let directory = tempfile::tempdir().unwrap();
        let missing = StateFile::new(directory.path().join("state.json")).load(Clocks::at_origin());
        assert_eq!(missing, LoadOutcome::Known(SavedState::default()));
    }

    #[test]
    fn a_newer_versions_file_is_left_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        let text = r#"{"format": "workerheal-state", "version": 2, "surprise": []}"#;
        fs::write(&path, text).unwrap();
        let LoadOutcome::Unread(why) = StateFile::new(path.clone()).load(Clocks::at_origin()) else {
            panic!("it is read")
        };
        assert!(why.contains("a newer version of workerheal wrote it (format 2;"), "{why}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_cannot_be_read_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.json");
        // A link to a regular file whose reads all fail.
        std::os::unix::fs::symlink("/proc/self/mem", &path).unwrap();
        let LoadOutcome::Unread(why) = StateFile::new(path.clone()).load(Clocks::at_origin()) else {
            panic!("it is read")
        };
        assert!(why.contains("state.json cannot be read: Input/output error"), "{why}");
        assert!(fs::symlink_metadata(&path).is_ok());
    }
}
