//! workerheal as it is on a Mac, with the `launchctl` of its first argument: `daemon`, `detect`, `heal UNIT...`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use workerheal::manager::launchd::Launchd;
use workerheal::setup::Setup;
use workerheal::{Client, Options, UnitName, logging};

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(launchctl), Some(command)) = (arguments.next(), arguments.next()) else {
        bail!("usage: workerheal-on-launchd LAUNCHCTL COMMAND [UNIT...]");
    };
    let setup = Setup::load(&Options::default())?;
    let home = std::env::var_os("HOME").map(PathBuf::from).context("there is no $HOME")?;
    let directories = vec![home.join("Library/LaunchAgents")];
    let patterns = setup.rules.coverage.patterns();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let launchctl = Path::new(&launchctl);
        let (manager, changes) = Launchd::connect_through(launchctl, directories, setup.scope, patterns).await?;
        match command.as_str() {
            "daemon" => {
                logging::init(logging::Format::Json, false, false);
                workerheal::daemon::run(manager, changes, setup).await?;
            }
            "detect" => {
                let client = Client::new(manager, changes, setup.rules);
                let mut workers = client.detect().await?;
                client.enrich(&mut workers).await;
                println!("{}", serde_json::to_string(&workers)?);
            }
            "heal" => {
                let mut client = Client::new(manager, changes, setup.rules);
                for unit in arguments {
                    client.heal_unit(&UnitName::parse(&unit)?).await?;
                }
            }
            other => bail!("there is no command {other}"),
        }
        Ok(())
    })
}
