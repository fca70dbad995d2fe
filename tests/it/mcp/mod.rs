//! `workerheal mcp`: the real program in a sandbox, used by the official Python client, and by clients that break the
//! protocol.

#![cfg(feature = "mcp")]
#![expect(clippy::expect_used, reason = "this is for tests only")]

mod assistant;
mod daemon;
mod heals;
mod hostile;
mod raw;
mod resources;
mod tools;

const QUEUE: &str = "lerd-queue-myapp";
const VITE: &str = "lerd-vite-shop";
