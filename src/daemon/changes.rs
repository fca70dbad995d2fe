//! Turns changes that the service manager reports into facts for the healer.

use crate::core::context::Context;
use crate::core::healer::Fact;
use crate::manager::{Change, ServiceManager};

use super::Daemon;

impl<M: ServiceManager> Daemon<M> {
    /// The fact for the healer. While it is unknown what was paused and stopped, only settings are passed on.
    pub(super) fn changed(&mut self, change: Change) -> Option<Fact> {
        let fact = self.fact(change);
        if self.unread.is_none() || matches!(fact, Fact::Settings(..)) {
            return Some(fact);
        }
        self.count();
        if matches!(fact, Fact::Units(_)) && !std::mem::replace(&mut self.ready, true) {
            self.notify.ready();
        }
        None
    }

    fn fact(&mut self, change: Change) -> Fact {
        match &change {
            Change::Units(list) => {
                self.shutting_down = false;
                if self.trouble.take().is_some() {
                    self.telemetry.reconnected();
                    tracing::info!("the service manager answers again");
                }
                self.locator.keep(list);
            }
            Change::NotActive(list) => list.iter().for_each(|status| self.locator.changed(status)),
            Change::Unit(status) => {
                self.locator.changed(status);
                self.uptimes.changed(&status.name);
            }
            Change::Aliases(aliases) => {
                self.aliases.clone_from(aliases);
                let Context { mut selector, policy, .. } = self.healer.context().clone();
                selector.set_aliases(aliases);
                return Fact::Settings(selector, policy);
            }
            Change::Reloading => {
                tracing::debug!("the service manager is busy with everything");
                self.telemetry.listed();
            }
            Change::ShuttingDown => {
                if !std::mem::replace(&mut self.shutting_down, true) {
                    tracing::info!("the service manager is shutting down; nothing is healed until that is over");
                }
                self.telemetry.listed();
            }
            Change::Lost(why) => {
                if self.trouble.is_none() {
                    tracing::warn!("healing pauses until the service manager answers: {why}");
                }
                self.trouble = Some(why.clone());
                self.count();
                self.uptimes.forget();
            }
            Change::Finished(..)
            | Change::JobDone(_)
            | Change::JobCancelled(_)
            | Change::StopOverridden(_)
            | Change::KeptFromStarting(_)
            | Change::FailedSockets(_) => {}
        }
        Fact::from(change)
    }
}
