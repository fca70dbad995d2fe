//! Files that change under a watch, in every way that people and programs change them.

use super::*;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

/// Long enough for a busy machine.
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

    /// Waits until this content of the first file is reported. States in between may or may not be.
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

fn check(watch: &Watch) {
    watch.checks().for_each(|mut check| check());
}

pub(super) fn present(text: &str) -> FileContent {
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
async fn events_without_a_change_are_ignored() {
    let mut bench = Bench::new(&["f", "last"], |root| fs::write(root.join("f"), "one").unwrap());
    bench.write("sibling", "x");
    bench.write("f.new", "one");
    fs::rename(bench.at("f.new"), bench.at("f")).unwrap();
    assert_eq!(fs::read(bench.at("f")).unwrap(), b"one");
    check(&bench.watch);
    bench.write("last", "x");
    // The next event is about the file written last, maybe before its text was written.
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
async fn a_path_that_is_no_file_is_unreadable_rather_than_missing() {
    let mut bench = Bench::new(&["f"], |root| fs::create_dir(root.join("f")).unwrap());
    let FileContent::Unreadable(why) = &bench.first[0] else { panic!("{:?}", bench.first) };
    let expected = "it is not a regular file; check that it is the right file";
    assert_eq!(why.to_string(), format!("cannot read {}: {expected}", bench.at("f").display()));
    fs::remove_dir(bench.at("f")).unwrap();
    bench.until(FileContent::Missing).await;
    bench.write("f", "one");
    bench.until_text("one").await;
}

#[tokio::test]
async fn a_file_that_changes_constantly_is_reported_now_and_then() {
    let mut bench = Bench::new(&["f"], |root| fs::write(root.join("f"), "").unwrap());
    let path = bench.at("f");
    let (end, mut ended) = tokio::sync::oneshot::channel::<()>();
    let writer = tokio::spawn(async move {
        let mut writes = 0_usize;
        // Never unchanged for as long as `QUIET_TIME`.
        while ended.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            writes += 1;
            fs::write(&path, writes.to_string()).unwrap();
            tokio::time::sleep(QUIET_TIME / 6).await;
        }
        writes
    });
    let mut last = present("");
    for _ in 0..3 {
        (_, last) = bench.next().await;
    }
    end.send(()).unwrap();
    let written = writer.await.unwrap();
    assert!(written > 3, "each of {written} writes was reported");
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
        check(&watch);
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
