//! The manager's private socket, which does without a bus; `systemctl` prefers it too.
//!
//! A bus daemon reads and writes every message: in a storm of 1,000 workers it took 0.59 s of CPU, more than workerheal
//! itself, and made the storm last 2.9 s instead of 2.5 s. Healing also continues when the bus daemon dies. The
//! differences to a bus are:
//!
//! - Every signal of the manager arrives: there are no match rules.
//! - Only the manager is on the socket, so all messages are trusted.
//! - Its messages have the sender `org.freedesktop.systemd1`. That is no unique name, and zbus rejects them. So the
//!   name is replaced by a unique one of the same length in the incoming bytes.
//!
//! It is no documented interface: if it is missing, or the first call is not answered, the bus is used. A manager that
//! re-executes itself drops the connection.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use zbus::Message;
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

/// The header field `SENDER` as systemd writes it: its code, the signature `s`, length, text.
const SENDER: &[u8] = b"\x07\x01s\x00\x18\x00\x00\x00org.freedesktop.systemd1\x00";
/// The replacement.
const UNIQUE_SENDER: &[u8] = b"\x07\x01s\x00\x18\x00\x00\x00:systemd1.private-socket\x00";
/// The beginning of a message: byte order, type, flags, version, lengths of body and header, serial.
const FIXED_HEADER_BYTES: usize = 16;
/// Maximum number of messages in one write.
const MAX_TOGETHER: usize = 256;
/// Maximum capacity to keep after a long list.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// Begins a connection to the socket.
pub(super) fn builder(path: &Path) -> io::Result<Builder<'static>> {
    // Connecting to a local socket succeeds or fails at once.
    let socket = std::os::unix::net::UnixStream::connect(path)?;
    socket.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(socket)?.into_split();
    let read: Box<dyn ReadHalf> = Box::new(Reader { socket: read, buffer: Vec::new(), begin: 0, end: 0 });
    let (sender, queue) = mpsc::unbounded_channel();
    tokio::spawn(write_together(write, queue));
    Ok(Builder::socket(Split::new(read, Box::new(Writer(Some(sender))) as Box<dyn WriteHalf>)).p2p())
}

/// Passes on complete messages, with another sender.
#[derive(Debug)]
struct Reader {
    socket: OwnedReadHalf,
    buffer: Vec<u8>,
    /// The range of bytes that can be passed on.
    begin: usize,
    end: usize,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, into: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        while self.begin == self.end {
            self.buffer.drain(..self.end);
            if self.buffer.is_empty() && self.buffer.capacity() > MAX_KEPT_BYTES {
                self.buffer = Vec::new();
            }
            (self.begin, self.end) = (0, 0);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok((0, Vec::new()));
            }
            self.end = rewrite(&mut self.buffer);
        }
        let count = into.len().min(self.end - self.begin);
        into[..count].copy_from_slice(&self.buffer[self.begin..self.begin + count]);
        self.begin += count;
        Ok((count, Vec::new()))
    }
}

/// Replaces the sender in complete messages at the beginning; returns how many bytes can be passed on. The lines of the
/// handshake, in upper case, are passed on unchanged.
pub(super) fn rewrite(buffer: &mut [u8]) -> usize {
    if buffer.first() != Some(&b'l') {
        return buffer.len();
    }
    let mut begin = 0;
    while let Some((header, whole)) = lengths(&buffer[begin..])
        && buffer.len() - begin >= whole
    {
        // Each field begins at a multiple of 8.
        for at in (begin + FIXED_HEADER_BYTES..begin + header).step_by(8) {
            if buffer[at..begin + header].starts_with(SENDER) {
                buffer[at..at + UNIQUE_SENDER.len()].copy_from_slice(UNIQUE_SENDER);
            }
        }
        begin += whole;
    }
    begin
}

/// The lengths of a message's header, without padding, and of the whole message.
fn lengths(message: &[u8]) -> Option<(usize, usize)> {
    let number = |at: usize| {
        let bytes = message.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let (body, fields) = (number(4)?, number(12)?);
    let header = FIXED_HEADER_BYTES.checked_add(fields)?;
    Some((header, header.checked_next_multiple_of(8)?.checked_add(body)?))
}

/// Queues what is to be written.
#[derive(Debug)]
struct Writer(Option<mpsc::UnboundedSender<Vec<u8>>>);

impl Writer {
    fn queue(&self, bytes: Vec<u8>) -> io::Result<()> {
        let queued = self.0.as_ref().is_some_and(|queue| queue.send(bytes).is_ok());
        if queued { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, bytes: &[u8], _: &[BorrowedFd<'_>]) -> io::Result<usize> {
        // File descriptors are not negotiated, so there are none.
        self.queue(bytes.to_vec()).map(|()| bytes.len())
    }

    /// Everything in one write: a daemon that is killed has sent all or none of what belongs together, such as clearing
    /// a failure and the start after it.
    async fn send_messages(&mut self, messages: &[Message]) -> zbus::Result<()> {
        let bytes = messages.iter().flat_map(|message| message.data().bytes()).copied().collect();
        self.queue(bytes).map_err(|error| zbus::Error::InputOutput(Arc::new(error)))
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0 = None;
        Ok(())
    }
}

/// Writes what is queued until the queue ends, and all that there is in one write: the questions of an inspection, or of
/// several. Each write wakes the manager, or interrupts it.
async fn write_together(mut socket: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut queued = Vec::new();
    while queue.recv_many(&mut queued, MAX_TOGETHER).await > 0 {
        if socket.write_all(&queued.concat()).await.is_err() {
            // Nothing arrives from the manager either, which ends the connection.
            return;
        }
        queued.clear();
    }
    let _ = socket.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message with a sender, and a text that looks like one in its body.
    fn message(sender: &[u8]) -> Vec<u8> {
        let path = b"\x01\x01o\x00\x01\x00\x00\x00/\x00\x00\x00\x00\x00\x00\x00";
        let fields = [&path[..], sender].concat();
        let mut message = vec![b'l', 4, 0, 1];
        message.extend(u32::try_from(SENDER.len()).unwrap().to_le_bytes());
        message.extend(1_u32.to_le_bytes());
        message.extend(u32::try_from(fields.len()).unwrap().to_le_bytes());
        message.extend(fields);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(SENDER);
        message
    }

    #[test]
    fn a_sender_is_replaced_in_headers_only_and_in_whole_messages_only() {
        let twice = [message(SENDER), message(SENDER)].concat();
        let wanted = [message(UNIQUE_SENDER), message(UNIQUE_SENDER)].concat();
        let mut bytes = twice.clone();
        assert_eq!(rewrite(&mut bytes), bytes.len());
        assert_eq!(bytes, wanted);
        let whole = twice.len() / 2;
        let mut bytes = twice[..twice.len() - 1].to_vec();
        assert_eq!(rewrite(&mut bytes), whole);
        assert_eq!(bytes[..whole], wanted[..whole]);
        assert_eq!(bytes[whole..], twice[whole..twice.len() - 1]);
    }

    #[test]
    fn an_introduction_is_handed_on_as_it_is() {
        let mut line = b"OK 0123456789abcdef\r\n".to_vec();
        assert_eq!(rewrite(&mut line), line.len());
        assert_eq!(line, b"OK 0123456789abcdef\r\n");
    }

    /// If anything else listens there, the next address is tried at once.
    #[tokio::test]
    async fn a_socket_that_speaks_otherwise_is_no_manager() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("private");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let greeting = "OK 0123456789abcdef0123456789abcdef\r\n";
        let cases: [&[&str]; 4] = [&[""], &["rubbish\r\n"], &[greeting], &[greeting, "what is no message at all\r\n"]];
        for answers in cases {
            let other = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                for answer in answers {
                    let mut asked = [0; 1024];
                    let _ = socket.read(&mut asked).await;
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            };
            let address = super::super::address::Address::Private(path.clone());
            let (connection, ()) = tokio::join!(address.connect(), other);
            assert!(connection.is_err(), "{answers:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_comes_in_causes_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = b'l';
            }
            prop_assert!(rewrite(&mut bytes) <= bytes.len());
        }
    }
}
