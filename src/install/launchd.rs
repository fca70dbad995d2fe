//! The launchd agent.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::{Instant, sleep};

use super::{Host, InstallError, POLL_INTERVAL, START_TIMEOUT, Seen, Service, Step};
use crate::manager::Scope;
use crate::manager::launchd::LABEL;
use crate::manager::launchd::self_job::SelfJob;
pub use crate::manager::launchd::self_job::Trouble;
use crate::setup::Options;

/// The packaged agent.
const PACKAGED: &str = include_str!("../../packaging/launchd/dev.workerheal.plist");
/// The beginning of a comment in every version of it.
const MARK: &str = "<!-- launchd's own PATH has neither Homebrew nor /usr/local";
const PACKAGED_PROGRAM: &str = "\t\t<string>/usr/local/bin/workerheal</string>\n";
const PACKAGED_LOG: &str = "/Users/USER/Library/Logs/workerheal.log";
const PACKAGED_ROTATION: &str = include_str!("../../packaging/launchd/newsyslog.d/workerheal.conf");
/// The directory of newsyslog's configuration.
const ROTATION: &str = "/etc/newsyslog.d/workerheal.conf";

/// workerheal as an agent of the calling user's launchd.
#[derive(Debug)]
pub struct Agent {
    job: SelfJob,
    service: Service,
    log: PathBuf,
    /// The directory of its socket.
    runtime: Option<PathBuf>,
    /// The length of its log when it was started: later lines are from this start.
    begin: Cell<usize>,
}

impl Agent {
    /// For the running program, with the files that the options name.
    ///
    /// # Errors
    ///
    /// If launchd cannot be reached, or it is not known where the user's files are.
    pub async fn connect(options: &Options) -> Result<Self, InstallError> {
        Self::connect_through(Path::new(crate::manager::launchd::LAUNCHCTL), options).await
    }

    /// Like [`connect`](Self::connect), with this `launchctl`.
    ///
    /// # Errors
    ///
    /// If it cannot be run, or it is not known where the user's files are.
    pub async fn connect_through(launchctl: &Path, options: &Options) -> Result<Self, InstallError> {
        if options.scope == Scope::System {
            return Err(InstallError::System);
        }
        let (program, arguments) = super::command(options)?;
        let home = std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let home = home.ok_or(InstallError::NoHome)?;
        let directory = home.join("Library/LaunchAgents");
        let (file, log) = (directory.join(format!("{LABEL}.plist")), home.join("Library/Logs/workerheal.log"));
        let text = text(&program, &arguments, &log);
        let service = Service { file, text, mark: MARK, program, more: Vec::new() };
        let runtime = options.paths()?.socket.parent().map(Path::to_owned);
        let job = SelfJob::connect(launchctl, directory).await?;
        Ok(Self { job, service, log, runtime, begin: Cell::new(0) })
    }

    /// What keeps launchd from running workerheal although it is loaded, with the command that helps, if there is one.
    ///
    /// # Errors
    ///
    /// If launchd does not answer.
    pub async fn trouble(&self) -> Result<Option<Trouble>, InstallError> {
        Ok(self.job.state().await?.trouble)
    }

    fn down(&self, why: &str) -> InstallError {
        let why = self.job.last_line(&self.log).unwrap_or_else(|| why.to_owned());
        InstallError::Down { why, log: self.log_command() }
    }
}

impl Host for Agent {
    const RELOADS: bool = false;

    async fn inspect(&self) -> Result<Seen, InstallError> {
        let state = self.job.state().await?;
        // launchd does not report which file a process was started from, but when.
        let replaced = fs::metadata(&self.service.program).ok().and_then(|data| data.modified().ok()?.elapsed().ok());
        let outdated = state.age.zip(replaced).is_some_and(|(age, ago)| ago < age);
        let stalled = state.trouble.is_some();
        Ok(Seen { file: self.service.installed(), enabled: !state.disabled, up: state.up, stalled, outdated })
    }

    fn service(&self) -> &Service {
        &self.service
    }

    async fn perform(&self, step: &Step) -> Result<(), InstallError> {
        match step {
            Step::Start | Step::Restart => {
                if let Some(directory) = self.log.parent() {
                    fs::create_dir_all(directory).map_err(|why| super::failed("create", directory, why))?;
                }
                self.begin.set(fs::metadata(&self.log).map_or(0, |data| usize::try_from(data.len()).unwrap_or(0)));
                self.job.start(Instant::now() + START_TIMEOUT).await?;
            }
            Step::Stop => self.job.stop(Instant::now() + START_TIMEOUT).await?,
            Step::Enable(_) => self.job.enable().await?,
            // A job that was booted out is gone; its file, which would start it at the next login, is removed.
            Step::Disable
            | Step::Accounts
            | Step::Reload
            | Step::Keep { .. }
            | Step::Write { .. }
            | Step::WriteMore(_)
            | Step::Remove(_) => {}
        }
        Ok(())
    }

    async fn wait_until_up(&self) -> Result<String, InstallError> {
        const READY: &str = "watches over";
        let latest = Instant::now() + START_TIMEOUT;
        loop {
            let log = fs::read(&self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(log.get(self.begin.get()..).unwrap_or_default()).into_owned();
            let state = self.job.state().await?;
            if let Some(line) = log.lines().rev().find(|line| line.contains(READY)).filter(|_| state.up) {
                let (_, watched) = line.rsplit_once(READY).unwrap_or_default();
                return Ok(format!("Watching over{watched}"));
            }
            if state.ended {
                return Err(self.down("it ended at once"));
            }
            if let Some(Trouble { what, .. }) = state.trouble {
                // The remedy has just been tried.
                return Err(InstallError::Down { why: what, log: self.log_command() });
            }
            if Instant::now() >= latest {
                return Err(self.down("it does not get ready"));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    fn log_command(&self) -> String {
        format!("tail -f {}", self.log.display())
    }

    /// Its log, rotated logs, and the directory of its socket.
    fn leftovers(&self) -> Vec<PathBuf> {
        let name = self.log.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let logs = self.log.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten().flatten();
        let own = |entry: &fs::DirEntry| match entry.file_name().to_string_lossy().strip_prefix(&name) {
            Some(rest) => rest.is_empty() || rest.starts_with('.'),
            None => false,
        };
        let mut leftovers: Vec<PathBuf> = logs.filter(own).map(|entry| entry.path()).collect();
        leftovers.sort();
        leftovers.extend(self.runtime.clone().filter(|path| path.exists()));
        leftovers
    }

    fn remains(&self) -> Option<String> {
        // It belongs to root.
        Path::new(ROTATION).exists().then(|| format!("{ROTATION} is left; to remove it: sudo rm {ROTATION}"))
    }

    async fn hint(&self) -> Option<String> {
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty())?;
        let line = rotation(&user, &self.log)?;
        (!Path::new(ROTATION).exists()).then(|| {
            format!("nothing rotates its log yet; to let newsyslog do it: echo '{line}' | sudo tee {ROTATION}")
        })
    }
}

/// The packaged agent with this program and this log.
fn text(program: &Path, arguments: &[String], log: &Path) -> String {
    let element = |word: &str| format!("\t\t<string>{}</string>\n", escaped(word));
    let program = std::iter::once(element(&program.to_string_lossy()));
    let words: String = program.chain(arguments.iter().map(|argument| element(argument))).collect();
    PACKAGED.replace(PACKAGED_PROGRAM, &words).replace(PACKAGED_LOG, &escaped(&log.to_string_lossy()))
}

/// The packaged line for newsyslog with this user and this log.
fn rotation(user: &str, log: &Path) -> Option<String> {
    let line = PACKAGED_ROTATION.lines().find(|line| line.starts_with(PACKAGED_LOG))?;
    let words = line.split_whitespace().map(|word| match word {
        PACKAGED_LOG => log.to_string_lossy().into_owned(),
        word => word.replace("USER", user),
    });
    Some(words.collect::<Vec<_>>().join(" "))
}

/// Escapes a text for XML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_agent_runs_whatever_program_installs_it() {
        let arguments = ["--config".to_owned(), "/Users/me/a & b.yaml".to_owned()];
        let text = text(Path::new("/opt/<my> tools/workerheal"), &arguments, Path::new("/Users/me/log & more"));
        let read: plist::Dictionary = plist::from_bytes(text.as_bytes()).unwrap();
        let words: Vec<&str> =
            read["ProgramArguments"].as_array().unwrap().iter().map(|word| word.as_string().unwrap()).collect();
        let expected =
            ["/opt/<my> tools/workerheal", "--config", "/Users/me/a & b.yaml", "daemon", "--log", "text", "--standby"];
        assert_eq!(words, expected);
        assert_eq!(read["StandardErrorPath"].as_string(), Some("/Users/me/log & more"));
        assert_eq!(read["Label"].as_string(), Some(LABEL));
        assert!(PACKAGED.contains(MARK), "an upgrade would keep a copy");
        assert_eq!(read["KeepAlive"].as_boolean(), Some(true));
        let sessions: Vec<_> =
            read["LimitLoadToSessionType"].as_array().unwrap().iter().map(|it| it.as_string()).collect();
        assert_eq!(sessions, [Some("Aqua"), Some("Background")], "it is installed over SSH too");
        let log = Path::new("/Users/me/Library/Logs/workerheal.log");
        let line = "/Users/me/Library/Logs/workerheal.log me:staff 600 5 1024 * JN";
        assert_eq!(rotation("me", log).as_deref(), Some(line));
    }
}
