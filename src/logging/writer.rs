//! Writes log lines from a thread of its own, the only one that blocks: journald may hang, and standard error may be a
//! pipe that is not read. Lines wait in a queue of limited length; lines that do not fit are counted, and the count is
//! written once there is room.
//!
//! A line is written at once. While there are many, as in a storm, they are gathered for some milliseconds and written
//! together, if the destination supports that: each write wakes the journal, which then competes with the service
//! manager.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of queued lines: those of a storm of a thousand workers.
const MAX_QUEUED_LINES: usize = 16 * 1024;
/// Maximum size of queued lines, in bytes.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;
/// Maximum size of lines that are written together, in bytes: they have to fit into one datagram.
const MAX_TOGETHER_BYTES: usize = 32 * 1024;
/// How long lines are gathered after several were written together.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Delay before a failed write is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A destination of lines.
pub(super) trait Sink: Send + 'static {
    /// Maximum number of lines that it takes in one write, and what separates them.
    const BATCH: (usize, &'static [u8]) = (1, b"");

    /// Writes a line, or several, however long that takes.
    fn write(&mut self, line: &[u8]) -> io::Result<()>;

    /// Whether to try the same line again after this error.
    fn may_pass(&self, error: &io::Error) -> bool;

    /// The line that reports dropped lines.
    fn missing(&self, lines: u64) -> Vec<u8>;
}

/// The handle of the thread.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    missing: u64,
    /// A line is being written.
    busy: bool,
}

impl Queue {
    fn put(&mut self, line: Vec<u8>) {
        if self.lines.len() >= MAX_QUEUED_LINES || self.bytes + line.len() > MAX_QUEUED_BYTES {
            self.missing += 1;
            return;
        }
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// As many lines as fit together; empty only if there are none.
    fn take_together(&mut self, most: usize) -> Vec<Vec<u8>> {
        let mut bytes = 0;
        let fits = |line: &&Vec<u8>| {
            bytes += line.len();
            bytes <= MAX_TOGETHER_BYTES
        };
        let count = self.lines.iter().take(most).take_while(fits).count().max(1).min(self.lines.len());
        let lines: Vec<Vec<u8>> = self.lines.drain(..count).collect();
        self.bytes -= lines.iter().map(Vec::len).sum::<usize>();
        lines
    }
}

impl Writer {
    /// Starts the thread.
    pub fn start(sink: impl Sink) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || theirs.write_all(sink))?;
        Ok(Self(shared))
    }

    /// Queues a line; never blocks.
    pub fn put(&self, line: Vec<u8>) {
        self.0.queue().put(line);
        self.0.filled.notify_one();
    }

    /// Waits until everything is written, within the time.
    pub fn flush(&self, time: Duration) {
        let latest = Instant::now() + time;
        let mut queue = self.0.queue();
        while queue.busy || !queue.lines.is_empty() || queue.missing > 0 {
            let left = latest.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            queue = self.0.emptied.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent at any time.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all<S: Sink>(&self, mut sink: S) {
        loop {
            let lines = self.next(&sink);
            if let [line] = lines.as_slice() {
                write(&mut sink, line);
                continue;
            }
            if !write(&mut sink, &lines.join(S::BATCH.1)) {
                for line in &lines {
                    let _ = write(&mut sink, line);
                }
            }
            std::thread::sleep(GATHER_TIME);
        }
    }

    /// The next lines; waits until there is one.
    fn next<S: Sink>(&self, sink: &S) -> Vec<Vec<u8>> {
        let mut queue = self.queue();
        loop {
            let lines = queue.take_together(S::BATCH.0);
            if !lines.is_empty() {
                queue.busy = true;
                return lines;
            }
            if queue.missing > 0 {
                queue.busy = true;
                return vec![sink.missing(std::mem::take(&mut queue.missing))];
            }
            queue.busy = false;
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes, and retries while that may help. Returns whether it was written.
fn write(sink: &mut impl Sink, bytes: &[u8]) -> bool {
    loop {
        match sink.write(bytes) {
            Ok(()) => return true,
            Err(error) if !sink.may_pass(&error) => return false,
            Err(_) => std::thread::sleep(RETRY_DELAY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{self, Receiver, Sender};

    /// A sink that accepts a line when permitted.
    struct Slow(Receiver<io::Result<()>>, Sender<String>);

    impl Sink for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            self.0.recv().map_err(|_| io::ErrorKind::BrokenPipe)??;
            self.1.send(String::from_utf8_lossy(line).into_owned()).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }

        fn may_pass(&self, error: &io::Error) -> bool {
            error.kind() == io::ErrorKind::NotFound
        }

        fn missing(&self, lines: u64) -> Vec<u8> {
            format!("{lines} missing").into_bytes()
        }
    }

    /// A sink that accepts several lines at once, but not all of them.
    struct Wide(Sender<String>);

    impl Sink for Wide {
        const BATCH: (usize, &'static [u8]) = (3, b"+");

        fn write(&mut self, line: &[u8]) -> io::Result<()> {
            let text = String::from_utf8_lossy(line).into_owned();
            if text.contains('+') && text.contains("wrong") {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            self.0.send(text).map_err(|_| io::ErrorKind::BrokenPipe.into())
        }

        fn may_pass(&self, error: &io::Error) -> bool {
            error.kind() == io::ErrorKind::NotFound
        }

        fn missing(&self, lines: u64) -> Vec<u8> {
            format!("{lines} missing").into_bytes()
        }
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn lines_that_arrive_during_a_write_are_written_together_and_once() {
        let (tell, written_lines) = mpsc::channel();
        let writer = Writer::start(Wide(tell)).unwrap();
        let large = "x".repeat(MAX_TOGETHER_BYTES);
        // None is accepted before all are queued.
        let mut queue = writer.0.queue();
        for line in ["1", "2", "3", "4", "wrong", "5", &large, "6"] {
            queue.put(line.as_bytes().to_vec());
        }
        drop(queue);
        writer.0.filled.notify_one();
        writer.flush(SOON);
        assert_eq!(written_lines.try_iter().collect::<Vec<_>>(), ["1+2+3", "4", "wrong", "5", &large, "6"]);
    }

    #[test]
    fn a_blocked_reader_blocks_nothing_and_lost_lines_are_reported() {
        let ((allow, allowed), (tell, written_lines)) = (mpsc::channel(), mpsc::channel());
        let writer = Writer::start(Slow(allowed, tell)).unwrap();
        writer.put(b"first".to_vec());
        let begin = Instant::now();
        // The thread may have taken the first one already.
        for _ in 0..MAX_QUEUED_LINES + 10 {
            writer.put(b"more".to_vec());
        }
        assert!(begin.elapsed() < SOON);
        writer.flush(Duration::from_millis(10));

        allow.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        for _ in 0..MAX_QUEUED_LINES + 20 {
            allow.send(Ok(())).unwrap();
        }
        writer.flush(SOON);
        let lines: Vec<String> = written_lines.try_iter().collect();
        assert_eq!(lines[0], "first");
        let missing = MAX_QUEUED_LINES + 11 - (lines.len() - 1);
        assert_eq!(lines.last().unwrap(), &format!("{missing} missing"));
        assert!((10..=11).contains(&missing), "{missing}");
        writer.put(vec![b'x'; MAX_QUEUED_BYTES + 1]);
        writer.flush(SOON);
        assert_eq!(written_lines.try_iter().collect::<Vec<_>>(), ["1 missing"]);
    }

    #[test]
    fn a_line_that_cannot_be_written_holds_up_no_other() {
        let ((allow, allowed), (tell, written_lines)) = (mpsc::channel(), mpsc::channel());
        let writer = Writer::start(Slow(allowed, tell)).unwrap();
        writer.put(b"one".to_vec());
        writer.put(b"two".to_vec());
        allow.send(Err(io::ErrorKind::InvalidInput.into())).unwrap();
        allow.send(Ok(())).unwrap();
        writer.flush(SOON);
        assert_eq!(written_lines.try_iter().collect::<Vec<_>>(), ["two"]);
    }
}
