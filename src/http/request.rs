//! Reads requests within limits, and rejects them with a status and one sentence, as JSON.

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::api::Refused;
use crate::core::text::plain;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum duration of a pause, or of a period of past events.
pub(crate) const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A response that is not a success.
pub(crate) struct Rejection {
    status: StatusCode,
    error: String,
}

impl Rejection {
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: plain(&error.into()) }
    }

    /// There is no worker with this name.
    pub fn not_covered(name: &str) -> Self {
        let name: String = name.chars().take(100).collect();
        Self::new(StatusCode::NOT_FOUND, format!("no worker named {name:?}"))
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        (self.status, Json(Refused { error: self.error })).into_response()
    }
}

/// The body of a request, with a limit of its length.
pub(crate) async fn body(request: Request, longest: usize) -> Result<Bytes, Rejection> {
    let too_long = || Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, format!("write at most {} KiB", longest / 1024));
    let length = request.headers().get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > longest as u64) {
        return Err(too_long());
    }
    match timeout(BODY_TIMEOUT, axum::body::to_bytes(request.into_body(), longest)).await {
        Ok(body) => body.map_err(|_| too_long()),
        Err(_) => Err(Rejection::new(StatusCode::REQUEST_TIMEOUT, "the body of the request did not arrive in time")),
    }
}

/// Parses a body as a JSON object.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Rejection> {
    // A list would be read as the fields in order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "write a JSON object, such as {\"targets\": []}"));
    }
    serde_json::from_slice(body).map_err(|error| Rejection::new(StatusCode::BAD_REQUEST, error.to_string()))
}

/// Parses a duration such as `90s`.
pub(crate) fn duration(text: &str) -> Result<Duration, Rejection> {
    let hint = "write 30m, 2h or 1d";
    match humantime::parse_duration(text.trim()) {
        Ok(time) if time <= MAX_DURATION => Ok(time),
        Ok(_) => Err(Rejection::new(StatusCode::BAD_REQUEST, format!("{text:?} is too long a time"))),
        Err(_) => Err(Rejection::new(StatusCode::BAD_REQUEST, format!("{text:?} is not a duration; {hint}"))),
    }
}
