//! The addresses of systemd, and how to connect to each.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::connection::{CALL_TIMEOUT, ManagerConnection};
use super::private_socket;
use crate::core::text::path as shown;
use crate::manager::Scope;

/// How long the manager may take to join a bus that has just been started.
const BUS_JOIN_TIMEOUT: Duration = Duration::from_secs(2);

/// An address of the manager.
#[derive(Debug, Clone)]
pub(super) enum Address {
    /// The manager's private socket.
    Private(PathBuf),
    /// The bus that belongs to the user's manager.
    Runtime(PathBuf),
    /// The bus that `$DBUS_SESSION_BUS_ADDRESS` names: on some desktops another one.
    Session,
    /// The system bus.
    System,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private(path) | Self::Runtime(path) => write!(f, "{}", shown(path)),
            Self::Session => f.write_str("$DBUS_SESSION_BUS_ADDRESS"),
            Self::System => f.write_str("the system bus"),
        }
    }
}

impl Address {
    /// The addresses to try, the best first.
    pub fn of(scope: Scope) -> Vec<Self> {
        match scope {
            Scope::System => vec![Self::Private(PathBuf::from("/run/systemd/private")), Self::System],
            Scope::User => {
                let runtime = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(
                    || PathBuf::from(format!("/run/user/{}", rustix::process::getuid().as_raw())),
                    PathBuf::from,
                );
                let (private, runtime) = (runtime.join("systemd/private"), runtime.join("bus"));
                let session = std::env::var("DBUS_SESSION_BUS_ADDRESS").ok();
                let another = session.filter(|address| *address != format!("unix:path={}", runtime.display()));
                [Self::Private(private), Self::Runtime(runtime)]
                    .into_iter()
                    .chain(another.map(|_| Self::Session))
                    .collect()
            }
        }
    }

    pub async fn connect(&self) -> zbus::Result<ManagerConnection> {
        let failed = |error| zbus::Error::InputOutput(std::sync::Arc::new(error));
        let builder = match self {
            Self::Private(path) => private_socket::builder(path).map_err(failed)?,
            Self::Runtime(path) => {
                // Connecting to a local socket succeeds or fails at once.
                let stream = std::os::unix::net::UnixStream::connect(path).map_err(failed)?;
                zbus::connection::Builder::unix_stream(stream)
            }
            Self::Session => zbus::connection::Builder::session(),
            Self::System => zbus::connection::Builder::system(),
        };
        let bus = builder.method_timeout(CALL_TIMEOUT).build().await?;
        let connection = ManagerConnection { bus, private: matches!(self, Self::Private(_)) };
        if connection.private {
            connection.answers().await?;
            return Ok(connection);
        }
        // Connecting can start the bus, which the manager joins a little later.
        let latest = Instant::now() + BUS_JOIN_TIMEOUT;
        loop {
            match connection.owner().await {
                Ok(_) => return Ok(connection),
                Err(_) if Instant::now() >= latest => {
                    return Err(zbus::Error::Failure("no service manager is on this bus".to_owned()));
                }
                Err(_) => sleep(BUS_JOIN_TIMEOUT / 100).await,
            }
        }
    }
}
