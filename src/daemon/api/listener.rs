//! The listeners of the daemon: its socket, and the address of its metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::sleep;

use super::handlers;
use super::socket::{Entrance, Socket};
use super::state::ApiState;
use crate::core::text;
use crate::http::connection_limit::{Accepting, ConnectionLimit};
use crate::manager::ServiceManager;

/// Maximum number of concurrent connections.
const MAX_CONNECTIONS: usize = 512;
/// Delay before a failed attempt to create the socket is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Serves the API on a socket, which is created again when it is gone at a `check`. `opened` is notified after the first
/// attempt to create it.
pub(super) async fn serve<M: ServiceManager>(
    state: &Arc<ApiState<M>>,
    entrance: &Entrance,
    mut check: watch::Receiver<()>,
    opened: &SyncSender<()>,
) {
    let router =
        if entrance.reads_only { handlers::reading(Arc::clone(state)) } else { handlers::router(Arc::clone(state)) };
    let path = &entrance.path;
    let mut connections = ConnectionLimit::new(MAX_CONNECTIONS);
    let mut accepting = Accepting::default();
    let mut failing = String::new();
    loop {
        let opening = Socket::open(entrance);
        // Only the first attempt is waited for.
        let _ = opened.try_send(());
        let socket = match opening {
            Ok(socket) => socket,
            Err(error) => {
                let error = error.to_string();
                if error != failing {
                    tracing::error!("{error}; healing goes on, but no request can be answered; trying again");
                    failing = error;
                }
                tokio::select! {
                    () = checked(&mut check) => {}
                    () = sleep(RETRY_DELAY) => {}
                }
                continue;
            }
        };
        if !std::mem::take(&mut failing).is_empty() {
            tracing::info!("it can be asked at {}", text::path(path));
        }
        loop {
            tokio::select! {
                accepted = socket.listener.accept() => match accepting.take(accepted).await {
                    Some((stream, _)) if socket.may_come_in(&stream) => connections.admit(stream, &router).await,
                    Some((stream, _)) => connections.turn_away(stream, "403 Forbidden", "this daemon answers its own user and root"),
                    None => {}
                },
                () = checked(&mut check) => if !socket.is_there() {
                    tracing::warn!("{} was removed, and is made anew", text::path(path));
                    break;
                },
            }
        }
    }
}

/// Waits for the next check; forever if there are no more.
async fn checked(check: &mut watch::Receiver<()>) {
    if check.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Serves only the metrics, at the address that is currently configured.
pub(super) async fn metrics_over_tcp<M: ServiceManager>(
    state: Arc<ApiState<M>>,
    mut listen: watch::Receiver<Option<SocketAddr>>,
) {
    let router = handlers::metrics_only(state);
    loop {
        let address = *listen.borrow_and_update();
        tokio::select! {
            () = listen_at(address, &router) => {}
            changed = listen.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn listen_at(address: Option<SocketAddr>, router: &Router) {
    let Some(address) = address else { return std::future::pending().await };
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!("metrics cannot be served at {address}: {error}; trying again");
            return sleep(Duration::from_secs(30)).await;
        }
    };
    tracing::info!("metrics are served at http://{address}/metrics");
    let mut connections = ConnectionLimit::new(MAX_CONNECTIONS / 8);
    let mut accepting = Accepting::default();
    loop {
        if let Some((stream, _)) = accepting.take(listener.accept().await).await {
            connections.admit(stream, router).await;
        }
    }
}
