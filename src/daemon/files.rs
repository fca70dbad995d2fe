//! The files that the daemon follows, and how it handles their changes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::Daemon;
use crate::core::healer::Fact;
use crate::core::registry::Registry;
use crate::core::text;
use crate::files::config::Config;
use crate::files::paths::FileError;
use crate::files::sites_yaml;
use crate::files::state_file::LoadOutcome;
use crate::files::watch::{FileContent, FileEvent, read_within};
use crate::frameworks;
use crate::manager::ServiceManager;
use crate::setup::warnings;

/// The files that are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Sites,
    Config,
    StopMarker,
}

pub(super) const FOLLOWED: [File; 3] = [File::Sites, File::Config, File::StopMarker];

/// How long a reload waits for a file.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// The result of reading a file again.
#[derive(Debug)]
pub(super) enum Reread {
    /// The content of a file.
    File(File, FileContent),
    /// All files were read.
    Done,
    /// The saved state, which could not be read at the start.
    State(LoadOutcome),
}

impl<M: ServiceManager> Daemon<M> {
    /// Handles SIGHUP: reads all files again, whether or not they seem to have changed.
    pub(super) fn reload(&mut self) {
        self.notify.reloading();
        let files = FOLLOWED.map(|file| (file, self.path(file).to_owned()));
        let rereads = self.rereads.clone();
        tokio::spawn(async move {
            for (file, path) in files {
                // The receiver exists as long as the daemon.
                let _ = rereads.send(Reread::File(file, read_within(READ_TIMEOUT, &path).await));
            }
            let _ = rereads.send(Reread::Done);
        });
    }

    pub(super) fn reread(&mut self, read: Reread) {
        match read {
            Reread::File(file, content) => self.file_changed(file, content),
            Reread::State(found) => self.state_recovered(found),
            Reread::Done => {
                self.refresh();
                self.notify.ready();
            }
        }
    }

    /// Reports file systems that do not answer, or do so again.
    pub(super) fn report_silent_files(&mut self) {
        for (index, file) in FOLLOWED.into_iter().enumerate() {
            let silent = self.watch.is_silent(index);
            if std::mem::replace(&mut self.silent[index], silent) == silent {
                continue;
            }
            let path = text::path(self.path(file));
            if silent {
                let why = FileError::silent(self.path(file));
                tracing::error!("{why}; the last good content stays in force");
                if file == File::Sites {
                    self.registry_error = Some(why.to_string());
                }
            } else {
                tracing::info!("{path} can be looked at again");
                if file == File::Sites {
                    self.registry_error = None;
                }
            }
        }
    }

    pub(super) fn file_event(&mut self, event: FileEvent) {
        match event {
            FileEvent::Changed { index, content } => {
                if let Some(file) = FOLLOWED.get(index) {
                    self.file_changed(*file, content);
                }
            }
            FileEvent::Degraded(why) => {
                tracing::warn!("changes of files are noticed only every {:?}: {why}", self.refresh_interval);
            }
        }
    }

    pub(super) fn path(&self, file: File) -> &Path {
        match file {
            File::Sites => &self.paths.sites,
            File::Config => &self.paths.config,
            File::StopMarker => &self.paths.stop_marker,
        }
    }

    /// Handles a file's content. Invalid content is reported, and the last valid content stays in force; unchanged
    /// content changes nothing.
    pub(super) fn file_changed(&mut self, file: File, content: FileContent) {
        let path = self.path(file).to_owned();
        let fact = match file {
            File::StopMarker if content == FileContent::Silent => Err(FileError::silent(&path)),
            File::StopMarker => Ok(self.new_stop_marker(content != FileContent::Missing)),
            // There is none yet. If the file has vanished, its last content stays in force.
            _ if content == FileContent::Missing && self.has_defaults(file) => Ok(None),
            File::Sites => content
                .parse(&path, sites_yaml::parse)
                .map(|registry| self.new_registry(&path, frameworks::with_health(registry.in_file(&path), &path))),
            File::Config => content.parse(&path, Config::parse).map(|config| self.new_config(&path, config)),
        };
        let error = fact.as_ref().err().map(ToString::to_string);
        match file {
            File::Sites => self.registry_error = error,
            File::Config => self.config_error = error,
            File::StopMarker => {}
        }
        match fact {
            Ok(Some(fact)) => self.observe(fact),
            Ok(None) => {}
            Err(why) => tracing::error!("{why}; the last good content stays in force"),
        }
    }

    /// Whether what is in force is also what holds without the file.
    fn has_defaults(&self, file: File) -> bool {
        match file {
            File::Sites => self.healer.context().registry.is_empty(),
            File::Config => {
                let mut defaults = Config::default();
                defaults.selector.set_aliases(&self.aliases);
                self.is_in_force(&defaults) && *self.listen.borrow() == defaults.metrics
            }
            File::StopMarker => !self.healer.context().stop_marker,
        }
    }

    fn new_stop_marker(&mut self, exists: bool) -> Option<Fact> {
        if self.healer.context().stop_marker == exists {
            return None;
        }
        let means = if exists { "everything was stopped on purpose, healing pauses" } else { "healing goes on" };
        tracing::info!("stop marker {}: {means}", if exists { "found" } else { "gone" });
        Some(Fact::StopMarker(exists))
    }

    fn new_registry(&mut self, path: &Path, registry: Registry) -> Option<Fact> {
        let known = &self.healer.context().registry;
        if known.skipped() != registry.skipped() {
            for line in warnings(path, &registry) {
                tracing::warn!("{line}");
            }
        }
        if known.is_written_like(&registry) {
            return None;
        }
        if **known != registry {
            tracing::info!("{} changed, sites: {}", text::path(path), registry.len());
            self.registry_read = Some(SystemTime::now());
        }
        Some(Fact::Registry(Arc::new(registry)))
    }

    /// Whether this is the configuration that is in force, but for the address for metrics.
    fn is_in_force(&self, Config { refresh, selector, policy, on_event, metrics: _ }: &Config) -> bool {
        let known = self.healer.context();
        (*refresh, selector, policy, on_event)
            == (self.refresh_interval, &known.selector, &known.policy, &self.on_event)
    }

    fn new_config(&mut self, path: &Path, mut config: Config) -> Option<Fact> {
        config.selector.set_aliases(&self.aliases);
        let metrics = config.metrics;
        self.listen.send_if_modified(|listen| std::mem::replace(listen, metrics) != metrics);
        if self.is_in_force(&config) {
            return None;
        }
        let Config { refresh, selector, policy, on_event, metrics: _ } = config;
        tracing::info!("new configuration from {}", text::path(path));
        if selector.patterns() != self.healer.context().selector.patterns() {
            self.manager.cover(selector.patterns());
        }
        self.refresh_interval = refresh;
        self.log.on_event(on_event.clone());
        self.on_event = on_event;
        Some(Fact::Settings(selector, policy))
    }
}
