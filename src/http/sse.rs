//! Streaming responses: server-sent events.

use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream as streams;
use tokio::sync::mpsc;

/// A response that streams these frames.
pub(crate) fn stream(frames: mpsc::Receiver<Bytes>) -> Response {
    let body = streams::unfold(frames, async |mut frames| {
        let bytes = frames.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(bytes), frames))
    });
    server_sent(Body::from_stream(body))
}

/// A response with a body of server-sent events.
pub(crate) fn server_sent(body: Body) -> Response {
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}
