//! The buffer of past events, and its followers.
//!
//! Followers have no queues of their own: all read from one [`EventBuffer`], each at its own position, and are notified
//! when it has grown. A follower that falls behind the buffer is disconnected, and can resume. Each event is encoded
//! once, and shared by all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::api::Refused;
use crate::core::event::Event;
use crate::core::last_day::{LastDay, Tally};
use crate::http::connection_limit::GivesWay;

/// Maximum number of buffered events.
const MAX_EVENTS: usize = 10_000;
/// Maximum number of bytes that a follower reads at once.
const MAX_CHUNK_BYTES: usize = 32 * 1024;
/// How often an idle stream sends a comment, so that both ends notice a lost connection.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The number of this daemon's first event; those of earlier ones have lower numbers.
const FIRST: u64 = 1_000_000;

/// The buffered events, numbered in order.
pub(super) struct EventBuffer {
    /// Distinguishes this daemon's event ids from those of an earlier one.
    instance: u64,
    entries: Mutex<VecDeque<Entry>>,
    tally: Mutex<Tally>,
    /// The number of the next event.
    next: watch::Sender<u64>,
}

struct Entry {
    number: u64,
    time: SystemTime,
    frame: Bytes,
}

/// Which events to read.
#[derive(Debug, Default)]
pub(super) struct EventFilter {
    /// Events after the one with this id.
    pub after: Option<String>,
    /// Events since this time.
    pub since: Option<SystemTime>,
    /// Maximum number of past events; the latest are read.
    pub limit: Option<usize>,
    /// Whether to continue with events as they happen.
    pub follow: bool,
}

impl EventBuffer {
    pub fn new() -> Self {
        Self {
            instance: fastrand::u64(..),
            entries: Mutex::default(),
            tally: Mutex::new(Tally::new(SystemTime::now())),
            next: watch::channel(FIRST).0,
        }
    }

    fn entries(&self) -> MutexGuard<'_, VecDeque<Entry>> {
        // The entries are consistent at any time.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last 24 hours in figures.
    pub fn last_day(&self) -> LastDay {
        self.tally().figures(SystemTime::now())
    }

    /// Adds the events of earlier daemons, the oldest first: to be called before there are events of this one.
    fn restore(&self, events: &[Event]) {
        let Some(oldest) = events.first().and_then(|event| event.time) else { return };
        let (mut tally, mut entries) = (self.tally(), self.entries());
        *tally = Tally::new(oldest);
        for (number, event) in (FIRST - events.len() as u64..).zip(events) {
            let time = event.time.unwrap_or(oldest);
            tally.observe(event, time);
            entries.push_back(Entry { number, time, frame: self.frame(number, event) });
        }
    }

    fn frame(&self, number: u64, event: &Event) -> Bytes {
        frame(Some(&format!("{:016x}-{number}", self.instance)), None, event)
    }

    fn write(&self, events: &mut Vec<Event>) {
        let mut next = *self.next.borrow();
        let mut tally = self.tally();
        let mut entries = self.entries();
        for event in events.drain(..) {
            let time = event.time.unwrap_or_else(SystemTime::now);
            tally.observe(&event, time);
            let frame = self.frame(next, &event);
            entries.push_back(Entry { number: next, time, frame });
            next += 1;
        }
        let excess = entries.len().saturating_sub(MAX_EVENTS);
        entries.drain(..excess);
        drop(entries);
        drop(tally);
        self.next.send_replace(next);
    }

    /// Begins to read. From here on no event is missed without a notice.
    pub fn open(self: &Arc<Self>, filter: &EventFilter, ends: watch::Receiver<bool>) -> Follower {
        let next = self.next.subscribe();
        let entries = self.entries();
        let last = entries.back().map_or(FIRST, |entry| entry.number + 1);
        let first = entries.front().map_or(last, |entry| entry.number);
        let (mut at, mut gap) = match (&filter.after, filter.since) {
            (Some(id), _) => match self.number(id) {
                Some(number) if (first..=last).contains(&(number + 1)) => (number + 1, false),
                // The id is of an earlier daemon, whose events its reader may have seen, or no longer buffered.
                _ => (first.max(FIRST), true),
            },
            (None, Some(since)) => {
                (entries.iter().find(|entry| entry.time >= since).map_or(last, |entry| entry.number), false)
            }
            (None, None) if filter.limit.is_some() || !filter.follow => (first, false),
            (None, None) => (last, false),
        };
        if let Some(limit) = filter.limit {
            let latest = last.saturating_sub(limit as u64);
            gap |= filter.after.is_some() && latest > at;
            at = at.max(latest);
        }
        drop(entries);
        Follower {
            buffer: Arc::clone(self),
            at,
            gap,
            greeted: false,
            next,
            ends,
            follow: filter.follow,
            gives_way: GivesWay::default(),
        }
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (instance, number) = parts(id)?;
        (instance == self.instance && number < u64::MAX).then_some(number)
    }
}

/// The daemon and the number in an event's id.
fn parts(id: &str) -> Option<(u64, u64)> {
    let (instance, number) = id.split_once('-')?;
    Some((u64::from_str_radix(instance, 16).ok()?, number.parse().ok()?))
}

/// Whether this may be the id of an event, of any daemon.
pub(super) fn is_event_id(id: &str) -> bool {
    parts(id).is_some()
}

/// Adds events to the buffer: those of earlier daemons, once they are found, then new ones as they come.
pub(super) async fn keep(
    buffer: Arc<EventBuffer>,
    history: impl Future<Output = Vec<Event>>,
    mut queue: mpsc::UnboundedReceiver<Event>,
) {
    buffer.restore(&history.await);
    let mut events = Vec::new();
    while queue.recv_many(&mut events, 256).await > 0 {
        buffer.write(&mut events);
    }
}

/// A reader of the buffer, with a position of its own.
pub(super) struct Follower {
    buffer: Arc<EventBuffer>,
    /// The number of the next event to read.
    at: u64,
    /// Whether events before that are missing.
    gap: bool,
    greeted: bool,
    next: watch::Receiver<u64>,
    ends: watch::Receiver<bool>,
    follow: bool,
    gives_way: GivesWay,
}

impl Follower {
    /// Ends the stream on request.
    pub fn gives_way(&self) -> GivesWay {
        self.gives_way.clone()
    }

    /// The next bytes to send; `None` at the end of the stream.
    pub async fn read(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(self.greeting());
        }
        loop {
            self.next.borrow_and_update();
            let helping = self.helping()?;
            if !helping.is_empty() {
                return Some(helping);
            }
            if !self.follow || *self.ends.borrow() {
                return None;
            }
            tokio::select! {
                grown = timeout(KEEP_ALIVE_INTERVAL, self.next.changed()) => match grown {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return None,
                    Err(_) => return Some(Bytes::from_static(b":\n\n")),
                },
                // Buffered events are still sent.
                _ = self.ends.changed() => {}
                () = self.gives_way.0.notified() => self.follow = false,
            }
        }
    }

    /// The reconnect delay, and a notice if events are missing.
    fn greeting(&self) -> Bytes {
        let mut greeting = BytesMut::from(&b"retry: 1000\n\n"[..]);
        if self.gap {
            let error = "events before the next one are no longer kept here; the journal has them".to_owned();
            greeting.extend_from_slice(&frame(None, Some("gap"), &Refused { error }));
        }
        greeting.freeze()
    }

    /// The next events, up to a limit; `None` if some are no longer buffered.
    fn helping(&mut self) -> Option<Bytes> {
        let entries = self.buffer.entries();
        let Some(first) = entries.front().map(|entry| entry.number) else { return Some(Bytes::new()) };
        let from = usize::try_from(self.at.checked_sub(first)?).ok()?;
        let mut entries = entries.range(from.min(entries.len())..);
        let Some(entry) = entries.next() else { return Some(Bytes::new()) };
        self.at = entry.number + 1;
        let mut more = entries.peekable();
        if more.peek().is_none() {
            return Some(entry.frame.clone());
        }
        let mut helping = BytesMut::from(&entry.frame[..]);
        for entry in more {
            if helping.len() + entry.frame.len() > MAX_CHUNK_BYTES {
                break;
            }
            helping.extend_from_slice(&entry.frame);
            self.at = entry.number + 1;
        }
        Some(helping.freeze())
    }
}

/// Encodes one message.
pub(super) fn frame(id: Option<&str>, name: Option<&str>, data: &impl Serialize) -> Bytes {
    let mut frame = String::new();
    for (field, value) in [("id", id), ("event", name)] {
        if let Some(value) = value {
            frame.push_str(&format!("{field}: {value}\n"));
        }
    }
    // The values are structs of strings and numbers, whose JSON never fails and has one line.
    frame.push_str(&format!("data: {}\n\n", serde_json::to_string(data).unwrap_or_default()));
    frame.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::event::Phase;
    use crate::core::units::UnitName;

    fn buffer(events: std::ops::RangeInclusive<u64>) -> Arc<EventBuffer> {
        let buffer = EventBuffer::new();
        for number in events {
            let event = Event {
                unit: UnitName::parse(&format!("w{number}")).ok(),
                time: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(number)),
                ..Event::new(Phase::Healed)
            };
            buffer.write(&mut vec![event]);
        }
        Arc::new(buffer)
    }

    /// All that is sent of the past.
    fn read(buffer: &Arc<EventBuffer>, filter: &EventFilter) -> String {
        let mut follower = buffer.open(filter, watch::channel(false).1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut text = String::new();
        while let Some(bytes) = runtime.block_on(follower.read()) {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text
    }

    fn units(text: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let events = lines.filter_map(|line| serde_json::from_str::<Event>(line).ok());
        events.map(|event| event.unit_name().to_owned()).collect()
    }

    fn filter() -> EventFilter {
        EventFilter { follow: false, ..EventFilter::default() }
    }

    #[test]
    fn a_follower_gets_exactly_the_events_it_has_not_seen() {
        let buffer = buffer(1..=5);
        let all = read(&buffer, &filter());
        assert_eq!(units(&all), ["w1", "w2", "w3", "w4", "w5"]);
        let ids: Vec<&str> = all.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
        for (at, id) in ids.iter().enumerate() {
            let rest = read(&buffer, &EventFilter { after: Some((*id).to_owned()), ..filter() });
            assert_eq!(units(&rest).len(), 4 - at);
            assert!(!rest.contains("gap"));
        }
    }

    #[test]
    fn events_of_an_earlier_daemon_come_first_and_are_not_repeated() {
        let event = |unit: &str, phase, seconds| Event {
            unit: UnitName::parse(unit).ok(),
            time: Some(SystemTime::now() - Duration::from_secs(seconds)),
            ..Event::new(phase)
        };
        let buffer = Arc::new(EventBuffer::new());
        buffer.restore(&[event("w1", Phase::Detected, 90), event("w2", Phase::Detected, 80)]);
        buffer.write(&mut vec![event("w2", Phase::Detected, 9), event("w3", Phase::Detected, 8)]);
        assert_eq!(units(&read(&buffer, &filter())), ["w1", "w2", "w2", "w3"]);
        let after = EventFilter { after: Some("0000000000000001-2".to_owned()), ..filter() };
        assert_eq!(units(&read(&buffer, &after)), ["w2", "w3"]);
        let last_day = buffer.last_day();
        assert_eq!(last_day.failures, 3, "one of them was down all the time");
        assert!(last_day.since < Some(SystemTime::now() - Duration::from_secs(85)));
    }

    #[test]
    fn an_id_that_is_not_known_begins_with_everything_and_says_so() {
        let buffer = buffer(1..=3);
        let of_the_future = format!("{:016x}-99", buffer.instance);
        for id in
            ["", "x", "-", "0000000000000001-2", "1", &of_the_future, &format!("{:x}-{}", buffer.instance, u64::MAX)]
        {
            let text = read(&buffer, &EventFilter { after: Some(id.to_owned()), ..filter() });
            assert_eq!(units(&text), ["w1", "w2", "w3"], "{id:?}");
            assert!(text.contains("event: gap\n"), "{id:?}");
        }
    }

    #[test]
    fn the_past_is_bounded_by_time_and_number() {
        let buffer = buffer(1..=5);
        let since = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(units(&read(&buffer, &EventFilter { since: since(4), ..filter() })), ["w4", "w5"]);
        assert_eq!(units(&read(&buffer, &EventFilter { since: since(9), ..filter() })), [""; 0]);
        assert_eq!(units(&read(&buffer, &EventFilter { limit: Some(2), ..filter() })), ["w4", "w5"]);
        assert_eq!(
            units(&read(&buffer, &EventFilter { since: since(2), limit: Some(3), ..filter() })),
            ["w3", "w4", "w5"]
        );
        assert_eq!(units(&read(&buffer, &EventFilter { limit: Some(0), ..filter() })), [""; 0]);
    }

    #[test]
    fn a_follower_that_falls_behind_is_disconnected_and_informed_of_the_gap() {
        let buffer = buffer(1..=3);
        let mut follower =
            buffer.open(&EventFilter { limit: Some(1), follow: true, ..filter() }, watch::channel(false).1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(follower.read());
        let last = String::from_utf8(runtime.block_on(follower.read()).unwrap().to_vec()).unwrap();
        let id = last.lines().find_map(|line| line.strip_prefix("id: ")).unwrap().to_owned();
        buffer.write(&mut vec![Event::new(Phase::Healed); MAX_EVENTS + 1]);
        assert_eq!(runtime.block_on(follower.read()), None);
        let text = read(&buffer, &EventFilter { after: Some(id), ..filter() });
        assert!(text.contains("event: gap\n"));
        assert_eq!(units(&text).len(), MAX_EVENTS);
    }
}
