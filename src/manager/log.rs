//! The log of one unit: its last lines, and optionally those that follow.
//!
//! Each manager has its own way to read logs; this is the result. A child process reads the log, in a task that ends,
//! together with the process, when the [`Log`] is dropped.

use std::process::{ExitStatus, Stdio};
use std::time::SystemTime;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::core::text::excerpt;

/// Maximum number of lines that wait for a slow follower.
const MAX_QUEUED_LINES: usize = 256;
/// Maximum length of a line, in bytes: journald cuts lines at 48 KiB, of which each byte can take four in JSON.
const MAX_LINE_BYTES: usize = 256 * 1024;

/// The author of a line.
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
    /// When it was written; `None` if unknown, as in a file.
    pub time: Option<SystemTime>,
    /// Its author.
    pub author: Author,
    /// Its text, safe to show: without control characters, never empty, cut to 1000 characters and `…`.
    pub text: String,
}

/// Why a log cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the log cannot be read: {0}")]
pub struct LogError(pub(super) String);

impl LogError {
    /// Reading it takes too long.
    pub(crate) fn slow() -> Self {
        Self("it takes too long".to_owned())
    }
}

/// Which lines to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedLines {
    /// Number of past lines; the latest are read.
    pub last: usize,
    /// Whether to continue with lines as they are written.
    pub follow: bool,
}

/// Lines as they come, the oldest first. Reading ends when this is dropped.
#[derive(Debug)]
pub struct Log {
    lines: mpsc::Receiver<Result<LogLine, LogError>>,
    _reader: JoinSet<()>,
}

impl Log {
    /// The next line; `None` at the end, which does not come while following.
    ///
    /// # Errors
    ///
    /// If the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<LogLine>, LogError> {
        self.lines.recv().await.transpose()
    }

    /// Messages of the reading task.
    pub(super) fn read_by<F>(reader: impl FnOnce(Pen) -> F) -> Self
    where
        F: Future<Output = Result<(), LogError>> + Send + 'static,
    {
        let (sender, lines) = mpsc::channel(MAX_QUEUED_LINES);
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

/// The sending end of a [`Log`].
#[derive(Debug, Clone)]
pub(super) struct Pen(mpsc::Sender<Result<LogLine, LogError>>);

impl Pen {
    /// Adds a line, waiting for room.
    pub async fn write(&self, line: LogLine) {
        // If the receiver is gone, this task is about to be aborted.
        let _ = self.0.send(Ok(line)).await;
    }
}

/// The output of a program, line by line. The program is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Printed {
    program: String,
    child: Child,
    output: BufReader<ChildStdout>,
    complaints: JoinHandle<String>,
}

impl Printed {
    /// Runs a program without input.
    pub fn by(mut command: Command) -> Result<Self, LogError> {
        let program = command.as_std().get_program().display().to_string();
        let failed = |error| LogError(format!("{program}: {error}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(failed)?;
        let (Some(output), Some(errors)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
        };
        // It ends with the program.
        let complaints = tokio::spawn(complaints(errors));
        Ok(Self { program, child, output: BufReader::new(output), complaints })
    }

    /// The next line, without its end; `None` once the program has ended successfully.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, LogError> {
        match self.line_or_end().await {
            Ok(Ok(line)) => Ok(Some(line)),
            Ok(Err(status)) if status.success() => Ok(None),
            Ok(Err(status)) => {
                let complaint = (&mut self.complaints).await.unwrap_or_default();
                let why = if complaint.is_empty() { format!("it ended with {status}") } else { complaint };
                Err(LogError(format!("{}: {why}", self.program)))
            }
            Err(error) => Err(LogError(format!("{}: {error}", self.program))),
        }
    }

    async fn line_or_end(&mut self) -> std::io::Result<Result<Vec<u8>, ExitStatus>> {
        match bounded_line(&mut self.output).await? {
            Some(line) => Ok(Ok(line)),
            None => Ok(Err(self.child.wait().await?)),
        }
    }
}

/// The last error message of a program.
async fn complaints(errors: ChildStderr) -> String {
    let mut errors = BufReader::new(errors);
    let mut last = Vec::new();
    while let Ok(Some(line)) = bounded_line(&mut errors).await {
        last = line;
    }
    excerpt(&String::from_utf8_lossy(&last))
}

/// The next line without its end, cut if it is too long; `None` at the end.
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
        line.extend_from_slice(&piece[..piece.len().min(MAX_LINE_BYTES - line.len())]);
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
        let mut printed = Printed::by(shell(script)).unwrap();
        loop {
            match printed.next().await {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return (lines, Ok(())),
                Err(error) => return (lines, Err(error)),
            }
        }
    }

    #[tokio::test]
    async fn lines_come_whole_and_long_ones_are_cut_off() {
        let (lines, end) = read("printf 'one\\n\\ntwo\\377'; head -c 100000 /dev/zero >&2").await;
        assert_eq!(lines, [b"one".to_vec(), vec![], b"two\xff".to_vec()]);
        assert!(end.is_ok());
        let (lines, _) = read("head -c 1000000 /dev/zero; echo; echo next").await;
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [MAX_LINE_BYTES, 4]);
    }

    #[tokio::test]
    async fn a_reader_that_fails_says_why() {
        assert_eq!(
            read("echo no such log >&2; exit 1").await.1.unwrap_err().to_string(),
            "the log cannot be read: sh: no such log"
        );
        let missing = Printed::by(Command::new("/nowhere/reader"));
        assert!(missing.unwrap_err().to_string().starts_with("the log cannot be read: /nowhere/reader: No such file"));
    }
}
