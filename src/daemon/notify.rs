//! Notifications to the service manager that runs the daemon, sd_notify(3).
//!
//! The socket is opened once, so that running out of file descriptors later does not look like a daemon that hangs.
//! Sending never blocks; a message that could not be sent is sent with the next one. Without a service manager, or on
//! macOS, nothing is sent.

use std::time::Duration;

#[cfg(target_os = "linux")]
use sd_notify::NotifyState;

/// The connection to the service manager. Owned by the loop.
#[derive(Debug, Default)]
pub(super) struct Notify {
    #[cfg(target_os = "linux")]
    socket: Option<(std::os::unix::net::UnixDatagram, std::os::unix::net::SocketAddr)>,
    /// Messages that are not sent yet, in order.
    unreported: Vec<String>,
}

impl Notify {
    /// Opens the socket, if there is one.
    #[cfg(target_os = "linux")]
    pub fn open() -> Self {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let open = || {
            let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
            let address = match name.as_bytes().strip_prefix(b"@") {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(name),
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            Some((socket, address.ok()?))
        };
        Self { socket: open(), unreported: Vec::new() }
    }

    /// Opens the socket, if there is one.
    #[cfg(not(target_os = "linux"))]
    pub fn open() -> Self {
        Self::default()
    }

    /// The daemon is ready: units that wait for it may start.
    pub fn ready(&mut self) {
        self.send("READY=1".to_owned());
    }

    /// The daemon reads its files again. `ready` follows.
    pub fn reloading(&mut self) {
        #[cfg(target_os = "linux")]
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            self.send(format!("{}\n{now}", NotifyState::Reloading));
        }
    }

    /// The daemon is about to end.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1".to_owned());
    }

    /// The loop is running.
    pub fn watchdog(&mut self) {
        self.send("WATCHDOG=1".to_owned());
    }

    /// Sets the status line.
    pub fn status(&mut self, line: &str) {
        self.send(format!("STATUS={line}"));
    }

    #[cfg(target_os = "linux")]
    fn send(&mut self, state: String) {
        let Some((socket, address)) = &self.socket else { return };
        // Only the newest message of each kind is kept, so that the queue stays short.
        let kind = |state: &str| state.split('=').next().map(str::to_owned);
        self.unreported.retain(|earlier| kind(earlier) != kind(&state));
        self.unreported.push(state);
        let taken = self.unreported.iter().take_while(|it| socket.send_to_addr(it.as_bytes(), address).is_ok()).count();
        self.unreported.drain(..taken);
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&mut self, _state: String) {
        self.unreported.clear();
    }
}

/// How often to send `watchdog`: twice in the interval that the service manager allows.
pub(super) fn watchdog_interval() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    return sd_notify::watchdog_enabled().map(|time| time / 2);
    #[cfg(not(target_os = "linux"))]
    None
}
