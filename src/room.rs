//! Connections to a server of ours, and what keeps them bounded: in number, in size, and in time.
//!
//! One request each: who wants more connects again, which costs next to nothing here. Who does not ask
//! in time, or does not read what was asked for, is cut off; and who has not asked yet has to make room
//! when there are too many, the oldest first, so that those who do are served.

use std::collections::BTreeMap;
use std::io;
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
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::{Sleep, sleep};

/// How long a request's head may take.
pub(crate) const ASKS_WITHIN: Duration = Duration::from_secs(5);
/// How long nothing of an answer may be taken.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// Room for a request's head.
pub(crate) const HEAD: usize = 16 * 1024;
const HEADERS: usize = 64;
/// The wait after a connection could not be accepted: mostly there are too many open files.
pub(crate) const BREATHER: Duration = Duration::from_millis(100);

/// Those who are connected.
pub(crate) struct Room {
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
    /// With so many places.
    pub fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), silent: Arc::default() }
    }

    fn silent<T>(silent: &Mutex<Silent>, take: impl FnOnce(&mut Silent) -> T) -> T {
        take(&mut silent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Serves a connection, if there is a place or one can be made.
    pub async fn admit<S>(&self, stream: S, router: &Router)
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
