//! The task: it follows one connection after the other, and reconnects for as long as that takes.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::address::Address;
use super::super::connection::{CALL_TIMEOUT, ManagerConnection};
use super::{Following, Request};
use crate::core::healer::Outcome;
use crate::core::selector::Aliases;
use crate::core::text::plain;
use crate::core::units::UnitName;
use crate::manager::{Change, ManagerError};

/// Delays between attempts to connect: short at first, for a manager that re-executes itself.
const RECONNECT_DELAYS: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

pub(in crate::manager::systemd) struct Session {
    pub addresses: Vec<Address>,
    pub patterns: Vec<String>,
    pub aliases: watch::Sender<Aliases>,
    pub requests: mpsc::UnboundedReceiver<Request>,
    pub changes: mpsc::UnboundedSender<Change>,
    pub connection: watch::Sender<Option<ManagerConnection>>,
}

/// Why the task stopped following a connection.
pub(super) enum End {
    /// No handle is left.
    Abandoned,
    /// The connection is gone; says why.
    Lost(String),
}

impl Session {
    /// Follows an existing connection from the first request on, then reconnects for as long as there is a handle.
    pub async fn run(mut self, mut connection: ManagerConnection) {
        let mut first = self.requests.recv().await;
        if first.is_none() {
            return;
        }
        // A manager that executes itself again keeps its jobs, and their paths.
        let mut jobs = HashMap::new();
        loop {
            self.connection.send_replace(Some(connection.clone()));
            let end = match Following::begin(&self, &connection).await {
                Ok(mut following) => {
                    following.jobs.extend(jobs.drain());
                    let end = following.follow(&mut self, first.take()).await;
                    jobs = following.jobs;
                    end
                }
                Err(error) => End::Lost(error.to_string()),
            };
            self.connection.send_replace(None);
            let End::Lost(why) = end else { return };
            let _ = self.changes.send(Change::Lost(why));
            match self.reconnect().await {
                Some(new) => connection = new,
                None => return,
            }
        }
    }

    async fn reconnect(&mut self) -> Option<ManagerConnection> {
        let mut waits = RECONNECT_DELAYS.into_iter();
        let mut wait = RECONNECT_DELAYS[0];
        loop {
            let at = Instant::now() + wait;
            loop {
                tokio::select! {
                    request = self.requests.recv() => match request? {
                        Request::Cover(patterns) => self.patterns = patterns,
                        Request::Start(start, _) => self.finished(start.unit, lost()),
                        Request::Stop(_) | Request::Refresh | Request::ListAll => {}
                    },
                    () = sleep_until(at) => break,
                }
            }
            if let Ok(connection) = connect(&self.addresses).await {
                return Some(connection);
            }
            wait = waits.next().unwrap_or(RECONNECT_DELAYS[RECONNECT_DELAYS.len() - 1]);
        }
    }

    pub(super) fn finished(&self, unit: UnitName, outcome: Outcome) {
        let _ = self.changes.send(Change::Finished(unit, outcome));
    }
}

/// Connects to the first address that works.
pub(in crate::manager::systemd) async fn connect(addresses: &[Address]) -> Result<ManagerConnection, ManagerError> {
    let mut problems = Vec::new();
    for address in addresses {
        match timeout(CALL_TIMEOUT, address.connect()).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(error)) => problems.push(format!("{address}: {error}")),
            Err(_) => problems.push(format!("{address}: no answer")),
        }
    }
    Err(ManagerError::Unreachable(plain(&problems.join("; "))))
}

pub(super) fn lost() -> Outcome {
    Outcome::NotStarted("the connection to the service manager was lost".to_owned())
}
