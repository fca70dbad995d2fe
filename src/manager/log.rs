//! The log of one unit: its last lines, and those to come.
//!
//! Where they stand is each manager's own matter; here is what it comes to. A reader of the log is a
//! child process, in a task that ends, and it with it, when the [`Log`] is dropped.

use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::core::event::excerpt;

/// So many lines wait for whoever follows before the reader does.
const QUEUE: usize = 256;
/// More of a line than this is not kept, in bytes: journald cuts lines off at 48 KiB, of which each
/// byte can take four in JSON.
const LONGEST: usize = 256 * 1024;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Author {
    /// The unit's own processes.
    Worker,
    /// The service manager, about the unit.
    Manager,
    /// workerheal, about the unit.
    Workerheal,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written; `None` where that is not known, as in a file.
    pub time: Option<SystemTime>,
    /// By whom.
    pub author: Author,
    /// What it says, fit to show: without control characters, never empty, at most 1000 characters and
    /// then `…`.
    pub text: String,
}

/// Why a log cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log cannot be read: {0}")]
pub struct LogError(pub(super) String);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedLines {
    /// So many of the past, the latest.
    pub last: usize,
    /// Also those that are yet to be written.
    pub follow: bool,
}

/// Lines as they come, the oldest first. Dropped, it reads no further.
#[derive(Debug)]
pub struct Log {
    lines: mpsc::Receiver<Result<LogLine, LogError>>,
    _reader: JoinSet<()>,
}

impl Log {
    /// The next line; `None` at the end, which does not come while one follows.
    ///
    /// # Errors
    ///
    /// If the log cannot be read, or no longer.
    pub async fn next(&mut self) -> Result<Option<LogLine>, LogError> {
        self.lines.recv().await.transpose()
    }

    /// What a task sends that is given the other end.
    pub(super) fn read_by<F>(reader: impl FnOnce(Pen) -> F) -> Self
    where
        F: Future<Output = Result<(), LogError>> + Send + 'static,
    {
        let (sender, lines) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        let reading = reader(Pen(sender.clone()));
        tasks.spawn(async move {
            if let Err(error) = reading.await {
                let _ = sender.send(Err(error)).await;
            }
        });
        Self { lines, _reader: tasks }
    }
}

/// The end of a [`Log`] that lines are put in.
#[derive(Debug, Clone)]
pub(super) struct Pen(mpsc::Sender<Result<LogLine, LogError>>);

impl Pen {
    /// Adds a line, when there is room.
    pub async fn write(&self, line: LogLine) {
        // Nobody wants it where the other end is gone: then this task is about to be aborted.
        let _ = self.0.send(Ok(line)).await;
    }
}

/// Runs a program, and gives each line that it prints, without its end, to `take`.
pub(super) async fn each_line<F>(mut command: Command, mut take: impl FnMut(Vec<u8>) -> F) -> Result<(), LogError>
where
    F: Future<Output = ()>,
{
    let program = command.as_std().get_program().display().to_string();
    let failed = |why: &dyn std::fmt::Display| LogError(format!("{program}: {why}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(&error))?;
    let errors = child.stderr.take();
    let complaints = async {
        // More than it has to say.
        let mut text = Vec::new();
        if let Some(errors) = errors {
            let mut errors = BufReader::new(errors);
            let _ = (&mut errors).take(4096).read_to_end(&mut text).await;
            let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        }
        excerpt(&String::from_utf8_lossy(&text))
    };
    let output = child.stdout.take();
    let lines = async {
        let Some(output) = output else { return Ok(()) };
        let mut output = BufReader::new(output);
        while let Some(line) = bounded_line(&mut output).await? {
            take(line).await;
        }
        std::io::Result::Ok(())
    };
    let (complaints, read) = tokio::join!(complaints, lines);
    read.map_err(|error| failed(&error))?;
    let status: ExitStatus = child.wait().await.map_err(|error| failed(&error))?;
    match (status.success(), complaints.as_str()) {
        (true, _) => Ok(()),
        (false, "") => Err(failed(&format!("it ended with {status}"))),
        (false, complaints) => Err(failed(&complaints)),
    }
}

/// The next line without its end, cut off where it gets too long; `None` at the end.
async fn bounded_line(input: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut begun = false;
    loop {
        let buffer = input.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(begun.then_some(line));
        }
        begun = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let piece = &buffer[..end.unwrap_or(buffer.len())];
        line.extend_from_slice(&piece[..piece.len().min(LONGEST - line.len())]);
        let consumed = end.map_or(buffer.len(), |end| end + 1);
        input.consume(consumed);
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn read(script: &str) -> (Vec<Vec<u8>>, Result<(), LogError>) {
        let mut lines = Vec::new();
        let end = each_line(shell(script), |line| {
            lines.push(line);
            std::future::ready(())
        });
        let end = end.await;
        (lines, end)
    }

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_are_cut_off() {
        let (lines, end) = read("printf 'one\\n\\ntwo\\377'; head -c 100000 /dev/zero >&2").await;
        assert_eq!(lines, [b"one".to_vec(), vec![], b"two\xff".to_vec()]);
        assert!(end.is_ok());
        let (lines, _) = read("head -c 1000000 /dev/zero; echo; echo next").await;
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST, 4]);
    }

    #[tokio::test]
    async fn a_reader_that_fails_says_why() {
        assert_eq!(
            read("echo no such log >&2; exit 1").await.1.unwrap_err().to_string(),
            "the log cannot be read: sh: no such log"
        );
        let missing = each_line(Command::new("/nowhere/reader"), |_| std::future::ready(())).await;
        assert!(missing.unwrap_err().to_string().starts_with("the log cannot be read: /nowhere/reader: No such file"));
    }
}
