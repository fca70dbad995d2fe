//! Performs what a healer decides, for the daemon and for a heal without one.

use std::future::ready;
use std::pin::Pin;

use crate::core::context::Context;
use crate::core::event::Event;
use crate::core::healer::{Action, InspectionId, Purpose};
use crate::core::probe::ProbeResult;
use crate::core::units::{Inspection, UnitName};
use crate::detect::probe::probe;
use crate::detect::{Inspections, inspect};
use crate::manager::ServiceManager;

type Task<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The result of an inspection, or why there is none.
pub(crate) type InspectionOutcome = (UnitName, InspectionId, Result<Inspection, String>);

/// What is left to the caller after [`perform`].
pub(crate) enum Rest {
    Nothing,
    /// To be awaited, and observed as [`Fact::Inspected`](crate::core::healer::Fact::Inspected).
    Inspection(Task<InspectionOutcome>),
    /// To be awaited, and observed as [`Fact::Probed`](crate::core::healer::Fact::Probed).
    Probe(Task<(UnitName, ProbeResult)>),
    /// To be published.
    Event(Event),
}

/// Performs an action as far as it can be without waiting. The attempt to heal a worker uses what is in `inspected`, if
/// that is recent.
pub(crate) fn perform<M: ServiceManager>(
    action: Action,
    manager: &M,
    context: &Context,
    inspected: &mut Inspections,
) -> Rest {
    match action {
        Action::Inspect { unit, id, detail } => {
            let known = if id.purpose == Purpose::Attempt { inspected.take(&unit, detail) } else { None };
            if let Some(seen) = known {
                return Rest::Inspection(Box::pin(ready((unit, id, Ok(seen)))));
            }
            let inspection = inspect(manager, context, &unit, detail);
            Rest::Inspection(Box::pin(async move { (unit, id, inspection.await.map_err(|error| error.to_string())) }))
        }
        Action::Probe { unit, probe: question, directory } => {
            let manager = manager.clone();
            Rest::Probe(Box::pin(async move {
                let result = probe(&manager, &unit, &question, directory).await;
                (unit, result)
            }))
        }
        Action::Start(start) => {
            manager.start(&start, context.policy.timeout);
            Rest::Nothing
        }
        Action::Stop(unit) => {
            manager.stop(&unit);
            Rest::Nothing
        }
        Action::ListAll => {
            manager.list_all();
            Rest::Nothing
        }
        Action::Emit(event) => Rest::Event(event),
    }
}
