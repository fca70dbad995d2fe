//! Workers that wait for the same unit: they are reported together, and come back together.

use std::collections::BTreeSet;
use std::time::Duration;

use super::incident::Phase;
use super::{Action, Healer, Timestamp};
use crate::diagnosis::Refusal;
use crate::event::{Event, Phase as EventPhase};
use crate::units::{Parent, UnitName};

/// How long to wait for further workers of a unit that went down before they are reported together.
const GROUP_DELAY: Duration = Duration::from_secs(1);
/// Maximum number of workers named in a summary.
const MAX_NAMED: usize = 3;

/// Workers that wait for one unit.
#[derive(Debug, Default)]
pub(super) struct Group {
    children: BTreeSet<UnitName>,
    /// When to report them together.
    summary: Option<Timestamp>,
    /// The number of workers in the last summary.
    reported: usize,
    /// The unit's state when the last worker was held.
    state: &'static str,
    /// When the unit had last ceased to be up then.
    left: Option<Duration>,
}

impl Healer {
    /// Adds a worker to the group of a unit. Returns whether it is one of many, so that a summary follows.
    pub(super) fn join(&mut self, now: Timestamp, name: &UnitName, parent: &Parent) -> bool {
        self.leave(name);
        let group = self.groups.entry(parent.name.clone()).or_default();
        // One inspection serves all of them; but a failed worker may bring the unit back where a stopped one may not.
        let is_news = (group.state, group.left) != (parent.state(), parent.left);
        let inspects_others = is_news && parent.stops_when_unneeded;
        let others = if inspects_others { group.children.clone() } else { BTreeSet::new() };
        group.children.insert(name.clone());
        (group.state, group.left) = (parent.state(), parent.left);
        if let Some(incident) = self.incidents.get_mut(name) {
            incident.waits_for = Some(parent.name.clone());
        }
        let many = group.children.len() > 1;
        if many && group.children.len() > group.reported && group.summary.is_none() {
            group.summary = Some(now + GROUP_DELAY);
            self.summaries.insert((now + GROUP_DELAY, parent.name.clone()));
        }
        for other in others {
            if self.waits_for(&other, &parent.name) {
                self.make_due(&other);
            }
        }
        many
    }

    /// Removes a worker from its group, if any.
    pub(super) fn leave(&mut self, name: &UnitName) {
        let Some(parent) = self.incidents.get_mut(name).and_then(|incident| incident.waits_for.take()) else { return };
        let Some(group) = self.groups.get_mut(&parent) else { return };
        group.children.remove(name);
        if group.children.is_empty()
            && let Some(Group { summary: Some(at), .. }) = self.groups.remove(&parent)
        {
            self.summaries.remove(&(at, parent));
        }
    }

    /// Whether the worker is the one of its group that is inspected on behalf of all.
    pub(super) fn is_inspected_for_its_group(&self, name: &UnitName, parent: &str) -> bool {
        self.groups.get(parent).and_then(|group| group.children.first()).is_none_or(|first| first == name)
    }

    /// Inspects all workers that wait for a unit, as it has come up.
    pub(super) fn wake_group(&mut self, now: Timestamp, parent: &str) {
        let Some(group) = self.groups.get(parent) else { return };
        for child in group.children.clone() {
            if self.waits_for(&child, parent) {
                self.make_due(&child);
                self.consider(now, &child);
            }
        }
    }

    fn waits_for(&self, name: &UnitName, parent: &str) -> bool {
        let is_held =
            |phase: &Phase| matches!(phase, Phase::Held(Refusal::ParentDown(held_by)) if held_by.name == parent);
        self.incidents.get(name).is_some_and(|incident| is_held(&incident.phase))
    }

    /// Reports the groups whose summary is due.
    pub(super) fn summarize(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.summaries.first()
            && *at <= now
            && let Some((_, parent)) = self.summaries.pop_first()
        {
            let Some(group) = self.groups.get_mut(&parent) else { continue };
            group.summary = None;
            let count = group.children.len();
            if count < 2 || count <= group.reported {
                continue;
            }
            group.reported = count;
            let named: Vec<&str> = group.children.iter().take(MAX_NAMED).map(UnitName::short).collect();
            let more = if count > MAX_NAMED { ", …" } else { "" };
            let mut event = Event::new(EventPhase::Held);
            event.reason =
                format!("{count} workers wait for {parent}, which {} ({}{more})", group.state, named.join(", "));
            self.actions.push(Action::Emit(event));
        }
    }
}
