//! Lists of units: of all, or of those that are not simply `active`.
//!
//! A refresh asks for the second kind. The manager walks over all units for either, but the response is nearly empty if
//! all are healthy: for 1,000 units, it takes a tenth of the manager's time. The others are known from signals. Three
//! things do not follow from such a list: that a unit is up that was known to be down, that one is gone, and that one
//! is up that was unknown. The first leads to a complete list at once
//! ([`Action::ListAll`](crate::core::healer::Action::ListAll)). The others change how many units the manager has, or
//! take a job: once a minute both numbers are read, and a complete list follows if one differs from what it was with
//! the last complete list. There is one in any case after ten minutes, and after everything that may have lost signals
//! or changed all units: a new connection, a reload, an isolate, a shutdown, an unloaded unit, a subscription that the
//! manager had dropped.

use std::time::Duration;

use tokio::time::Instant;
use zbus::Message;
use zbus::message::Type;

use super::super::{wire, with_aliased};
use super::{Call, Following, Session};
use crate::manager::Change;

/// How often the manager's numbers are compared with those at the last complete list.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// They are compared with one of this many lists: with the usual refresh, once a minute.
const LISTS_PER_CHECK: u32 = 20;
/// Every so many comparisons, a complete list is requested whatever the numbers are.
const CHECKS_PER_COMPLETE: u32 = 10;

/// The manager's properties that change with its units: how many names of units it knows, and how many jobs it has had
/// (org.freedesktop.systemd1(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Number {
    Names,
    Jobs,
}

impl Number {
    const ALL: [Self; 2] = [Self::Names, Self::Jobs];

    fn property(self) -> &'static str {
        match self {
            Self::Names => "NNames",
            Self::Jobs => "NInstalledJobs",
        }
    }
}

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
    /// When the numbers are compared next, unless that many lists come first.
    check_due: Option<Instant>,
    /// The number of lists since they were last compared.
    unchecked: u32,
    /// How often they may be compared until a complete list is due.
    checks_left: u32,
    /// The numbers at the last complete list; `None` if they could not be read.
    numbers: [Option<u32>; 2],
    /// The manager was subscribed to on this connection.
    subscribed: bool,
}

impl Lists {
    /// Everything that is known may be wrong.
    pub fn doubt(&mut self) {
        self.needs_all = true;
    }

    /// What to request now, and whether to read the numbers with it.
    fn next(&mut self) -> (Extent, bool) {
        let is_due = self.check_due.is_none_or(|due| due <= Instant::now()) || self.unchecked + 1 >= LISTS_PER_CHECK;
        if std::mem::take(&mut self.needs_all) || (is_due && self.checks_left == 0) {
            return (Extent::All, true);
        }
        if is_due {
            self.checks_left -= 1;
            self.check_later();
        } else {
            self.unchecked += 1;
        }
        (Extent::NotActive, is_due)
    }

    fn check_later(&mut self) {
        (self.check_due, self.unchecked) = (Some(Instant::now() + CHECK_INTERVAL), 0);
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
        let (extent, with_numbers) = self.lists.next();
        let states = match extent {
            Extent::All => Vec::new(),
            Extent::NotActive => wire::not_active(),
        };
        let patterns = with_aliased(&session.patterns, &session.aliases.borrow());
        let patterns = patterns.iter().map(String::as_str).chain(wire::SHUTDOWN).chain([wire::SOCKETS]);
        let list = wire::call("ListUnitsByPatterns", &(states, patterns.collect::<Vec<_>>()))?;
        let mut messages = Vec::new();
        if !self.private {
            // A subscription can be lost without notice (systemd issue 27697): renew it each time. Clients of the private
            // socket get all signals (`method_subscribe` in systemd's dbus-manager.c).
            let subscribe = wire::call("Subscribe", &())?;
            self.calls.insert(subscribe.primary_header().serial_num(), Call::Subscribe);
            messages.push(subscribe);
        }
        for number in Number::ALL.into_iter().filter(|_| with_numbers) {
            let get = wire::property_of_manager(number.property())?;
            self.calls.insert(get.primary_header().serial_num(), Call::Number(number, extent));
            messages.push(get);
        }
        self.calls.insert(list.primary_header().serial_num(), Call::List(extent));
        messages.push(list);
        self.connection.send_all(&messages).await
    }

    /// Handles a number that was read with a list: that of a complete one is kept, and any other compared with it.
    pub(super) async fn counted(
        &mut self,
        session: &Session,
        message: &Message,
        number: Number,
        extent: Extent,
    ) -> zbus::Result<()> {
        let (now, known) = (wire::number_in(message), &mut self.lists.numbers[number as usize]);
        if extent == Extent::All {
            *known = now;
        } else if now.is_none() || now != *known {
            return self.list_all(session).await;
        }
        Ok(())
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
                self.lists.checks_left = CHECKS_PER_COMPLETE - 1;
                self.lists.check_later();
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
