//! Reads the ends of log files.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use futures_util::future::try_join_all;
use rustix::fs::OFlags;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::LOG_TIMEOUT;
use crate::core::text::{excerpt, log_lines};
use crate::manager::log::{Author, Log, LogError, LogLine, Pen, Printed, WantedLines};

/// How much of the end of a file is read, in bytes.
const TAIL_BYTES: u64 = 16 * 1024;

/// The last non-empty line, safe to show; `None` if there is none, or it is no file.
pub(super) fn last_line(path: &Path) -> Option<String> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    // If it has become a pipe in the meantime, opening must not block.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() {
        return None;
    }
    file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    Some(excerpt(&String::from_utf8_lossy(&bytes))).filter(|line| !line.is_empty())
}

/// The last lines of each of the files, the most recently written file last; then lines that are added to any of them,
/// even if they are replaced.
pub(super) fn log(mut paths: Vec<PathBuf>, wanted: WantedLines) -> Log {
    paths.sort();
    paths.dedup();
    Log::read_by(move |pen| async move {
        let read = spawn_blocking(move || {
            // There may be none yet. A pipe must not be read by two processes.
            paths.retain(|path| std::fs::metadata(path).map_or(true, |data| data.is_file()));
            paths.sort_by_key(|path| std::fs::metadata(path).and_then(|data| data.modified()).ok());
            paths
        });
        let paths = timeout(LOG_TIMEOUT, read).await.ok().and_then(Result::ok);
        let paths = paths.ok_or_else(|| LogError("its file system does not answer".to_owned()))?;
        if wanted.follow {
            try_join_all(paths.iter().map(|path| tail(path, wanted, &pen))).await?;
        } else {
            for path in paths.iter().filter(|path| path.exists()) {
                tail(path, wanted, &pen).await?;
            }
        }
        Ok(())
    })
}

/// The last lines of a file by tail(1), which can follow replaced files.
async fn tail(path: &Path, wanted: WantedLines, pen: &Pen) -> Result<(), LogError> {
    let mut tail = Command::new("tail");
    tail.args(wanted.follow.then_some("-F")).args(["-n", &wanted.last.to_string(), "--"]).arg(path);
    let mut lines = Printed::by(tail)?;
    while let Some(line) = lines.next().await? {
        let time = wanted.follow.then(SystemTime::now);
        for text in log_lines(&String::from_utf8_lossy(&line)) {
            pen.write(LogLine { time, author: Author::Worker, text }).await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_end_of_a_file_is_found_whatever_its_length() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        assert_eq!(last_line(&path), None);
        for (content, line) in [
            ("", None),
            ("\n \n", None),
            ("one\ntwo", Some("two")),
            ("one\ntwo\n\n", Some("two")),
            ("\u{1b}[31mred\u{1b}[0m\r\n", Some("red")),
        ] {
            fs::write(&path, content).unwrap();
            assert_eq!(last_line(&path).as_deref(), line, "{content:?}");
        }
        // A sparse file of a terabyte, of which only the end is read.
        let long = fs::File::create(&path).unwrap();
        long.set_len(1 << 40).unwrap();
        let mut long = OpenOptions::new().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut long, b"\nlast words\n").unwrap();
        assert_eq!(last_line(&path).as_deref(), Some("last words"));
        assert_eq!(last_line(directory.path()), None);
        assert_eq!(last_line(Path::new("/dev/zero")), None);
    }

    /// The text of the next line; empty at the end.
    async fn next(log: &mut Log) -> String {
        let line = timeout(Duration::from_secs(20), log.next()).await.unwrap().unwrap();
        line.map(|line| line.text).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_log_is_the_end_of_its_files_and_new_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let paths = vec![path("err"), path("out"), path("err"), directory.path().to_owned()];
        let past = WantedLines { last: 2, follow: false };
        assert_eq!(next(&mut log(paths.clone(), past)).await, "", "there is no file yet");

        fs::write(path("err"), "one\ntwo\n  thr\0ee\n").unwrap();
        let mut read = log(paths.clone(), past);
        assert_eq!([next(&mut read).await, next(&mut read).await, next(&mut read).await], ["two", "  three", ""]);

        let mut read = log(paths, WantedLines { last: 1, follow: true });
        assert_eq!(next(&mut read).await, "  three");
        fs::write(path("out"), "begins\n").unwrap();
        assert_eq!(next(&mut read).await, "begins");
        fs::write(path("new"), "rotated\n").unwrap();
        fs::rename(path("new"), path("err")).unwrap();
        assert_eq!(next(&mut read).await, "rotated");
    }
}
