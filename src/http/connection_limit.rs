//! Connections to a server of ours, and what keeps them bounded: in number, in size, and in time.
//!
//! One request each: who wants more connects again, which costs next to nothing here. Who does not ask
//! in time, or does not read what was asked for, is cut off. When there are too many, these make room, the oldest
//! first, so that those who ask are served: who has not asked yet, then who only follows ([`GivesWay`]). Where
//! nobody can, the answer is 503.

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

/// How long a request's head may take.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long nothing of an answer may be taken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// Room for a request's head.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// The wait after a connection could not be accepted: mostly there are too many open files.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Of those who cannot be served, so many are told so at once.
const MAX_REJECTIONS: usize = 16;
/// How long one who is to make room may take to end in order.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(100);

/// Put into the extensions of an answer that goes on without an end, and can be ended at any time: whoever reads it
/// comes back. It is told when that is wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivesWay(pub Arc<Notify>);

/// Those who are connected.
pub(crate) struct ConnectionLimit {
    places: Arc<Semaphore>,
    /// Who can make room.
    spare: Arc<Mutex<Spare>>,
    door: Arc<Semaphore>,
    next: u64,
}

/// Connections that can be ended for others, by their numbers: the oldest first.
#[derive(Default)]
struct Spare {
    /// These have not asked yet.
    silent: BTreeMap<u64, AbortHandle>,
    /// These follow.
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
    /// With so many places.
    pub fn new(places: usize) -> Self {
        let door = Arc::new(Semaphore::new(MAX_REJECTIONS));
        Self { places: Arc::new(Semaphore::new(places)), spare: Arc::default(), door, next: 0 }
    }

    /// A place, if there is one or one can be made.
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
            // It does not take even the end.
            oldest.abort();
        }
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Serves a connection, or tells it that there is no place.
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
        // The task has not run yet: there is only this thread.
        locked(&self.spare).silent.insert(number, task.abort_handle());
    }

    /// Tells one who is not served why.
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
            let told = async {
                // Closed with something unread, the connection would end before they have read the answer.
                let _ = stream.read(&mut vec![0; MAX_HEADER_BYTES]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            };
            let _ = timeout(HEADER_TIMEOUT, told).await;
        });
    }
}

/// What comes of accepting connections: that file descriptors have run out is said once, and when it is over.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    starved: bool,
}

impl Accepting {
    /// The connection; after an error nothing, and a breather.
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
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
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
