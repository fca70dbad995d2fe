//! The systemd unit, of the calling user or of the system.
//!
//! The system's unit runs as a user of its own, which is installed with it, as are the units that update its polkit
//! rule from the configuration.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::time::{Instant, sleep};

use super::{Host, InstallError, Installed, POLL_INTERVAL, START_TIMEOUT, Seen, Service, Step, polkit};
use crate::core::text::path as shown;
use crate::core::units::UnitName;
use crate::manager::Scope;
use crate::manager::systemd::self_unit::{SelfState, SelfUnit, unit_directory};
use crate::setup::{Options, read_config};

/// The packaged unit.
const PACKAGED: &str = include_str!("../../packaging/systemd/user/workerheal.service");
/// The program in packaged units.
const PACKAGED_PROGRAM: &str = "/usr/bin/workerheal";
/// Its path in a package.
const PACKAGED_UNIT: &str = "/usr/lib/systemd/user/workerheal.service";

/// A line of every version of the unit, of the user and of the system.
const MARK: &str = "Description=Keeps background workers alive\n";

/// The same for the system, with its further files.
const PACKAGED_SYSTEM: &str = include_str!("../../packaging/systemd/system/workerheal.service");
const PACKAGED_SYSTEM_UNIT: &str = "/usr/lib/systemd/system/workerheal.service";
const POLKIT_SERVICE: &str = include_str!("../../packaging/systemd/system/workerheal-polkit.service");
const POLKIT_PATH: &str = include_str!("../../packaging/systemd/system/workerheal-polkit.path");
const ACCOUNTS: &str = include_str!("../../packaging/sysusers.d/workerheal.conf");
const ACCOUNTS_FILE: &str = "/etc/sysusers.d/workerheal.conf";
/// The configuration in packaged units.
const PACKAGED_CONFIG: &str = "/etc/workerheal/config.yaml";
const NAME: &str = "workerheal.service";
/// The directory of links of `systemctl --global enable`.
const FOR_ALL_USERS: &str = "/etc/systemd/user";

/// workerheal as a unit of systemd.
#[derive(Debug)]
pub struct ServiceUnit {
    unit: SelfUnit,
    service: Service,
    scope: Scope,
}

impl ServiceUnit {
    /// For the running program, with the files that the options name.
    ///
    /// # Errors
    ///
    /// If systemd cannot be reached, it is not known where its files are, or it is the system's and the caller is not
    /// root.
    pub async fn connect(options: &Options) -> Result<Self, InstallError> {
        let (program, arguments) = super::command(options)?;
        if program.to_string_lossy().contains(['"', '\'', '\\']) {
            let why =
                format!("systemd runs none whose path has quotes or backslashes in it, as {} has", program.display());
            return Err(InstallError::Program(why));
        }
        let name = UnitName::parse(NAME).map_err(|error| InstallError::Program(error.to_string()))?;
        let scope = options.scope;
        let directory = unit_directory(scope).ok_or(InstallError::NoHome)?;
        let file = directory.join(NAME);
        let (text, more) = match scope {
            Scope::User => (text(PACKAGED, &program, &arguments), Vec::new()),
            Scope::System => {
                if !rustix::process::geteuid().is_root() {
                    return Err(InstallError::NotRoot);
                }
                belongs_to_root(&program)?;
                (text(PACKAGED_SYSTEM, &program, &arguments), further_files(options, &program, &arguments)?)
            }
        };
        let mut service = Service { file, text, mark: MARK, program, more };
        if is_packaged(&service, scope) {
            service.more.retain(|(path, _)| path == Path::new(polkit::RULE_FILE));
        }
        Ok(Self { unit: SelfUnit::connect(name, scope).await?, service, scope })
    }

    async fn state(&self) -> Result<SelfState, InstallError> {
        Ok(self.unit.state().await?)
    }

    async fn down(&self, why: &str) -> InstallError {
        let why = self.unit.last_error().await.unwrap_or_else(|| why.to_owned());
        InstallError::Down { why, log: self.log_command() }
    }
}

impl Host for ServiceUnit {
    const RELOADS: bool = true;

    async fn inspect(&self) -> Result<Seen, InstallError> {
        let state = self.state().await?;
        if state.file.starts_with("masked") {
            return Err(InstallError::Masked(match self.scope {
                Scope::User => "systemctl --user unmask workerheal",
                Scope::System => "sudo systemctl unmask workerheal",
            }));
        }
        let file = if is_packaged(&self.service, self.scope) { Installed::Same } else { self.service.installed() };
        let up = matches!(state.active.as_str(), "active" | "activating" | "reloading");
        // systemd starts it again later. What kept it from coming up may be corrected, so it is started now.
        let stalled = state.waits_for_restart();
        let outdated = up && state.pid.is_some_and(|pid| runs_another(pid, &self.service.program));
        Ok(Seen { file, enabled: state.file.starts_with("enabled"), up, stalled, outdated })
    }

    fn service(&self) -> &Service {
        &self.service
    }

    async fn perform(&self, step: &Step) -> Result<(), InstallError> {
        match step {
            Step::Reload => self.unit.reload().await?,
            Step::Enable(_) => self.unit.enable().await?,
            // Where systemd is to start it again later, a start would wait for that; a restart does not.
            Step::Start | Step::Restart => self.unit.restart().await?,
            Step::Disable => self.unit.disable().await?,
            Step::Stop => {
                self.unit.stop().await?;
                let latest = Instant::now() + START_TIMEOUT;
                while !matches!(self.state().await?.active.as_str(), "inactive" | "failed") && Instant::now() < latest {
                    sleep(POLL_INTERVAL).await;
                }
            }
            Step::Accounts => create_accounts()?,
            Step::Keep { .. } | Step::Write { .. } | Step::WriteMore(_) | Step::Remove(_) => {}
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
                ("failed", _) => return Err(self.down("it ended at once").await),
                _ if state.waits_for_restart() && !state.has_job => return Err(self.down("it ended at once").await),
                _ if Instant::now() >= latest => return Err(self.down("it does not get ready").await),
                _ => sleep(POLL_INTERVAL).await,
            }
        }
    }

    fn starts(&self) -> &'static str {
        match self.scope {
            Scope::User => "at each login",
            Scope::System => "at each boot",
        }
    }

    fn lacks_accounts(&self) -> bool {
        let has_account = |file: &str| file.lines().any(|line| line.starts_with("workerheal:"));
        self.scope == Scope::System && !fs::read_to_string("/etc/passwd").is_ok_and(|file| has_account(&file))
    }

    fn log_command(&self) -> String {
        match self.scope {
            Scope::User => "journalctl --user -u workerheal -f".to_owned(),
            Scope::System => "journalctl -u workerheal -f".to_owned(),
        }
    }

    fn remains(&self) -> Option<String> {
        if self.scope == Scope::System {
            return None;
        }
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
        if self.scope == Scope::System {
            return Some(
                if polkit::knows_rules() {
                    "members of the group workerheal may read what it knows, and of workerheal-operators also heal, \
                     stop and pause"
                } else {
                    "there is no polkit 0.106 or later, which would let it start units: install that (on Debian 12 or \
                     later the package polkitd) and run this again, or let it run as root, with [Service] and \
                     User=root in `systemctl edit workerheal`"
                }
                .to_owned(),
            );
        }
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

/// Whether a package has installed exactly this unit.
fn is_packaged(service: &Service, scope: Scope) -> bool {
    let packaged = match scope {
        Scope::User => PACKAGED_UNIT,
        Scope::System => PACKAGED_SYSTEM_UNIT,
    };
    !service.file.exists() && fs::read_to_string(packaged).is_ok_and(|text| text == service.text)
}

/// Further files of the system's unit.
fn further_files(
    options: &Options,
    program: &Path,
    arguments: &[String],
) -> Result<Vec<(PathBuf, String)>, InstallError> {
    let config = options.paths()?.config;
    let config = std::path::absolute(&config).map_err(|why| super::failed("find", &config, why))?;
    let units = Path::new("/etc/systemd/system");
    let watched = config.to_string_lossy().replace('%', "%%");
    let mut files = vec![
        (PathBuf::from(ACCOUNTS_FILE), ACCOUNTS.to_owned()),
        (units.join("workerheal-polkit.service"), text(POLKIT_SERVICE, program, arguments)),
        (units.join("workerheal-polkit.path"), POLKIT_PATH.replace(PACKAGED_CONFIG, &watched)),
    ];
    if polkit::knows_rules() {
        let config = read_config(&config, options.config.is_some()).map_err(crate::setup::SetupError::from)?;
        files.push((PathBuf::from(polkit::RULE_FILE), polkit::rule(&config.selector)));
    }
    Ok(files)
}

/// Creates the accounts of the unit of the system.
fn create_accounts() -> Result<(), InstallError> {
    let made = Command::new("systemd-sysusers").arg("workerheal.conf").output();
    let made = made.map_err(|error| InstallError::Accounts(format!("systemd-sysusers: {error}")))?;
    if made.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&made.stderr);
    Err(InstallError::Accounts(said.lines().last().unwrap_or("systemd-sysusers failed").to_owned()))
}

/// Checks that any user can run the program, and only root can change it.
fn belongs_to_root(program: &Path) -> Result<(), InstallError> {
    let private = |why: &str| InstallError::Private { program: shown(program), why: why.to_owned() };
    let data = fs::metadata(program).map_err(|why| super::failed("read", program, why))?;
    if data.uid() != 0 || data.permissions().mode() & 0o022 != 0 {
        return Err(private("another user than root may change it"));
    }
    let is_open = |path: &Path, mode: u32| fs::metadata(path).is_ok_and(|it| it.permissions().mode() & mode == mode);
    if !is_open(program, 0o005) || program.ancestors().skip(1).any(|directory| !is_open(directory, 0o001)) {
        return Err(private("the user workerheal cannot reach it"));
    }
    Ok(())
}

/// A packaged unit with this program, and these arguments before the command.
fn text(packaged: &str, program: &Path, arguments: &[String]) -> String {
    let program = quoted(&program.to_string_lossy());
    let arguments = arguments.iter().map(|argument| quoted(&argument.replace('$', "$$")));
    let words: Vec<String> = std::iter::once(program).chain(arguments).collect();
    let is_command = |line: &&str| line.starts_with("ExecStart=");
    let command = packaged.lines().find(is_command).unwrap_or_default();
    let rest = command.trim_start_matches("ExecStart=").trim_start_matches(PACKAGED_PROGRAM);
    let rest = rest.trim_start_matches(" --system");
    packaged.replace(command, &format!("ExecStart={}{rest}", words.join(" ")))
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
        let packaged = Path::new(PACKAGED_PROGRAM);
        assert_eq!(text(PACKAGED, packaged, &[]), PACKAGED);
        let system = ["--system".to_owned()];
        for unit in [PACKAGED_SYSTEM, POLKIT_SERVICE] {
            assert_eq!(text(unit, packaged, &system), unit);
            let text = text(unit, Path::new("/usr/local/bin/workerheal"), &system);
            assert!(text.contains("ExecStart=/usr/local/bin/workerheal --system "), "{text}");
        }
        assert!(POLKIT_PATH.contains(PACKAGED_CONFIG));
        assert!(PACKAGED.contains(MARK) && PACKAGED_SYSTEM.contains(MARK), "an upgrade would keep a copy");
        let arguments = ["--config".to_owned(), "/home/me/50% $of \"it\".yaml".to_owned()];
        let text = text(PACKAGED, Path::new("/opt/my tools/workerheal"), &arguments);
        let line = text.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
        assert_eq!(line, r#"ExecStart="/opt/my tools/workerheal" --config "/home/me/50%% $$of \"it\".yaml" daemon"#);
    }
    #[test]
    fn a_system_service_requires_a_program_that_only_root_can_change() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("workerheal");
        fs::write(&program, "").unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&program, 0o755);
        set(directory.path(), 0o700);
        let why = belongs_to_root(&program).unwrap_err().to_string();
        assert!(why.contains("install -m 755"), "{why}");
        set(directory.path(), 0o755);
        set(&program, 0o775);
        assert!(belongs_to_root(&program).is_err());
        set(&program, 0o755);
        assert_eq!(belongs_to_root(&program).is_ok(), rustix::process::geteuid().is_root());
    }
}
