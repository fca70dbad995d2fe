//! `workerheal daemon`: the service, in the foreground.

use std::time::Duration;

use clap::Args;

use super::block_on;
use crate::logging::{self, Format};
use crate::manager::Native;
use crate::setup::{Options, Setup};

/// Maximum time to write the last lines of the log.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Daemon {
    /// Form of the log on standard error [auto: the journal where there is one, else text]
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    log: Format,
    /// Wait while another daemon of the same user runs, instead of ending: launchd runs an agent in each session
    #[arg(long, hide = true)]
    standby: bool,
}

impl Daemon {
    /// Runs the service until SIGTERM or SIGINT. A returned error has been logged already.
    pub fn run(self, options: &Options, verbose: bool, colored: bool) -> anyhow::Result<()> {
        logging::init(self.log, verbose, colored);
        end_on_panic();
        let result = Setup::load(options).map_err(anyhow::Error::from).and_then(|setup| {
            block_on(async {
                if self.standby {
                    crate::daemon::wait_for_turn(&setup.paths.socket).await;
                }
                let (manager, changes) = Native::connect(setup.scope, setup.context.selector.patterns()).await?;
                Ok(crate::daemon::run(manager, changes, setup).await?)
            })
        });
        let result = result.inspect_err(|error| tracing::error!("{error}"));
        logging::flush(LOG_FLUSH_TIMEOUT);
        result
    }
}

/// A daemon that continues without one of its tasks would fail silently: a panic in any of them ends the process, with
/// its reason in the log, and the service manager restarts it.
fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("workerheal ends because of a defect in itself, please report it: {panic}");
        logging::flush(LOG_FLUSH_TIMEOUT);
        std::process::exit(101);
    }));
}
