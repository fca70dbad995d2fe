//! Lists of units: of all, or of those that are not simply `active`.
//!
//! A refresh asks for the second kind. The manager walks over all units for either, but the response is nearly empty if
//! all are healthy: for 1,000 units, it takes a tenth of the manager's time. The others are known from signals. Three
//! things do not follow from such a list: that a unit is up that was known to be down, that one is gone, and that one
//! is up that was unknown. The first leads to a complete list at once
//! ([`Action::ListAll`](crate::core::healer::Action::ListAll)); for the others there is a complete list once a minute,
//! and after everything that may have lost signals or changed all units: a new connection, a reload, an isolate, a
//! shutdown, an unloaded unit, a subscription that the manager had dropped.

use std::time::Duration;

use tokio::time::Instant;
use zbus::Message;
use zbus::message::Type;

use super::super::{wire, with_aliased};
use super::{Call, Following, Session};
use crate::manager::Change;

/// How often a complete list is requested at least.
const ALL_INTERVAL: Duration = Duration::from_secs(60);
/// One of this many lists is complete: with the usual refresh, one a minute.
const LISTS_PER_COMPLETE: u32 = 20;

/// The units in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    NotActive,
}

/// The pending request, and the next one.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is true, or not, by itself")]
pub(super) struct Lists {
    pending: bool,
    /// Another list was requested while one is pending.
    again: bool,
    /// Only a complete list will do.
    needs_all: bool,
    /// When the next complete list is due, unless as many others come first.
    all_due: Option<Instant>,
    /// The number of other lists since the last one.
    others: u32,
    /// The manager was subscribed to on this connection.
    subscribed: bool,
}

impl Lists {
    /// Everything that is known may be wrong.
    pub fn doubt(&mut self) {
        self.needs_all = true;
    }

    /// What to request now.
    fn next(&mut self) -> Extent {
        let is_due = self.all_due.is_none_or(|due| due <= Instant::now()) || self.others + 1 >= LISTS_PER_COMPLETE;
        if std::mem::take(&mut self.needs_all) || is_due {
            return Extent::All;
        }
        self.others += 1;
        Extent::NotActive
    }
}

impl Following {
    /// Requests a complete list.
    pub(super) async fn list_all(&mut self, session: &Session) -> zbus::Result<()> {
        self.lists.doubt();
        self.list(session).await
    }

    /// Requests a list; if one is pending, another one after it.
    pub(super) async fn list(&mut self, session: &Session) -> zbus::Result<()> {
        if std::mem::replace(&mut self.lists.pending, true) {
            self.lists.again = true;
            return Ok(());
        }
        self.lists.again = false;
        let extent = self.lists.next();
        let states = match extent {
            Extent::All => Vec::new(),
            Extent::NotActive => wire::not_active(),
        };
        let patterns = with_aliased(&session.patterns, &session.aliases.borrow());
        let patterns = patterns.iter().map(String::as_str).chain(wire::SHUTDOWN).chain([wire::SOCKETS]);
        let list = wire::call("ListUnitsByPatterns", &(states, patterns.collect::<Vec<_>>()))?;
        self.calls.insert(list.primary_header().serial_num(), Call::List(extent));
        if self.private {
            // Its clients get all signals (`method_subscribe` in systemd's dbus-manager.c).
            return self.connection.send_all(&[list]).await;
        }
        // A subscription can be lost without notice (systemd issue 27697): renew it each time.
        let subscribe = wire::call("Subscribe", &())?;
        self.calls.insert(subscribe.primary_header().serial_num(), Call::Subscribe);
        self.connection.send_all(&[subscribe, list]).await
    }

    /// Handles the response to a renewed subscription: an error, as there is one already. Else there was none for a
    /// while, and the list that follows does not suffice.
    pub(super) async fn subscribed(&mut self, session: &Session, message: &Message) -> zbus::Result<()> {
        let had_none = message.message_type() != Type::Error;
        if had_none && std::mem::replace(&mut self.lists.subscribed, true) {
            return self.list_all(session).await;
        }
        Ok(())
    }

    pub(super) async fn listed(&mut self, session: &Session, message: &Message, extent: Extent) -> zbus::Result<()> {
        self.lists.pending = false;
        if message.message_type() == Type::Error {
            return Err(zbus::Error::from(message.clone()));
        }
        let listed = wire::statuses(message)?;
        self.sockets_listed(session, listed.failed_sockets).await?;
        let suffices = extent == Extent::All || !self.lists.needs_all;
        if self.reloading_until.is_none() && suffices {
            self.find_missed_ends(session, message, extent)?;
            self.reported_jobs.extend(listed.jobs);
            self.shutting_down = listed.shutting_down;
            let change = if self.shutting_down {
                self.lists.doubt();
                Change::ShuttingDown
            } else if self.isolation.is_under_way() {
                self.lists.doubt();
                Change::Reloading
            } else if extent == Extent::All {
                (self.lists.all_due, self.lists.others) = (Some(Instant::now() + ALL_INTERVAL), 0);
                Change::Units(listed.units)
            } else {
                Change::NotActive(listed.units)
            };
            let _ = session.changes.send(change);
        }
        if self.lists.again { self.list(session).await } else { Ok(()) }
    }

    /// Ends of starts whose signal was lost: their job is no longer listed. Only a complete list shows how they ended.
    fn find_missed_ends(&mut self, session: &Session, message: &Message, extent: Extent) -> zbus::Result<()> {
        if self.jobs.is_empty() {
            return Ok(());
        }
        let lines = wire::lines(message)?;
        if extent == Extent::All {
            self.missed_ends(session, &lines);
        } else if self.has_missed_ends(&lines) {
            self.lists.doubt();
            self.lists.again = true;
        }
        Ok(())
    }
}
