//! The files that the daemon follows, and what becomes of their changes.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Daemon, notify};
use crate::config::Config;
use crate::core::healer::Fact;
use crate::core::registry::Registry;
use crate::manager::ServiceManager;
use crate::watch::{FileContent, FileEvent, read};

/// The files that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Sites,
    Config,
    StopMarker,
}

pub(super) const FOLLOWED: [File; 3] = [File::Sites, File::Config, File::StopMarker];

impl<M: ServiceManager> Daemon<M> {
    /// SIGHUP: reads all files again, whether or not they seem to have changed.
    pub(super) fn reload(&mut self) {
        notify::reloading();
        for file in FOLLOWED {
            let content = read(self.path(file));
            self.file_changed(file, content);
        }
        self.refresh();
        notify::ready();
    }

    pub(super) fn file_event(&mut self, event: FileEvent) {
        match event {
            FileEvent::Changed { index, content } => {
                if let Some(file) = FOLLOWED.get(index) {
                    self.file_changed(*file, content);
                }
            }
            FileEvent::Degraded(why) => {
                tracing::warn!("changes of files are noticed only every {:?}: {why}", self.setup.refresh);
            }
        }
    }

    pub(super) fn path(&self, file: File) -> &Path {
        match file {
            File::Sites => &self.setup.paths.sites,
            File::Config => &self.setup.paths.config,
            File::StopMarker => &self.setup.paths.stop_marker,
        }
    }

    /// Takes in a file's content. What cannot be used is reported, and the last good content stays
    /// in force; what says the same as before changes nothing.
    pub(super) fn file_changed(&mut self, file: File, content: FileContent) {
        let path = self.path(file).to_owned();
        let fact = match file {
            File::StopMarker => Ok(self.new_stop_marker(content != FileContent::Missing)),
            // Where no site was ever known, and there is something to do without one.
            File::Sites if content == FileContent::Missing && !self.needs_registry() => Ok(None),
            File::Sites => content.parse(&path, Registry::parse).map(|registry| self.new_registry(&path, registry)),
            File::Config if content == FileContent::Missing => Ok(self.new_config(&path, Config::default())),
            File::Config => content.parse(&path, Config::parse).map(|config| self.new_config(&path, config)),
        };
        if file == File::Sites {
            self.registry_flaw = fact.as_ref().err().map(ToString::to_string);
        }
        match fact {
            Ok(Some(fact)) => self.observe(fact),
            Ok(None) => {}
            Err(why) => tracing::error!("{why}; the last good content stays in force"),
        }
    }

    fn needs_registry(&self) -> bool {
        let rules = &self.setup.rules;
        !rules.registry.is_empty() || rules.coverage.needs_registry()
    }

    fn new_stop_marker(&mut self, exists: bool) -> Option<Fact> {
        if std::mem::replace(&mut self.setup.rules.stop_marker, exists) == exists {
            return None;
        }
        let means = if exists { "everything was stopped on purpose, healing pauses" } else { "healing goes on" };
        tracing::info!("stop marker {}: {means}", if exists { "found" } else { "gone" });
        Some(Fact::StopMarker(exists))
    }

    fn new_registry(&mut self, path: &Path, registry: Registry) -> Option<Fact> {
        if *self.setup.rules.registry == registry {
            return None;
        }
        tracing::info!("{} changed, sites: {}", path.display(), registry.len());
        self.registry_read = Some(SystemTime::now());
        self.setup.rules.registry = Arc::new(registry);
        Some(Fact::Registry(Arc::clone(&self.setup.rules.registry)))
    }

    fn new_config(&mut self, path: &Path, config: Config) -> Option<Fact> {
        let Config { refresh, mut coverage, policy, on_event, metrics } = config;
        coverage.set_aliases(&self.aliases);
        self.listen.send_if_modified(|listen| std::mem::replace(listen, metrics) != metrics);
        let rules = &mut self.setup.rules;
        if (refresh, &coverage, &policy, &on_event)
            == (self.setup.refresh, &rules.coverage, &rules.policy, &self.setup.on_event)
        {
            return None;
        }
        tracing::info!("new configuration from {}", path.display());
        if coverage.patterns() != rules.coverage.patterns() {
            self.manager.cover(coverage.patterns());
        }
        self.setup.refresh = refresh;
        self.log.on_event(on_event.clone());
        self.setup.on_event = on_event;
        rules.coverage = coverage.clone();
        rules.policy = policy.clone();
        Some(Fact::Settings(coverage, policy))
    }
}
