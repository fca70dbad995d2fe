//! The limit: a client of the session bus that can do nothing but heal a unit that it knows.
//!
//! It has both messages ready, and answers the signal of the failure with `ResetFailedUnit` and `StartUnit` back to
//! back. It receives the signals of all units, as workerheal does, so it also reports when others are up again.

use std::collections::HashMap;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use crate::machine::monotonic;
use anyhow::Context;
use futures_core::Stream;
use rustix::process::{Pid, Signal, kill_process};
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, Variant};

const UNIT_PATH: &str = "/org/freedesktop/systemd1/unit";

/// The downtime of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    /// From failed to active.
    pub down: Duration,
    /// From the kill to active.
    pub whole: Duration,
}

pub struct Client {
    connection: Connection,
    signals: MessageStream,
}

impl Client {
    /// Connects for calls only, without signals.
    pub async fn connect(socket: &Path) -> anyhow::Result<Self> {
        let socket = std::os::unix::net::UnixStream::connect(socket)?;
        let connection = zbus::connection::Builder::unix_stream(socket).build().await?;
        Ok(Self { signals: MessageStream::from(&connection), connection })
    }

    /// Connects, and receives the signals of all units.
    pub async fn listening(socket: &Path) -> anyhow::Result<Self> {
        let client = Self::connect(socket).await?;
        let bus = Some("org.freedesktop.DBus");
        let rule = format!(
            "type='signal',sender='org.freedesktop.systemd1',path_namespace='{UNIT_PATH}',\
             interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'"
        );
        client.connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await?;
        client.connection.send(&to_manager("Subscribe", &())?).await?;
        Ok(client)
    }

    /// Kills a worker, and heals it if requested. Returns when it is up again.
    pub async fn kill(&mut self, unit: &str, process: Pid, mut heal: bool) -> anyhow::Result<Outage> {
        let path = unit_path(unit);
        let cure = [to_manager("ResetFailedUnit", &unit)?, to_manager("StartUnit", &(unit, "fail"))?];
        let killed = monotonic()?;
        kill_process(process, Signal::KILL)?;
        loop {
            let message = self.next().await?;
            match news(&message) {
                Some(news) if news.path != path => {}
                Some(news) if news.state == "failed" && std::mem::take(&mut heal) => {
                    self.connection.send_all(&cure).await?;
                }
                Some(News { state, down, up, .. }) if state == "active" && up > down && down > 0 => {
                    let [down, whole] = [down, killed].map(|since| Duration::from_micros(up.saturating_sub(since)));
                    return Ok(Outage { down, whole });
                }
                Some(_) | None => {}
            }
        }
    }

    /// The number of loaded units that match a pattern and are in one of the states.
    pub async fn count(&mut self, states: &[&str], pattern: &str) -> anyhow::Result<usize> {
        let question = to_manager("ListUnitsByPatterns", &(states, [pattern].as_slice()))?;
        let serial = question.primary_header().serial_num();
        self.connection.send(&question).await?;
        loop {
            let message = self.next().await?;
            if message.header().reply_serial() == Some(serial) {
                let body = message.body();
                let units: Vec<ListedUnit<'_>> = body.deserialize()?;
                return Ok(units.len());
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<Message> {
        let message = std::future::poll_fn(|cx| Pin::new(&mut self.signals).poll_next(cx)).await;
        Ok(message.context("the bus is gone")??)
    }
}

/// A unit in a list, as systemd sends it.
type ListedUnit<'a> =
    (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, ObjectPath<'a>, u32, &'a str, ObjectPath<'a>);

/// The content of a signal about a unit: its state, and when it last went down and up.
struct News {
    path: String,
    state: String,
    down: u64,
    up: u64,
}

fn news(message: &Message) -> Option<News> {
    if message.message_type() != Type::Signal {
        return None;
    }
    let body = message.body();
    let (_, properties, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
    let time = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok());
    let Variant::Str(state) = properties.get("ActiveState")? else { return None };
    let path = message.header().path()?.as_str().to_owned();
    let (down, up) = (time("InactiveEnterTimestampMonotonic")?, time("ActiveEnterTimestampMonotonic")?);
    Some(News { path, state: state.to_string(), down, up })
}

fn unit_path(unit: &str) -> String {
    let escape = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:02x}", c as u32) };
    format!("{UNIT_PATH}/{}", unit.chars().map(escape).collect::<String>())
}

fn to_manager<B: serde::Serialize + zbus::wire::DynamicType>(method: &'static str, body: &B) -> zbus::Result<Message> {
    Message::method_call("/org/freedesktop/systemd1", method)
        .interface("org.freedesktop.systemd1.Manager")
        .destination("org.freedesktop.systemd1")
        .build(body)
}
