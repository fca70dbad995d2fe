//! Accepts connections to our servers, and limits their number, size, and duration.
//!
//! Each connection serves one request; reconnecting is cheap. A client that does not send its request in time, or does
//! not read the response, is disconnected. If there are too many connections, those that have not sent a request yet
//! are closed first, then those of followers ([`GivesWay`]), the oldest first. If no connection can be closed, the
//! response is 503.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep, timeout};

/// How long a request's header may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may read nothing of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of a request's header.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Delay after a connection could not be accepted, usually because there are too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Maximum number of concurrent rejections.
const MAX_REJECTIONS: usize = 16;
/// How long a connection that is to be closed may take to end in order.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// An extension of endless responses, which can be ended at any time as their clients reconnect. It is notified to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivesWay(pub Arc<Notify>);

/// The open connections.
pub(crate) struct ConnectionLimit {
    places: Arc<Semaphore>,
    /// Connections that can be closed.
    spare: Arc<Mutex<Spare>>,
    door: Arc<Semaphore>,
    next: u64,
}

/// Connections that can be closed in favour of others, by number: the oldest first.
#[derive(Default)]
struct Spare {
    /// Connections without a request so far.
    silent: BTreeMap<u64, AbortHandle>,
    /// Connections of followers.
    idle: BTreeMap<u64, (AbortHandle, GivesWay)>,
}

impl Spare {
    fn remove(&mut self, number: u64) {
        self.silent.remove(&number);
        self.idle.remove(&number);
    }
}

fn locked(spare: &Mutex<Spare>) -> MutexGuard<'_, Spare> {
    spare.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ConnectionLimit {
    /// With this many slots.
    pub fn new(places: usize) -> Self {
        let door = Arc::new(Semaphore::new(MAX_REJECTIONS));
        Self { places: Arc::new(Semaphore::new(places)), spare: Arc::default(), door, next: 0 }
    }

    /// A slot, if one is free or can be freed.
    async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let silent = locked(&self.spare).silent.pop_first();
        if let Some((_, oldest)) = silent {
            oldest.abort();
        } else {
            let (_, (oldest, gives_way)) = locked(&self.spare).idle.pop_first()?;
            gives_way.0.notify_one();
            if let Ok(place) = timeout(CLOSE_TIMEOUT, Arc::clone(&self.places).acquire_owned()).await {
                return place.ok();
            }
            // It does not even read the end.
            oldest.abort();
        }
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Serves a connection, or rejects it if there is no slot.
    pub async fn admit<S>(&mut self, stream: S, router: &Router)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some(place) = self.place().await else {
            let why = "too many others are being served, it is busy; try again";
            return self.turn_away(stream, "503 Service Unavailable", why);
        };
        self.next += 1;
        let number = self.next;
        let router = router.clone();
        let here = Arc::clone(&self.spare);
        let task = tokio::spawn(async move {
            let _place = place;
            let asked = Arc::clone(&here);
            let router = TowerToHyperService::new(router);
            let service = service_fn(move |request: Request<Incoming>| {
                let own = locked(&asked).silent.remove(&number);
                let (asked, answer) = (Arc::clone(&asked), router.call(request));
                async move {
                    let answer = answer.await?;
                    if let (Some(own), Some(gives_way)) = (own, answer.extensions().get::<GivesWay>()) {
                        locked(&asked).idle.insert(number, (own, gives_way.clone()));
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .keep_alive(false)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(Patient::new(stream)), service)
                .await;
            locked(&here).remove(number);
        });
        // The task has not run yet: this is the only thread.
        locked(&self.spare).silent.insert(number, task.abort_handle());
    }

    /// Sends the reason for a rejection.
    pub fn turn_away<S>(&self, mut stream: S, status: &'static str, why: &'static str)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Ok(place) = Arc::clone(&self.door).try_acquire_owned() else { return };
        let body = format!(r#"{{"error":"{why}"}}"#);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        tokio::spawn(async move {
            let _place = place;
            let rejection = async {
                // If unread data were left, the connection would be reset before the client has read the response.
                let _ = stream.read(&mut vec![0; MAX_HEADER_BYTES]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            };
            let _ = timeout(HEADER_TIMEOUT, rejection).await;
        });
    }
}

/// Accepts connections. Running out of file descriptors is logged once, and again when it is over.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    starved: bool,
}

impl Accepting {
    /// The next connection; `None` after an error and a delay.
    pub async fn take<T>(&mut self, accepted: io::Result<T>) -> Option<T> {
        match accepted {
            Ok(connection) => {
                if std::mem::take(&mut self.starved) {
                    tracing::info!("there are file descriptors again, it can be asked as before");
                }
                Some(connection)
            }
            Err(error) => {
                let starved =
                    [Errno::MFILE, Errno::NFILE].iter().any(|it| error.raw_os_error() == Some(it.raw_os_error()));
                if starved && !std::mem::replace(&mut self.starved, true) {
                    tracing::error!(
                        "there are too many open files: no request can be answered until some are closed, healing goes on"
                    );
                }
                sleep(ACCEPT_RETRY_DELAY).await;
                None
            }
        }
    }
}

/// A connection whose peer has to read within a time.
struct Patient<S> {
    stream: S,
    /// Expires if nothing is read until then.
    read_deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    fn new(stream: S) -> Self {
        Self { stream, read_deadline: None }
    }

    fn bounded<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.read_deadline = None;
            return done;
        }
        let read_deadline = self.read_deadline.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(read_deadline.as_mut().poll(cx));
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
