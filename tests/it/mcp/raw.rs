//! `workerheal mcp` at the end of two pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::{Value, json};

use crate::common::{SOON, World};

pub struct Session {
    pub server: Child,
    input: Option<Box<dyn Write>>,
    lines: Receiver<String>,
}

impl Session {
    #[track_caller]
    pub fn new(world: &World) -> Self {
        let mut server = Self::server(world, Stdio::piped(), Stdio::piped());
        let (input, output) = (server.stdin.take().expect("is piped"), server.stdout.take().expect("is piped"));
        Self::of(server, Box::new(input), output)
    }

    /// Over sockets instead of pipes, as programs made with Node do.
    #[track_caller]
    pub fn over_sockets(world: &World) -> Self {
        let pair = || UnixStream::pair().expect("there are sockets");
        let ((input, its_input), (output, its_output)) = (pair(), pair());
        let server = Self::server(world, OwnedFd::from(its_input).into(), OwnedFd::from(its_output).into());
        Self::of(server, Box::new(input), output)
    }

    fn server(world: &World, input: Stdio, output: Stdio) -> Child {
        let mut command = world.command_line(&["mcp"]);
        command.stdin(input).stdout(output).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| panic!("cannot run workerheal: {error}"))
    }

    fn of(server: Child, input: Box<dyn Write>, output: impl Read + Send + 'static) -> Self {
        let output = BufReader::new(output).lines();
        let (sender, lines) = channel();
        thread::spawn(move || output.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { input: Some(input), server, lines }
    }

    /// A session that has begun.
    #[track_caller]
    pub fn begun(world: &World) -> Self {
        Self::new(world).begin()
    }

    #[track_caller]
    pub fn begin(self) -> Self {
        let mut session = self;
        let client = json!({"name": "test", "version": "1"});
        let parameters = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        let answer = session.ask("initialize", &parameters);
        assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
        session.say(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        session
    }

    /// Writes bytes. The server may not read them, which is no error.
    pub fn write(&mut self, bytes: &[u8]) {
        let _ = self.input.as_mut().expect("it has not ended").write_all(bytes);
    }

    pub fn say(&mut self, message: &Value) {
        self.write(format!("{message}\n").as_bytes());
    }

    /// Sends a request, and returns its response; other messages before it are dropped.
    #[track_caller]
    pub fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        let id = format!("of {method}");
        self.say(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": parameters}));
        loop {
            let said = self.next();
            if said["id"] == id.as_str() {
                return said;
            }
        }
    }

    /// The next message, which has to be one of the protocol.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        let line = self.lines.recv_timeout(SOON).expect("it answers soon");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert_eq!(said["jsonrpc"], "2.0", "{said}");
        said
    }

    /// Closes its input, and waits for its end: the status, the remaining messages, and its errors.
    #[track_caller]
    pub fn end(mut self) -> (Option<i32>, Vec<String>, String) {
        self.input = None;
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => said.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        let mut errors = String::new();
        let read = self.server.stderr.take().expect("is piped").read_to_string(&mut errors);
        read.expect("it says text");
        let status = self.server.wait().expect("it is a child");
        (status.code(), said, errors)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
