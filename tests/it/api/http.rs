//! A minimal HTTP client for the daemon's socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;

use serde_json::Value;

use crate::common::{SOON, World};

/// The daemon's socket, as this process reaches it.
pub fn socket(world: &World) -> PathBuf {
    world.runtime_dir().join("workerheal/api.sock")
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The error sentence of a response that is no success.
    #[track_caller]
    pub fn error(&self) -> String {
        assert!((400..600).contains(&self.status), "{self:?}");
        let json = self.json();
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(1), "{self:?}");
        json["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

#[track_caller]
pub fn connect(world: &World) -> UnixStream {
    let stream = UnixStream::connect(socket(world)).unwrap_or_else(|error| panic!("cannot connect: {error}"));
    stream.set_read_timeout(Some(SOON)).expect("a time is no zero");
    stream.set_write_timeout(Some(SOON)).expect("a time is no zero");
    stream
}

/// Sends a request, and reads the whole response.
#[track_caller]
pub fn call(world: &World, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(world);
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).expect("the request can be sent");
    answer(stream)
}

#[track_caller]
pub fn get(world: &World, path: &str) -> Answer {
    call(world, "GET", path, "")
}

#[track_caller]
pub fn post(world: &World, path: &str, body: &Value) -> Answer {
    call(world, "POST", path, &body.to_string())
}

/// Reads a response to its end.
#[track_caller]
pub fn answer(mut stream: UnixStream) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap_or_else(|error| panic!("no end of the answer: {error}"));
    let text = String::from_utf8(bytes).expect("answers are text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {head:?}"));
    let body = if head.contains("chunked") { unchunked(body) } else { body.to_owned() };
    Answer { status, head: head.to_owned(), body }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a chunk has a length");
        whole.push_str(&rest[..length]);
        body = rest[length..].trim_start_matches("\r\n");
    }
    whole
}

/// One server-sent event.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Message {
    /// Adds a line of the stream. Returns the message that it completes, if any.
    fn add(&mut self, line: &str) -> Option<Self> {
        if let Some(id) = line.strip_prefix("id: ") {
            id.clone_into(&mut self.id);
        } else if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut self.name);
        } else if let Some(data) = line.strip_prefix("data: ") {
            self.data = serde_json::from_str(data).expect("data is JSON");
            return Some(std::mem::take(self));
        }
        None
    }

    pub fn is(&self, phase: &str, unit: &str) -> bool {
        self.data["phase"] == phase && self.data["unit"] == unit
    }
}

/// A follower of the events.
pub struct Follower {
    messages: Receiver<Message>,
    stream: UnixStream,
}

impl Follower {
    /// Follows; the daemon has accepted it when this returns.
    #[track_caller]
    pub fn new(world: &World, query: &str, last_event_id: &str) -> Self {
        let mut stream = connect(world);
        stream.set_read_timeout(None).expect("no time is one");
        let id = if last_event_id.is_empty() { String::new() } else { format!("last-event-id: {last_event_id}\r\n") };
        let request = format!("GET /v1/events{query} HTTP/1.1\r\nhost: localhost\r\n{id}\r\n");
        stream.write_all(request.as_bytes()).expect("the request can be sent");
        let (send, messages) = mpsc::channel();
        let mut lines = BufReader::new(stream.try_clone().expect("it has one more")).lines().map_while(Result::ok);
        let status = lines.next().unwrap_or_default();
        assert!(status.contains(" 200 "), "{status:?}");
        lines.by_ref().find(String::is_empty);
        // An accepted follower gets a greeting.
        lines.by_ref().find(|line| line.starts_with("retry: "));
        std::thread::spawn(move || {
            let mut message = Message::default();
            for line in lines {
                if let Some(whole) = message.add(&line)
                    && send.send(whole).is_err()
                {
                    return;
                }
            }
        });
        Self { messages, stream }
    }

    /// Reads up to a message for which this holds.
    #[track_caller]
    pub fn wait(&self, what: &str, is_it: impl Fn(&Message) -> bool) -> Message {
        let begin = Instant::now();
        let mut seen = Vec::new();
        while let Some(time) = SOON.checked_sub(begin.elapsed()) {
            match self.messages.recv_timeout(time) {
                Ok(message) if is_it(&message) => return message,
                Ok(message) => seen.push(message),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => panic!("the stream ended before {what}: {seen:#?}"),
            }
        }
        panic!("waited in vain for {what}: {seen:#?}");
    }

    /// Reads to the end of the stream, and returns the messages.
    #[track_caller]
    pub fn rest(&self) -> Vec<Message> {
        let begin = Instant::now();
        let mut rest = Vec::new();
        while let Some(time) = SOON.checked_sub(begin.elapsed()) {
            match self.messages.recv_timeout(time) {
                Ok(message) => rest.push(message),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
        panic!("the stream has no end: {rest:#?}");
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// All messages of a response that is a stream with an end.
pub fn messages(answer: &Answer) -> Vec<Message> {
    let mut message = Message::default();
    answer.body.lines().filter_map(|line| message.add(line)).collect()
}
