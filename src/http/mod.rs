//! HTTP as the daemon's API and the dashboard serve it.

pub(crate) mod connection_limit;
pub(crate) mod request;
pub(crate) mod sse;
