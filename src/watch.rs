//! Follows a few files and tells when what they say has changed.
//!
//! Editors replace files by renaming, directories come and go, links are turned, and the system's
//! notifications are unreliable in kind and number. So a notification only ever means "look
//! again": all files are read anew and compared with what was read last. And [`Watch::poll`] finds
//! by itself what no notification told.
//!
//! One task owns all state. The watcher's own thread only decides whether an event can concern any
//! of the files, and if so wakes the task, so that nothing piles up whatever happens in the
//! directories.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, FileType};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout_at};

use crate::core::document::Flaw;
use crate::paths::{FileError, read_bounded};

/// A file is read once it has been left alone this long,
const QUIET: Duration = Duration::from_millis(60);
/// but no later than this.
const PATIENCE: Duration = Duration::from_millis(250);
/// More links in a row than any system follows.
const MAX_LINKS: usize = 40;
/// More changes of directories than can happen by chance while watches are being set.
const MAX_ROUNDS: usize = 10;

/// What there is to read in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileContent {
    /// There is no such file.
    Missing,
    /// All of it.
    Present(Vec<u8>),
    /// It is there and cannot be read.
    Unreadable(FileError),
}

impl FileContent {
    /// What `parse` makes of the content.
    ///
    /// # Errors
    ///
    /// If there is no content, or it is wrong.
    pub fn parse<T>(self, path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, Flaw>) -> Result<T, FileError> {
        match self {
            Self::Missing => Err(FileError::missing(path)),
            Self::Present(bytes) => parse(&bytes).map_err(|flaw| FileError::flawed(path, flaw)),
            Self::Unreadable(error) => Err(error),
        }
    }
}

/// Reads what there is in the file now.
#[must_use]
pub fn read(path: &Path) -> FileContent {
    match read_bounded(path) {
        Ok(bytes) => FileContent::Present(bytes),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            FileContent::Missing
        }
        Err(error) => FileContent::Unreadable(FileError::unreadable(path, &error)),
    }
}

/// What a [`Watch`] tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    /// The content of a file is another than before.
    Changed {
        /// Which file, by its place in the list that the watch was started with.
        index: usize,
        /// What it is now.
        content: FileContent,
    },
    /// Changes are only found by polling, until further notice; says why. Told once.
    Degraded(String),
}

/// Follows files for as long as it lives.
#[derive(Debug)]
pub struct Watch {
    polls: mpsc::Sender<()>,
}

impl Watch {
    /// Begins to follow the files, and reads what they say now. Only later changes are sent.
    ///
    /// The files need not exist, nor their directories. Has to be called within a Tokio runtime.
    #[must_use]
    pub fn start(files: Vec<PathBuf>) -> (Self, Vec<FileContent>, mpsc::Receiver<FileEvent>) {
        Self::start_with(files, Notifier::new)
    }

    /// Looks for changes that no notification told. Cheap if there are none.
    pub fn poll(&self) {
        // If one is waiting already, it will do.
        let _ = self.polls.try_send(());
    }

    fn start_with(
        files: Vec<PathBuf>,
        notifier: impl Fn() -> notify::Result<Notifier> + Send + 'static,
    ) -> (Self, Vec<FileContent>, mpsc::Receiver<FileEvent>) {
        let (polls, requests) = mpsc::channel(1);
        let (events, receiver) = mpsc::channel(16);
        let (notifier, problem) = match notifier() {
            Ok(notifier) => (Some(notifier), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let files = files.into_iter().map(Followed::new).collect();
        let mut task = Task { files, notifier, problem, told: false, random: RandomState::new(), events };
        // First watch and then read, so that no change falls between.
        task.follow();
        let contents = task.files.iter_mut().map(|file| file.read(&task.random)).collect();
        tokio::spawn(task.run(requests));
        (Self { polls }, contents, receiver)
    }
}

/// The owner of all that is known of the files.
struct Task {
    files: Vec<Followed>,
    /// `None` if the system gives us none: then there is only polling.
    notifier: Option<Notifier>,
    /// Why some change may go untold by the system, if so.
    problem: Option<String>,
    /// Whether the problem was reported.
    told: bool,
    random: RandomState,
    events: mpsc::Sender<FileEvent>,
}

impl Task {
    async fn run(mut self, mut polls: mpsc::Receiver<()>) {
        let wake = self.notifier.as_ref().map_or_else(Arc::default, |notifier| Arc::clone(&notifier.wake));
        loop {
            if let Some(problem) = &self.problem
                && !mem::replace(&mut self.told, true)
                && self.events.send(FileEvent::Degraded(problem.clone())).await.is_err()
            {
                return;
            }
            let polled = tokio::select! {
                () = wake.notified() => false,
                poll = polls.recv() => match poll {
                    Some(()) => true,
                    None => return,
                },
                () = self.events.closed() => return,
            };
            if !polled {
                settle(&wake).await;
            }
            self.follow();
            for index in 0..self.files.len() {
                let file = &mut self.files[index];
                if polled && file.looks_unchanged() {
                    continue;
                }
                let before = file.digest;
                let content = file.read(&self.random);
                if file.digest != before && self.events.send(FileEvent::Changed { index, content }).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Watches the directories that matter now. What appeared while the watches were being set is
    /// caught by looking again until nothing is new.
    fn follow(&mut self) {
        let Some(notifier) = &mut self.notifier else { return };
        for _ in 0..MAX_ROUNDS {
            let mut wanted = Places::default();
            self.files.iter().for_each(|file| wanted.add(&file.path));
            match notifier.watch(wanted) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    self.problem.get_or_insert_with(|| error.to_string());
                    return;
                }
            }
        }
    }
}

/// Waits until there was nothing new for a while, but not for ever.
async fn settle(wake: &Notify) {
    let latest = Instant::now() + PATIENCE;
    loop {
        let quiet = Instant::now() + QUIET;
        let woken = timeout_at(quiet.min(latest), wake.notified()).await.is_ok();
        if !woken || Instant::now() >= latest {
            return;
        }
    }
}

/// One file, and what was last known of it.
struct Followed {
    path: PathBuf,
    stamp: Option<Stamp>,
    digest: Digest,
}

/// What changes with nearly every change of a file, and can be had without reading it: device,
/// inode, length, and the times of the last change of content and of the inode.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

/// Tells contents apart without keeping them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Digest {
    Missing,
    Present(usize, u64),
    Unreadable(u64),
}

impl Followed {
    fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, digest: Digest::Missing }
    }

    fn read(&mut self, random: &RandomState) -> FileContent {
        // The stamp comes first: if the file changes in between, the next poll sees that.
        self.stamp = stamp(&self.path);
        let content = read(&self.path);
        self.digest = match &content {
            FileContent::Missing => Digest::Missing,
            FileContent::Present(bytes) => Digest::Present(bytes.len(), random.hash_one(bytes)),
            FileContent::Unreadable(why) => Digest::Unreadable(random.hash_one(why.to_string())),
        };
        content
    }

    fn looks_unchanged(&self) -> bool {
        // What cannot be looked at is read again, in case that says more.
        match stamp(&self.path) {
            None => self.digest == Digest::Missing && self.stamp.is_none(),
            now => self.stamp == now && !matches!(self.digest, Digest::Unreadable(_)),
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let data = fs::metadata(path).ok()?;
    Some((data.dev(), data.ino(), data.len(), (data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec())))
}

/// Which directory it is: another of the same name may take its place, even with its inode.
type Identity = (u64, u64, Option<SystemTime>);

/// Where a change can concern a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// Existing directories to be watched; there are no links in their paths.
    directories: BTreeMap<PathBuf, Option<Identity>>,
    /// Paths of which an event is of interest: the file, links on the way to it, what is missing on
    /// the way to it, and the watched directories themselves.
    paths: HashSet<PathBuf>,
}

impl Places {
    /// Adds the places for one file: the directory of each link on the way to it, and the one that
    /// the file itself is in, or the nearest to it that exists.
    fn add(&mut self, file: &Path) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let parts = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
        // What is left of the way, the next part last.
        let mut rest = parts(&file);
        let mut here = PathBuf::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let inside = here.join(part);
            let kind = fs::symlink_metadata(&inside).map(|data| data.file_type());
            if kind.as_ref().is_ok_and(FileType::is_dir) && !rest.is_empty() {
                here = inside;
                continue;
            }
            self.directories.insert(here.clone(), identity(&here));
            self.paths.extend([here.clone(), inside.clone()]);
            links += 1;
            match fs::read_link(&inside) {
                // An absolute target begins with the root, which replaces `here`.
                Ok(target) if links <= MAX_LINKS => rest.extend(parts(&target)),
                _ => return,
            }
        }
    }
}

fn identity(directory: &Path) -> Option<Identity> {
    let data = fs::metadata(directory).ok()?;
    Some((data.dev(), data.ino(), data.created().ok()))
}

/// The system's notifications, reduced to "something of interest happened".
struct Notifier {
    watcher: RecommendedWatcher,
    watched: BTreeMap<PathBuf, Option<Identity>>,
    wake: Arc<Notify>,
    interest: Arc<Mutex<Interest>>,
}

/// What the watcher's thread has to know, and what it found out.
#[derive(Default)]
struct Interest {
    paths: HashSet<PathBuf>,
    /// Of these, what was removed or renamed: a directory among them is no longer watched.
    gone: HashSet<PathBuf>,
    /// Whether notifications were lost.
    lost: bool,
}

impl Notifier {
    fn new() -> notify::Result<Self> {
        let (wake, interest) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Interest::default())));
        let (waker, shared) = (Arc::clone(&wake), Arc::clone(&interest));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let mut interest = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if interest.takes(event) {
                waker.notify_one();
            }
        })?;
        Ok(Self { watcher, watched: BTreeMap::new(), wake, interest })
    }

    /// Watches exactly these places. Tells whether that is a change.
    fn watch(&mut self, wanted: Places) -> notify::Result<bool> {
        let gone = {
            let mut interest = self.interest.lock().unwrap_or_else(PoisonError::into_inner);
            interest.paths = wanted.paths;
            let gone = mem::take(&mut interest.gone);
            if mem::take(&mut interest.lost) { self.watched.keys().cloned().collect() } else { gone }
        };
        let stale = |(path, identity): &(&PathBuf, &Option<Identity>)| {
            gone.contains(*path) || wanted.directories.get(*path) != Some(*identity)
        };
        let stale: Vec<PathBuf> = self.watched.iter().filter(stale).map(|(path, _)| path.clone()).collect();
        for path in &stale {
            // It fails where the directory is gone, and the watch with it.
            let _ = self.watcher.unwatch(path);
            self.watched.remove(path);
        }
        let mut changed = !stale.is_empty();
        let mut problem = None;
        for (path, identity) in wanted.directories {
            if self.watched.contains_key(&path) {
                continue;
            }
            match self.watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path, identity);
                    changed = true;
                }
                // It was there a moment ago, so look again.
                Err(_) if !path.exists() => changed = true,
                Err(error) => problem = Some(error),
            }
        }
        problem.map_or(Ok(changed), Err)
    }
}

impl Interest {
    /// Takes note of an event. Tells whether it may concern a file.
    fn takes(&mut self, event: notify::Result<Event>) -> bool {
        let Some(event) = event.ok().filter(|event| !event.need_rescan()) else {
            self.lost = true;
            return true;
        };
        // Reading is no change, least of all our own.
        if matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write)) {
            return false;
        }
        let mut concerned = false;
        for path in event.paths {
            if self.paths.contains(&path) {
                concerned = true;
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
                    self.gone.insert(path);
                }
            }
        }
        concerned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    /// Long enough for a machine that is busy with other things.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A watch of files below a temporary directory.
    struct Bench {
        root: TempDir,
        watch: Watch,
        first: Vec<FileContent>,
        events: mpsc::Receiver<FileEvent>,
    }

    impl Bench {
        /// Prepares the directory, and then watches the files in it.
        fn new(files: &[&str], prepare: impl FnOnce(&Path)) -> Self {
            let root = tempfile::tempdir().unwrap();
            prepare(root.path());
            let (watch, first, events) = Watch::start(files.iter().map(|file| root.path().join(file)).collect());
            Self { root, watch, first, events }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.root.path().join(path)
        }

        fn write(&self, path: &str, text: &str) {
            fs::write(self.at(path), text).unwrap();
        }

        async fn next(&mut self) -> (usize, FileContent) {
            let event = tokio::time::timeout(DEADLINE, self.events.recv()).await.expect("a change in time");
            match event.expect("a running watch") {
                FileEvent::Changed { index, content } => (index, content),
                FileEvent::Degraded(why) => panic!("no notifications: {why}"),
            }
        }

        /// Waits until the first file is said to be so. What it is in between may be told or not.
        async fn until(&mut self, wanted: FileContent) {
            loop {
                if self.next().await == (0, wanted.clone()) {
                    return;
                }
            }
        }

        async fn until_text(&mut self, text: &str) {
            self.until(present(text)).await;
        }
    }

    fn present(text: &str) -> FileContent {
        FileContent::Present(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_file_is_followed_through_rewriting_renaming_and_deletion() {
        let mut bench = Bench::new(&["f", "none"], |root| fs::write(root.join("f"), "one").unwrap());
        assert_eq!(bench.first, [present("one"), FileContent::Missing]);
        bench.write("f", "two");
        bench.until_text("two").await;
        bench.write("f.new", "three");
        fs::rename(bench.at("f.new"), bench.at("f")).unwrap();
        assert_eq!(bench.next().await, (0, present("three")));
        fs::remove_file(bench.at("f")).unwrap();
        assert_eq!(bench.next().await, (0, FileContent::Missing));
        bench.write("f", "four");
        bench.until_text("four").await;
        bench.write("none", "");
        assert_eq!(bench.next().await, (1, present("")));
    }

    #[tokio::test]
    async fn what_does_not_change_a_file_is_not_told() {
        let mut bench = Bench::new(&["f", "last"], |root| fs::write(root.join("f"), "one").unwrap());
        bench.write("sibling", "x");
        bench.write("f.new", "one");
        fs::rename(bench.at("f.new"), bench.at("f")).unwrap();
        assert_eq!(fs::read(bench.at("f")).unwrap(), b"one");
        bench.watch.poll();
        bench.write("last", "x");
        // The next event is of the file written last, maybe of the moment before the text was in it.
        let (index, content) = bench.next().await;
        assert!(index == 1 && content != FileContent::Missing, "{index} {content:?}");
    }

    #[tokio::test]
    async fn a_link_is_followed_where_it_points_and_when_it_turns() {
        let mut bench = Bench::new(&["here/f"], |root| {
            for directory in ["here", "there", "elsewhere"] {
                fs::create_dir(root.join(directory)).unwrap();
            }
            fs::write(root.join("there/target"), "one").unwrap();
            fs::write(root.join("elsewhere/target"), "four").unwrap();
            symlink("../there/target", root.join("here/f")).unwrap();
        });
        assert_eq!(bench.first, [present("one")]);
        bench.write("there/target", "two");
        bench.until_text("two").await;
        bench.write("there/new", "three");
        fs::rename(bench.at("there/new"), bench.at("there/target")).unwrap();
        bench.until_text("three").await;
        symlink(bench.at("elsewhere/target"), bench.at("here/new")).unwrap();
        fs::rename(bench.at("here/new"), bench.at("here/f")).unwrap();
        bench.until_text("four").await;
        bench.write("elsewhere/target", "five");
        bench.until_text("five").await;
        fs::remove_file(bench.at("elsewhere/target")).unwrap();
        bench.until(FileContent::Missing).await;
        bench.write("elsewhere/target", "six");
        bench.until_text("six").await;
    }

    #[tokio::test]
    async fn a_link_to_a_directory_on_the_way_may_turn_too() {
        let mut bench = Bench::new(&["current/deep/f"], |root| {
            for (version, text) in [("v1", "one"), ("v2", "two")] {
                fs::create_dir_all(root.join(version).join("deep")).unwrap();
                fs::write(root.join(version).join("deep/f"), text).unwrap();
            }
            symlink("v1", root.join("current")).unwrap();
        });
        assert_eq!(bench.first, [present("one")]);
        symlink("v2", bench.at("new")).unwrap();
        fs::rename(bench.at("new"), bench.at("current")).unwrap();
        bench.until_text("two").await;
        bench.write("v2/deep/f", "three");
        bench.until_text("three").await;
    }

    #[tokio::test]
    async fn a_link_in_a_circle_is_no_end_of_the_world() {
        let mut bench = Bench::new(&["f"], |root| symlink("f", root.join("f")).unwrap());
        assert!(matches!(&bench.first[..], [FileContent::Unreadable(_)]), "{:?}", bench.first);
        fs::remove_file(bench.at("f")).unwrap();
        bench.until(FileContent::Missing).await;
    }

    #[tokio::test]
    async fn directories_may_appear_one_by_one_or_all_at_once() {
        let mut bench = Bench::new(&["a/b/c/f"], |_| ());
        assert_eq!(bench.first, [FileContent::Missing]);
        for directory in ["a", "a/b", "a/b/c"] {
            fs::create_dir(bench.at(directory)).unwrap();
        }
        bench.write("a/b/c/f", "one");
        bench.until_text("one").await;
        fs::remove_dir_all(bench.at("a")).unwrap();
        bench.until(FileContent::Missing).await;
        fs::create_dir_all(bench.at("a.new/b/c")).unwrap();
        bench.write("a.new/b/c/f", "two");
        fs::rename(bench.at("a.new"), bench.at("a")).unwrap();
        bench.until_text("two").await;
        bench.write("a/b/c/f", "three");
        bench.until_text("three").await;
    }

    #[tokio::test]
    async fn a_directory_may_be_removed_replaced_and_come_back() {
        let mut bench = Bench::new(&["d/f"], |root| fs::create_dir(root.join("d")).unwrap());
        for round in 0..5 {
            let [one, two, three] = ["one", "two", "three"].map(|text| format!("{text} {round}"));
            bench.write("d/f", &one);
            bench.until_text(&one).await;
            // The new directory often has the inode of the old one.
            fs::remove_dir_all(bench.at("d")).unwrap();
            fs::create_dir(bench.at("d")).unwrap();
            bench.write("d/f", &two);
            bench.until_text(&two).await;
            bench.write("d/f", &three);
            bench.until_text(&three).await;
            fs::rename(bench.at("d"), bench.at("old")).unwrap();
            bench.until(FileContent::Missing).await;
            fs::rename(bench.at("old"), bench.at("d")).unwrap();
            bench.until_text(&three).await;
        }
    }

    #[tokio::test]
    async fn what_is_no_file_is_unreadable_and_not_missing() {
        let mut bench = Bench::new(&["f"], |root| fs::create_dir(root.join("f")).unwrap());
        let FileContent::Unreadable(why) = &bench.first[0] else { panic!("{:?}", bench.first) };
        let expected = "it is not a regular file; check that it is the right file";
        assert_eq!(why.to_string(), format!("cannot read {}: {expected}", bench.at("f").display()));
        fs::remove_dir(bench.at("f")).unwrap();
        bench.until(FileContent::Missing).await;
        bench.write("f", "one");
        bench.until_text("one").await;
    }

    #[test]
    fn content_is_parsed_or_the_reason_why_not_is_told() {
        let parse = |content: FileContent| {
            content.parse(Path::new("/f"), |bytes| match bytes {
                b"" => Err(Flaw::whole("the file is empty", None)),
                bytes => Ok(bytes.len()),
            })
        };
        assert_eq!(parse(present("four")), Ok(4));
        assert_eq!(parse(present("")).unwrap_err().to_string(), "/f: the file is empty");
        let missing = parse(FileContent::Missing).unwrap_err().to_string();
        assert!(missing.starts_with("cannot read /f: there is no such file; "), "{missing}");
        let other = FileError::flawed(Path::new("/g"), Flaw::whole("x", None));
        assert_eq!(parse(FileContent::Unreadable(other.clone())), Err(other));
    }

    #[tokio::test]
    async fn a_restless_file_is_told_of_now_and_then() {
        let mut bench = Bench::new(&["f"], |root| fs::write(root.join("f"), "").unwrap());
        let path = bench.at("f");
        let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
        let writer = tokio::spawn(async move {
            let mut writes = 0_usize;
            // Never left alone for as long as it takes to be quiet.
            while ended.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                writes += 1;
                fs::write(&path, writes.to_string()).unwrap();
                tokio::time::sleep(QUIET / 6).await;
            }
            writes
        });
        let mut last = present("");
        for _ in 0..3 {
            (_, last) = bench.next().await;
        }
        end.send(()).unwrap();
        let written = writer.await.unwrap();
        assert!(written > 3, "each of {written} writes was told");
        if last != present(&written.to_string()) {
            bench.until_text(&written.to_string()).await;
        }
    }

    #[tokio::test]
    async fn without_notifications_polling_finds_every_change() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("d/f");
        let none = || Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch));
        let (watch, first, mut events) = Watch::start_with(vec![file.clone()], none);
        assert_eq!(first, [FileContent::Missing]);
        let Some(FileEvent::Degraded(why)) = events.recv().await else { panic!("a warning comes first") };
        assert_eq!(why, "OS file watch limit reached.");
        fs::create_dir(root.path().join("d")).unwrap();
        for content in [present("one"), present("three"), FileContent::Missing, present("four")] {
            match &content {
                FileContent::Present(bytes) => fs::write(&file, bytes).unwrap(),
                _ => fs::remove_file(&file).unwrap(),
            }
            watch.poll();
            let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap();
            assert_eq!(event, Some(FileEvent::Changed { index: 0, content }));
        }
        drop(watch);
        assert_eq!(tokio::time::timeout(DEADLINE, events.recv()).await, Ok(None));
    }

    #[tokio::test]
    async fn a_watch_that_is_dropped_ends() {
        let bench = Bench::new(&["f"], |_| ());
        let Bench { watch, mut events, .. } = bench;
        drop(watch);
        assert_eq!(tokio::time::timeout(DEADLINE, events.recv()).await, Ok(None));
    }

    #[test]
    fn reading_is_no_event_and_lost_events_are_one() {
        let mut interest = Interest { paths: ["/d/f".into(), "/d".into()].into(), ..Interest::default() };
        let event = |kind, path: &str| Ok(Event::new(kind).add_path(path.into()));
        for access in [AccessKind::Open(AccessMode::Any), AccessKind::Read, AccessKind::Close(AccessMode::Read)] {
            assert!(!interest.takes(event(EventKind::Access(access), "/d/f")));
        }
        let modified = EventKind::Modify(ModifyKind::Any);
        assert!(!interest.takes(event(modified, "/d/other")));
        assert!(interest.takes(event(modified, "/d/f")));
        assert!(interest.takes(event(EventKind::Access(AccessKind::Close(AccessMode::Write)), "/d/f")));
        assert!(interest.gone.is_empty() && !interest.lost);
        assert!(interest.takes(event(EventKind::Remove(notify::event::RemoveKind::Folder), "/d")));
        assert_eq!(interest.gone, ["/d".into()].into());
        assert!(interest.takes(Ok(Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan))));
        assert!(interest.lost);
    }
}
