//! HTTP, as the daemon's API and the dashboard serve it: how many connections are taken, and how a request is read.

pub(crate) mod connection_limit;
pub(crate) mod request;
pub(crate) mod sse;
