//! The alternatives to workerheal, as users would set them up.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::stage::Stage;

/// The interval of contenders that poll; the same as workerheal's refresh.
pub const PERIOD: Duration = Duration::from_secs(3);

/// systemd's own way for a unit that should always be restarted.
pub const RESTART_ALWAYS: &str =
    "[Service]\nExecStart=sleep infinity\nRestart=always\nRestartSec=0\n[Install]\nWantedBy=default.target\n";

/// A unit whose failure starts a unit that starts it.
pub const ON_FAILURE: &str = "[Unit]\nOnFailure=start-again@%n.service\n\
    [Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=default.target\n";
const START_AGAIN: &str = "[Unit]\nCollectMode=inactive-or-failed\n[Service]\nType=oneshot\n\
    ExecStart=systemctl --user reset-failed %i\nExecStart=systemctl --user start %i\n";

/// A worker that writes its process id to a file, for monit.
pub const WITH_PID_FILE: &str = "[Service]\nExecStart=sh -c 'echo $$$$ >%t/%n.pid; exec sleep infinity'\n\
    [Install]\nWantedBy=default.target\n";

pub const LOOP: &str = "loop.service";
pub const MONIT: &str = "monit.service";

/// Installs the unit that [`ON_FAILURE`] refers to.
pub fn install_on_failure(stage: &Stage) {
    stage.sandbox.write_unit("start-again@.service", START_AGAIN);
}

/// Starts a shell loop that looks for failed units by a pattern.
pub fn start_loop(stage: &Stage, pattern: &str) {
    let script = format!(
        "while sleep {}; do
    for unit in $(systemctl --user list-units --failed --plain --no-legend '{pattern}' | cut -d ' ' -f 1); do
        systemctl --user reset-failed $unit
        systemctl --user start $unit
    done
done
",
        PERIOD.as_secs()
    );
    stage.sandbox.write_file("loop.sh", &script);
    stage.sandbox.write_unit(LOOP, "[Service]\nExecStart=sh %h/loop.sh\n");
    stage.sandbox.start_unit(LOOP);
}

/// Starts monit for units by their process id files.
pub fn start_monit(stage: &Stage, units: &[String]) -> anyhow::Result<()> {
    let version = Command::new("monit").arg("--version").output();
    ensure!(
        version.is_ok_and(|output| output.status.success()),
        "monit is missing (Debian package monit); run tests/sandbox/install-packages.sh benches/packages.txt"
    );
    let home = stage.sandbox.home().display();
    let mut text = format!(
        "set daemon {}\nset log {home}/monit.log\nset pidfile {home}/monit.pid\nset idfile {home}/monit.id\n\
         set statefile {home}/monit.state\n",
        PERIOD.as_secs()
    );
    for unit in units {
        // monit starts processes without an environment.
        writeln!(
            text,
            "check process {unit} with pidfile /run/user/0/{unit}.pid\n  \
             start program = \"/usr/bin/env XDG_RUNTIME_DIR=/run/user/0 /usr/bin/systemctl --user start {unit}\""
        )?;
    }
    stage.sandbox.write_file("monitrc", &text);
    let file = stage.sandbox.home().join("monitrc");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).context("monit wants its file to itself")?;
    stage.sandbox.write_unit(MONIT, "[Service]\nExecStart=monit -I -c %h/monitrc\n");
    stage.sandbox.start_unit(MONIT);
    Ok(())
}
