//! The sandbox's journal: past entries and new ones.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Sandbox;

/// A journal entry: an object of fields. Their values are strings; arrays of strings if a field occurs repeatedly.
pub type Entry = Value;

impl Sandbox {
    /// The entries that match all `matches` (`FIELD=value`, as for journalctl; none matches all), the oldest first.
    ///
    /// They include everything that was sent to journald before the call. Note that journald learns a unit's name
    /// (`_SYSTEMD_USER_UNIT`) from the living process, so lines of a process that ended at once may lack it.
    #[track_caller]
    pub fn journal(&self, matches: &[&str]) -> Vec<Entry> {
        self.sync_journal();
        read(self.journalctl().args(["--output=json", "--all"]).args(matches)).lines().map(parse).collect()
    }

    /// Waits until an entry, past or new, satisfies `predicate`, and returns it.
    #[track_caller]
    pub fn wait_for_journal(&self, what: &str, deadline: Duration, predicate: impl FnMut(&Entry) -> bool) -> Entry {
        self.follow(&["--no-tail"]).wait_for(what, deadline, predicate)
    }

    /// Follows the journal from now on: the first entry is the first one that is written after this call.
    #[track_caller]
    pub fn follow_journal(&self) -> Follower<'_> {
        // The cursor, not the start of the child process, decides what counts as new.
        self.sync_journal();
        let last = read(self.journalctl().args(["--output=json", "--lines=1"]));
        match last.lines().next().map(parse) {
            Some(entry) => {
                let cursor = entry["__CURSOR"].as_str().unwrap_or_default();
                self.follow(&["--no-tail", &format!("--after-cursor={cursor}")])
            }
            None => self.follow(&["--no-tail"]),
        }
    }

    #[track_caller]
    fn follow(&self, args: &[&str]) -> Follower<'_> {
        let mut command = self.journalctl();
        command.args(["--follow", "--output=json", "--all"]).args(args).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run journalctl: {e}"));
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let (sender, entries) = channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(parse(&line))));
        Follower { sandbox: self, child, entries }
    }

    /// The last lines for a person.
    pub(crate) fn journal_tail(&self, lines: usize) -> String {
        read(self.journalctl().args(["--output=short-precise", "--no-hostname", &format!("--lines={lines}")]))
    }

    /// `journalctl` outside of the sandbox, on the journal inside: it can be killed without leaving processes.
    fn journalctl(&self) -> Command {
        let mut command = Command::new("journalctl");
        command.arg("--quiet").arg("--directory").arg(self.root().join("run/log/journal"));
        command.stdin(Stdio::null());
        command
    }

    /// Waits until journald has written everything that it has received.
    #[track_caller]
    fn sync_journal(&self) {
        read(self.command("journalctl").arg("--sync"));
    }
}

/// The journal as it is written. Following ends when this is dropped.
#[derive(Debug)]
pub struct Follower<'a> {
    sandbox: &'a Sandbox,
    child: Child,
    entries: Receiver<Entry>,
}

impl Follower<'_> {
    /// The next entry, if one comes before the deadline.
    pub fn next(&mut self, deadline: Duration) -> Option<Entry> {
        self.entries.recv_timeout(deadline).ok()
    }

    /// Reads up to an entry that satisfies `predicate`, and returns it; panics like [`Sandbox::wait_until`].
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, deadline: Duration, mut predicate: impl FnMut(&Entry) -> bool) -> Entry {
        let begin = Instant::now();
        while let Some(entry) = self.next(deadline.saturating_sub(begin.elapsed())) {
            if predicate(&entry) {
                return entry;
            }
        }
        panic!("waited {:.1?} in vain for {what} in the journal\n{}", begin.elapsed(), self.sandbox.dump());
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The standard output of a command that has to succeed.
#[track_caller]
fn read(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed ({}): {}", output.status, errors.trim());
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Parses a line of `journalctl --output=json`. Values that are not plain text are arrays of bytes, which are converted
/// to text.
#[track_caller]
fn parse(line: &str) -> Entry {
    let mut entry: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("journalctl printed {line}: {e}"));
    for value in entry.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        plain_text(value);
    }
    entry
}

fn plain_text(value: &mut Value) {
    let Value::Array(items) = value else { return };
    let byte = |item: &Value| item.as_u64().and_then(|n| u8::try_from(n).ok());
    match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
        Some(bytes) => *value = String::from_utf8_lossy(&bytes).into(),
        None => items.iter_mut().for_each(plain_text), // a repeated field
    }
}
