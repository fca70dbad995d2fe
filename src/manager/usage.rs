//! The resource usage of a worker.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::core::time::milliseconds;

/// The current resource usage of a worker: the response to `GET /v1/workers/UNIT/usage`, and the value for each unit in
/// that to `GET /v1/usage?units=UNIT,UNIT`. Values that the service manager does not know are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// The id of its main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The memory of all its processes, in bytes.
    #[serde(default, rename = "memory_bytes", skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// The processor time that they have used in this run, in milliseconds.
    #[serde(default, rename = "cpu_ms", skip_serializing_if = "Option::is_none", with = "milliseconds")]
    pub cpu: Option<Duration>,
}
