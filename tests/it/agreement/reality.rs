//! The real manager in the sandbox, over its bus.

use std::collections::HashMap;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};

use futures_core::Stream;
use tokio::runtime::Runtime;
use workerheal_sandbox::Sandbox;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, ObjectPath, OwnedVariant, Variant};

use crate::agreement::view::{State, View};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A unit in a list: name, description, load, active, sub, following, path, job id, job type, job path.
type Line<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str, ObjectPath<'a>, u32, &'a str, ObjectPath<'a>);

/// A signal of the manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// The result of a job that has ended.
    JobRemoved {
        unit: String,
        result: String,
    },
    Changed {
        unit: String,
        state: State,
    },
}

pub struct Reality {
    runtime: Runtime,
    connection: Connection,
    reported: Receiver<Reported>,
}

impl Reality {
    pub fn connect(sandbox: &Sandbox) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there is a runtime");
        let (sender, reported) = channel();
        let connection = runtime.block_on(async {
            let socket = UnixStream::connect(sandbox.runtime_dir().join("bus")).expect("the bus answers");
            let queued = NonZeroUsize::new(4096).unwrap_or(NonZeroUsize::MIN);
            let builder = zbus::connection::Builder::unix_stream(socket).max_queued(queued);
            let connection = builder.build().await.expect("the bus lets us in");
            tokio::spawn(listen(MessageStream::from(&connection), sender));
            let bus = Some("org.freedesktop.DBus");
            for rule in [
                "type='signal',sender='org.freedesktop.systemd1',member='JobRemoved'",
                "type='signal',sender='org.freedesktop.systemd1',member='PropertiesChanged',arg0='org.freedesktop.systemd1.Unit'",
            ] {
                let added = connection.call_method(bus, "/org/freedesktop/DBus", bus, "AddMatch", &rule).await;
                added.expect("the bus takes matches");
            }
            connection
        });
        let reality = Self { runtime, connection, reported };
        reality.call("Subscribe", &()).expect("the manager takes subscribers");
        reality
    }

    /// Calls a method of the manager; an error is its name without systemd's prefix.
    pub fn call<B>(&self, method: &'static str, body: &B) -> Result<Message, String>
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        let called = self.connection.call_method(Some(SYSTEMD), PATH, Some(MANAGER), method, body);
        self.runtime.block_on(called).map_err(|error| match error {
            zbus::Error::MethodError(name, ..) => {
                name.as_str().trim_start_matches("org.freedesktop.systemd1.").to_owned()
            }
            error => panic!("{method}: {error}"),
        })
    }

    /// All units of families in memory: load state, active state, sub state, type of the job.
    pub fn list(&self) -> HashMap<String, [String; 4]> {
        let reply = self.call("ListUnitsByPatterns", &(Vec::<&str>::new(), vec!["f???[abc].*"]));
        let reply = reply.expect("it lists units");
        let body = reply.body();
        let lines: Vec<Line<'_>> = body.deserialize().expect("a list has its form");
        let line = |(name, _, load, active, sub, _, _, _, job, _): Line<'_>| {
            (name.to_owned(), [load, active, sub, job].map(str::to_owned))
        };
        lines.into_iter().map(line).collect()
    }

    /// The other properties, and the invocation ids; all requested at once.
    pub fn inspect(&self, units: Vec<(String, View)>) -> Vec<(View, String)> {
        self.runtime.block_on(async {
            let inspect = |(unit, view)| tokio::spawn(inspect(self.connection.clone(), unit, view));
            let inspections: Vec<_> = units.into_iter().map(inspect).collect();
            let mut inspected = Vec::with_capacity(inspections.len());
            for inspection in inspections {
                inspected.push(inspection.await.expect("nothing panics"));
            }
            inspected
        })
    }

    /// The signals since the last call.
    pub fn reported(&self) -> Vec<Reported> {
        self.reported.try_iter().collect()
    }
}

async fn inspect(connection: Connection, unit: String, mut view: View) -> (View, String) {
    let path = format!("{PATH}/unit/{}", unit.replace('.', "_2e"));
    let get = async |interface: &str, key: &str| {
        let body = (format!("{SYSTEMD}.{interface}"), key);
        let reply = connection.call_method(Some(SYSTEMD), path.as_str(), Some(PROPERTIES), "Get", &body).await;
        let reply = reply.unwrap_or_else(|error| panic!("{key} of {unit}: {error}"));
        reply.body().deserialize::<OwnedVariant>().expect("a property has its form")
    };
    let interface = match unit.rsplit_once('.') {
        Some((_, "timer")) => "Timer",
        Some((_, "socket")) => "Socket",
        Some((_, "service")) => "Service",
        _ => "",
    };
    if !interface.is_empty() {
        view.result = String::try_from(get(interface, "Result").await).expect("it is a text");
    }
    if interface == "Service" {
        view.n_restarts = u32::try_from(get("Service", "NRestarts").await).expect("it is a number");
    }
    let id = Vec::<u8>::try_from(get("Unit", "InvocationID").await).expect("it is bytes");
    view.has_invocation = !id.is_empty();
    let hex: Vec<String> = id.iter().map(|byte| format!("{byte:02x}")).collect();
    (view, hex.concat())
}

async fn listen(mut stream: MessageStream, reported: Sender<Reported>) {
    while let Some(Ok(message)) = poll_fn(|context| Pin::new(&mut stream).poll_next(context)).await {
        if message.message_type() == Type::Signal
            && let Some(news) = read(&message)
            && reported.send(news).is_err()
        {
            return;
        }
    }
}

fn read(message: &Message) -> Option<Reported> {
    let (header, body) = (message.header(), message.body());
    if header.member()?.as_str() == "JobRemoved" {
        let (_, _, unit, result): (u32, ObjectPath<'_>, String, String) = body.deserialize().ok()?;
        return unit.starts_with('f').then_some(Reported::JobRemoved { unit, result });
    }
    let (_, properties, _): (&str, HashMap<&str, Variant<'_>>, Vec<&str>) = body.deserialize().ok()?;
    let unit = header.path()?.strip_prefix(format!("{PATH}/unit/").as_str())?.replace("_2e", ".");
    let text = |key: &str| match properties.get(key) {
        Some(Variant::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let has_job = match properties.get("Job")? {
        Variant::Structure(job) => !matches!(job.fields().first(), Some(Variant::U32(0))),
        _ => false,
    };
    let is_ours = unit.starts_with('f');
    let state = (text("ActiveState")?, text("SubState")? == "auto-restart", has_job);
    is_ours.then_some(Reported::Changed { unit, state })
}
