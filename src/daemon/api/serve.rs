//! Connections, and what keeps them bounded: in number, in size, and in time.
//!
//! One request each: who wants more connects again, which costs next to nothing here. Who does not ask
//! in time, or does not read what was asked for, is cut off; and who has not asked yet has to make room
//! when there are too many, the oldest first, so that those who do are served.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep, timeout};

use super::calls::{self, Office};
use super::socket::{Claim, may_come_in};
use crate::manager::ServiceManager;

/// Connections at once.
const CONNECTIONS: usize = 512;
/// Of those who may not come in, so many are told so at once.
const STRANGERS: usize = 16;
/// How long a request's head may take.
const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing of an answer may be taken.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// Room for a request's head.
const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;
/// The wait after a connection could not be accepted: mostly there are too many open files.
const BREATHER: Duration = Duration::from_millis(100);

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

/// Those who are connected.
struct Room {
    places: Arc<Semaphore>,
    /// Who has not asked yet, the oldest first.
    silent: Arc<Mutex<Silent>>,
}

#[derive(Default)]
struct Silent {
    next: u64,
    tasks: BTreeMap<u64, AbortHandle>,
}

impl Room {
    fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), silent: Arc::default() }
    }

    fn silent<T>(silent: &Mutex<Silent>, take: impl FnOnce(&mut Silent) -> T) -> T {
        take(&mut silent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves a connection, if there is a place or one can be made.
    async fn admit<S>(&self, stream: S, router: &Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let place = if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            place
        } else {
            let Some((_, oldest)) = Self::silent(&self.silent, |silent| silent.tasks.pop_first()) else { return };
            oldest.abort();
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            place
        };
        let (router, silent) = (router.clone(), Arc::clone(&self.silent));
        let number = Self::silent(&silent, |silent| {
            silent.next += 1;
            silent.next
        });
        let here = Arc::clone(&silent);
        let task = tokio::spawn(async move {
            let _place = place;
            let asked = Arc::clone(&here);
            let router = TowerToHyperService::new(router);
            let service = service_fn(move |request: Request<Incoming>| {
                Self::silent(&asked, |silent| silent.tasks.remove(&number));
                router.call(request)
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(ASKS_WITHIN)
                .keep_alive(false)
                .max_headers(HEADERS)
                .max_buf_size(HEAD)
                .serve_connection(TokioIo::new(Patient::new(stream)), service)
                .await;
            Self::silent(&here, |silent| silent.tasks.remove(&number));
        });
        // The task has not run yet: there is only this thread.
        Self::silent(&silent, |silent| silent.tasks.insert(number, task.abort_handle()));
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

/// A connection whose other end has to take what it is sent within a time.
struct Patient<S> {
    stream: S,
    /// Runs out if nothing is taken until then.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S) -> Self {
        Self { stream, patience: None }
    }

    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.patience = None;
            return done;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(READS_WITHIN)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
