//! The command line: parses it, runs the command, and maps the result to an exit status.
//!
//! One file for each command, each thin. Results go to standard output, everything else to standard error.

mod check;
mod complete;
mod daemon;
#[cfg(feature = "dashboard")]
mod dashboard;
mod detect;
mod doctor;
mod events;
mod explain;
mod generate;
mod heal;
mod init;
mod install;
mod logs;
#[cfg(feature = "mcp")]
mod mcp;
mod pause;
mod polkit;
mod progress;
mod status;
mod stop;
mod term;
mod time;
#[cfg(feature = "top")]
mod top;
mod unhealthy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::client;
use crate::client::daemon::DaemonError;
use crate::install as installing;
use crate::manager::{ManagerError, Scope};
use crate::setup::{Options, SetupError};

/// Keeps background workers alive: heals service units that are parked as failed.
#[derive(Debug, Parser)]
#[command(name = "workerheal", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// Configuration file [default: ~/.config/workerheal/config.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Registry of sites [default: ~/.local/share/lerd/sites.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    sites: Option<PathBuf>,
    /// Heal units of the calling user (the default)
    #[arg(long, global = true, conflicts_with = "system")]
    user: bool,
    /// Heal units of the system
    #[arg(long, global = true)]
    system: bool,
    /// Use colours
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: Color,
    /// Say more about what is going on
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The service itself, in the foreground: what the unit file runs
    Daemon(daemon::Daemon),
    /// List unhealthy workers, with the last line each has logged
    Detect(detect::Detect),
    /// Heal unhealthy workers, and watch whether they stay up
    Heal(heal::Heal),
    /// Show every worker as the daemon sees it
    Status(status::Status),
    /// Say why a worker is, or is not, being healed, and what you can do
    Explain(explain::Explain),
    /// Show the logs of workers: their own lines, and what the service manager and workerheal say of them
    Logs(logs::Logs),
    /// Show what the daemon did, and does
    Events(events::Events),
    /// Show all workers live, on the whole terminal: heal, pause, explain, follow logs
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Show the workers as a page in the browser, and heal them there
    #[cfg(feature = "dashboard")]
    Dashboard(dashboard::Dashboard),
    /// Stop workers, which stay stopped until you start them
    Stop(stop::Stop),
    /// Hold healing: of everything, a site or a worker
    Pause(pause::Pause),
    /// End pauses, and try again what was given up
    Resume(pause::Resume),
    /// Validate the configuration and the registry
    Check(check::Check),
    /// Find what keeps workerheal from working well here, with a remedy for each
    Doctor(doctor::Doctor),
    /// Give an assistant tools to see and heal workers: an MCP server on standard input and output
    #[cfg(feature = "mcp")]
    Mcp(mcp::Mcp),
    /// Choose units to watch from those that are enabled or have failed, and write the configuration
    Init(init::Init),
    /// Install workerheal as a service of the user or, with --system, of the system, enabled and started
    Install(install::Install),
    /// Stop and remove that service
    Uninstall(install::Uninstall),
    /// Print the polkit rule for the units that are watched
    #[command(hide = true)]
    PolkitRule(polkit::PolkitRule),
    /// Print completions for a shell
    Completions(generate::Completions),
    /// Print the manual page
    Man(generate::Man),
}

/// The result of a command without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Done,
    /// A worker could not be healed, or is unhealthy where that was asked; or a change is not saved.
    Unhealthy,
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    complete::answer();
    let Cli { global, command } = Cli::parse();
    let style = term::style(global.color);
    let options = Options {
        scope: if global.system { Scope::System } else { Scope::User },
        config: global.config,
        sites: global.sites,
    };
    let result = match command {
        // The daemon's errors are in its log already.
        Command::Daemon(command) => match command.run(&options, global.verbose, global.color != Color::Never) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => return ExitCode::from(exit_status(&error)),
        },
        Command::Detect(command) => block_on(command.run(&options, style)),
        Command::Heal(command) => block_on(command.run(&options, style)),
        Command::Status(command) => block_on(command.run(&options, style)),
        Command::Explain(command) => block_on(command.run(&options, style)),
        Command::Logs(command) => block_on(command.run(&options, style)),
        Command::Events(command) => block_on(command.run(&options, style)),
        #[cfg(feature = "top")]
        Command::Top(command) => block_on(command.run(&options, style)),
        #[cfg(feature = "dashboard")]
        Command::Dashboard(command) => block_on(command.run(&options, style)),
        Command::Stop(command) => block_on(command.run(&options, style)),
        Command::Pause(command) => block_on(command.run(&options, style)),
        Command::Resume(command) => block_on(command.run(&options, style)),
        Command::Check(command) => block_on(command.run(&options, style)),
        Command::Doctor(command) => block_on(command.run(&options, style)),
        #[cfg(feature = "mcp")]
        Command::Mcp(command) => block_on(command.run(&options, global.verbose)),
        Command::Init(command) => block_on(command.run(&options, style)),
        Command::Install(command) => block_on(command.run(&options, style)),
        Command::Uninstall(command) => block_on(command.run(&options, style)),
        Command::PolkitRule(command) => command.run(&options),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    match result {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Unhealthy) => ExitCode::from(1),
        Err(error) => {
            term::complain(&error);
            ExitCode::from(exit_status(&error))
        }
    }
}

/// 2: usage, configuration or registry; 3: the service manager, or the daemon, cannot be reached.
fn exit_status(error: &anyhow::Error) -> u8 {
    let setup = error.downcast_ref::<SetupError>();
    let client = error.downcast_ref::<client::ClientError>();
    let daemon = error.downcast_ref::<DaemonError>();
    let unreachable = error.is::<ManagerError>()
        || matches!(setup, Some(SetupError::Manager(_)))
        || matches!(client, Some(client::ClientError::Manager(_) | client::ClientError::Setup(SetupError::Manager(_))))
        || matches!(client, Some(client::ClientError::Daemon(error)) if error.is_unreachable())
        || matches!(error.downcast_ref::<installing::InstallError>(), Some(installing::InstallError::Manager(_)))
        || daemon.is_some_and(DaemonError::is_unreachable);
    if unreachable { 3 } else { 2 }
}

/// Runs a command on one thread, as none needs more. Blocking calls that are still running at the end, such as a check
/// of a file system that does not answer, are not waited for.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_background();
    result
}
