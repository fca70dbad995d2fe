//! What a start of a unit would do to other units, and what was done to its groups.
//!
//! A start also starts what the unit requires and wants, and stops what it conflicts with (systemd.unit(5)). The states
//! of all these units are read with one call, and further questions are asked only about those that are not as they
//! should be.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use zbus::OwnedVariant;

use super::connection::ManagerConnection;
use super::wire::{self, Line, ListedJob};
use super::{Systemd, flag, names, text};
use crate::core::units::{ActiveState, Parent, StopEvidence, StopOrder, StoppedGroup, TriggerUnit};
use crate::manager::ManagerError;
use crate::manager::journal::End;

/// A time in the past for searching the journal, where the exact time does not matter.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// The dependencies of a unit, by name.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    requires: BTreeSet<String>,
    wants: BTreeSet<String>,
    conflicts: BTreeSet<String>,
    groups: BTreeSet<String>,
    /// Groups whose crash stops the unit too (`StopPropagatedFrom=`).
    propagate_stops: BTreeSet<String>,
    /// Timers, paths and sockets that start the unit.
    triggers: BTreeSet<String>,
}

/// The states of the units that it depends on.
#[derive(Debug, Default)]
pub(super) struct Related {
    pub parents: Vec<Parent>,
    /// The numbers of the stop jobs that are queued or running for parents, by name.
    pub stop_jobs: HashMap<String, u64>,
    pub pulls_in: Vec<String>,
    pub conflicts: Vec<String>,
    /// The numbers of the start jobs that are queued or running for those, by name.
    pub start_jobs: HashMap<String, u64>,
    pub stopped_groups: Vec<StoppedGroup>,
    pub triggers: Vec<TriggerUnit>,
}

impl Dependencies {
    /// Reads all of them at once.
    pub async fn of(connection: &ManagerConnection, unit: &str) -> Result<Self, ManagerError> {
        let of_unit = |key| connection.property(unit, wire::UNIT, key);
        let (binds_to, requires, requisite, wants, upholds, conflicts, conflicted_by, part_of, propagated, triggers) =
            tokio::try_join!(
                of_unit("BindsTo"),
                of_unit("Requires"),
                of_unit("Requisite"),
                of_unit("Wants"),
                connection.property_if_known(unit, wire::UNIT, "Upholds"),
                of_unit("Conflicts"),
                of_unit("ConflictedBy"),
                of_unit("PartOf"),
                connection.property_if_known(unit, wire::UNIT, "StopPropagatedFrom"),
                of_unit("TriggeredBy"),
            )?;
        let all = |lists: Vec<OwnedVariant>| lists.into_iter().flat_map(names);
        let (slices, needed): (BTreeSet<_>, BTreeSet<_>) =
            all(vec![binds_to, requires, requisite]).partition(|name| kind(name) == "slice");
        let wanted = all(std::iter::once(wants).chain(upholds).collect());
        let mut groups = slices;
        groups.extend(names(part_of));
        let propagate_stops: BTreeSet<String> = propagated.into_iter().flat_map(names).collect();
        groups.extend(propagate_stops.iter().cloned());
        Ok(Self {
            requires: needed.into_iter().filter(|name| !is_basic(name)).collect(),
            wants: wanted.filter(|name| !is_basic(name)).collect(),
            conflicts: all(vec![conflicts, conflicted_by]).filter(|name| !is_shutdown(name)).collect(),
            groups,
            propagate_stops,
            triggers: names(triggers).into_iter().collect(),
        })
    }

    /// Only the dependencies that a unit which is up has to give way to: conflicts, and groups.
    pub async fn to_give_way_to(connection: &ManagerConnection, unit: &str) -> Result<Self, ManagerError> {
        let of_unit = |key| connection.property(unit, wire::UNIT, key);
        let (binds_to, requires, requisite, conflicts, conflicted_by, part_of, propagated) = tokio::try_join!(
            of_unit("BindsTo"),
            of_unit("Requires"),
            of_unit("Requisite"),
            of_unit("Conflicts"),
            of_unit("ConflictedBy"),
            of_unit("PartOf"),
            connection.property_if_known(unit, wire::UNIT, "StopPropagatedFrom"),
        )?;
        let all = |lists: Vec<OwnedVariant>| lists.into_iter().flat_map(names);
        let slices = all(vec![binds_to, requires, requisite]).filter(|name| kind(name) == "slice");
        Ok(Self {
            conflicts: all(vec![conflicts, conflicted_by]).filter(|name| !is_shutdown(name)).collect(),
            groups: slices.chain(names(part_of)).chain(propagated.into_iter().flat_map(names)).collect(),
            ..Self::default()
        })
    }

    /// Whether it conflicts with any unit.
    pub fn has_conflicts(&self) -> bool {
        !self.conflicts.is_empty()
    }
}

impl Systemd {
    /// The states of the units that it depends on. `with_history` includes since when parents that are up have been up.
    pub(super) async fn related(
        &self,
        connection: &ManagerConnection,
        dependencies: &Dependencies,
        with_history: bool,
    ) -> Result<Related, ManagerError> {
        let Dependencies { requires, wants, conflicts, groups, triggers, propagate_stops } = dependencies;
        let all: BTreeSet<&String> =
            requires.iter().chain(wants).chain(conflicts).chain(groups).chain(triggers).collect();
        if all.is_empty() {
            return Ok(Related::default());
        }
        let all: Vec<String> = all.into_iter().cloned().collect();
        let lines = connection.list_names(&all).await?;
        let mut related = Related::default();
        for line in lines {
            let is_down = !line.active.is_up() || line.is_stopping();
            if is_down && wants.contains(&line.name) && !requires.contains(&line.name) {
                related.pulls_in.push(line.name.clone());
            }
            if conflicts.contains(&line.name) && (!line.active.is_down() || line.is_starting()) {
                if let Some(job) = line.job.as_ref().filter(|_| line.is_starting()).and_then(ListedJob::number) {
                    related.start_jobs.insert(line.name.clone(), job);
                }
                related.conflicts.push(line.name.clone());
            }
            if triggers.contains(&line.name) {
                related.triggers.push(TriggerUnit { name: line.name.clone(), active: line.active });
            }
            // What it needs has taken it along: it comes back with that unit, as without `PartOf=`. A slice is up
            // as soon as one of its units is.
            let is_needed = requires.contains(&line.name) && kind(&line.name) != "slice";
            if is_down && groups.contains(&line.name) && !is_needed {
                related.stopped_groups.extend(self.stopped_group(connection, &line).await?);
            }
            let is_optional = !requires.contains(&line.name);
            if !is_optional || propagate_stops.contains(&line.name) {
                if let Some(job) = line.job.as_ref().filter(|_| line.is_stopping()).and_then(ListedJob::number) {
                    related.stop_jobs.insert(line.name.clone(), job);
                }
                related.parents.push(Parent { is_optional, ..parent(connection, line, with_history).await? });
            }
        }
        Ok(related)
    }

    /// A group that is down, if it was stopped. A target or a slice does not go down otherwise; a service may.
    async fn stopped_group(
        &self,
        connection: &ManagerConnection,
        group: &Line,
    ) -> Result<Option<StoppedGroup>, ManagerError> {
        let name = group.name.clone();
        if !group.active.is_down() {
            return Ok(group.is_stopping().then_some(StoppedGroup { name, left: None }));
        }
        let Some(left) = connection.moment(&name, "ActiveExitTimestampMonotonic").await? else { return Ok(None) };
        if kind(&name) == "service" {
            let run = connection.invocation(&name).await?;
            let end = End {
                is_over: true,
                was_clean: group.active == ActiveState::Inactive,
                was_sudden: false,
                ago: LONG_AGO,
            };
            if run.is_empty() || self.journal.stop_evidence(&run, end).await != StopEvidence::Requested {
                return Ok(None);
            }
        }
        Ok(Some(StoppedGroup { name, left: Some(left) }))
    }
}

async fn parent(connection: &ManagerConnection, seen: Line, with_history: bool) -> Result<Parent, ManagerError> {
    let stopping = seen.is_stopping();
    let mut parent = Parent {
        name: seen.name,
        load: seen.load,
        active: seen.active,
        stopping,
        left: None,
        since: None,
        finished: false,
        is_optional: false,
        stops_when_unneeded: false,
        stop_order: StopOrder::Unknown,
        down: None,
    };
    if with_history || !parent.active.is_up() {
        parent.left = connection.moment(&parent.name, "ActiveExitTimestampMonotonic").await?;
    }
    if with_history && parent.active.is_up() {
        parent.since = connection.moment(&parent.name, "ActiveEnterTimestampMonotonic").await?;
    }
    if parent.active.is_down() || parent.stopping {
        parent.stops_when_unneeded = flag(&connection.property(&parent.name, wire::UNIT, "StopWhenUnneeded").await?);
    }
    if parent.active.is_down() {
        parent.down = connection.moment(&parent.name, "InactiveEnterTimestampMonotonic").await?;
        parent.finished = parent.active != ActiveState::Failed
            && kind(&parent.name) == "service"
            && has_finished(connection, &parent.name).await?;
    }
    Ok(parent)
}

/// Whether it is a oneshot that has run, has succeeded, and is down since by itself. One with `RemainAfterExit=` stays up
/// until it is stopped.
async fn has_finished(connection: &ManagerConnection, service: &str) -> Result<bool, ManagerError> {
    let (kind, remains, result, began) = tokio::try_join!(
        connection.property(service, wire::SERVICE, "Type"),
        connection.property(service, wire::SERVICE, "RemainAfterExit"),
        connection.property(service, wire::SERVICE, "Result"),
        connection.moment(service, "InactiveExitTimestampMonotonic"),
    )?;
    let has_run = began.is_some_and(|began| began > Duration::ZERO);
    Ok(text(&kind) == "oneshot" && !flag(&remains) && text(&result) == "success" && has_run)
}

/// The basic targets are up whenever the manager is: they are never stopped, and starting them does no harm.
fn is_basic(unit: &str) -> bool {
    matches!(unit, "basic.target" | "sysinit.target")
}

/// Every unit conflicts with these, which stop everything.
fn is_shutdown(unit: &str) -> bool {
    matches!(unit, "shutdown.target" | "umount.target" | "exit.target")
}

/// The type of a unit, as the end of its name says.
fn kind(unit: &str) -> &str {
    unit.rsplit_once('.').map_or("", |(_, kind)| kind)
}
