//! Runs the user's command when a worker was healed or given up, with the event as JSON on its
//! standard input.
//!
//! The command is bounded in number and time, and whatever becomes of it, healing does not notice.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::core::event::{Event, Phase};
use crate::core::text;

/// What systemd tells a service of itself in its environment, systemd.exec(5).
const HOOK_VARIABLES: [&str; 9] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "SYSTEMD_EXEC_PID",
];
/// How many may run at once.
const MAX_RUNNING: usize = 4;
/// How many may wait for their turn; what comes then is left out.
const MAX_WAITING: usize = 256;
/// How long one may take.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);

/// The user's command, and its places.
#[derive(Debug)]
pub(super) struct Hook {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

impl Default for Hook {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(MAX_RUNNING)), waiting: Arc::new(Semaphore::new(MAX_WAITING)) }
    }
}

impl Hook {
    /// Runs the command, if there is one and the event is for it.
    pub fn run(&self, command: &[String], event: &Event) {
        let Some((program, arguments)) = command.split_first() else { return };
        if !matches!(event.phase, Phase::Healed | Phase::GaveUp) {
            return;
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else {
            tracing::warn!("on_event was not run for {}: {MAX_WAITING} of its runs are waiting already", event.unit);
            return;
        };
        let Ok(mut input) = serde_json::to_vec(event) else { return };
        input.push(b'\n');
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        // What is between the daemon and its own manager is none of its.
        for name in HOOK_VARIABLES {
            command.env_remove(name);
        }
        // Ended, it takes its children with it: they are in a group of their own.
        command.process_group(0);
        let (running, program, unit) = (Arc::clone(&self.running), text::plain(program), event.unit.clone());
        tokio::spawn(async move {
            let _turn = running.acquire().await;
            match timeout(COMMAND_TIMEOUT, feed(&mut command, &input)).await {
                Ok(Ok(status)) if status.success() => {}
                Ok(Ok(status)) => tracing::warn!("on_event: {program} for {unit} ended with {status}"),
                Ok(Err(error)) => tracing::warn!("on_event: {program} cannot be run for {unit}: {error}"),
                Err(_) => tracing::warn!("on_event: {program} for {unit} was ended after {COMMAND_TIMEOUT:?}"),
            }
            drop(place);
        });
    }
}

async fn feed(command: &mut Command, input: &[u8]) -> std::io::Result<std::process::ExitStatus> {
    let mut child = command.spawn()?;
    let mut group = Group(child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())));
    if let Some(mut stdin) = child.stdin.take() {
        // Whoever does not read it does not want it.
        let _ = stdin.write_all(input).await;
    }
    let status = child.wait().await;
    // What it has left running in the background, it may.
    group.0 = None;
    status
}

/// A process group that ends when this is dropped before its first process has ended.
struct Group(Option<rustix::process::Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}
