//! `POST /v1/stop`: stops workers, and responds once the healer knows that this was intended.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::state::ApiState;
use crate::api::{NotStopped, StopReport, StopRequest, StoppedWorker};
use crate::core::report::{Stage, WorkerReport};
use crate::core::units::UnitName;
use crate::daemon::requests::DaemonRequest;
use crate::http::request::Rejection;
use crate::manager::ServiceManager;

/// Maximum time for the healer to find the stop in the journal.
const KNOWN_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub(super) async fn stop<M: ServiceManager>(
    state: Arc<ApiState<M>>,
    request: StopRequest,
) -> Result<StopReport, Rejection> {
    if request.targets.is_empty() {
        return Err(Rejection::new(StatusCode::BAD_REQUEST, "name what to stop: a unit, SITE/WORKER or a site"));
    }
    let detector = state.detector().await?;
    let mut named = detector.named(&request.targets, &state.ask(DaemonRequest::Covered).await?).await?;
    named.sort_by(|(_, a), (_, b)| a.cmp(b));
    let units: Vec<UnitName> = named.iter().map(|(unit, _)| unit.clone()).collect();
    let ends = join_all(units.iter().map(|unit| state.manager.end(unit))).await;
    wait_until_known(&state, &units).await?;
    let mut report = StopReport::default();
    for ((unit, worker), end) in named.iter().zip(ends) {
        match end {
            Ok(()) => report.stopped.push(detector.stopped(unit, worker).await),
            Err(error) => {
                let worker = StoppedWorker::of(unit, worker);
                report.failed.push(NotStopped { worker, error: error.to_string() });
            }
        }
    }
    Ok(report)
}

/// Waits until none of the workers is about to be healed.
async fn wait_until_known<M: ServiceManager>(state: &ApiState<M>, units: &[UnitName]) -> Result<(), Rejection> {
    let latest = Instant::now() + KNOWN_TIMEOUT;
    let is_open = |worker: &WorkerReport| {
        let rests = matches!(worker.phase, Stage::Stopped | Stage::Down | Stage::Held | Stage::Unknown);
        !rests && units.contains(&worker.unit)
    };
    while Instant::now() < latest && state.ask(DaemonRequest::Workers).await?.iter().any(is_open) {
        sleep(POLL_INTERVAL).await;
    }
    Ok(())
}
