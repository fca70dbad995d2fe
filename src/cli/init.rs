//! `workerheal init`: lists units that could be watched, and writes the chosen ones into the configuration.

mod choice;
mod edit;

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::stream::{self, StreamExt};
use tokio::time::{Instant, sleep};

use self::choice::{Candidate, Choice, choices, chosen, list};
use super::Status;
use super::install::at_home;
use super::term::{self, Style};
use crate::client::daemon::DaemonClient;
use crate::core::report::WorkerReport;
use crate::core::selector::Resolution;
use crate::core::text;
use crate::core::units::{ActiveState, Detail, LoadState, UnitName};
use crate::files::paths::{FileError, read_bounded};
use crate::manager::{Native, Scope, ServiceManager};
use crate::setup::{Configured, Options, Setup};

/// Maximum number of concurrent inspections.
const MAX_CONCURRENT_INSPECTIONS: usize = 16;
/// Maximum time for the daemon to read its new configuration, and the interval of checking.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(3);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// workerheal's own unit and agent.
const OWN: [&str; 2] = ["workerheal", "dev.workerheal"];

/// What `init` is used as in most cases.
const EXAMPLES: &str = "\
Examples:
  workerheal init                       choose from a list
  workerheal init 'celery@*' my-bot     without being asked
  workerheal init --yes                 all units of yours that are enabled or have failed";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// Units to watch, by name or glob [default: ask]
    #[arg(value_name = "UNIT")]
    units: Vec<String>,
    /// Watch every unit on the list, without asking
    #[arg(short, long, conflicts_with = "units")]
    yes: bool,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
}

/// Why nothing is written.
#[derive(Debug, thiserror::Error)]
enum InitError {
    /// A name that cannot be watched.
    #[error("{0}")]
    Name(String),
    /// There is no such unit.
    #[error("there is no unit {0}, and no file of one; check its name: {1}")]
    Nothing(String, &'static str),
    /// The list in the file has a form that cannot be extended line by line.
    #[error("{path} cannot be extended automatically; write there yourself:\n{lines}")]
    Form { path: String, lines: String },
    /// The file cannot be written.
    #[error("cannot write {path}: {why}")]
    Write { path: String, why: io::Error },
}

impl Init {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let configured = Configured::load(options)?;
        let setup = configured.load_rest()?;
        let (manager, _changes) = Native::connect(options.scope, vec!["*.service".to_owned()]).await?;
        let globs = if self.units.is_empty() {
            let candidates = find(&manager, &setup).await?;
            let choices = choices(candidates);
            if choices.is_empty() {
                term::print(nothing_to_choose(&setup))?;
                let is_next = !setup.context.registry.is_empty() && DaemonClient::connect(options).await.is_err();
                term::print(if is_next { next_step(options.scope) } else { "" })?;
                return Ok(Status::Done);
            }
            match self.ask(&choices, style)? {
                Some(globs) => globs,
                None => return Ok(Status::Done),
            }
        } else {
            named(&manager, &self.units, options.scope).await?
        };
        self.write(&globs, &setup.paths.config, options, style).await
    }

    /// The chosen units; `None` if there are none.
    fn ask(&self, choices: &[Choice], style: Style) -> anyhow::Result<Option<Vec<String>>> {
        let head = style.strong("Units of yours that are enabled or have failed:");
        term::print(format!("{head}\n\n{}\n", list(choices, style)))?;
        let all = || choices.iter().map(|choice| choice.glob.clone()).collect();
        if self.yes {
            return Ok(Some(all()));
        }
        let question = "Which ones shall be watched? Write numbers (1 3-5), names, or all; nothing ends this.";
        term::print(term::wrapped(question) + "\n")?;
        loop {
            if io::stdin().is_terminal() {
                term::print("> ")?;
            }
            let mut answer = String::new();
            let is_end = io::stdin().read_line(&mut answer)? == 0;
            match chosen(&answer, choices) {
                Ok(globs) if globs.is_empty() => {
                    term::print("Nothing was written.\n")?;
                    return Ok(None);
                }
                Ok(globs) => return Ok(Some(globs)),
                Err(why) if is_end => return Err(InitError::Name(why).into()),
                Err(why) => term::complain(why),
            }
        }
    }

    async fn write(&self, globs: &[String], path: &Path, options: &Options, style: Style) -> anyhow::Result<Status> {
        let shown = at_home(&text::path(path));
        let before = match read_bounded(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(FileError::unreadable(path, &error).into()),
        };
        let Some(after) = edit::with_globs(&before, globs) else {
            return Err(InitError::Form { path: shown, lines: edit::lines(globs) }.into());
        };
        if before == after {
            term::print(format!("{shown} has all of that already.\n"))?;
            return Ok(Status::Done);
        }
        if self.dry_run {
            term::print(format!("{}\n{after}", style.strong(format!("{shown} would be:"))))?;
            return Ok(Status::Done);
        }
        replace(path, &after).map_err(|why| InitError::Write { path: shown.clone(), why })?;
        term::print(format!("{} {shown}: {}\n", style.good("Wrote"), globs.join(", ")))?;
        match DaemonClient::connect(options).await {
            Ok(daemon) => {
                watched(&daemon, globs).await;
                term::print("The running daemon has taken it up; see: workerheal status\n")?;
            }
            Err(_) => term::print(next_step(options.scope))?,
        }
        Ok(Status::Done)
    }
}

/// What to do after this if no daemon runs.
fn next_step(scope: Scope) -> &'static str {
    if scope == Scope::System { "Next: systemctl start workerheal\n" } else { "Next: workerheal install\n" }
}

/// What there is, where there are no units to choose from.
fn nothing_to_choose(setup: &Setup) -> String {
    let sites = match setup.context.registry.len() {
        0 => String::new(),
        1 => "The workers of the site in Lerd's registry are watched without that.\n".to_owned(),
        sites => format!("The workers of the {sites} sites in Lerd's registry are watched without that.\n"),
    };
    let no = if sites.is_empty() && !setup.context.selector.may_name_aliases() { "No" } else { "No other" };
    format!(
        "{sites}{no} unit of yours is enabled or has failed.\n\
         To watch one all the same, name it: workerheal init NAME\n"
    )
}

/// Waits until the daemon has read the configuration: it then has a worker that one of the globs matches.
async fn watched(daemon: &DaemonClient, globs: &[String]) {
    let globs: Vec<_> = globs.iter().filter_map(|glob| glob::Pattern::new(glob).ok()).collect();
    let is_new = |worker: &WorkerReport| globs.iter().any(|glob| glob.matches(&format!("{}.service", worker.unit)));
    let latest = Instant::now() + RELOAD_TIMEOUT;
    while Instant::now() < latest && !daemon.workers().await.is_ok_and(|workers| workers.iter().any(is_new)) {
        sleep(POLL_INTERVAL).await;
    }
}

/// The named units, as written in the configuration.
async fn named(manager: &Native, names: &[String], scope: Scope) -> anyhow::Result<Vec<String>> {
    let mut globs = Vec::new();
    for name in names {
        let glob = choice::glob(name).map_err(InitError::Name)?;
        if manager.has_any(&glob).await == Some(false) {
            let list = match scope {
                _ if cfg!(target_os = "macos") => "launchctl list",
                Scope::User => "systemctl --user list-unit-files",
                Scope::System => "systemctl list-unit-files",
            };
            return Err(InitError::Nothing(glob, list).into());
        }
        globs.push(glob);
    }
    Ok(globs)
}

/// The user's own units that are enabled or have failed and are not watched yet.
async fn find(manager: &Native, setup: &Setup) -> anyhow::Result<Vec<Candidate>> {
    let selector = &setup.context.selector;
    let listed = manager.list().await?.into_iter().filter(|status| {
        let is_loaded = !matches!(status.load, Some(LoadState::NotFound | LoadState::Masked | LoadState::Merged));
        let is_watched = selector.resolve(&setup.context.registry, &status.name) != Resolution::NotAWorker;
        is_loaded && !is_watched && !OWN.contains(&status.name.short()) && is_own(&status.name, setup.scope)
    });
    let inspections = stream::iter(listed).map(|status| async move {
        let seen = manager.inspect(&status.name, Detail { file: true, ..Detail::default() }).await.ok()?;
        let starts = seen.file.is_some_and(|file| file.enabled && !file.on_demand);
        let filter = !seen.oneshot && (starts || status.active == ActiveState::Failed);
        filter.then_some(Candidate { unit: status.name, active: status.active })
    });
    let found: Vec<_> = inspections.buffered(MAX_CONCURRENT_INSPECTIONS).collect().await;
    Ok(found.into_iter().flatten().collect())
}

/// Whether the unit belongs to the user or the administrator, rather than to the system.
fn is_own(unit: &UnitName, scope: Scope) -> bool {
    if cfg!(target_os = "macos") {
        return !unit.short().starts_with("com.apple.");
    }
    let name = unit.short();
    let template = name.split_once('@').map(|(template, _)| format!("{template}@"));
    let names = || [Some(name.to_owned()), template.clone()].into_iter().flatten();
    let is_in = |(directory, kind): &(PathBuf, &str)| {
        names().any(|name| directory.join(format!("{name}.{kind}")).symlink_metadata().is_ok())
    };
    directories(scope).iter().any(is_in)
}

/// Directories of manually written units, systemd.unit(5), podman-systemd.unit(5), and the suffixes of their files.
fn directories(scope: Scope) -> Vec<(PathBuf, &'static str)> {
    if scope == Scope::System {
        return vec![("/etc/systemd/system".into(), "service"), ("/etc/containers/systemd".into(), "container")];
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let below = |name, fallback| absolute(name).or_else(|| absolute("HOME").map(|home| home.join(fallback)));
    let config = below("XDG_CONFIG_HOME", ".config");
    let data = below("XDG_DATA_HOME", ".local/share");
    let mut directories: Vec<(PathBuf, &str)> = vec![("/etc/systemd/user".into(), "service")];
    directories.extend(config.iter().map(|config| (config.join("systemd/user"), "service")));
    directories.extend(config.iter().map(|config| (config.join("containers/systemd"), "container")));
    directories.extend(data.iter().map(|data| (data.join("systemd/user"), "service")));
    directories
}

/// Replaces the file completely or not at all. A link stays a link.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    if let Ok(metadata) = fs::metadata(&path) {
        fs::set_permissions(&new, metadata.permissions())?;
    }
    fs::rename(&new, &path).inspect_err(|_| drop(fs::remove_file(&new)))
}
