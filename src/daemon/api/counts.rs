//! The number of restarts by the manager of workers in a crash loop. The healer inspects these rarely, so the count in
//! its report would be outdated.

use std::time::Duration;

use futures_util::stream::{self as streams, StreamExt};
use tokio::time::timeout;

use crate::core::batch::{LeftAlone, Plan};
use crate::core::diagnosis::{Refusal, State};
use crate::core::report::{Stage, WorkerReport};
use crate::core::units::{Detail, UnitName};
use crate::manager::ServiceManager;

/// Maximum number of concurrent inspections, and maximum time of all.
const MAX_CONCURRENT_INSPECTIONS: usize = 32;
const INSPECTIONS_TIMEOUT: Duration = Duration::from_secs(1);

/// Brings the counts in these reports up to date.
pub(super) async fn of_reports<M: ServiceManager>(manager: &M, reports: &mut [WorkerReport]) {
    let is_counted = |it: &WorkerReport| it.state == Some(State::CrashLooping) && it.phase == Stage::Held;
    let counted: Vec<&mut WorkerReport> = reports.iter_mut().filter(|it| is_counted(it) && !it.on_purpose).collect();
    let reasons = reasons(manager, counted.iter().map(|it| it.unit.clone()).collect()).await;
    for (report, reason) in counted.into_iter().zip(reasons) {
        report.reason = reason.unwrap_or_else(|| std::mem::take(&mut report.reason));
    }
}

/// Brings the counts in what is left alone up to date.
pub(super) async fn of_plan<M: ServiceManager>(manager: &M, plan: &mut Plan) {
    let counted: Vec<&mut LeftAlone> =
        plan.left_alone.iter_mut().filter(|it| it.worker.state == State::CrashLooping).collect();
    let reasons = reasons(manager, counted.iter().map(|it| it.worker.unit.clone()).collect()).await;
    for (left_alone, reason) in counted.into_iter().zip(reasons) {
        left_alone.reason = reason.unwrap_or_else(|| std::mem::take(&mut left_alone.reason));
    }
}

/// Why these units are left alone, with current counts. Late answers are left out.
async fn reasons<M: ServiceManager>(manager: &M, units: Vec<UnitName>) -> Vec<Option<String>> {
    let lookups = streams::iter(units).map(|unit| {
        let manager = manager.clone();
        async move {
            let seen = manager.inspect(&unit, Detail { restarts: true, ..Detail::default() }).await.ok()?;
            let restarts = seen.restarts.filter(|restarts| restarts.count > 0)?;
            Some(Refusal::CrashLooping(restarts.count).to_string())
        }
    });
    timeout(INSPECTIONS_TIMEOUT, lookups.buffered(MAX_CONCURRENT_INSPECTIONS).collect()).await.unwrap_or_default()
}
