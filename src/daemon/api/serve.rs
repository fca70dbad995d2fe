//! The daemon's doors: its socket, and the address where it is to serve its metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::calls::{self, Office};
use super::socket::{Claim, may_come_in};
use crate::manager::ServiceManager;
use crate::room::{ASKS_WITHIN, BREATHER, HEAD, Room};

/// Connections at once.
const CONNECTIONS: usize = 512;
/// Of those who may not come in, so many are told so at once.
const STRANGERS: usize = 16;

/// Serves all calls on the daemon's socket.
pub(super) async fn serve<M: ServiceManager>(claim: Claim, office: &Arc<Office<M>>) {
    let router = calls::router(Arc::clone(office));
    let listener = match claim.listener.try_clone().and_then(UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("nobody can ask this daemon anything: {error}"),
    };
    let room = Room::new(CONNECTIONS);
    let door = Arc::new(Semaphore::new(STRANGERS));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if may_come_in(&stream) => room.admit(stream, &router).await,
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(&door).try_acquire_owned() {
                    tokio::spawn(async move {
                        let _place = place;
                        let _ = timeout(ASKS_WITHIN, turn_away(stream)).await;
                    });
                }
            }
            Err(_) => sleep(BREATHER).await,
        }
    }
}

/// Serves the metrics, and nothing else, at the address that the configuration names at the time.
pub(super) async fn metrics_over_tcp<M: ServiceManager>(
    office: Arc<Office<M>>,
    mut listen: watch::Receiver<Option<SocketAddr>>,
) {
    let router = calls::metrics_only(office);
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
    let room = Room::new(CONNECTIONS / 8);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => room.admit(stream, router).await,
            Err(_) => sleep(BREATHER).await,
        }
    }
}

/// Tells somebody who may not come in.
async fn turn_away(mut stream: tokio::net::UnixStream) {
    let body = r#"{"error":"this daemon answers its own user and root"}"#;
    let answer = format!(
        "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    // Closed with something unread, the connection would end before they have read the answer.
    let _ = stream.read(&mut vec![0; HEAD]).await;
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
