//! workerheal as on a Mac: `LAUNCHCTL daemon`, `LAUNCHCTL detect`, `LAUNCHCTL heal UNIT...`, and the same for `log`,
//! `stop`, `explain`, `install-plan`, `install`, `uninstall`, `uninstall-purge` and `trouble`.
//!
//! The agent runs it without the first argument, and with `$LAUNCHCTL` instead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use workerheal::core::healer::Timestamp;
use workerheal::detect::Detector;
use workerheal::detect::references::references_for;
use workerheal::install::launchd::Agent;
use workerheal::install::{self, Host};
use workerheal::manager::ServiceManager;
use workerheal::manager::launchd::{Launchd, LaunchdPaths};
use workerheal::manager::log::WantedLines;
use workerheal::setup::Setup;
use workerheal::text::explanation::text;
use workerheal::text::style::Style;
use workerheal::{Options, Standalone, UnitName, logging};

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| !first.contains('/')) {
        arguments.insert(0, std::env::var("LAUNCHCTL").context("there is no $LAUNCHCTL")?);
    }
    let mut arguments = arguments.into_iter();
    let (Some(launchctl), Some(command)) = (arguments.next(), arguments.next()) else {
        bail!("usage: workerheal-on-launchd LAUNCHCTL COMMAND [UNIT...]");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if command.contains("install") || command == "trouble" {
        return runtime.block_on(installed(Path::new(&launchctl), &command));
    }
    let setup = Setup::load(&Options::default())?;
    let home = std::env::var_os("HOME").map(PathBuf::from).context("there is no $HOME")?;
    let records = Some(setup.paths.state.with_file_name("taken-out"));
    let paths = LaunchdPaths { directories: vec![home.join("Library/LaunchAgents")], records };
    let patterns = setup.context.selector.patterns();
    runtime.block_on(async {
        let launchctl = Path::new(&launchctl);
        let (manager, changes) = Launchd::connect_through(launchctl, paths, setup.scope, patterns).await?;
        match command.as_str() {
            "daemon" => {
                let is_agent = arguments.next().as_deref() == Some("--log");
                let format = if is_agent { logging::Format::Text } else { logging::Format::Json };
                logging::init(format, false, false);
                if is_agent {
                    workerheal::daemon::wait_for_turn(&setup.paths.socket).await;
                }
                let result = workerheal::daemon::run(manager, changes, setup).await;
                logging::flush(Duration::from_secs(1));
                result?;
            }
            "detect" => {
                let client = Standalone::new(detector(manager, &setup), changes);
                let mut workers = client.detect().await?;
                client.enrich(&mut workers).await;
                println!("{}", serde_json::to_string(&workers)?);
            }
            "heal" => {
                let mut client = Standalone::new(detector(manager, &setup), changes);
                for unit in arguments {
                    client.heal_unit(&UnitName::parse(&unit)?).await?;
                }
            }
            "explain" => {
                let client = Standalone::new(detector(manager, &setup), changes);
                let detector = client.detector();
                for (unit, _) in client.workers().await? {
                    if !arguments.as_slice().contains(&unit.to_string()) {
                        continue;
                    }
                    let manager = (&detector.manager, setup.scope);
                    let references = references_for(&setup.paths, manager, &unit, Timestamp::default()).await;
                    let explanation = detector.explain(&unit, &references).await?.context("it is no worker")?;
                    print!("{}", text(&explanation, None, Style::default(), None));
                }
            }
            "log" => {
                for unit in arguments {
                    let wanted = WantedLines { last: 10, follow: false };
                    let mut log = manager.log(&UnitName::parse(&unit)?, wanted).await;
                    while let Some(line) = log.next().await? {
                        println!("{}", line.text);
                    }
                }
            }
            "stop" => {
                for unit in arguments {
                    manager.end(&UnitName::parse(&unit)?).await?;
                }
            }
            other => bail!("there is no command {other}"),
        }
        Ok(())
    })
}

fn detector(manager: Launchd, setup: &Setup) -> Detector<Launchd> {
    Detector { manager, context: setup.context.clone(), saved_workers: setup.saved_workers.clone() }
}

async fn installed(launchctl: &Path, command: &str) -> anyhow::Result<()> {
    let host = Agent::connect_through(launchctl, &Options::default()).await?;
    if command == "trouble" {
        if let Some(trouble) = host.trouble().await? {
            println!("{}: {}", trouble.what, trouble.remedy);
        }
        return Ok(());
    }
    let steps = match command {
        "uninstall" => install::to_uninstall(&host, &[]).await?,
        "uninstall-purge" => {
            let leftovers: Vec<PathBuf> =
                install::leftovers(workerheal::manager::Scope::User)?.into_iter().chain(host.leftovers()).collect();
            install::to_uninstall(&host, &leftovers).await?
        }
        _ => install::to_install(&host).await?,
    };
    for step in &steps {
        println!("{step}");
        if command != "install-plan" {
            install::perform(&host, step).await?;
        }
    }
    if command == "install" {
        println!("{}", host.wait_until_up().await?);
    }
    Ok(())
}
