//! Sends log lines to journald's socket (the native protocol, systemd.io/JOURNAL_NATIVE_PROTOCOL).

use std::fmt;
use std::io;
use std::os::unix::net::UnixDatagram;

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::writer::{Sink, Writer};

const SOCKET: &str = "/run/systemd/journal/socket";
/// Maximum length of a field's value, in bytes: an entry has to fit into one datagram.
const MAX_VALUE_BYTES: usize = 32 * 1024;

/// Turns log lines into entries.
pub(super) struct Journal(pub Writer);

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::of(*event.metadata().level());
        event.record(&mut entry);
        self.0.put(entry.0);
    }
}

/// An entry under construction.
struct Entry(Vec<u8>);

impl Entry {
    fn of(level: Level) -> Self {
        let priority = match level {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        let mut entry = Self(Vec::with_capacity(512));
        entry.put("PRIORITY", priority);
        entry.put("SYSLOG_IDENTIFIER", "workerheal");
        entry
    }

    fn put(&mut self, name: &str, value: &str) {
        let end = (0..=MAX_VALUE_BYTES.min(value.len())).rev().find(|at| value.is_char_boundary(*at)).unwrap_or(0);
        let value = &value.as_bytes()[..end];
        self.0.extend(name.bytes().map(|byte| byte.to_ascii_uppercase()));
        if value.contains(&b'\n') {
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value);
        self.0.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Fields of libraries, such as `log.target`, have names that journald rejects.
        if field.name().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.put(field.name(), value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

/// journald's socket.
pub(super) struct Socket(UnixDatagram);

impl Socket {
    /// A socket for it, whether or not journald is running.
    pub fn open() -> io::Result<Self> {
        UnixDatagram::unbound().map(Self)
    }
}

impl Sink for Socket {
    /// A datagram has one entry: of several, journald 257 drops all but the first.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        // By its path each time: it may have been created again.
        self.0.send_to(line, SOCKET).map(drop)
    }

    fn may_pass(&self, error: &io::Error) -> bool {
        // All errors except those of the line itself.
        error.raw_os_error() != Some(rustix::io::Errno::MSGSIZE.raw_os_error())
    }

    fn missing(&self, lines: u64) -> Vec<u8> {
        let mut entry = Entry::of(Level::ERROR);
        entry.put("MESSAGE", &super::missing(lines));
        entry.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_several_lines_have_their_length_before_them() {
        let mut entry = Entry::of(Level::WARN);
        entry.put("message", "one\ntwo");
        entry.put("Other", "x=y");
        let expected = [
            &b"PRIORITY=4\nSYSLOG_IDENTIFIER=workerheal\nMESSAGE\n"[..],
            &7_u64.to_le_bytes(),
            b"one\ntwo\nOTHER=x=y\n",
        ];
        assert_eq!(entry.0, expected.concat());
        let mut entry = Entry(Vec::new());
        entry.put("A", &"é".repeat(MAX_VALUE_BYTES));
        assert_eq!(entry.0.len(), "A=\n".len() + MAX_VALUE_BYTES);
    }
}
