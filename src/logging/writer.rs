//! Writes log lines from a thread of its own, the only one that blocks: journald may hang, and standard error may be a
//! pipe that is not read. Lines wait in a queue of limited length; lines that do not fit are counted, and the count is
//! written once there is room.
//!
//! A line is written at once. While there are many, as in a storm, they are gathered for some milliseconds and written
//! one after another: a write wakes the journal, which then competes with the service manager.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum number of queued lines: those of a storm of a thousand workers.
const MAX_QUEUED_LINES: usize = 16 * 1024;
/// Maximum size of queued lines, in bytes.
const MAX_QUEUED_BYTES: usize = 8 * 1024 * 1024;
/// How long lines are gathered after several were written in a row.
const GATHER_TIME: Duration = Duration::from_millis(20);
/// Delay before a failed write is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A destination of lines.
pub(super) trait Sink: Send + 'static {
    /// Writes a line, however long that takes.
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

    fn take(&mut self) -> Option<Vec<u8>> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
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

    fn write_all(&self, mut sink: impl Sink) {
        let mut in_a_row = 0_u64;
        loop {
            let (line, has_waited) = self.next(&sink);
            in_a_row = if has_waited { 1 } else { in_a_row + 1 };
            write(&mut sink, &line);
            if in_a_row > 1 && self.queue().lines.is_empty() {
                std::thread::sleep(GATHER_TIME);
            }
        }
    }

    /// The next line, and whether it had to be waited for.
    fn next(&self, sink: &impl Sink) -> (Vec<u8>, bool) {
        let mut queue = self.queue();
        let mut has_waited = false;
        loop {
            if let Some(line) = queue.take() {
                queue.busy = true;
                return (line, has_waited);
            }
            if queue.missing > 0 {
                queue.busy = true;
                return (sink.missing(std::mem::take(&mut queue.missing)), has_waited);
            }
            queue.busy = false;
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            has_waited = true;
        }
    }
}

/// Writes a line, and retries while that may help.
fn write(sink: &mut impl Sink, line: &[u8]) {
    while let Err(error) = sink.write(line) {
        if !sink.may_pass(&error) {
            return;
        }
        std::thread::sleep(RETRY_DELAY);
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

    const SOON: Duration = Duration::from_secs(20);

    /// journald of systemd 257 takes only the first entry of a datagram.
    #[test]
    fn lines_that_arrive_during_a_write_are_written_one_by_one() {
        let ((allow, allowed), (tell, written_lines)) = (mpsc::channel(), mpsc::channel());
        let writer = Writer::start(Slow(allowed, tell)).unwrap();
        for line in ["1", "2", "3", "4"] {
            writer.put(line.as_bytes().to_vec());
        }
        for _ in 0..4 {
            allow.send(Ok(())).unwrap();
        }
        writer.flush(SOON);
        assert_eq!(written_lines.try_iter().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
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
