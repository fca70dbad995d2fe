//! `workerheal doctor`: checks the setup, and names a remedy for each problem.

mod finding;
#[cfg(target_os = "linux")]
mod permission;

use clap::Args;

use self::finding::{Finding, Level, text};
use super::Status;
use super::install::at_home;
use super::term::{self, Style};
use crate::api::DaemonStatus;
use crate::client::ClientError;
use crate::client::daemon::{DaemonClient, DaemonError};
use crate::client::log;
use crate::core::context::Context;
use crate::core::explain::Manager;
use crate::core::registry::Registry;
use crate::core::text as plain;
use crate::core::units::UnitName;
use crate::detect::Detector;
use crate::files::config::Config;
use crate::files::paths::Paths;
use crate::manager::{ManagerError, Native, Scope, ServiceManager};
use crate::setup::{Options, read_config, read_registry, warnings};

/// Maximum number of workers for which the manager is asked whether it has put off their start.
const MAX_CHECKED_UNITS: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print a JSON array of the checks
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self, options: &Options, style: Style) -> anyhow::Result<Status> {
        let findings = Box::pin(findings(options)).await?;
        term::print(if self.json {
            format!("{}\n", serde_json::to_string_pretty(&findings)?)
        } else {
            text(&findings, style, term::width())
        })?;
        let has_problems = findings.iter().any(|finding| finding.level == Level::Problem);
        Ok(if has_problems { Status::Unhealthy } else { Status::Done })
    }
}

async fn findings(options: &Options) -> anyhow::Result<Vec<Finding>> {
    let paths = options.paths()?;
    let mut findings = Vec::new();
    let config = read_config(&paths.config, options.config.is_some());
    findings.push(match &config {
        Ok(_) if paths.config.exists() => Finding::ok("config", shown(&paths.config)),
        Ok(_) => Finding::ok("config", format!("{} is missing, which means the defaults", shown(&paths.config))),
        Err(error) => Finding::problem("config", error.to_string(), "correct it: it takes effect when it is saved"),
    });
    let registry = read_registry(&paths.sites, options.sites.is_some());
    findings.extend(of_registry(&registry, &config, &paths));

    let daemon = DaemonClient::connect(options).await;
    let status = match &daemon {
        Ok(daemon) => Some(daemon.status().await),
        Err(_) => None,
    };
    findings.extend(of_daemon(status, options, &paths, (config.is_err(), registry.is_err())).await);
    findings.extend(of_service(options, config.as_ref().ok()).await);

    let (config, registry) = (config.unwrap_or_default(), registry.unwrap_or_default());
    match Native::connect(options.scope, config.selector.patterns()).await {
        Ok((manager, _changes)) => {
            findings.push(Finding::ok("manager", "the service manager answers"));
            findings.extend(Box::pin(of_units(manager, &config, registry, options)).await);
        }
        Err(error) => findings.push(unreachable(&error, options.scope)),
    }
    findings.extend(of_session(options.scope).await);
    Ok(findings)
}

fn shown(path: &std::path::Path) -> String {
    at_home(&plain::path(path))
}

type Read<T> = Result<T, crate::files::paths::FileError>;

fn of_registry(registry: &Read<Registry>, config: &Read<Config>, paths: &Paths) -> Vec<Finding> {
    let registry = match registry {
        Ok(registry) => registry,
        Err(error) => return vec![Finding::problem("registry", error.to_string(), "Lerd writes it; start Lerd again")],
    };
    // Unknown for a configuration that cannot be read.
    let watches_more = config.as_ref().map_or(true, |config| config.selector.may_name_aliases());
    let path = shown(&paths.sites);
    let mut findings: Vec<Finding> = warnings(&paths.sites, registry)
        .into_iter()
        .map(|line| Finding::warning("registry", line, "its workers are not healed until it is corrected"))
        .collect();
    if registry.is_empty() && !watches_more {
        let says = format!("there are no sites in {path} and no units in also_watch: nothing is watched");
        findings.push(Finding::warning("registry", says, "choose units: workerheal init"));
    } else if findings.is_empty() {
        findings.push(Finding::ok(
            "registry",
            match registry.len() {
                0 if config.is_err() => format!("no sites in {path}"),
                0 => format!("no sites in {path}; units are named by also_watch"),
                1 => format!("1 site in {path}"),
                sites => format!("{sites} sites in {path}"),
            },
        ));
    }
    findings
}

/// The running daemon's own status.
async fn of_daemon(
    status: Option<Result<DaemonStatus, DaemonError>>,
    options: &Options,
    paths: &Paths,
    (config_is_wrong, registry_is_wrong): (bool, bool),
) -> Vec<Finding> {
    let status = match status {
        Some(Ok(status)) => status,
        Some(Err(error)) => return vec![Finding::problem("daemon", error.to_string(), "see its log")],
        None => {
            return vec![match DaemonClient::required(options).await {
                Err(DaemonError::Absent { socket, remedy }) => {
                    let says = format!("none answers at {}, so nothing is healed by itself", shown(&socket));
                    // The mistake is a finding of its own.
                    let is_kept_from_starting = config_is_wrong || registry_is_wrong;
                    let none_can = || "none can start before the mistake above is corrected".into();
                    Finding::problem("daemon", says, if is_kept_from_starting { none_can() } else { remedy })
                }
                Err(error) => Finding::problem("daemon", error.to_string(), ""),
                Ok(_) => Finding::warning("daemon", "it has only just begun to answer", "ask again"),
            }];
        }
    };
    let mut findings = vec![Finding::ok("daemon", format!("answers at {}", shown(&paths.socket)))];
    let own = env!("CARGO_PKG_VERSION");
    findings.push(if status.version == own {
        Finding::ok("versions", format!("the program and the daemon are {own}"))
    } else {
        let says = format!("the daemon that runs is {}, this program is {own}", status.version);
        Finding::warning("versions", says, "replace it: workerheal install")
    });
    if status.config != plain::path(&paths.config) {
        let says = format!("the daemon reads {}, not {}", at_home(&status.config), shown(&paths.config));
        findings.push(Finding::warning("in force", says, "name that file with --config, or install again"));
    } else if status.config_error.is_empty() {
        findings.push(Finding::ok("in force", "the daemon has read the configuration as it is"));
    } else if config_is_wrong {
        let says = "the daemon goes on with the configuration from before that mistake";
        findings.push(Finding::warning("in force", says, "correct it: it takes effect when it is saved"));
    } else {
        let says = format!("the daemon uses an earlier configuration: {}", status.config_error);
        let remedy = if paths.config.exists() {
            "correct it: it takes effect when it is saved"
        } else {
            "put it back, or restart workerheal to go on with the defaults"
        };
        findings.push(Finding::problem("in force", says, remedy));
    }
    let problems = [("manager", &status.manager.error), ("registry", &status.registry.error)];
    let problems = problems.into_iter().filter(|(_, error)| !error.is_empty());
    findings.extend(problems.map(|(check, error)| Finding::problem(check, format!("the daemon says: {error}"), "")));
    if !status.state.error.is_empty() {
        let says = format!("{}: {}", at_home(&status.state.path), status.state.error);
        findings.push(Finding::problem("state", says, "make it readable and writable for you"));
    }
    if status.stop_marker {
        findings.push(Finding::warning(
            "paused",
            "everything was stopped on purpose (the stop marker exists), so nothing is healed",
            "start Lerd again",
        ));
    }
    if !status.pauses.is_empty() {
        let what: Vec<String> =
            status.pauses.iter().map(|pause| super::pause::paused(pause, &[], std::time::SystemTime::now())).collect();
        findings.push(Finding::warning("paused", what.join("; "), "end it: workerheal resume"));
    }
    findings
}

/// Whether the service has its program and starts at login or at boot, and whether that of the system may start what
/// this configuration covers.
#[cfg(target_os = "linux")]
async fn of_service(options: &Options, config: Option<&Config>) -> Vec<Finding> {
    use crate::manager::systemd::self_unit::SelfUnit;

    let Ok(name) = UnitName::parse("workerheal") else { return Vec::new() };
    let own = async {
        let unit = SelfUnit::connect(name, options.scope).await?;
        tokio::try_join!(unit.state(), unit.missing_program())
    };
    let Ok((state, missing_program)) = own.await else { return Vec::new() };
    let mut findings = Vec::new();
    if options.scope == Scope::System && !state.file.is_empty() {
        findings.extend(config.map(|config| permission::of_permission(state.pid, config)));
    }
    let (service, start, remedy) = match options.scope {
        Scope::User => ("a service", "at login", "workerheal install"),
        Scope::System => ("a service of the system", "at boot", "sudo workerheal --system install"),
    };
    findings.push(match (state.file.as_str(), missing_program) {
        ("", _) => Finding::warning("service", format!("workerheal is not installed as {service}"), remedy),
        (_, Some(program)) => {
            let says = format!("the program that workerheal.service runs is gone: {}", shown(&program));
            Finding::problem("service", says, remedy)
        }
        (file, None) if file.starts_with("enabled") => Finding::ok("service", format!("starts {start}")),
        (file, None) => {
            let says = format!("workerheal.service is {file}, so it does not start {start}");
            Finding::warning("service", says, remedy)
        }
    });
    findings
}

/// Whether the service starts at login, and whether launchd keeps it from running.
#[cfg(not(target_os = "linux"))]
async fn of_service(options: &Options, _: Option<&Config>) -> Vec<Finding> {
    use crate::install::Native as Agent;

    let trouble = async { Agent::connect(options).await?.trouble().await };
    match trouble.await {
        Ok(None) => vec![Finding::ok("service", "launchd keeps it running")],
        Ok(Some(trouble)) => vec![Finding::problem("service", trouble.what, trouble.remedy)],
        Err(_) => Vec::new(),
    }
}

fn unreachable(error: &ManagerError, scope: Scope) -> Finding {
    let remedy = match scope {
        _ if cfg!(target_os = "macos") => "log in at the screen, or see: launchctl print user/$(id -u)",
        Scope::User => "log in as this user rather than with su or sudo, or see: systemctl --user status",
        Scope::System => "see: systemctl status",
    };
    Finding::problem("manager", error.to_string(), remedy)
}

/// The watched units: patterns, aliases, their logs, starts that are put off.
async fn of_units(manager: Native, config: &Config, registry: Registry, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut selector = config.selector.clone();
    let unmatched = super::check::unmatched(config, options.scope).await;
    for glob in unmatched.globs {
        let says = format!("also_watch: {glob:?} matches no unit, and no file of one");
        findings.push(Finding::warning("patterns", says, "correct its name, or remove it"));
    }
    if findings.is_empty() && selector.may_name_aliases() {
        findings.push(Finding::ok("patterns", "each of also_watch matches a unit"));
    }
    for worker in unmatched.probes {
        let says = format!("{worker:?} is no worker, so its probe asks nothing");
        findings.push(Finding::warning("probes", says, "correct its name, or remove it"));
    }
    if selector.may_name_aliases()
        && let Ok(aliases) = manager.aliases().await
    {
        selector.set_aliases(&aliases);
        findings.extend(selector.aliases().iter().map(|(alias, unit)| {
            Finding::ok("aliases", format!("{alias} is another name of {unit}, by which it is shown"))
        }));
    }
    let context = Context { selector, registry: std::sync::Arc::new(registry), ..Context::default() };
    let detector = Detector::new(manager, context);
    let units: Vec<UnitName> = match detector.workers().await {
        Ok(workers) => workers.into_iter().map(|(unit, _)| unit).collect(),
        Err(error) => {
            findings.push(unreachable(&error, options.scope));
            return findings;
        }
    };
    findings.push(of_log(&units, options).await);
    for unit in units.iter().take(MAX_CHECKED_UNITS) {
        if let Some(Manager::Launchd(job)) = detector.manager.commands(unit).await
            && job.put_off
        {
            let says = format!("launchd has put off the start of {}", unit.short());
            let remedy = format!("demand it: launchctl kickstart {}/{}", job.domain, job.label);
            findings.push(Finding::warning("launchd", says, remedy));
        }
    }
    findings
}

/// Whether the journal can be read: it shows whether a worker was stopped or has crashed, and why.
async fn of_log(units: &[UnitName], options: &Options) -> Finding {
    if cfg!(target_os = "macos") {
        return Finding::ok("logs", "the last lines of workers are read from the files that their plists name");
    }
    let own = UnitName::parse("workerheal").ok();
    let Some(unit) = units.first().or(own.as_ref()) else { return Finding::ok("journal", "not asked") };
    let refused = |error: &dyn std::fmt::Display| {
        let says = format!("{error}; so a stop cannot be told from a crash");
        Finding::problem("journal", says, "let your user read it: sudo usermod -aG systemd-journal $USER")
    };
    match log::last(options, unit, 1).await {
        Ok(_) => Finding::ok("journal", "can be read"),
        Err(ClientError::Log(error)) => refused(&error),
        Err(error) => refused(&error),
    }
}

/// Whether services continue when their user logs out.
#[cfg(target_os = "linux")]
async fn of_session(scope: Scope) -> Option<Finding> {
    if scope == Scope::System {
        return None;
    }
    let lingers = crate::manager::systemd::self_unit::SelfUnit::lingers().await?;
    Some(if lingers {
        Finding::ok("linger", "your services go on when you log out")
    } else {
        let says = "your services, workerheal among them, end when you log out";
        Finding::warning("linger", says, "keep them running: loginctl enable-linger")
    })
}

/// Whether services continue when their user logs out.
#[cfg(not(target_os = "linux"))]
async fn of_session(_: Scope) -> Option<Finding> {
    None
}
