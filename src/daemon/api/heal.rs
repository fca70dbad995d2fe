//! `POST /v1/heal`: plans a heal, lets the daemon's healer perform it, and streams the progress.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::counts;
use super::event_buffer::{KEEP_ALIVE_INTERVAL, frame};
use super::state::{ApiState, unread};
use crate::api::HealRequest;
use crate::core::batch::{Batch, LeftAlone, Plan};
use crate::core::diagnosis::State;
use crate::core::event::{Event, Phase, UnhealthyWorker};
use crate::core::units::UnitName;
use crate::daemon::requests::{DaemonRequest, HealCommand, HealUpdate};
use crate::detect::{Detector, Inspections};
use crate::http::request::{Rejection, duration};
use crate::http::sse::stream;
use crate::manager::ServiceManager;

/// Maximum number of encoded messages that wait for a slow reader.
const MAX_UNSENT_FRAMES: usize = 64;

pub(super) async fn heal<M: ServiceManager>(
    state: Arc<ApiState<M>>,
    request: HealRequest,
) -> Result<Response, Rejection> {
    let prove = request.prove.as_deref().map(duration).transpose()?;
    if let Some(why) = state.ask(DaemonRequest::Unread).await? {
        return Err(unread(&why));
    }
    let detector = state.detector().await?;
    state.check_directories().await?;
    let (mut plan, inspections) = if request.targets.is_empty() {
        // The healer knows best what to heal.
        (state.ask(DaemonRequest::Plan).await?, Inspections::default())
    } else {
        let named = detector.named(&request.targets, &state.ask(DaemonRequest::Covered).await?).await?;
        let (mut plan, inspections) = detector.plan_for(&request.targets, &named).await?;
        let units = named.into_iter().map(|(unit, _)| unit).collect();
        // Workers that are coming up already are waited for.
        let under_way = state.ask(|reply| DaemonRequest::UnderWay(units, reply)).await?;
        plan.unhealthy.retain(|worker| !under_way.iter().any(|it| it.unit == worker.unit));
        let is_refused = |it: &UnhealthyWorker| plan.refused.iter().any(|refused| refused.worker.unit == it.unit);
        let under_way: Vec<UnhealthyWorker> = under_way.into_iter().filter(|it| !is_refused(it)).collect();
        if request.dry_run {
            // What they were healed of is over; they may be up.
            let reason = || "it has been started already, and has to stay up".to_owned();
            plan.left_alone.extend(under_way.into_iter().map(|worker| LeftAlone { worker, reason: reason() }));
        } else {
            plan.unhealthy.extend(under_way);
        }
        (plan, inspections)
    };
    counts::of_plan(&detector.manager, &mut plan).await;
    if request.dry_run {
        plan = detector.preview(plan).await;
        detector.enrich(&mut plan.unhealthy).await;
        return Ok(axum::Json(plan).into_response());
    }
    let batch = Batch::new(&plan);
    let (updates, events) = mpsc::unbounded_channel();
    let silent = plan.unhealthy.iter().filter(|worker| worker.state == State::Unreachable);
    let silent = silent.map(|worker| worker.unit.clone()).collect();
    let units = batch.units().to_vec();
    let strangers = state
        .ask(|begun| DaemonRequest::Heal(HealCommand { units, inspections, silent, prove, updates, begun }))
        .await?;
    let (frames, body) = mpsc::channel(MAX_UNSENT_FRAMES);
    tokio::spawn(send_progress(detector, plan, batch, strangers, events, frames));
    Ok(stream(body))
}

/// Sends the progress until the heal is done, or the client is gone.
async fn send_progress<M: ServiceManager>(
    detector: Detector<M>,
    plan: Plan,
    mut batch: Batch,
    strangers: Vec<UnitName>,
    mut events: mpsc::UnboundedReceiver<HealUpdate>,
    frames: mpsc::Sender<Bytes>,
) {
    let _ = frames.send(frame(None, Some("plan"), &plan)).await;
    for unit in strangers {
        batch.refuse(&unit, "the configuration no longer covers it".to_owned());
    }
    loop {
        while let Some(event) = batch.take() {
            if frames.send(frame(None, None, &event)).await.is_err() {
                return;
            }
        }
        if batch.is_done() {
            break;
        }
        match timeout(KEEP_ALIVE_INTERVAL, events.recv()).await {
            Ok(Some(HealUpdate::Event(event, held_for))) => {
                let last_words = match &event.unit {
                    Some(unit) if event.phase == Phase::Failed && batch.awaits(unit) => detector.last_words(unit).await,
                    _ => None,
                };
                batch.observe(&event, held_for.as_ref(), last_words);
            }
            Ok(Some(HealUpdate::AtRest(unit, is_up))) => batch.settle(&unit, is_up),
            Ok(None) => batch.abandon("workerheal ended before that was known"),
            Err(_) => {
                if frames.send(Bytes::from_static(b":\n\n")).await.is_err() {
                    return;
                }
            }
        }
    }
    let _ = frames.send(frame(None, None, &Event::new(Phase::Done))).await;
    let _ = frames.send(frame(None, Some("result"), &batch.into_report())).await;
}
