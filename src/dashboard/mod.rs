//! `workerheal dashboard`: a page on this machine that shows the workers, and heals them.
//!
//! It uses the daemon's [client](crate::client), and decides nothing about healing. The files of the page are in
//! `page/`, compiled in; it loads nothing from elsewhere.
//!
//! - [`serve`]: the handlers of requests.
//! - [`auth`]: authenticates requests.
//! - [`feed`]: events, and a heal under way.
//! - this file: the address, and opening the browser.

mod auth;
mod feed;
mod serve;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use tokio::net::TcpListener;

use crate::http::connection_limit::{Accepting, ConnectionLimit};
use crate::setup::Options;
use auth::Auth;

/// The preferred port, so that the address is the same each time.
pub const PORT: u16 = 9478;
/// Maximum number of concurrent connections. A browser has six.
const MAX_CONNECTIONS: usize = 64;

/// Why there is no dashboard.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Other machines could reach it.
    #[error(
        "{0} is no address of this machine alone; listen at 127.0.0.1:{PORT}, and from elsewhere use \
         `ssh -L {PORT}:127.0.0.1:{PORT} HOST`"
    )]
    NotLoopback(SocketAddr),
    /// The address cannot be used.
    #[error("cannot listen at {address}: {error}; name another with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        error: io::Error,
    },
    /// There are no random numbers for the secrets.
    #[error("the operating system has no random numbers for a token: {0}")]
    Random(getrandom::Error),
}

/// A dashboard that listens.
pub struct Dashboard {
    listener: TcpListener,
    auth: Auth,
    options: Options,
}

impl Dashboard {
    /// Listens at this address, or at [`PORT`] if that is free, else at any port.
    ///
    /// # Errors
    ///
    /// If the address is not a loopback one, or cannot be listened at.
    pub async fn listen(options: &Options, address: Option<SocketAddr>) -> Result<Self, DashboardError> {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        let listener = match address {
            Some(address) if !address.ip().is_loopback() => return Err(DashboardError::NotLoopback(address)),
            Some(address) => bind(address).await?,
            None => match bind(loopback(PORT)).await {
                Ok(listener) => listener,
                Err(_) => bind(loopback(0)).await?,
            },
        };
        let unknown = |error| DashboardError::Listen { address: address.unwrap_or_else(|| loopback(0)), error };
        let auth = Auth::new(listener.local_addr().map_err(unknown)?).map_err(DashboardError::Random)?;
        Ok(Self { listener, auth, options: options.clone() })
    }

    /// The address to open, including the token.
    #[must_use]
    pub fn url(&self) -> String {
        self.auth.url()
    }

    /// Opens it in the user's browser. If that fails, the printed address remains.
    pub fn open(&self) {
        let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
        let quiet = Stdio::null;
        let mut opener = Command::new(program);
        opener.arg(self.auth.url_for_once()).stdin(quiet()).stdout(quiet()).stderr(quiet());
        if let Ok(mut opener) = opener.spawn() {
            std::thread::spawn(move || opener.wait());
        }
    }

    /// Serves requests, forever.
    pub async fn serve(self) {
        let router = serve::router(self.options, self.auth);
        let mut connections = ConnectionLimit::new(MAX_CONNECTIONS);
        let mut accepting = Accepting::default();
        loop {
            if let Some((stream, _)) = accepting.take(self.listener.accept().await).await {
                connections.admit(stream, &router).await;
            }
        }
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, DashboardError> {
    TcpListener::bind(address).await.map_err(|error| DashboardError::Listen { address, error })
}
