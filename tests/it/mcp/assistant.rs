//! An assistant: the official Python client with `workerheal mcp` as its child, both in the sandbox.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};

use crate::common::{SOON, WORKERHEAL, World};

/// The modes of a session.
pub const MODES: [&str; 2] = ["legacy", "auto"];

pub struct Assistant {
    client: Child,
    commands: Option<ChildStdin>,
    said: Receiver<Value>,
    /// Output about other commands in the meantime.
    kept: Vec<Value>,
    commands_given: u64,
    /// The server's description of itself.
    pub server: Value,
}

/// A pending command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call(u64);

/// The result of a call.
#[derive(Debug)]
pub struct Answer {
    /// The number of the step, the number of steps, and the text.
    pub progress: Vec<(f64, f64, String)>,
    pub result: Value,
    /// An error of the protocol.
    pub error: Value,
    pub cancelled: bool,
}

impl Answer {
    /// The text of a result.
    #[track_caller]
    pub fn text(&self) -> &str {
        let content = self.result["content"].as_array().unwrap_or_else(|| panic!("no content: {self:?}"));
        assert_eq!((content.len(), &content[0]["type"]), (1, &json!("text")), "{self:?}");
        content[0]["text"].as_str().expect("it is a text")
    }

    /// The structured result of a successful call.
    #[track_caller]
    pub fn facts(&self) -> &Value {
        assert_eq!(self.result["isError"], false, "{self:?}");
        &self.result["structuredContent"]
    }

    /// The error of a failed call.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        assert_eq!(self.result["isError"], true, "{self:?}");
        assert!(self.result["structuredContent"].is_null(), "{self:?}");
        self.text()
    }
}

impl Assistant {
    /// Begins a session; it is of the older kind.
    #[track_caller]
    pub fn of(world: &World) -> Self {
        Self::begin(world, MODES[0])
    }

    #[track_caller]
    pub fn begin(world: &World, mode: &str) -> Self {
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/mcp/client.py");
        let mut command = world.command(python());
        command.arg(client).args([mode, WORKERHEAL, "mcp"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot run the Python client: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let (sender, said) = channel();
        thread::spawn(move || {
            let parse = |line: String| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            lines.map_while(Result::ok).try_for_each(|line| sender.send(parse(line)))
        });
        let commands = child.stdin.take();
        let mut it = Self { client: child, commands, said, kept: Vec::new(), commands_given: 0, server: Value::Null };
        it.server = it.wait(Call(0)).result;
        it
    }

    #[track_caller]
    pub fn list(&mut self) -> Value {
        let call = self.give(json!({ "do": "list" }));
        self.wait(call).result
    }

    /// Sends another command to the client, and waits for its result.
    #[track_caller]
    pub fn ask(&mut self, command: Value) -> Answer {
        let call = self.give(command);
        self.wait(call)
    }

    /// Calls a tool, and waits for the result.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        let call = self.begin_call(tool, arguments);
        self.wait(call)
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "it is made in the call")]
    pub fn begin_call(&mut self, tool: &str, arguments: Value) -> Call {
        self.give(json!({ "do": "call", "tool": tool, "arguments": arguments }))
    }

    #[track_caller]
    pub fn cancel(&mut self, call: Call) {
        let cancel = self.give(json!({ "do": "cancel", "call": call.0 }));
        self.wait(cancel);
    }

    /// Waits for a step of a call, and keeps its result for later.
    #[track_caller]
    pub fn wait_for_step(&mut self, call: Call, words: &str) {
        loop {
            let is_it = |said: &Value| {
                said["id"] == call.0 && said["progress"][2].as_str().is_some_and(|step| step.contains(words))
            };
            if self.kept.iter().any(is_it) {
                return;
            }
            let said = self.next();
            self.kept.push(said);
        }
    }

    /// Waits for the end of a call.
    #[track_caller]
    pub fn wait(&mut self, call: Call) -> Answer {
        let mut answer = Answer { progress: Vec::new(), result: Value::Null, error: Value::Null, cancelled: false };
        let (mut of_it, others): (Vec<_>, _) =
            std::mem::take(&mut self.kept).into_iter().partition(|said| said["id"] == call.0);
        self.kept = others;
        of_it.reverse();
        loop {
            let said = of_it.pop().unwrap_or_else(|| self.next());
            if said["id"] != call.0 {
                self.kept.push(said);
                continue;
            }
            if let Some([number, of, message]) = said["progress"].as_array().map(Vec::as_slice) {
                let number_of = |value: &Value| value.as_f64().expect("it is a number");
                answer.progress.push((
                    number_of(number),
                    number_of(of),
                    message.as_str().unwrap_or_default().to_owned(),
                ));
                continue;
            }
            answer.result = said["result"].clone();
            answer.error = said["error"].clone();
            answer.cancelled = said["cancelled"] == true;
            return answer;
        }
    }

    /// Remaining output about a call that has ended.
    #[track_caller]
    pub fn rest(&self, call: Call) -> Vec<&Value> {
        self.kept.iter().filter(|said| said["id"] == call.0).collect()
    }

    #[track_caller]
    fn next(&mut self) -> Value {
        self.said.recv_timeout(SOON).expect("the client says something soon")
    }

    #[track_caller]
    fn give(&mut self, mut command: Value) -> Call {
        self.commands_given += 1;
        command["id"] = self.commands_given.into();
        let pipe = self.commands.as_mut().expect("the session has not ended");
        writeln!(pipe, "{command}").expect("the client reads");
        Call(self.commands_given)
    }

    /// Ends the session; the client then waits for its child.
    #[track_caller]
    pub fn end(mut self) {
        self.commands = None;
        assert!(self.client.wait().expect("it is a child").success());
    }
}

impl Drop for Assistant {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// The Python interpreter that has the client.
#[track_caller]
fn python() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it is below the target directory");
    let client = target.join("mcp-client");
    assert!(
        client.join("installed.txt").exists(),
        "the Python client of MCP is missing: run `tests/it/mcp/install-client.sh {}`, as `make test` does",
        target.display()
    );
    client.join("bin/python")
}
