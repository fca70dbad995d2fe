//! The systemd user unit.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tokio::time::{Instant, sleep};

use super::{Host, InstallError, Installed, POLL_INTERVAL, START_TIMEOUT, Seen, Service, Step};
use crate::core::units::UnitName;
use crate::manager::systemd::self_unit::{SelfState, SelfUnit, unit_directory};
use crate::setup::Options;

/// The packaged unit.
const PACKAGED: &str = include_str!("../../packaging/systemd/user/workerheal.service");
const PACKAGED_COMMAND: &str = "/usr/bin/workerheal daemon";
/// Its path in a package.
const PACKAGED_UNIT: &str = "/usr/lib/systemd/user/workerheal.service";
const NAME: &str = "workerheal.service";
/// The directory of links of `systemctl --global enable`.
const FOR_ALL_USERS: &str = "/etc/systemd/user";

/// workerheal as a unit of the calling user's systemd.
#[derive(Debug)]
pub struct UserUnit {
    unit: SelfUnit,
    service: Service,
}

impl UserUnit {
    /// For the running program, with the files that the options name.
    ///
    /// # Errors
    ///
    /// If the user's systemd cannot be reached, or it is not known where its files are.
    pub async fn connect(options: &Options) -> Result<Self, InstallError> {
        let (program, arguments) = super::command(options)?;
        if program.to_string_lossy().contains(['"', '\'', '\\']) {
            let why =
                format!("systemd runs none whose path has quotes or backslashes in it, as {} has", program.display());
            return Err(InstallError::Program(why));
        }
        let name = UnitName::parse(NAME).map_err(|error| InstallError::Program(error.to_string()))?;
        let file = unit_directory().ok_or(InstallError::NoHome)?.join(NAME);
        let service = Service { file, text: text(&program, &arguments), program };
        Ok(Self { unit: SelfUnit::connect(name).await?, service })
    }

    async fn state(&self) -> Result<SelfState, InstallError> {
        Ok(self.unit.state().await?)
    }

    async fn down(&self, why: &str) -> InstallError {
        let why = self.unit.last_error().await.unwrap_or_else(|| why.to_owned());
        InstallError::Down { why, log: self.log_command() }
    }

    /// Whether a package has installed exactly this unit.
    fn is_packaged(&self) -> bool {
        !self.service.file.exists() && fs::read_to_string(PACKAGED_UNIT).is_ok_and(|text| text == self.service.text)
    }
}

impl Host for UserUnit {
    const RELOADS: bool = true;

    async fn inspect(&self) -> Result<Seen, InstallError> {
        let state = self.state().await?;
        if state.file.starts_with("masked") {
            return Err(InstallError::Masked);
        }
        let file = if self.is_packaged() { Installed::Same } else { self.service.installed() };
        let up = matches!(state.active.as_str(), "active" | "activating" | "reloading");
        let outdated = up && state.pid.is_some_and(|pid| runs_another(pid, &self.service.program));
        Ok(Seen { file, enabled: state.file.starts_with("enabled"), up, stalled: false, outdated })
    }

    fn service(&self) -> &Service {
        &self.service
    }

    async fn perform(&self, step: &Step) -> Result<(), InstallError> {
        match step {
            Step::Reload => self.unit.reload().await?,
            Step::Enable => self.unit.enable().await?,
            Step::Start => self.unit.start().await?,
            Step::Restart => self.unit.restart().await?,
            Step::Disable => self.unit.disable().await?,
            Step::Stop => {
                self.unit.stop().await?;
                let latest = Instant::now() + START_TIMEOUT;
                while !matches!(self.state().await?.active.as_str(), "inactive" | "failed") && Instant::now() < latest {
                    sleep(POLL_INTERVAL).await;
                }
            }
            Step::Write { .. } | Step::Remove(_) => {}
        }
        Ok(())
    }

    async fn wait_until_up(&self) -> Result<String, InstallError> {
        let latest = Instant::now() + START_TIMEOUT;
        loop {
            let state = self.state().await?;
            match (state.active.as_str(), state.sub.as_str()) {
                // It reports that it is ready once it knows all workers. While a job is pending, that may be the
                // process that is about to be restarted.
                ("active", _) if !state.has_job => return Ok(state.status),
                ("failed", _) | (_, "auto-restart" | "auto-restart-queued") => {
                    return Err(self.down("it ended at once").await);
                }
                _ if Instant::now() >= latest => return Err(self.down("it does not get ready").await),
                _ => sleep(POLL_INTERVAL).await,
            }
        }
    }

    fn log_command(&self) -> String {
        "journalctl --user -u workerheal -f".to_owned()
    }

    fn remains(&self) -> Option<String> {
        let wants = fs::read_dir(FOR_ALL_USERS).ok()?.flatten().map(|entry| entry.path());
        let mut links = wants
            .filter(|path| path.extension().is_some_and(|kind| kind == "wants" || kind == "requires"))
            .map(|path| path.join(NAME));
        links.any(|link| link.is_symlink()).then(|| {
            "It is enabled for all users of this machine, you among them, and starts again at the next login; to end \
             that: sudo systemctl --global disable workerheal"
                .to_owned()
        })
    }

    async fn hint(&self) -> Option<String> {
        // Without logind, user managers do not end at logout.
        let lingers = SelfUnit::lingers().await?;
        (!lingers).then(|| {
            "it ends when you log out, as your workers do; to keep them running: loginctl enable-linger".to_owned()
        })
    }
}

/// Whether a process runs another file than the one now at this path: it has been replaced since.
fn runs_another(pid: u32, program: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|data| (data.dev(), data.ino())).ok();
    let running = identity(&PathBuf::from(format!("/proc/{pid}/exe")));
    running.is_some() && running != identity(program)
}

/// The packaged unit with this program.
fn text(program: &Path, arguments: &[String]) -> String {
    let program = quoted(&program.to_string_lossy());
    let arguments = arguments.iter().map(|argument| quoted(&argument.replace('$', "$$")));
    let words: Vec<String> = std::iter::once(program).chain(arguments).collect();
    PACKAGED.replace(PACKAGED_COMMAND, &format!("{} daemon", words.join(" ")))
}

/// A word of a command line, quoted as in systemd.service(5).
fn quoted(word: &str) -> String {
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:,@%$~".contains(c);
    if word.chars().all(is_plain) { escaped } else { format!("\"{escaped}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packaged_unit_runs_whatever_program_installs_it() {
        assert!(PACKAGED.contains(&format!("ExecStart={PACKAGED_COMMAND}\n")));
        assert_eq!(text(Path::new("/usr/bin/workerheal"), &[]), PACKAGED);
        let arguments = ["--config".to_owned(), "/home/me/50% $of \"it\".yaml".to_owned()];
        let text = text(Path::new("/opt/my tools/workerheal"), &arguments);
        let line = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(line, r#"ExecStart="/opt/my tools/workerheal" --config "/home/me/50%% $$of \"it\".yaml" daemon"#);
    }
}
